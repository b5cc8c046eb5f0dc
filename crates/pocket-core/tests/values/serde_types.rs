//! Values inside the caller's own types, also where serde buffers what it reads.

use std::collections::BTreeMap;

use bytes::Bytes;
use pocket_core::{Body, DocumentId, DocumentLimits, Integer, Map, Timestamp, Value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(document: &T) {
    let (id, body) = Body::from_serialize(document, &DocumentLimits::default()).unwrap();
    assert_eq!(id, None);
    let id = DocumentId::new("x").unwrap();
    assert_eq!(&body.decode_with_id::<T>(&id).unwrap(), document);
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Plain {
    at: Timestamp,
    maybe: Option<Timestamp>,
    none: Option<Timestamp>,
    number: Integer,
    anything: Value,
    map: Map,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    numbers: Vec<u8>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Flat {
    title: String,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(untagged)]
enum Untagged {
    Moment { at: Timestamp },
    Anything { value: Value },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(tag = "kind")]
enum Tagged {
    Event { at: Timestamp, payload: Value },
}

fn everything() -> Value {
    let mut map = Map::new();
    map.insert("at", Timestamp::from_millis(-1));
    map.insert("bytes", Bytes::from_static(b"\x00\xff"));
    map.insert(
        "numbers",
        Value::from_iter([Value::from(u64::MAX), i64::MIN.into(), 0.5.into()]),
    );
    map.insert("nothing", Value::Null);
    Value::Map(map)
}

#[test]
fn values_live_in_structs() {
    let plain = Plain {
        at: Timestamp::from_millis(1_709_208_000_678),
        maybe: Some(Timestamp::from_millis(i64::MAX)),
        none: None,
        number: u64::MAX.into(),
        anything: everything(),
        map: [("k", everything())].into_iter().collect(),
        bytes: vec![1, 2, 3],
        numbers: vec![1, 2, 3],
    };
    survives(&plain);
    let (_, body) = Body::from_serialize(&plain, &DocumentLimits::default()).unwrap();
    for (field, name) in [
        ("at", "timestamp"),
        ("bytes", "binary"),
        ("numbers", "array"),
    ] {
        assert_eq!(body.field(field).unwrap().unwrap().type_name(), name);
    }
}

/// `serde` says of everything it buffers that it is for people, whatever the format; timestamps came
/// out of such a buffer as an error until the extension was accepted there, too.
#[test]
fn values_live_in_flattened_and_untagged_types() {
    let rest = BTreeMap::from([
        ("_id".to_owned(), Value::from("x")),
        ("v".to_owned(), everything()),
    ]);
    let flat = Flat {
        title: "t".into(),
        rest,
    };
    let (id, body) = Body::from_serialize(&flat, &DocumentLimits::default()).unwrap();
    assert_eq!(body.decode_with_id::<Flat>(&id.unwrap()).unwrap(), flat);

    survives(&Untagged::Moment {
        at: Timestamp::from_millis(5),
    });
    survives(&Untagged::Anything {
        value: everything(),
    });
    survives(&Tagged::Event {
        at: Timestamp::from_millis(5),
        payload: everything(),
    });
}

#[test]
fn fields_nobody_asked_for_are_passed_over() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Last {
        last: u8,
    }
    let map = Map::from_iter([("v", everything()), ("last", 7.into())]);
    let body = Body::from_map(&map, &DocumentLimits::default()).unwrap();
    let id = DocumentId::new("x").unwrap();
    assert_eq!(body.decode_with_id::<Last>(&id).unwrap(), Last { last: 7 });
}

#[test]
fn values_of_a_type_are_refused_where_another_is_asked_for() {
    assert!(serde_json::from_str::<Timestamp>("\"2024-02-29T12:00:00Z\"").is_err());
    assert!(serde_json::from_str::<Timestamp>("{}").is_err());
    assert!(serde_json::from_str::<Integer>("1.0").is_err());
    assert!(serde_json::from_str::<Map>("[]").is_err());
    let date = r#"{"$date":"2024-02-29T12:00:00.000Z"}"#;
    assert!(serde_json::from_str::<Map>(date).is_err());
    assert_eq!(
        serde_json::to_string(&serde_json::from_str::<Timestamp>(date).unwrap()).unwrap(),
        date
    );
    // An extension that is no timestamp, and `$` keys in MessagePack, where nothing needs them.
    assert!(rmp_serde::from_slice::<Value>(b"\xd4\x01\x00").is_err());
    assert!(rmp_serde::from_slice::<Value>(b"\x81\xa5$date\x00").is_err());
    assert!(rmp_serde::from_slice::<Value>(b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00").is_err());
    assert!(rmp_serde::from_slice::<Value>(b"\x82\xa1a\x00\xa1a\x00").is_err());
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Wide {
    small: i128,
    large: u128,
}

/// `rmp-serde` writes all integers of 128 bits as sixteen bytes: the type reads them back, but to
/// everybody else they are binary. `docs/values.md` says so.
#[test]
fn integers_of_128_bits_are_binary() {
    let wide = Wide {
        small: -5,
        large: u128::from(u64::MAX) + 1,
    };
    survives(&wide);
    let (_, body) = Body::from_serialize(&wide, &DocumentLimits::default()).unwrap();
    for field in ["small", "large"] {
        assert_eq!(body.field(field).unwrap().unwrap().type_name(), "binary");
    }
}
