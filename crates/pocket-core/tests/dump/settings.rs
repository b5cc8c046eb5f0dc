//! Dumps of collections with indexes and a time to live.

use std::time::Duration;

use pocket_core::dump::{DumpItem, DumpReader, LoadOptions, Loaded};
use pocket_core::{
    CollectionConfig, Database, DocumentLimits, Error, Filter, IndexConfig, IndexState,
    JournalKind, Limits, Order, Ttl, Value, codes, field,
};
use pocket_storage_memory::MemoryStorage;

/// A dump of format 1 as it is written since it has indexes and times to live. It must be readable for ever.
const FORMAT_1: &str = include_str!("../fixtures/dump-1-indexes.jsonl");

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

async fn empty() -> Database {
    let builder = Database::builder("other");
    builder.open(MemoryStorage::new()).await.unwrap()
}

async fn full() -> Database {
    let users = CollectionConfig::new("users")
        .sync(true)
        .ttl(Ttl::after_field("seen.at", Duration::from_millis(1_500)))
        .index(IndexConfig::new("email").unique().sparse())
        .index(
            IndexConfig::new("address.country")
                .then("born", Order::Descending)
                .only(field("active").eq(true).and(field("n").gt(1.5)))
                .named("of \"active\" ones"),
        );
    let cache = CollectionConfig::new("cache").ttl(Ttl::after_update(Duration::from_secs(1 << 40)));
    let builder = Database::builder("full")
        .collection(users)
        .collection(cache);
    let db = builder.open(MemoryStorage::new()).await.unwrap();
    let users = db.collection::<Value>("users").unwrap();
    for document in [
        r#"{"_id":"a","email":"x","active":true}"#,
        r#"{"_id":"b","email":"y","seen":{"at":{"$date":"2999-01-01T00:00:00.000Z"}}}"#,
        r#"{"_id":"over","email":"z","seen":{"at":{"$date":"2001-01-01T00:00:00.000Z"}}}"#,
    ] {
        users.insert(&value(document)).await.unwrap();
    }
    db
}

async fn lines(db: &Database) -> Vec<String> {
    let mut dump = db.dump().await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = dump.next_line().await.unwrap() {
        lines.push(line);
    }
    lines
}

async fn load(db: &Database, lines: &[String], options: LoadOptions) -> Result<Loaded, Error> {
    let mut loader = db.load(options);
    for line in lines {
        loader.line(line).await?;
    }
    Ok(loader.finish().await?.0)
}

fn stored() -> Vec<String> {
    FORMAT_1.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn indexes_and_times_to_live_are_in_a_dump_and_come_back() {
    let db = full().await;
    if std::env::var_os("POCKET_BLESS").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/dump-1-indexes.jsonl"
        );
        std::fs::write(path, lines(&db).await.join("\n") + "\n").unwrap();
        return;
    }
    assert_eq!(lines(&db).await, stored());
    let other = empty().await;
    let loaded = load(&other, &stored(), LoadOptions::new()).await.unwrap();
    assert_eq!((loaded.stored, loaded.indexes_made), (2, 2));
    assert_eq!(loaded.unknown_lines, 0);
    assert_eq!(other.list_collections(), db.list_collections());
    let users = other.collection::<Value>("users").unwrap();
    let indexes = users.indexes();
    assert!(indexes.iter().all(|index| index.state == IndexState::Ready));
    // What is there keeps its own.
    let again = LoadOptions::new().existing(pocket_core::dump::Existing::Skip);
    let loaded = load(&other, &stored(), again).await.unwrap();
    assert_eq!((loaded.skipped, loaded.indexes_made), (2, 0));
}

#[tokio::test]
async fn a_dump_has_the_indexes_of_its_moment_whatever_is_done_meanwhile() {
    let db = full().await;
    let before = lines(&db).await;
    let mut dump = db.dump().await.unwrap();
    assert!(dump.is_one_state());
    let users = db.collection::<Value>("users").unwrap();
    users.drop_index("email_1").await.unwrap();
    users.create_index(IndexConfig::new("later")).await.unwrap();
    db.delete_collection("cache").await.unwrap();
    let mut seen = Vec::new();
    while let Some(line) = dump.next_line().await.unwrap() {
        seen.push(line);
    }
    assert_eq!(seen, before);
    let now = lines(&db).await;
    let has = |what: &str| now.iter().any(|line| line.starts_with(what));
    assert!(has(r#"{"index":"later_1""#) && !has(r#"{"index":"email_1""#));
}

#[tokio::test]
async fn a_dry_run_makes_no_index() {
    let other = empty().await;
    let options = LoadOptions::new().dry_run(true);
    let loaded = load(&other, &stored(), options).await.unwrap();
    assert_eq!((loaded.stored, loaded.indexes_made), (2, 2));
    assert!(other.list_collections().is_empty());
}

#[tokio::test]
async fn documents_that_break_a_unique_index_of_the_dump_come_back_with_it_and_are_told() {
    // Two devices had made them apart.
    let other = empty().await;
    let broken = CollectionConfig::new("users").index(IndexConfig::new("n").unique());
    let builder = Database::builder("x").collection(CollectionConfig::new("users"));
    let db = builder.open(MemoryStorage::new()).await.unwrap();
    let users = db.collection::<Value>("users").unwrap();
    users.insert(&value(r#"{"_id":"a","n":1}"#)).await.unwrap();
    users.insert(&value(r#"{"_id":"b","n":1}"#)).await.unwrap();
    db.create_collection(broken.clone()).await.unwrap();
    let dump = lines(&db).await;
    let loaded = load(&other, &dump, LoadOptions::new()).await.unwrap();
    assert_eq!((loaded.stored, loaded.indexes_made), (2, 1));
    let [broken_index] = loaded.broken_indexes.as_slice() else {
        panic!("{loaded:?}");
    };
    assert_eq!(
        (&*broken_index.collection, &*broken_index.index),
        ("users", "n_1")
    );
    assert_eq!(broken_index.pairs, 1);
    let users = other.collection::<Value>("users").unwrap();
    assert_eq!(users.count().await.unwrap(), 2);
    assert_eq!(users.indexes()[0].state, IndexState::Ready);
    let told = other.journal().list(None, 10).await.unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].kind, JournalKind::UniqueViolation);
    let third = users.insert(&value(r#"{"_id":"c","n":1}"#)).await;
    assert_eq!(third.unwrap_err().code(), codes::INDEX_UNIQUE_VIOLATION);
    let again = lines(&other).await;
    assert_eq!(again[1..again.len() - 1], dump[1..dump.len() - 1]);
    // One that the database has already refuses them: nothing of the batch is stored.
    let other = empty().await;
    other.create_collection(broken).await.unwrap();
    let error = load(&other, &dump, LoadOptions::new()).await.unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
    assert!(error.to_string().contains("before line 6"), "{error}");
    let users = other.collection::<Value>("users").unwrap();
    assert_eq!(users.count().await.unwrap(), 0);
}

#[tokio::test]
async fn documents_over_the_limits_of_a_database_are_loaded_by_whoever_allows_them() {
    let wide = DocumentLimits::default().with_depth(DocumentLimits::MAX_DEPTH);
    let limits = Limits::default().document(wide);
    let builder = Database::builder("deep").collection(CollectionConfig::new("docs"));
    let db = builder.limits(limits).open(MemoryStorage::new()).await;
    let db = db.unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    let deep = format!(r#"{{"_id":"a","n":{}{}}}"#, "[".repeat(60), "]".repeat(60));
    docs.insert(&value(&deep)).await.unwrap();
    let dump = lines(&db).await;
    let other = empty().await;
    let error = load(&other, &dump, LoadOptions::new()).await.unwrap_err();
    assert_eq!(error.code(), codes::VALIDATION);
    let options = LoadOptions::new().limits(wide);
    assert_eq!(load(&other, &dump, options).await.unwrap().stored, 1);
    let again = lines(&other).await;
    assert_eq!(again[1..again.len() - 1], dump[1..dump.len() - 1]);
}

#[test]
fn a_schema_version_before_the_first_is_a_damage() {
    for version in ["0", "-1", "4294967296", "null"] {
        let head = format!(r#"{{"pocket-dump":1,"database":"x","schema_version":{version}}}"#);
        let error = DumpReader::new(DocumentLimits::default()).read(&head);
        assert_eq!(error.unwrap_err().code(), codes::CORRUPT, "{version}");
    }
}

#[test]
fn a_damaged_index_or_time_to_live_is_noticed() {
    let head = r#"{"pocket-dump":1,"database":"x","schema_version":1,"one_state":true}"#;
    let collection = r#"{"collection":"c","sync":false,"conflict_strategy":null}"#;
    let with = |line: &str| {
        let mut reader = DumpReader::new(DocumentLimits::default());
        reader.read(head).unwrap();
        reader.read(collection).unwrap();
        reader.read(line)
    };
    for line in [
        r#"{"index":7,"fields":[["a",1]]}"#,
        r#"{"index":"x"}"#,
        r#"{"index":"x","fields":[["a",2]]}"#,
        r#"{"index":"x","fields":[["a"]]}"#,
        r#"{"index":"x","fields":[[1,1]]}"#,
        r#"{"index":"x","fields":[["a",1]],"only":{"a":1}}"#,
        r#"{"collection":"d","ttl":7}"#,
        r#"{"collection":"d","ttl":{"field":"a"}}"#,
        r#"{"collection":"d","ttl":{"field":1,"after_ms":1}}"#,
        r#"{"collection":"d","ttl":{"field":null,"after_ms":-1}}"#,
    ] {
        let error = with(line).unwrap_err();
        assert_eq!(error.code(), codes::CORRUPT, "{line}");
        assert!(error.to_string().contains("line 3"), "{error}");
    }
    let bad = with(r#"{"index":"x","fields":[["a..b",1]]}"#).unwrap_err();
    assert_eq!(bad.code(), codes::CONFIG);
    let item = with(r#"{"index":"x","fields":[["a",1]],"more":1}"#).unwrap();
    let plain = IndexConfig::new("a").named("x");
    assert_eq!(item, DumpItem::Index(plain));
}

/// The filter of an index was read as a stored one, and then once more as a new one: what an earlier version had accepted
/// could be dumped and not be loaded.
#[tokio::test]
async fn an_index_with_a_filter_that_is_no_longer_accepted_comes_back_too() {
    let middle = [
        r#"{"collection":"docs","sync":false,"conflict_strategy":null}"#,
        r#"{"index":"n_1","fields":[["n",1]],"unique":false,"sparse":false,"only":"{\"_id\":{\"$gt\":5}}"}"#,
        r#"{"document":{"_id":"a","n":2}}"#,
    ];
    let lines = super::written(super::HEAD, &middle, 1, 1);
    let other = empty().await;
    let loaded = load(&other, &lines, LoadOptions::new()).await.unwrap();
    assert_eq!((loaded.stored, loaded.indexes_made), (1, 1));
    let docs = other.collection::<Value>("docs").unwrap();
    let index = docs.indexes().remove(0);
    assert_eq!(index.state, IndexState::Ready);
    let made = index.config.only.unwrap().to_json_string().unwrap();
    assert_eq!(made, r#"{"_id":{"$gt":5}}"#);
    // Nobody makes a new one so.
    let error = Filter::from_json_str(&made).unwrap_err();
    assert_eq!(error.code(), codes::BAD_QUERY);
}
