//! The one order over all values.

use std::cmp::Ordering;

use pocket_core::{Map, Timestamp, Value};
use proptest::prelude::*;

use crate::strategy::value;

fn json(text: &str) -> Value {
    Value::from_json_str(text).unwrap()
}

/// Each is less than all behind it.
const RISING: &[&str] = &[
    "null",
    "false",
    "true",
    "-1.7976931348623157e308",
    "-9223372036854777856.0",
    "-9223372036854775808",
    "-9223372036854775807",
    "-1.5",
    "-1",
    "-0.5",
    "0",
    "5e-324",
    "0.5",
    "1",
    "9007199254740992.0",
    "9007199254740993",
    "9007199254740994.0",
    "9223372036854775807",
    "9223372036854775808.0",
    "9223372036854775809",
    "18446744073709551615",
    "18446744073709551616.0",
    r#"{"$date":"0000-01-01T00:00:00.000Z"}"#,
    r#"{"$date":"2024-02-29T12:00:00.000Z"}"#,
    r#""""#,
    r#""Z""#,
    r#""a""#,
    r#""aa""#,
    r#""b""#,
    r#""ÿ""#,
    r#""\uffff""#,
    r#""🦀""#,
    r#"{"$binary":""}"#,
    r#"{"$binary":"AA=="}"#,
    r#"{"$binary":"/w=="}"#,
    "[]",
    "[null]",
    "[1]",
    "[1,0]",
    "[2]",
    "{}",
    r#"{"a":1}"#,
    r#"{"a":1,"b":0}"#,
    r#"{"b":0,"a":2}"#,
    r#"{"b":0}"#,
];

#[test]
fn the_order_is_the_documented_one() {
    for (place, left) in RISING.iter().enumerate() {
        for (other, right) in RISING.iter().enumerate() {
            assert_eq!(
                json(left).cmp(&json(right)),
                place.cmp(&other),
                "{left} and {right}"
            );
        }
    }
}

#[test]
fn equal_is_not_the_same() {
    let pairs = [
        ("1", "1.0"),
        ("0.0", "-0.0"),
        ("18446744073709549568", "18446744073709549568.0"),
        ("-9223372036854775808", "-9223372036854775808.0"),
        (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
        (r#"[{"a":1}]"#, r#"[{"a":1.0}]"#),
    ];
    for (left, right) in pairs {
        let (left, right) = (json(left), json(right));
        assert_eq!(left, right);
        assert!(!left.is_same(&right), "{left:?}");
        assert!(left.is_same(&left.clone()) && right.is_same(&right.clone()));
    }
}

#[test]
fn numbers_that_are_none_stand_behind_all_numbers_and_equal_themselves() {
    let nan = Value::from(f64::NAN);
    assert_eq!(nan, Value::from(-f64::NAN));
    assert!(nan > Value::from(f64::INFINITY) && nan > Value::from(u64::MAX));
    assert!(nan < Value::from(Timestamp::from_millis(i64::MIN)));
}

#[test]
fn like_types_are_those_of_one_name() {
    assert!(json("1").is_like(&json("1.5")));
    assert!(!json("1").is_like(&json("\"1\"")));
    assert!(!json("null").is_like(&json("false")));
}

#[test]
fn a_map_keeps_the_order_written_and_finds_its_keys_at_any_size() {
    for size in [3, 16, 17, 200] {
        let mut map: Map = (0..size)
            .map(|number| (format!("k{number}"), number))
            .collect();
        assert_eq!(map.insert("k1", "new"), Some(Value::from(1)));
        assert_eq!(map.remove("k0"), Some(Value::from(0)));
        assert_eq!(map.remove("k0"), None);
        assert_eq!(map.insert("k0", true), None);
        *map.get_mut("k2").unwrap() = Value::Null;
        let keys: Vec<String> = map.keys().map(str::to_owned).collect();
        let expected: Vec<String> = (1..size)
            .chain([0])
            .map(|number| format!("k{number}"))
            .collect();
        assert_eq!(keys, expected);
        assert_eq!(map.len(), keys.len());
        assert_eq!(map.get("k0"), Some(&Value::from(true)));
        assert_eq!(map.get("k1"), Some(&Value::from("new")));
        assert_eq!(map.get("k2"), Some(&Value::Null));
        for (number, key) in keys.iter().enumerate().skip(2).take(size - 3) {
            assert_eq!(
                map.get(key),
                Some(&Value::from(number + 1)),
                "{key} of {size}"
            );
        }
        assert!(!map.contains_key("k"));
    }
}

proptest! {
    #[test]
    fn the_order_is_total(a in value(), b in value(), c in value()) {
        prop_assert_eq!(a.cmp(&a), Ordering::Equal);
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        let mut sorted = [a, b, c];
        sorted.sort();
        prop_assert!(sorted[0] <= sorted[1] && sorted[1] <= sorted[2] && sorted[0] <= sorted[2]);
    }

    #[test]
    fn integers_and_floats_compare_as_exact_numbers_do(whole in any::<i64>(), step in -3_i32..=3) {
        #[expect(clippy::cast_precision_loss, reason = "rounding is what is examined")]
        let near = whole as f64;
        // A float of this size is whole, so `i128` holds it exactly.
        prop_assume!(near.abs() > 9e15 && near.abs() < 9e18);
        let float = f64::from_bits(near.to_bits().wrapping_add_signed(step.into()));
        let exact = i128::from(whole).cmp(&(float as i128));
        prop_assert_eq!(Value::from(whole).cmp(&Value::from(float)), exact);
        prop_assert_eq!(Value::from(float).cmp(&Value::from(whole)), exact.reverse());
    }

    #[test]
    fn the_same_values_are_equal(a in value(), b in value()) {
        prop_assert!(a.is_same(&a.clone()));
        prop_assert!(!a.is_same(&b) || a == b);
    }
}
