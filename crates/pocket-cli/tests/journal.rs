//! The journal of conflicts, against a real server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Place;

#[test]
fn a_conflict_is_in_the_journal_with_both_versions_and_its_winner() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    place.ok(&["insert", "things", r#"{"_id":"a","v":"base"}"#]);
    place.ok(&["sync", "--server", &url, "--once"]);
    place.ok_on("other", &["sync", "--server", &url, "--once"]);
    place.ok_on("other", &["update", "things", "a", r#"{"v":"earlier"}"#]);
    place.ok(&["update", "things", "a", r#"{"v":"later"}"#]);
    place.ok(&["sync", "--server", &url, "--once"]);
    let outcome = place.run_on("other", &["sync", "--server", &url, "--once"]);
    assert!(outcome.err.contains("pocket conflicts"), "{outcome:?}");
    assert!(outcome.ok().contains("1 conflict,"));
    assert_eq!(
        place.ok_on("other", &["get", "things", "a"]),
        "{\"_id\":\"a\",\"v\":\"later\"}\n"
    );
    let journal = place.ok_on("other", &["conflicts", "--json"]);
    assert_eq!(journal.lines().count(), 1);
    for part in [
        r#""kind":"conflict""#,
        r#""winner":"remote","rule":"last-write-wins""#,
        r#""document":{"_id":"a","v":"base"}"#,
        r#""document":{"_id":"a","v":"earlier"}"#,
        r#""document":{"_id":"a","v":"later"}"#,
    ] {
        assert!(journal.contains(part), "{part} in {journal}");
    }
    let text = place.ok_on("other", &["conflicts"]);
    assert!(
        text.contains("the server's version won (last-write-wins)"),
        "{text}"
    );
    assert!(
        text.contains("things/a") && text.contains("earlier"),
        "{text}"
    );
    assert_eq!(place.ok(&["conflicts"]), "");
}

#[test]
fn a_conflict_is_explained_restored_and_dismissed() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    place.ok(&[
        "insert",
        "things",
        r#"{"_id":"a","v":1}"#,
        r#"{"_id":"b","v":1}"#,
    ]);
    place.ok(&["sync", "--server", &url, "--once"]);
    place.ok_on("other", &["sync", "--server", &url, "--once"]);
    for id in ["a", "b"] {
        place.ok(&["update", "things", id, r#"{"v":2}"#]);
        place.ok_on("other", &["update", "things", id, r#"{"v":3}"#]);
    }
    place.ok(&["sync", "--server", &url, "--once"]);
    let sync = [
        "sync",
        "--server",
        &url,
        "--once",
        "--strategy",
        "server-wins",
    ];
    place.ok_on("other", &sync);
    let why = place.ok_on("other", &["conflicts", "show", "1"]);
    for part in [
        "by the rule `server-wins`",
        "base: {\"v\":1}",
        "here: {\"v\":3}, changed v",
    ] {
        assert!(why.contains(part), "{part} in {why}");
    }
    let open = || place.ok_on("other", &["conflicts", "list", "--open", "--json"]);
    assert_eq!(open().lines().count(), 2);
    let restored = place.ok_on("other", &["conflicts", "restore", "1", "--json"]);
    assert!(restored.contains(r#""state":"restored""#), "{restored}");
    assert!(
        restored.contains(r#""written":[{"_id":"a","v":3"#),
        "{restored}"
    );
    let outcome = place.run_on("other", &["conflicts", "dismiss", "2", "9"]);
    assert!(outcome.err.contains("nothing was dismissed"), "{outcome:?}");
    assert_eq!(open().lines().count(), 1);
    place.ok_on("other", &["conflicts", "dismiss", "2"]);
    assert_eq!(open(), "");
    let outcome = place.run_on("other", &["conflicts", "dismiss", "1"]);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.err.contains("error[journal-entry-closed]"),
        "{outcome:?}"
    );
    let outcome = place.run_on("other", &["conflicts", "restore", "9"]);
    assert!(
        outcome.err.contains("error[journal-entry-not-found]"),
        "{outcome:?}"
    );
    // What was restored travels like any other edit.
    place.ok_on("other", &sync);
    place.ok(&["sync", "--server", &url, "--once"]);
    assert_eq!(
        place.ok(&["get", "things", "a"]),
        "{\"_id\":\"a\",\"v\":3}\n"
    );
    assert_eq!(
        place.ok(&["get", "things", "b"]),
        "{\"_id\":\"b\",\"v\":2}\n"
    );
}

#[test]
fn with_merge_both_devices_keep_what_each_has_changed() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    place.ok(&[
        "insert",
        "things",
        r#"{"_id":"a","x":1,"in":{"y":1,"z":1}}"#,
    ]);
    let sync = ["sync", "--server", &url, "--once", "--strategy", "merge"];
    place.ok(&sync);
    place.ok_on("other", &sync);
    place.ok(&["update", "things", "a", r#"{"in":{"y":2,"z":1}}"#]);
    place.ok_on(
        "other",
        &["update", "things", "a", r#"{"x":5,"in":{"y":1,"z":6}}"#],
    );
    place.ok(&sync);
    place.ok_on("other", &sync);
    place.ok(&sync);
    let merged = "{\"_id\":\"a\",\"x\":5,\"in\":{\"y\":2,\"z\":6}}\n";
    assert_eq!(place.ok(&["get", "things", "a"]), merged);
    assert_eq!(place.ok_on("other", &["get", "things", "a"]), merged);
    let text = place.ok_on("other", &["conflicts"]);
    assert!(text.contains("both were merged (merge)"), "{text}");
}

#[test]
fn of_what_was_erased_the_journal_says_so_and_promises_nothing() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let sync = ["sync", "--server", &url, "--once"];
    place.ok(&["insert", "things", r#"{"_id":"a","v":1}"#]);
    place.ok(&sync);
    place.ok_on("other", &sync);
    place.ok(&["delete", "things", "a", "--hard"]);
    place.ok(&sync);
    place.ok_on("other", &["update", "things", "a", r#"{"v":2}"#]);
    place.ok_on("other", &sync);
    let list = place.ok_on("other", &["conflicts"]);
    assert!(
        list.contains("local   erased") && !list.contains("deleted"),
        "{list}"
    );
    let why = place.ok_on("other", &["conflicts", "show", "1"]);
    for part in ["erased for good", "cannot be restored", "is erased since"] {
        assert!(why.contains(part), "{why}");
    }
    // It said, too, that the local version is kept in the entry.
    assert!(!why.contains("kept in this entry"), "{why}");
    let json = place.ok_on("other", &["conflicts", "--json"]);
    assert!(
        json.contains(r#""erased":true"#) && !json.contains(r#""deleted":true"#),
        "{json}"
    );
    place
        .run_on("other", &["conflicts", "restore", "1"])
        .failed(1, "journal-entry-erased");
    place.ok_on("other", &["conflicts", "dismiss", "1"]);
}

/// The base was told as deleted, and the merge as if it had known it.
#[test]
fn after_a_restored_server_a_base_is_told_as_not_kept_and_a_merge_as_without_it() {
    let place = Place::new();
    let backup = place.path("backup");
    let backup = backup.to_str().unwrap();
    let sync = |db: &str, url: &str| {
        let words = ["sync", "--server", url, "--once", "--strategy", "merge"];
        place.ok_on(db, &words);
    };
    let (server, url) = place.serve("server", &[]);
    place.ok(&["insert", "things", r#"{"_id":"a","v":1,"w":1}"#]);
    sync("db", &url);
    drop(server);
    place.ok_on("server", &["backup", backup]);
    let (server, url) = place.serve("server", &[]);
    place.ok(&["update", "things", "a", r#"{"v":2}"#]);
    sync("db", &url);
    drop(server);
    std::fs::remove_dir_all(place.path("server")).unwrap();
    place.ok_on("server", &["restore", backup]);
    let (_server, url) = place.serve("server", &[]);
    sync("other", &url);
    place.ok_on("other", &["update", "things", "a", r#"{"w":9}"#]);
    sync("other", &url);
    sync("db", &url);
    let list = place.ok(&["conflicts"]);
    assert!(list.contains("base    not kept"), "{list}");
    assert!(!list.contains("deleted"), "{list}");
    let json = place.ok(&["conflicts", "--json"]);
    assert!(!json.contains(r#""deleted":true"#), "{json}");
    let why = place.ok(&["conflicts", "show", "1"]);
    assert!(why.contains("is not known here"), "{why}");
}

/// Whoever may write a document chooses its id, and so did what others saw on their terminals.
#[test]
fn an_id_of_somebody_else_looks_like_nothing_but_an_id() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let mut watch = place.start("other", &["watch", "things", "--server", &url]);
    watch.note_with("idle");
    let id = "a\n2026-01-01T00:00:00.000Z  local   delete  everything\u{1b}[2J";
    let shown = r"a\n2026-01-01T00:00:00.000Z  local   delete  everything\u{1b}[2J";
    let inserted = place.ok(&[
        "insert",
        "things",
        r#"{"_id":"a\n2026-01-01T00:00:00.000Z  local   delete  everything\u001b[2J","v":1}"#,
    ]);
    assert_eq!(inserted, format!("{id}\n"), "for programs it is as it is");
    let sync = ["sync", "--server", &url, "--once"];
    place.ok(&sync);
    let line = watch.line();
    assert!(line.contains(&format!("insert  {shown}  {{")), "{line}");
    watch.signal("INT");
    assert_eq!(watch.status(), 0);
    place.ok(&["update", "things", id, r#"{"v":2}"#]);
    place.ok_on("other", &["update", "things", id, r#"{"v":3}"#]);
    place.ok(&sync);
    place.ok_on("other", &sync);
    let list = place.ok_on("other", &["conflicts"]);
    let why = place.ok_on("other", &["conflicts", "show", "1"]);
    place.ok(&["delete", "things", id]);
    let gone = place.run(&["get", "things", id]);
    let gone = gone.failed(1, "document-deleted").err;
    for text in [list, why, gone] {
        assert!(text.contains(&format!("things/{shown}")), "{text}");
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(obeyed), "{text:?}");
    }
}
