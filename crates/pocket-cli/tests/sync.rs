//! `sync`, `watch`, `status` and `conflicts` against a real server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::net::TcpListener;
use std::time::Duration;

use common::{Place, exists, program};

/// A command ends within two seconds of a signal; the rest is for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// A server that takes connections and never says a word.
fn silent_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// An address where nobody listens.
fn nobody() -> String {
    // Both are closed again when this returns.
    silent_server().1
}

#[test]
fn two_devices_meet_through_a_server() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    place.ok(&["insert", "things", r#"{"_id":"a","n":1}"#, r#"{"_id":"b"}"#]);
    place.ok(&["insert", "mine", "{}", "--local-only"]);
    let out = place.ok(&["sync", "--server", &url, "--once", "--json"]);
    assert!(out.contains(r#""pushed":2,"pulled":0"#), "{out}");
    assert_eq!(out.lines().count(), 1);
    let out = place.ok_on("other", &["--json", "sync", "--server", &url, "--once"]);
    assert!(out.contains(r#""pulled":2"#), "{out}");
    assert_eq!(
        place.ok_on("other", &["export", "things"]),
        place.ok(&["export", "things"])
    );
    assert_eq!(place.ok_on("other", &["count", "mine"]), "0\n");
    // A delete travels as well, and a second pass has nothing to do.
    place.ok_on("other", &["delete", "things", "b"]);
    place.ok_on("other", &["sync", "--server", &url, "--once"]);
    place.ok(&["sync", "--server", &url, "--once"]);
    assert_eq!(place.ok(&["find", "things"]), "{\"_id\":\"a\",\"n\":1}\n");
    let out = place.ok(&["sync", "--server", &url, "--once"]);
    assert!(
        out.starts_with("in step with ") && out.contains("0 sent, 0 received"),
        "{out}"
    );
}

#[test]
fn status_tells_what_is_pending_and_how_far_sync_is() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    place.ok(&["insert", "things", "{}", "{}"]);
    place.ok(&["sync", "--server", &url, "--once"]);
    place.ok(&["insert", "things", "{}"]);
    let status = place.ok(&["status", "--json"]);
    assert_eq!(status.lines().count(), 1);
    for part in [
        r#""role":"client","storage":"redb""#,
        r#""pending":1,"#,
        r#""open_conflicts":0,"#,
        r#""namespace":"default","user":"anonymous""#,
        r#""seq":2,"joining":[]"#,
        r#"{"name":"things","sync":true,"documents":3}"#,
    ] {
        assert!(status.contains(part), "{part} in {status}");
    }
    assert!(!status.contains(r#""last_sync_at":null"#), "{status}");
    let text = place.ok(&["status"]);
    assert!(
        text.contains("user anonymous") && !text.contains("never"),
        "{text}"
    );
}

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
fn once_gives_up_after_the_timeout_when_the_server_is_away_or_silent() {
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    let (_listener, silent) = silent_server();
    for url in [nobody(), silent] {
        let outcome = place.run(&["sync", "--server", &url, "--once", "--timeout", "0.5"]);
        let outcome = outcome.failed(1, "timeout");
        assert!(outcome.err.contains(&url), "{outcome:?}");
    }
    assert!(place.ok(&["status", "--json"]).contains(r#""pending":1,"#));
}

#[test]
fn a_signal_ends_every_sync_soon_also_when_the_server_is_away_or_silent() {
    let place = Place::new();
    let (_listener, silent) = silent_server();
    for (url, words, status) in [
        (nobody(), vec!["sync"], 0),
        (silent.clone(), vec!["sync", "--watch"], 0),
        (silent.clone(), vec!["watch", "things"], 0),
        (nobody(), vec!["sync", "--once"], 1),
        (silent.clone(), vec!["sync", "--once"], 1),
    ] {
        let mut words = words;
        words.extend(["--server", &url]);
        let mut sync = place.start("db", &words);
        // What it prints first depends on the command; its id in the lock shows that it has begun.
        let (lock, id) = (place.path("db").join("LOCK"), sync.pid().to_string());
        let holds = || std::fs::read_to_string(&lock).is_ok_and(|holder| holder.trim() == id);
        while !sync.has_ended() && !holds() {
            std::thread::yield_now();
        }
        sync.signal("TERM");
        assert_eq!(sync.status_within(SOON), status, "{words:?}");
        if status == 1 {
            assert!(sync.notes().contains("error[interrupted]: "));
        }
    }
}

#[test]
fn a_second_signal_ends_a_watch_too() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let mut sync = place.start("db", &["sync", "--server", &url]);
    sync.line_with("idle");
    sync.signal("INT");
    sync.signal("INT");
    // Whether the first was enough depends on who is faster; either way it has ended.
    assert!([0, 1].contains(&sync.status_within(SOON)));
}

#[test]
fn a_database_belongs_to_its_first_server_and_to_no_address() {
    let place = Place::new();
    let (mut server, url) = place.serve("server", &[]);
    place.ok(&["insert", "things", "{}"]);
    place.ok(&["sync", "--server", &url, "--once"]);
    server.signal("TERM");
    assert_eq!(server.status(), 0);
    // The same server on another port.
    let (_server, url) = place.serve("server", &[]);
    place.ok(&["insert", "things", "{}"]);
    place.ok(&["sync", "--server", &url, "--once"]);
    let (_stranger, other) = place.serve("stranger", &[]);
    place.ok(&["insert", "things", "{}"]);
    for words in [vec!["--once"], vec!["--watch"]] {
        let words = [vec!["sync", "--server", &other], words].concat();
        place.run(&words).failed(1, "other-lineage");
    }
    let words = ["sync", "--server", &url, "--once", "--namespace", "another"];
    let outcome = place.run(&words);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(place.ok(&["status", "--json"]).contains(r#""pending":1,"#));
    place.ok(&["sync", "--server", &url, "--once"]);
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_made() {
    let place = Place::new();
    let refused = |words: &[&str], status, code: &str| {
        let words = [&["sync", "--once", "--server"], words].concat();
        place.run(&words).failed(status, code)
    };
    refused(&["nonsense"], 1, "config");
    refused(
        &["ws://example.invalid", "--token", "t"],
        1,
        "plaintext-refused",
    );
    refused(
        &["ws://127.0.0.1:1", "--collection", "_no"],
        1,
        "bad-collection-name",
    );
    refused(&["ws://127.0.0.1:1", "--timeout", "never"], 2, "usage");
    refused(&["ws://127.0.0.1:1", "--watch"], 2, "usage");
    assert!(!exists(&place.path("db")));
    let words = ["ws://127.0.0.1:1", "--token", "t", "--timeout", "0"];
    refused(&words, 1, "timeout");
}

#[test]
fn the_token_is_read_from_the_environment_too() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &["--token", "sesame=ann"]);
    let mut sync = program();
    sync.env("POCKET_TOKEN", "sesame")
        .arg("--db")
        .arg(place.path("db"));
    let output = sync
        .args(["sync", "--once", "--server", &url])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(place.ok(&["status", "--json"]).contains(r#""user":"ann""#));
    assert!(!place.ok(&["sync", "--help"]).contains("sesame"));
}

#[test]
fn collections_and_directions_can_be_chosen() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let once = ["sync", "--once", "--server", &url];
    place.ok(&["insert", "one", "{}"]);
    place.ok(&["insert", "two", "{}"]);
    place.ok(&["insert", "three", "{}"]);
    // What syncs is not cut off in passing.
    let outcome = place.run(&[&once[..], &["--local-only", "three"]].concat());
    let told = outcome.failed(1, "config");
    let told = told.err;
    assert!(
        told.contains("1 change") && told.contains("pocket collections set three --local-only"),
        "{told}"
    );
    let out = place.ok(&["collections", "set", "three", "--local-only"]);
    assert!(out.contains("1 change will not be sent"), "{out}");
    place.ok(&[
        &once[..],
        &["--local-only", "three", "--local-only", "four"],
    ]
    .concat());
    let all = place.ok(&["collections", "--json"]);
    for line in [
        r#"{"name":"three","sync":false,"documents":1,"pending":0}"#,
        r#"{"name":"two","sync":true,"documents":1,"pending":0}"#,
        r#"{"name":"four","sync":false,"documents":0,"pending":0}"#,
    ] {
        assert!(all.lines().any(|found| found == line), "{line} in {all}");
    }
    // A collection that joins later is read from the start.
    place.ok_on("other", &[&once[..], &["--collection", "one"]].concat());
    assert_eq!(place.ok_on("other", &["count", "one"]), "1\n");
    assert_eq!(place.ok_on("other", &["count", "two"]), "0\n");
    let both = [&once[..], &["--collection", "one", "--collection", "two"]].concat();
    place.ok_on("other", &both);
    for (collection, count) in [("two", "1\n"), ("three", "0\n")] {
        assert_eq!(place.ok_on("other", &["count", collection]), count);
    }
    let outcome = place.run(&[&once[..], &["--collection", "three"]].concat());
    outcome.failed(1, "config");
    // Only one way.
    place.ok_on("other", &["insert", "one", r#"{"_id":"theirs"}"#]);
    let out = place.ok_on("other", &[&once[..], &["--direction", "pull"]].concat());
    assert!(
        out.contains("1 change here is not sent (direction pull)"),
        "{out}"
    );
    assert!(
        place
            .ok_on("other", &["status", "--json"])
            .contains(r#""pending":1,"#)
    );
    place.ok_on("other", &[&once[..], &["--direction", "push"]].concat());
    assert!(
        place
            .ok_on("other", &["status", "--json"])
            .contains(r#""pending":0,"#)
    );
    place.ok(&[&once[..], &["--direction", "pull"]].concat());
    assert_eq!(place.ok(&["count", "one"]), "2\n");
}

#[test]
fn watch_prints_each_change_of_its_collection_as_it_comes() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let mut watch = place.start("db", &["watch", "things", "--server", &url]);
    let mut json = place.start("json", &["watch", "things", "--server", &url, "--json"]);
    watch.note_with("idle");
    json.note_with("idle");
    place.ok_on("other", &["insert", "noise", "{}"]);
    place.ok_on("other", &["insert", "things", r#"{"_id":"a","n":1}"#]);
    place.ok_on("other", &["sync", "--once", "--server", &url]);
    let line = watch.line();
    assert!(
        line.contains("  remote  insert  a  {\"_id\":\"a\",\"n\":1}"),
        "{line}"
    );
    let line = json.line();
    assert!(
        line.starts_with(
            r#"{"operation":"insert","collection":"things","_id":"a","origin":"remote""#
        ),
        "{line}"
    );
    place.ok_on("other", &["update", "things", "a", r#"{"n":2}"#]);
    place.ok_on("other", &["sync", "--once", "--server", &url]);
    assert!(watch.line().contains("update  a"));
    place.ok_on("other", &["delete", "things", "a"]);
    place.ok_on("other", &["sync", "--once", "--server", &url]);
    assert!(watch.line().ends_with("  remote  delete  a"));
    watch.signal("INT");
    assert_eq!(watch.status_within(SOON), 0);
}

#[test]
fn options_come_from_a_file_and_the_command_line_goes_before_it() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    let toml = format!("server_url = \"{url}\"\ndirection = \"pull\"\nbatch_size = 7\n");
    let toml = place.file("sync.toml", toml);
    let pass = ["sync", "--config", &toml, "--once", "--json"];
    let out = place.ok(&pass);
    assert!(out.contains(r#""pushed":0"#), "it only pulls: {out}");
    let out = place.ok(&[&pass[..], &["--direction", "both"]].concat());
    assert!(out.contains(r#""pushed":1"#), "{out}");
    let json = place.file(
        "sync.json",
        r#"{"server_url":"ws://127.0.0.1:1","direction":"push"}"#,
    );
    let words = [
        "sync", "--config", &json, "--server", &url, "--once", "--json",
    ];
    let out = place.ok_on("third", &words);
    assert!(out.contains(r#""pulled":0"#), "it only pushes: {out}");

    for (name, text, named) in [
        (
            "a.toml",
            "server_url = \"ws://h\"\nretry_dealy = 5\n",
            "retry_dealy",
        ),
        (
            "b.json",
            r#"{"server_url":"ws://h","conflict_strategy":"mine"}"#,
            "mine",
        ),
        (
            "c.toml",
            "server_url = \"ws://h\"\nretry_delay = 0\n",
            "retry_delay",
        ),
    ] {
        let file = place.file(name, text);
        let outcome = place.run(&["sync", "--config", &file, "--once"]);
        assert_eq!(outcome.status, 1, "{outcome:?}");
        assert!(outcome.err.contains("error[config]"), "{outcome:?}");
        assert!(outcome.err.contains(named), "{outcome:?}");
    }
    let odd = place.file("sync.yaml", "");
    assert_eq!(place.run(&["sync", "--config", &odd, "--once"]).status, 2);
}

#[test]
fn what_a_choice_of_collections_leaves_out_stays_here_and_is_told() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let public = ["sync", "--once", "--server", &url, "--collection", "public"];
    place.ok(&["insert", "private", r#"{"_id":"p"}"#]);
    place.ok(&["insert", "public", r#"{"_id":"a"}"#]);
    let out = place.ok(&public);
    assert!(
        out.contains("1 change of other collections that stays here") && out.contains("1 sent"),
        "{out}"
    );
    place.ok_on("other", &["sync", "--once", "--server", &url]);
    assert_eq!(place.ok_on("other", &["count", "public"]), "1\n");
    assert_eq!(place.ok_on("other", &["count", "private"]), "0\n");
    let status = place.ok(&["status", "--json"]);
    assert!(status.contains(r#""pending":1,"left_out":1,"#), "{status}");
    assert!(
        place
            .ok(&["status"])
            .contains("1 change, 1 of them in collections")
    );
    place.ok(&["sync", "--once", "--server", &url]);
    place.ok_on("other", &["sync", "--once", "--server", &url]);
    assert_eq!(place.ok_on("other", &["count", "private"]), "1\n");
}

/// The last line said `syncing` and one place left to read, right after a pass that was complete.
#[test]
fn the_last_word_of_a_pass_is_that_it_is_complete_on_both_transports() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    for (number, url) in [url.clone(), url.replace("ws://", "http://")]
        .iter()
        .enumerate()
    {
        place.ok(&["insert", "things", "{}"]);
        let out = place.ok(&["sync", "--server", url, "--once", "--json"]);
        assert!(out.starts_with(r#"{"status":"idle""#), "{out}");
        let place_read = format!(r#""push_left":0,"pull_left":0,"checkpoint":{}"#, number + 1);
        assert!(out.contains(&place_read), "{out}");
        assert!(!place.ok(&["status"]).contains("never"));
    }
}

#[test]
fn another_namespace_is_told_from_another_server() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let once = ["sync", "--once", "--server", &url];
    place.ok(&once);
    let outcome = place.run(&[&once[..], &["--namespace", "elsewhere"]].concat());
    outcome.failed(1, "other-namespace");
}

#[test]
fn what_no_waiting_mends_ends_a_pass_at_once() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let wrong = url.replace("/sync", "/elsewhere");
    let tls = url.replace("ws://", "wss://");
    for (url, hint) in [
        (wrong.clone(), "check the path"),
        (wrong.replace("ws://", "http://"), "check the path"),
        (tls.clone(), "Try ws://"),
        (tls.replace("wss://", "https://"), "Try http://"),
    ] {
        let outcome = place.run(&["sync", "--once", "--timeout", "600", "--server", &url]);
        let told = outcome.failed(1, "connect").err;
        assert!(told.contains(hint), "{url}: {told}");
    }
    let outcome = place.run(&["sync", "--once", "--server", "127.0.0.1:7700"]);
    let told = outcome.failed(1, "config").err;
    assert!(told.contains("`ws://127.0.0.1:7700`"), "{told}");
}
