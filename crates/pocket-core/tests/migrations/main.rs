//! Migrations: every document once, in order, through crashes and beside other devices.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crashes;
mod devices;
mod format;
mod steps;

use std::sync::{Arc, Mutex};

use pocket_core::storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_core::{
    Body, Collection, CollectionConfig, Database, DatabaseBuilder, DocumentId, DocumentLimits,
    Error, Integer, Map, Migrated, Migration, MigrationPhase, MigrationProgress, Value,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

use devices::arrive;

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

/// An application with a synced collection and a local one.
fn app() -> DatabaseBuilder {
    Database::builder("app")
        .collection(CollectionConfig::new("docs").sync(true))
        .collection(CollectionConfig::new("local"))
}

/// `done` becomes `completed`.
fn to_2() -> Migration {
    Migration::to(2).documents("docs", renamed)
}

#[expect(clippy::unnecessary_wraps, reason = "what a migration calls may fail")]
fn renamed(_: &DocumentId, mut document: Map) -> Result<Migrated, String> {
    let Some(done) = document.remove("done") else {
        return Ok(Migrated::Unchanged);
    };
    document.insert("completed", done);
    Ok(Migrated::Changed(document))
}

/// Counts how often a document was migrated; it does not know its own result.
fn counting(version: u32, collection: &str) -> Migration {
    Migration::to(version).documents(collection, |_, mut document| {
        let n = document
            .get("n")
            .and_then(Value::as_integer)
            .and_then(Integer::as_i64);
        document.insert("n", n.ok_or("there is no n")? + 1);
        Ok(Migrated::Changed(document))
    })
}

/// The store of a process that ends at its commit of this number, counted from 1.
fn crashing(storage: &MemoryStorage, commit: u64) -> FaultyStorage {
    let faults = Faults::new();
    faults.crash_at_kind(CallKind::Commit, commit, Moment::Before);
    FaultyStorage::new(Arc::new(storage.clone()), &faults)
}

async fn docs(db: &Database) -> Collection<Value> {
    db.collection("docs").unwrap()
}

async fn shown(docs: &Collection<Value>, id: &str) -> String {
    let document = docs.get(id).await.unwrap();
    document.map_or_else(String::new, |it| it.to_json_string().unwrap())
}

#[tokio::test]
async fn steps_run_in_order_over_each_document_and_keep_its_time_and_what_they_do_not_touch() {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    let old = docs(&db).await;
    old.insert(&value(r#"{"_id":"1","done":true,"x":5}"#))
        .await
        .unwrap();
    old.insert(&value(r#"{"_id":"2","x":1}"#)).await.unwrap();
    old.insert(&value(r#"{"_id":"3","drop":true}"#))
        .await
        .unwrap();
    let before = old.get_document("1").await.unwrap().unwrap();
    drop((old, db));

    let seen = Arc::new(Mutex::new(Vec::<MigrationProgress>::new()));
    let told = seen.clone();
    let db = app()
        .migration(Migration::to(3).documents("docs", |_, mut document| {
            if document.contains_key("drop") {
                return Ok(Migrated::Deleted);
            }
            let completed = document.remove("completed").ok_or("step 2 did not run")?;
            document.insert(
                "state",
                if completed == Value::Bool(true) {
                    "done"
                } else {
                    "open"
                },
            );
            Ok(Migrated::Changed(document))
        }))
        .migration(Migration::to(2).documents("docs", |id, mut document| {
            assert_eq!(document.keys().next(), Some("_id"));
            assert_eq!(document.get("_id"), Some(&Value::from(id.as_str())));
            let done = document.remove("done").unwrap_or(Value::Bool(false));
            document.insert("completed", done);
            Ok(Migrated::Changed(document))
        }))
        .on_migration(move |progress| told.lock().unwrap().push(progress.clone()))
        .open(storage.clone())
        .await
        .unwrap();
    assert_eq!(db.schema_version(), 3);
    let new = docs(&db).await;
    assert_eq!(
        shown(&new, "1").await,
        r#"{"_id":"1","x":5,"state":"done"}"#
    );
    assert_eq!(
        shown(&new, "2").await,
        r#"{"_id":"2","x":1,"state":"open"}"#
    );
    assert_eq!(new.count().await.unwrap(), 2);
    let after = new.get_document("1").await.unwrap().unwrap();
    assert_eq!(after.updated_at(), before.updated_at());
    assert!(after.rev > before.rev);

    let phases: Vec<_> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|now| {
            (
                now.phase,
                now.from,
                now.to,
                now.documents,
                now.total,
                now.changed,
                now.deleted,
            )
        })
        .collect();
    assert_eq!(
        phases,
        [
            (MigrationPhase::Checking, 1, 3, 3, None, 2, 1),
            (MigrationPhase::Applying, 1, 3, 3, Some(3), 2, 1),
            (MigrationPhase::Done, 1, 3, 3, Some(3), 2, 1),
        ]
    );
    // Once is enough: the next opening runs no step.
    drop((new, db));
    let db = app()
        .migration(to_2())
        .migration(counting(3, "docs"))
        .open(storage)
        .await
        .unwrap();
    assert_eq!(
        shown(&docs(&db).await, "1").await,
        r#"{"_id":"1","x":5,"state":"done"}"#
    );
}

#[tokio::test]
async fn fields_that_a_step_leaves_as_they_are_keep_their_bytes() {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    let body: &[u8] = b"\x83\xa4done\xc3\xa1x\xcd\0\x05\xd9\x01y\xca\x3f\x80\0\0";
    arrive(
        &db,
        0,
        "1",
        Body::from_msgpack(body.into(), &DocumentLimits::default()).unwrap(),
    )
    .await;
    drop(db);
    let db = app().migration(to_2()).open(storage).await.unwrap();
    let document = docs(&db).await.get_document("1").await.unwrap().unwrap();
    assert_eq!(
        document.body.unwrap().as_bytes(),
        b"\x83\xa1x\xcd\0\x05\xd9\x01y\xca\x3f\x80\0\0\xa9completed\xc3"
    );
}

#[tokio::test]
async fn a_document_that_fails_is_named_and_leaves_the_database_as_it_was() {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    let many: Vec<_> = (0..900)
        .map(|n| value(&format!(r#"{{"_id":"{n:04}","n":{n}}}"#)))
        .collect();
    docs(&db).await.insert_many(&many).await.unwrap();
    docs(&db)
        .await
        .insert(&value(r#"{"_id":"bad"}"#))
        .await
        .unwrap();
    let sequence = db.stats().await.unwrap().sequence;
    drop(db);
    let error = app()
        .migration(counting(2, "docs"))
        .open(storage.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "migration");
    let message = error.to_string();
    for part in [
        "version 2",
        "\"bad\"",
        "`docs`",
        "there is no n",
        "stays at version 1",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    // The program of before finds what it left.
    let db = app().open(storage).await.unwrap();
    assert_eq!(db.schema_version(), 1);
    assert_eq!(db.stats().await.unwrap().sequence, sequence);
    assert_eq!(
        shown(&docs(&db).await, "0007").await,
        r#"{"_id":"0007","n":7}"#
    );
}

#[tokio::test]
async fn a_step_that_breaks_a_rule_of_documents_is_named() {
    type Step = fn(&DocumentId, Map) -> Result<Migrated, String>;
    let steps: [(Step, &str); 3] = [
        (
            |_, mut it| {
                it.insert("_id", "other");
                Ok(Migrated::Changed(it))
            },
            "another `_id`",
        ),
        (
            |_, mut it| {
                it.insert("_rev", 1);
                Ok(Migrated::Changed(it))
            },
            "_rev",
        ),
        (
            |_, mut it| {
                it.insert("x", "x".repeat(2 << 20));
                Ok(Migrated::Changed(it))
            },
            "bytes",
        ),
    ];
    for (step, part) in steps {
        let storage = MemoryStorage::new();
        let db = app().open(storage.clone()).await.unwrap();
        docs(&db)
            .await
            .insert(&value(r#"{"_id":"1"}"#))
            .await
            .unwrap();
        drop(db);
        let migration = Migration::to(2).documents("docs", step);
        let error = app().migration(migration).open(storage).await.unwrap_err();
        assert_eq!(error.code(), "migration");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn versions_have_no_gap_and_a_database_older_than_the_first_step_is_refused() {
    let config = |builder: DatabaseBuilder| async {
        let error = builder.open(MemoryStorage::new()).await.unwrap_err();
        assert_eq!(error.code(), "config");
        error.to_string()
    };
    let message = config(app().migration(to_2()).migration(Migration::to(4))).await;
    assert!(message.contains("to 3, not to 4"), "{message}");
    let message = config(app().migration(to_2()).migration(to_2())).await;
    assert!(message.contains("to 3, not to 2"), "{message}");
    let message = config(app().migration(to_2()).schema_version(3)).await;
    assert!(
        message.contains("version is 3") && message.contains("leads to 2"),
        "{message}"
    );
    config(app().migration(Migration::to(1))).await;

    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    docs(&db)
        .await
        .insert(&value(r#"{"_id":"1","n":0}"#))
        .await
        .unwrap();
    drop(db);
    let error = app()
        .migration(counting(3, "docs"))
        .open(storage.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "migration");
    let message = error.to_string();
    assert!(
        message.contains("version 1") && message.contains("the one to 2"),
        "{message}"
    );
    // A migration without a step says that documents stay as they are; the version is a barrier for older programs.
    let barrier = app().migration(Migration::to(2));
    let db = barrier.open(storage.clone()).await.unwrap();
    assert_eq!(db.schema_version(), 2);
    drop(db);
    assert_eq!(
        app().open(storage.clone()).await.unwrap_err().code(),
        "newer-format"
    );
    let db = app()
        .migration(counting(3, "docs"))
        .open(storage)
        .await
        .unwrap();
    assert_eq!(shown(&docs(&db).await, "1").await, r#"{"_id":"1","n":1}"#);
}

/// A program whose migrations were forgotten raised the version all the same. The documents kept their old shape, and the
/// migration that was added later never ran.
#[tokio::test]
async fn a_version_that_no_migration_leads_to_is_refused_and_the_database_stays_as_it_was() {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    let document = value(r#"{"_id":"1","n":0}"#);
    docs(&db).await.insert(&document).await.unwrap();
    drop(db);
    let error = app().schema_version(3).open(storage.clone()).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), "migration");
    let message = error.to_string();
    assert!(message.contains("each version from 2 to 3"), "{message}");
    let db = app().open(storage.clone()).await.unwrap();
    assert_eq!(db.schema_version(), 1);
    drop(db);
    let three = || app().migration(counting(2, "docs"));
    let three = three().migration(Migration::to(3)).schema_version(3);
    let db = three.open(storage.clone()).await.unwrap();
    assert_eq!(db.schema_version(), 3);
    assert_eq!(shown(&docs(&db).await, "1").await, r#"{"_id":"1","n":1}"#);
    drop(db);
    // Once it is there, whoever only reads and writes needs no migration.
    let db = app().schema_version(3).open(storage).await.unwrap();
    assert_eq!(db.schema_version(), 3);
}

#[tokio::test]
async fn a_new_database_has_the_newest_version_and_runs_no_step() {
    let db = app()
        .migration(counting(2, "docs"))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    assert_eq!(db.schema_version(), 2);
    docs(&db)
        .await
        .insert(&value(r#"{"_id":"1"}"#))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_error_of_the_store_is_told_as_what_it_is() {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    docs(&db)
        .await
        .insert(&value(r#"{"_id":"1","n":0}"#))
        .await
        .unwrap();
    drop(db);
    let crashed = app()
        .migration(counting(2, "docs"))
        .open(crashing(&storage, 1))
        .await;
    let error: Error = crashed.unwrap_err();
    assert_eq!(error.code(), "closed");
}

#[tokio::test]
async fn a_handle_of_the_old_program_writes_nothing_from_the_first_write_of_a_migration_on() {
    let storage = MemoryStorage::new();
    let old = app().open(storage.clone()).await.unwrap();
    let tool = app().any_schema_version();
    let tool = tool.open(storage.clone()).await.unwrap();
    let written = docs(&old).await;
    for id in ["1", "2"] {
        let document = value(&format!(r#"{{"_id":{id:?},"done":true}}"#));
        written.insert(&document).await.unwrap();
    }
    let document = value(r#"{"_id":"3","done":true}"#);
    // One commit raises the version; the next, of the first documents, fails: the migration is half done.
    let new = app().migration(to_2());
    new.open(crashing(&storage, 2)).await.unwrap_err();
    let error = written.insert(&document).await.unwrap_err();
    assert_eq!(error.code(), "newer-format");
    let by_tool = docs(&tool).await;
    let error = by_tool.insert(&document).await.unwrap_err();
    assert_eq!(error.code(), "migration");
    let new = app().migration(to_2()).open(storage.clone()).await.unwrap();
    let error = written.insert(&document).await.unwrap_err();
    assert_eq!(error.code(), "newer-format");
    let error = written.delete("1").await.unwrap_err();
    assert_eq!(error.code(), "newer-format");
    by_tool.insert(&document).await.unwrap();
    let found = docs(&new).await.get_all().await.unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(
        shown(&docs(&new).await, "1").await,
        r#"{"_id":"1","completed":true}"#
    );
}

#[tokio::test]
async fn a_tool_opens_any_version_and_leaves_it_but_not_one_that_is_half_migrated() {
    let storage = MemoryStorage::new();
    let db = app().schema_version(7).open(storage.clone()).await.unwrap();
    docs(&db)
        .await
        .insert(&value(r#"{"_id":"1","n":0}"#))
        .await
        .unwrap();
    drop(db);
    let tool = || Database::builder("tool").any_schema_version();
    let db = tool().open(storage.clone()).await.unwrap();
    assert_eq!(db.schema_version(), 7);
    docs(&db)
        .await
        .update("1", &json!({"by": "hand"}))
        .await
        .unwrap();
    drop(db);
    let eight = || app().migration(counting(8, "docs"));
    let crashed = eight().open(crashing(&storage, 2)).await;
    assert_eq!(crashed.unwrap_err().code(), "closed");
    let error = tool().open(storage.clone()).await.unwrap_err();
    assert_eq!(error.code(), "migration");
    let db = eight().open(storage).await.unwrap();
    assert_eq!(
        shown(&docs(&db).await, "1").await,
        r#"{"_id":"1","n":1,"by":"hand"}"#
    );
    let new = tool()
        .schema_version(4)
        .open(MemoryStorage::new())
        .await
        .unwrap();
    assert_eq!(new.schema_version(), 4);
}

/// Where the check met no document, the migration began without a note of itself, and what another handle had written since
/// kept its old shape under the new version.
#[tokio::test]
async fn what_is_written_between_the_check_and_the_beginning_is_migrated_also_where_there_was_nothing()
 {
    let storage = MemoryStorage::new();
    let old = app().open(storage.clone()).await.unwrap();
    let written = docs(&old).await;
    // The check reads a tombstone, which is no document, and what comes before it while it is there is not checked.
    written.insert(&value(r#"{"_id":"1"}"#)).await.unwrap();
    written.delete("1").await.unwrap();
    let checked = Arc::new(Mutex::new(Vec::new()));
    let (told, runtime) = (checked.clone(), tokio::runtime::Handle::current());
    let listener = move |progress: &MigrationProgress| {
        let is_check = progress.phase == MigrationPhase::Checking;
        told.lock()
            .unwrap()
            .push((progress.phase, progress.documents));
        if is_check {
            let (written, runtime) = (written.clone(), runtime.clone());
            let late = move || {
                let document = value(r#"{"_id":"0","done":true}"#);
                runtime.block_on(written.insert(&document)).unwrap();
            };
            std::thread::spawn(late).join().unwrap();
        }
    };
    let new = app().migration(to_2()).on_migration(listener);
    let new = new.open(storage).await.unwrap();
    assert_eq!(
        shown(&docs(&new).await, "0").await,
        r#"{"_id":"0","completed":true}"#
    );
    let expected = [
        (MigrationPhase::Checking, 0),
        (MigrationPhase::Applying, 1),
        (MigrationPhase::Done, 1),
    ];
    assert_eq!(*checked.lock().unwrap(), expected);
}
