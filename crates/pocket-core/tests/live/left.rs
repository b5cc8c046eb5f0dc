//! Writes whose future is dropped in the middle of their commit.
//!
//! What such a write had stored was told with the next write only, which may be hours later.

use futures_util::FutureExt;
use pocket_core::{ChangeItem, Collection, CollectionConfig, Database, LiveQuery, Value};
use pocket_storage_memory::MemoryStorage;

use super::storage::{Script, Scripted};
use super::support::value;

async fn open() -> (Script, Database, Collection<Value>) {
    let script = Script::default();
    let storage = Scripted {
        inner: MemoryStorage::new(),
        script: script.clone(),
    };
    let builder = Database::builder("test").collection(CollectionConfig::new("docs").sync(true));
    let db = builder.open(storage).await.unwrap();
    let docs = db.collection("docs").unwrap();
    (script, db, docs)
}

/// Begins a write, and goes away once it is stored and not answered.
fn leave_a_write(docs: &Collection<Value>, id: &str) {
    let document = value(&format!(r#"{{"_id":{id:?}}}"#));
    let answer = docs.insert(&document).now_or_never();
    assert!(answer.is_none(), "the store does not answer");
}

async fn began(docs: &Collection<Value>) -> LiveQuery<Value> {
    let mut live = docs.find().live();
    assert!(live.next().await.unwrap().unwrap().result.is_empty());
    live
}

#[tokio::test]
async fn whoever_listens_hears_of_a_write_that_was_left_once_the_store_answers() {
    let (script, db, docs) = open().await;
    let mut live = began(&docs).await;
    let mut count = docs.find().count().live();
    count.next().await.unwrap().unwrap();
    let (mut changes, mut messages) = (docs.changes(), db.committed());
    let gate = script.hold_commits();
    leave_a_write(&docs, "a");
    assert!(changes.next().now_or_never().is_none());
    assert!(live.next().now_or_never().is_none());
    assert!(messages.next().now_or_never().is_none());
    gate.add_permits(1);
    let change = changes.next().now_or_never().unwrap().unwrap();
    assert!(matches!(change, ChangeItem::Change(change) if change.document_id.as_str() == "a"));
    let step = live.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(step.result.len(), 1);
    assert_eq!(count.next().now_or_never().unwrap().unwrap().unwrap(), 1);
    messages.next().now_or_never().unwrap().unwrap();
}

/// Each kind of listener alone, asleep when the write is left.
#[tokio::test]
async fn whoever_sleeps_is_woken_by_a_write_that_was_left() {
    for kind in 0..3 {
        let (script, db, docs) = open().await;
        let mut live = began(&docs).await;
        let (mut changes, mut messages) = (docs.changes(), db.committed());
        let sleeper = tokio::spawn(async move {
            match kind {
                0 => drop(live.next().await.unwrap().unwrap()),
                1 => drop(changes.next().await.unwrap()),
                _ => drop(messages.next().await.unwrap()),
            }
        });
        tokio::task::yield_now().await;
        let gate = script.hold_commits();
        leave_a_write(&docs, "a");
        tokio::task::yield_now().await;
        gate.add_permits(1);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(sleeper.is_finished(), "listener {kind} sleeps on");
        sleeper.await.unwrap();
        drop(db);
    }
}

/// A sync engine looks at the outbox when this moves, and so drives the commit.
#[tokio::test]
async fn a_write_that_was_left_moves_the_signal_of_the_outbox() {
    let (script, db, docs) = open().await;
    let replica = pocket_core::replica::Replica::new(&db, pocket_core::Target::DEFAULT);
    let mut signal = replica.outbox_signal();
    signal.borrow_and_update();
    let gate = script.hold_commits();
    leave_a_write(&docs, "a");
    assert!(signal.has_changed().unwrap());
    gate.add_permits(1);
    assert_eq!(replica.state().await.unwrap().pending, 1);
}

/// A write that others wait for with it is theirs to drive.
#[tokio::test]
async fn a_listener_leaves_rounds_alone_that_a_writer_waits_for() {
    let (script, _db, docs) = open().await;
    let mut changes = docs.changes();
    let gate = script.hold_commits();
    let document = value(r#"{"_id":"b"}"#);
    let mut waits = Box::pin(docs.insert(&document));
    assert!(waits.as_mut().now_or_never().is_none());
    gate.add_permits(1);
    assert!(changes.next().now_or_never().is_none());
    waits.await.unwrap();
    assert!(changes.next().now_or_never().is_some());
}

/// A database that goes away takes a commit with it that nobody waits for, and its listeners end.
#[tokio::test]
async fn a_listener_ends_with_its_database_also_where_a_write_was_left() {
    let (script, db, docs) = open().await;
    let mut changes = docs.changes();
    let gate = script.hold_commits();
    leave_a_write(&docs, "a");
    drop((db, docs));
    gate.add_permits(1);
    while let Some(item) = changes
        .next()
        .now_or_never()
        .expect("it neither tells nor ends")
    {
        assert!(matches!(item, ChangeItem::Change(_)));
    }
}
