//! Golden bytes of HTTP bodies, for this and any other implementation.
//!
//! After a deliberate change of the format: `POCKET_WRITE_GOLDEN=1 cargo test --test http_golden`. A released
//! version's bytes never change.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use pocket_sync_protocol::http::{join, split};

/// A body, and the golden frames it holds, or why it is refused.
struct Vector {
    name: &'static str,
    body: Vec<u8>,
    frames: Result<&'static [&'static str], &'static str>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn frame(name: &str) -> Bytes {
    std::fs::read(folder().join(format!("{name}.msgpack")))
        .unwrap()
        .into()
}

fn body(names: &[&str]) -> Vec<u8> {
    join(&mut names.iter().map(|name| frame(name)).collect(), 4 << 20).to_vec()
}

fn all() -> Vec<Vector> {
    let held = |name, frames: &'static [&'static str]| Vector {
        name,
        body: body(frames),
        frames: Ok(frames),
    };
    let refused = |name, body: &[u8]| Vector {
        name,
        body: body.to_vec(),
        frames: Err("bad-frame"),
    };
    vec![
        held("http-empty", &[]),
        held("http-hello", &["hello-first"]),
        held("http-push-and-pull", &["push-one", "pull-first"]),
        held("http-answer", &["outcomes", "page", "pong"]),
        refused("http-refused-cut-length", &[0, 0, 0]),
        refused("http-refused-cut-frame", &[0, 0, 0, 2, 0x80]),
        refused("http-refused-empty-frame", &[0, 0, 0, 0]),
        refused(
            "http-refused-claimed-length",
            &[0xff, 0xff, 0xff, 0xff, 0x80],
        ),
    ]
}

/// What another implementation reads: one line for each vector.
fn index(vectors: &[Vector]) -> String {
    let mut lines = String::from("[\n");
    for (place, vector) in vectors.iter().enumerate() {
        let expect = match vector.frames {
            Ok(names) => {
                let files: Vec<String> = names.iter().map(|n| format!("\"{n}.msgpack\"")).collect();
                format!("\"frames\":[{}]", files.join(","))
            }
            Err(code) => format!("\"refused\":\"{code}\""),
        };
        let comma = if place + 1 < vectors.len() { "," } else { "" };
        writeln!(lines, r#"{{"file":"{}.bin",{expect}}}{comma}"#, vector.name).unwrap();
    }
    lines.push_str("]\n");
    lines
}

#[test]
fn the_files_hold_exactly_these_bodies() {
    let vectors = all();
    let index = index(&vectors);
    if std::env::var_os("POCKET_WRITE_GOLDEN").is_some() {
        for vector in &vectors {
            std::fs::write(folder().join(format!("{}.bin", vector.name)), &vector.body).unwrap();
        }
        std::fs::write(folder().join("http.json"), &index).unwrap();
    }
    for vector in &vectors {
        let stored = std::fs::read(folder().join(format!("{}.bin", vector.name))).unwrap();
        assert_eq!(stored, vector.body, "{}", vector.name);
    }
    assert_eq!(
        std::fs::read_to_string(folder().join("http.json")).unwrap(),
        index
    );
}

#[test]
fn each_body_is_read_as_its_frames() {
    for vector in all() {
        let stored = std::fs::read(folder().join(format!("{}.bin", vector.name))).unwrap();
        let frames = split(stored.into()).map_err(|error| error.code());
        let expected = vector
            .frames
            .map(|names| names.iter().map(|name| frame(name)).collect());
        assert_eq!(frames, expected, "{}", vector.name);
    }
}
