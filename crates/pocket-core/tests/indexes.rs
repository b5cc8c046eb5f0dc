//! Indexes as an application sees them: making, listing and dropping them, and what unique ones refuse and keep.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::{
    Applied, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope,
};
use pocket_core::{
    Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy, Database,
    DecidedBy, DocumentId, DocumentLimits, Epoch, Hlc, IndexConfig, IndexState, JournalFilter,
    JournalKind, JournalState, Order, Record, RecordState, Revision, Seq, Target, Timestamp, Value,
    Winner, codes, field,
};
use pocket_storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

async fn open(storage: MemoryStorage) -> Database {
    Database::builder("test")
        .collection(CollectionConfig::new("users").sync(true))
        .open(storage)
        .await
        .unwrap()
}

async fn users(config: IndexConfig) -> (Database, Collection<Value>) {
    let db = open(MemoryStorage::new()).await;
    let users = db.collection::<Value>("users").unwrap();
    users.create_index(config).await.unwrap();
    (db, users)
}

fn email() -> IndexConfig {
    IndexConfig::new("email").unique()
}

async fn refused(users: &Collection<Value>, json: &str) -> String {
    let error = users.upsert(&value(json)).await.unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION, "{json}");
    error.to_string()
}

async fn accepted(users: &Collection<Value>, json: &str) {
    users.upsert(&value(json)).await.unwrap();
}

#[tokio::test]
async fn a_local_write_that_breaks_a_unique_index_names_it_and_writes_nothing() {
    let (db, users) = users(email()).await;
    accepted(&users, r#"{"_id":"a","email":"x@y.z"}"#).await;
    let before = db.stats().await.unwrap();
    let error = refused(&users, r#"{"_id":"b","email":"x@y.z"}"#).await;
    for part in ["\"a\"", "\"b\"", "users", "email", "email_1"] {
        assert!(error.contains(part), "{error} names no {part}");
    }
    let many = [value(r#"{"email":"new"}"#), value(r#"{"email":"new"}"#)];
    let error = users.insert_many(&many).await.unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
    assert_eq!(db.stats().await.unwrap(), before);
    assert_eq!(users.count().await.unwrap(), 1);
    // Its own value is not in its way, nor is one that is gone.
    users.update("a", &json!({"name": "A"})).await.unwrap();
    users.delete("a").await.unwrap();
    accepted(&users, r#"{"_id":"b","email":"x@y.z"}"#).await;
}

#[tokio::test]
async fn documents_may_swap_unique_values_in_one_transaction() {
    let (db, users) = users(email()).await;
    accepted(&users, r#"{"_id":"a","email":"1"}"#).await;
    accepted(&users, r#"{"_id":"b","email":"2"}"#).await;
    let mut tx = db.transaction();
    tx.update(&users, "a", &json!({"email": "2"})).unwrap();
    tx.update(&users, "b", &json!({"email": "1"})).unwrap();
    tx.commit().await.unwrap();
    let mut half = db.transaction();
    half.update(&users, "a", &json!({"email": "3"})).unwrap();
    half.update(&users, "b", &json!({"email": "3"})).unwrap();
    let error = half.commit().await.unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
    let all = users.get_all().await.unwrap();
    let all: Vec<_> = all.iter().map(|it| it.to_json_string().unwrap()).collect();
    assert_eq!(
        all,
        [r#"{"_id":"a","email":"2"}"#, r#"{"_id":"b","email":"1"}"#]
    );
}

#[tokio::test]
async fn null_is_a_value_of_a_unique_index_unless_it_is_sparse() {
    let (_db, all) = users(email()).await;
    accepted(&all, r#"{"_id":"a"}"#).await;
    refused(&all, r#"{"_id":"b"}"#).await;
    refused(&all, r#"{"_id":"b","email":null}"#).await;
    let (_db, sparse) = users(email().sparse()).await;
    for json in [
        r#"{"_id":"a"}"#,
        r#"{"_id":"b"}"#,
        r#"{"_id":"c","email":null}"#,
        r#"{"_id":"d","email":"x"}"#,
    ] {
        accepted(&sparse, json).await;
    }
    refused(&sparse, r#"{"_id":"e","email":"x"}"#).await;
    let (_db, partial) = users(email().only(field("left").not_exists())).await;
    accepted(&partial, r#"{"_id":"a","email":"x","left":2020}"#).await;
    accepted(&partial, r#"{"_id":"b","email":"x"}"#).await;
    refused(&partial, r#"{"_id":"c","email":"x"}"#).await;
    refused(&partial, r#"{"_id":"a","email":"x"}"#).await;
}

#[tokio::test]
async fn elements_of_arrays_are_unique_across_documents_and_not_within_one() {
    let (_db, users) = users(IndexConfig::new("keys.id").unique().sparse()).await;
    accepted(&users, r#"{"_id":"a","keys":[{"id":1},{"id":2},{"id":1}]}"#).await;
    refused(&users, r#"{"_id":"b","keys":[{"id":3},{"id":2.0}]}"#).await;
    accepted(&users, r#"{"_id":"b","keys":[{"id":3},{}]}"#).await;
    accepted(&users, r#"{"_id":"a","keys":[{"id":1}]}"#).await;
    accepted(&users, r#"{"_id":"b","keys":[{"id":2},{"id":3}]}"#).await;
}

#[tokio::test]
async fn long_values_that_are_equal_as_far_as_a_key_goes_are_told_apart() {
    let (_db, users) = users(email().then("b", Order::Descending)).await;
    let long = "x".repeat(2_000);
    for (id, end, b) in [("a", "1", "y"), ("b", "2", "y"), ("c", "1", "z")] {
        let json = format!(r#"{{"_id":"{id}","email":"{long}{end}","b":"{long}{b}"}}"#);
        accepted(&users, &json).await;
    }
    for (id, end, b) in [("d", "1", "y"), ("c", "2", "y")] {
        let json = format!(r#"{{"_id":"{id}","email":"{long}{end}","b":"{long}{b}"}}"#);
        refused(&users, &json).await;
    }
}

#[tokio::test]
async fn a_document_with_more_values_than_can_be_compared_is_refused_by_a_unique_index_only() {
    let many: Vec<String> = (0..4_097).map(|number| number.to_string()).collect();
    let json = format!(r#"{{"_id":"a","t":[{}]}}"#, many.join(","));
    let (_db, unique) = users(IndexConfig::new("t").unique()).await;
    let error = unique.insert(&value(&json)).await.unwrap_err();
    assert_eq!(error.code(), codes::VALIDATION);
    let (_db, plain) = users(IndexConfig::new("t")).await;
    accepted(&plain, &json).await;
}

#[tokio::test]
async fn of_writers_that_want_one_value_at_the_same_time_one_gets_it() {
    let (_db, users) = users(email()).await;
    let writes = (0..20).map(|number| {
        let users = users.clone();
        let value = value(&format!(r#"{{"_id":"{number}","email":"{}"}}"#, number % 2));
        async move { users.insert(&value).await }
    });
    let done = futures_util::future::join_all(writes).await;
    let (made, refused): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (2, 18));
    for error in refused {
        assert_eq!(error.unwrap_err().code(), codes::INDEX_UNIQUE_VIOLATION);
    }
    assert_eq!(users.count().await.unwrap(), 2);
}

struct Server;

impl Resolver for Server {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepRemote, "server-wins")
    }
}

async fn page(db: &Database, start: u64, documents: &[&str]) -> Applied {
    let records = (start + 1..).zip(documents).map(|(seq, json)| {
        let limits = DocumentLimits::default();
        let (id, body) = Body::from_serialize(&value(json), &limits).unwrap();
        Record {
            collection: CollectionName::new("users").unwrap(),
            id: id.unwrap(),
            rev: Revision::new(
                Hlc::from_time(Timestamp::from_millis(1_000)),
                ClientId::from_bytes([9; 16]),
            ),
            seq: Seq::new(seq),
            state: RecordState::Live(body),
        }
    });
    let end = Seq::new(start + documents.len() as u64);
    let page = IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::new(start),
        end,
        head: end,
        records: records.collect(),
        removals: Vec::new(),
    };
    let replica = Replica::new(db, Target::DEFAULT);
    replica.load(&Scope::All).await.unwrap();
    replica.apply(page, Arc::new(Server)).await.unwrap()
}

#[tokio::test]
async fn a_duplicate_that_sync_brings_stays_and_the_journal_names_both_documents() {
    let (db, users) = users(email()).await;
    accepted(&users, r#"{"_id":"here","email":"x"}"#).await;
    let applied = page(
        &db,
        0,
        &[
            r#"{"_id":"there","email":"x"}"#,
            r#"{"_id":"p","email":"y"}"#,
            r#"{"_id":"q","email":"y"}"#,
        ],
    )
    .await;
    assert_eq!(
        (applied.violations, applied.state.open_conflicts),
        (vec![1, 2], 2)
    );
    assert_eq!(users.count().await.unwrap(), 4);
    let entries = db.journal().list(None, 10).await.unwrap();
    let named: Vec<Vec<&str>> = entries
        .iter()
        .map(|entry| {
            let documents = entry.documents.iter();
            let mut ids: Vec<_> = documents.map(|document| document.id.as_str()).collect();
            ids.sort_unstable();
            ids
        })
        .collect();
    assert_eq!(named, [["here", "there"], ["p", "q"]]);
    assert_eq!(db.stats().await.unwrap().open_conflicts, 2);
    for entry in &entries {
        assert_eq!(
            (entry.kind, entry.winner, entry.code.as_deref()),
            (
                JournalKind::UniqueViolation,
                Winner::Both,
                Some(codes::INDEX_UNIQUE_VIOLATION)
            )
        );
        assert!(entry.reason.as_deref().unwrap().contains("email_1"));
        assert!(entry.documents.iter().all(|document| !document.erased));
    }
    let only = JournalFilter::open().kind(JournalKind::UniqueViolation);
    let found = db.journal().list_matching(&only, None, 10).await.unwrap();
    assert_eq!(found.len(), 2);

    let explained = db.journal().explain(1).await.unwrap();
    assert_eq!(explained.decided_by, DecidedBy::Strategy);
    let text = explained.to_string();
    for part in [
        "users/here",
        "users/there",
        "email",
        "Both documents stand",
        "dismissing",
    ] {
        assert!(text.contains(part), "{text}\nhas no {part}");
    }
    let error = db.journal().restore(1).await.unwrap_err();
    assert_eq!(error.code(), codes::JOURNAL_ENTRY_WITHOUT_LOSER);
    db.journal().dismiss(1).await.unwrap();
    let dismissed = db.journal().get(1).await.unwrap();
    assert_eq!(dismissed.state, JournalState::Dismissed);
}

#[tokio::test]
async fn duplicates_that_sync_brought_can_be_edited_and_are_told_once() {
    let (db, users) = users(email()).await;
    page(
        &db,
        0,
        &[r#"{"_id":"a","email":"x"}"#, r#"{"_id":"b","email":"x"}"#],
    )
    .await;
    // What is not about the index is nobody's business; to take the value anew is.
    users.update("a", &json!({"name": "A"})).await.unwrap();
    page(&db, 2, &[r#"{"_id":"b","email":"x","name":"B"}"#]).await;
    assert_eq!(db.journal().list(None, 10).await.unwrap().len(), 1);
    users.update("a", &json!({"email": "y"})).await.unwrap();
    refused(&users, r#"{"_id":"a","email":"x"}"#).await;
    refused(&users, r#"{"_id":"c","email":"x"}"#).await;
    users.delete("b").await.unwrap();
    accepted(&users, r#"{"_id":"c","email":"x"}"#).await;
}

#[tokio::test]
async fn an_index_of_the_same_name_and_other_fields_is_refused_and_says_so() {
    let (_db, users) = users(email().named("mail")).await;
    users.create_index(email().named("mail")).await.unwrap();
    let other = IndexConfig::new("address.mail").named("mail");
    for config in [other, IndexConfig::new("email").named("mail")] {
        let error = users.create_index(config).await.unwrap_err();
        assert_eq!(error.code(), codes::CONFIG);
        let text = error.to_string();
        assert!(
            text.contains("email ascending, unique") && text.contains("drop it first"),
            "{text}"
        );
    }
    let bad = users.create_index(IndexConfig::new("a..b")).await;
    assert_eq!(bad.unwrap_err().code(), codes::CONFIG);
    let wrong = field("a").gt(1).and(field("b.").eq(1));
    let bad = users.create_index(IndexConfig::new("a").only(wrong)).await;
    assert_eq!(bad.unwrap_err().code(), codes::CONFIG);
    assert_eq!(users.indexes().len(), 1);
}

#[tokio::test]
async fn indexes_are_recorded_listed_and_dropped() {
    let storage = MemoryStorage::new();
    let configs = [
        IndexConfig::new("name").then("address.city", Order::Descending),
        email().sparse(),
        IndexConfig::new("age").only(field("age").between(18, 99)),
    ];
    let config = configs.iter().take(2).cloned();
    let config = config.fold(
        CollectionConfig::new("users").sync(true),
        CollectionConfig::index,
    );
    let builder = || Database::builder("test").collection(config.clone());
    let db = builder().open(storage.clone()).await.unwrap();
    let users = db.collection::<Value>("users").unwrap();
    users.create_index(configs[2].clone()).await.unwrap();
    // Those that are configured, and the one that was made since.
    let db = builder().open(storage).await.unwrap();
    let users = db.collection::<Value>("users").unwrap();
    let names = |users: &Collection<Value>| {
        let indexes = users.indexes();
        let all_ready = indexes.iter().all(|index| index.state == IndexState::Ready);
        assert!(all_ready, "{indexes:?}");
        let names = indexes.iter().map(|index| index.config.name());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        names(&users),
        ["name_1_address.city_-1", "email_1", "age_1"]
    );
    let found = users.indexes();
    assert_eq!(found[2].config.only, configs[2].only);
    assert_eq!(found[0].config.fields, configs[0].fields);
    assert!(found[1].config.unique && found[1].config.sparse && !found[0].config.unique);
    let listed = db.list_collections();
    assert_eq!(listed[0].indexes.len(), 3);

    users.drop_index("email_1").await.unwrap();
    let again = users.drop_index("email_1").await.unwrap_err();
    assert_eq!(again.code(), codes::INDEX_NOT_FOUND);
    assert_eq!(names(&users), ["name_1_address.city_-1", "age_1"]);
    accepted(&users, r#"{"_id":"a","email":"x"}"#).await;
    accepted(&users, r#"{"_id":"b","email":"x"}"#).await;
    // Opening would have to make it, and cannot.
    let error = users.create_index(email()).await.unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
    let id = DocumentId::new("b").unwrap();
    users.delete(id.as_str()).await.unwrap();
    users.create_index(email()).await.unwrap();
    assert_eq!(users.indexes().len(), 3);
}

#[tokio::test]
async fn a_collection_without_indexes_has_none_and_one_that_is_not_there_cannot_get_one() {
    let db = open(MemoryStorage::new()).await;
    let users = db.collection::<Value>("users").unwrap();
    assert_eq!(users.indexes(), []);
    db.delete_collection("users").await.unwrap();
    let error = users.create_index(email()).await.unwrap_err();
    assert_eq!(error.code(), codes::COLLECTION_NOT_FOUND);
}

/// A database with one damaged document could not be opened any more once an index of its collection was tried, not even to
/// save what it holds.
#[tokio::test]
async fn an_index_that_a_damaged_document_stops_keeps_nobody_from_the_rest() {
    let storage = MemoryStorage::new();
    let db = open(storage.clone()).await;
    let users = db.collection::<Value>("users").unwrap();
    // More than an index is built of at once.
    let many: Vec<_> = (0..600)
        .map(|n| value(&format!(r#"{{"_id":"d{n}","email":"d{n}@y.z"}}"#)))
        .collect();
    users.insert_many(&many).await.unwrap();
    let everything = storage
        .scan(
            KeyRange::all(),
            ScanLimit::entries(10_000),
            Direction::Forward,
        )
        .await;
    let mut batch = Batch::new();
    for (key, value) in everything.unwrap() {
        if key.first() == Some(&b'd') && key.ends_with(b"d599") {
            let mut hurt = value.to_vec();
            *hurt.last_mut().unwrap() ^= 1;
            batch.put(key, hurt);
        }
    }
    assert!(!batch.is_empty());
    storage.commit(batch, Durability::PowerLoss).await.unwrap();

    let stopped = users.create_index(IndexConfig::new("email")).await;
    assert_eq!(stopped.unwrap_err().code(), codes::CORRUPT);
    drop((db, users));
    let db = open(storage).await;
    let users = db.collection::<Value>("users").unwrap();
    assert!(users.get("d1").await.unwrap().is_some());
    accepted(&users, r#"{"_id":"new","email":"n@y.z"}"#).await;
    let found = users.find().filter(field("email").eq("n@y.z")).all().await;
    assert_eq!(found.unwrap_err().code(), codes::CORRUPT, "it looks at all");
    users.drop_index("email_1").await.unwrap();
    assert!(users.indexes().is_empty());
}

/// An index that was made unique in the program kept its database from opening, "drop it first", which needs an open one.
#[tokio::test]
async fn an_index_that_is_configured_otherwise_takes_the_place_of_the_recorded_one() {
    let storage = MemoryStorage::new();
    let opened = async |index: IndexConfig| {
        let config = CollectionConfig::new("users").index(index);
        let db = Database::builder("test").collection(config);
        let db = db.open(storage.clone()).await.unwrap();
        let users = db.collection::<Value>("users").unwrap();
        let [index] = users.indexes().try_into().unwrap();
        assert_eq!(index.state, IndexState::Ready);
        (db, users, index.config)
    };
    let stored = async || {
        let limit = ScanLimit::entries(10_000);
        let all = storage.scan(KeyRange::all(), limit, Direction::Forward);
        let keys: Vec<_> = all.await.unwrap().into_iter().map(|(key, _)| key).collect();
        let of = |kind: u8| keys.iter().filter(move |key| key[0] == kind);
        (of(b'x').cloned().collect::<Vec<_>>(), of(b'i').count())
    };
    let (_, users, _) = opened(IndexConfig::new("email")).await;
    for document in [
        r#"{"_id":"a","email":"x"}"#,
        r#"{"_id":"b"}"#,
        r#"{"_id":"c"}"#,
    ] {
        accepted(&users, document).await;
    }
    let before = stored().await;
    assert_eq!(before.1, 3);
    let (db, users, index) = opened(email().sparse()).await;
    assert!(index.unique && index.sparse);
    let after = stored().await;
    assert_eq!(
        (after.0.len(), after.1),
        (1, 1),
        "what the other one held is gone"
    );
    assert_ne!(after.0, before.0);
    refused(&users, r#"{"_id":"d","email":"x"}"#).await;
    // It is the same now, and not made again.
    let (_, _, same) = opened(email().sparse()).await;
    assert_eq!(same, index);
    assert_eq!(stored().await, after);
    // Who asks an open database for another one can drop the first.
    let error = users.create_index(email()).await.unwrap_err();
    assert_eq!(error.code(), codes::CONFIG);
    // One configuration says one thing.
    let both = CollectionConfig::new("users").index(email());
    let both = both.index(IndexConfig::new("email"));
    let error = db.create_collection(both).await.unwrap_err();
    assert_eq!(error.code(), codes::CONFIG);
    assert_eq!(stored().await, after);
}
