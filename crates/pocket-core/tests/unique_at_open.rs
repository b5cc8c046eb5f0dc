//! Unique indexes that documents break when they are built: at open the database must open, so they stay and are told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pocket_core::{
    CollectionConfig, Database, IndexConfig, IndexState, JournalKind, Migrated, Migration, Value,
    codes,
};
use pocket_storage_memory::MemoryStorage;

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn users() -> CollectionConfig {
    CollectionConfig::new("users")
}

fn email() -> IndexConfig {
    IndexConfig::new("email").unique()
}

/// The ids that each entry of the journal about unique indexes names.
async fn told(db: &Database) -> Vec<Vec<String>> {
    let entries = db.journal().list(None, 100).await.unwrap();
    let ids = |entry: &pocket_core::JournalEntry| {
        assert_eq!(entry.kind, JournalKind::UniqueViolation);
        let documents = entry.documents.iter();
        documents.map(|document| document.id.to_string()).collect()
    };
    entries.iter().map(ids).collect()
}

async fn filled(storage: &MemoryStorage, documents: &[&str]) -> Database {
    let builder = Database::builder("app").collection(users());
    let db = builder.open(storage.clone()).await.unwrap();
    let users = db.collection::<Value>("users").unwrap();
    for document in documents {
        users.insert(&value(document)).await.unwrap();
    }
    db
}

const BROKEN: &[&str] = &[
    r#"{"_id":"a","email":"x"}"#,
    r#"{"_id":"b","email":"y"}"#,
    r#"{"_id":"c","email":"x"}"#,
    r#"{"_id":"d","email":["x","z"]}"#,
];

#[tokio::test]
async fn a_configured_index_that_documents_break_is_built_at_open_and_the_journal_tells_of_it() {
    let storage = MemoryStorage::new();
    let db = filled(&storage, BROKEN).await;
    // Who asks for it is told at once, and gets none.
    let docs = db.collection::<Value>("users").unwrap();
    let error = docs.create_index(email()).await.unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
    let mut building = docs.build_index(email());
    let error = building.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
    assert!(docs.indexes().is_empty() && told(&db).await.is_empty());

    let builder = || Database::builder("app").collection(users().index(email()));
    let db = builder().open(storage.clone()).await.unwrap();
    let docs = db.collection::<Value>("users").unwrap();
    assert_eq!(docs.indexes()[0].state, IndexState::Ready);
    assert_eq!(told(&db).await, [["a", "c"], ["a", "d"]]);
    let error = docs.upsert(&value(r#"{"_id":"e","email":"y"}"#)).await;
    assert_eq!(error.unwrap_err().code(), codes::INDEX_UNIQUE_VIOLATION);
    // Opening again tells nothing again.
    let db = builder().open(storage).await.unwrap();
    assert_eq!(told(&db).await.len(), 2);
}

#[tokio::test]
async fn a_collection_that_gets_one_on_the_way_keeps_its_duplicates_too() {
    let db = filled(&MemoryStorage::new(), BROKEN).await;
    db.create_collection(users().index(email())).await.unwrap();
    assert_eq!(told(&db).await, [["a", "c"], ["a", "d"]]);
    assert_eq!(db.stats().await.unwrap().open_conflicts, 2);
}

#[tokio::test]
async fn a_large_collection_is_built_in_many_commits_and_each_pair_told_once() {
    let storage = MemoryStorage::new();
    let db = filled(&storage, &[]).await;
    let docs = db.collection::<Value>("users").unwrap();
    let many: Vec<_> = (0..1_400)
        .map(|n| value(&format!(r#"{{"_id":"{n:04}","email":{}}}"#, n % 1_300)))
        .collect();
    docs.insert_many(&many).await.unwrap();
    let builder = Database::builder("app").collection(users().index(email()));
    let db = builder.build_indexes(false).open(storage).await.unwrap();
    let docs = db.collection::<Value>("users").unwrap();
    assert_eq!(docs.indexes()[0].state, IndexState::Building);
    let mut building = db.build_indexes();
    while let Some(progress) = building.next().await {
        progress.unwrap();
    }
    assert_eq!(docs.indexes()[0].state, IndexState::Ready);
    let told = told(&db).await;
    assert_eq!(told.len(), 100);
    assert_eq!(told[0], ["0000", "1300"]);
}

#[tokio::test]
async fn what_a_migration_step_makes_equal_is_kept_and_told() {
    let storage = MemoryStorage::new();
    let index = || IndexConfig::new("mail").unique().sparse();
    let builder = || Database::builder("app").collection(users().index(index()));
    let db = builder().open(storage.clone()).await.unwrap();
    let docs = db.collection::<Value>("users").unwrap();
    for document in [
        r#"{"_id":"a","email":"X"}"#,
        r#"{"_id":"b","email":"x"}"#,
        r#"{"_id":"c","mail":"z"}"#,
    ] {
        docs.insert(&value(document)).await.unwrap();
    }
    drop(db);
    let lower = Migration::to(2).documents("users", |_, mut user| {
        let Some(email) = user.remove("email") else {
            return Ok(Migrated::Unchanged);
        };
        let email = email.as_str().ok_or("no text")?.to_lowercase();
        user.insert("mail", email);
        Ok(Migrated::Changed(user))
    });
    let db = builder().migration(lower).open(storage).await.unwrap();
    assert_eq!(db.schema_version(), 2);
    let told = told(&db).await;
    assert_eq!(told.len(), 1);
    let mut pair = told[0].clone();
    pair.sort();
    assert_eq!(pair, ["a", "b"]);
    let docs = db.collection::<Value>("users").unwrap();
    assert_eq!(docs.count().await.unwrap(), 3);
    let error = docs.upsert(&value(r#"{"_id":"d","mail":"z"}"#)).await;
    assert_eq!(error.unwrap_err().code(), codes::INDEX_UNIQUE_VIOLATION);
}
