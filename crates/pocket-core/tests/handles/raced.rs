//! Another handle is faster, again and again.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use pocket_core::storage::BoxFuture;
use pocket_core::{CollectionConfig, Database, Value};
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage,
};
use pocket_storage_memory::MemoryStorage;

type Meddler = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Before a scan or a commit somebody else does something in the same store, as often as is left.
#[derive(Default)]
struct Raced {
    entries: MemoryStorage,
    meddler: Mutex<Option<Meddler>>,
    left: AtomicUsize,
}

impl std::fmt::Debug for Raced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Raced").finish_non_exhaustive()
    }
}

impl Raced {
    fn meddled(&self, times: usize, meddler: Meddler) {
        *self.meddler.lock().unwrap() = Some(meddler);
        self.left.store(times, Ordering::Relaxed);
    }

    async fn meddle(&self) {
        let left = self.left.load(Ordering::Relaxed);
        let meddler = self.meddler.lock().unwrap().clone();
        if let (Some(meddler), 1..) = (meddler, left) {
            self.left.store(left - 1, Ordering::Relaxed);
            meddler().await;
        }
    }
}

#[async_trait]
impl Storage for Raced {
    fn capabilities(&self) -> Capabilities {
        self.entries.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.entries.get(key).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.entries.get_many(keys).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.meddle().await;
        self.entries.scan(range, limit, direction).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.meddle().await;
        self.entries.commit(batch, durability).await
    }

    async fn close(&self) -> Result<()> {
        self.entries.close().await
    }
}

async fn open(storage: Arc<dyn Storage>) -> Database {
    Database::builder("raced")
        .collection(CollectionConfig::new("docs"))
        .open_shared(storage)
        .await
        .unwrap()
}

fn document(id: usize) -> Value {
    Value::from_json_str(&format!(r#"{{"_id":"{id}"}}"#)).unwrap()
}

/// Two tabs open a new database in the same moment.
#[tokio::test]
async fn a_database_that_another_handle_makes_meanwhile_is_opened() {
    let storage = Arc::<Raced>::default();
    let entries = storage.entries.clone();
    let made: Meddler = Arc::new(move || {
        let entries = entries.clone();
        Box::pin(async move { drop(open(Arc::new(entries)).await) })
    });
    storage.meddled(1, made);
    let database = open(storage.clone()).await;
    assert_eq!(storage.left.load(Ordering::Relaxed), 0, "it was raced");
    let docs = database.collection::<Value>("docs").unwrap();
    docs.insert(&document(1)).await.unwrap();
}

/// Another tab writes in a loop.
#[tokio::test]
async fn reads_and_writes_beside_a_handle_that_never_pauses_do_not_fail() {
    const TIMES: usize = 300;
    let storage = Arc::<Raced>::default();
    let database = open(storage.clone()).await;
    let other = open(Arc::new(storage.entries.clone())).await;
    let written = Arc::new(AtomicUsize::new(1_000));
    let write: Meddler = Arc::new(move || {
        let docs = other.collection::<Value>("docs").unwrap();
        let id = written.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { drop(docs.insert(&document(id)).await.unwrap()) })
    });
    storage.meddled(TIMES, write.clone());
    let docs = database.collection::<Value>("docs").unwrap();
    docs.insert(&document(1)).await.unwrap();
    assert_eq!(storage.left.load(Ordering::Relaxed), 0);
    storage.meddled(TIMES, write);
    let found = docs.find().sort("n", pocket_core::Order::Ascending);
    assert_eq!(found.all().await.unwrap().len(), 1 + 2 * TIMES);
    assert_eq!(storage.left.load(Ordering::Relaxed), 0);
}

/// Two commits of another tab were in the store when a live query began to read, and it heard of the first while it read.
/// That put the document back to what the first had made of it, and the second was left aside later, as one that had been
/// read: the query showed the older version until the document changed again.
#[tokio::test]
async fn what_is_told_late_of_a_state_that_was_read_does_not_come_back() {
    let storage = Arc::<Raced>::default();
    let other = open(Arc::new(storage.entries.clone())).await;
    let here = open(storage.clone()).await;
    let mut committed = other.committed();
    let theirs = other.collection::<Value>("docs").unwrap();
    let mut told = Vec::new();
    for n in 1..=2 {
        let version = Value::from_json_str(&format!(r#"{{"_id":"1","n":{n}}}"#)).unwrap();
        theirs.upsert(&version).await.unwrap();
        told.push(committed.next().await.unwrap());
    }
    let (first, there) = (told[0].clone(), here.clone());
    let hear: Meddler = Arc::new(move || {
        let (first, there) = (first.clone(), there.clone());
        Box::pin(async move { there.committed_elsewhere(&first).await.unwrap() })
    });
    storage.meddled(1, hear);
    let mut live = here.collection::<Value>("docs").unwrap().find().live();
    live.next().await.unwrap().unwrap();
    assert_eq!(storage.left.load(Ordering::Relaxed), 0, "it was told");
    assert_eq!(super::support::result(&live), "12");
    here.committed_elsewhere(&told[1]).await.unwrap();
    assert!(super::support::ready(&mut live).is_none());
    assert_eq!(super::support::result(&live), "12");
}
