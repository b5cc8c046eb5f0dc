//! JSON text, exact in both directions.

use pocket_core::{Timestamp, Value};
use proptest::prelude::*;

use crate::strategy::{float, value};

fn json(text: &str) -> Value {
    Value::from_json_str(text).unwrap()
}

/// Steele, Lea and Flood's `splitmix64`: all 64-bit numbers in an order that looks random.
fn mixed(index: u64) -> u64 {
    let mut bits = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[test]
fn a_hundred_thousand_floats_survive_bit_for_bit() {
    let floats = (0..)
        .map(|index| f64::from_bits(mixed(index)))
        .filter(|float| float.is_finite());
    for float in floats.take(100_000) {
        let text = Value::from(float).to_json_string().unwrap();
        let Value::Float(read) = json(&text) else {
            panic!("{text} is no float")
        };
        assert_eq!(read.to_bits(), float.to_bits(), "{text}");
    }
}

#[test]
fn integers_that_do_not_fit_are_refused_and_named() {
    for text in [
        "18446744073709551616",
        "-9223372036854775809",
        r#"{"a":[1,{"b":100000000000000000000}]}"#,
        r#"["\"",123456789012345678901234567890]"#,
    ] {
        let error = Value::from_json_str(text).unwrap_err();
        assert_eq!(error.code(), "validation");
        assert!(
            error.to_string().contains("does not fit in 64 bits"),
            "{error}"
        );
    }
    assert_eq!(
        json(r#""18446744073709551616""#),
        Value::from("18446744073709551616")
    );
    assert_eq!(
        json(r#""\\\"18446744073709551616""#),
        Value::from("\\\"18446744073709551616")
    );
    assert_eq!(
        json("18446744073709551616.0"),
        Value::from(18_446_744_073_709_551_616.0)
    );
    assert!(json("-0").is_same(&Value::from(-0.0)));
}

#[test]
fn what_is_no_json_or_breaks_a_rule_is_refused() {
    let deep = "[".repeat(100_000);
    for text in [
        "",
        "1 2",
        "{} x",
        "nul",
        "-",
        "01",
        "1e400",
        "-1e400",
        "1e-400",
        "[-0.000e5,-1E-999]",
        "NaN",
        "\"\\ud800\"",
        "\"open",
        "\"open\\",
        "ä",
        r#"{"a":1,"a":2}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        r#"{"$a":1}"#,
        r#"{"a":1,"$date":"2024-02-29T12:00:00Z"}"#,
        r#"{"$date":"2024-02-29T12:00:00Z","a":1}"#,
        r#"{"$date":"2024-02-30T12:00:00Z"}"#,
        r#"{"$date":"yesterday"}"#,
        r#"{"$date":1.5}"#,
        r#"{"$date":9223372036854775808}"#,
        r#"{"$date":"2024-02-29T12:00:00.0001Z"}"#,
        r#"{"$binary":"AA"}"#,
        r#"{"$binary":"A-=="}"#,
        r#"{"$binary":1}"#,
        r#"{"$binary":"AA==","a":1}"#,
        r#"{"a\u0000":1}"#,
        deep.as_str(),
    ] {
        let error = Value::from_json_str(text).expect_err(text);
        assert_eq!(error.code(), "validation", "{text}");
    }
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let keyed = |key: &str| Value::Map([(key, 1)].into_iter().collect());
    for value in [
        Value::from(f64::NAN),
        Value::from(f64::NEG_INFINITY),
        keyed("$date"),
        keyed("a\0"),
    ] {
        assert_eq!(
            value.to_json_string().unwrap_err().code(),
            "validation",
            "{value:?}"
        );
        assert!(rmp_serde::to_vec_named(&value).is_err(), "{value:?}");
    }
}

#[test]
fn offsets_become_utc_and_what_cannot_be_kept_is_refused() {
    let read = |text: &str| text.parse::<Timestamp>();
    assert_eq!(
        read("2024-02-29T13:30:00+01:30").unwrap(),
        read("2024-02-29T12:00:00Z").unwrap()
    );
    assert_eq!(
        read("2024-02-29T12:00:00.5000000Z").unwrap().millis() % 1_000,
        500
    );
    assert_eq!(read("1969-12-31T23:59:59.999Z").unwrap().millis(), -1);
    // A year before 0000 once it is in UTC: no text, but nothing is lost.
    let early = read("0000-01-01T00:00:00+01:00").unwrap();
    assert_eq!(early.to_string(), "-62167222800000");
    for text in [
        "2024-02-29T12:00:00.0001Z",
        "2016-12-31T23:59:60Z",
        "2024-02-29",
        "1709208000000",
        "",
    ] {
        assert_eq!(read(text).unwrap_err().code(), "validation", "{text}");
    }
}

proptest! {
    #[test]
    fn a_value_survives_json_and_messagepack(value in value()) {
        let text = value.to_json_string().unwrap();
        prop_assert!(json(&text).is_same(&value), "{}", text);
        let bytes = rmp_serde::to_vec_named(&value).unwrap();
        let read: Value = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert!(read.is_same(&value), "{:?}", read);
    }

    #[test]
    fn a_float_is_written_as_one(float in float()) {
        let text = Value::from(float).to_json_string().unwrap();
        prop_assert!(text.contains(['.', 'e']), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}", broken in r#"[\[{"\\\-0-9.e:,}\]$]{0,24}"#) {
        for text in [text, broken] {
            if let Ok(value) = Value::from_json_str(&text) {
                prop_assert!(json(&value.to_json_string().unwrap()).is_same(&value));
            }
        }
    }
}
