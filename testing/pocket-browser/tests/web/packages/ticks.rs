//! What is written in one tick.

use super::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_inserts_of_one_tick_share_few_transactions() {
    let Some(world) = World::start().await else {
        return;
    };
    let mut tab = world.open().await;
    let counts = tab
        .run(
            "let writes = 0;
            const transaction = IDBDatabase.prototype.transaction;
            IDBDatabase.prototype.transaction = function (stores, mode, options) {
                if (mode === 'readwrite') writes += 1;
                return transaction.call(this, stores, mode, options);
            };
            const began = performance.now();
            const all = Array.from({ length: 500 }, (_, n) => notes.insert({ _id: 'n' + n, n }));
            const called = performance.now();
            await Promise.all(all);
            const settled = performance.now();
            return { writes, count: await notes.count(), called: called - began, settled: settled - called };",
        )
        .await;
    println!("500 single inserts of one tick: {counts}");
    assert_eq!(counts["count"], 500);
    let writes = counts["writes"].as_u64().unwrap();
    assert!((1..=10).contains(&writes), "{counts}");
    tab.close().await;
}
