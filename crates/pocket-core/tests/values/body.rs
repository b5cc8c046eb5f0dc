//! Bodies: into bytes, out of bytes, and changes at the level of bytes.

use bytes::Bytes;
use pocket_core::{Body, DocumentId, DocumentLimits, Map, Value};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::strategy::{key, map};

fn limits() -> DocumentLimits {
    DocumentLimits::default()
}

fn map_of(json: &str) -> Map {
    Value::from_json_str(json)
        .unwrap()
        .as_map()
        .unwrap()
        .clone()
}

fn body(json: &str) -> Body {
    Body::from_map(&map_of(json), &limits()).unwrap()
}

fn json(body: &Body) -> String {
    Value::Map(body.to_map().unwrap()).to_json_string().unwrap()
}

fn id(text: &str) -> DocumentId {
    DocumentId::new(text).unwrap()
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Todo {
    title: String,
    #[serde(rename = "_id")]
    id: Option<String>,
    done: bool,
}

#[test]
fn a_struct_is_divided_into_id_and_body_and_put_together_again() {
    let todo = Todo {
        title: "Task".into(),
        id: Some("1".into()),
        done: true,
    };
    let (found, body) = Body::from_serialize(&todo, &limits()).unwrap();
    assert_eq!(found, Some(id("1")));
    assert_eq!(json(&body), r#"{"title":"Task","done":true}"#);
    assert_eq!(body.decode_with_id::<Todo>(&id("1")).unwrap(), todo);

    let (found, same) = Body::from_serialize(&Todo { id: None, ..todo }, &limits()).unwrap();
    assert_eq!((found, same), (None, body));
}

#[test]
fn an_id_of_any_length_is_spliced_in_first() {
    let limits = limits().with_nodes(100_000);
    for (id_bytes, fields) in [
        (1, 0),
        (31, 14),
        (32, 15),
        (255, 16),
        (256, 65_534),
        (7, 65_535),
    ] {
        let text = "é".repeat(id_bytes / 2) + &"x".repeat(id_bytes % 2);
        let fields: Map = (0..fields).map(|field| (field.to_string(), 0)).collect();
        let body = Body::from_map(&fields, &limits).unwrap();
        let document: Map = body.decode_with_id(&id(&text)).unwrap();
        assert_eq!(document.len(), fields.len() + 1);
        assert_eq!(
            document.iter().next(),
            Some(("_id", &Value::from(text.as_str())))
        );
        let bytes = rmp_serde::to_vec_named(&document).unwrap();
        assert_eq!(
            Body::split(&bytes, &limits).unwrap(),
            (Some(id(&text)), body)
        );
    }
}

#[test]
fn an_id_that_is_no_id_is_refused() {
    let split = |json: &str| {
        let value = Value::from_json_str(json).unwrap();
        Body::from_serialize(&value, &limits())
    };
    for json in [
        r#"{"_id":1}"#,
        r#"{"_id":""}"#,
        r#"{"_id":"a\u0000"}"#,
        r#"{"a":1,"_id":["x"]}"#,
    ] {
        assert_eq!(split(json).unwrap_err().code(), "bad-id", "{json}");
    }
    for json in [
        r#"{"_rev":"x"}"#,
        r#"{"_updatedAt":1}"#,
        r#"{"_deleted":false}"#,
        "[]",
        "1",
        "null",
    ] {
        assert_eq!(split(json).unwrap_err().code(), "validation", "{json}");
    }
    let (found, body) = split(r#"{"_id":null,"a":{"_id":7,"_rev":null}}"#).unwrap();
    assert_eq!(found, None);
    assert_eq!(json(&body), r#"{"a":{"_id":7,"_rev":null}}"#);
}

#[test]
fn what_serde_can_write_but_nobody_can_keep_is_refused() {
    #[derive(Serialize)]
    struct Sensor {
        reading: f32,
    }
    #[derive(Serialize)]
    struct Tuple(u8, u8);
    let error = Body::from_serialize(&Sensor { reading: f32::NAN }, &limits()).unwrap_err();
    assert_eq!(error.code(), "validation");
    assert!(error.to_string().contains(r#"field "reading""#), "{error}");
    assert!(Body::from_serialize(&Sensor { reading: 0.1 }, &limits()).is_ok());
    for error in [
        Body::from_serialize(&Tuple(1, 2), &limits()).unwrap_err(),
        Body::from_serialize("text", &limits()).unwrap_err(),
        Body::from_serialize(&std::collections::BTreeMap::from([(1, 2)]), &limits()).unwrap_err(),
    ] {
        assert_eq!(error.code(), "validation", "{error}");
    }
}

#[test]
fn a_wrong_type_and_damage_are_told_apart() {
    let body = body(r#"{"title":1}"#);
    let error = body.decode_with_id::<Todo>(&id("1")).unwrap_err();
    assert_eq!(error.code(), "type-mismatch");
    assert!(error.to_string().contains("expected a string"), "{error}");

    let cut = Body::from_trusted(body.into_bytes().slice(..4));
    let patch = Body::from_map(&Map::new(), &limits()).unwrap();
    for code in [
        cut.decode_with_id::<Todo>(&id("1")).unwrap_err().code(),
        cut.to_map().unwrap_err().code(),
        cut.field("title").unwrap_err().code(),
        cut.merge_top_level(&patch, &limits()).unwrap_err().code(),
        patch.merge_top_level(&cut, &limits()).unwrap_err().code(),
        Body::from_trusted(Bytes::new())
            .field("a")
            .unwrap_err()
            .code(),
        Body::from_trusted(Bytes::from_static(b"\x01"))
            .to_map()
            .unwrap_err()
            .code(),
    ] {
        assert_eq!(code, "corrupt");
    }
    assert!(cut.same_value(&cut.clone()) && !cut.same_value(&patch));
}

#[test]
fn an_update_keeps_places_and_puts_new_fields_last() {
    let merged = body(r#"{"b":1,"a":{"x":1,"y":2},"c":[1]}"#)
        .merge_top_level(
            &body(r#"{"new":true,"a":{"x":9},"b":null,"last":0}"#),
            &limits(),
        )
        .unwrap();
    assert_eq!(
        json(&merged),
        r#"{"b":null,"a":{"x":9},"c":[1],"new":true,"last":0}"#
    );
}

#[test]
fn an_update_over_a_limit_is_refused() {
    let (left, right) = (body(r#"{"a":"0123456789"}"#), body(r#"{"b":"0123456789"}"#));
    let merge = |limits: &DocumentLimits| left.merge_top_level(&right, limits);
    assert_eq!(merge(&limits()).unwrap().len(), 27);
    assert!(merge(&limits().with_bytes(27)).is_ok());
    assert_eq!(
        merge(&limits().with_bytes(26)).unwrap_err().code(),
        "document-too-large"
    );
    assert!(merge(&limits().with_nodes(3)).is_ok());
    assert_eq!(
        merge(&limits().with_nodes(2)).unwrap_err().code(),
        "validation"
    );
}

#[test]
fn bytes_of_the_id_do_not_count() {
    let document = map_of(r#"{"_id":"0123456789","a":1}"#);
    assert!(Body::from_serialize(&document, &limits().with_bytes(4)).is_ok());
    let error = Body::from_serialize(&document, &limits().with_bytes(3)).unwrap_err();
    assert_eq!(error.code(), "document-too-large");
}

#[test]
fn equal_content_in_other_bytes_is_the_same_value() {
    let (left, right) = (body(r#"{"a":1,"b":2}"#), body(r#"{"b":2.0,"a":1}"#));
    assert_ne!(left, right);
    assert!(left.same_value(&right));
    assert!(!left.same_value(&body(r#"{"a":1}"#)));
}

proptest! {
    #[test]
    fn a_map_survives_its_body(map in map()) {
        let body = Body::from_map(&map, &limits()).unwrap();
        prop_assert!(body.to_map().unwrap().is_same(&map));
        prop_assert_eq!(&Body::from_msgpack(body.clone().into_bytes(), &limits()).unwrap(), &body);
        prop_assert_eq!(Body::split(body.as_bytes(), &limits()).unwrap(), (None, body));
    }

    #[test]
    fn one_field_is_what_the_whole_map_says(map in map(), name in key()) {
        let body = Body::from_map(&map, &limits()).unwrap();
        let field = body.field(&name).unwrap();
        prop_assert_eq!(field.is_some(), map.contains_key(&name));
        for (name, value) in map.iter() {
            prop_assert!(body.field(name).unwrap().unwrap().is_same(value));
        }
    }

    #[test]
    fn merging_bytes_is_merging_maps(left in map(), right in map()) {
        let merged = Body::from_map(&left, &limits()).unwrap()
            .merge_top_level(&Body::from_map(&right, &limits()).unwrap(), &limits()).unwrap();
        let mut expected = left;
        expected.extend(right);
        prop_assert_eq!(&merged, &Body::from_map(&expected, &limits()).unwrap());
    }

    #[test]
    fn the_id_may_stand_anywhere(map in map(), place in any::<proptest::sample::Index>()) {
        let mut entries: Vec<(String, Value)> = map.clone().into_iter().collect();
        entries.insert(place.index(entries.len() + 1), ("_id".to_owned(), "x".into()));
        let document: Map = entries.into_iter().collect();
        let (found, body) = Body::from_serialize(&document, &limits()).unwrap();
        prop_assert_eq!(found, Some(id("x")));
        prop_assert_eq!(body, Body::from_map(&map, &limits()).unwrap());
    }
}
