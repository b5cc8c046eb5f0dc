//! What is done to all of a collection is done in one commit, on whatever it meets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::Replica;
use pocket_core::storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_core::{Collection, CollectionConfig, Database, LiveStep, PushLimit, Target, Value};
use pocket_storage_memory::MemoryStorage;

/// More than is read at once.
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
        world.docs.insert_many(&many()).await.unwrap();
        world
    }

    async fn switch(&self, sync: bool) -> pocket_core::Result<()> {
        let config = CollectionConfig::new("docs").sync(sync);
        self.db.create_collection(config).await
    }

    /// Documents that are sent.
    async fn sent(&self) -> usize {
        let limit = PushLimit {
            changes: 100_000,
            bytes: 1 << 30,
        };
        let pinned = self.replica.pin(limit).await.unwrap();
        let changes = pinned.mutations.iter().map(|it| it.changes().len());
        changes.sum()
    }

    async fn pending(&self) -> u64 {
        self.db.stats().await.unwrap().pending_changes
    }

    async fn count(&self) -> u64 {
        self.docs.count().await.unwrap()
    }
}

fn many() -> Vec<Value> {
    let document = |n| Value::from_json_str(&format!(r#"{{"_id":"d{n}"}}"#)).unwrap();
    (0..MANY).map(document).collect()
}

/// The process ends before or behind the only commit of `act`: what the next one finds, and what had been done.
async fn crashed(sync: bool, moment: Moment, act: impl AsyncFn(&World) -> bool) -> World {
    let world = World::full(sync).await;
    let at = world.faults.calls().commit + 1;
    world.faults.crash_at_kind(CallKind::Commit, at, moment);
    assert!(!act(&world).await, "it has a commit");
    let storage = world.storage.clone();
    drop(world);
    World::on(storage, Some(sync)).await
}

#[tokio::test]
async fn a_clearing_that_crashed_deleted_all_or_nothing() {
    for sync in [false, true] {
        for (moment, left) in [(Moment::Before, MANY), (Moment::After, 0)] {
            let clear = async |world: &World| world.docs.clear().await.is_ok();
            let world = crashed(sync, moment, clear).await;
            assert_eq!(world.count().await, left as u64);
            let pending = if sync { left } else { 0 };
            assert_eq!(world.pending().await, pending as u64);
        }
    }
}

#[tokio::test]
async fn a_deletion_of_a_collection_that_crashed_took_all_or_nothing() {
    for sync in [false, true] {
        for (moment, left) in [(Moment::Before, MANY), (Moment::After, 0)] {
            let delete = async |world: &World| world.db.delete_collection("docs").await.is_ok();
            let world = crashed(sync, moment, delete).await;
            // It was configured anew when the database was opened.
            assert_eq!(world.count().await, left as u64);
        }
    }
}

/// The application goes on to ask for what it asked for before.
#[tokio::test]
async fn a_switch_that_crashed_is_made_all_the_same() {
    for sync in [false, true] {
        for moment in [Moment::Before, Moment::After] {
            let switch = async |world: &World| world.switch(!sync).await.is_ok();
            let world = crashed(sync, moment, switch).await;
            world.switch(!sync).await.unwrap();
            assert_eq!(world.count().await, MANY as u64);
            let sent = world.sent().await;
            assert_eq!(sent, if sync { 0 } else { MANY });
            assert_eq!(world.pending().await, sent as u64);
        }
    }
}

#[tokio::test]
async fn each_is_one_commit() {
    for sync in [false, true] {
        let world = World::full(sync).await;
        let commits = || world.faults.calls().commit;
        let before = commits();
        world.switch(!sync).await.unwrap();
        assert_eq!(commits() - before, 1);
        world.switch(sync).await.unwrap();
        assert_eq!(commits() - before, 2);
        assert_eq!(world.docs.clear().await.unwrap(), MANY as u64);
        assert_eq!(commits() - before, 3);
        world.docs.insert_many(&many()).await.unwrap();
        let before = commits();
        let deleted = world.db.delete_collection("docs").await.unwrap();
        assert_eq!(deleted, MANY as u64);
        assert_eq!(commits() - before, 1);
    }
}

#[tokio::test]
async fn live_queries_and_listeners_hear_of_a_clearing() {
    let world = World::full(true).await;
    let mut changes = world.docs.changes();
    let mut live = world.docs.find().live();
    let first: LiveStep<Value> = live.next().await.unwrap().unwrap();
    assert_eq!(first.result.len(), MANY);
    assert_eq!(world.docs.clear().await.unwrap(), MANY as u64);
    let step = live.next().await.unwrap().unwrap();
    assert!(step.result.is_empty());
    for _ in 0..MANY {
        let item = changes.next().await.unwrap();
        assert!(
            matches!(item, pocket_core::ChangeItem::Change(change) if change.document.is_none())
        );
    }
    assert_eq!(world.sent().await, 0, "nobody has heard of them");
}
