//! `shell` with a script on stdin.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Place, exists};

#[test]
fn a_script_runs_line_by_line_on_one_database() {
    let place = Place::new();
    let cities = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/data/cities.jsonl"
    );
    let script = format!(
        "# what a script may have\n\
         import cities '{cities}'\n\
         \n\
         index create cities countrycode population:desc   # and behind a line\n\
         find cities --where countrycode=\"AT\" --sort population:desc --limit 2 --include name\n\
         find cities --where countrycode=AT --explain\n\
         insert todos '{{\"_id\":\"a\",\"title\":\"Buy milk\"}}'\n\
         update todos a '{{\"done\": true}}'\n\
         --json count cities\n\
         exit\n\
         count nothing-is-run-behind\n"
    );
    let printed = place.feed(&["shell"], script.as_bytes()).ok();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(
        lines[0].starts_with("index countrycode_1_population_-1"),
        "{printed}"
    );
    assert_eq!(lines[1], r#"{"_id":"2778067","name":"Graz"}"#);
    assert_eq!(lines[2], r#"{"_id":"12196319","name":"Währing"}"#);
    assert!(
        printed.contains("index countrycode_1_population_-1: "),
        "{printed}"
    );
    let end = [
        "a",
        r#"{"_id":"a","title":"Buy milk","done":true}"#,
        r#"{"collection":"cities","count":3103}"#,
    ];
    assert!(lines.ends_with(&end), "{printed}");
    assert!(!exists(&place.path("db").join("SOCKET")));
    assert_eq!(place.ok(&["count", "todos"]), "1\n");
}

#[test]
fn a_script_may_end_its_lines_as_other_systems_do() {
    let place = Place::new();
    let script =
        b"insert todos '{\"_id\":\"a\"}'\r\n\r\n# nothing\r\ncount todos\r\nexit\r\nnonsense\r\n";
    assert_eq!(place.feed(&["shell"], script).ok(), "a\n1\n");
}

#[test]
fn a_line_that_is_no_text_is_one_error() {
    let place = Place::new();
    let script = b"count todos\nget todos \xff\ncount todos\n";
    let outcome = place.feed(&["shell", "--keep-going"], script);
    assert_eq!((outcome.status, outcome.out.as_str()), (1, "0\n0\n"));
    assert!(
        outcome.err.contains("error[usage]: line 2: "),
        "{outcome:?}"
    );
    let outcome = place.feed(&["shell"], script);
    assert_eq!(outcome.out, "0\n");
    outcome.failed(2, "usage");
}

#[test]
fn the_first_line_that_fails_ends_a_script() {
    let place = Place::new();
    let script =
        b"insert todos '{\"_id\":\"a\"}'\nget todos none\ninsert todos '{\"_id\":\"b\"}'\n";
    let outcome = place.feed(&["shell"], script);
    assert_eq!(outcome.out, "a\n");
    let outcome = outcome.failed(1, "document-not-found");
    assert!(outcome.err.contains("line 2: "), "{outcome:?}");
    for (line, code) in [
        ("get todos", "usage"),
        ("find todos --filter '{\"a\":{\"$no\":1}}'", "bad-query"),
        ("find todos --where 'a=1", "usage"),
        ("nonsense", "usage"),
        ("serve", "usage"),
        ("shell", "usage"),
        ("count todos --db elsewhere", "usage"),
    ] {
        let outcome = place.feed(&["shell"], line.as_bytes()).failed(2, code);
        assert!(outcome.err.contains("line 1: "), "{outcome:?}");
        let outcome = place.feed(&["--json", "shell"], line.as_bytes());
        let told: serde_json::Value = serde_json::from_str(outcome.err.trim_end()).unwrap();
        assert_eq!((outcome.status, &told["code"]), (2, &code.into()));
    }
    assert_eq!(place.ok(&["count", "todos"]), "1\n");
}

#[test]
fn a_script_that_keeps_going_runs_every_line_and_says_what_failed() {
    let place = Place::new();
    let script = b"count todos\nget todos none\nnonsense\ninsert todos '{\"_id\":\"b\"}'\n";
    let outcome = place.feed(&["shell", "--keep-going"], script);
    assert_eq!((outcome.status, outcome.out.as_str()), (1, "0\nb\n"));
    assert!(
        outcome.err.contains("error[document-not-found]: line 2: "),
        "{outcome:?}"
    );
    assert!(
        outcome.err.contains("error[usage]: line 3: "),
        "{outcome:?}"
    );
    assert!(outcome.err.ends_with("2 lines failed\n"), "{outcome:?}");
    let outcome = place.feed(&["--json", "shell", "--keep-going"], b"count todos\n");
    assert_eq!(outcome.ok(), "{\"collection\":\"todos\",\"count\":1}\n");
}

#[test]
fn a_line_without_an_end_is_refused_and_the_next_one_is_run() {
    let place = Place::new();
    let mut script = b"count todos ".to_vec();
    script.resize(64 * 1024 * 1024 + 100, b'x');
    script.extend_from_slice(b"\ncount todos\n");
    let outcome = place.feed(&["shell", "--keep-going"], &script);
    assert_eq!((outcome.status, outcome.out.as_str()), (1, "0\n"));
    assert!(
        outcome
            .err
            .contains("error[usage]: line 1: the line has more than 67108864 bytes"),
        "{outcome:?}"
    );
    let outcome = place.feed(&["shell"], &script).failed(2, "usage");
    assert_eq!(outcome.out, "");
}

#[test]
fn help_lists_the_commands_of_the_shell_and_explains_one() {
    let place = Place::new();
    let printed = place.feed(&["shell"], b"help\n").ok();
    assert!(
        ["find", "index", "expire"]
            .iter()
            .all(|name| printed.contains(&format!("\n  {name} "))),
        "{printed}"
    );
    assert!(
        printed.contains("\n  dump ") && !printed.contains("\n  serve "),
        "{printed}"
    );
    for line in ["help find", "find --help"] {
        let printed = place.feed(&["shell"], line.as_bytes()).ok();
        assert!(printed.contains("--where <FIELD=JSON>"), "{printed}");
    }
}

#[test]
fn other_commands_and_other_shells_reach_the_database_of_a_shell() {
    let place = Place::new();
    let mut shell = place.start("db", &["shell"]);
    shell.say("insert todos '{\"_id\":\"a\"}'\n");
    assert_eq!(shell.line(), "a");
    assert_eq!(place.ok(&["insert", "todos", r#"{"_id":"b"}"#]), "b\n");
    let file = place.file("lines", "{\"_id\":\"c\"}\n");
    let script = format!("import todos {file}\ncount todos\nindex create todos due\n");
    let printed = place.feed(&["shell"], script.as_bytes()).ok();
    assert!(
        printed.starts_with("3\nindex due_1 of todos is ready"),
        "{printed}"
    );
    let outcome = place.feed(&["shell"], b"count todos\nget todos none\ncount todos\n");
    assert_eq!(outcome.out, "3\n");
    let outcome = outcome.failed(1, "document-not-found");
    assert!(outcome.err.contains("line 2 failed"), "{outcome:?}");
    shell.say("find todos\n");
    for id in ["a", "b", "c"] {
        assert_eq!(shell.line(), format!("{{\"_id\":\"{id}\"}}"));
    }
    shell.say("exit\n");
    assert_eq!(shell.status(), 0);
    assert_eq!(place.ok(&["count", "todos"]), "3\n");
}

#[test]
fn a_shell_takes_the_database_over_when_its_holder_has_ended() {
    let place = Place::new();
    let mut holder = place.start("db", &["shell"]);
    holder.say("insert todos '{\"_id\":\"a\"}'\n");
    holder.line();
    let mut shell = place.start("db", &["shell"]);
    shell.say("count todos\n");
    assert_eq!(shell.line(), "1");
    holder.say("exit\n");
    assert_eq!(holder.status(), 0);
    shell.say("insert todos '{\"_id\":\"b\"}'\n");
    assert_eq!(shell.line(), "b");
    assert_eq!(place.ok(&["count", "todos"]), "2\n");
    shell.say("exit\n");
    assert_eq!(shell.status(), 0);
}

#[test]
fn a_signal_ends_a_script() {
    let place = Place::new();
    place.ok(&["insert", "todos", r#"{"_id":"a"}"#]);
    let mut shell = place.start("db", &["shell"]);
    shell.say("find todos --live\ncount todos\n");
    assert_eq!(shell.line(), r#"{"_id":"a"}"#);
    shell.signal("INT");
    assert_eq!(shell.status(), 1);
    assert!(shell.line_soon().is_none());
    assert!(shell.notes().contains("error[interrupted]: line 1: "));
    assert_eq!(place.ok(&["count", "todos"]), "1\n");
}
