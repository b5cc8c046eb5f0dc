//! Time to live: who still sees a document, and how it goes for good.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod devices;
mod format;
mod queries;
mod settings;
mod unique;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pocket_core::storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_core::storage::{Storage, StorageError};
use pocket_core::{
    ChangeItem, Collection, CollectionConfig, Database, Env, IndexConfig, Operation, Timestamp,
    Ttl, Value, codes, field,
};
use pocket_storage_memory::{MemoryDisk, MemoryStorage};
use serde_json::json;

/// A clock that is set, and a random source that counts.
#[derive(Clone, Debug, Default)]
struct Clock(Arc<(AtomicI64, AtomicI64)>);

impl Clock {
    fn at(seconds: i64) -> Self {
        let clock = Self::default();
        clock.set(seconds);
        clock
    }

    fn set(&self, seconds: i64) {
        self.0.0.store(seconds * 1_000, Ordering::Relaxed);
    }
}

impl Env for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.0.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        let count = self.0.1.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, count) in bytes.iter_mut().zip(count.iter().cycle()) {
            *byte = *count;
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

/// A document with the time, in seconds, at which it expires.
fn until(id: &str, seconds: i64) -> Value {
    let map = [
        ("_id", Value::from(id)),
        (
            "until",
            Value::Timestamp(Timestamp::from_millis(seconds * 1_000)),
        ),
    ];
    Value::Map(map.into_iter().collect())
}

async fn open_on(storage: Arc<dyn Storage>, clock: &Clock, config: CollectionConfig) -> Database {
    let builder = Database::builder("test")
        .collection(config)
        .env(clock.clone());
    builder.open_shared(storage).await.unwrap()
}

async fn docs(clock: &Clock, ttl: Ttl) -> Collection<Value> {
    let config = CollectionConfig::new("docs").ttl(ttl);
    let db = open_on(Arc::new(MemoryStorage::new()), clock, config).await;
    db.collection("docs").unwrap()
}

async fn ids(docs: &Collection<Value>) -> Vec<String> {
    let found = docs.find().documents().await.unwrap();
    found.iter().map(|it| it.id.to_string()).collect()
}

#[tokio::test]
async fn a_document_is_gone_for_every_reader_from_its_moment_on() {
    let clock = Clock::at(1_000);
    let docs = docs(&clock, Ttl::after_update(MINUTE)).await;
    docs.insert(&value(r#"{"_id":"a","n":1}"#)).await.unwrap();
    clock.set(1_030);
    docs.insert(&value(r#"{"_id":"b","n":1}"#)).await.unwrap();
    clock.set(1_059);
    assert_eq!(ids(&docs).await, ["a", "b"]);
    assert!(docs.get("a").await.unwrap().is_some());
    clock.set(1_060);
    assert_eq!(ids(&docs).await, ["b"]);
    assert_eq!(docs.get("a").await.unwrap(), None);
    assert_eq!(docs.get_document("a").await.unwrap(), None);
    let many = docs.get_many(["a", "b"]).await.unwrap();
    assert_eq!((many[0].is_some(), many[1].is_some()), (false, true));
    assert_eq!(docs.count().await.unwrap(), 1);
    assert_eq!(docs.get_all().await.unwrap().len(), 1);
    let named = docs.find().filter(field("_id").eq("a"));
    assert_eq!(named.first().await.unwrap(), None);
    let last = docs
        .find()
        .sort("n", pocket_core::Order::Descending)
        .limit(5);
    assert_eq!(last.all().await.unwrap().len(), 1);
    // An edit counts from its own time.
    docs.update("b", &json!({"n": 2})).await.unwrap();
    clock.set(1_119);
    assert_eq!(ids(&docs).await, ["b"]);
    clock.set(1_120);
    assert!(ids(&docs).await.is_empty());
}

#[tokio::test]
async fn a_field_with_a_timestamp_says_when_and_without_one_it_is_never() {
    let clock = Clock::at(1_000);
    let docs = docs(&clock, Ttl::after_field("a.until", MINUTE)).await;
    for (id, a) in [
        ("1", r#"{"until":{"$date":"1970-01-01T00:17:00.000Z"}}"#),
        ("2", r#"{"until":"1970-01-01T00:17:00.000Z"}"#),
        ("3", r#"{"until":5}"#),
        ("4", "null"),
        (
            "5",
            r#"{"until":[7,{"$date":"1970-01-01T00:18:00.000Z"},{"$date":"1970-01-01T00:17:00.000Z"}]}"#,
        ),
        ("6", r#"{"until":{"$date":"1970-01-01T00:18:00.000Z"}}"#),
        ("7", r#"{"until":[]}"#),
    ] {
        let json = format!(r#"{{"_id":{id:?},"a":{a}}}"#);
        docs.insert(&value(&json)).await.unwrap();
    }
    // 17 minutes are 1,020 seconds.
    clock.set(1_079);
    assert_eq!(docs.count().await.unwrap(), 7);
    clock.set(1_080);
    assert_eq!(ids(&docs).await, ["2", "3", "4", "6", "7"]);
    assert_eq!(docs.database().expire().await.unwrap(), 2);
    clock.set(1_140);
    assert_eq!(docs.database().expire().await.unwrap(), 1);
    clock.set(1_000_000_000);
    assert_eq!(docs.database().expire().await.unwrap(), 0);
    assert_eq!(ids(&docs).await, ["2", "3", "4", "7"]);
}

#[tokio::test]
async fn writers_find_an_expired_document_missing_and_may_make_it_anew() {
    let clock = Clock::at(1_000);
    let docs = docs(&clock, Ttl::at_field("until")).await;
    docs.create_index(IndexConfig::new("until").unique())
        .await
        .unwrap();
    for (id, seconds) in [("a", 1_001), ("b", 1_002), ("c", 1_003)] {
        docs.insert(&until(id, seconds)).await.unwrap();
    }
    clock.set(1_010);
    let error = docs.update("a", &json!({"n": 1})).await.unwrap_err();
    assert_eq!(error.code(), codes::DOCUMENT_NOT_FOUND);
    let error = docs.delete("a").await.unwrap_err();
    assert_eq!(error.code(), codes::DOCUMENT_NOT_FOUND);
    docs.insert(&until("a", 2_000)).await.unwrap();
    docs.upsert(&until("b", 2_001)).await.unwrap();
    // What an expired one has is not in the way of a unique index.
    docs.insert(&until("d", 1_003)).await.unwrap();
    assert_eq!(ids(&docs).await, ["a", "b"]);
    let mut tx = docs.database().transaction();
    assert_eq!(tx.get(&docs, "c").await.unwrap(), None);
    tx.insert(&docs, &until("c", 2_002)).unwrap();
    tx.commit().await.unwrap();
    let mut tx = docs.database().transaction();
    assert_eq!(tx.get(&docs, "d").await.unwrap(), None);
    docs.insert(&until("d", 2_003)).await.unwrap();
    tx.upsert(&docs, &until("e", 2_004)).unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!(error.code(), codes::TRANSACTION_CONFLICT);
    let error = docs.insert(&until("f", 2_003)).await.unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
    assert_eq!(ids(&docs).await, ["a", "b", "c", "d"]);
    clock.set(2_003);
    assert_eq!(docs.clear().await.unwrap(), 0);
    assert_eq!(docs.database().expire().await.unwrap(), 0);
}

#[tokio::test]
async fn a_sweep_deletes_what_is_over_and_tells_it() {
    let clock = Clock::at(1_000);
    let docs = docs(&clock, Ttl::at_field("until")).await;
    let many: Vec<_> = (0..1_300)
        .map(|n| until(&format!("{n:04}"), 1_001 + n))
        .collect();
    docs.insert_many(&many).await.unwrap();
    let mut changes = docs.changes();
    let db = docs.database();
    assert_eq!(db.expire().await.unwrap(), 0);
    let before = db.stats().await.unwrap().sequence;
    assert_eq!(db.expire().await.unwrap(), 0);
    assert_eq!(db.stats().await.unwrap().sequence, before, "it wrote");
    clock.set(1_001 + 1_199);
    assert_eq!(db.expire().await.unwrap(), 1_200);
    assert_eq!(docs.count().await.unwrap(), 100);
    let Some(ChangeItem::Change(change)) = changes.next().await else {
        panic!("nothing was told");
    };
    assert_eq!(change.operation, Operation::Delete);
    assert_eq!(change.document_id.as_str(), "0000");
    assert!(!change.is_from_sync);
    clock.set(0);
    assert_eq!(
        docs.count().await.unwrap(),
        100,
        "it came back with the clock"
    );
}

#[tokio::test]
async fn a_sweep_that_fails_keeps_nobody_from_opening_the_database() {
    let config = || CollectionConfig::new("docs").ttl(Ttl::at_field("until"));
    let (disk, clock, faults) = (MemoryDisk::new(), Clock::at(1_000), Faults::new());
    let db = open_on(Arc::new(disk.open()), &clock, config()).await;
    let docs = db.collection::<Value>("docs").unwrap();
    docs.insert(&until("a", 2_000)).await.unwrap();
    docs.insert(&until("b", 3_000)).await.unwrap();
    drop((docs, db));
    clock.set(2_000);
    faults.refuse_commits(Some(StorageError::Full("no space".into())));
    let faulty = FaultyStorage::new(Arc::new(disk.open()), &faults);
    let db = open_on(Arc::new(faulty), &clock, config()).await;
    assert!(faults.calls().commit > 0, "it swept nothing");
    let docs = db.collection::<Value>("docs").unwrap();
    assert_eq!(ids(&docs).await, ["b"]);
    assert_eq!(db.expire().await.unwrap_err().code(), codes::STORAGE_FULL);
    faults.refuse_commits(None);
    assert_eq!(db.expire().await.unwrap(), 1);
}

#[tokio::test]
async fn a_sweep_that_crashes_anywhere_goes_on_when_the_database_is_opened() {
    let config = || CollectionConfig::new("docs").ttl(Ttl::at_field("until"));
    for call in 1.. {
        for moment in [Moment::Before, Moment::After] {
            let (disk, clock, faults) = (MemoryDisk::new(), Clock::at(1_000), Faults::new());
            let faulty = FaultyStorage::new(Arc::new(disk.open()), &faults);
            let db = open_on(Arc::new(faulty), &clock, config()).await;
            let docs = db.collection::<Value>("docs").unwrap();
            let many: Vec<_> = (0..1_100)
                .map(|n| until(&format!("{n:04}"), if n % 10 == 0 { 3_000 } else { 1_001 }))
                .collect();
            docs.insert_many(&many).await.unwrap();
            clock.set(2_000);
            let commits = faults.calls().commit;
            faults.crash_at_kind(CallKind::Commit, commits + call, moment);
            let swept = db.expire().await;
            let crashed = faults.calls().commit >= commits + call;
            assert_eq!(swept.is_err(), crashed, "{call} {moment:?}: {swept:?}");
            disk.lose_power(disk.lost_by_power_loss());
            let db = open_on(Arc::new(disk.open()), &clock, config()).await;
            assert_eq!(db.expire().await.unwrap(), 0, "opening left some");
            let docs = db.collection::<Value>("docs").unwrap();
            assert_eq!(docs.count().await.unwrap(), 110);
            // Nothing of the others is left, not even hidden.
            clock.set(0);
            assert_eq!(docs.count().await.unwrap(), 110);
            if !crashed {
                assert!(call > 2, "one commit did it all");
                return;
            }
        }
    }
}
