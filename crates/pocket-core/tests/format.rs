//! The stored format: what is written today is byte for byte what the fixture holds, and the fixture opens.
//!
//! The fixture is a dump of a database in which every kind of row occurs. `POCKET_BLESS=1` writes it anew; that is a
//! change of the format and needs a new number in the envelope and a fixture of its own beside this one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use pocket_core::replica::{
    Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope, ServerLog,
};
use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_core::{
    Binding, Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy,
    Database, DocumentId, DocumentLimits, Env, Epoch, Hlc, IndexConfig, IndexState, JournalKind,
    Lineage, MutationNumber, Order, Outcome, PushLimit, Record, RecordState, Revision, Seq,
    SessionToken, Target, Timestamp, Value, codes, field,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

/// A clock that stands and a random source that counts.
#[derive(Debug, Default)]
struct Fixed(AtomicU8);

impl Env for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Local;

impl Resolver for Local {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "client-wins")
    }
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn record(id: &str, seq: u64, state: RecordState) -> Record {
    Record {
        collection: CollectionName::new("docs").unwrap(),
        id: DocumentId::new(id).unwrap(),
        rev: Revision::new(Hlc::from_bits(seq << 32), ClientId::from_bytes([0xee; 16])),
        seq: Seq::new(seq),
        state,
    }
}

fn live(json: &str) -> RecordState {
    RecordState::Live(
        Body::from_serialize(&value(json), &DocumentLimits::default())
            .unwrap()
            .1,
    )
}

async fn open(storage: MemoryStorage) -> Database {
    Database::builder("fixture")
        .collection(CollectionConfig::new("docs").sync(true))
        .collection(CollectionConfig::new("local"))
        .env(Fixed::default())
        .open(storage)
        .await
        .unwrap()
}

/// A database with a row of every kind.
async fn written() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let db = open(storage.clone()).await;
    let docs = db.collection::<Value>("docs").unwrap();
    let replica = Replica::new(&db, Target::DEFAULT);
    replica.load(&Scope::All).await.unwrap();
    let attachment = Attachment {
        binding: Binding {
            lineage: Lineage::from_bytes([1; 16]),
            namespace: "default".into(),
            user: "anonymous".into(),
        },
        token: SessionToken::from_bytes([2; 16]),
        server_time: Timestamp::from_millis(1_700_000_000_500),
        since_asked: std::time::Duration::ZERO,
        rights: None,
        log: ServerLog::default(),
    };
    replica.attach(&attachment).await.unwrap();
    let page = |start, end, records| IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([3; 16]),
        start: Seq::new(start),
        end: Seq::new(end),
        head: Seq::new(end),
        records,
        removals: Vec::new(),
    };
    let records = vec![
        record("deleted", 1, RecordState::Deleted),
        record("erased", 2, RecordState::Erased),
        record(
            "kept",
            3,
            live(r#"{"n":1,"at":{"$date":"2024-02-29T12:00:00Z"},"b":{"$binary":"AQI="}}"#),
        ),
        record("lost", 4, live(r#"{"n":4}"#)),
    ];
    replica
        .apply(page(0, 4, records), Arc::new(Local))
        .await
        .unwrap();
    // A refusal, a conflict that is decided, one that waits, a sent change with a shadow, an unsent transaction.
    docs.update("lost", &json!({"n": 5})).await.unwrap();
    docs.insert(&value(r#"{"_id":"fought","n":1}"#))
        .await
        .unwrap();
    docs.insert(&value(r#"{"_id":"waits","n":1}"#))
        .await
        .unwrap();
    docs.update("kept", &json!({"n": 2})).await.unwrap();
    let limit = PushLimit {
        changes: 100,
        bytes: 1 << 20,
    };
    assert_eq!(replica.pin(limit).await.unwrap().mutations.len(), 4);
    let refused = Outcome::Rejected {
        code: "validation".into(),
        reason: "no".into(),
        server_time: None,
    };
    let outcomes = vec![
        refused,
        Outcome::Conflict {
            seqs: vec![Seq::new(5)],
        },
        Outcome::Conflict {
            seqs: vec![Seq::new(9)],
        },
    ];
    replica
        .settle(MutationNumber::new(1), outcomes, Arc::new(Local))
        .await
        .unwrap();
    let records = vec![
        record("fought", 5, live(r#"{"n":7}"#)),
        record("kept", 6, live(r#"{"n":8}"#)),
    ];
    replica
        .apply(page(4, 6, records), Arc::new(Local))
        .await
        .unwrap();
    let mut tx = db.transaction();
    tx.insert(&docs, &value(r#"{"_id":"t1","n":1.5}"#)).unwrap();
    tx.insert(&docs, &value(r#"{"_id":"t2","n":18446744073709551615}"#))
        .unwrap();
    tx.commit().await.unwrap();
    docs.hard_delete("erased").await.unwrap();
    let local = db.collection::<Value>("local").unwrap();
    let index = IndexConfig::new("s").then("t", Order::Descending);
    local
        .create_index(index.only(field("n").not_exists()))
        .await
        .unwrap();
    local
        .insert(&value(r#"{"_id":"l","s":"日本"}"#))
        .await
        .unwrap();
    // Two documents with the same value in a unique index.
    docs.create_index(IndexConfig::new("mail").unique().sparse())
        .await
        .unwrap();
    let records = vec![
        record("mail1", 7, live(r#"{"mail":"x"}"#)),
        record("mail2", 8, live(r#"{"mail":"x"}"#)),
    ];
    replica
        .apply(page(6, 8, records), Arc::new(Local))
        .await
        .unwrap();
    storage
}

/// The formats there were; the last one is today's.
const FORMATS: [u32; 4] = [1, 2, 3, 4];

/// The first one with indexes.
const WITH_INDEXES: u32 = 4;

fn fixture(format: u32) -> PathBuf {
    let name = format!("tests/fixtures/database-{format}.txt");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn todays() -> PathBuf {
    fixture(FORMATS[FORMATS.len() - 1])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

async fn dump(storage: &MemoryStorage) -> String {
    let entries = storage
        .scan(
            KeyRange::all(),
            ScanLimit::entries(10_000),
            Direction::Forward,
        )
        .await
        .unwrap();
    entries
        .iter()
        .fold(String::new(), |mut text, (key, value)| {
            writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
            text
        })
}

#[tokio::test]
async fn what_is_written_today_is_what_the_fixture_holds() {
    let today = dump(&written().await).await;
    if std::env::var_os("POCKET_BLESS").is_some() {
        std::fs::write(todays(), &today).unwrap();
    }
    let kinds: std::collections::BTreeSet<u8> =
        today.lines().map(|line| unhex(&line[..2])[0]).collect();
    assert_eq!(
        kinds,
        b"bcdijkmnostwx".iter().copied().collect(),
        "a kind of row is missing in the fixture"
    );
    assert_eq!(
        today,
        std::fs::read_to_string(todays()).unwrap(),
        "the stored format changed"
    );
}

#[tokio::test]
async fn a_database_of_each_format_opens_and_goes_on() {
    for format in FORMATS {
        opens_and_goes_on(format).await;
    }
}

async fn opens_and_goes_on(format: u32) {
    let storage = MemoryStorage::new();
    let mut batch = Batch::new();
    for line in std::fs::read_to_string(fixture(format)).unwrap().lines() {
        let (key, value) = line.split_once(' ').unwrap();
        batch.put(unhex(key), unhex(value));
    }
    storage.commit(batch, Durability::PowerLoss).await.unwrap();
    let db = open(storage).await;
    let docs = db.collection::<Value>("docs").unwrap();
    let ids: Vec<_> = docs
        .find()
        .documents()
        .await
        .unwrap()
        .iter()
        .map(|d| d.id.to_string())
        .collect();
    let mut expected = vec!["fought", "kept", "lost", "t1", "t2", "waits"];
    if format >= WITH_INDEXES {
        expected.splice(3..3, ["mail1", "mail2"]);
    }
    assert_eq!(ids, expected);
    let json = |value: Option<Value>| value.unwrap().to_json_string().unwrap();
    assert_eq!(
        json(docs.get("t2").await.unwrap()),
        r#"{"_id":"t2","n":18446744073709551615}"#
    );
    assert_eq!(
        json(docs.get("lost").await.unwrap()),
        r#"{"_id":"lost","n":4}"#
    );
    let local = db.collection::<Value>("local").unwrap();
    assert_eq!(
        json(local.get("l").await.unwrap()),
        r#"{"_id":"l","s":"日本"}"#
    );
    let entries = db.journal().list(None, 10).await.unwrap();
    assert_eq!(entries[0].code.as_deref(), Some("validation"));
    assert_eq!(entries[1].kind, JournalKind::Conflict);
    let violations = entries.get(2..).unwrap();
    let names = |collection: &Collection<Value>| {
        let indexes = collection.indexes().into_iter();
        let names = indexes.map(|index| (index.config.name(), index.state));
        names.collect::<Vec<_>>()
    };
    let ready = |name: &str| vec![(name.to_owned(), IndexState::Ready)];
    if format >= WITH_INDEXES {
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].kind, JournalKind::UniqueViolation);
        assert_eq!(names(&docs), ready("mail_1"));
        assert_eq!(names(&local), ready("s_1_t_-1"));
        let found = local.indexes().remove(0).config.only;
        assert_eq!(found, Some(field("n").not_exists()));
        let third = docs.insert(&value(r#"{"mail":"x"}"#)).await.unwrap_err();
        assert_eq!(third.code(), codes::INDEX_UNIQUE_VIOLATION);
    } else {
        assert!(violations.is_empty() && names(&docs).is_empty());
        local.create_index(IndexConfig::new("s")).await.unwrap();
        assert_eq!(names(&local), ready("s_1"));
    }

    let replica = Replica::new(&db, Target::DEFAULT);
    let state = replica.load(&Scope::All).await.unwrap();
    assert_eq!(
        (
            state.checkpoint.seq.get(),
            state.waiting,
            state.last_number.get()
        ),
        (if format >= WITH_INDEXES { 8 } else { 6 }, 1, 4)
    );
    let limit = PushLimit {
        changes: 100,
        bytes: 1 << 20,
    };
    assert_eq!(
        replica
            .resend(MutationNumber::new(1), limit)
            .await
            .unwrap()
            .mutations
            .len(),
        1
    );
    // The decided conflict, the transaction and the erase are still to be sent.
    assert_eq!(replica.pin(limit).await.unwrap().mutations.len(), 3);
}
