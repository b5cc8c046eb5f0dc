//! `dump` and `load`: a whole database as lines, there and back.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fmt::Write as _;
use std::io::Write as _;

use common::{Place, exists};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// A database with two collections and a deletion.
fn filled() -> Place {
    let place = Place::new();
    place.ok(&[
        "insert",
        "notes",
        r#"{"_id":"a","at":{"$date":"2024-02-29T12:00:00.000Z"}}"#,
    ]);
    place.ok(&[
        "insert",
        "notes",
        r#"{"_id":"b","raw":{"$binary":"AQI="},"n":1.0}"#,
    ]);
    place.ok(&["insert", "cache", r#"{"_id":"c"}"#, "--local-only"]);
    place.ok(&["insert", "notes", r#"{"_id":"gone"}"#]);
    place.ok(&["delete", "notes", "gone"]);
    place
}

fn all(place: &Place, db: &str) -> [String; 2] {
    ["notes", "cache"].map(|collection| place.ok_on(db, &["export", collection]))
}

#[test]
fn a_dumped_database_is_loaded_again_from_a_file_from_stdin_and_from_gzip() {
    let place = filled();
    let file = place.path("it.jsonl");
    let name = file.to_str().unwrap();
    let told = place.ok(&["dump", name]);
    assert!(told.contains("3 documents of 2 collections"), "{told}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(place.ok(&["dump", "-"]), text);
    assert_eq!(text.lines().count(), 1 + 2 + 3 + 1);

    let told = place.ok_on("other", &["load", name, "--json"]);
    assert_eq!(
        told,
        "{\"loaded\":3,\"skipped\":0,\"collections_made\":2,\"unknown_lines\":0,\"broken_indexes\":[]}\n"
    );
    assert_eq!(all(&place, "db"), all(&place, "other"));
    let collections = place.ok_on("other", &["collections", "--json"]);
    assert!(collections.contains("\"sync\":false") && collections.contains("\"sync\":true"));
    place.ok_on("other", &["status", "--json"]);

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let packed = place.file("it.gz", gzip.finish().unwrap());
    place.ok_on("third", &["load", &packed]);
    assert_eq!(all(&place, "db"), all(&place, "third"));
    // Itself through a pipe: all is there already.
    let same = place
        .feed(&["load", "-", "--existing", "skip"], text.as_bytes())
        .ok();
    assert_eq!(same, "0 documents loaded, 3 skipped\n");
}

#[test]
fn a_cut_or_damaged_dump_changes_nothing_and_makes_no_database() {
    let place = filled();
    let text = place.ok(&["dump", "-"]);
    let lines: Vec<&str> = text.lines().collect();
    let cut = place.file("cut", lines[..lines.len() - 1].join("\n"));
    let changed = place.file("changed", text.replace("1.0", "2.0"));
    let broken = place.file("broken", text.replace("\"raw\":", "\"raw\""));
    for (file, part) in [
        (&cut, "cut behind line 6"),
        (&changed, "line 7: "),
        (&broken, "line 6: "),
    ] {
        let failed = place.run_on("other", &["load", file]).failed(1, "corrupt");
        assert!(failed.err.contains(part), "{}", failed.err);
        assert!(!exists(&place.path("other")));
        let failed = place
            .run(&["load", file, "--existing", "replace"])
            .failed(1, "corrupt");
        assert!(failed.err.contains(part), "{}", failed.err);
        assert_eq!(place.ok(&["dump", "-"]), text);
    }
    place
        .run_on("other", &["load", "/nowhere/at/all"])
        .failed(1, "io");
}

#[test]
fn documents_whose_ids_are_taken_stop_a_load_before_its_first_write_unless_told_otherwise() {
    let place = filled();
    let file = place.file("it", place.ok(&["dump", "-"]));
    place.ok_on("other", &["insert", "notes", r#"{"_id":"b","mine":true}"#]);
    let failed = place
        .run_on("other", &["load", &file])
        .failed(1, "document-exists");
    assert!(failed.err.contains("\"b\""), "{}", failed.err);
    assert_eq!(place.ok_on("other", &["count", "notes"]), "1\n");
    place.ok_on("other", &["load", &file, "--existing", "skip"]);
    assert_eq!(
        place.ok_on("other", &["get", "notes", "b"]),
        "{\"_id\":\"b\",\"mine\":true}\n"
    );
    let told = place.ok_on("other", &["load", &file, "--existing", "replace"]);
    assert_eq!(told, "1 document loaded, 2 skipped\n");
    assert_eq!(all(&place, "db"), all(&place, "other"));
}

fn sha256(text: &str) -> String {
    let sum = Sha256::digest(text);
    sum.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A dump of one collection with these lines behind it, whole.
fn dumped(lines: &[&str], documents: usize) -> String {
    let mut text =
        "{\"pocket-dump\":1,\"database\":\"x\",\"schema_version\":1,\"one_state\":true}\n\
         {\"collection\":\"docs\",\"sync\":true,\"conflict_strategy\":null,\
         \"ttl\":{\"field\":\"seen.at\",\"after_ms\":1500}}\n"
            .to_owned();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    let sum = sha256(&text);
    writeln!(
        text,
        "{{\"end\":true,\"collections\":1,\"documents\":{documents},\"sha256\":\"{sum}\"}}"
    )
    .unwrap();
    text
}

#[test]
fn documents_over_the_usual_limits_are_loaded_and_dumped_to_a_file() {
    let place = Place::new();
    let deep = format!(
        r#"{{"document":{{"_id":"deep","n":{}{}}}}}"#,
        "[".repeat(90),
        "]".repeat(90)
    );
    let many = vec!["0"; 70_000].join(",");
    let many = format!(r#"{{"document":{{"_id":"many","n":[{many}]}}}}"#);
    let long = "x".repeat(3 << 20);
    let long = format!(r#"{{"document":{{"_id":"this is long","n":"{long}"}}}}"#);
    let text = dumped(&[&deep, &many, &long], 3);
    let file = place.file("large", &text);
    // Into a new database, and into one that is there.
    place.ok(&["load", &file]);
    place.ok_on("other", &["insert", "others", r#"{"_id":"a"}"#]);
    place.ok_on("other", &["load", &file]);
    assert!(place.ok_on("other", &["export", "docs"]).len() > 3 << 20);
    let again = place.path("again.jsonl");
    let told = place.ok(&["dump", again.to_str().unwrap()]);
    assert!(told.contains("3 documents"), "{told}");
    let again = std::fs::read_to_string(&again).unwrap();
    let documents = |text: &str| text.lines().skip(2).take(3).map(str::to_owned).collect();
    let (before, after): (Vec<_>, Vec<_>) = (documents(&text), documents(&again));
    assert!(before == after, "the documents are others");
}

#[test]
fn what_is_over_by_its_time_to_live_is_deleted_when_that_is_asked_for() {
    let place = Place::new();
    let lines = [
        r#"{"document":{"_id":"over","seen":{"at":{"$date":"2001-01-01T00:00:00.000Z"}}}}"#,
        r#"{"document":{"_id":"there","seen":{"at":{"$date":"2901-01-01T00:00:00.000Z"}}}}"#,
    ];
    let file = place.file("expiring", dumped(&lines, 2));
    place.ok(&["load", &file]);
    assert_eq!(place.ok(&["count", "docs"]), "1\n");
    assert_eq!(place.ok(&["expire"]), "1 document deleted\n");
    assert_eq!(place.ok(&["expire", "--json"]), "{\"expired\":0}\n");
    assert_eq!(place.ok(&["count", "docs"]), "1\n");
}

/// Flips a bit in the value that holds this text.
fn damage(place: &Place, text: &str) {
    use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
    let store = pocket_storage_redb::RedbStorage::open(place.path("db/store.redb")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let limit = ScanLimit::entries(1_000);
        let entries = store.scan(KeyRange::all(), limit, Direction::Forward).await;
        // The document comes before its copies in the outbox.
        let holds = |value: &[u8]| {
            value
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        let mut entries = entries.unwrap().into_iter();
        let (key, value) = entries.find(|(_, value)| holds(value)).unwrap();
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        let mut batch = Batch::new();
        batch.put(key, value);
        store.commit(batch, Durability::PowerLoss).await.unwrap();
        store.close().await.unwrap();
    });
}

#[test]
fn damaged_documents_are_passed_over_when_that_is_asked_for_and_the_status_says_so() {
    let place = Place::new();
    for id in ["a", "b", "c"] {
        let document = format!(r#"{{"_id":"{id}","text":"the text of {id}"}}"#);
        place.ok(&["insert", "notes", &document, "--local-only"]);
    }
    damage(&place, "the text of b");
    place.run(&["dump", "-"]).failed(1, "corrupt");
    place.run(&["export", "notes"]).failed(1, "corrupt");
    let name = place.path("saved.jsonl");
    let name = name.to_str().unwrap();
    place.run(&["dump", name]).failed(1, "corrupt");
    assert!(!exists(&place.path("saved.jsonl")));

    let outcome = place.run(&["export", "notes", "--skip-damaged"]);
    let outcome = outcome.failed(1, "corrupt");
    assert!(
        outcome.err.contains("1 damaged document"),
        "{}",
        outcome.err
    );
    assert_eq!(
        outcome.out,
        "{\"_id\":\"a\",\"text\":\"the text of a\"}\n{\"_id\":\"c\",\"text\":\"the text of c\"}\n"
    );
    let outcome = place.run(&["dump", name, "--skip-damaged"]);
    let outcome = outcome.failed(1, "corrupt");
    assert!(
        outcome.out.contains("2 documents of 1 collection"),
        "{}",
        outcome.out
    );
    assert_eq!(
        place.ok_on("other", &["load", name]),
        "2 documents loaded, 0 skipped\n"
    );
    // The same where another process holds the database.
    let mut holder = place.start("db", &["shell"]);
    holder.say("help\n");
    holder.line();
    let held = place.path("held.jsonl");
    let words = ["dump", held.to_str().unwrap(), "--skip-damaged"];
    let outcome = place.run(&words);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.err.contains("1 damaged document"), "{outcome:?}");
    let dumped = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(dumped(&held), dumped(&place.path("saved.jsonl")));
    place.run(&["dump", "-"]).failed(1, "corrupt");
    holder.say("exit\n");
    holder.status();
    place
        .run(&["dump", "-", "--skip-damaged"])
        .failed(1, "corrupt");
    place
        .run(&["export", "notes", "--skip-damaged", "--meta"])
        .failed(2, "usage");
}

#[test]
fn documents_that_break_a_unique_index_of_a_dump_are_loaded_and_told() {
    let place = Place::new();
    let lines = [
        r#"{"document":{"_id":"a","n":1}}"#,
        r#"{"document":{"_id":"b","n":1}}"#,
        r#"{"index":"n_1","fields":[["n",1]],"unique":true,"sparse":false,"only":null}"#,
    ];
    let file = place.file("broken", dumped(&lines, 2));
    let told = place.ok(&["load", &file, "--json"]);
    let index = r#""broken_indexes":[{"collection":"docs","index":"n_1","pairs":1}]"#;
    assert!(told.contains(index), "{told}");
    assert!(place.ok(&["index", "list", "docs"]).contains("n_1"));
    let collections = place.ok(&["collections"]);
    assert!(
        collections.contains(", 1 index, documents live 1.5s from seen.at\n"),
        "{collections}"
    );
    let collections = place.ok(&["collections", "--json"]);
    let both = r#""indexes":["n_1"],"ttl":{"field":"seen.at","after_ms":1500}}"#;
    assert!(collections.contains(both), "{collections}");
    let journal = place.ok(&["conflicts"]);
    assert!(journal.contains("unique"), "{journal}");

    // An index that was there before refuses them, and the way out is named.
    place.ok_on("other", &["insert", "docs", r#"{"_id":"z","n":9}"#]);
    place.ok_on("other", &["index", "create", "docs", "n", "--unique"]);
    let failed = place.run_on("other", &["load", &file]);
    let failed = failed.failed(1, "index-unique-violation");
    assert!(failed.err.contains("`pocket index drop`"), "{}", failed.err);
    place.ok_on("other", &["index", "drop", "docs", "n_1"]);
    let told = place.ok_on("other", &["load", &file, "--existing", "replace", "--json"]);
    assert!(told.contains(index), "{told}");
}

#[test]
fn the_schema_version_comes_back_and_a_newer_one_or_a_newer_form_is_refused() {
    let place = filled();
    let text = place.ok(&["dump", "-"]);
    let newer = text.replacen("\"pocket-dump\":1", "\"pocket-dump\":2", 1);
    let newer = place.file("newer", newer);
    place
        .run_on("other", &["load", &newer])
        .failed(1, "newer-format");
    assert!(!exists(&place.path("other")));
    // What an application of schema version 5 would have written.
    let fifth = text.replacen("\"schema_version\":1", "\"schema_version\":5", 1);
    let lines: Vec<&str> = fifth.split_inclusive('\n').collect();
    let sum = sha256(&lines[..6].concat());
    let at = lines[6].find("sha256").unwrap();
    let end = format!("{}sha256\":\"{sum}\"}}\n", &lines[6][..at]);
    let fifth = place.file("fifth", lines[..6].concat() + &end);
    place.run(&["load", &fifth]).failed(1, "newer-format");
    place.ok_on("other", &["load", &fifth]);
    assert_eq!(
        place.ok_on("other", &["dump", "-"]),
        std::fs::read_to_string(&fifth).unwrap()
    );
    // Only the application knows what becomes of older documents.
    let first = place.file("first", &text);
    place
        .run_on("other", &["load", &first])
        .failed(1, "migration");
}

#[test]
fn a_signal_ends_a_load_that_waits_for_its_input_and_nothing_is_made() {
    let place = filled();
    let text = place.ok(&["dump", "-"]);
    let pipe = place.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut waiting = place.start("other", &["load", pipe.to_str().unwrap()]);
    // This waits until the other side is opened, which the command does when it listens to signals.
    let mut end = std::fs::File::options().write(true).open(&pipe).unwrap();
    end.write_all(&text.as_bytes()[..100]).unwrap();
    waiting.signal("INT");
    assert_eq!(waiting.status(), 1);
    assert!(
        waiting.notes().contains("interrupted"),
        "{}",
        waiting.notes()
    );
    assert!(!exists(&place.path("other")));
}

#[test]
fn a_file_that_exists_is_not_written_over_and_one_that_fails_leaves_nothing() {
    let place = filled();
    let name = place.file("it", "precious");
    place.run(&["dump", &name]).failed(1, "io");
    assert_eq!(std::fs::read_to_string(&name).unwrap(), "precious");
    let target = place.path("new");
    place
        .run_on("missing", &["dump", target.to_str().unwrap()])
        .failed(1, "not-found");
    let left: Vec<_> = std::fs::read_dir(target.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".pocket-"))
        .collect();
    assert!(left.is_empty() && !exists(&target), "{left:?}");
}

#[test]
fn a_database_that_is_held_is_dumped_and_loaded_through_its_holder() {
    for storage in ["redb", "sled"] {
        let place = filled();
        let text = place.ok(&["dump", "-"]);
        let file = place.file("it", &text);
        place.ok_on(
            "held",
            &["insert", "mine", "{\"_id\":\"1\"}", "--storage", storage],
        );
        let (_server, url) = place.serve("server", &["--storage", "memory"]);
        let mut holder = place.start("held", &["sync", "--server", &url, "--watch"]);
        holder.line_with("idle");

        let told = place.ok_on("held", &["load", &file]);
        assert_eq!(told, "3 documents loaded, 0 skipped\n");
        assert_eq!(all(&place, "db"), all(&place, "held"));
        let target = place.path("dumped");
        let told = place.ok_on("held", &["dump", target.to_str().unwrap()]);
        assert!(told.contains("4 documents of 3 collections"), "{told}");
        let dumped = std::fs::read_to_string(&target).unwrap();
        assert!(dumped.starts_with("{\"pocket-dump\":1,") && dumped.contains("\"one_state\":true"));
        assert_eq!(place.ok_on("held", &["dump", "-"]), dumped);
        place
            .run_on("held", &["load", &file])
            .failed(1, "document-exists");
        // What was loaded syncs like any edit.
        place.ok_on("reader", &["sync", "--server", &url, "--once"]);
        assert_eq!(
            place.ok_on("reader", &["export", "notes"]),
            all(&place, "db")[0]
        );
    }
}

#[test]
fn a_dump_named_as_gzip_is_gzip_and_one_that_is_loaded_twice_names_the_ways_out() {
    let place = Place::new();
    place.ok(&["insert", "todos", r#"{"_id":"a"}"#]);
    let file = place.path("all.gz").display().to_string();
    place.ok(&["dump", &file]);
    assert!(std::fs::read(&file).unwrap().starts_with(&[0x1f, 0x8b]));
    let outcome = place.run(&["load", &file]).failed(1, "document-exists");
    assert!(outcome.err.contains("--existing skip"), "{outcome:?}");
    place.run_on("other", &["load", &file]).ok();
    assert_eq!(place.run_on("other", &["count", "todos"]).ok(), "1\n");
    // Also as the process writes it that holds the database.
    let mut holder = place.start("db", &["shell"]);
    holder.say("count todos\n");
    assert_eq!(holder.line(), "1");
    let held = place.path("held.gz").display().to_string();
    place.ok(&["dump", &held]);
    assert!(std::fs::read(&held).unwrap().starts_with(&[0x1f, 0x8b]));
    place.run_on("third", &["load", &held]).ok();
    holder.say("exit\n");
    assert_eq!(holder.status(), 0);
    let nowhere = place.path("no/dump").display().to_string();
    let outcome = place.run(&["dump", &nowhere]).failed(1, "io");
    assert!(!outcome.err.contains(".pocket-"), "{outcome:?}");
    let outcome = place.run(&["find", "none", "--explain"]);
    let outcome = outcome.failed(1, "collection-not-found");
    assert!(
        outcome.err.contains("pocket collections set"),
        "{outcome:?}"
    );
    assert!(!outcome.err.contains("configure it"), "{outcome:?}");
    place.ok(&["index", "create", "todos", "due"]);
    let again = place.ok(&["index", "create", "todos", "due"]);
    assert_eq!(again, "index due_1 of todos is there already\n");
}
