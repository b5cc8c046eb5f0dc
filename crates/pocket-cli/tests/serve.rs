//! `serve`: who is let in, and how it ends.
#![cfg(unix)]

mod common;

use std::time::Duration;

use common::Place;

/// A command ends within two seconds of a signal; the rest is for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_server_ends_at_once_when_it_is_told_to_and_says_nothing_else_on_stdout() {
    let place = Place::new();
    for signal in ["TERM", "INT"] {
        let (mut server, url) = place.serve("server", &[]);
        assert!(
            url.starts_with("ws://127.0.0.1:") && url.ends_with("/sync"),
            "{url}"
        );
        server.signal(signal);
        assert_eq!(server.status_within(SOON), 0, "{signal}");
        assert!(server.notes().contains("anonymous"));
    }
}

#[test]
fn a_server_that_was_killed_takes_its_port_again_at_once_and_lost_nothing() {
    let place = Place::new();
    let (mut server, url) = place.serve("server", &[]);
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    // A client that is connected when the server dies leaves the port in a state that would hold others up.
    let mut client = place.start("db", &["sync", "--server", &url]);
    client.line_with("idle");
    server.signal("KILL");
    server.status();
    let address = url
        .trim_start_matches("ws://")
        .trim_end_matches("/sync")
        .to_owned();
    let mut server = place.start("server", &["serve", "--listen", &address]);
    assert_eq!(server.line(), format!("listening on {url}"));
    client.line_with("offline");
    client.line_with("idle");
    place.ok_on("other", &["sync", "--server", &url, "--once"]);
    assert_eq!(
        place.ok_on("other", &["find", "things"]),
        "{\"_id\":\"a\"}\n"
    );
    client.signal("INT");
    assert_eq!(client.status_within(SOON), 0);
}

#[test]
fn a_server_that_is_told_to_end_answers_what_it_took_and_its_clients_come_back() {
    const DOCUMENTS: u32 = 3_000;
    let place = Place::new();
    let lines = (0..DOCUMENTS).fold(String::new(), |lines, n| {
        lines + &format!("{{\"_id\":\"{n:05}\",\"n\":{n}}}\n")
    });
    place.file("lines", &lines);
    let (mut server, url) = place.serve("server", &[]);
    let address = url.trim_start_matches("ws://").trim_end_matches("/sync");
    let by_http = format!("http://{address}");
    let mut devices = [
        place.start("db", &["sync", "--server", &url]),
        place.start(
            "other",
            &["sync", "--server", &by_http, "--pull-interval", "100"],
        ),
    ];
    for device in &mut devices {
        device.line_with("idle");
    }
    // Pushes are under way when it is told to end.
    place.ok(&["import", "things", "lines"]);
    server.signal("TERM");
    assert_eq!(server.status_within(SOON), 0);
    for device in &mut devices {
        device.line_with("offline");
        assert!(!device.has_ended(), "a client outlives its server");
    }
    let mut server = place.start("server", &["serve", "--listen", address]);
    assert_eq!(server.line(), format!("listening on {url}"));
    for device in &mut devices {
        device.line_with("idle");
    }
    place.ok_on("fresh", &["sync", "--server", &url, "--once"]);
    assert_eq!(place.ok_on("fresh", &["export", "things"]), lines);
    let status = place.ok_on("fresh", &["status", "--json"]);
    // Nothing that was answered was sent again as new.
    let place_of_last = format!("\"seq\":{DOCUMENTS}");
    assert!(status.contains(&place_of_last), "{status}");
}

#[test]
fn an_open_server_is_refused_on_an_address_that_others_reach() {
    let place = Place::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let outcome = place.run_on("server", &["serve", "--listen", address]);
        let outcome = outcome.failed(2, "usage");
        assert!(outcome.err.contains("--token"), "{outcome:?}");
        assert_eq!(outcome.out, "");
    }
    let mut server = place.start(
        "server",
        &["serve", "--listen", "0.0.0.0:0", "--token", "t"],
    );
    assert!(server.line().starts_with("listening on ws://0.0.0.0:"));
    server.note_with("plain text");
}

#[test]
fn what_is_no_token_or_no_address_is_a_wrong_command_line() {
    let place = Place::new();
    for words in [
        ["--token", "se same"],
        ["--token", "sesame="],
        ["--token", "sesame=ann:"],
        ["--listen", "nonsense"],
        ["--listen", "127.0.0.1:99999"],
    ] {
        let outcome = place.run_on("server", &[&["serve"][..], &words].concat());
        let outcome = outcome.failed(2, "usage");
        assert!(!outcome.err.contains("sesame"), "{outcome:?}");
    }
    let words = ["serve", "--token", "t", "--token", "t=ann"];
    place.run_on("server", &words).failed(2, "usage");
    for content in ["", "# nobody\n", "t\n", "t ann a b\n"] {
        let file = place.file("tokens", content);
        place
            .run_on("server", &["serve", "--token-file", &file])
            .failed(1, "config");
    }
    place
        .run_on("server", &["serve", "--token-file", "/nowhere"])
        .failed(1, "io");
}

#[test]
fn tokens_open_what_they_name_and_nothing_else() {
    let place = Place::new();
    let file = place.file("tokens", "# for the team\nfile-token bob team,home\n");
    let (_server, url) = place.serve(
        "server",
        &[
            "--token",
            "plain",
            "--token",
            "t=ann:team",
            "--token-file",
            &file,
        ],
    );
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    let sync = |db: &str, token: &str, namespace: &str| {
        let words = [
            "sync",
            "--once",
            "--server",
            &url,
            "--token",
            token,
            "--namespace",
            namespace,
        ];
        place.run_on(db, &words)
    };
    sync("db", "t", "team").ok();
    sync("bob", "file-token", "team").ok();
    assert_eq!(place.ok_on("bob", &["count", "things"]), "1\n");
    sync("any", "plain", "whatever").ok();
    sync("new", "t", "other").failed(1, "forbidden");
    sync("new", "wrong", "team").failed(1, "unauthorized");
    place
        .run_on("new", &["sync", "--once", "--server", &url])
        .failed(1, "unauthorized");
    // Refused handshakes have left no mark: the same database still belongs to nobody.
    let status = place.ok_on("new", &["status", "--json"]);
    assert!(status.contains(r#""bound_to":null"#), "{status}");
    let status = place.ok_on("bob", &["status", "--json"]);
    assert!(
        status.contains(r#""namespace":"team","user":"bob""#),
        "{status}"
    );
    let status = place.ok_on("any", &["status", "--json"]);
    assert!(status.contains(r#""user":"token-"#), "{status}");
}

#[test]
fn a_server_on_a_port_that_is_taken_says_so() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &[]);
    let address = url
        .trim_start_matches("ws://")
        .trim_end_matches("/sync")
        .to_owned();
    let outcome = place.run_on("other", &["serve", "--listen", &address]);
    let outcome = outcome.failed(1, "io");
    assert!(outcome.err.contains(&address), "{outcome:?}");
}
