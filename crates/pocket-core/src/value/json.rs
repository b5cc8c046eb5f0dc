//! JSON text of values, exact in both directions.

use super::Value;
use super::serial::Keys;
#[cfg(not(target_arch = "wasm32"))]
use super::serial::RawValue;
use crate::{Error, Result};

impl Value {
    /// Reads JSON text, with `{"$binary": …}` and `{"$date": …}` for bytes and moments.
    ///
    /// A number with a fraction or an exponent is the nearest float, each other one an integer; `-0` is the float.
    ///
    /// # Errors
    /// `validation` when the text is no JSON, is deeper than 128 levels or has anything behind its value; for
    /// integers below −2⁶³ or above 2⁶⁴ − 1, numbers beyond floats or so small that the nearest float is zero, keys that occur twice, contain NUL or
    /// begin with `$`.
    pub fn from_json_str(text: &str) -> Result<Self> {
        read(text, Keys::Document)
    }

    /// As [`from_json_str`](Value::from_json_str), but keys may be anything: for filters, whose operators begin with `$`.
    pub(crate) fn raw_from_json_str(text: &str) -> Result<Self> {
        read(text, Keys::Raw)
    }

    /// The value as JSON text without blanks.
    ///
    /// [`from_json_str`](Value::from_json_str) reads [the same](Value::is_same) value from it: floats bit for
    /// bit and written as such (`1.0`), keys in their order.
    ///
    /// # Errors
    /// `validation` for floats that are not finite and for keys that could not be read back.
    pub fn to_json_string(&self) -> Result<String> {
        write(self, Keys::Document).map_err(Error::validation)
    }

    /// As [`to_json_string`](Value::to_json_string), but keys may be anything.
    ///
    /// # Errors
    /// For floats that are not finite.
    pub(crate) fn raw_to_json_string(&self) -> Result<String, String> {
        write(self, Keys::Raw)
    }
}

fn read(text: &str, keys: Keys) -> Result<Value> {
    check_numbers(text)?;
    parse(text, keys).map_err(|error| Error::validation(format!("bad JSON: {error}")))
}

#[cfg(not(target_arch = "wasm32"))]
fn parse(text: &str, keys: Keys) -> Result<Value, String> {
    use serde::de::DeserializeSeed;

    let mut text = serde_json::Deserializer::from_str(text);
    let value = keys.deserialize(&mut text);
    let value = value.and_then(|value| text.end().map(|()| value));
    value.map_err(|error| error.to_string())
}

#[cfg(not(target_arch = "wasm32"))]
fn write(value: &Value, keys: Keys) -> Result<String, String> {
    let written = match keys {
        Keys::Document => serde_json::to_string(value),
        Keys::Raw => serde_json::to_string(&RawValue(value)),
    };
    written.map_err(|error| error.to_string())
}

#[cfg(target_arch = "wasm32")]
use super::small_json::read as parse;

#[cfg(target_arch = "wasm32")]
fn write(value: &Value, keys: Keys) -> Result<String, String> {
    let mut to = String::new();
    super::small_json::write(&mut to, value, keys).map(|()| to)
}

/// Refuses numbers that `serde_json` would make others of without a word: integers that do not fit, and fractions so
/// small that nothing of them is left.
fn check_numbers(text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let len = match byte {
            b'"' => string_len(rest),
            b'-' | b'0'..=b'9' => {
                let len = rest
                    .iter()
                    .take_while(|byte| is_number_part(**byte))
                    .count();
                check_number(&text[at..at + len], at)?;
                len
            }
            _ => 1,
        };
        at += len;
    }
    Ok(())
}

/// The length of a string with its quotes; all that is left when it does not end.
fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = rest.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    rest.len()
}

fn is_number_part(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

fn check_number(token: &str, at: usize) -> Result<()> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_integer
        && !digits.is_empty()
        && token.parse::<i64>().is_err()
        && token.parse::<u64>().is_err()
    {
        let shown: String = token.chars().take(40).collect();
        return Err(Error::validation(format!(
            "bad JSON: the integer {shown} at byte {at} does not fit in 64 bits; write it as a string or, to \
             round it, as a float"
        )));
    }
    if !is_integer && is_lost(token) {
        let shown: String = token.chars().take(40).collect();
        return Err(Error::validation(format!(
            "bad JSON: the number {shown} at byte {at} is nearer to zero than any float; write it as a string, or 0"
        )));
    }
    Ok(())
}

/// Whether a decimal is not zero, but the float nearest to it is.
fn is_lost(token: &str) -> bool {
    let digits = token.split(['e', 'E']).next().unwrap_or(token);
    let is_zero = !digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    !is_zero && float(token) == Some(0.0)
}

/// The float that is nearest to a decimal.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn float(token: &str) -> Option<f64> {
    token.parse().ok()
}

/// As above, by the parser that JavaScript has: that of the standard library comes with a table of ten thousand bytes.
#[cfg(target_arch = "wasm32")]
pub(super) fn float(token: &str) -> Option<f64> {
    Some(js_sys::parse_float(token)).filter(|float| !float.is_nan())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::small_json;
    use super::*;

    const KEYS: [Keys; 2] = [Keys::Document, Keys::Raw];

    /// Both read the same of a text, or nothing.
    fn agree(text: &str) {
        for keys in KEYS {
            let small = check_numbers(text)
                .map_err(|error| error.to_string())
                .and_then(|()| small_json::read(text, keys));
            match (read(text, keys), small) {
                (Ok(read), Ok(small)) => {
                    assert!(read.is_same(&small), "{text}: {read:?}, {small:?}");
                }
                (Err(_), Err(_)) => {}
                (read, small) => panic!("{text}: {read:?}, {small:?}"),
            }
        }
    }

    #[test]
    fn the_small_reader_takes_and_refuses_what_serde_json_does() {
        for text in [
            "",
            " ",
            "null",
            " null ",
            "nul",
            "nullx",
            "true",
            "false",
            "0",
            "-0",
            "-",
            "01",
            "1.",
            ".5",
            "1e5",
            "1E+5",
            "1e",
            "1e400",
            "-1.5e-3",
            "18446744073709551615",
            "-9223372036854775808",
            "1.0",
            "+1",
            "1 2",
            "[]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1,2] ",
            "[",
            "]",
            "{}",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1,\"a\":2}",
            "{a:1}",
            "{\"$gt\":1}",
            "{\"a\":{\"$gt\":1}}",
            "{\"\\u0000\":1}",
            "\"",
            "\"a",
            "\"a\nb\"",
            "\"\\n\\t\\/\\b\\f\\r\\\\\\\"\"",
            "\"\\x\"",
            "\"\\u00e9\\u0041\"",
            "\"\\u+123\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83dx\"",
            "\"\\ud83d\\u0041\"",
            "\"\\u12\"",
            "\"é😀\"",
            "\"\\é\"",
            "{\"$date\":\"2024-02-29T12:00:00.000Z\"}",
            "{\"$date\":5}",
            "{\"$date\":-5}",
            "{\"$date\":1.5}",
            "{\"$date\":18446744073709551615}",
            "{\"$date\":\"x\"}",
            "{\"$date\":5,\"a\":1}",
            "{\"a\":1,\"$date\":5}",
            "{\"$binary\":\"AAE=\"}",
            "{\"$binary\":\"AAE\"}",
            "{\"$binary\":7}",
            "{\"$binary\":\"\",\"a\":1}",
            "{\"x\":[{\"$binary\":\"\"}, 1.5e300, [[null]]]}",
            "\u{feff}1",
            "\u{a0}1",
            "\u{b}1",
        ] {
            agree(text);
        }
        for depth in [126, 127, 128, 129, 1_000] {
            agree(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            agree(&format!(
                "{}1{}",
                "{\"a\":".repeat(depth),
                "}".repeat(depth)
            ));
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::Float),
            (any::<f64>(), -20..20).prop_map(|(digits, exponent)| {
                Value::Float((digits % 1e4).trunc() * 10_f64.powi(exponent))
            }),
            any::<String>().prop_map(Value::from),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Binary(bytes.into())),
            any::<i64>().prop_map(|millis| Value::Timestamp(crate::Timestamp::from_millis(millis))),
            (0..4_102_444_800_000_i64)
                .prop_map(|millis| Value::Timestamp(crate::Timestamp::from_millis(millis))),
        ];
        scalar.prop_recursive(4, 30, 5, |inner| {
            let key = prop_oneof!["[a-c]", "\\$[a-z]{1,3}", any::<String>()];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec((key, inner), 0..5).prop_map(|entries| {
                    Value::Map(entries.into_iter().fold(
                        super::super::Map::new(),
                        |mut map, (key, value)| {
                            map.insert(key, value);
                            map
                        },
                    ))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_by_hand_is_what_serde_writes(value in value()) {
            match (crate::value::value_bytes(&value), rmp_serde::to_vec_named(&value)) {
                (Ok(bytes), Ok(by_serde)) => prop_assert_eq!(bytes, by_serde),
                (Err(why), Err(by_serde)) => prop_assert_eq!(why, by_serde.to_string()),
                (bytes, by_serde) => prop_assert!(false, "{:?}, {:?}", bytes, by_serde),
            }
        }

        #[test]
        fn the_small_writer_writes_what_serde_json_does(value in value()) {
            for keys in KEYS {
                let mut small = String::new();
                let small = small_json::write(&mut small, &value, keys).map(|()| small);
                match (write(&value, keys), small) {
                    (Ok(text), Ok(small)) => {
                        prop_assert_eq!(&text, &small);
                        agree(&text);
                        // Cut and changed, both refuse it, or read the same.
                        let cut = text.floor_char_boundary(text.len() / 2);
                        agree(&text[..cut]);
                        agree(&text.replacen(':', ",", 1));
                    }
                    (Err(_), Err(_)) => {}
                    (text, small) => prop_assert!(false, "{:?}, {:?}", text, small),
                }
            }
        }
    }
}
