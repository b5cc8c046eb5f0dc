//! Dumps: everything there and back, and every damage noticed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod damaged;
mod settings;
mod versions;

use std::fmt::Write as _;
use std::sync::Arc;

use pocket_core::dump::{
    DUMP_FORMAT, DumpItem, DumpReader, DumpTotals, Existing, LoadOptions, Loaded,
};
use pocket_core::storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, ScanLimit, Storage, StorageError,
};
use pocket_core::{
    Collection, CollectionConfig, ConflictStrategy, Database, DatabaseBuilder, DocumentLimits,
    Error, Map, Migrated, Migration, Schema, Validate, Value, Violation,
};
use pocket_storage_memory::MemoryStorage;

/// A dump of format 1, as the first version wrote it. It must be readable for ever.
const FORMAT_1: &str = include_str!("../fixtures/dump-1.jsonl");

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

async fn empty() -> Database {
    Database::builder("other")
        .open(MemoryStorage::new())
        .await
        .unwrap()
}

/// A database with each kind of value and of collection.
async fn full() -> Database {
    let db = Database::builder("full")
        .collection(
            CollectionConfig::new("places")
                .sync(true)
                .conflict_strategy(ConflictStrategy::Merge),
        )
        .collection(CollectionConfig::new("local"))
        .collection(CollectionConfig::new("bare").sync(true))
        .collection(CollectionConfig::new("gone"))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let places = db.collection::<Value>("places").unwrap();
    for document in [
        r#"{"_id":"東京","z":1,"a":[null,true,-9223372036854775808,18446744073709551615]}"#,
        r#"{"_id":"Zürich \"old\"\n","f":[1.0,-0.0,5e-324,0.1],"at":{"$date":"2024-02-29T12:00:00.000Z"}}"#,
        r#"{"_id":"1","photo":{"$binary":"AQI="},"far":{"$date":253402300800000},"m":{"":{}}}"#,
    ] {
        places.insert(&value(document)).await.unwrap();
    }
    places.insert(&value(r#"{"_id":"2"}"#)).await.unwrap();
    places.delete("2").await.unwrap();
    let local = db.collection::<Value>("local").unwrap();
    local
        .insert(&value(r#"{"_id":"only here"}"#))
        .await
        .unwrap();
    db.delete_collection("gone").await.unwrap();
    db
}

async fn lines(db: &Database) -> Vec<String> {
    let mut dump = db.dump().await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = dump.next_line().await.unwrap() {
        assert!(!line.contains('\n'));
        lines.push(line);
    }
    lines
}

async fn load(
    db: &Database,
    lines: impl IntoIterator<Item = impl AsRef<str>>,
    options: LoadOptions,
) -> Result<(Loaded, DumpTotals), Error> {
    let mut loader = db.load(options);
    for line in lines {
        loader.line(line.as_ref()).await?;
    }
    loader.finish().await
}

/// All there is, bit for bit.
async fn content(db: &Database) -> Vec<(CollectionConfig, Vec<Value>)> {
    let mut content = Vec::new();
    for config in db.list_collections() {
        let documents = db.collection::<Value>(&config.name).unwrap();
        content.push((config, documents.get_all().await.unwrap()));
    }
    content
}

fn same(left: &[(CollectionConfig, Vec<Value>)], right: &[(CollectionConfig, Vec<Value>)]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|((left, of_left), (right, of_right))| {
                left == right
                    && of_left.len() == of_right.len()
                    && of_left
                        .iter()
                        .zip(of_right)
                        .all(|(left, right)| left.is_same(right))
            })
}

#[tokio::test]
async fn a_dump_holds_every_value_and_setting_and_comes_back_the_same() {
    let db = full().await;
    let lines = lines(&db).await;
    let other = empty().await;
    let (loaded, totals) = load(&other, &lines, LoadOptions::new()).await.unwrap();
    assert_eq!((totals.collections, totals.documents), (3, 4));
    assert_eq!(
        (loaded.stored, loaded.skipped, loaded.collections_made),
        (4, 0, 3)
    );
    assert!(same(&content(&db).await, &content(&other).await));
    // Documents of synced collections are this device's edits now; tombstones and deleted collections stay behind.
    assert_eq!(other.stats().await.unwrap().pending_changes, 3);
    assert!(!other.has_collection("gone"));
    let again = self::lines(&other).await;
    assert_eq!(again[1..again.len() - 1], lines[1..lines.len() - 1]);
}

#[tokio::test]
async fn a_dump_of_the_first_format_is_read_and_written_still() {
    let lines: Vec<_> = FORMAT_1.lines().collect();
    if std::env::var_os("POCKET_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/dump-1.jsonl");
        std::fs::write(path, self::lines(&full().await).await.join("\n") + "\n").unwrap();
        return;
    }
    assert_eq!(
        self::lines(&full().await).await,
        lines,
        "the format has changed: count it up"
    );
    let other = empty().await;
    load(&other, &lines, LoadOptions::new()).await.unwrap();
    assert!(same(&content(&full().await).await, &content(&other).await));
    // The ends of lines may have become those of another system.
    let other = empty().await;
    let ends = FORMAT_1.replace('\n', "\r\n");
    load(&other, ends.split_inclusive('\n'), LoadOptions::new())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_cut_dump_and_a_missing_doubled_or_changed_line_are_noticed() {
    let whole: Vec<_> = FORMAT_1.lines().collect();
    let check = |lines: &[&str]| {
        let mut reader = DumpReader::new(DocumentLimits::default());
        for line in lines {
            reader.read(line)?;
        }
        reader.finish()
    };
    check(&whole).unwrap();
    for at in 0..whole.len() {
        assert_eq!(
            check(&whole[..at]).unwrap_err().code(),
            "corrupt",
            "cut before {at}"
        );
        let mut other = whole.clone();
        let line = other.remove(at);
        assert_eq!(check(&other).unwrap_err().code(), "corrupt", "without {at}");
        other.insert(at, line);
        other.insert(at, line);
        assert_eq!(check(&other).unwrap_err().code(), "corrupt", "twice {at}");
        // Every single character.
        for (place, _) in line.char_indices() {
            let changed = if line[place..].starts_with('7') {
                "8"
            } else {
                "7"
            };
            let rest: String = line[place..].chars().skip(1).collect();
            let changed = format!("{}{changed}{rest}", &line[..place]);
            let mut other = whole.clone();
            other[at] = &changed;
            assert!(check(&other).is_err(), "{changed}");
        }
    }
}

#[tokio::test]
async fn a_damaged_line_is_named_and_what_came_before_it_is_stored() {
    let mut lines: Vec<_> = FORMAT_1.lines().map(str::to_owned).collect();
    lines[4].truncate(20);
    let other = empty().await;
    let error = load(&other, &lines, LoadOptions::new()).await.unwrap_err();
    assert_eq!(error.code(), "corrupt");
    assert!(error.to_string().starts_with("line 5: "), "{error}");
    // A document that no database could hold is told as what it is.
    lines[4] = r#"{"document":{"_id":""}}"#.to_owned();
    let error = load(&empty().await, &lines, LoadOptions::new())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "bad-id");
    assert!(error.to_string().starts_with("line 5: "), "{error}");
    assert_eq!(
        load(&empty().await, ["nothing"], LoadOptions::new())
            .await
            .unwrap_err()
            .code(),
        "corrupt"
    );
    let none: [&str; 0] = [];
    assert_eq!(
        load(&empty().await, none, LoadOptions::new())
            .await
            .unwrap_err()
            .code(),
        "corrupt"
    );
}

/// A dump with these lines in its middle, whole as if a program had written it.
fn written(head: &str, middle: &[&str], collections: u64, documents: u64) -> Vec<String> {
    use sha2::{Digest as _, Sha256};
    let mut lines: Vec<String> = [&[head], middle]
        .concat()
        .iter()
        .map(|it| (*it).to_owned())
        .collect();
    let text = lines.join("\n") + "\n";
    let sum = Sha256::digest(text);
    let sum = sum.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    lines.push(format!(
        r#"{{"end":true,"collections":{collections},"documents":{documents},"sha256":"{sum}"}}"#
    ));
    lines
}

const HEAD: &str = r#"{"pocket-dump":1,"database":"x","schema_version":1,"one_state":true}"#;

#[tokio::test]
async fn lines_and_fields_of_a_later_version_are_passed_over_and_counted_a_newer_format_is_refused()
{
    let later = [
        r#"{"settings":{"a":1}}"#,
        r#"{"collection":"docs","sync":false,"conflict_strategy":null,"colour":"red"}"#,
        r#"{"view":"docs","fields":["a"]}"#,
        r#"{"document":{"_id":"1"},"weight":3}"#,
    ];
    let other = empty().await;
    let (loaded, _) = load(&other, written(HEAD, &later, 1, 1), LoadOptions::new())
        .await
        .unwrap();
    assert_eq!((loaded.stored, loaded.unknown_lines), (1, 2));

    let newer = HEAD.replace(
        "\"pocket-dump\":1",
        &format!("\"pocket-dump\":{}", DUMP_FORMAT + 1),
    );
    let error = load(&other, written(&newer, &[], 0, 0), LoadOptions::new())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "newer-format");
    let newer = HEAD.replace("\"schema_version\":1", "\"schema_version\":2");
    let error = load(&other, written(&newer, &[], 0, 0), LoadOptions::new())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "newer-format");
    let early = [r#"{"document":{"_id":"1"}}"#];
    let error = load(&other, written(HEAD, &early, 0, 1), LoadOptions::new())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "corrupt");
}

/// A database whose collection `local` has a document of the dump, in another version.
async fn taken() -> (Database, Collection<Value>) {
    let db = empty().await;
    db.create_collection(CollectionConfig::new("local").sync(true))
        .await
        .unwrap();
    let local = db.collection::<Value>("local").unwrap();
    local
        .insert(&value(r#"{"_id":"only here","mine":true}"#))
        .await
        .unwrap();
    (db, local)
}

#[tokio::test]
async fn documents_whose_id_is_taken_are_refused_kept_or_replaced_and_settings_stay() {
    let with = |existing| LoadOptions::new().existing(existing);
    let (db, local) = taken().await;
    let error = load(&db, FORMAT_1.lines(), with(Existing::Fail))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "document-exists");
    assert!(error.to_string().contains("\"only here\"") && error.to_string().contains("`local`"));

    let (loaded, _) = load(&db, FORMAT_1.lines(), with(Existing::Skip))
        .await
        .unwrap();
    assert_eq!((loaded.stored, loaded.skipped), (3, 1));
    let mine = value(r#"{"_id":"only here","mine":true}"#);
    assert_eq!(local.get("only here").await.unwrap(), Some(mine));

    // Replaced where it differs; what is equal is no edit.
    let before = db.stats().await.unwrap().sequence;
    let (loaded, _) = load(&db, FORMAT_1.lines(), with(Existing::Replace))
        .await
        .unwrap();
    assert_eq!((loaded.stored, loaded.skipped), (1, 3));
    assert_eq!(
        local.get("only here").await.unwrap(),
        Some(value(r#"{"_id":"only here"}"#))
    );
    let (loaded, _) = load(&db, FORMAT_1.lines(), with(Existing::Replace))
        .await
        .unwrap();
    assert_eq!((loaded.stored, loaded.skipped), (0, 4));
    assert_eq!(db.stats().await.unwrap().sequence, before.next());
    // The collection was there, and syncs as it did.
    assert!(
        db.list_collections()
            .iter()
            .any(|it| it.name == "local" && it.sync)
    );
}

#[tokio::test]
async fn a_dry_run_tells_the_same_and_stores_nothing() {
    let db = empty().await;
    let dry = LoadOptions::new().dry_run(true);
    let (loaded, _) = load(&db, FORMAT_1.lines(), dry).await.unwrap();
    assert_eq!((loaded.stored, loaded.collections_made), (3 + 1, 3));
    assert!(db.list_collections().is_empty());
    assert_eq!(db.stats().await.unwrap().sequence.get(), 0);
    let (db, _) = taken().await;
    let error = load(&db, FORMAT_1.lines(), dry).await.unwrap_err();
    assert_eq!(error.code(), "document-exists");
}

#[tokio::test]
async fn a_large_dump_is_one_state_while_writes_go_on() {
    const DOCUMENTS: u64 = 2_000;
    let db = empty().await;
    db.create_collection(CollectionConfig::new("docs"))
        .await
        .unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    let many: Vec<_> = (0..DOCUMENTS)
        .map(|n| value(&format!(r#"{{"_id":"{n:05}","v":0}}"#)))
        .collect();
    docs.insert_many(&many).await.unwrap();
    let mut dump = db.dump().await.unwrap();
    assert!(dump.is_one_state());
    let mut reader = DumpReader::new(DocumentLimits::default());
    let mut found = 0;
    while let Some(line) = dump.next_line().await.unwrap() {
        if let DumpItem::Document(id, body) = reader.read(&line).unwrap() {
            assert_eq!(body.field("v").unwrap(), Some(Value::from(0)), "{id:?}");
            found += 1;
            if found % 100 == 1 {
                // Before and behind the place that is being read.
                docs.upsert(&value(&format!(
                    r#"{{"_id":"{:05}","v":1}}"#,
                    DOCUMENTS - 1
                )))
                .await
                .unwrap();
                docs.upsert(&value(&format!(r#"{{"_id":"{found:05}+","v":1}}"#)))
                    .await
                    .unwrap();
                docs.delete(&format!("{:05}", found + 50)).await.unwrap();
            }
        }
    }
    assert_eq!(reader.finish().unwrap().documents, DOCUMENTS);
    assert_eq!(dump.totals().documents, DOCUMENTS);
}

/// A store that cannot keep a state.
#[derive(Debug)]
struct Plain(MemoryStorage);

#[async_trait::async_trait]
impl Storage for Plain {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    async fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, StorageError> {
        self.0.get(key).await
    }
    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<bytes::Bytes>>, StorageError> {
        self.0.get_many(keys).await
    }
    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>, StorageError> {
        self.0.scan(range, limit, direction).await
    }
    async fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StorageError> {
        self.0.commit(batch, durability).await
    }
    async fn close(&self) -> Result<(), StorageError> {
        self.0.close().await
    }
}

#[tokio::test]
async fn a_dump_says_when_its_backend_could_not_keep_one_state() {
    let storage = Arc::new(Plain(MemoryStorage::new()));
    let db = Database::builder("plain")
        .open_shared(storage)
        .await
        .unwrap();
    for (mut dump, one_state) in [
        (db.dump().await.unwrap(), false),
        (db.dump_still().await.unwrap(), true),
    ] {
        let head = dump.next_line().await.unwrap().unwrap();
        let mut reader = DumpReader::new(DocumentLimits::default());
        let DumpItem::Head(head) = reader.read(&head).unwrap() else {
            panic!("{head}");
        };
        assert_eq!(
            (head.one_state, dump.is_one_state()),
            (one_state, one_state)
        );
        assert_eq!((head.database.as_str(), head.schema_version), ("plain", 1));
    }
}
