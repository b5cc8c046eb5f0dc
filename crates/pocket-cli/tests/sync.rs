//! `sync`, `watch` and `status` against a real server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::net::TcpListener;
use std::time::Duration;

use common::Place;

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
fn once_gives_up_after_the_timeout_when_the_server_is_away_or_silent() {
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    let (_listener, silent) = silent_server();
    for (url, is_told) in [(nobody(), true), (silent, false)] {
        let waits = format!("waiting for {url}: [connect]");
        let part = if is_told { &waits } else { &url };
        let outcome = place.gives_up("db", &["--server", &url], part);
        assert!(outcome.err.contains(&url), "{outcome:?}");
        let times = outcome.err.matches(&waits).count();
        assert_eq!(times, usize::from(is_told), "{outcome:?}");
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

#[test]
fn a_pass_whose_changes_were_refused_is_complete_and_ends_with_a_status_of_its_own() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &["--document-bytes", "1000"]);
    let large = format!(r#"{{"_id":"large","text":"{}"}}"#, "x".repeat(2_000));
    place.ok(&["insert", "things", &large, r#"{"_id":"small"}"#]);
    let once = ["sync", "--server", &url, "--once"];
    let outcome = place.run(&once).failed(3, "refused");
    assert!(outcome.out.contains("in step with"), "{outcome:?}");
    assert!(outcome.err.contains("1 change"), "{outcome:?}");
    // It is told once, when it happens.
    place.ok(&once);
    place.ok(&["insert", "things", &large]);
    let json = place.run(&[&once[..], &["--json"]].concat());
    assert_eq!(json.status, 3, "{json:?}");
    assert!(json.out.contains(r#""refused":1"#), "{json:?}");
    assert!(json.err.contains(r#""code":"refused""#), "{json:?}");
}

#[test]
fn who_gives_a_token_to_a_server_without_any_is_told_that_nobody_looked_at_it() {
    let place = Place::new();
    let (_open, open) = place.serve("open", &[]);
    let (_locked, locked) = place.serve("locked", &["--token", "t=ann"]);
    let said = |db: &str, url: &str, token: &[&str]| {
        let once = ["sync", "--server", url, "--once"];
        let outcome = place.run_on(db, &[&once[..], token].concat());
        assert_eq!(outcome.status, 0, "{outcome:?}");
        outcome.err.contains("not looked at")
    };
    assert!(said("a", &open, &["--token", "t"]));
    assert!(!said("b", &open, &[]));
    assert!(!said("c", &locked, &["--token", "t"]));
    let mut watch = place.start("d", &["sync", "--server", &open, "--token", "t"]);
    watch.note_with("not looked at");
}

#[cfg(target_os = "linux")]
#[test]
fn a_hangup_ends_a_sync_that_stays_as_a_signal_does_unless_it_is_ignored() {
    let place = Place::new();
    let words = ["sync", "--server", "ws://127.0.0.1:1"];
    let program = place.command("db", &words);
    // Whoever runs the tests may ignore it, and children inherit that.
    let mut heeding = std::process::Command::new("env");
    heeding.arg("--default-signal=HUP");
    heeding.arg(program.get_program()).args(program.get_args());
    let mut sync = common::Running::start(heeding);
    sync.line_with("offline");
    sync.signal("HUP");
    assert_eq!(sync.status(), 0, "it has closed its database");

    let mut nohup = std::process::Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    nohup.arg(program.get_program()).args(program.get_args());
    let mut ignoring = common::Running::start(nohup);
    ignoring.line_with("offline");
    ignoring.signal("HUP");
    // It would have ended by that, and not have closed its database now.
    ignoring.signal("TERM");
    assert_eq!(ignoring.status(), 0);
}
