//! What the tests of several handles share.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use pocket_core::{
    ChangeItem, Collection, CollectionConfig, Database, Document, LiveQuery, LiveStep,
    Subscription, Value,
};
use pocket_storage::Storage;
use pocket_storage::faulty::{Faults, FaultyStorage};
use pocket_storage_memory::MemoryStorage;

/// One of several handles, and what it does to the store.
pub(crate) struct Handle {
    pub(crate) db: Database,
    pub(crate) docs: Collection<Value>,
    pub(crate) faults: Faults,
    committed: Subscription<Bytes>,
}

pub(crate) fn config() -> CollectionConfig {
    CollectionConfig::new("docs").sync(true)
}

/// Handles of one new store, all of which know each other's beginnings.
pub(crate) async fn handles<const N: usize>() -> [Handle; N] {
    let store: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let mut handles = Vec::new();
    for _ in 0..N {
        handles.push(handle(&store).await);
    }
    handles.try_into().ok().unwrap()
}

/// Another handle of a store.
pub(crate) async fn handle(store: &Arc<dyn Storage>) -> Handle {
    let faults = Faults::new();
    let storage = FaultyStorage::new(store.clone(), &faults);
    let builder = Database::builder("test").collection(config());
    let db = builder.open(storage).await.unwrap();
    Handle {
        docs: db.collection("docs").unwrap(),
        committed: db.committed(),
        faults,
        db,
    }
}

impl Handle {
    /// What it committed since the last time.
    pub(crate) fn told(&mut self) -> Vec<Bytes> {
        let mut told = Vec::new();
        while let Some(message) = self.committed.next().now_or_never() {
            told.push(message.unwrap());
        }
        told
    }

    /// Its only commit since the last time.
    pub(crate) fn told_once(&mut self) -> Bytes {
        let told = self.told();
        assert_eq!(told.len(), 1);
        told.into_iter().next().unwrap()
    }

    pub(crate) async fn hear(&self, message: &Bytes) {
        self.db.committed_elsewhere(message).await.unwrap();
    }

    pub(crate) async fn put(&self, id: &str, n: i64) {
        self.docs.upsert(&document(id, n)).await.unwrap();
    }

    /// Reads of the store until now, and commits that it tried.
    pub(crate) fn calls(&self) -> (u64, u64) {
        let calls = self.faults.calls();
        (calls.total() - calls.commit, calls.commit)
    }
}

pub(crate) fn document(id: &str, n: i64) -> Value {
    Value::from_json_str(&format!(r#"{{"_id":"{id}","n":{n}}}"#)).unwrap()
}

/// Items that are there already, shortly: `+a1`, `=a2`, `-a`, or `lagged 3-4`.
pub(crate) fn items(changes: &mut Subscription<ChangeItem>) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(item) = changes.next().now_or_never() {
        items.push(match item.unwrap() {
            ChangeItem::Lagged { from, to } => format!("lagged {from}-{to}"),
            ChangeItem::Change(change) => {
                let n = change.document.as_ref().map(shown).unwrap_or_default();
                let sign = match (&change.previous_document, &change.document) {
                    (None, Some(_)) => '+',
                    (Some(_), Some(_)) => '=',
                    _ => '-',
                };
                format!("{sign}{}{n}", change.document_id)
            }
            other => panic!("{other:?}"),
        });
    }
    items
}

/// The number in a document.
pub(crate) fn shown(document: &Document) -> String {
    let map = document.to_map().unwrap();
    map.get("n").unwrap().to_json_string().unwrap()
}

/// The step that is there already.
pub(crate) fn ready(live: &mut LiveQuery<Value>) -> Option<LiveStep<Value>> {
    live.next()
        .now_or_never()
        .map(|step| step.unwrap().unwrap())
}

/// What a live query shows, as `a1 b2`.
pub(crate) fn result(live: &LiveQuery<Value>) -> String {
    let result = live.result();
    let rows = result
        .documents()
        .map(|document| format!("{}{}", document.id, shown(document)));
    rows.collect::<Vec<_>>().join(" ")
}
