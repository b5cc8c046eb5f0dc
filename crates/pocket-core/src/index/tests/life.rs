//! Building and dropping: in the middle of writes, through crashes, and after a program that knows no indexes.

use std::sync::Arc;

use pocket_storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_storage::{Batch, Durability, Storage};
use pocket_storage_memory::{MemoryDisk, MemoryStorage};

use super::model::{check, documents};
use crate::stored::{
    DocumentHead, DocumentLater, IndexPhase, Presence, State, StateLater, StoredDocument,
};
use crate::{
    Body, Collection, CollectionConfig, Database, DocumentLimits, IndexConfig, Map, Order,
    Revision, Value, codes, envelope, keys, stored,
};

/// More than two commits of a building.
const MANY: i64 = 1_200;

async fn open(storage: Arc<dyn Storage>) -> crate::Result<Database> {
    Database::builder("life")
        .collection(CollectionConfig::new("docs"))
        .collection(CollectionConfig::new("others"))
        .open_shared(storage)
        .await
}

fn document(number: i64) -> Value {
    let map = Map::from_iter([
        ("_id", Value::from(format!("{number:05}"))),
        ("n", Value::from(number)),
        ("odd", Value::from(number % 2)),
    ]);
    Value::Map(map)
}

async fn fill(db: &Database, count: i64) -> Collection<Value> {
    let docs = db.collection::<Value>("docs").unwrap();
    let documents: Vec<_> = (0..count).map(document).collect();
    docs.insert_many(&documents).await.unwrap();
    docs
}

fn config() -> IndexConfig {
    IndexConfig::new("odd").then("n", Order::Descending)
}

fn numbers(db: &Database) -> Vec<(u32, bool)> {
    let registry = db.core().registry();
    let all = registry.all_indexes();
    all.map(|index| (index.number, index.is_ready())).collect()
}

#[tokio::test]
async fn a_building_that_crashes_anywhere_goes_on_when_the_database_is_opened() {
    let mut crashes = 0;
    for call in 1.. {
        for moment in [Moment::Before, Moment::After] {
            let disk = MemoryDisk::new();
            fill(&open(Arc::new(disk.open())).await.unwrap(), MANY).await;
            let faults = Faults::new();
            let faulty = FaultyStorage::new(Arc::new(disk.open()), &faults);
            let db = open(Arc::new(faulty)).await.unwrap();
            let commits = faults.calls().commit;
            faults.crash_at_kind(CallKind::Commit, commits + call, moment);
            let docs = db.collection::<Value>("docs").unwrap();
            let made = docs.create_index(config()).await;
            if faults.calls().commit < commits + call {
                assert!(made.is_ok() && call > 3, "{call}: {made:?}");
                assert!(crashes >= 4);
                return;
            }
            crashes += 1;
            assert_eq!(made.unwrap_err().code(), codes::CLOSED);
            disk.lose_power(disk.lost_by_power_loss());
            let db = open(Arc::new(disk.open())).await.unwrap();
            // The first commit records it.
            let expected = if (call, moment) == (1, Moment::Before) {
                vec![]
            } else {
                vec![(1, true)]
            };
            assert_eq!(numbers(&db), expected, "{call} {moment:?}");
            check(&db).await;
        }
    }
}

#[tokio::test]
async fn a_drop_that_crashes_anywhere_ends_when_the_database_is_opened() {
    for call in 1.. {
        let disk = MemoryDisk::new();
        let db = open(Arc::new(disk.open())).await.unwrap();
        let docs = fill(&db, 3 * MANY).await;
        docs.create_index(config()).await.unwrap();
        drop((docs, db));
        let faults = Faults::new();
        let faulty = FaultyStorage::new(Arc::new(disk.open()), &faults);
        let db = open(Arc::new(faulty)).await.unwrap();
        let commits = faults.calls().commit;
        faults.crash_at_kind(CallKind::Commit, commits + call, Moment::After);
        let docs = db.collection::<Value>("docs").unwrap();
        let dropped = docs.drop_index(&config().name()).await;
        let crashed = faults.calls().commit >= commits + call;
        assert_eq!(dropped.is_err(), crashed);
        let db = open(Arc::new(disk.open())).await.unwrap();
        assert_eq!(numbers(&db), []);
        check(&db).await;
        if !crashed {
            assert!(call > 2);
            return;
        }
    }
}

#[tokio::test]
async fn writes_during_a_building_are_in_the_index_when_it_is_ready() {
    let db = open(Arc::new(MemoryStorage::new())).await.unwrap();
    let docs = fill(&db, MANY).await;
    let mut building = docs.build_index(config());
    let first = building.next().await.unwrap().unwrap();
    assert!(!first.ready && first.done > 0);
    // With those that were read by the commit that recorded it.
    assert_eq!(first.total, u64::try_from(MANY).unwrap());
    // Before and behind what was read: changed, deleted, new.
    for number in [3, 1_100] {
        let id = format!("{number:05}");
        docs.update(&id, &Map::from_iter([("odd", "neither")]))
            .await
            .unwrap();
        docs.delete(&format!("{:05}", number + 1)).await.unwrap();
    }
    docs.insert(&document(-1)).await.unwrap();
    docs.insert(&document(5_000)).await.unwrap();
    let mut last = first;
    while let Some(progress) = building.next().await {
        let progress = progress.unwrap();
        assert!(progress.done > last.done && progress.total == last.total);
        last = progress;
    }
    assert!(last.ready && last.done >= last.total);
    assert_eq!(numbers(&db), [(1, true)]);
    check(&db).await;
}

#[tokio::test]
async fn a_commit_of_a_building_ends_when_it_has_many_entries() {
    let db = open(Arc::new(MemoryStorage::new())).await.unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    let documents: Vec<_> = (0..300_i64)
        .map(|number| {
            let tags: Value = (0..100).map(|tag| Value::from(number + tag)).collect();
            let id = Value::from(format!("{number:05}"));
            Value::Map(Map::from_iter([("_id", id), ("tags", tags)]))
        })
        .collect();
    docs.insert_many(&documents).await.unwrap();
    let mut building = docs.build_index(IndexConfig::new("tags"));
    let mut done = Vec::new();
    while let Some(progress) = building.next().await {
        let progress = progress.unwrap();
        done.push((progress.done, progress.ready));
    }
    // 164 documents have 16,400 entries.
    assert_eq!(done, [(164, false), (300, true)]);
    check(&db).await;
}

#[tokio::test]
async fn what_is_half_built_is_finished_by_opening_or_by_whoever_drives_it() {
    let storage = MemoryStorage::new();
    let db = open(Arc::new(storage.clone())).await.unwrap();
    let docs = fill(&db, MANY).await;
    let mut building = docs.build_index(config());
    building.next().await.unwrap().unwrap();
    drop(building);
    let later = Database::builder("life").build_indexes(false);
    let later = later.open(storage.clone()).await.unwrap();
    assert_eq!(numbers(&later), [(1, false)]);
    // Two at once share the work.
    let mut driven = later.build_indexes();
    let docs = later.collection::<Value>("docs").unwrap();
    let (made, last) = tokio::join!(docs.create_index(config()), async {
        let mut last = None;
        while let Some(progress) = driven.next().await {
            last = Some(progress.unwrap());
        }
        last.unwrap()
    });
    made.unwrap();
    assert!(last.ready);
    assert_eq!(numbers(&later), [(1, true)]);
    check(&later).await;
    // The first handle learns of it with its next write.
    docs.insert(&document(-5)).await.unwrap();
    check(&later).await;
}

#[tokio::test]
async fn a_unique_building_that_meets_a_duplicate_fails_and_leaves_nothing() {
    let db = open(Arc::new(MemoryStorage::new())).await.unwrap();
    let docs = fill(&db, MANY).await;
    // Met at once, and far behind.
    docs.insert(&document(2_000)).await.unwrap();
    docs.update("02000", &Map::from_iter([("n", 1_199)]))
        .await
        .unwrap();
    for (config, names) in [
        (IndexConfig::new("odd").unique(), ["00002", "00000"]),
        (IndexConfig::new("n").unique(), ["02000", "01199"]),
    ] {
        let error = docs.create_index(config).await.unwrap_err();
        assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
        for name in names {
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(numbers(&db), []);
        check(&db).await;
    }
    docs.delete("02000").await.unwrap();
    docs.create_index(IndexConfig::new("n").unique())
        .await
        .unwrap();
    // No number is given twice.
    assert_eq!(numbers(&db), [(2, true)]);
    check(&db).await;
}

#[tokio::test]
async fn a_unique_index_that_is_being_built_refuses_what_it_has_read_and_finds_the_rest() {
    let db = open(Arc::new(MemoryStorage::new())).await.unwrap();
    let docs = fill(&db, MANY).await;
    let unique = IndexConfig::new("n").unique();
    let mut building = docs.build_index(unique);
    building.next().await.unwrap().unwrap();
    let to = |n: i64| Map::from_iter([("n", n)]);
    let refused = docs.update("00001", &to(2)).await.unwrap_err();
    assert_eq!(refused.code(), codes::INDEX_UNIQUE_VIOLATION);
    docs.update("00001", &to(1_150)).await.unwrap();
    let mut last = Ok(());
    while let Some(progress) = building.next().await {
        last = progress.map(drop);
    }
    assert_eq!(last.unwrap_err().code(), codes::INDEX_UNIQUE_VIOLATION);
    assert_eq!(numbers(&db), []);
    check(&db).await;
}

#[tokio::test]
async fn deleting_a_collection_removes_its_indexes_and_their_entries() {
    let db = open(Arc::new(MemoryStorage::new())).await.unwrap();
    let docs = fill(&db, 100).await;
    docs.create_index(config()).await.unwrap();
    let others = db.collection::<Value>("others").unwrap();
    others.insert(&document(1)).await.unwrap();
    others.create_index(config()).await.unwrap();
    db.delete_collection("docs").await.unwrap();
    assert_eq!(numbers(&db), [(2, true)]);
    check(&db).await;
    db.create_collection(CollectionConfig::new("docs"))
        .await
        .unwrap();
    assert_eq!(docs.indexes(), []);
    docs.create_index(config()).await.unwrap();
    docs.insert(&document(7)).await.unwrap();
    assert_eq!(numbers(&db), [(2, true), (3, true)]);
    check(&db).await;
}

#[tokio::test]
async fn after_a_program_that_knows_no_indexes_wrote_all_are_built_anew() {
    let storage = MemoryStorage::new();
    let db = open(Arc::new(storage.clone())).await.unwrap();
    let docs = fill(&db, 100).await;
    docs.create_index(config()).await.unwrap();
    let old = documents(&db, "docs").await;
    // It drops the later fields of the state, and writes documents without entries.
    let state: State = stored::decode(
        &envelope::open(
            keys::STATE,
            &storage.get(keys::STATE).await.unwrap().unwrap(),
        )
        .unwrap(),
    )
    .unwrap();
    assert_eq!(state.later.last_index, 1);
    let state = State {
        later: StateLater::default(),
        ..state
    };
    let name = crate::CollectionName::new("docs").unwrap();
    let number = db.core().registry().existing(&name).unwrap().id();
    let map = Map::from_iter([("n", 1_000), ("odd", 9)]);
    let written = StoredDocument {
        head: DocumentHead {
            rev: Revision::new(state.clock, db.client_id()),
            presence: Presence::Live,
            server: None,
            resync: 0,
            pending: Vec::new(),
            later: DocumentLater::default(),
        },
        body: Some(Body::from_map(&map, &DocumentLimits::default()).unwrap()),
    };
    let mut batch = Batch::new();
    let key = keys::document(number, old.keys().next().unwrap());
    let sealed = written.seal(&key);
    batch.put(key, sealed);
    batch.put(
        keys::STATE,
        envelope::seal(keys::STATE, &[&stored::encode(&state)]),
    );
    storage.commit(batch, Durability::PowerLoss).await.unwrap();

    let db = open(Arc::new(storage)).await.unwrap();
    assert_eq!(numbers(&db), [(2, true)]);
    assert_ne!(documents(&db, "docs").await, old);
    check(&db).await;
}

#[tokio::test]
async fn a_reader_can_tell_that_an_index_is_no_longer_what_it_was() {
    let storage = MemoryStorage::new();
    let db = open(Arc::new(storage.clone())).await.unwrap();
    let docs = fill(&db, 10).await;
    docs.create_index(config()).await.unwrap();
    let name = crate::CollectionName::new("docs").unwrap();
    let registry = db.core().registry();
    let number = registry.existing(&name).unwrap().id();
    let index = registry.ready_indexes(number).next().unwrap().clone();
    assert!(index.is_current(&storage).await.unwrap() && !index.is_multi(0));
    let array = Map::from_iter([("odd", Value::from_iter([1, 2]))]);
    docs.update("00001", &array).await.unwrap();
    assert!(!index.is_current(&storage).await.unwrap());
    let registry = db.core().registry();
    let index = registry.ready_indexes(number).next().unwrap().clone();
    assert!(index.is_current(&storage).await.unwrap() && index.is_multi(0) && !index.is_multi(1));
    // Another handle drops it; this one has not heard of that.
    let other = open(Arc::new(storage.clone())).await.unwrap();
    let docs = other.collection::<Value>("docs").unwrap();
    docs.drop_index(&config().name()).await.unwrap();
    assert!(db.core().registry().index(index.number).is_some());
    assert!(!index.is_current(&storage).await.unwrap());
    assert_eq!(index.phase, IndexPhase::Ready);
}
