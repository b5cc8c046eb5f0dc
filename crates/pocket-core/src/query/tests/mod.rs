//! Plans against the full scan, with numbers so small that few documents meet every page, bound and branch.

mod between;
mod bounded;
mod chosen;
mod hard;
mod meetings;
mod model;
mod store;
mod visited;

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;

use pocket_storage::Storage;
use pocket_storage_memory::MemoryStorage;

use self::store::Watched;

use crate::config::QueryTuning;
use crate::index::tests::strategy as values;
use crate::{Collection, CollectionConfig, Database, IndexConfig, Map, Value};

#[path = "../../../tests/query/strategy.rs"]
#[allow(dead_code, reason = "shared with the tests of the language")]
mod strategy;

thread_local! {
    static TUNING: Cell<QueryTuning> = const { Cell::new(QueryTuning::DEFAULT) };
}

/// The numbers that queries on this thread go by.
pub(crate) fn tuning() -> QueryTuning {
    TUNING.get()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

/// Documents of these bodies, whose ids are not in the order of insertion.
fn documents(bodies: &[Map]) -> Vec<Value> {
    let with_id = |(n, body): (usize, &Map)| {
        let mut whole = Map::new();
        whole.insert("_id", format!("{}", n * 7 % 31));
        for (key, value) in body.iter() {
            whole.insert(key, value.clone());
        }
        Value::Map(whole)
    };
    bodies.iter().enumerate().map(with_id).collect()
}

async fn collection(indexes: &[IndexConfig], documents: &[Value]) -> Collection<Value> {
    let config = CollectionConfig::new("things");
    let config = indexes
        .iter()
        .cloned()
        .fold(config, CollectionConfig::index);
    // Some that queries visit, and some that they read from afar.
    let storage: Arc<dyn Storage> = if documents.len().is_multiple_of(2) {
        Arc::new(MemoryStorage::new())
    } else {
        Arc::new(Watched::visited())
    };
    let db = Database::builder("test")
        .collection(config)
        .open_shared(storage)
        .await
        .unwrap();
    let things = db.collection::<Value>("things").unwrap();
    things.insert_many(documents).await.unwrap();
    things
}
