//! Documents and collections as an application sees them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pocket_core::{
    ChangeItem, CollectionConfig, Database, DatabaseBuilder, Migration, Operation, Order, Value,
    codes, field,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

async fn open(storage: MemoryStorage) -> Database {
    Database::builder("test")
        .collection(CollectionConfig::new("todos").sync(true))
        .collection(CollectionConfig::new("cache"))
        .open(storage)
        .await
        .unwrap()
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

#[tokio::test]
async fn an_inserted_document_comes_back_with_its_fields_in_order() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    let document = value(r#"{"_id":"1","z":1,"a":{"y":1.0,"x":[null,true]}}"#);
    todos.insert(&document).await.unwrap();
    assert_eq!(
        todos
            .get("1")
            .await
            .unwrap()
            .unwrap()
            .to_json_string()
            .unwrap(),
        document.to_json_string().unwrap()
    );
    assert_eq!(
        todos.insert(&document).await.unwrap_err().code(),
        codes::DOCUMENT_EXISTS
    );
}

#[tokio::test]
async fn ids_that_are_made_rise_within_a_millisecond() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    let mut last = String::new();
    for _ in 0..100 {
        let id = todos.insert(&value("{}")).await.unwrap().to_string();
        assert!(id > last, "{id} after {last}");
        last = id;
    }
}

#[tokio::test]
async fn insert_many_stores_all_or_none() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    let twice = [
        value(r#"{"_id":"a"}"#),
        value(r#"{"_id":"b"}"#),
        value(r#"{"_id":"a"}"#),
    ];
    assert_eq!(
        todos.insert_many(&twice).await.unwrap_err().code(),
        codes::DOCUMENT_EXISTS
    );
    assert_eq!(todos.count().await.unwrap(), 0);
    assert_eq!(db.stats().await.unwrap().pending_changes, 0);
    todos.insert_many(&twice[..2]).await.unwrap();
    assert_eq!(
        todos
            .get_many(["b", "x", "a"])
            .await
            .unwrap()
            .iter()
            .map(Option::is_some)
            .collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(db.stats().await.unwrap().pending_changes, 2);
}

#[tokio::test]
async fn update_merges_the_top_level_and_refuses_system_fields_and_missing_documents() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    todos
        .insert(&value(r#"{"_id":"1","a":1,"b":{"x":1}}"#))
        .await
        .unwrap();
    let after = todos.update("1", &json!({"b": 2, "c": 3})).await.unwrap();
    assert_eq!(
        after.to_json_string().unwrap(),
        r#"{"_id":"1","a":1,"b":2,"c":3}"#
    );
    assert_eq!(
        todos
            .update("1", &json!({"_rev": "x"}))
            .await
            .unwrap_err()
            .code(),
        codes::VALIDATION
    );
    assert_eq!(
        todos
            .update("1", &json!({"_id": "2"}))
            .await
            .unwrap_err()
            .code(),
        codes::VALIDATION
    );
    assert_eq!(
        todos.update("2", &json!({})).await.unwrap_err().code(),
        codes::DOCUMENT_NOT_FOUND
    );
    todos.delete("1").await.unwrap();
    assert_eq!(
        todos.update("1", &json!({})).await.unwrap_err().code(),
        codes::DOCUMENT_DELETED
    );
    assert_eq!(
        todos.delete("1").await.unwrap_err().code(),
        codes::DOCUMENT_DELETED
    );
}

#[tokio::test]
async fn a_synced_delete_leaves_a_tombstone_and_a_local_one_nothing() {
    let db = open(MemoryStorage::new()).await;
    for name in ["todos", "cache"] {
        let collection = db.collection::<Value>(name).unwrap();
        collection
            .insert_many(&[value(r#"{"_id":"1"}"#), value(r#"{"_id":"2"}"#)])
            .await
            .unwrap();
        assert_eq!(collection.clear().await.unwrap(), 2);
        assert_eq!(collection.count().await.unwrap(), 0);
        assert!(collection.get("1").await.unwrap().is_none());
        collection.insert(&value(r#"{"_id":"1"}"#)).await.unwrap();
    }
}

#[tokio::test]
async fn create_and_delete_cancel_before_they_were_sent() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    todos.insert(&value(r#"{"_id":"1"}"#)).await.unwrap();
    todos.update("1", &json!({"a": 1})).await.unwrap();
    assert_eq!(db.stats().await.unwrap().pending_changes, 1);
    todos.hard_delete("1").await.unwrap();
    assert_eq!(db.stats().await.unwrap().pending_changes, 0);
    assert!(todos.get_document("1").await.unwrap().is_none());
}

#[tokio::test]
async fn two_updates_at_the_same_time_both_take_effect() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    todos.insert(&value(r#"{"_id":"1","n":0}"#)).await.unwrap();
    let (first, second) = (json!({"a": 1}), json!({"b": 2}));
    let (a, b) = tokio::join!(todos.update("1", &first), todos.update("1", &second));
    a.unwrap();
    b.unwrap();
    assert_eq!(
        todos
            .get("1")
            .await
            .unwrap()
            .unwrap()
            .to_json_string()
            .unwrap(),
        r#"{"_id":"1","n":0,"a":1,"b":2}"#
    );
}

#[tokio::test]
async fn two_handles_on_one_store_lose_nothing() {
    let storage = MemoryStorage::new();
    let (one, two) = (open(storage.clone()).await, open(storage).await);
    let (a, b) = (
        one.collection::<Value>("todos").unwrap(),
        two.collection::<Value>("todos").unwrap(),
    );
    a.insert(&value(r#"{"_id":"1","n":0}"#)).await.unwrap();
    for round in 0..20 {
        let (first, second) = (
            json!({format!("a{round}"): 1}),
            json!({format!("b{round}"): 1}),
        );
        let (x, y) = tokio::join!(a.update("1", &first), b.update("1", &second));
        x.unwrap();
        y.unwrap();
    }
    let Value::Map(map) = a.get("1").await.unwrap().unwrap() else {
        panic!("no map")
    };
    assert_eq!(map.len(), 42);
}

#[tokio::test]
async fn a_transaction_is_one_mutation_and_notices_that_its_reads_moved() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    let mut tx = db.transaction();
    tx.insert(&todos, &value(r#"{"_id":"a","n":1}"#)).unwrap();
    tx.insert(&todos, &value(r#"{"_id":"b","n":1}"#)).unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.stats().await.unwrap().pending_changes, 1);

    let mut tx = db.transaction();
    tx.get(&todos, "a").await.unwrap();
    tx.update(&todos, "b", &json!({"n": 2})).unwrap();
    todos.update("a", &json!({"n": 9})).await.unwrap();
    assert_eq!(
        tx.commit().await.unwrap_err().code(),
        codes::TRANSACTION_CONFLICT
    );
    assert_eq!(
        todos
            .get("b")
            .await
            .unwrap()
            .unwrap()
            .to_json_string()
            .unwrap(),
        r#"{"_id":"b","n":1}"#
    );
}

#[tokio::test]
async fn a_transaction_that_could_not_travel_is_refused_at_commit() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    let cache = db.collection::<Value>("cache").unwrap();
    for (collection, fits) in [(&todos, false), (&cache, true)] {
        let mut tx = db.transaction();
        for n in 0..1_001 {
            tx.insert(collection, &value(&format!(r#"{{"_id":"{n}"}}"#)))
                .unwrap();
        }
        let outcome = tx.commit().await.map_err(|error| error.code());
        assert_eq!(
            outcome,
            if fits {
                Ok(())
            } else {
                Err(codes::TRANSACTION_TOO_LARGE)
            }
        );
    }
    let mut tx = db.transaction();
    let big = "x".repeat(900_000);
    for n in 0..3 {
        tx.insert(&todos, &value(&format!(r#"{{"_id":"{n}","big":"{big}"}}"#)))
            .unwrap();
    }
    assert_eq!(
        tx.commit().await.unwrap_err().code(),
        codes::TRANSACTION_TOO_LARGE
    );
    assert_eq!(todos.count().await.unwrap(), 0);
}

#[tokio::test]
async fn changes_come_in_order_and_one_commit_shares_a_sequence() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    let mut changes = todos.changes();
    todos
        .insert_many(&[value(r#"{"_id":"1"}"#), value(r#"{"_id":"2"}"#)])
        .await
        .unwrap();
    db.collection::<Value>("cache")
        .unwrap()
        .insert(&value("{}"))
        .await
        .unwrap();
    todos.update("1", &json!({"a": 1})).await.unwrap();
    todos.delete("2").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let Some(ChangeItem::Change(change)) = changes.next().await else {
            panic!("no change")
        };
        assert!(!change.is_from_sync);
        seen.push((
            change.operation,
            change.document_id.to_string(),
            change.sequence,
        ));
    }
    assert_eq!(
        seen.iter().map(|row| row.0).collect::<Vec<_>>(),
        [
            Operation::Insert,
            Operation::Insert,
            Operation::Update,
            Operation::Delete
        ]
    );
    assert!(seen[0].2 == seen[1].2 && seen[1].2 < seen[2].2 && seen[2].2 < seen[3].2);
}

#[tokio::test]
async fn a_subscriber_that_falls_behind_is_told_once_and_goes_on() {
    let db = open(MemoryStorage::new()).await;
    let cache = db.collection::<Value>("cache").unwrap();
    let mut changes = cache.changes();
    let writes = 3 * pocket_core::SUBSCRIBER_COMMITS as u64;
    for n in 0..writes {
        cache
            .insert(&value(&format!(r#"{{"_id":"{n}"}}"#)))
            .await
            .unwrap();
    }
    let Some(ChangeItem::Lagged { from, to }) = changes.next().await else {
        panic!("not told")
    };
    let Some(ChangeItem::Change(change)) = changes.next().await else {
        panic!("does not go on")
    };
    assert_eq!(change.sequence, to.next());
    assert_eq!(
        to.get() + 1 - from.get(),
        writes - pocket_core::SUBSCRIBER_COMMITS as u64
    );
}

#[tokio::test]
async fn an_observed_document_shows_its_newest_version() {
    let db = open(MemoryStorage::new()).await;
    let todos = db.collection::<Value>("todos").unwrap();
    let mut observed = todos.observe_by_id("1").unwrap();
    assert!(observed.next().await.unwrap().unwrap().is_none());
    todos.insert(&value(r#"{"_id":"1","n":1}"#)).await.unwrap();
    assert_eq!(
        observed
            .next()
            .await
            .unwrap()
            .unwrap()
            .unwrap()
            .to_json_string()
            .unwrap(),
        r#"{"_id":"1","n":1}"#
    );
    todos.delete("1").await.unwrap();
    assert!(observed.next().await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn find_filters_sorts_and_limits() {
    let db = open(MemoryStorage::new()).await;
    let cache = db.collection::<Value>("cache").unwrap();
    for (id, n, kind) in [("a", 3, "x"), ("b", 1, "x"), ("c", 2, "y"), ("d", 1, "x")] {
        cache
            .insert(&value(&format!(
                r#"{{"_id":"{id}","n":{n},"kind":"{kind}"}}"#
            )))
            .await
            .unwrap();
    }
    let ids = |found: Vec<pocket_core::Document>| {
        found
            .iter()
            .map(|document| document.id.to_string())
            .collect::<Vec<_>>()
    };
    let x = || cache.find().where_field("kind").eq("x");
    assert_eq!(ids(x().documents().await.unwrap()), ["a", "b", "d"]);
    assert_eq!(
        ids(x().sort("n", Order::Ascending).documents().await.unwrap()),
        ["b", "d", "a"]
    );
    assert_eq!(
        ids(x()
            .sort("n", Order::Descending)
            .limit(2)
            .documents()
            .await
            .unwrap()),
        ["a", "b"]
    );
    assert_eq!(
        ids(cache
            .find()
            .where_field("_id")
            .eq("c")
            .documents()
            .await
            .unwrap()),
        ["c"]
    );
    assert_eq!(
        ids(cache
            .find()
            .where_field("missing")
            .eq(Value::Null)
            .limit(1)
            .documents()
            .await
            .unwrap()),
        ["a"]
    );
    assert_eq!(x().count().await.unwrap(), 3);
    let one = |kind: &str| cache.find_one(field("kind").eq(kind));
    let found = one("y").await.unwrap().unwrap();
    assert_eq!(found, value(r#"{"_id":"c","n":2,"kind":"y"}"#));
    assert_eq!(one("z").await.unwrap(), None);
    assert_eq!(
        cache
            .find()
            .where_field("a..b")
            .eq(1)
            .all()
            .await
            .unwrap_err()
            .code(),
        codes::BAD_QUERY
    );
    for name in ["_rev", "_updatedAt", "_deleted"] {
        let asked = cache.find().where_field(name).eq(true).count().await;
        assert_eq!(asked.unwrap_err().code(), codes::BAD_QUERY, "{name}");
        let sorted = cache.find().sort(name, Order::Descending).all().await;
        assert_eq!(sorted.unwrap_err().code(), codes::BAD_QUERY, "{name}");
    }
}

#[tokio::test]
async fn collections_and_their_settings_are_recorded() {
    let storage = MemoryStorage::new();
    let db = open(storage.clone()).await;
    let client = db.client_id();
    db.close().await.unwrap();
    let db = Database::builder("test").open(storage).await.unwrap();
    assert_eq!(db.client_id(), client);
    assert!(
        db.list_collections()
            .iter()
            .any(|config| config.name == "todos" && config.sync)
    );
    assert_eq!(
        db.collection::<Value>("nothing").unwrap_err().code(),
        codes::COLLECTION_NOT_FOUND
    );
    assert_eq!(
        db.collection::<Value>("_system").unwrap_err().code(),
        codes::BAD_COLLECTION_NAME
    );
    db.delete_collection("cache").await.unwrap();
    assert!(!db.has_collection("cache"));
}

#[tokio::test]
async fn switching_sync_enqueues_or_drops_what_was_never_sent() {
    let db = open(MemoryStorage::new()).await;
    let cache = db.collection::<Value>("cache").unwrap();
    cache
        .insert_many(&[value(r#"{"_id":"1"}"#), value(r#"{"_id":"2"}"#)])
        .await
        .unwrap();
    db.create_collection(CollectionConfig::new("cache").sync(true))
        .await
        .unwrap();
    assert_eq!(db.stats().await.unwrap().pending_changes, 2);
    db.create_collection(CollectionConfig::new("cache"))
        .await
        .unwrap();
    assert_eq!(db.stats().await.unwrap().pending_changes, 0);
    assert_eq!(cache.count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_program_that_knows_less_than_the_last_one_is_refused() {
    let storage = MemoryStorage::new();
    let open = |version| {
        let migrations = (2..=version).map(Migration::to);
        let builder = Database::builder("test").schema_version(version);
        let builder = migrations.fold(builder, DatabaseBuilder::migration);
        builder.open(storage.clone())
    };
    assert_eq!(open(1).await.unwrap().schema_version(), 1);
    assert_eq!(open(3).await.unwrap().schema_version(), 3);
    assert_eq!(open(2).await.unwrap_err().code(), codes::NEWER_FORMAT);
    open(3).await.unwrap();
}
