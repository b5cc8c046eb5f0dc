//! Damaged files: what is told of them, and how a user goes on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Outcome, Place, program};
use pocket_core::Value;
use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_redb::RedbStorage;

/// Flips a bit in the value of the document with this id.
fn damage(place: &Place, db: &str, id: &str) {
    let store = RedbStorage::open(place.path(db).join("store.redb")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (limit, documents) = (ScanLimit::entries(1_000), KeyRange::prefix([b'd']));
        let entries = store.scan(documents, limit, Direction::Forward).await;
        let mut entries = entries.unwrap().into_iter();
        let found = entries.find(|(key, _)| key.ends_with(id.as_bytes()));
        let (key, value) = found.unwrap();
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        let mut batch = Batch::new();
        batch.put(key, value);
        store.commit(batch, Durability::PowerLoss).await.unwrap();
        store.close().await.unwrap();
    });
}

/// Lines of so many documents with so much text.
fn many(count: u32, text: usize) -> String {
    let text = "x".repeat(text);
    let line = |n| format!("{{\"_id\":\"{n:05}\",\"text\":\"{text}\"}}\n");
    (0..count).map(line).collect::<Vec<_>>().concat()
}

/// Three documents, of which the second is damaged.
fn damaged() -> Place {
    let place = Place::new();
    for id in ["a1", "b1", "c1"] {
        let document = format!(r#"{{"_id":"{id}","text":"the text of {id}"}}"#);
        place.ok(&["insert", "notes", &document]);
    }
    damage(&place, "db", "b1");
    place
}

#[track_caller]
fn names_it(outcome: Outcome) -> Outcome {
    let outcome = outcome.failed(1, "corrupt");
    let named = "document \"b1\" of `notes` is damaged";
    assert!(outcome.err.contains(named), "{outcome:?}");
    assert!(outcome.err.contains("pocket delete"), "{outcome:?}");
    outcome
}

#[test]
fn a_damaged_document_is_named_and_can_be_deleted_erased_or_replaced() {
    let place = damaged();
    names_it(place.run(&["get", "notes", "b1"]));
    names_it(place.run(&["export", "notes"]));
    names_it(place.run(&["update", "notes", "b1", r#"{"v":1}"#]));
    place.ok(&["delete", "notes", "b1"]);
    assert_eq!(place.ok(&["count", "notes"]), "2\n");

    let place = damaged();
    place.ok(&["delete", "notes", "b1", "--hard"]);
    assert_eq!(place.ok(&["count", "notes"]), "2\n");

    let place = damaged();
    let file = place.file("new.jsonl", "{\"_id\":\"b1\",\"v\":2}\n");
    place.ok(&["import", "notes", &file, "--upsert"]);
    let there = "{\"_id\":\"b1\",\"v\":2}\n";
    assert_eq!(place.ok(&["get", "notes", "b1"]), there);
}

#[test]
fn a_dump_that_replaces_mends_a_damaged_document() {
    let place = Place::new();
    let kept = place.path("kept.jsonl");
    let kept = kept.to_str().unwrap();
    place.ok(&["insert", "notes", r#"{"_id":"b1","v":1}"#]);
    place.ok(&["dump", kept]);
    damage(&place, "db", "b1");
    names_it(place.run(&["load", kept, "--existing", "skip"]));
    place.ok(&["load", kept, "--existing", "replace"]);
    let there = "{\"_id\":\"b1\",\"v\":1}\n";
    assert_eq!(place.ok(&["get", "notes", "b1"]), there);
}

/// Both succeeded without a word, and carried the damage on.
#[test]
fn a_backup_and_a_compaction_look_at_the_sums_of_what_they_copy() {
    let place = damaged();
    let backup = place.path("backup");
    let backup = backup.to_str().unwrap();
    let outcome = names_it(place.run(&["backup", backup]));
    assert!(outcome.err.contains("--with-damaged"), "{outcome:?}");
    assert!(!place.path("backup").exists());
    names_it(place.run(&["compact"]));
    // Whoever knows it gets all there is.
    let outcome = place.run(&["backup", backup, "--with-damaged"]);
    let outcome = outcome.failed(1, "corrupt");
    assert!(outcome.err.contains("1 damaged value"), "{outcome:?}");
    place.ok_on("other", &["restore", backup]);
    let there = "{\"_id\":\"a1\",\"text\":\"the text of a1\"}\n";
    assert_eq!(place.ok_on("other", &["get", "notes", "a1"]), there);
    names_it(place.run_on("other", &["get", "notes", "b1"]));
    // The same of what another process holds.
    let mut holder = place.start("db", &["shell"]);
    holder.say("help\n");
    holder.line();
    let held = place.path("held");
    let held = held.to_str().unwrap();
    let outcome = place.run(&["backup", held]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.err.contains("document \"b1\""), "{outcome:?}");
    assert!(!place.path("held").exists());
    let outcome = place.run(&["backup", held, "--with-damaged"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(place.path("held").exists());
    drop(holder);
    place.ok(&["delete", "notes", "b1"]);
    place.ok(&["compact"]);
    place.ok(&["backup", place.path("whole").to_str().unwrap()]);
}

/// The engine panics on such a page. That is caught, and was printed all the same, between the lines of `--json`, too.
#[test]
fn a_damaged_page_is_told_in_one_line_with_what_to_do() {
    let place = Place::new();
    let file = place.file("many.jsonl", many(2_000, 90));
    place.ok(&["import", "notes", &file, "--local-only"]);
    let store = place.path("db/store.redb");
    let mut bytes = std::fs::read(&store).unwrap();
    let at = bytes.windows(5).rposition(|part| part == b"01000").unwrap();
    let page = at / 4096 * 4096;
    bytes[page..page + 4096].fill(0xff);
    std::fs::write(&store, bytes).unwrap();
    let outcome = place.run(&["--json", "get", "notes", "01000"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (1, ""));
    assert_eq!(outcome.err.lines().count(), 1, "{outcome:?}");
    let told = Value::from_json_str(outcome.err.trim_end()).unwrap();
    let field = |name: &str| told.as_map().unwrap().get(name).unwrap().as_str();
    assert_eq!(field("code"), Some("corrupt"));
    let message = field("message").unwrap();
    for part in ["restore a backup", "--skip-damaged"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_file_of_documents_is_sent_to_import() {
    let place = Place::new();
    let file = place.file("documents.jsonl", "{\"_id\":\"a\"}\n");
    let refused = place.run(&["load", &file]).failed(1, "corrupt");
    assert!(refused.err.contains("pocket import"), "{refused:?}");
}

#[test]
fn a_server_whose_address_is_taken_says_how_to_take_another() {
    let place = Place::new();
    let (_first, url) = place.serve("server", &[]);
    let address = url.strip_prefix("ws://").unwrap().strip_suffix("/sync");
    let words = ["serve", "--listen", address.unwrap()];
    let refused = place.run_on("second", &words).failed(1, "io");
    assert!(refused.err.contains("--listen"), "{refused:?}");
}

/// Runs the program where no file may become larger than so many blocks of 512 bytes.
#[cfg(unix)]
fn bounded(place: &Place, blocks: u32, words: &[&str]) -> Outcome {
    let pocket = program().get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    let script = format!("ulimit -f {blocks} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(pocket);
    command.arg("--db").arg(place.path("db")).args(words);
    command.output().unwrap().into()
}

/// The signal of that limit ended the process without a word.
#[cfg(unix)]
#[test]
fn where_files_may_not_grow_it_is_told_as_a_full_disk_with_how_to_go_on() {
    let place = Place::new();
    let file = place.file("many.jsonl", many(30_000, 400));
    place.ok(&["insert", "notes", r#"{"_id":"first"}"#, "--local-only"]);
    let before = std::fs::metadata(place.path("db/store.redb"))
        .unwrap()
        .len();
    let blocks = u32::try_from((before + 8 * 1024 * 1024) / 512).unwrap();
    let words = ["import", "notes", &file];
    let outcome = bounded(&place, blocks, &words).failed(1, "storage-full");
    let stored: u64 = place.ok(&["count", "notes"]).trim().parse().unwrap();
    assert!((1..30_001).contains(&stored), "{stored}");
    assert_eq!(
        outcome.err.matches("no space left").count(),
        1,
        "{outcome:?}"
    );
    assert!(
        stored == 1 || outcome.err.contains("--upsert"),
        "{outcome:?}"
    );
    place.ok(&["import", "notes", &file, "--upsert"]);
    assert_eq!(place.ok(&["count", "notes"]), "30001\n");
}

/// Nobody knew how many of them were gone.
#[cfg(unix)]
#[test]
fn a_deletion_that_ends_early_says_how_much_is_deleted() {
    let place = Place::new();
    let file = place.file("many.jsonl", many(4_000, 4));
    place.ok(&["import", "notes", &file]);
    let store = std::fs::metadata(place.path("db/store.redb"));
    let blocks = u32::try_from(store.unwrap().len() / 512).unwrap();
    let delete = ["delete", "notes", "--filter", "{}"];
    let outcome = bounded(&place, blocks, &delete).failed(1, "storage-full");
    let left: u64 = place.ok(&["count", "notes"]).trim().parse().unwrap();
    let deleted = 4_000 - left;
    let said = match deleted {
        0..1_000 => format!("{deleted} documents deleted before"),
        _ => format!(
            "{},{:03} documents deleted",
            deleted / 1_000,
            deleted % 1_000
        ),
    };
    let says_so = outcome.err.contains(&said);
    assert_eq!(says_so, deleted > 0, "{left} left: {outcome:?}");
    place.ok(&delete);
    assert_eq!(place.ok(&["count", "notes"]), "0\n");
}

/// It was told to do what it had just tried.
#[test]
fn a_dump_that_skips_what_is_damaged_does_not_recommend_itself() {
    let place = Place::new();
    place.ok(&["insert", "notes", "{}"]);
    std::fs::write(place.path("db/store.redb"), b"this is no store at all").unwrap();
    let name = place.path("saved");
    let words = ["dump", name.to_str().unwrap(), "--skip-damaged"];
    for (words, recommends) in [(&words[..2], true), (&words[..], false)] {
        let outcome = place.run(words).failed(1, "corrupt");
        assert!(outcome.err.contains("restore"), "{outcome:?}");
        let says_so = outcome.err.contains("--skip-damaged");
        assert_eq!(says_so, recommends, "{outcome:?}");
    }
}
