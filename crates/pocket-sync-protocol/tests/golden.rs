//! The golden vectors: what each message looks like as bytes, for this and any other implementation.
//!
//! After a deliberate change of the format: `POCKET_WRITE_GOLDEN=1 cargo test --test golden`, and
//! then a look at what changed. A released version's vectors never change.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

mod common;

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use pocket_core::Value;
use pocket_sync_protocol::{
    ClientMessage, ProtocolError, ServerMessage, WireLimits, codes, decode_client, decode_server,
    encode_client, encode_server,
};

use vectors::{Expect, Message, Vector};

#[path = "golden/vectors.rs"]
mod vectors;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn decode(vector: &Vector, frame: &Bytes) -> Result<Message, ProtocolError> {
    let limits = WireLimits::default();
    if vector.from_client {
        decode_client(frame, &limits).map(Message::Client)
    } else {
        decode_server(frame, &limits).map(Message::Server)
    }
}

fn encode(message: &Message) -> Bytes {
    match message {
        Message::Client(message) => encode_client(message),
        Message::Server(message) => encode_server(message),
    }
}

/// What another implementation reads: one line for each vector.
fn index(vectors: &[Vector]) -> String {
    let mut lines = String::from("[\n");
    for (place, vector) in vectors.iter().enumerate() {
        let from = if vector.from_client {
            "client"
        } else {
            "server"
        };
        let expect = match &vector.expect {
            Expect::Same(_) => "same bytes again".to_owned(),
            Expect::Like(_, name) => format!("like {name}"),
            Expect::Refused(code) => format!("refused {code}"),
        };
        // Some refused frames are no MessagePack at all, and have no JSON form.
        let frame = rmp_serde::from_slice::<Value>(&vector.frame)
            .ok()
            .and_then(|value| value.to_json_string().ok())
            .filter(|_| !vector.name.starts_with("refused-bytes"))
            .unwrap_or_else(|| "null".to_owned());
        let comma = if place + 1 < vectors.len() { "," } else { "" };
        writeln!(
            lines,
            r#"{{"file":"{}.msgpack","from":"{from}","expect":"{expect}","frame":{frame}}}{comma}"#,
            vector.name
        )
        .unwrap();
    }
    lines.push_str("]\n");
    lines
}

#[test]
fn the_files_hold_exactly_these_vectors() {
    let vectors = vectors::all();
    let index = index(&vectors);
    if std::env::var_os("POCKET_WRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(folder()).unwrap();
        for vector in &vectors {
            std::fs::write(
                folder().join(format!("{}.msgpack", vector.name)),
                &vector.frame,
            )
            .unwrap();
        }
        std::fs::write(folder().join("vectors.json"), &index).unwrap();
    }
    for vector in &vectors {
        let stored = std::fs::read(folder().join(format!("{}.msgpack", vector.name)))
            .unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(stored, vector.frame, "{}", vector.name);
    }
    assert_eq!(
        std::fs::read_to_string(folder().join("vectors.json")).unwrap(),
        index
    );
    let files = std::fs::read_dir(folder()).unwrap().filter(|file| {
        file.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|extension| extension == "msgpack")
    });
    assert_eq!(
        files.count(),
        vectors.len(),
        "each file belongs to a vector"
    );
}

#[test]
fn each_frame_is_read_as_the_message_it_stands_for() {
    for vector in vectors::all() {
        let stored = std::fs::read(folder().join(format!("{}.msgpack", vector.name))).unwrap();
        let result = decode(&vector, &Bytes::from(stored.clone()));
        match &vector.expect {
            Expect::Same(message) => {
                assert_eq!(result.as_ref(), Ok(message), "{}", vector.name);
                assert_eq!(
                    encode(message),
                    stored,
                    "{} encodes to the same bytes",
                    vector.name
                );
            }
            Expect::Like(message, _) => {
                assert_eq!(result.as_ref(), Ok(message), "{}", vector.name);
                assert_ne!(
                    encode(message),
                    stored,
                    "{} is another spelling",
                    vector.name
                );
            }
            Expect::Refused(code) => {
                let error = result.expect_err(vector.name);
                assert_eq!(error.code(), *code, "{}: {error}", vector.name);
            }
        }
    }
}

#[test]
fn every_kind_of_message_and_every_error_of_decoding_has_a_vector() {
    let vectors = vectors::all();
    let same = |test: fn(&Message) -> bool| {
        vectors
            .iter()
            .any(|vector| matches!(&vector.expect, Expect::Same(m) if test(m)))
    };
    assert!(same(|m| matches!(
        m,
        Message::Client(ClientMessage::Hello(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Client(ClientMessage::Push(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Client(ClientMessage::Pull(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Client(ClientMessage::More(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Client(ClientMessage::Fetch(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Client(ClientMessage::Ping(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Server(ServerMessage::Welcome(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Server(ServerMessage::Outcomes(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Server(ServerMessage::Page(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Server(ServerMessage::Records(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Server(ServerMessage::Error(_))
    )));
    assert!(same(|m| matches!(
        m,
        Message::Server(ServerMessage::Pong(_))
    )));
    for code in [
        codes::BAD_FRAME,
        codes::CRITICAL_FIELD,
        codes::UNEXPECTED_MESSAGE,
    ] {
        let refused = |vector: &Vector| matches!(vector.expect, Expect::Refused(c) if c == code);
        assert!(vectors.iter().any(refused), "{code}");
    }
}

#[test]
fn the_records_of_a_page_are_what_was_encoded() {
    let vectors = vectors::all();
    let page = vectors
        .iter()
        .find(|vector| vector.name == "page")
        .expect("there is one");
    let Ok(Message::Server(ServerMessage::Page(page))) = decode(page, &page.frame) else {
        panic!("it is a page");
    };
    assert_eq!(page.records().unwrap(), vectors::records());
    let later = vectors
        .iter()
        .find(|vector| vector.name == "page-later")
        .expect("there is one");
    let Ok(Message::Server(ServerMessage::Page(later))) = decode(later, &later.frame) else {
        panic!("it is a page");
    };
    assert_eq!(later.records().unwrap(), page.records().unwrap()[..1]);
}
