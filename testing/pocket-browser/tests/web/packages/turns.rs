//! Tabs that write without a pause: each gets its turn.

use serde_json::json;

use super::{Tab, World};

/// Operations of each kind.
const EACH: u64 = 100;

/// Counts the transactions that this tab begins to write: one that is overtaken begins another.
const COUNTED: &str = "globalThis.begun = 0;
    const own = IDBDatabase.prototype.transaction;
    IDBDatabase.prototype.transaction = function (stores, mode, options) {
        if (mode === 'readwrite') begun += 1;
        return own.call(this, stores, mode, options);
    };";

/// A live query reads again and again, and what nobody takes of its errors fails the test. It takes turns as well.
const LIVE: &str = "globalThis.live = notes.find().live();
    live.subscribe(() => undefined);
    await live.ready();";

/// Does something again and again until it is told to stop.
async fn keep(tab: &mut Tab, what: &str) {
    tab.run(&format!(
        "globalThis.rounds = 0;
        globalThis.isOver = false;
        globalThis.busy = (async () => {{
            for (; !isOver; rounds += 1) {{
                const n = rounds;
                await {what};
            }}
        }})();"
    ))
    .await;
    tab.until("rounds > 20").await;
}

/// Does something [`EACH`] times; how many transactions that took, and the waits in milliseconds, sorted.
async fn time(tab: &mut Tab, what: &str) -> (u64, Vec<f64>) {
    let told = tab
        .run(&format!(
            "const waits = [];
            const before = begun;
            for (let n = 0; n < {EACH}; n += 1) {{
                const at = performance.now();
                await {what};
                waits.push(performance.now() - at);
            }}
            return [begun - before, waits.sort((one, other) => one - other)];"
        ))
        .await;
    let waits = told[1].as_array().unwrap().iter();
    (
        told[0].as_u64().unwrap(),
        waits.map(|wait| wait.as_f64().unwrap()).collect(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_tab_that_writes_without_a_pause_nothing_is_overtaken_twice() {
    let Some(world) = World::start().await else {
        return;
    };
    let (mut busy, mut other) = (world.open().await, world.open().await);
    busy.run(COUNTED).await;
    other.run(COUNTED).await;
    busy.run(LIVE).await;
    keep(&mut busy, "notes.insert({ _id: 'busy ' + n })").await;
    let kinds = [
        ("insert", "notes.insert({ _id: 'other ' + n, n })"),
        ("update", "notes.update('other ' + n, { n: n + 1 })"),
        (
            "transaction",
            "db.transaction(async (tx) => {
                const of = tx.collection('notes');
                const note = await of.get('other ' + n);
                of.update('other ' + n, { n: note.n + 1 });
                of.insert({ _id: 'more ' + n });
            })",
        ),
        ("get", "notes.get('other ' + n)"),
        ("find", "notes.find({ n }).all()"),
    ];
    let mut most = Vec::new();
    for (kind, what) in kinds {
        let (begun, waits) = time(&mut other, what).await;
        let rounds = busy.run("return rounds").await;
        println!(
            "{kind}: {begun} transactions, p50 {:.1} ms, longest {:.1} ms, the busy tab has made {rounds}",
            waits[waits.len() / 2],
            waits[waits.len() - 1]
        );
        most.push((kind, begun));
    }
    // Not before: what is counted is to be what was done.
    other.run(LIVE).await;
    let rounds = busy.run("return rounds").await;
    busy.until(&format!("rounds > {rounds} + {EACH}")).await;
    let [written, begun] = {
        let told = busy
            .run("isOver = true; await busy; return [rounds, begun]")
            .await;
        [0, 1].map(|at| told[at].as_u64().unwrap())
    };
    most.push(("busy insert", begun));
    for (kind, begun) in most {
        let bound = match kind {
            "get" => 0,
            // A query that was overtaken a few times takes a turn, though it has nothing to write.
            "find" => EACH,
            "busy insert" => 2 * written,
            // One that is overtaken, and one that is not.
            _ => 2 * EACH,
        };
        assert!(begun <= bound, "{kind}: {begun} transactions, not {bound}");
    }
    let all = other.all().await;
    for n in 0..EACH {
        assert_eq!(all[&format!("other {n}")]["n"], json!(n + 2));
        assert!(all.contains_key(&format!("more {n}")));
    }
    assert_eq!(all.len() as u64, written + 2 * EACH);
    for tab in [&mut busy, &mut other] {
        tab.until(&format!(
            "live.getSnapshot().data.length === {} &&
                live.getSnapshot().data.every(({{ _id, n }}) => !_id.startsWith('other') || n === Number(_id.slice(6)) + 2)",
            all.len()
        ))
        .await;
    }
    busy.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_count_the_same_up_lose_no_step_and_leave_each_other_their_turns() {
    let Some(world) = World::start().await else {
        return;
    };
    let mut tabs = Vec::new();
    for _ in 0..3 {
        let mut tab = world.open().await;
        tab.run(COUNTED).await;
        tabs.push(tab);
    }
    tabs[0]
        .run("await notes.insert({ _id: 'sum', n: 0 })")
        .await;
    let count = "db.transaction(async (tx) => {
        const of = tx.collection('notes');
        globalThis.runs = (globalThis.runs ?? 0) + 1;
        of.update('sum', { n: (await of.get('sum')).n + 1 });
    })";
    let [one, two, three] = tabs.as_mut_slice() else {
        unreachable!("three were opened");
    };
    let all = tokio::join!(time(one, count), time(two, count), time(three, count));
    for (begun, waits) in [all.0, all.1, all.2] {
        println!(
            "{begun} transactions, longest {:.1} ms",
            waits[waits.len() - 1]
        );
    }
    for tab in &mut tabs {
        // What is overtaken runs again once, and then nothing comes in between.
        let runs = tab.run("return runs").await.as_u64().unwrap();
        assert!((EACH..=2 * EACH).contains(&runs), "{runs} runs");
    }
    let sum = tabs[0].run("return (await notes.get('sum')).n").await;
    assert_eq!(sum, json!(3 * EACH));
    for tab in tabs {
        tab.close().await;
    }
}
