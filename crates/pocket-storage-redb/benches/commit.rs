//! Durable commits through the store, beside the same batches in bare redb.
#![allow(
    missing_docs,
    reason = "criterion's macros make a function without one"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pocket_storage::{Batch, Durability, Storage};
use pocket_storage_redb::RedbStorage;
use redb::{Database, TableDefinition};
use tokio::runtime::Runtime;

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("bare");
const VALUE: [u8; 200] = [7; 200];

/// Keys that fall all over the tree.
fn key(number: u64) -> [u8; 16] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mixed.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

fn commits(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let storage = RedbStorage::open(directory.path().join("store.redb")).expect("opens");
    let bare = Database::builder()
        .set_cache_size(32 * 1024 * 1024)
        .create(directory.path().join("bare.redb"))
        .expect("opens");
    let mut group = criterion.benchmark_group("durable commit");
    for size in [1, 100, 1000_u64] {
        group.throughput(Throughput::Elements(size));
        let mut next = 0;
        group.bench_function(format!("store, {size} entries"), |bencher| {
            bencher.iter(|| {
                let mut batch = Batch::new();
                for number in next..next + size {
                    batch.put(key(number), VALUE.to_vec());
                }
                next += size;
                runtime
                    .block_on(storage.commit(batch, Durability::PowerLoss))
                    .expect("a commit");
            });
        });
        let mut next = 0;
        group.bench_function(format!("bare redb, {size} entries"), |bencher| {
            bencher.iter(|| {
                let transaction = bare.begin_write().expect("a transaction");
                {
                    let mut table = transaction.open_table(TABLE).expect("a table");
                    for number in next..next + size {
                        table
                            .insert(&key(number)[..], &VALUE[..])
                            .expect("an insert");
                    }
                }
                next += size;
                transaction.commit().expect("a commit");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commits);
criterion_main!(benches);
