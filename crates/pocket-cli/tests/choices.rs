//! What a sync is told: server, token, collections, directions, a file of options.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Place, exists, program};

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
        r#"{"name":"three","sync":false,"documents":1,"pending":0,"indexes":[],"ttl":null}"#,
        r#"{"name":"two","sync":true,"documents":1,"pending":0,"indexes":[],"ttl":null}"#,
        r#"{"name":"four","sync":false,"documents":0,"pending":0,"indexes":[],"ttl":null}"#,
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
        (
            "d.toml",
            "server_url = \"ws://h\"\nbatch_size = 0\n",
            "`batch_size`",
        ),
        (
            "e.json",
            r#"{"server_url":"ws://h","direction":"up"}"#,
            "`direction`",
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
