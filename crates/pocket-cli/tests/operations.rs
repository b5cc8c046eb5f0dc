//! Running a server: settings, certificates, the page and figures, who is connected, load.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::Place;

/// The answer to a GET of a server on this machine.
fn get(url: &str, path: &str, head: &str) -> String {
    let address = url
        .strip_prefix("ws://")
        .and_then(|rest| rest.strip_suffix("/sync"))
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn settings_come_from_the_command_line_then_the_environment_then_the_file() {
    let place = Place::new();
    let file = "listen = \"127.0.0.1:1111\"\nlog-format = \"json\"\nadmin-token = \"sesame\"\nno-admin = true\n\
        token = [\"a=ann\", \"b=bob:x,y\"]\ntoken-file = \"tokens\"\n";
    std::fs::create_dir(place.path("etc")).unwrap();
    place.file("etc/tokens", "c carl\n");
    place.file("etc/pocket.toml", file);
    let printed = |words: &[&str], environment: &[(&str, &str)]| {
        let words = [
            &["serve", "--config", "etc/pocket.toml", "--print-config"],
            words,
        ]
        .concat();
        let mut command = place.command("server", &words);
        let output = command.envs(environment.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = printed(&[], &[]);
    for line in [
        "listen = \"127.0.0.1:1111\"  # the file",
        "log-format = \"json\"  # the file",
        "no-admin = true  # the file",
        "admin-token = \"…\"  # the file",
        "token = [\"…\", \"…\"]  # the file",
        "token-file = \"etc/tokens\"  # the file",
    ] {
        assert!(plain.lines().any(|one| one == line), "{line}\n{plain}");
    }
    assert!(!plain.contains("sesame"), "{plain}");
    let environment = [("POCKET_LISTEN", "127.0.0.1:2222")];
    let line = "listen = \"127.0.0.1:2222\"  # the environment";
    assert!(printed(&[], &environment).contains(line));
    let line = "listen = \"127.0.0.1:3333\"  # the command line";
    assert!(printed(&["--listen", "127.0.0.1:3333"], &environment).contains(line));
}

#[test]
fn settings_are_printed_for_programs_and_what_serve_refuses_is_refused() {
    let place = Place::new();
    let words = ["serve", "--print-config", "--json", "--token", "a=ann"];
    let printed = place.ok_on("server", &words);
    for line in [
        r#"{"name":"token","value":["…"],"source":"the command line"}"#,
        r#"{"name":"no-admin","value":false,"source":"the default"}"#,
        r#"{"name":"connections","value":10000,"source":"the default"}"#,
        r#"{"name":"rules","value":null,"source":null}"#,
    ] {
        assert!(printed.lines().any(|one| one == line), "{line}\n{printed}");
    }
    place.ok(&["insert", "things", "{}"]);
    place.file("empty", "");
    for (db, words, status, code) in [
        ("server", ["--token", "not a token"], 2, "usage"),
        ("server", ["--token-file", "none"], 1, "io"),
        ("server", ["--rules", "none"], 1, "io"),
        ("server", ["--jwt-key", "empty"], 1, "config"),
        ("server", ["--jwt-audience", "me"], 2, "usage"),
        ("server", ["--listen", "0.0.0.0:0"], 2, "usage"),
        ("server", ["--listen", "nowhere"], 2, "usage"),
        ("db", ["--listen", "127.0.0.1:0"], 1, "other-directory"),
    ] {
        for print in [&["--print-config"][..], &[]] {
            let words = [&["serve"][..], &words, print].concat();
            place.run_on(db, &words).failed(status, code);
        }
    }
}

#[test]
fn options_that_mean_nothing_together_are_both_named() {
    let place = Place::new();
    let url = "ws://127.0.0.1:1";
    for (words, named) in [
        (
            &["sync", "--watch", "--timeout", "3", "--server", url][..],
            ["--timeout", "--watch"],
        ),
        (
            &["sync", "--timeout", "3", "--server", url],
            ["--timeout", "--once"],
        ),
        (
            &["bench-load", "--server", url, "--collection", "c"],
            ["bench-load", "--collection"],
        ),
        (
            &["bench-load", "--server", url, "--direction", "pull"],
            ["bench-load", "--direction"],
        ),
        (
            &["compact", "--keep-clients", "0s", "--keep-deletions", "30d"],
            ["--keep-clients", "--keep-deletions"],
        ),
    ] {
        let refused = place.run(words).failed(2, "usage");
        for name in named {
            assert!(refused.err.contains(name), "{words:?}: {refused:?}");
        }
    }
}

#[test]
fn a_file_with_a_wrong_setting_is_refused_by_name() {
    let place = Place::new();
    for (text, named) in [
        ("listem = \"x\"", "listem"),
        ("listen = [\"a\", \"b\"]", "listen"),
        ("no-admin = 7", "no-admin"),
        ("until-stdin-ends = true", "until-stdin-ends"),
        ("listen = ", "line 1"),
    ] {
        place.file("pocket.toml", text);
        let outcome = place.run_on("server", &["serve", "--config", "pocket.toml"]);
        let outcome = outcome.failed(1, "config");
        assert!(outcome.err.contains(named), "{text}: {outcome:?}");
    }
    place
        .run_on("server", &["serve", "--config", "none.toml"])
        .failed(1, "io");
}

#[test]
fn limits_come_from_all_three_places_and_contradictions_name_both() {
    let place = Place::new();
    place.file(
        "pocket.toml",
        "message-bytes = 1000000\nidle-timeout = 2.5\n",
    );
    let run = |words: &[&str]| {
        let words = [
            &["serve", "--config", "pocket.toml", "--print-config"],
            words,
        ]
        .concat();
        let mut command = place.command("server", &words);
        let environment = [
            ("POCKET_HEARTBEAT", "1"),
            ("POCKET_MESSAGES_PER_SECOND", "7"),
            ("POCKET_NEW_CLIENTS_PER_USER", "7"),
        ];
        common::Outcome::from(command.envs(environment).output().unwrap())
    };
    let refused = run(&[]).failed(1, "config");
    for name in ["--message-bytes 1000000", "--document-bytes 1048576"] {
        assert!(refused.err.contains(name), "{refused:?}");
    }
    let printed = run(&["--document-bytes", "500000"]).ok();
    for line in [
        "message-bytes = 1000000  # the file",
        "document-bytes = 500000  # the command line",
        "idle-timeout = \"2.5\"  # the file",
        "heartbeat = 1  # the environment",
        "messages-per-second = 7  # the environment",
        "connections-per-user = 10  # the default",
        "new-clients-per-user = 7  # the environment",
        "# quota-bytes is not set",
    ] {
        assert!(printed.lines().any(|one| one == line), "{line}\n{printed}");
    }
}

#[test]
fn limits_that_were_set_are_kept_to() {
    let place = Place::new();
    let limits = [
        "--document-bytes",
        "1000",
        "--connections-per-user",
        "1",
        "--token",
        "t=ann",
    ];
    let (_server, url) = place.serve("server", &limits);
    let once = ["sync", "--once", "--server", &url, "--token", "t"];
    let large = format!(r#"{{"_id":"large","text":"{}"}}"#, "x".repeat(2_000));
    place.ok(&["insert", "things", &large]);
    place.ok(&["insert", "things", r#"{"_id":"small"}"#]);
    place.run(&once);
    let journal = place.ok(&["conflicts", "--json"]);
    assert!(
        journal.lines().count() == 1 && journal.contains("document-too-large"),
        "{journal}"
    );
    assert_eq!(
        place.ok(&["count", "things"]),
        "1\n",
        "only the small one has a place"
    );
    let mut held = place.start("other", &["sync", "--server", &url, "--token", "t"]);
    held.line_with("idle");
    place
        .run_on("third", &[&once[..], &["--timeout", "1"]].concat())
        .failed(1, "timeout");
}

#[cfg(not(feature = "otel"))]
#[test]
fn a_program_without_traces_says_so_instead_of_sending_none() {
    let place = Place::new();
    let words = ["serve", "--otlp-endpoint", "http://127.0.0.1:4318"];
    let outcome = place.run_on("server", &words).failed(1, "config");
    assert!(outcome.err.contains("--features otel"), "{outcome:?}");
}

#[test]
fn a_server_with_settings_in_a_file_serves_by_them() {
    let place = Place::new();
    place.file("pocket.toml", "token = [\"secret=ann\"]\n");
    let (_server, url) = place.serve("server", &["--config", "pocket.toml"]);
    place.ok(&["insert", "things", "{}"]);
    place
        .run(&["sync", "--server", &url, "--once"])
        .failed(1, "unauthorized");
    place.ok(&["sync", "--server", &url, "--once", "--token", "secret"]);
}

#[test]
fn who_looks_after_a_server_sees_clients_figures_and_the_page() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &["--admin-token", "sesame"]);
    place.ok(&["insert", "things", r#"{"_id":"a"}"#]);
    let mut sync = place.start("db", &["sync", "--server", &url]);
    sync.line_with("idle");
    let token = ["--admin-token", "sesame"];
    let ask = ["clients", "--server", &url, token[0], token[1]];
    let clients = place.ok(&[&ask[..], &["--json"]].concat());
    assert!(clients.contains("\"namespace\":\"default\""), "{clients}");
    assert!(clients.contains("\"lag\":0"), "{clients}");
    let line = place.ok(&ask);
    assert!(
        line.contains("anonymous") && line.contains("0 behind"),
        "{line}"
    );
    place
        .run(&["clients", "--server", &url, "--admin-token", "other"])
        .failed(1, "unauthorized");
    place
        .run(&["clients", "--server", &url])
        .failed(1, "unauthorized");
    let metrics = get(&url, "/metrics", "Authorization: Bearer sesame\r\n");
    assert!(
        metrics.contains("pocket_outcomes_total{kind=\"applied\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("\npocket_clients 1\n"), "{metrics}");
    assert!(get(&url, "/", "").contains("<title>Pocket server</title>"));
    let (_plain, url) = place.serve("plain", &["--no-admin"]);
    assert!(get(&url, "/", "").starts_with("HTTP/1.0 404"));
    // Without a page there are clients all the same.
    place.ok(&["clients", "--server", &url]);
    assert!(get(&url, "/health/ready", "").contains("ok"));
}

#[test]
fn a_log_of_objects_names_the_session_of_each_line() {
    let place = Place::new();
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "-v",
    ];
    let mut server = place.start("server", &words);
    let line = server.line();
    let url = line.strip_prefix("listening on ").unwrap();
    place.ok(&["insert", "things", "{}"]);
    place.ok(&["sync", "--server", url, "--once", "--namespace", "mine"]);
    let line = server.note_with("a client has come in");
    assert!(
        line.starts_with('{') && line.contains("\"namespace\":\"mine\""),
        "{line}"
    );
    assert!(line.contains("\"session\":"), "{line}");
}

#[test]
fn many_light_clients_write_read_and_leave_nothing() {
    let place = Place::new();
    let (_server, url) = place.serve("server", &["--storage", "memory"]);
    let words = [
        "bench-load",
        "--server",
        &url,
        "--clients",
        "8",
        "--documents",
        "3",
        "--json",
    ];
    let report = place.ok(&words);
    for part in [
        "\"documents\":24",
        "\"deliveries\":168",
        "\"received_ms\":{\"p50\":",
    ] {
        assert!(report.contains(part), "{report}");
    }
    place.ok(&["sync", "--server", &url, "--once"]);
    assert!(!place.ok(&["status"]).contains("1 document"));
}

#[test]
fn a_server_speaks_tls_and_takes_a_new_certificate_at_a_hangup() {
    let place = Place::new();
    let made = |number: u32, kind: &str| match (number, kind) {
        (1, "cert") => include_str!("fixtures/tls/cert1.pem"),
        (1, _) => include_str!("fixtures/tls/key1.pem"),
        (_, "cert") => include_str!("fixtures/tls/cert2.pem"),
        _ => include_str!("fixtures/tls/key2.pem"),
    };
    let put = |number| {
        place.file("cert.pem", made(number, "cert"));
        place.file("key.pem", made(number, "key"));
    };
    put(1);
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "-v",
        "--tls-cert",
        "cert.pem",
        "--tls-key",
        "key.pem",
    ];
    let mut server = place.start("server", &words);
    let line = server.line();
    let url = line.strip_prefix("listening on ").unwrap();
    assert!(url.starts_with("wss://127.0.0.1:"), "{url}");
    let url = url.replace("127.0.0.1", "localhost");
    place.ok(&["insert", "things", "{}"]);
    let clients = |trusted: u32| {
        let trusted = place.file("trusted.pem", made(trusted, "cert"));
        let mut command = place.command("db", &["clients", "--server", &url]);
        command.env("SSL_CERT_FILE", trusted).output().unwrap()
    };
    let trusted = place.file("trusted.pem", made(1, "cert"));
    let mut sync = place.command("db", &["sync", "--server", &url, "--once"]);
    let synced = sync.env("SSL_CERT_FILE", trusted).output().unwrap();
    assert!(synced.status.success(), "{synced:?}");
    // The same over HTTP.
    place.ok(&["insert", "things", r#"{"_id":"by-http"}"#]);
    let https = url.replace("wss://", "https://");
    let trusted = place.file("trusted.pem", made(1, "cert"));
    let mut sync = place.command("db", &["sync", "--server", &https, "--once", "--json"]);
    let synced = sync.env("SSL_CERT_FILE", &trusted).output().unwrap();
    assert!(synced.status.success(), "{synced:?}");
    let said = String::from_utf8(synced.stdout).unwrap();
    assert!(said.contains("\"pushed\":1"), "{said}");
    assert!(clients(1).status.success());
    // Who does not trust it is told so at once, and how to.
    let other = place.file("other.pem", made(2, "cert"));
    for url in [&url, &https] {
        let mut sync = place.command("new", &["sync", "--server", url, "--once"]);
        let refused = sync.env("SSL_CERT_FILE", &other).output().unwrap();
        let refused = common::Outcome::from(refused).failed(1, "certificate");
        for part in [url, "SSL_CERT_FILE"] {
            assert!(refused.err.contains(part), "{refused:?}");
        }
    }
    put(2);
    server.signal("HUP");
    server.note_with("the certificate was read again");
    assert!(!clients(1).status.success());
    let answer = clients(2);
    assert!(answer.status.success(), "{answer:?}");
    // One that is broken changes nothing.
    place.file("cert.pem", "nothing");
    server.signal("HUP");
    server.note_with("the old certificate stays in use");
    assert!(clients(2).status.success());
}

/// A device that is told to end in the middle of a long push ends well, and what it sends later is no second copy.
#[test]
fn a_push_that_is_ended_half_way_goes_on_later_where_it_was() {
    const COUNT: u64 = 20_000;
    for scheme in ["ws", "http"] {
        let place = Place::new();
        let (_server, url) = place.serve("server", &[]);
        let metrics = url.clone();
        let url = url.replace("ws://", &format!("{scheme}://"));
        let lines = (0..COUNT).fold(String::new(), |lines, n| {
            lines + &format!("{{\"_id\":\"{n:05}\"}}\n")
        });
        let lines = place.file("lines", lines);
        place.ok(&["import", "things", &lines]);
        let mut sync = place.start("db", &["sync", "--server", &url]);
        while get(&metrics, "/metrics", "").contains("\npocket_pushes_total 0\n") {}
        sync.signal("TERM");
        assert_eq!(sync.status(), 0, "{scheme}");
        let pending = || -> u64 {
            let status = place.ok(&["status", "--json"]);
            let (_, rest) = status.split_once("\"pending\":").unwrap();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
            rest[..end].parse().unwrap()
        };
        let left = pending();
        assert!(left > 0, "{scheme}: it was not in the middle");
        place.ok(&["sync", "--server", &url, "--once"]);
        assert_eq!(pending(), 0);
        place.ok_on("other", &["sync", "--server", &url, "--once"]);
        assert_eq!(
            place.ok_on("other", &["count", "things"]),
            format!("{COUNT}\n")
        );
        // Each change that takes effect takes a place, so a second copy would show.
        let status = place.ok_on("other", &["status", "--json"]);
        assert!(
            status.contains(&format!("\"seq\":{COUNT}")),
            "{scheme}: {status}"
        );
    }
}

#[test]
fn a_certificate_that_is_none_is_refused_by_name() {
    let place = Place::new();
    place.file("cert.pem", "nothing");
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        "cert.pem",
        "--tls-key",
        "none",
    ];
    let outcome = place.run_on("server", &words).failed(1, "config");
    assert!(outcome.err.contains("cert.pem"), "{outcome:?}");
    place
        .run_on("server", &["serve", "--tls-cert", "cert.pem"])
        .failed(2, "usage");
}

/// A lowered limit locked devices out of documents that were stored before, with nothing in the log.
#[test]
fn a_document_larger_than_a_message_may_be_now_is_named_to_devices_and_in_the_log() {
    for scheme in ["ws", "http"] {
        let place = Place::new();
        let (mut server, url) = place.serve("server", &[]);
        let large = format!(r#"{{"_id":"large","text":"{}"}}"#, "x".repeat(100_000));
        place.ok(&["insert", "things", &large]);
        place.ok(&["sync", "--server", &url, "--once"]);
        server.signal("TERM");
        assert_eq!(server.status(), 0);
        let lowered = ["--message-bytes", "65536", "--document-bytes", "10000"];
        let (mut server, url) = place.serve("server", &lowered);
        let url = url.replace("ws://", &format!("{scheme}://"));
        let outcome = place.gives_up("other", &["--server", &url], "[record-too-large]");
        for part in ["things/large", "message-bytes"] {
            assert!(outcome.err.contains(part), "{outcome:?}");
        }
        let line = server.note_with("things/large");
        assert!(
            line.contains("WARN") && line.contains("message-bytes"),
            "{line}"
        );
        server.signal("TERM");
        assert_eq!(server.status(), 0);
        let (_server, url) = place.serve("server", &[]);
        place.ok_on("other", &["sync", "--server", &url, "--once"]);
        assert_eq!(place.ok_on("other", &["count", "things"]), "1\n");
    }
}
