//! A full quota, and tabs that crash in the middle of a commit.

use serde_json::json;

use super::{Server, Tab, World};
use crate::server::Native;

/// Documents of one commit.
const TOGETHER: u64 = 40;

fn rounds() -> u64 {
    let named = std::env::var("POCKET_CRASH_ROUNDS");
    named.map_or(4, |rounds| rounds.parse().expect("a number of rounds"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_quota_is_told_costs_nothing_and_is_over_when_there_is_room() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let mut tab = world.tab().await;
    // Before anything is written: the browser remembers for a while how much room it saw.
    let quota = json!({ "origin": world.site.origin, "quotaSize": 3_000_000 });
    tab.0.call("Storage.overrideQuotaForOrigin", quota).await;
    tab.run("await open()").await;
    tab.start(&server.url(), "{}").await;
    tab.until("current() === 'idle'").await;
    let kept = tab
        .run(
            "let kept = 0;
            for (;;) {
                const code = await codeOf(notes.insert({ _id: 'n' + kept, text: 'x'.repeat(200_000) }));
                if (code !== 'ok') return [kept, code];
                kept += 1;
            }",
        )
        .await;
    assert_eq!(kept[1], "storage-full", "{kept}");
    let kept = kept[0].as_u64().unwrap();
    assert!(kept > 0, "not even one had room");
    // What is there can be read, and what did not get in is not.
    assert_eq!(tab.all().await.len() as u64, kept);
    assert_eq!(
        tab.run("return (await notes.get('n0')).text.length").await,
        200_000
    );
    let room = json!({ "origin": world.site.origin });
    tab.0.call("Storage.overrideQuotaForOrigin", room).await;
    tab.until("codeOf(notes.upsert({ _id: 'last', text: 'small' })).then((code) => code === 'ok')")
        .await;
    tab.run("await notes.insert({ _id: 'n' + 1_000, text: 'y'.repeat(200_000) })")
        .await;
    assert_eq!(tab.code("sync.forceSync()").await, "ok");
    tab.until("current() === 'idle'").await;
    let native = Native::start(&server).await;
    let all = native.all("notes").await;
    assert_eq!(all.len() as u64, kept + 2);
    assert_eq!(tab.all().await, all);
    tab.close().await;
}

/// Has a page commit without end; it says the number of each commit that was acknowledged.
async fn write(tab: &mut Tab) {
    tab.0
        .call("Runtime.addBinding", json!({ "name": "acknowledged" }))
        .await;
    let script = format!(
        "const first = (await notes.find().sort('round', 'desc').first())?.round ?? 0;
        (async () => {{
            for (let round = first + 1; ; round += 1) {{
                await notes.insertMany(Array.from({{ length: {TOGETHER} }},
                    (_, n) => ({{ _id: round + ' ' + n, round, text: 'x'.repeat(round * 37 % 3_000) }})));
                acknowledged(String(round));
            }}
        }})();"
    );
    tab.run(&script).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_that_crashes_while_it_writes_keeps_whole_commits_and_sends_them_later() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let url = server.url();
    let mut newest = 0;
    let mut beyond = 0;
    for round in 0..rounds() {
        let mut tab = world.synced(&url).await;
        write(&mut tab).await;
        for _ in 0..=round % 4 {
            let said = tab.0.event("Runtime.bindingCalled").await;
            newest = said["payload"].as_str().unwrap().parse().unwrap();
        }
        tab.0.crash().await;
        let mut tab = world.open().await;
        let rounds = tab
            .run(
                "const counts = {};
                for (const { round } of await notes.getAll()) counts[round] = (counts[round] ?? 0) + 1;
                return counts;",
            )
            .await;
        let rounds = rounds.as_object().unwrap();
        assert!(
            rounds.values().all(|count| *count == TOGETHER),
            "{rounds:?}"
        );
        let stored = rounds.len() as u64;
        assert!(
            stored >= newest,
            "{newest} was acknowledged, {stored} are stored"
        );
        beyond += u64::from(stored > newest);
        tab.close().await;
    }
    println!(
        "{} crashed tabs, {beyond} with a commit that was not acknowledged in time",
        rounds()
    );
    let mut tab = world.synced(&url).await;
    assert_eq!(tab.code("sync.forceSync()").await, "ok");
    let native = Native::start(&server).await;
    let all = native.all("notes").await;
    assert!(all.len() as u64 >= newest * TOGETHER);
    assert_eq!(tab.all().await, all);
    tab.close().await;
}

/// By its user, in the settings of the browser or its developer tools, while the page is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_data_is_cleared_says_so_and_begins_anew_with_what_the_server_has() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let url = server.url();
    let mut tab = world.synced(&url).await;
    tab.run("await notes.insert({ _id: 'sent', n: 1 })").await;
    assert_eq!(tab.code("sync.forceSync()").await, "ok");
    let all = json!({ "origin": world.site.origin, "storageTypes": "indexeddb" });
    tab.0.call("Storage.clearDataForOrigin", all).await;
    for call in [
        "notes.get('sent')",
        "notes.insert({ _id: 'lost' })",
        "notes.find().all()",
        "db.transaction((tx) => tx.collection('notes').delete('sent'))",
        "sync.forceSync()",
    ] {
        let code = tab.code(call).await;
        assert_eq!(code, "closed", "{call}");
    }
    // Without a reload: what is open is let go, and the same calls as at the beginning begin anew.
    tab.run("sync.destroy(); await db.close()").await;
    tab.run("await open()").await;
    assert_eq!(tab.all().await.len(), 0);
    tab.start(&url, "{}").await;
    tab.until("current() === 'idle'").await;
    let all = tab.all().await;
    assert_eq!(all.len(), 1);
    assert_eq!(all["sent"]["n"], 1);
    tab.close().await;
}
