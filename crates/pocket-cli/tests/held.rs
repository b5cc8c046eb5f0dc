//! Commands on a database that a running `sync --watch`, `watch` or `serve` holds.
#![cfg(unix)]

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use common::{Outcome, Place, Running, exists};

/// A database that a `sync --watch` holds, in step with a server.
struct Held {
    place: Place,
    holder: Running,
    _server: Running,
    url: String,
}

impl Held {
    fn new() -> Self {
        Self::at("db")
    }

    fn at(db: &str) -> Self {
        let place = Place::new();
        let (server, url) = place.serve("server", &["--storage", "memory"]);
        place.ok_on(db, &["insert", "things", r#"{"_id":"first"}"#]);
        let mut holder = place.start(db, &["sync", "--server", &url, "--watch"]);
        holder.line_with("idle");
        Self {
            place,
            holder,
            _server: server,
            url,
        }
    }

    fn socket(&self) -> UnixStream {
        UnixStream::connect(self.place.path("db").join("SOCKET")).expect("a holder listens")
    }
}

/// What a device reads that syncs with this server.
fn read_elsewhere(place: &Place, url: &str, collection: &str) -> String {
    place.ok_on("elsewhere", &["sync", "--server", url, "--once"]);
    place.ok_on("elsewhere", &["export", collection])
}

/// JSON lines of so many documents.
fn numbered(count: u32) -> String {
    (0..count).fold(String::new(), |lines, n| {
        lines + &format!("{{\"_id\":\"{n:05}\",\"n\":{n}}}\n")
    })
}

#[test]
fn what_is_inserted_beside_a_sync_that_watches_reaches_the_server() {
    let mut held = Held::new();
    let place = &held.place;
    assert_eq!(
        place.ok(&["insert", "things", r#"{"_id":"a","n":1}"#]),
        "a\n"
    );
    assert_eq!(
        place
            .feed(&["insert", "things"], b"{\"_id\":\"b\"}\n\n{\"_id\":\"c\"}")
            .ok(),
        "b\nc\n"
    );
    assert_eq!(
        place.ok(&["get", "things", "a"]),
        "{\"_id\":\"a\",\"n\":1}\n"
    );
    assert_eq!(
        place.ok(&["update", "things", "a", r#"{"n":2}"#]),
        "{\"_id\":\"a\",\"n\":2}\n"
    );
    assert_eq!(place.ok(&["delete", "things", "b"]), "b\n");
    assert_eq!(
        place.ok(&["find", "things", "--where", "n=2"]),
        "{\"_id\":\"a\",\"n\":2}\n"
    );
    assert_eq!(
        place.ok(&["count", "things", "--json"]),
        "{\"collection\":\"things\",\"count\":3}\n"
    );
    let here = place.ok(&["export", "things"]);
    assert_eq!(
        here,
        "{\"_id\":\"a\",\"n\":2}\n{\"_id\":\"c\"}\n{\"_id\":\"first\"}\n"
    );
    held.holder.signal("TERM");
    assert_eq!(held.holder.status(), 0);
    assert!(!exists(&held.place.path("db").join("SOCKET")));
    held.place.ok(&["sync", "--server", &held.url, "--once"]);
    assert_eq!(read_elsewhere(&held.place, &held.url, "things"), here);
}

/// It was cut off as nonsense, and said to have been interrupted, each time.
#[test]
fn a_long_line_of_a_script_works_whoever_holds_the_database() {
    let held = Held::new();
    let text = "x".repeat(1_000_000);
    let line = format!("insert things '{{\"_id\":\"long\",\"text\":\"{text}\"}}'\n");
    for place in [&held.place, &Place::new()] {
        assert_eq!(place.feed(&["shell"], line.as_bytes()).ok(), "long\n");
        let read = place.ok(&["get", "things", "long"]);
        assert!(read.contains(&text), "it was cut");
    }
}

/// A command that another process ran had ended well before it heard that nothing of its output could be written, and so
/// an export, or a backup, onto a full disk was cut and said to be good.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_fails_a_command_that_is_passed_on() {
    let held = Held::new();
    for words in [
        &["export", "things"][..],
        &["find", "things"],
        &["backup", "-"],
    ] {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = held.place.command("db", words);
        let output = command.stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {told}");
        assert!(
            told.contains("error[io]: cannot write"),
            "{words:?}: {told}"
        );
    }
}

#[test]
fn each_command_says_and_ends_the_same_whether_the_database_is_held_or_not() {
    let held = Held::new();
    let place = &held.place;
    let free = Place::new();
    free.ok(&["insert", "things", r#"{"_id":"first"}"#]);
    let file = "{\"_id\":\"x\"}\n{\"_id\":\"x\"}\n";
    let cases: &[&[&str]] = &[
        &["get", "things", "none"],
        &["get", "things", "none", "--json"],
        &["insert", "things", "{"],
        &["insert", "things", r#"{"_id":"first"}"#],
        &["insert", "..", "{}"],
        &["insert", "things", "{}", "--local-only"],
        &["update", "things", "none", "{}"],
        &["delete", "things", "first", "none"],
        &["find", "things", "--where", "x"],
        &["find", "things", "--storage", "sled"],
        &["find", "things", "--storage", "memory"],
        &["count", "nothing"],
        &["export", "things", "--nonsense"],
        &["import", "things", "/nowhere"],
        &["import", "things", "."],
        &["import", "things", "lines"],
        &["import", "things", "lines", "--keep-going", "--json"],
        &["conflicts"],
    ];
    for words in cases {
        let [there, here] = [place, &free].map(|place| {
            place.file("lines", file);
            let outcome = place.run(words);
            // Where it is and how long it took differ.
            let base = place.path("").display().to_string();
            let tidy = |text: String| -> String {
                let text = text.replace(&base, "");
                let lines = text.lines().map(|line| {
                    let cut = line.find(" in 0.").or_else(|| line.find("\"seconds\""));
                    cut.map_or(line, |cut| &line[..cut])
                });
                lines.collect::<Vec<_>>().join("\n")
            };
            (outcome.status, tidy(outcome.out), tidy(outcome.err))
        });
        assert_eq!(there, here, "{words:?}");
    }
    let [there, here] = [place, &free].map(|place| place.ok(&["status", "--db", "./db"]));
    assert_eq!(
        there.lines().next().unwrap().split(',').next(),
        here.lines().next().unwrap().split(',').next()
    );
}

#[test]
fn the_journal_and_the_collections_are_looked_after_through_the_holder() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &["--storage", "memory"]);
    let sync = ["sync", "--server", &url, "--once"];
    for id in ["a", "b"] {
        place.ok(&["insert", "things", &format!(r#"{{"_id":"{id}","n":0}}"#)]);
    }
    place.ok(&sync);
    place.ok_on("other", &sync);
    for id in ["a", "b"] {
        place.ok_on("other", &["update", "things", id, r#"{"n":1}"#]);
        place.ok(&["update", "things", id, r#"{"n":2}"#]);
    }
    place.ok_on("other", &sync);
    place.ok(&[&sync[..], &["--strategy", "server-wins"]].concat());
    let looks: [&[&str]; 4] = [
        &["conflicts", "--json"],
        &["conflicts", "list", "--open"],
        &["conflicts", "show", "1"],
        &["conflicts", "show", "1", "--json"],
    ];
    let free = looks.map(|words| place.ok(words));
    for part in [r#""n":0"#, r#""n":1"#, r#""n":2"#, "server-wins"] {
        assert!(free[3].contains(part), "{part} is not in {}", free[3]);
    }

    let mut holder = place.start("db", &["sync", "--server", &url, "--watch"]);
    holder.line_with("idle");
    assert_eq!(looks.map(|words| place.ok(words)), free);
    place.ok(&["conflicts", "restore", "1"]);
    let restored = place.ok(&["get", "things", "a"]);
    assert!(restored.contains(r#""n":2"#), "{restored}");
    place.ok(&["conflicts", "dismiss", "2"]);
    assert_eq!(place.ok(&["conflicts", "list", "--open", "--json"]), "");
    place
        .run(&["conflicts", "restore", "1"])
        .failed(1, "journal-entry-closed");
    place
        .run(&["conflicts", "dismiss", "9"])
        .failed(1, "journal-entry-not-found");

    place.ok(&["insert", "mine", r#"{"_id":"m"}"#, "--local-only"]);
    place.ok(&["collections", "set", "mine", "--sync"]);
    // What the holder was told, it does.
    let elsewhere = || read_elsewhere(&place, &url, "mine");
    while !elsewhere().contains("\"m\"") {}
    place.ok(&["collections", "set", "mine", "--local-only"]);
    place.ok(&["insert", "mine", r#"{"_id":"secret"}"#]);
    place.ok(&["insert", "things", r#"{"_id":"last"}"#]);
    while !read_elsewhere(&place, &url, "things").contains("last") {}
    assert!(!elsewhere().contains("secret"));
    holder.signal("INT");
    assert_eq!(holder.status(), 0);
}

#[test]
fn a_file_or_a_stream_is_imported_through_the_holder() {
    let mut held = Held::new();
    let lines = numbered(5_000);
    held.place.file("many", &lines);
    held.place.ok(&["import", "many", "many"]);
    assert_eq!(held.place.ok(&["export", "many"]), lines);
    let again = held
        .place
        .feed(&["import", "many", "-", "--upsert"], lines.as_bytes());
    again.ok();
    assert_eq!(held.place.ok(&["count", "many"]), "5000\n");
    held.holder.line_with("idle");
}

#[test]
fn a_command_that_is_killed_ends_and_the_holder_goes_on() {
    let held = Held::new();
    let mut command = held.place.start("db", &["insert", "things"]);
    command.say("{\"_id\":\"whole\"}\n");
    assert_eq!(command.line(), "whole");
    // Half a line, that happens to be a document.
    command.say("{\"_id\":\"half\"}");
    command.signal("KILL");
    command.status();
    let mut interrupted = held.place.start("db", &["insert", "things"]);
    interrupted.say("{\"_id\":\"kept\"}\n");
    assert_eq!(interrupted.line(), "kept");
    interrupted.signal("INT");
    assert_eq!(interrupted.status(), 1);
    assert!(interrupted.notes().contains("error[interrupted]"));
    let ids = held.place.ok(&["export", "things"]);
    assert_eq!(
        ids,
        "{\"_id\":\"first\"}\n{\"_id\":\"kept\"}\n{\"_id\":\"whole\"}\n"
    );
}

#[test]
fn a_watch_without_a_server_shows_what_others_do() {
    let held = Held::new();
    let mut watch = held.place.start("db", &["watch", "things"]);
    // Changes count from when it listens; this one is repeated until it does.
    let mut number = 0;
    let first = loop {
        assert!(!watch.has_ended(), "{}", watch.notes());
        number += 1;
        held.place
            .ok(&["insert", "things", &format!("{{\"_id\":\"n{number}\"}}")]);
        if let Some(line) = watch.line_soon() {
            break line;
        }
    };
    assert!(first.contains("local   insert  n"), "{first}");
    held.place
        .ok_on("elsewhere", &["insert", "things", r#"{"_id":"remote"}"#]);
    held.place
        .ok_on("elsewhere", &["sync", "--server", &held.url, "--once"]);
    let line = watch.line_with("remote  insert");
    assert!(line.contains("insert  remote"), "{line}");
    watch.signal("INT");
    assert_eq!(watch.status(), 0);
}

#[test]
fn a_watch_without_a_server_holds_the_database_by_itself() {
    let place = Place::new();
    let mut watch = place.start("db", &["watch", "things", "--json"]);
    watch.note_with("without --server");
    while !exists(&place.path("db").join("SOCKET")) {
        assert!(!watch.has_ended());
        std::thread::yield_now();
    }
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    assert!(watch.line().contains("\"_id\":\"a\""));
    place
        .run(&["sync", "--server", "ws://127.0.0.1:1", "--once"])
        .failed(1, "in-use");
    watch.signal("TERM");
    assert_eq!(watch.status(), 0);
    assert_eq!(place.ok(&["count", "things"]), "1\n");
}

/// A command right behind the start of a `sync --watch` found the database in use, since nobody listened yet.
#[test]
fn a_command_waits_a_moment_for_a_database_that_is_being_opened_or_closed() {
    let place = Place::new();
    let mut holder = place.start("db", &["insert", "things"]);
    holder.say("{\"_id\":\"a\"}\n");
    assert_eq!(holder.line(), "a");
    let mut count = place.start("db", &["count", "things", "-vv"]);
    count.note_with("in use; trying again");
    holder.signal("TERM");
    assert_eq!(count.line(), "1");
    assert_eq!(count.status(), 0);
}

#[test]
fn the_socket_is_its_owners_and_one_left_behind_is_no_obstacle() {
    let mut held = Held::new();
    let socket = held.place.path("db").join("SOCKET");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    held.holder.signal("KILL");
    held.holder.status();
    assert!(exists(&socket));
    assert_eq!(held.place.ok(&["count", "things"]), "1\n");
    let mut holder = held.place.start("db", &["sync", "--server", &held.url]);
    holder.line_with("idle");
    assert_eq!(held.place.ok(&["count", "things"]), "1\n");
}

#[test]
fn peers_that_stall_or_talk_nonsense_cost_the_holder_nothing() {
    let mut held = Held::new();
    let mut stalled = Vec::new();
    for word in [
        &b""[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 4096],
        b"A\xff\xff\xff\xff",
        b"A\x01\0\0\0x",
        b"R\0\0\0\0",
    ] {
        let mut peer = held.socket();
        peer.write_all(word).unwrap();
        stalled.push(peer);
    }
    // One that runs a command, reads nothing of it and stays.
    let lines = numbered(20_000);
    held.place.file("many", &lines);
    held.place.ok(&["import", "many", "many"]);
    let mut deaf = held.socket();
    for word in ["pocket", "export", "many"] {
        deaf.write_all(b"A").unwrap();
        deaf.write_all(&(word.len() as u32).to_le_bytes()).unwrap();
        deaf.write_all(word.as_bytes()).unwrap();
    }
    deaf.write_all(b"R\0\0\0\0").unwrap();
    assert_eq!(held.place.ok(&["count", "many"]), "20000\n");
    assert_eq!(
        held.place.ok(&["insert", "things", r#"{"_id":"after"}"#]),
        "after\n"
    );
    // A command line that is none is answered, and one that may not come this way as well.
    for (words, code, status) in [
        // Who sends it could read it, and so is of another version.
        (&["pocket", "nonsense"][..], "in-use", 1),
        (&["pocket", "serve"], "usage", 2),
    ] {
        let mut peer = held.socket();
        for word in words {
            peer.write_all(b"A").unwrap();
            peer.write_all(&(word.len() as u32).to_le_bytes()).unwrap();
            peer.write_all(word.as_bytes()).unwrap();
        }
        peer.write_all(b"R\0\0\0\0").unwrap();
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        assert!(String::from_utf8_lossy(&answer).contains(&format!("error[{code}]")));
        assert_eq!(answer.last(), Some(&status));
    }
    held.holder.signal("TERM");
    assert_eq!(
        held.holder
            .status_within(std::time::Duration::from_secs(20)),
        0
    );
    drop((stalled, deaf));
    assert_eq!(held.place.ok(&["count", "things"]), "2\n");
}

#[test]
fn a_command_is_told_when_the_holder_ends_before_it() {
    let mut held = Held::new();
    let mut insert = held.place.start("db", &["insert", "things"]);
    insert.say("{\"_id\":\"a\"}\n");
    assert_eq!(insert.line(), "a");
    held.holder.signal("TERM");
    assert_eq!(held.holder.status(), 0);
    assert_eq!(insert.status(), 1);
    let notes = insert.notes();
    assert!(
        notes.contains("error[interrupted]: the process that holds the database ended"),
        "{notes}"
    );
}

#[test]
fn a_reader_that_ends_early_ends_the_command_quietly() {
    let held = Held::new();
    let lines = numbered(20_000);
    held.place.file("many", &lines);
    held.place.ok(&["import", "many", "many"]);
    let mut command = std::process::Command::new("sh");
    let script = format!(
        "{} --db {} export many | head -n 1",
        env!("CARGO_BIN_EXE_pocket"),
        held.place.path("db").display()
    );
    let outcome: Outcome = command.args(["-c", &script]).output().unwrap().into();
    assert_eq!(
        (outcome.out.as_str(), outcome.err.as_str()),
        ("{\"_id\":\"00000\",\"n\":0}\n", "")
    );
}

#[test]
fn a_directory_whose_path_is_too_long_for_a_socket_is_held_all_the_same() {
    let deep = format!("{}/{}", "d".repeat(90), "e".repeat(90));
    let mut held = Held::at(&deep);
    assert_eq!(
        held.place
            .ok_on(&deep, &["insert", "things", r#"{"_id":"a"}"#]),
        "a\n"
    );
    let link = held.place.path(&deep).join("SOCKET");
    let place = std::fs::read_link(&link).unwrap();
    assert!(exists(&place));
    held.holder.signal("INT");
    assert_eq!(held.holder.status(), 0);
    assert!(!exists(&place) && !exists(place.parent().unwrap()));
    assert!(std::fs::symlink_metadata(&link).is_err());
}

/// Whoever held the database since before an update printed nonsense about command lines that it did not know.
#[test]
fn a_holder_of_another_version_is_told_of_and_not_talked_to() {
    let place = Place::new();
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    let listener = UnixListener::bind(place.path("db").join("SOCKET")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // What the first version says.
            let _ = stream.unwrap().write_all(b"H\x01\0\0\0\x01");
        }
    });
    let outcome = place.run(&["find", "things"]).failed(1, "in-use");
    assert!(
        outcome.err.contains("is of another version of pocket"),
        "{outcome:?}"
    );
    assert_eq!(outcome.out, "");
}
