//! Streams of changes: what waits for one that is slow, and how they end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use futures_util::FutureExt;
use pocket_core::{
    ChangeItem, Collection, CollectionConfig, Database, SUBSCRIBER_BYTES, Subscription, Value,
};
use pocket_storage_memory::MemoryStorage;

/// Bytes of a document here, but for a few.
const LARGE: usize = 512 * 1024;

/// More of these than may wait.
const MANY: usize = SUBSCRIBER_BYTES / LARGE + 5;

async fn open() -> (Database, Collection<Value>) {
    let config = CollectionConfig::new("docs");
    let builder = Database::builder("test").collection(config);
    let db = builder.open(MemoryStorage::new()).await.unwrap();
    let docs = db.collection("docs").unwrap();
    (db, docs)
}

fn large(n: usize) -> Value {
    let text = "x".repeat(LARGE);
    Value::from_json_str(&format!(r#"{{"_id":"{n:03}","text":"{text}"}}"#)).unwrap()
}

/// What is there already: ids of documents, or how many commits are left out.
fn items(changes: &mut Subscription<ChangeItem>) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(Some(item)) = changes.next().now_or_never() {
        items.push(match item {
            ChangeItem::Change(change) => change.document_id.to_string(),
            ChangeItem::Lagged { from, to } => format!("{} left out", to.get() + 1 - from.get()),
            other => panic!("{other:?}"),
        });
    }
    items
}

/// What waited for a subscriber was counted in commits only, so 256 of them could hold gigabytes for one that nobody asked.
#[tokio::test]
async fn a_subscriber_that_falls_many_bytes_behind_is_told_so_and_goes_on() {
    let (_db, docs) = open().await;
    let (mut slow, mut quick) = (docs.changes(), docs.changes());
    for n in 0..MANY {
        docs.insert(&large(n)).await.unwrap();
        assert_eq!(items(&mut quick), [format!("{n:03}")]);
    }
    let told = items(&mut slow);
    let kept = told.len() - 1;
    assert!(
        kept * LARGE <= SUBSCRIBER_BYTES && (kept + 1) * LARGE >= SUBSCRIBER_BYTES,
        "{kept}"
    );
    assert_eq!(told[0], format!("{} left out", MANY - kept));
    let last: Vec<_> = (MANY - kept..MANY).map(|n| format!("{n:03}")).collect();
    assert_eq!(told[1..], last);
}

#[tokio::test]
async fn one_commit_is_told_however_large_it_is() {
    let (_db, docs) = open().await;
    let mut changes = docs.changes();
    let many: Vec<_> = (0..MANY).map(large).collect();
    docs.insert_many(&many).await.unwrap();
    let expected: Vec<_> = (0..MANY).map(|n| format!("{n:03}")).collect();
    assert_eq!(items(&mut changes), expected);
}

#[tokio::test]
async fn a_live_query_that_falls_many_bytes_behind_tells_the_difference_in_one_step() {
    let (_db, docs) = open().await;
    let mut live = docs.find().live();
    live.next().await.unwrap().unwrap();
    for n in 0..MANY {
        docs.insert(&large(n)).await.unwrap();
    }
    let step = live.next().await.unwrap().unwrap();
    assert_eq!(step.changes.len(), MANY);
    assert!(live.next().now_or_never().is_none());
}

/// Live queries ended with their database, and whoever listened to its changes waited for ever; to arrivals even when all
/// handles of it were gone.
#[tokio::test]
async fn closing_the_database_ends_its_streams_behind_what_was_committed() {
    let (db, docs) = open().await;
    let (mut changes, mut all, mut told) = (docs.changes(), db.changes(), db.committed());
    let mut arrivals = docs.invalid_arrivals();
    let mut waiting = db.changes();
    let waiting = tokio::spawn(async move {
        let first = waiting.next().await;
        (first.is_some(), waiting.next().await.is_none())
    });
    let document = Value::from_json_str(r#"{"_id":"a"}"#).unwrap();
    docs.insert(&document).await.unwrap();
    db.close().await.unwrap();
    assert_eq!(items(&mut changes), ["a"]);
    assert_eq!(items(&mut all), ["a"]);
    assert!(told.next().now_or_never().unwrap().is_some());
    assert!(changes.next().now_or_never().unwrap().is_none());
    assert!(all.next().now_or_never().unwrap().is_none());
    assert!(told.next().now_or_never().unwrap().is_none());
    assert!(arrivals.next().now_or_never().unwrap().is_none());
    assert_eq!(waiting.await.unwrap(), (true, true));
    // There will be none.
    assert!(docs.changes().next().now_or_never().unwrap().is_none());
    assert!(db.committed().next().now_or_never().unwrap().is_none());
}

#[tokio::test]
async fn a_stream_of_changes_ends_with_the_last_handle_of_its_database() {
    let (db, docs) = open().await;
    let mut changes = docs.changes();
    drop((db, docs));
    assert!(changes.next().now_or_never().unwrap().is_none());
}
