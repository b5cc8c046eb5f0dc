//! Queries read as streams.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pocket_core::{Collection, CollectionConfig, Database, Order, Query, Value};
use pocket_storage_memory::MemoryStorage;

async fn collection(documents: usize) -> Collection<Value> {
    let db = Database::builder("test")
        .collection(CollectionConfig::new("things").sync(true))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let things = db.collection::<Value>("things").unwrap();
    let documents: Vec<_> = (0..documents)
        .map(|n| {
            Value::from_json_str(&format!(r#"{{"_id":"{n:06}","even":{}}}"#, n % 2 == 0)).unwrap()
        })
        .collect();
    things.insert_many(&documents).await.unwrap();
    things
}

async fn ids(query: Query<Value>) -> Vec<String> {
    let mut stream = query.stream();
    let mut ids = Vec::new();
    while let Some(document) = stream.next().await {
        ids.push(document.unwrap().id.to_string());
    }
    ids
}

async fn collected(query: Query<Value>) -> Vec<String> {
    let documents = query.documents().await.unwrap();
    documents
        .iter()
        .map(|document| document.id.to_string())
        .collect()
}

#[tokio::test]
async fn a_stream_gives_what_the_query_collects_over_many_pages() {
    let things = collection(1_500).await;
    things.delete("000007").await.unwrap();
    let queries = [
        things.find(),
        things.find().where_field("even").eq(false),
        things.find().limit(513),
        things.find().limit(0),
        things.find().where_field("_id").eq("000003"),
        things.find().sort("even", Order::Descending).limit(3),
    ];
    for query in queries {
        assert_eq!(ids(query.clone()).await, collected(query).await);
    }
    assert_eq!(ids(things.find()).await.len(), 1_499);
}

#[tokio::test]
async fn a_bad_query_is_told_once() {
    let things = collection(3).await;
    let mut stream = things.find().where_field("a..b").eq(1).stream();
    assert_eq!(
        stream.next().await.unwrap().unwrap_err().code(),
        "bad-query"
    );
    assert!(stream.next().await.is_none());
}
