//! What is done to all of a large collection, commit by commit: it was one commit, which took memory of its size.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "stepwise/interrupted.rs"]
mod interrupted;
#[path = "stepwise/weighed.rs"]
mod weighed;

use std::sync::Arc;

use pocket_core::replica::Replica;
use pocket_core::storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_core::{
    ChangeKind, Collection, CollectionConfig, Database, LiveStep, Mutation, PushLimit, Target,
    Value,
};
use pocket_storage_memory::MemoryStorage;

use self::weighed::Weighed;

/// More than two commits clear.
const MANY: usize = 2_500;

/// A database with a collection `docs`, in a store that fails as the test says.
struct World {
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    faults: Faults,
    storage: MemoryStorage,
}

impl World {
    async fn on(storage: MemoryStorage, sync: Option<bool>) -> Self {
        let faults = Faults::new();
        let faulty = FaultyStorage::new(Arc::new(storage.clone()), &faults);
        let mut builder = Database::builder("test");
        if let Some(sync) = sync {
            builder = builder.collection(CollectionConfig::new("docs").sync(sync));
        }
        let db = builder.open(faulty).await.unwrap();
        Self {
            docs: db.collection("docs").unwrap(),
            replica: Replica::new(&db, Target::DEFAULT),
            db,
            faults,
            storage,
        }
    }

    /// One with many documents.
    async fn full(sync: bool) -> Self {
        let world = Self::on(MemoryStorage::new(), Some(sync)).await;
        let many: Vec<_> = (0..MANY).map(|n| document(&id(n), 0)).collect();
        world.docs.insert_many(&many).await.unwrap();
        world
    }

    /// The program starts once more, and says nothing of the collection.
    async fn restarted(self) -> Self {
        let storage = self.storage.clone();
        drop(self);
        Self::on(storage, None).await
    }

    /// The commit of this number from now, from 1, finds the disk full.
    fn fail_at_commit(&self, number: u64) {
        let at = self.faults.calls().commit + number;
        let full = pocket_core::storage::StorageError::Full("by the test".to_owned());
        self.faults
            .fail_at_kind(CallKind::Commit, at, Moment::Before, full);
    }

    async fn switch(&self, sync: bool) -> pocket_core::Result<()> {
        let config = CollectionConfig::new("docs").sync(sync);
        self.db.create_collection(config).await
    }

    fn syncs(&self) -> bool {
        let configs = self.db.list_collections();
        configs.iter().any(|it| it.name == "docs" && it.sync)
    }

    /// What is sent: each document with the number in it, or none where it is deleted.
    async fn sent(&self) -> Vec<(String, Option<i64>)> {
        let limit = PushLimit {
            changes: 100_000,
            bytes: 1 << 30,
        };
        let pinned = self.replica.pin(limit).await.unwrap();
        let changes = pinned.mutations.iter().flat_map(Mutation::changes);
        let sent = changes.map(|change| {
            let n = match &change.kind {
                ChangeKind::Put(body) => number(&Value::Map(body.to_map().unwrap())),
                _ => None,
            };
            (change.id.to_string(), n)
        });
        let mut sent: Vec<_> = sent.collect();
        sent.sort();
        sent
    }

    async fn pending(&self) -> u64 {
        self.db.stats().await.unwrap().pending_changes
    }

    async fn ids(&self) -> Vec<String> {
        let found = self.docs.find().documents().await.unwrap();
        found.iter().map(|it| it.id.to_string()).collect()
    }
}

fn id(n: usize) -> String {
    format!("{n:05}")
}

fn document(id: &str, n: i64) -> Value {
    Value::from_json_str(&format!(r#"{{"_id":"{id}","n":{n}}}"#)).unwrap()
}

fn number(document: &Value) -> Option<i64> {
    document.as_map()?.get("n")?.as_integer()?.as_i64()
}

/// A store that weighs its commits, with documents of 20 KB in a collection.
async fn heavy(sync: bool) -> (Arc<Weighed>, Database, Collection<Value>) {
    let storage = Arc::new(Weighed::default());
    let builder = Database::builder("test").collection(CollectionConfig::new("docs").sync(sync));
    let db = builder.open_shared(storage.clone()).await.unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    let text = "x".repeat(20_000);
    for chunk in 0..20 {
        let many = (0..100).map(|n| {
            let id = id(chunk * 100 + n);
            Value::from_json_str(&format!(r#"{{"_id":"{id}","text":"{text}"}}"#)).unwrap()
        });
        docs.insert_many(&many.collect::<Vec<_>>()).await.unwrap();
    }
    storage.begin();
    (storage, db, docs)
}

/// 40 MB of documents.
#[tokio::test]
async fn no_commit_grows_with_the_collection() {
    let most = 8 * 1024 * 1024;
    for sync in [false, true] {
        let (storage, _db, docs) = heavy(sync).await;
        assert_eq!(docs.clear().await.unwrap(), 2_000);
        assert!(storage.heaviest() < most, "{}", storage.heaviest());
        assert_eq!(docs.count().await.unwrap(), 0);

        let (storage, db, _) = heavy(sync).await;
        assert_eq!(db.delete_collection("docs").await.unwrap(), 2_000);
        assert!(storage.heaviest() < most, "{}", storage.heaviest());

        let (storage, db, _) = heavy(sync).await;
        let config = CollectionConfig::new("docs").sync(!sync);
        db.create_collection(config).await.unwrap();
        assert!(storage.heaviest() < most, "{}", storage.heaviest());
        let pending = db.stats().await.unwrap().pending_changes;
        assert_eq!(pending, if sync { 0 } else { 2_000 });
    }
}

/// Whoever clears few documents finds them there, or not.
#[tokio::test]
async fn a_small_collection_is_done_in_one_commit() {
    for sync in [false, true] {
        let world = World::on(MemoryStorage::new(), Some(sync)).await;
        let few: Vec<_> = (0..900).map(|n| document(&id(n), 0)).collect();
        world.docs.insert_many(&few).await.unwrap();
        let commits = || world.faults.calls().commit;
        let before = commits();
        world.switch(!sync).await.unwrap();
        assert_eq!(commits() - before, 1);
        world.switch(sync).await.unwrap();
        assert_eq!(commits() - before, 2);
        assert_eq!(world.docs.clear().await.unwrap(), 900);
        assert_eq!(commits() - before, 3);
        world.docs.insert_many(&few).await.unwrap();
        let before = commits();
        assert_eq!(world.db.delete_collection("docs").await.unwrap(), 900);
        assert_eq!(commits() - before, 1);
    }
}

#[tokio::test]
async fn live_queries_and_listeners_follow_a_clearing_step_by_step() {
    let world = World::full(true).await;
    let mut changes = world.docs.changes();
    let mut live = world.docs.find().count().live();
    assert_eq!(live.next().await.unwrap().unwrap(), MANY as u64);
    assert_eq!(world.docs.clear().await.unwrap(), MANY as u64);
    let mut counts = vec![MANY as u64];
    while *counts.last().unwrap() > 0 {
        counts.push(live.next().await.unwrap().unwrap());
    }
    assert!(counts.is_sorted_by(|a, b| a > b), "{counts:?}");
    for _ in 0..MANY {
        let item = changes.next().await.unwrap();
        assert!(
            matches!(item, pocket_core::ChangeItem::Change(change) if change.document.is_none())
        );
    }
    let mut whole = world.docs.find().live();
    let first: LiveStep<Value> = whole.next().await.unwrap().unwrap();
    assert!(first.result.is_empty());
    let deleted = world.sent().await;
    assert!(deleted.is_empty(), "nobody has heard of them");
}
