//! Commits while a live query reads: none is missed, none is shown twice, and what is shown is one state.

use std::sync::Arc;

use futures_util::FutureExt;
use pocket_core::storage::Storage;
use pocket_core::{Collection, CollectionConfig, Database, Order, Query, Value, field};
use pocket_storage_memory::MemoryStorage;

use super::storage::{Script, Scripted};
use super::support::{Follower, fresh, value};

async fn open(storage: impl Storage) -> (Database, Collection<Value>) {
    let db = Database::builder("test")
        .collection(CollectionConfig::new("docs"))
        .open(storage)
        .await
        .unwrap();
    let docs = db.collection("docs").unwrap();
    (db, docs)
}

/// More than two pages of a scan.
async fn many() -> (Script, Database, Collection<Value>) {
    many_on(MemoryStorage::new()).await
}

async fn many_on(inner: MemoryStorage) -> (Script, Database, Collection<Value>) {
    let script = Script::default();
    let storage = Scripted {
        inner,
        script: script.clone(),
    };
    let (db, docs) = open(storage).await;
    let all: Vec<_> = (0..1_100)
        .map(|n| {
            value(&format!(
                r#"{{"_id":"{n:04}","n":{},"even":{}}}"#,
                n * 7 % 1_100,
                n % 2 == 0
            ))
        })
        .collect();
    docs.insert_many(&all).await.unwrap();
    (script, db, docs)
}

/// One commit that changes documents in the first page and the last, moves, removes and adds some.
async fn shuffle(db: &Database, docs: &Collection<Value>) {
    let mut transaction = db.transaction();
    for (id, n) in [
        ("0000", 900),
        ("0002", -5),
        ("0600", 0),
        ("1098", 1),
        ("1099", -7),
    ] {
        let document = value(&format!(r#"{{"_id":"{id}","n":{n},"even":true}}"#));
        transaction.upsert(docs, &document).unwrap();
    }
    transaction.delete(docs, "0004").unwrap();
    transaction.delete(docs, "1096").unwrap();
    let new = value(r#"{"_id":"0001a","n":-9,"even":true}"#);
    transaction.insert(docs, &new).unwrap();
    transaction.commit().await.unwrap();
}

fn queries(docs: &Collection<Value>) -> Vec<Query<Value>> {
    let even = || docs.find().filter(field("even").eq(true));
    vec![
        even(),
        even().sort("n", Order::Ascending),
        even().sort("n", Order::Ascending).skip(1).limit(4),
        even().sort("n", Order::Descending).limit(700),
        docs.find().limit(600),
        docs.find().sort("_id", Order::Descending).skip(2).limit(5),
    ]
}

#[tokio::test]
async fn a_commit_between_any_two_reads_of_the_store_is_seen_exactly_once() {
    let count = queries(&many().await.2).len();
    for number in 0..count {
        for after in [false, true] {
            for read in 0.. {
                let (script, db, docs) = many().await;
                let query = queries(&docs).swap_remove(number);
                let mut follower = Follower::new(&query);
                let act = (db.clone(), docs.clone());
                script.at_read(read, after, move || {
                    let (db, docs) = act.clone();
                    async move { shuffle(&db, &docs).await }.boxed()
                });
                let first = follower.step().await;
                if script.waits() {
                    assert!(read > 2, "a query reads more than {read} times");
                    break;
                }
                assert_eq!(
                    follower.list,
                    fresh(&query).await,
                    "read {read}, after {after}"
                );
                assert_eq!(first.sequence, db.stats().await.unwrap().sequence);
                assert!(follower.ready().is_none(), "read {read} is told twice");
                docs.delete("1099").await.unwrap();
                docs.upsert(&value(r#"{"_id":"0001","n":-8,"even":true}"#))
                    .await
                    .unwrap();
                while follower.ready().is_some() {}
                assert_eq!(
                    follower.list,
                    fresh(&query).await,
                    "read {read}, after {after}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_commit_that_is_stored_but_not_told_yet_is_waited_for() {
    let (script, _, docs) = many().await;
    let query = docs.find().sort("n", Order::Ascending).limit(3);
    let gate = script.hold_commits();
    let (first, second) = (
        value(r#"{"_id":"new","n":-1}"#),
        value(r#"{"_id":"newer","n":-2}"#),
    );
    let mut first = Box::pin(docs.insert(&first));
    assert!(first.as_mut().now_or_never().is_none());

    // It is in the store; whether it was told nobody knows before it answers.
    let mut follower = Follower::new(&query);
    assert!(follower.live.next().now_or_never().is_none());
    gate.add_permits(1);
    follower.step().await;
    first.await.unwrap();
    assert_eq!(follower.list[0].0, "new");
    assert_eq!(follower.list, fresh(&query).await);
    assert!(follower.ready().is_none());

    gate.add_permits(1);
    docs.insert(&second).await.unwrap();
    let step = follower.step().await;
    assert_eq!(step.changes.len(), 2, "{:?}", step.changes);
    assert!(follower.ready().is_none());
}

#[tokio::test]
async fn a_commit_that_is_refused_after_it_was_stored_is_shown_all_the_same() {
    use pocket_core::storage::StorageError;
    use pocket_core::storage::faulty::{CallKind, Faults, FaultyStorage, Moment};

    let faults = Faults::new();
    let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()), &faults);
    let (_, docs) = open(storage).await;
    let query = docs.find();
    let mut follower = Follower::new(&query);
    follower.step().await;
    let failed = StorageError::Backend("the answer was lost".into());
    faults.fail_at_kind(
        CallKind::Commit,
        faults.calls().commit + 1,
        Moment::After,
        failed,
    );
    docs.insert(&value(r#"{"_id":"a"}"#)).await.unwrap_err();
    follower.step().await;
    assert_eq!(follower.list, fresh(&query).await);
    assert_eq!(follower.list.len(), 1);
}

#[tokio::test]
async fn what_another_handle_wrote_is_seen_after_the_next_write_or_by_refresh() {
    let storage = MemoryStorage::new();
    let (_, docs) = open(storage.clone()).await;
    let (_, others) = open(storage).await;
    let query = docs.find();
    let mut follower = Follower::new(&query);
    follower.step().await;

    others.insert(&value(r#"{"_id":"a"}"#)).await.unwrap();
    assert!(follower.ready().is_none());
    docs.insert(&value(r#"{"_id":"b"}"#)).await.unwrap();
    let step = follower.step().await;
    assert_eq!(step.changes.len(), 2);
    assert_eq!(follower.list, fresh(&query).await);

    others.insert(&value(r#"{"_id":"c"}"#)).await.unwrap();
    follower.live.refresh();
    assert_eq!(follower.step().await.changes.len(), 1);
    // The next write of this handle finds that another one wrote before it, which this query has seen.
    docs.delete("a").await.unwrap();
    assert_eq!(follower.step().await.changes.len(), 1);
    assert_eq!(follower.list, fresh(&query).await);
    assert!(follower.ready().is_none());
}

#[tokio::test]
async fn commits_of_another_handle_between_the_reads_are_seen_too() {
    for read in 0.. {
        let storage = MemoryStorage::new();
        let (script, _, docs) = many_on(storage.clone()).await;
        let (other_db, others) = open(storage).await;
        let query = docs.find().sort("n", Order::Ascending);
        let mut follower = Follower::new(&query);
        script.at_read(read, false, move || {
            let (db, docs) = (other_db.clone(), others.clone());
            async move { shuffle(&db, &docs).await }.boxed()
        });
        follower.step().await;
        if script.waits() {
            assert!(read > 3);
            break;
        }
        assert_eq!(follower.list, fresh(&query).await, "read {read}");
    }
}
