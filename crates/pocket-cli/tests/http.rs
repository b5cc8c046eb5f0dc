//! `sync` and `watch` over HTTP, with the same outcome as over a WebSocket.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "the common module has more than this file needs")]

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use common::Place;

/// A command ends within two seconds of a signal; the rest is for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// The same server by HTTP.
fn over_http(url: &str) -> String {
    url.replacen("ws://", "http://", 1)
}

#[test]
fn once_over_http_is_one_complete_pass() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let url = over_http(&url);
    place.ok(&["insert", "things", r#"{"_id":"a","n":1}"#, r#"{"_id":"b"}"#]);
    let out = place.ok(&["sync", "--server", &url, "--once", "--json"]);
    assert!(out.contains(r#""pushed":2,"pulled":0"#), "{out}");
    let pull = [
        "--json",
        "sync",
        "--server",
        &url,
        "--once",
        "--pull-interval",
        "0",
    ];
    let out = place.ok_on("other", &pull);
    assert!(out.contains(r#""pulled":2"#), "{out}");
    place.ok_on("other", &["delete", "things", "b"]);
    place.ok_on(
        "other",
        &["sync", "--server", &url, "--once", "--direction", "push"],
    );
    // The next pass by the other way goes on where this one was.
    place.ok(&["sync", "--server", &url.replacen("http", "ws", 1), "--once"]);
    assert_eq!(place.ok(&["find", "things"]), "{\"_id\":\"a\",\"n\":1}\n");
    let out = place.ok(&["sync", "--server", &url, "--once"]);
    assert!(
        out.starts_with("in step with ") && out.contains("0 sent, 0 received"),
        "{out}"
    );
}

#[test]
fn many_documents_travel_in_many_pages() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let url = over_http(&url);
    let line = |n: i32| format!("{{\"_id\":\"d{n:04}\",\"n\":{n}}}\n");
    let lines = (0..3_000).map(line).collect::<Vec<_>>().concat();
    let file = place.file("many.jsonl", lines);
    place.ok(&["import", "things", &file]);
    for (db, interval) in [("db", "30000"), ("other", "0"), ("third", "100")] {
        place.ok_on(
            db,
            &[
                "sync",
                "--server",
                &url,
                "--once",
                "--pull-interval",
                interval,
            ],
        );
        assert_eq!(
            place.ok_on(db, &["export", "things"]),
            place.ok(&["export", "things"])
        );
    }
}

#[test]
fn a_refused_token_a_portal_and_a_silent_server_end_as_they_do_over_a_websocket() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &["--token", "good=ann"]);
    let url = over_http(&url);
    place.ok(&["insert", "things", "{}"]);
    let words = ["sync", "--server", &url, "--once", "--token", "bad"];
    place.run(&words).failed(1, "unauthorized");

    // A page with status 200 says nothing about the token: it is worth waiting.
    let portal = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = format!("http://{}", portal.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in portal.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let answer =
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let to = |url| ["--server", url, "--token", "good"];
    place.gives_up("db", &to(&page), "web page");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nothing = format!("http://{}", silent.local_addr().unwrap());
    place.gives_up("db", &to(&nothing), "error[timeout]");
    assert!(place.ok(&["status", "--json"]).contains(r#""pending":1,"#));
    let words = ["sync", "--server", &url, "--once", "--token", "good"];
    assert!(place.ok(&words).contains("1 sent"));
}

#[test]
fn a_watch_over_http_hears_of_changes_at_once_and_of_a_server_that_stops() {
    let place = Place::new();
    let (mut server, url) = place.serve("server", &[]);
    let url = over_http(&url);
    let mut watch = place.start("db", &["watch", "things", "--server", &url]);
    place.ok_on("other", &["insert", "things", r#"{"_id":"live"}"#]);
    place.ok_on("other", &["sync", "--server", &url, "--once"]);
    // Long before the interval of 30 s is over: the server holds the answer back until there is news.
    watch.line_with("live");
    let mut sync = place.start("third", &["sync", "--server", &url]);
    sync.line_with("idle");
    // Open requests are answered, not cut, and none keeps the server.
    server.signal("TERM");
    assert_eq!(server.status_within(SOON), 0);
    sync.line_with("offline");
    for mut client in [watch, sync] {
        client.signal("TERM");
        assert_eq!(client.status_within(SOON), 0);
    }
}
