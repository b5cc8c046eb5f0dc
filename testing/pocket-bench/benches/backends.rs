//! The same work over every backend: commits of some sizes, a read, a scan.
#![allow(
    missing_docs,
    reason = "criterion's macros make a function without one"
)]

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pocket_storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;
use pocket_storage_redb::RedbStorage;
use pocket_storage_sled::SledStorage;
use tokio::runtime::Runtime;

/// Entries that are there before anything is measured.
const ENTRIES: u64 = 100_000;

const VALUE: [u8; 200] = [7; 200];

/// Keys that fall all over the range.
fn key(number: u64) -> [u8; 16] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mixed.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn batch(numbers: std::ops::Range<u64>) -> Batch {
    let mut batch = Batch::new();
    for number in numbers {
        batch.put(key(number), VALUE.to_vec());
    }
    batch
}

fn backends(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let redb = RedbStorage::open(directory.path().join("redb")).expect("opens");
    let sled = SledStorage::open(directory.path().join("sled")).expect("opens");
    let backends: [(&str, Arc<dyn Storage>); 3] = [
        ("memory", Arc::new(MemoryStorage::new())),
        ("redb", Arc::new(redb)),
        ("sled", Arc::new(sled)),
    ];
    for (name, storage) in backends {
        for start in (0..ENTRIES).step_by(10_000) {
            let filled = storage.commit(batch(start..start + 10_000), Durability::Relaxed);
            runtime.block_on(filled).expect("a commit");
        }
        let durability = storage.capabilities().durability;
        let mut group = criterion.benchmark_group(name);
        let mut next = ENTRIES;
        for size in [1, 100, 1_000_u64] {
            group.throughput(Throughput::Elements(size));
            group.bench_function(format!("commit of {size}"), |bencher| {
                bencher.iter(|| {
                    let commit = storage.commit(batch(next..next + size), durability);
                    next += size;
                    runtime.block_on(commit).expect("a commit");
                });
            });
        }
        group.throughput(Throughput::Elements(1));
        let mut at = 0;
        group.bench_function("get", |bencher| {
            bencher.iter(|| {
                at = (at + 1) % ENTRIES;
                let found = runtime.block_on(storage.get(&key(at))).expect("a read");
                assert!(found.is_some(), "every entry is there");
            });
        });
        group.throughput(Throughput::Elements(1_000));
        group.bench_function("scan of 1000", |bencher| {
            bencher.iter(|| {
                let limit = ScanLimit::entries(1_000);
                let scan = storage.scan(KeyRange::all(), limit, Direction::Forward);
                let found = runtime.block_on(scan).expect("a scan");
                assert_eq!(found.len(), 1_000);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, backends);
criterion_main!(benches);
