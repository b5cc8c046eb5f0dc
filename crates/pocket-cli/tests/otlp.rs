//! Spans of a server, as a collector receives them.
#![cfg(all(unix, feature = "otel"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use common::{Place, Running};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const CERTIFICATE: &str = include_str!("fixtures/tls/cert1.pem");
const KEY: &str = include_str!("fixtures/tls/key1.pem");

/// A server ends within two seconds of a signal; the rest is for a machine that is busy.
const SOON: Duration = Duration::from_secs(10);

/// A span, as far as these tests look at it.
#[derive(Debug)]
struct Span {
    service: String,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    attributes: BTreeMap<String, String>,
}

/// A collector on loopback: takes every batch and passes on its spans.
fn collector() -> (String, Receiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, spans) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            take(stream.unwrap(), &sender);
        }
    });
    (url, spans)
}

/// The same by TLS, with [`CERTIFICATE`]. Who does not trust it sends nothing.
fn collector_by_tls() -> (String, Receiver<Span>) {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, spans) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, stream.unwrap());
            if stream.conn.complete_io(&mut stream.sock).is_ok() {
                take(stream, &sender);
            }
        }
    });
    (format!("https://localhost:{port}"), spans)
}

/// Reads one request and answers it.
fn take(stream: impl Read + Write, sender: &Sender<Span>) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    assert_eq!(head[0], "post /v1/traces http/1.1");
    let field = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
    assert_eq!(field("content-type: "), Some("application/x-protobuf"));
    let length = field("content-length: ").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    for span in spans(&body) {
        // The test may have seen enough.
        let _ = sender.send(span);
    }
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
    let mut stream = reader.into_inner();
    stream.write_all(answer.as_bytes()).unwrap();
    stream.flush().unwrap();
}

/// The spans of an `ExportTraceServiceRequest`, by the field numbers of OTLP's `trace.proto`.
fn spans(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in all(request, 1) {
        let resource = all(of_resource, 1).remove(0);
        let service = attributes(resource, 1).remove("service.name").unwrap();
        for of_scope in all(of_resource, 2) {
            for span in all(of_scope, 2) {
                let one = |number| all(span, number).first().copied().unwrap_or_default();
                spans.push(Span {
                    service: service.clone(),
                    trace: one(1).to_vec(),
                    id: one(2).to_vec(),
                    parent: one(4).to_vec(),
                    name: text(one(5)),
                    attributes: attributes(span, 9),
                });
            }
        }
    }
    spans
}

fn attributes(message: &[u8], number: u64) -> BTreeMap<String, String> {
    let pair = |pair: &[u8]| {
        let value = all(pair, 2).remove(0);
        let string = all(value, 1).first().map(|string| text(string));
        let value = string.or_else(|| Some(varints(value, 3).first()?.to_string()));
        (text(all(pair, 1)[0]), value.unwrap_or_default())
    };
    all(message, number).into_iter().map(pair).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A field of a protobuf message.
enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut message)),
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(bytes)
            }
            kind => {
                let size = if kind == 1 { 8 } else { 4 };
                message = &message[size..];
                Field::Fixed
            }
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first().unwrap();
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn all(message: &[u8], number: u64) -> Vec<&[u8]> {
    let bytes = |(of, field)| match field {
        Field::Bytes(bytes) if of == number => Some(bytes),
        _ => None,
    };
    fields(message).into_iter().filter_map(bytes).collect()
}

fn varints(message: &[u8], number: u64) -> Vec<u64> {
    let value = |(of, field)| match field {
        Field::Varint(value) if of == number => Some(value),
        _ => None,
    };
    fields(message).into_iter().filter_map(value).collect()
}

fn serve(place: &Place, endpoint: &str) -> (Running, String) {
    serve_and_trust(place, endpoint, None)
}

/// Trusts the certificates of this file alone, where one is given.
fn serve_and_trust(place: &Place, endpoint: &str, trusted: Option<&str>) -> (Running, String) {
    let words = ["serve", "--listen", "127.0.0.1:0", "--token", "t=ann"];
    let mut command = place.command(
        "server",
        &[&words[..], &["--otlp-endpoint", endpoint]].concat(),
    );
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    if let Some(trusted) = trusted {
        command.env("SSL_CERT_FILE", trusted);
    }
    let mut server = Running::start(command);
    let line = server.line();
    (
        server,
        line.strip_prefix("listening on ").unwrap().to_owned(),
    )
}

fn sync(place: &Place, url: &str) {
    let words = [
        "sync",
        "--once",
        "--server",
        url,
        "--token",
        "t",
        "--namespace",
        "mine",
    ];
    place.ok(&words);
}

#[test]
fn a_push_is_a_trace_from_its_session_to_its_commit_and_the_end_of_the_server_sends_what_waits() {
    let place = Place::new();
    let (endpoint, received) = collector();
    let (mut server, url) = serve(&place, &endpoint);
    place.ok(&["insert", "things", r#"{"_id":"a"}"#, r#"{"_id":"b"}"#]);
    sync(&place, &url);
    server.signal("TERM");
    assert_eq!(server.status_within(SOON), 0);
    // The process is gone, so nothing more can come.
    let spans: Vec<Span> = received.try_iter().collect();
    let named = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    let (session, push, commit) = (named("session"), named("push"), named("commit"));
    assert_eq!(session.service, "pocket");
    let attribute =
        |span: &Span, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    assert_eq!(attribute(session, "namespace"), "mine");
    assert_eq!(attribute(session, "user"), "ann");
    assert!(!attribute(session, "session").is_empty() && !attribute(session, "client").is_empty());
    assert_eq!(attribute(push, "changes"), "2");
    assert_eq!(attribute(commit, "changes"), "2");
    assert_eq!(attribute(commit, "pushes"), "1");
    assert_eq!(attribute(commit, "namespace"), "mine");
    assert_eq!(attribute(commit, "head"), "2");
    assert!(attribute(commit, "bytes").parse::<u64>().unwrap() > 0);
    assert_eq!((&push.parent, &push.trace), (&session.id, &session.trace));
    assert_eq!((&commit.parent, &commit.trace), (&push.id, &push.trace));
    // Documents and tokens are nobody's business here.
    assert!(!format!("{spans:?}").contains("things"), "{spans:?}");
}

#[test]
fn a_collector_that_is_away_holds_up_nobody() {
    let place = Place::new();
    let away = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (mut server, url) = serve(&place, &format!("http://{away}"));
    place.ok(&["insert", "things", "{}"]);
    sync(&place, &url);
    server.signal("TERM");
    assert_eq!(server.status_within(SOON), 0);
    let notes = server.notes();
    assert!(notes.contains("opentelemetry"), "{notes}");
}

#[test]
fn what_is_no_address_of_a_collector_is_refused_by_name() {
    let place = Place::new();
    for endpoint in [
        "nonsense",
        "127.0.0.1:4318",
        "grpc://x",
        "http://user:sesame@x",
        "http://x?a=b",
    ] {
        let words = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--otlp-endpoint",
            endpoint,
        ];
        let outcome = place.run_on("server", &words).failed(1, "config");
        assert!(outcome.err.contains("--otlp-endpoint"), "{outcome:?}");
        assert!(!outcome.err.contains("sesame"), "{outcome:?}");
    }
}

#[test]
fn spans_go_by_tls_to_a_collector_whose_certificate_is_trusted_and_to_no_other() {
    let place = Place::new();
    let own = place.file("trusted.pem", CERTIFICATE);
    let other = place.file("other.pem", include_str!("fixtures/tls/cert2.pem"));
    for (trusted, is_told) in [(&own, true), (&other, false)] {
        let (endpoint, received) = collector_by_tls();
        let (mut server, url) = serve_and_trust(&place, &endpoint, Some(trusted));
        place.ok(&["insert", "things", "{}"]);
        sync(&place, &url);
        server.signal("TERM");
        assert_eq!(server.status_within(SOON), 0);
        let names: Vec<String> = received.try_iter().map(|span| span.name).collect();
        assert_eq!(
            names.iter().any(|name| name == "session"),
            is_told,
            "{names:?}"
        );
    }
}
