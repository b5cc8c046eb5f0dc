//! `detach` and `wipe`: a database leaves its server and meets another one.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Place;

#[test]
fn a_detached_database_brings_everything_to_the_next_server() {
    let place = Place::new();
    let (_first, old) = place.serve("first", &[]);
    let (_second, new) = place.serve("second", &[]);
    place.ok(&[
        "insert",
        "things",
        r#"{"_id":"a","n":1}"#,
        r#"{"_id":"b","n":1}"#,
    ]);
    place.ok(&["sync", "--server", &old, "--once"]);
    place.ok(&["update", "things", "b", r#"{"n":2}"#]);
    let refused = place.run(&["sync", "--server", &new, "--once"]);
    let refused = refused.failed(1, "other-lineage");
    assert!(refused.err.contains("`detach`") && refused.err.contains("`wipe`"));
    let said = place.ok(&["detach"]);
    assert!(
        said.contains("2 changes wait for the next server"),
        "{said}"
    );
    let said = place.ok(&["sync", "--server", &new, "--once"]);
    assert!(said.contains("2 sent"), "{said}");
    place.ok_on("other", &["sync", "--server", &new, "--once"]);
    assert_eq!(
        place.ok_on("other", &["export", "things"]),
        "{\"_id\":\"a\",\"n\":1}\n{\"_id\":\"b\",\"n\":2}\n"
    );
    // The server it left was not told anything.
    place.ok_on("third", &["sync", "--server", &old, "--once"]);
    assert!(
        place
            .ok_on("third", &["export", "things"])
            .contains(r#""_id":"b","n":1"#)
    );
}

#[test]
fn a_wiped_database_asks_first_and_keeps_what_is_local() {
    let place = Place::new();
    let (_first, old) = place.serve("first", &["--token", "t-ann=ann", "--token", "t-bob=bob"]);
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    place.ok(&["insert", "mine", r#"{"_id":"m"}"#, "--local-only"]);
    place.ok(&["sync", "--server", &old, "--token", "t-ann", "--once"]);
    let as_bob = ["sync", "--server", &old, "--token", "t-bob", "--once"];
    place.run(&as_bob).failed(1, "other-user");
    place.run(&["wipe"]).failed(2, "usage");
    assert_eq!(place.ok(&["count", "things"]), "1\n");
    let said = place.ok(&["wipe", "--yes", "--json"]);
    assert_eq!(said, "{\"wiped\":1,\"pending\":0,\"journal\":0}\n");
    assert_eq!(place.ok(&["count", "things"]), "0\n");
    assert_eq!(place.ok(&["count", "mine"]), "1\n");
    let status = place.ok(&["status"]);
    assert!(status.contains("no server yet"), "{status}");
    // Another user of the same server: the device is a new one to it, and reads what he may.
    place.ok(&as_bob);
    assert_eq!(place.ok(&["count", "things"]), "1\n");
}
