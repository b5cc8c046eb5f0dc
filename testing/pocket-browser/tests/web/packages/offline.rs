//! Without a server, without a network, and after a reload meanwhile.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Server, Tab, World};
use crate::server::Native;

/// Enough for several messages.
const EDITS: usize = 1_000;

/// What an application asks for by itself is told that there is no server.
async fn asks_in_vain(tab: &mut Tab) {
    for call in ["forceSync", "push", "pull"] {
        assert_eq!(
            tab.code(&format!("sync.{call}()")).await,
            "connect",
            "{call}"
        );
    }
    tab.until("current() === 'offline'").await;
    let error = tab.run("return stats().lastError?.code ?? null").await;
    assert_eq!(error, "connect");
}

/// Everything that needs no server works.
async fn works_alone(tab: &mut Tab) {
    let answers = tab
        .run(
            "const states = [];
            const live = notes.find().where('kind').eq('alone').sort('n', 'asc').live();
            live.subscribe((state) => states.push(state.data.map((note) => note.n)));
            await live.ready();
            await notes.insertMany([{ _id: 'a2', kind: 'alone', n: 2 }, { _id: 'a1', kind: 'alone', n: 1 }]);
            await notes.update('a1', { n: 3 });
            await db.transaction(async (transaction) => {
                const note = await transaction.collection('notes').get('a2');
                await transaction.collection('notes').upsert({ ...note, n: note.n + 10 });
            });
            const found = await notes.find().where('n').gte(3).sort('n', 'desc').all();
            const before = await notes.count();
            await notes.deleteMany(['a1', 'a2']);
            live.close();
            return { found: found.map((note) => note.n), last: states.at(-1), gone: before - await notes.count(),
                pending: await sync.pendingChanges() };",
        )
        .await;
    assert_eq!(answers["found"], json!([12, 3]));
    assert_eq!(answers["gone"], 2);
    assert!(answers["pending"].as_u64().is_some(), "{answers}");
}

/// Inserts, updates and deletes, some of them of the same document.
async fn edit_much(tab: &mut Tab) {
    let script = format!(
        "for (let n = 0; n < {EDITS}; n += 1) {{
            const _id = 'offline ' + (n % 700);
            if (n < 700) await notes.insert({{ _id, n, text: 'x'.repeat(n % 50) }});
            else if (n % 3 === 0) await notes.delete(_id);
            else await notes.update(_id, {{ n, again: true }});
        }}"
    );
    tab.run(&script).await;
}

async fn in_step(tab: &mut Tab, native: &Native) -> BTreeMap<String, Value> {
    tab.until("current() === 'idle'").await;
    assert_eq!(tab.run("return sync.pendingChanges()").await, 0);
    let all = native.all("notes").await;
    assert_eq!(tab.all().await, all);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_edits_without_a_server_survive_a_reload_and_all_arrive() {
    let Some(world) = World::start().await else {
        return;
    };
    let mut server = Server::start().await;
    let native = Native::start(&server).await;
    native.put("before").await;
    let url = server.url();
    let mut tab = world.synced(&url).await;
    tab.until("current() === 'idle'").await;
    server.stop().await;
    tab.until("current() === 'offline'").await;
    asks_in_vain(&mut tab).await;
    works_alone(&mut tab).await;
    edit_much(&mut tab).await;
    let written = tab.all().await;
    let pending = tab.run("return sync.pendingChanges()").await;
    // Nothing is closed: a reload is no good-bye.
    tab.load(&world.site).await;
    tab.run("await open()").await;
    assert_eq!(tab.all().await, written);
    tab.start(&url, "{}").await;
    asks_in_vain(&mut tab).await;
    assert_eq!(tab.run("return sync.pendingChanges()").await, pending);
    tab.run("await notes.insert({ _id: 'after the reload' })")
        .await;
    server.start_again().await;
    let all = in_step(&mut tab, &native).await;
    // 700 inserted, of the 300 edits after them each third one a deletion; and those two.
    let deleted = (700..EDITS).filter(|n| n % 3 == 0).count();
    assert_eq!(all.len(), 700 - deleted + 2);
    assert_eq!(
        all["offline 1"],
        json!({ "_id": "offline 1", "n": 701, "text": "x", "again": true })
    );
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_cut_is_borne_by_both_transports() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let native = Native::start(&server).await;
    for (round, url) in server.urls().into_iter().enumerate() {
        let mut tab = world.synced(&url).await;
        tab.until("current() === 'idle'").await;
        tab.0.cut(true).await;
        // The browser cuts off what is new alone; what is open ends as it does when the network is another one.
        server.disconnect();
        asks_in_vain(&mut tab).await;
        works_alone(&mut tab).await;
        tab.run(&format!("await notes.insert({{ _id: 'cut {round}' }})"))
            .await;
        native.put(&format!("meanwhile {round}")).await;
        tab.0.cut(false).await;
        let all = in_step(&mut tab, &native).await;
        assert_eq!(all.len(), 2 * (round + 1));
        tab.run("await sync.destroy()").await;
        tab.close().await;
    }
}
