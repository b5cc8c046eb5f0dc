//! What a change costs live queries: in results of several sizes, and with a thousand of them.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use pocket_core::storage::Durability;
use pocket_core::{Collection, CollectionConfig, Database, LiveQuery, Order, Value, field};
use pocket_storage_memory::MemoryStorage;
use tokio::runtime::Runtime;

fn document(id: usize, n: usize) -> Value {
    Value::from_json_str(&format!(
        r#"{{"_id":"{id:07}","n":{n},"room":{},"name":"document {id}","tags":["a","b"],"note":"some text to carry"}}"#,
        id % 1_000
    ))
    .expect("it is JSON")
}

async fn filled(count: usize) -> Collection<Value> {
    let db = Database::builder("bench")
        .collection(CollectionConfig::new("docs"))
        .durability(Durability::Relaxed)
        .open(MemoryStorage::new())
        .await
        .expect("it opens");
    let docs = db.collection("docs").expect("it is there");
    let all: Vec<_> = (0..count)
        .map(|id| document(id, id * 7_919 % count))
        .collect();
    for some in all.chunks(5_000) {
        docs.insert_many(some).await.expect("it inserts");
    }
    docs
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

/// One document goes to another place; only the live query's part is measured, not the write.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn update(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("live/update");
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let docs = runtime.block_on(filled(count));
        for limited in [false, true] {
            let mut query = docs.find().sort("n", Order::Ascending);
            if limited {
                query = query.limit(50);
            }
            let mut live = query.live();
            runtime
                .block_on(live.next())
                .expect("a step")
                .expect("a result");
            let name = if limited { "first 50 of" } else { "all of" };
            let mut turn = 0_usize;
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter_custom(|times| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..times {
                        turn += 1;
                        let id = turn * 7_907 % count;
                        let n = if limited {
                            turn % 100
                        } else {
                            turn * 104_729 % count
                        };
                        let write = document(id, n);
                        runtime.block_on(docs.upsert(&write)).expect("it writes");
                        let begin = Instant::now();
                        black_box(live.next().now_or_never());
                        spent += begin.elapsed();
                    }
                    spent
                });
            });
        }
    }
    group.finish();
}

/// A write, and all of a thousand live queries taking in what it means for them.
fn thousand(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("live/write with 1000 queries");
    let docs = runtime.block_on(filled(10_000));
    type Make = fn(&Collection<Value>, usize) -> LiveQuery<Value>;
    let kinds: [(&str, usize, Make); 4] = [
        ("none", 0, |docs, _| docs.find().live()),
        ("each its room", 1_000, |docs, n| {
            docs.find().filter(field("room").eq(n as u64)).live()
        }),
        ("each a range, 50 rows", 1_000, |docs, n| {
            let n = n as u64;
            docs.find().filter(field("n").between(n, n + 50)).live()
        }),
        ("all of 10,000, 20 shown", 1_000, |docs, _| {
            docs.find().sort("n", Order::Ascending).limit(20).live()
        }),
    ];
    for (name, count, make) in kinds {
        let mut live: Vec<_> = (0..count).map(|n| make(&docs, n)).collect();
        for live in &mut live {
            runtime
                .block_on(live.next())
                .expect("a step")
                .expect("a result");
        }
        let mut turn = 0_usize;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                turn += 1;
                let write = document(turn * 7_907 % 10_000, turn * 7_919 % 10_000);
                runtime.block_on(docs.upsert(&write)).expect("it writes");
                for live in &mut live {
                    black_box(live.next().now_or_never());
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, update, thousand);
criterion_main!(benches);
