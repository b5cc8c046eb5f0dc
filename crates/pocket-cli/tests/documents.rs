//! `insert`, `get`, `update`, `delete`, `find` and `count`.
#![cfg(unix)]

mod common;

use common::{Place, exists, program};

#[test]
fn an_inserted_document_is_printed_as_it_was_written() {
    let place = Place::new();
    let document =
        r#"{"z":1.0,"_id":"a","a":{"y":[1,null,true],"x":"ü"},"n":18446744073709551615}"#;
    assert_eq!(place.ok(&["insert", "things", document]), "a\n");
    let expected =
        r#"{"_id":"a","z":1.0,"a":{"y":[1,null,true],"x":"ü"},"n":18446744073709551615}"#;
    for words in [
        vec!["get", "things", "a"],
        vec!["find", "things"],
        vec!["export", "things"],
        vec!["get", "things", "a", "--json"],
    ] {
        assert_eq!(place.ok(&words), format!("{expected}\n"), "{words:?}");
    }
}

#[test]
fn ids_are_made_and_printed_also_as_objects() {
    let place = Place::new();
    let out = place.ok(&["insert", "things", "{}", "{}", "--json"]);
    let ids: Vec<&str> = out.lines().collect();
    assert_eq!(ids.len(), 2);
    assert!(
        ids[0].starts_with(r#"{"_id":""#) && ids[0] < ids[1],
        "{out}"
    );
}

#[test]
fn insert_reads_json_lines_from_stdin_when_none_are_given() {
    let place = Place::new();
    let out = place.feed(&["insert", "things"], b"{\"_id\":\"a\"}\n\n{\"_id\":\"b\"}");
    assert_eq!(out.ok(), "a\nb\n");
    let outcome = place.feed(
        &["insert", "things"],
        b"{\"_id\":\"c\"}\nnonsense\n{\"_id\":\"d\"}\n",
    );
    let outcome = outcome.failed(1, "validation");
    assert!(outcome.err.contains("line 2"), "{outcome:?}");
    assert_eq!(outcome.out, "c\n");
    assert_eq!(place.ok(&["count", "things"]), "3\n");
}

#[test]
fn a_person_who_types_documents_sees_each_id_at_once() {
    let place = Place::new();
    let mut insert = place.start("db", &["insert", "things"]);
    for id in ["first", "second"] {
        insert.say(&format!("{{\"_id\":\"{id}\"}}\n"));
        assert_eq!(insert.line(), id);
    }
    insert.signal("INT");
    assert_eq!(insert.status(), 1);
    assert!(insert.notes().starts_with("error[interrupted]: "));
    assert_eq!(place.ok(&["count", "things"]), "2\n");
}

#[test]
fn insert_stores_all_arguments_or_none() {
    let place = Place::new();
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    let outcome = place.run(&["insert", "things", r#"{"_id":"b"}"#, r#"{"_id":"a"}"#]);
    outcome.failed(1, "document-exists");
    let outcome = place.run(&["insert", "things", r#"{"_id":"b"}"#, r#"{"_id":7}"#]);
    outcome.failed(1, "bad-id");
    assert_eq!(place.ok(&["count", "things"]), "1\n");
}

#[test]
fn nothing_is_made_for_a_document_that_is_none() {
    let place = Place::new();
    place
        .run(&["insert", "things", "[]"])
        .failed(1, "validation");
    place
        .run(&["insert", "things", "{"])
        .failed(1, "validation");
    assert!(!exists(&place.path("db")));
}

#[test]
fn update_sets_fields_and_keeps_the_others_in_place() {
    let place = Place::new();
    place.ok(&["insert", "things", r#"{"_id":"a","x":1,"y":2}"#]);
    let updated = place.ok(&["update", "things", "a", r#"{"z":[3],"x":null}"#]);
    assert_eq!(updated, "{\"_id\":\"a\",\"x\":null,\"y\":2,\"z\":[3]}\n");
    place
        .run(&["update", "things", "b", "{}"])
        .failed(1, "document-not-found");
    place
        .run(&["update", "others", "b", "{}"])
        .failed(1, "document-not-found");
    place
        .run(&["update", "things", "a", r#"{"_rev":1}"#])
        .failed(1, "validation");
}

#[test]
fn a_missing_document_and_a_deleted_one_exit_with_1() {
    let place = Place::new();
    place.ok(&[
        "insert",
        "things",
        r#"{"_id":"a"}"#,
        r#"{"_id":"b"}"#,
        r#"{"_id":"c"}"#,
    ]);
    place
        .run(&["delete", "things", "a", "x"])
        .failed(1, "document-not-found");
    assert_eq!(place.ok(&["count", "things"]), "3\n");
    assert_eq!(place.ok(&["delete", "things", "a", "b", "a"]), "a\nb\n");
    place
        .run(&["get", "things", "a"])
        .failed(1, "document-deleted");
    place
        .run(&["get", "things", "x"])
        .failed(1, "document-not-found");
    place
        .run(&["get", "others", "x"])
        .failed(1, "document-not-found");
    place
        .run(&["delete", "things", "a"])
        .failed(1, "document-deleted");
    place
        .run(&["delete", "others", "a"])
        .failed(1, "document-not-found");
    assert_eq!(
        place.ok(&["delete", "things", "c", "--hard", "--json"]),
        "{\"_id\":\"c\",\"deleted\":\"hard\"}\n"
    );
    place
        .run(&["get", "things", "c"])
        .failed(1, "document-not-found");
    place
        .run(&["delete", "things", "c", "--hard"])
        .failed(1, "document-not-found");
}

#[test]
fn find_filters_sorts_and_limits() {
    let place = Place::new();
    place.ok(&[
        "insert",
        "things",
        r#"{"_id":"a","n":2,"s":"x"}"#,
        r#"{"_id":"b","n":1.0,"s":"x"}"#,
        r#"{"_id":"c","n":1,"s":"y"}"#,
    ]);
    let ids = |words: &[&str]| -> String {
        let out = place.ok(&[&["find", "things"], words].concat());
        out.lines().map(|line| &line[8..9]).collect()
    };
    assert_eq!(ids(&[]), "abc");
    assert_eq!(ids(&["--where", r#"s="x""#]), "ab");
    assert_eq!(ids(&["--where", "n=1"]), "bc");
    assert_eq!(ids(&["--where", "n=1", "--where", r#"s="y""#]), "c");
    assert_eq!(ids(&["--where", r#"_id="b""#]), "b");
    assert_eq!(ids(&["--sort", "n:desc", "--limit", "2"]), "ab");
    assert_eq!(ids(&["--sort", "s:desc", "--sort", "n"]), "cba");
    assert_eq!(ids(&["--limit", "0"]), "");
    // A word that cannot be JSON is text.
    assert_eq!(ids(&["--where", "s=x"]), "ab");
    place
        .run(&["find", "things", "--where", "s='x'"])
        .failed(2, "usage");
    place
        .run(&["find", "things", "--where", "_rev=1"])
        .failed(2, "bad-query");
}

#[test]
fn a_collection_that_nobody_has_written_is_empty() {
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    assert_eq!(place.ok(&["find", "others"]), "");
    assert_eq!(place.ok(&["export", "others"]), "");
    assert_eq!(place.ok(&["count", "others"]), "0\n");
    assert_eq!(
        place.ok(&["count", "others", "--json"]),
        "{\"collection\":\"others\",\"count\":0}\n"
    );
    place
        .run(&["count", "no/such"])
        .failed(1, "bad-collection-name");
    place
        .run(&["insert", "_system", "{}"])
        .failed(1, "bad-collection-name");
}

#[test]
fn reading_where_no_database_is_says_what_makes_one_and_makes_none() {
    let place = Place::new();
    for words in [
        vec!["get", "c", "x"],
        vec!["find", "c"],
        vec!["count", "c"],
        vec!["export", "c"],
        vec!["update", "c", "x", "{}"],
        vec!["delete", "c", "x"],
        vec!["status"],
        vec!["conflicts"],
    ] {
        let outcome = place.run(&words).failed(1, "not-found");
        assert!(outcome.err.contains("pocket insert"), "{outcome:?}");
    }
    assert!(!exists(&place.path("db")));
}

#[test]
fn a_local_collection_stays_local_and_a_synced_one_does_not_become_so_by_accident() {
    let place = Place::new();
    place.ok(&["insert", "mine", "{}", "--local-only"]);
    place.ok(&["insert", "mine", "{}"]);
    place.ok(&["insert", "ours", "{}"]);
    place
        .run(&["insert", "ours", "{}", "--local-only"])
        .failed(1, "config");
    let status = place.ok(&["status", "--json"]);
    assert!(status.contains(r#""pending":1"#), "{status}");
    let collections = r#""collections":[{"name":"mine","sync":false,"documents":2},{"name":"ours","sync":true,"documents":1}]"#;
    assert!(status.contains(collections), "{status}");
    let status = place.ok(&["status"]);
    assert!(status.contains("pending      1 change\n"), "{status}");
    assert!(status.contains("no server yet"), "{status}");
    assert_eq!(place.ok(&["conflicts"]), "");
}

#[test]
fn errors_are_objects_for_programs() {
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    let outcome = place.run(&["get", "things", "x", "--json"]);
    assert_eq!((outcome.status, outcome.out.as_str()), (1, ""));
    let line = outcome.err.strip_suffix('\n').unwrap();
    assert!(
        line.starts_with(r#"{"code":"document-not-found","message":""#),
        "{line}"
    );
    assert!(!line.contains('\n'));
    for words in [vec!["--json", "nonsense"], vec!["get", "--json"]] {
        let outcome = place.run(&words);
        assert_eq!(outcome.status, 2);
        assert!(
            outcome.err.starts_with(r#"{"code":"usage","message":""#),
            "{outcome:?}"
        );
        assert_eq!(outcome.err.lines().count(), 1);
    }
}

#[test]
fn a_wrong_command_line_exits_with_2_and_help_with_0() {
    let place = Place::new();
    for words in [vec!["nonsense"], vec![], vec!["delete", "c"], vec!["find"]] {
        place.run(&words).failed(2, "usage");
    }
    for words in [["--help"], ["--version"]] {
        let output = program().args(words).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty());
    }
}

#[test]
fn help_says_what_each_word_is_and_fails_where_it_cannot_be_written() {
    let place = Place::new();
    for command in ["insert", "get", "update", "delete", "find", "count"] {
        let help = place.ok(&[command, "--help"]);
        for (word, about) in [("<COLLECTION>", "The collection"), ("<ID>", "`_id`")] {
            // On the same line, or below it.
            let described = help.split_once(&format!("\n  {word}"));
            if let Some((_, described)) = described {
                let lines: Vec<&str> = described.lines().take(2).collect();
                assert!(lines.concat().contains(about), "{command}: {help}");
            }
        }
        assert!(help.contains("<COLLECTION>"), "{help}");
    }
    #[cfg(target_os = "linux")]
    for words in [["get", "--help"], ["--help", "--json"]] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = place.command("db", &words).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("cannot write to stdout"), "{said}");
    }
}
