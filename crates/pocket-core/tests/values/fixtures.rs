//! The bytes of each kind, written down from the MessagePack specification by hand: they are on disks
//! and wires, so a change here is a change of the format.

use pocket_core::{DocumentLimits, Value, check_body, check_frame};

const FIXTURES: &str = include_str!("../fixtures/values.json");

struct Row {
    name: String,
    bytes: Vec<u8>,
    /// The JSON text, or what the error says.
    text: String,
}

fn rows(section: &str, column: &str) -> Vec<Row> {
    let all = Value::from_json_str(FIXTURES).unwrap();
    let rows = all
        .as_map()
        .unwrap()
        .get(section)
        .unwrap()
        .as_array()
        .unwrap();
    assert!(!rows.is_empty());
    let text = |row: &Value, column| {
        row.as_map()
            .unwrap()
            .get(column)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    let read = |row| Row {
        name: text(row, "name"),
        bytes: bytes(&text(row, "hex")),
        text: text(row, column),
    };
    rows.iter().map(read).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| std::str::from_utf8(pair).unwrap());
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

fn in_a_field(value: &[u8]) -> Vec<u8> {
    [b"\x81\xa1a", value].concat()
}

#[test]
fn each_kind_has_the_bytes_and_the_json_written_down() {
    for Row { name, bytes, text } in rows("written", "json") {
        let value: Value = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(value.to_json_string().unwrap(), text, "{name}");
        let read = Value::from_json_str(&text).unwrap();
        assert!(read.is_same(&value), "{name}: {read:?} is not {value:?}");
        assert_eq!(rmp_serde::to_vec_named(&value).unwrap(), bytes, "{name}");
        check_body(&in_a_field(&bytes), &DocumentLimits::default()).expect(&name);
    }
}

#[test]
fn longer_forms_of_others_are_read() {
    for Row { name, bytes, text } in rows("read_only", "json") {
        let value: Value = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(value.to_json_string().unwrap(), text, "{name}");
        assert_ne!(rmp_serde::to_vec_named(&value).unwrap(), bytes, "{name}");
        check_body(&in_a_field(&bytes), &DocumentLimits::default()).expect(&name);
    }
}

#[test]
fn what_breaks_a_rule_is_refused_with_its_place() {
    for Row { name, bytes, text } in rows("refused", "says") {
        let body = check_body(&bytes, &DocumentLimits::default()).expect_err(&name);
        let frame = check_frame(&bytes, 32, 1_000).expect_err(&name);
        for error in [body, frame] {
            assert_eq!(error.code(), "validation", "{name}");
            let message = error.to_string();
            assert!(
                message.contains(&text) && message.contains("byte "),
                "{name}: {message}"
            );
        }
    }
}

#[test]
fn rules_of_documents_do_not_bind_messages() {
    for Row { name, bytes, text } in rows("refused_in_bodies", "says") {
        let error = check_body(&bytes, &DocumentLimits::default()).expect_err(&name);
        assert_eq!(error.code(), "validation", "{name}");
        assert!(error.to_string().contains(&text), "{name}: {error}");
        check_frame(&bytes, 32, 1_000).expect(&name);
    }
}
