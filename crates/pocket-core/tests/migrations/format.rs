//! The stored format of a migration that is half done, and of a document that got another shape while sync was off: byte
//! for byte what the fixtures hold, which open and go on. `POCKET_BLESS=1` writes them anew; after a deliberate change only.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use pocket_core::replica::{Attachment, Conflict, Decision, Replica, Resolver, Scope, ServerLog};
use pocket_core::storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_core::{
    Binding, CollectionConfig, ConflictStrategy, Database, DatabaseBuilder, Env, Integer, Lineage,
    Map, Migrated, Migration, Mutation, Outcome, PushLimit, SessionToken, Target, Timestamp, Value,
};
use pocket_storage_memory::MemoryStorage;

const HALF_DONE: (&str, &str) = (
    "migrating-1.txt",
    include_str!("../fixtures/migrating-1.txt"),
);
const APART: (&str, &str) = ("reshaped-1.txt", include_str!("../fixtures/reshaped-1.txt"));

/// Nothing here is in conflict.
struct Nobody;

impl Resolver for Nobody {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "nobody")
    }
}

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

fn app() -> DatabaseBuilder {
    Database::builder("fixture")
        .env(Fixed::default())
        .collection(CollectionConfig::new("one").sync(true))
        .collection(CollectionConfig::new("two"))
}

fn migrating() -> DatabaseBuilder {
    let step = |_: &_, mut document: Map| {
        let n = document
            .get("n")
            .and_then(Value::as_integer)
            .and_then(Integer::as_i64);
        document.insert("n", n.ok_or("there is no n")? + 1);
        Ok(Migrated::Changed(document))
    };
    app().migration(
        Migration::to(2)
            .documents("one", step)
            .documents("two", step),
    )
}

/// The collection `one` is migrated, `two` is not.
async fn half_done() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    for collection in ["one", "two"] {
        let documents = db.collection::<Value>(collection).unwrap();
        let document = Value::from_json_str(r#"{"_id":"a","n":1}"#).unwrap();
        documents.insert(&document).await.unwrap();
    }
    pin(&db).await;
    drop(db);
    let faults = Faults::new();
    faults.crash_at_kind(CallKind::Commit, 3, Moment::Before);
    let crashing = FaultyStorage::new(Arc::new(storage.clone()), &faults);
    assert_eq!(
        migrating().open(crashing).await.unwrap_err().code(),
        "closed"
    );
    storage
}

/// What is sent is not merged with any more, so the migration's edit has a row of its own.
async fn pin(db: &Database) -> Vec<Mutation> {
    let replica = Replica::new(db, Target::DEFAULT);
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
    let limit = PushLimit {
        changes: 10,
        bytes: 1 << 20,
    };
    let pinned = replica.pin(limit).await.unwrap().mutations;
    assert_eq!(pinned.len(), 1);
    pinned
}

/// A document was sent, sync of its collection was switched off, and it got another shape.
async fn apart() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let db = migrating().open(storage.clone()).await.unwrap();
    let documents = db.collection::<Value>("one").unwrap();
    let document = Value::from_json_str(r#"{"_id":"a","n":1}"#).unwrap();
    documents.insert(&document).await.unwrap();
    pin(&db).await;
    let config = CollectionConfig::new("one").sync(false);
    db.create_collection(config).await.unwrap();
    assert!(documents.reshape("a").await.unwrap());
    storage
}

async fn text(storage: &MemoryStorage) -> String {
    let limit = ScanLimit::entries(10_000);
    let entries = storage
        .scan(KeyRange::all(), limit, Direction::Forward)
        .await
        .unwrap();
    let hex = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            write!(text, "{byte:02x}").unwrap();
        }
    };
    let mut text = String::new();
    for (key, value) in entries {
        hex(&mut text, &key);
        text.push(' ');
        hex(&mut text, &value);
        text.push('\n');
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let bytes = (0..text.len()).step_by(2);
    bytes
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Compares a store with a fixture, or writes that anew.
async fn is_as_in(storage: &MemoryStorage, (name, fixture): (&str, &str)) {
    let today = text(storage).await;
    if std::env::var_os("POCKET_BLESS").is_some() {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
        std::fs::write(format!("{fixtures}/{name}"), &today).unwrap();
        return;
    }
    assert_eq!(today, fixture, "the stored format changed");
}

async fn store_of((_, fixture): (&str, &str)) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let mut batch = Batch::new();
    for line in fixture.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        batch.put(unhex(key), unhex(value));
    }
    storage.commit(batch, Durability::PowerLoss).await.unwrap();
    storage
}

#[tokio::test]
async fn a_half_done_migration_is_stored_as_the_fixture_has_it() {
    is_as_in(&half_done().await, HALF_DONE).await;
}

#[tokio::test]
async fn a_new_shape_without_sync_is_stored_as_the_fixture_has_it() {
    is_as_in(&apart().await, APART).await;
}

#[tokio::test]
async fn a_new_shape_without_sync_of_the_first_format_is_nobodys_edit_when_sync_is_on() {
    // Opening it with the settings of the program switches sync on.
    let db = migrating().open(store_of(APART).await).await.unwrap();
    assert_eq!(db.stats().await.unwrap().pending_changes, 2);
    let shape = pin(&db).await[0].number;
    let refused = Outcome::Rejected {
        code: "forbidden".into(),
        reason: "not yours".into(),
        server_time: None,
    };
    let replica = Replica::new(&db, Target::DEFAULT);
    let settled = replica.settle(shape, vec![refused], Arc::new(Nobody));
    assert!(settled.await.unwrap().journaled.is_empty());
    assert_eq!(db.stats().await.unwrap().pending_changes, 1);
}

#[tokio::test]
async fn a_half_done_migration_of_the_first_format_is_finished() {
    let storage = store_of(HALF_DONE).await;
    assert_eq!(
        app().open(storage.clone()).await.unwrap_err().code(),
        "newer-format"
    );
    let db = migrating().open(storage).await.unwrap();
    for collection in ["one", "two"] {
        let document = db
            .collection::<Value>(collection)
            .unwrap()
            .get("a")
            .await
            .unwrap();
        assert_eq!(
            document.unwrap().to_json_string().unwrap(),
            r#"{"_id":"a","n":2}"#
        );
    }
    // The edit before, and that of the migration.
    assert_eq!(db.stats().await.unwrap().pending_changes, 2);
}
