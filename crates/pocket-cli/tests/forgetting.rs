//! What a server forgets, as its options and `compact` say it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Place;

#[test]
fn how_long_a_server_remembers_is_a_setting_like_others() {
    let place = Place::new();
    place.file(
        "pocket.toml",
        "keep-deletions = \"8w\"\nforget-every = \"never\"\n",
    );
    let printed = |words: &[&str]| {
        let words = [&["serve", "--print-config"], words].concat();
        let mut command = place.command("server", &words);
        let output = command
            .env("POCKET_KEEP_CLIENTS", "forever")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = printed(&[]);
    let set = printed(&["--config", "pocket.toml", "--keep-deletions", "12h"]);
    let file = printed(&["--config", "pocket.toml"]);
    for (text, line) in [
        (&plain, "keep-deletions = \"30d\"  # the default"),
        (&plain, "forget-every = \"1h\"  # the default"),
        (&plain, "keep-clients = \"forever\"  # the environment"),
        (&set, "keep-deletions = \"12h\"  # the command line"),
        (&file, "keep-deletions = \"8w\"  # the file"),
        (&file, "forget-every = \"never\"  # the file"),
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    for words in [
        ["--keep-deletions", "30"],
        ["--keep-clients", "5s"],
        ["--forget-every", "0s"],
    ] {
        let words = [&["serve"], &words[..]].concat();
        place.run_on("server", &words).failed(2, "usage");
    }
}

#[test]
fn a_stopped_servers_store_forgets_and_a_device_that_was_away_ends_right() {
    for storage in ["redb", "sled"] {
        let place = Place::new();
        let (mut server, url) = place.serve("server", &["--storage", storage]);
        for id in ["a", "b"] {
            place.ok(&["insert", "things", &format!(r#"{{"_id":"{id}"}}"#)]);
        }
        let sync = |db: &str, url: &str| {
            place.ok_on(db, &["sync", "--server", url, "--once"]);
        };
        sync("db", &url);
        sync("away", &url);
        place.ok(&["delete", "things", "a"]);
        sync("db", &url);
        server.signal("TERM");
        assert_eq!(server.status(), 0);
        let compact = |words: &[&str]| {
            let words = [&["compact", "--json"], words].concat();
            place.ok_on("server", &words)
        };
        let said = compact(&["--keep-deletions", "30d", "--keep-clients", "60d"]);
        assert!(said.contains(r#""deletions":0,"clients":0"#), "{said}");
        let said = compact(&["--keep-deletions", "0s"]);
        assert!(said.contains(r#""deletions":1,"clients":0"#), "{said}");
        let said = compact(&["--keep-clients", "0s"]);
        assert!(said.contains(r#""deletions":0,"clients":2"#), "{said}");

        let (mut server, url) = place.serve("server", &[]);
        place.ok_on("away", &["update", "things", "b", r#"{"seen":true}"#]);
        sync("away", &url);
        let export = |db: &str| place.ok_on(db, &["export", "things"]);
        assert_eq!(
            export("away"),
            "{\"_id\":\"b\",\"seen\":true}\n",
            "{storage}"
        );
        sync("db", &url);
        assert_eq!(export("db"), export("away"));
        server.signal("TERM");
        assert_eq!(server.status(), 0);
    }
}

#[test]
fn a_device_forgets_nothing_by_itself() {
    let place = Place::new();
    place.ok(&["insert", "things", "{}"]);
    let refused = place.run(&["compact", "--keep-deletions", "0s"]);
    let refused = refused.failed(2, "usage");
    assert!(refused.err.contains("server"), "{refused:?}");
}

#[test]
fn a_server_forgets_by_itself_while_it_runs() {
    let place = Place::new();
    let words = ["--keep-deletions", "0s", "--forget-every", "1s", "-vv"];
    let (mut server, url) = place.serve("server", &words);
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    place.ok(&["sync", "--server", &url, "--once"]);
    place.ok(&["delete", "things", "a"]);
    place.ok(&["sync", "--server", &url, "--once"]);
    server.note_with("forgotten");
    server.signal("TERM");
    assert_eq!(server.status(), 0);
}
