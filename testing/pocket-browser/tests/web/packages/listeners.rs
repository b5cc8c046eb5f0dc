//! Listeners that come and go.

use serde_json::json;

use super::{Server, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_listeners_of_each_kind_come_and_go_and_leave_nothing() {
    let Some(world) = World::start().await else {
        return;
    };
    let server = Server::start().await;
    let mut tab = world.synced(&server.url()).await;
    tab.run(
        "await notes.insertMany(Array.from({ length: 20 }, (_, n) => ({ _id: 'n' + n, n })));
        const { memory } = await (await import('/packages/core/dist/wasm/pocket_web.js')).default();
        let n = 0;
        globalThis.heard = 0;
        const hear = () => { heard += 1 };
        globalThis.comeAndGo = async (rounds) => {
            for (let round = 0; round < rounds; round += 1) {
                const live = notes.find().where('n').gte(round % 7).limit(5).live();
                const count = notes.find().liveCount();
                const subscriptions = [
                    live.subscribe(hear), count.subscribe(hear), notes.observeById('n' + (round % 20)).subscribe(hear),
                    notes.changes().subscribe(hear), db.changes().subscribe(hear), sync.getStatus().subscribe(hear),
                    sync.getStats().subscribe(hear), sync.getProgress().subscribe(hear), sync.isLeader.subscribe(hear),
                ];
                const forget = sync.onConflict(hear);
                // With something to tell for some of them, and time to tell it.
                if (round % 10 === 0) {
                    await live.ready();
                    await notes.update('n3', { n: n += 1 });
                }
                for (const subscription of subscriptions) subscription.unsubscribe();
                forget();
                live.close();
                count.close();
                // Some are closed before their first result.
            }
            await notes.count();
            return memory.buffer.byteLength;
        };",
    )
    .await;
    let before = tab.run("return comeAndGo(1000)").await;
    let heard = tab.run("return heard").await;
    assert!(heard.as_u64().unwrap() > 1_000, "{heard}");
    // Each of them has ended.
    tab.until("db.stats().then(({ liveQueries }) => liveQueries === 0)")
        .await;
    let after = tab.run("return comeAndGo(1000)").await;
    tab.until("db.stats().then(({ liveQueries }) => liveQueries === 0)")
        .await;
    // A page of it may come by where the pieces lie: that is seven bytes for each listener. What one leaves behind is more.
    let grown = after.as_u64().unwrap() - before.as_u64().unwrap();
    assert!(grown <= 65_536, "the memory of the module grew by {grown}");
    // Who left hears nothing more.
    let deaf = tab
        .run("const before = heard; await notes.update('n3', { n: -1 }); await sync.forceSync(); return heard - before")
        .await;
    assert_eq!(deaf, json!(0));
    tab.close().await;
}
