//! `pocket backup`, `restore` and `compact`, of devices and of servers, stopped and running.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::{Place, exists};

fn numbered(count: u32) -> String {
    (0..count).fold(String::new(), |lines, n| {
        lines + &format!("{{\"_id\":\"{n:05}\",\"n\":{n}}}\n")
    })
}

#[test]
fn a_live_server_is_backed_up_and_a_device_reads_what_was_restored() {
    let place = Place::new();
    let lines = numbered(3_000);
    place.file("lines", &lines);
    let (mut server, url) = place.serve("server", &[]);
    place.ok(&["import", "things", "lines"]);
    place.ok(&["sync", "--server", &url, "--once"]);
    let said = place.ok_on("server", &["backup", "copy"]);
    assert!(said.contains("of a server"), "{said}");
    let mode = std::fs::metadata(place.path("copy"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0);
    // What comes later is not in it, and the server goes on.
    place.ok(&["insert", "things", r#"{"_id":"later"}"#]);
    place.ok(&["sync", "--server", &url, "--once"]);
    server.signal("TERM");
    assert_eq!(server.status(), 0);
    place.ok_on("restored", &["restore", "copy"]);
    let (_server, url) = place.serve("restored", &[]);
    place.ok_on("fresh", &["sync", "--server", &url, "--once"]);
    assert_eq!(place.ok_on("fresh", &["export", "things"]), lines);
}

#[test]
fn a_backup_of_a_server_that_is_being_written_to_is_one_moment_of_it() {
    for storage in ["redb", "sled"] {
        let place = Place::new();
        let lines = numbered(4_000);
        let before = numbered(100);
        place.file("before", &before);
        place.file("rest", &lines[before.len()..]);
        let (mut server, url) = place.serve("server", &["--storage", storage]);
        place.ok(&["import", "things", "before"]);
        place.ok(&["sync", "--server", &url, "--once"]);
        place.ok(&["import", "things", "rest"]);
        let mut sync = place.start("db", &["sync", "--server", &url]);
        for copy in ["first", "second", "third"] {
            place.ok_on("server", &["backup", copy]);
        }
        sync.line_with("idle");
        sync.signal("TERM");
        server.signal("TERM");
        assert_eq!((sync.status(), server.status()), (0, 0));
        let mut last = 100;
        for copy in ["first", "second", "third"] {
            let (restored, device) = (format!("{copy}-server"), format!("{copy}-device"));
            place.ok_on(&restored, &["restore", copy]);
            let (_server, url) = place.serve(&restored, &[]);
            place.ok_on(&device, &["sync", "--server", &url, "--once"]);
            let held = place.ok_on(&device, &["export", "things"]);
            // A device sends in its order, so each moment of the server holds the first so many.
            assert!(
                lines.starts_with(&held),
                "{storage}, {copy}: there is a hole"
            );
            let count = held.lines().count();
            assert!(count >= last, "{storage}, {copy}: {count} after {last}");
            last = count;
        }
    }
}

#[test]
fn a_device_is_backed_up_while_it_syncs_and_comes_back_whole() {
    let place = Place::new();
    place.file("lines", numbered(500));
    place.ok(&["import", "things", "lines"]);
    let mut holder = place.start("db", &["sync", "--server", "ws://127.0.0.1:1"]);
    holder.line_with("offline");
    let said = place.ok(&["backup", "copy", "--json"]);
    assert!(said.contains("\"role\":\"client\""), "{said}");
    let here = place.ok(&["export", "things", "--meta"]);
    let pending = place.ok(&["status"]);
    place.ok_on("restored", &["restore", "copy", "--storage", "sled"]);
    assert_eq!(
        place.ok_on("restored", &["export", "things", "--meta"]),
        here
    );
    let restored = place.ok_on("restored", &["status"]);
    assert_eq!(pending.lines().nth(1), restored.lines().nth(1));
    assert!(exists(&place.path("restored").join("store.sled")));
}

#[test]
fn a_backup_goes_through_a_pipe_and_needs_no_file() {
    let place = Place::new();
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    for held in [false, true] {
        let mut holder = held.then(|| place.start("db", &["watch", "things"]));
        if let Some(holder) = &mut holder {
            holder.note_with("without --server");
        }
        let mut backup = place.command("db", &["backup", "-"]);
        let mut backup = backup.stdout(Stdio::piped()).spawn().unwrap();
        let to = if held { "second" } else { "first" };
        let mut restore = place.command(to, &["restore", "-"]);
        let restored = restore
            .stdin(backup.stdout.take().unwrap())
            .output()
            .unwrap();
        assert!(restored.status.success(), "{restored:?}");
        assert!(backup.wait().unwrap().success());
        assert_eq!(place.ok_on(to, &["find", "things"]), "{\"_id\":\"a\"}\n");
    }
}

#[test]
fn what_is_there_is_never_overwritten_and_what_is_damaged_never_restored() {
    let place = Place::new();
    place.run(&["backup", "copy"]).failed(1, "not-found");
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    place.file("copy", "mine");
    place.run(&["backup", "copy"]).failed(1, "io");
    assert_eq!(std::fs::read(place.path("copy")).unwrap(), b"mine");
    place
        .run_on("new", &["restore", "copy"])
        .failed(1, "corrupt");
    place.run_on("new", &["restore", "none"]).failed(1, "io");
    place.ok(&["backup", "good"]);
    place.run(&["restore", "good"]).failed(1, "in-use");
    let good = std::fs::read(place.path("good")).unwrap();
    place.file("cut", &good[..good.len() - 1]);
    place
        .run_on("new", &["restore", "cut"])
        .failed(1, "corrupt");
    assert!(!exists(&place.path("new")));
    let left: Vec<_> = std::fs::read_dir(place.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    place.ok_on("new", &["restore", "good"]);
}

#[test]
fn a_compacted_store_is_smaller_and_holds_the_same() {
    let place = Place::new();
    let long = "x".repeat(1_000);
    let lines = (0..4_000).fold(String::new(), |lines, n| {
        lines + &format!("{{\"_id\":\"{n:05}\",\"long\":\"{long}\"}}\n")
    });
    place.file("lines", lines);
    place.ok(&["import", "things", "lines", "--local-only"]);
    let ids: Vec<String> = (400..4_000).map(|n| format!("{n:05}")).collect();
    for ids in ids.chunks(900) {
        let mut words = vec!["delete", "things"];
        words.extend(ids.iter().map(String::as_str));
        place.ok(&words);
    }
    let before = place.ok(&["export", "things", "--meta"]);
    let store = place.path("db").join("store.redb");
    let size = || std::fs::metadata(&store).unwrap().len();
    let large = size();
    place.ok(&["compact"]);
    assert!(size() < large, "{} is not below {large}", size());
    assert_eq!(place.ok(&["export", "things", "--meta"]), before);
    let mut holder = place.start("db", &["watch", "things"]);
    holder.note_with("without --server");
    place.run(&["compact"]).failed(1, "in-use");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.ok(&["completions", shell]);
        assert!(
            script.contains("backup") && script.contains("server"),
            "{shell}"
        );
    }
    assert!(place.ok(&["man"]).contains(".TH pocket 1"));
    place.ok(&["man", "pages"]);
    for command in ["serve", "sync", "backup", "find", "index-create", "shell"] {
        let page = place.path("pages").join(format!("pocket-{command}.1"));
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("\\-\\-db"), "{page}");
    }
    let find = std::fs::read_to_string(place.path("pages/pocket-find.1")).unwrap();
    assert!(find.contains("pocket find cities"), "{find}");
    // Each page that another one refers to is there.
    let mut references = 0;
    for page in std::fs::read_dir(place.path("pages")).unwrap() {
        let text = std::fs::read_to_string(page.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.starts_with("pocket\\-")) {
            let Some(name) = line.strip_suffix("(1)") else {
                continue;
            };
            let name = name.replace("\\-", "-");
            let there = place.path("pages").join(format!("{name}.1"));
            assert!(exists(&there), "{name}");
            references += 1;
        }
    }
    assert!(references > 25, "{references}");
}

#[test]
fn the_help_of_backup_restore_and_compact_says_what_must_run_or_be_stopped() {
    let place = Place::new();
    for (command, told) in [
        ("backup", "It needs nothing to be stopped"),
        ("restore", "stop the server or the sync"),
        ("compact", "It needs a stopped database"),
    ] {
        let help = place.ok(&[command, "--help"]);
        assert!(help.contains(told), "{help}");
    }
}

/// A running server made its copy in /tmp, which is often small and in memory.
#[test]
fn a_backup_needs_no_room_but_beside_its_target_and_beside_the_store() {
    for storage in ["redb", "sled"] {
        let place = Place::new();
        let words = ["serve", "--listen", "127.0.0.1:0", "--storage", storage];
        let mut server = place.command("server", &words);
        server.env("TMPDIR", place.path("nowhere"));
        let mut server = common::Running::start(server);
        let line = server.line();
        let url = line.strip_prefix("listening on ").unwrap();
        place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
        place.ok(&["sync", "--server", url, "--once"]);
        place.ok_on("server", &["backup", "copy"]);
        let piped = place.command("server", &["backup", "-"]).output().unwrap();
        assert!(piped.status.success(), "{piped:?}");
        place.file("piped", piped.stdout);
        for copy in ["copy", "piped"] {
            place.ok_on(&format!("{copy}-server"), &["restore", copy]);
        }
        let left: Vec<_> = std::fs::read_dir(place.path("server"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_str().unwrap().starts_with(".tmp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
