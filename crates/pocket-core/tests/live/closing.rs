//! How live queries end with their database: behind the steps of what was committed.

use futures_util::FutureExt;
use pocket_core::{
    Collection, CollectionConfig, Database, Filter, LiveChange, LiveQuery, SUBSCRIBER_COMMITS,
    Value, codes, field,
};
use pocket_storage_memory::MemoryStorage;

use super::storage::{Script, Scripted};
use super::support::{Follower, value};

async fn open() -> (Script, Database, Collection<Value>) {
    let script = Script::default();
    let storage = Scripted {
        inner: MemoryStorage::new(),
        script: script.clone(),
    };
    let builder = Database::builder("test").collection(CollectionConfig::new("docs"));
    let db = builder.open(storage).await.unwrap();
    let docs = db.collection("docs").unwrap();
    (script, db, docs)
}

fn document(id: &str) -> Value {
    value(&format!(r#"{{"_id":{id:?},"n":1}}"#))
}

/// The query tells that the database is closed, once, without waiting.
fn is_told(live: &mut LiveQuery<Value>) {
    let told = live.next().now_or_never().unwrap().unwrap();
    assert_eq!(told.unwrap_err().code(), codes::CLOSED);
    is_over(live);
}

fn is_over(live: &mut LiveQuery<Value>) {
    assert!(live.next().now_or_never().unwrap().is_none());
}

#[tokio::test]
async fn closing_the_database_ends_them_all() {
    let (_, db, docs) = open().await;
    let mut live = docs.find().live();
    live.next().await.unwrap().unwrap();
    let waiting = tokio::spawn(async move { live.next().await.is_none() });
    tokio::task::yield_now().await;
    let mut unread = docs.find().live();
    db.close().await.unwrap();
    assert!(waiting.await.unwrap());
    // One that has to read a closed store is told so, once.
    is_told(&mut unread);
    is_told(&mut docs.find().live());
}

#[tokio::test]
async fn a_query_that_no_value_can_concern_ends_too() {
    let (_, db, docs) = open().await;
    docs.insert(&document("a")).await.unwrap();
    let none = Filter::from_json_str(r#"{"n":{"$in":[]}}"#).unwrap();
    let mut live = docs.find().filter(none.clone()).live();
    let mut both = docs.find().filter(none.and(field("n").eq(1))).live();
    for live in [&mut live, &mut both] {
        assert!(live.next().await.unwrap().unwrap().result.is_empty());
    }
    docs.insert(&document("b")).await.unwrap();
    assert!(live.next().now_or_never().is_none());
    db.close().await.unwrap();
    is_over(&mut live);
    is_over(&mut both);
}

#[tokio::test]
async fn what_was_committed_before_is_told_before_the_end() {
    let (_, db, docs) = open().await;
    let mut follower = Follower::new(&docs.find());
    let mut count = docs.find().count().live();
    follower.step().await;
    assert_eq!(count.next().await.unwrap().unwrap(), 0);
    docs.insert(&document("a")).await.unwrap();
    docs.insert(&document("b")).await.unwrap();
    db.close().await.unwrap();
    for at in 0..2 {
        let step = follower.step().await;
        assert!(
            matches!(step.changes[..], [LiveChange::Inserted { at: to, .. }] if to == at),
            "{:?}",
            step.changes
        );
    }
    is_over(&mut follower.live);
    assert_eq!(count.next().await.unwrap().unwrap(), 1);
    assert_eq!(count.next().await.unwrap().unwrap(), 2);
    assert!(count.next().await.is_none());
}

#[tokio::test]
async fn a_commit_that_is_under_way_when_the_database_is_closed_is_told() {
    let (script, db, docs) = open().await;
    let mut follower = Follower::new(&docs.find());
    follower.step().await;
    let gate = script.hold_commits();
    let document = document("a");
    let mut insert = Box::pin(docs.insert(&document));
    assert!(insert.as_mut().now_or_never().is_none());
    let mut close = Box::pin(db.close());
    assert!(close.as_mut().now_or_never().is_none());
    gate.add_permits(1);
    close.await.unwrap();
    insert.await.unwrap();
    assert_eq!(follower.step().await.changes.len(), 1);
    is_over(&mut follower.live);
}

#[tokio::test]
async fn what_is_held_back_is_told_at_once_when_the_database_is_closed() {
    let (_, db, docs) = open().await;
    let mut follower = Follower::new(&docs.find());
    follower.live = docs.find().live().debounce(std::future::pending::<()>);
    follower.step().await;
    docs.insert(&document("a")).await.unwrap();
    assert!(follower.ready().is_none());
    docs.insert(&document("b")).await.unwrap();
    db.close().await.unwrap();
    assert_eq!(follower.step().await.changes.len(), 2);
    is_over(&mut follower.live);
}

#[tokio::test]
async fn one_that_still_reads_or_would_have_to_read_again_is_told_that_the_database_is_closed() {
    let (script, db, docs) = open().await;
    let mut behind = docs.find().live();
    behind.next().await.unwrap().unwrap();
    for n in 0..=SUBSCRIBER_COMMITS {
        docs.insert(&document(&n.to_string())).await.unwrap();
    }
    let mut reading = docs.find().live();
    script.at_read(0, false, || Box::pin(std::future::pending()));
    assert!(reading.next().now_or_never().is_none());
    assert!(!script.waits());
    db.close().await.unwrap();
    is_told(&mut reading);
    is_told(&mut behind);
}
