//! One damaged value keeps nobody from the rest of the database.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use pocket_core::{
    Collection, CollectionConfig, Database, DatabaseBuilder, IndexConfig, IndexState, PlanAccess,
    Ttl, Value, codes,
};
use pocket_storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;

/// What is stored under the keys that begin and end so.
async fn stored(storage: &MemoryStorage, begin: &[u8], end: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let limit = ScanLimit::entries(100_000).bytes(usize::MAX);
    let all = storage.scan(KeyRange::all(), limit, Direction::Forward);
    let all = all.await.unwrap().into_iter();
    let found = all.filter(|(key, _)| key.starts_with(begin) && key.ends_with(end));
    found.map(|(key, value)| (key, value.to_vec())).collect()
}

/// Flips a bit in the one value whose key begins and ends so.
async fn damage(storage: &MemoryStorage, begin: &[u8], end: &[u8]) {
    let found = stored(storage, begin, end).await;
    let [(key, value)] = found.try_into().unwrap();
    let mut value = value.clone();
    *value.last_mut().unwrap() ^= 1;
    let mut batch = Batch::new();
    batch.put(key, value);
    storage.commit(batch, Durability::PowerLoss).await.unwrap();
}

/// Takes the one value away whose key begins and ends so.
async fn remove(storage: &MemoryStorage, begin: &[u8], end: &[u8]) {
    let found = stored(storage, begin, end).await;
    let [(key, _)] = found.try_into().unwrap();
    let mut batch = Batch::new();
    batch.delete(key);
    storage.commit(batch, Durability::PowerLoss).await.unwrap();
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn builder(configs: impl IntoIterator<Item = CollectionConfig>) -> DatabaseBuilder {
    let builder = Database::builder("test");
    configs
        .into_iter()
        .fold(builder, DatabaseBuilder::collection)
}

/// Three documents in each collection, of which the second of the first one is damaged.
async fn filled(names: &[&str]) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let configs = names.iter().copied().map(CollectionConfig::new);
    let db = builder(configs).open(storage.clone()).await.unwrap();
    for (at, name) in names.iter().enumerate() {
        let docs = db.collection::<Value>(name).unwrap();
        for id in 1..=3 {
            let document = format!(r#"{{"_id":"{at}-{id}","n":{id}}}"#);
            docs.insert(&value(&document)).await.unwrap();
        }
    }
    drop(db);
    damage(&storage, b"d", b"0-2").await;
    storage
}

fn states(docs: &Collection<Value>) -> Vec<(String, IndexState)> {
    let indexes = docs.indexes().into_iter();
    indexes
        .map(|index| (index.config.name(), index.state))
        .collect()
}

/// The first documents were read in the commit that records the index, so one damaged among them kept the database from
/// opening for as long as the index was configured.
#[tokio::test]
async fn an_index_that_is_configured_over_a_damaged_document_is_recorded_and_the_database_opens() {
    let storage = filled(&["docs"]).await;
    let config = CollectionConfig::new("docs").index(IndexConfig::new("n"));
    let db = builder([config.clone()])
        .open(storage.clone())
        .await
        .unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    assert_eq!(states(&docs), [("n_1".to_owned(), IndexState::Building)]);
    assert!(docs.get("0-3").await.unwrap().is_some());
    let error = db.create_collection(config).await.unwrap_err();
    assert_eq!(error.code(), codes::CORRUPT, "who waits for it is told");
    // Once the damage is gone, the index becomes ready.
    remove(&storage, b"d", b"0-2").await;
    let building = db.build_indexes().next().await.unwrap().unwrap();
    assert_eq!((building.done, building.ready), (2, true));
    assert_eq!(states(&docs), [("n_1".to_owned(), IndexState::Ready)]);
}

/// Whoever configured sync over a damaged document could not open the database any more.
#[tokio::test]
async fn sync_that_is_switched_on_over_a_damaged_document_sends_the_others() {
    let storage = filled(&["docs"]).await;
    let config = CollectionConfig::new("docs").sync(true);
    let db = builder([config]).open(storage).await.unwrap();
    assert_eq!(db.stats().await.unwrap().pending_changes, 2);
    let docs = db.collection::<Value>("docs").unwrap();
    let error = docs.get("0-2").await.unwrap_err();
    assert_eq!(error.code(), codes::CORRUPT, "it is what it was");
}

/// The first index that could not be finished ended the round over all of them, at every opening, so that nothing was built
/// or removed any more, in no collection. And `create_collection` told of damage elsewhere.
#[tokio::test]
async fn an_index_that_cannot_be_built_keeps_no_other_from_being_built_or_removed() {
    let storage = filled(&["docs", "more"]).await;
    let indexed = |name: &str| CollectionConfig::new(name).index(IndexConfig::new("n"));
    let db = builder([]).open(storage.clone()).await.unwrap();
    let more = db.collection::<Value>("more").unwrap();
    // More than an index is built of at once.
    let many: Vec<_> = (0..600)
        .map(|n| value(&format!(r#"{{"_id":"m{n}","n":{n}}}"#)))
        .collect();
    more.insert_many(&many).await.unwrap();
    let ttl = Ttl::after_update(Duration::from_secs(3_600));
    let first = [indexed("docs"), CollectionConfig::new("more").ttl(ttl)];
    builder(first).open(storage.clone()).await.unwrap();
    // The hidden index of the time to live is dropped and not removed yet.
    let second = builder([indexed("more")]).build_indexes(false);
    let db = second.open(storage.clone()).await.unwrap();
    let more = db.collection::<Value>("more").unwrap();
    let building = [("n_1".to_owned(), IndexState::Building)];
    assert_eq!(states(&more), building);
    assert_eq!(stored(&storage, b"x", b"").await.len(), 3);

    let db = builder([]).open(storage.clone()).await.unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    let more = db.collection::<Value>("more").unwrap();
    assert_eq!(states(&docs), building);
    assert_eq!(states(&more), [("n_1".to_owned(), IndexState::Ready)]);
    let definitions = stored(&storage, b"x", b"").await;
    assert_eq!(definitions.len(), 2, "what was dropped is removed");

    db.create_collection(indexed("new")).await.unwrap();
    let error = db.create_collection(indexed("docs")).await.unwrap_err();
    assert_eq!(error.code(), codes::CORRUPT);
}

/// A sweep ended at the first damaged document, every time, and what lies behind it in its collection and all that is over
/// in others was never deleted.
#[tokio::test]
async fn a_sweep_steps_over_a_damaged_document_and_tells_of_it_at_the_end() {
    let storage = MemoryStorage::new();
    let lasting = |name: &str| CollectionConfig::new(name).ttl(Ttl::at_field("until"));
    let db = builder([lasting("docs"), lasting("more")])
        .open(storage.clone())
        .await
        .unwrap();
    let over = |id: &str| {
        value(&format!(
            r#"{{"_id":"{id}","until":{{"$date":"2001-01-01T00:00:00.000Z"}}}}"#
        ))
    };
    for name in ["docs", "more"] {
        let docs = db.collection::<Value>(name).unwrap();
        for id in ["a", "b", "c"] {
            docs.insert(&over(&format!("{name}-{id}"))).await.unwrap();
        }
    }
    damage(&storage, b"d", b"docs-a").await;
    // An entry says no more than its key does.
    damage(&storage, b"i", b"docs-c").await;
    let error = db.expire().await.unwrap_err();
    assert_eq!(error.code(), codes::CORRUPT);
    let left = stored(&storage, b"d", b"").await;
    assert_eq!(left.len(), 1, "only the damaged one is left");
    // Set anew, the time to live finds what it can, too.
    drop(db);
    let sooner = |name: &str| {
        let ttl = Ttl::after_field("until", Duration::from_secs(1));
        CollectionConfig::new(name).ttl(ttl)
    };
    let db = builder([lasting("more")])
        .open(storage.clone())
        .await
        .unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    docs.insert(&over("docs-d")).await.unwrap();
    db.create_collection(sooner("docs")).await.unwrap();
    assert_eq!(db.expire().await.unwrap(), 1);
    remove(&storage, b"d", b"docs-a").await;
    assert_eq!(stored(&storage, b"d", b"").await.len(), 0);
}

/// All that an index holds can be made again, and yet one damaged definition kept the whole database from opening.
#[tokio::test]
async fn an_index_whose_definition_is_damaged_is_removed_and_made_anew_if_it_is_configured() {
    let storage = MemoryStorage::new();
    let hour = Duration::from_secs(3_600);
    let config = CollectionConfig::new("docs").ttl(Ttl::after_field("until", hour));
    let config = config.index(IndexConfig::new("n"));
    let db = builder([config.clone()])
        .open(storage.clone())
        .await
        .unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    docs.create_index(IndexConfig::new("hand")).await.unwrap();
    let over = r#"{"_id":"over","n":0,"until":{"$date":"2001-01-01T00:00:00.000Z"}}"#;
    for document in [over, r#"{"_id":"a","n":1}"#, r#"{"_id":"b","n":2}"#] {
        docs.upsert(&value(document)).await.unwrap();
    }
    drop((docs, db));
    let definitions = stored(&storage, b"x", b"").await;
    let numbers: Vec<_> = definitions.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(numbers.len(), 3);
    for number in &numbers {
        damage(&storage, number, b"").await;
    }
    let db = builder([config]).open(storage.clone()).await.unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    assert_eq!(states(&docs), [("n_1".to_owned(), IndexState::Ready)]);
    let found = docs.find().where_field("n").gte(2);
    assert!(matches!(
        found.explain().await.unwrap().access,
        PlanAccess::Index { .. }
    ));
    assert_eq!(found.count().await.unwrap(), 1);
    assert!(
        stored(&storage, b"d", b"over").await.is_empty(),
        "it is swept"
    );
    let made = stored(&storage, b"x", b"").await;
    assert_eq!(made.len(), 2);
    for (key, _) in &made {
        assert!(!numbers.contains(key), "no number is used twice");
    }
    assert_eq!(stored(&storage, b"i", b"").await.len(), 2);
}
