//! Several tabs on one database: each writes, one syncs.

use std::time::Instant;

use pocket_core::{ChangeItem, Operation};
use serde_json::{Value, json};

use super::{Server, Tab, World};
use crate::server::Native;

/// Enough pushes that one of them is under way when the tab that makes them goes.
const NOTES: u64 = 400;

/// The note that the native device writes when all is done.
const LAST: &str = "last";

#[expect(clippy::disallowed_methods, reason = "what takes its time is printed")]
fn now() -> Instant {
    Instant::now()
}

/// Which of some tabs leads. There is exactly one.
async fn leader(tabs: &mut [Tab]) -> usize {
    let mut leading = Vec::new();
    for (index, tab) in tabs.iter_mut().enumerate() {
        if tab.run("return sync.isLeader.getSnapshot()").await == true {
            leading.push(index);
        }
    }
    assert_eq!(leading.len(), 1, "{leading:?} lead");
    leading[0]
}

/// Status and statistics are the same in all tabs; what they are.
async fn agreed(tabs: &mut [Tab]) -> Value {
    let figures = "JSON.stringify([current(), stats(), sync.getProgress().getSnapshot()])";
    let mut last = Value::Null;
    for _ in 0..1_000 {
        let mut all = Vec::new();
        for tab in &mut *tabs {
            all.push(tab.run(&format!("return {figures}")).await);
        }
        if all.iter().all(|one| *one == all[0]) {
            return serde_json::from_str(all[0].as_str().unwrap()).unwrap();
        }
        last = json!(all);
    }
    panic!("they never agreed: {last}");
}

/// A live query that keeps every state it tells.
async fn watch(tab: &mut Tab) {
    tab.run(
        "globalThis.states = [];
        globalThis.live = notes.find().sort('_id', 'asc').live();
        live.subscribe((state) => states.push(state));
        await live.ready();
        globalThis.shown = () => live.getSnapshot().data.map((note) => note._id).join();",
    )
    .await;
}

async fn tabs(world: &World, url: &str, count: usize, options: &str) -> Vec<Tab> {
    let mut tabs = Vec::new();
    for _ in 0..count {
        let mut tab = world.open().await;
        watch(&mut tab).await;
        tab.start(url, options).await;
        tabs.push(tab);
    }
    tabs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_tabs_write_see_each_other_and_sync_as_one_client() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let mut tabs = tabs(&world, &server.url(), 3, "{}").await;
    leader(&mut tabs).await;
    for (index, tab) in tabs.iter_mut().enumerate() {
        tab.run(&format!("await notes.insert({{ _id: 'of tab {index}' }})"))
            .await;
    }
    for tab in &mut tabs {
        tab.until("shown() === 'of tab 0,of tab 1,of tab 2'").await;
        tab.until("current() === 'idle'").await;
        // Told step by step: nothing was read again.
        let again = tab
            .run("return states.slice(1).filter((state) => state.isReset).length")
            .await;
        assert_eq!(again, 0);
    }
    // Of one id as well, and at once: both take effect.
    let (one, rest) = tabs.split_first_mut().unwrap();
    let edit = |field: &str| {
        format!("for (let n = 0; n < 50; n += 1) await notes.update('of tab 0', {{ {field}: n }})")
    };
    let edits = (edit("a"), edit("b"));
    tokio::join!(one.run(&edits.0), rest[0].run(&edits.1));
    for tab in &mut tabs {
        tab.until("live.getSnapshot().data[0].a === 49 && live.getSnapshot().data[0].b === 49")
            .await;
        tab.until("sync.pendingChanges().then((count) => count === 0)")
            .await;
        tab.until("current() === 'idle'").await;
    }
    assert_eq!(server.clients().len(), 1);
    // Any of them may ask.
    for tab in &mut tabs {
        for call in ["forceSync", "push", "pull"] {
            assert_eq!(tab.code(&format!("sync.{call}()")).await, "ok");
        }
    }
    let [status, stats, _] = agreed(&mut tabs)
        .await
        .as_array()
        .unwrap()
        .clone()
        .try_into()
        .unwrap();
    assert_eq!(status, "idle");
    assert!(stats["pushCount"].as_u64().unwrap() >= 3, "{stats}");
    let native = Native::start(&server).await;
    let all = native.all("notes").await;
    assert_eq!(all.len(), 3);
    for tab in &mut tabs {
        assert_eq!(tab.all().await, all);
    }
    for tab in tabs {
        tab.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_closed_during_a_push_is_followed_and_nothing_is_lost_or_doubled() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let native = Native::start(&server).await;
    let mut changes = native.notes().changes();
    // Read as they come, up to a note of its own: each note is new once, and comes no second time.
    let counted = tokio::spawn(async move {
        let mut inserted = 0;
        loop {
            match changes.next().await.unwrap() {
                ChangeItem::Change(change) if change.document_id.as_str() == LAST => {
                    return inserted;
                }
                ChangeItem::Change(change) => assert_eq!(change.operation, Operation::Insert),
                _ => panic!("the test reads too slowly"),
            }
            inserted += 1;
        }
    });
    // Many small pushes.
    let mut tabs = tabs(&world, &server.url(), 2, "{ batchSize: 1 }").await;
    let index = leader(&mut tabs).await;
    let mut first = tabs.remove(index);
    let mut second = tabs.remove(0);
    second.until("current() === 'idle'").await;
    second
        .run("sync.isLeader.subscribe((leads) => { if (leads) globalThis.took = performance.now() })")
        .await;
    // The leader writes half of them, the other tab the other half, and neither waits.
    for (tab, name) in [(&mut first, "first"), (&mut second, "second")] {
        let script = format!(
            "globalThis.written = Promise.all(Array.from({{ length: {} }},
                (_, n) => notes.insert({{ _id: '{name} ' + n, n }})));
            await written;",
            NOTES / 2
        );
        tab.run(&script).await;
    }
    second
        .until(&format!(
            "stats().pendingCount > 0 && stats().pendingCount < {NOTES}"
        ))
        .await;
    let sent = second.run("return stats().pushCount").await;
    let closed = now();
    first.0.close_tab().await;
    second.until("sync.isLeader.getSnapshot()").await;
    println!(
        "took over {} ms after the tab was closed, {sent} of {NOTES} sent",
        closed.elapsed().as_millis()
    );
    second
        .until("sync.pendingChanges().then((count) => count === 0)")
        .await;
    second.until("current() === 'idle'").await;
    assert_eq!(server.clients().len(), 2);
    let all = native.all("notes").await;
    assert_eq!(all.len() as u64, NOTES);
    assert_eq!(second.all().await, all);
    native.put(LAST).await;
    assert_eq!(counted.await.unwrap(), NOTES);
    second.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_frozen_is_replaced_and_follows_when_it_wakes() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let native = Native::start(&server).await;
    let mut tabs = tabs(&world, &server.url(), 3, "{}").await;
    let index = leader(&mut tabs).await;
    let mut frozen = tabs.remove(index);
    frozen.until("current() === 'idle'").await;
    frozen.0.freeze(true).await;
    let began = now();
    // Whichever of the two it is.
    let (one, two) = tabs.split_at_mut(1);
    let leads = "sync.isLeader.getSnapshot()";
    tokio::select! {
        () = one[0].until(leads) => {}
        () = two[0].until(leads) => {}
    }
    println!(
        "took over {} ms after the leader was frozen",
        began.elapsed().as_millis()
    );
    // The condition that was given up answers later; a new call is not confused by it.
    leader(&mut tabs).await;
    for (n, tab) in tabs.iter_mut().enumerate() {
        tab.run(&format!(
            "await notes.insert({{ _id: 'while frozen {n}' }})"
        ))
        .await;
        assert_eq!(tab.code("sync.forceSync()").await, "ok");
    }
    assert_eq!(native.all("notes").await.len(), 2);
    frozen.0.freeze(false).await;
    frozen.until("!sync.isLeader.getSnapshot()").await;
    frozen
        .until("shown() === 'while frozen 0,while frozen 1'")
        .await;
    frozen.run("await notes.insert({ _id: 'woken' })").await;
    assert_eq!(frozen.code("sync.forceSync()").await, "ok");
    tabs.push(frozen);
    leader(&mut tabs).await;
    agreed(&mut tabs).await;
    assert_eq!(server.clients().len(), 2);
    let all = native.all("notes").await;
    assert_eq!(all.len(), 3);
    for tab in &mut tabs {
        tab.until("shown() === 'while frozen 0,while frozen 1,woken'")
            .await;
        assert_eq!(tab.all().await, all);
    }
    for tab in tabs {
        tab.close().await;
    }
}

/// Two applications of one site, by their prefixes and the names of their databases.
const APPLICATIONS: [&str; 2] = ["'a:', 'b:c'", "'a:b:', 'c'"];

const OPEN: &str = "globalThis.openAs = async (prefix, name) => {
        const storage = createIndexedDBStorage({ prefix });
        globalThis.db = await Database.create({ name, storage, collections: [{ name: 'notes' }] });
        globalThis.notes = db.collection('notes');
    };";

/// `a:` and `b:c`, `a:b:` and `c`: two applications of one site had one database, and each synced what the other wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_whose_prefixes_and_names_read_alike_lie_apart_and_keep_their_places() {
    let Some(world) = World::start().await else {
        return;
    };
    let mut tabs = Vec::new();
    for names in [0, 1, 0, 1].map(|at| APPLICATIONS[at]) {
        let mut tab = world.tab().await;
        tab.run(&format!("{OPEN} await openAs({names});")).await;
        watch(&mut tab).await;
        tabs.push(tab);
    }
    for (at, tab) in tabs.iter_mut().enumerate() {
        tab.run(&format!("await notes.insert({{ _id: 'of {at}' }})"))
            .await;
    }
    for (tab, seen) in tabs.iter_mut().zip(["of 0,of 2", "of 1,of 3"].repeat(2)) {
        tab.until(&format!("shown() === '{seen}'")).await;
        let again = "return states.slice(1).filter((state) => state.isReset).length";
        assert_eq!(tab.run(again).await, 0, "nobody hears of the others'");
    }
    let stored = "return (await indexedDB.databases()).map(({ name }) => name).sort()";
    assert_eq!(tabs[0].run(stored).await, json!(["a:b:\0c", "a:b:c"]));
    for tab in &mut tabs {
        tab.run("await db.close()").await;
    }
    // Whichever of them comes first, and also when the other one is gone.
    let gone =
        "await new Promise((done) => { indexedDB.deleteDatabase('a:b:c').onsuccess = done })";
    let tab = &mut tabs[0];
    for (names, before, seen) in [
        (APPLICATIONS[1], "", json!(["of 1", "of 3"])),
        (APPLICATIONS[0], "", json!(["of 0", "of 2"])),
        (APPLICATIONS[1], gone, json!(["of 1", "of 3"])),
        (APPLICATIONS[0], "", json!([])),
        // The name of one that nobody is in the way of is what it always was.
        ("'x:y:', 'z'", "", json!([])),
    ] {
        tab.run(&format!("{before}; await openAs({names})")).await;
        let found = tab
            .run("const all = (await notes.getAll()).map((note) => note._id).sort(); await db.close(); return all")
            .await;
        assert_eq!(found, seen, "{names}");
    }
    assert_eq!(tab.run(stored).await, json!(["a:b:\0c", "a:b:c", "x:y:z"]));
    // Neither sees the other one when both are made in the same moment, and whoever comes second leaves nothing in the first.
    let both = "const made = await Promise.all([['m:', 'n:o'], ['m:n:', 'o']].map(async ([prefix, name]) => {
            const storage = createIndexedDBStorage({ prefix });
            const collections = ['notes', `only${name.length}`].map((name) => ({ name }));
            const database = await Database.create({ name, storage, collections });
            await database.collection('notes').insert({ _id: `of ${name}` });
            return database;
        }));
        const found = [];
        for (const database of made) {
            const names = database.listCollections().map(({ name }) => name);
            found.push([database.name, ...names, ...(await database.collection('notes').getAll()).map((note) => note._id)]);
            await database.close();
        }
        const lie = (await indexedDB.databases()).filter(({ name }) => name.startsWith('m:'));
        return [found, lie.length]";
    let apart = json!([
        [
            ["n:o", "notes", "only3", "of n:o"],
            ["o", "notes", "only1", "of o"]
        ],
        2
    ]);
    assert_eq!(tab.run(both).await, apart);
    for tab in tabs {
        tab.close().await;
    }
}
