//! Values read from MessagePack by what is there: for what is stored, and for queries.
//!
//! It reads what the visitor of [`serial`](super::serial) reads of a general decoder, in one small function: that makes
//! code for every kind of number and text for each type that is read, and a browser would download it.

use super::serial::{key_fault, shown};
use super::timestamp::EXT_TYPE;
use super::token::{Reader, Token};
use super::{Map, Timestamp, Value};
use crate::{Error, Result};

/// How deep arrays and maps may lie in one another: more than in any document or filter, and less than the stack can bear.
const MAX_DEPTH: u32 = 256;

/// No more places are prepared than this before the values are there.
const PREPARED: usize = 1_024;

/// Reads the one value that the bytes are.
///
/// # Errors
/// `validation` when they are no value.
pub(crate) fn value(bytes: &[u8]) -> Result<Value> {
    whole(bytes, Keys::Document)
}

/// As [`value`], with keys that may begin with `$`, as operators of filters do.
///
/// # Errors
/// `validation` when they are no value.
pub(crate) fn raw_value(bytes: &[u8]) -> Result<Value> {
    whole(bytes, Keys::Raw)
}

/// As [`value`], for a map.
///
/// # Errors
/// `validation` when they are no map of values.
pub(crate) fn map(bytes: &[u8]) -> Result<Map> {
    match value(bytes)? {
        Value::Map(map) => Ok(map),
        other => Err(Error::validation(format_args!(
            "it is {}, and no map",
            other.type_name()
        ))),
    }
}

/// Which keys a map may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Document,
    Raw,
}

fn whole(bytes: &[u8], keys: Keys) -> Result<Value> {
    let mut reader = Reader::new(bytes);
    let value = read(&mut reader, keys, 0)?;
    match reader.left() {
        0 => Ok(value),
        _ => Err(Error::validation("something stands behind the value")),
    }
}

fn read(reader: &mut Reader<'_>, keys: Keys, depth: u32) -> Result<Value> {
    Ok(match reader.next()? {
        Token::Null => Value::Null,
        Token::Bool(value) => Value::Bool(value),
        Token::Integer(number) => Value::Integer(number),
        Token::Float(number) if number.is_finite() => Value::Float(number),
        Token::Float(number) => {
            return Err(Error::validation(format_args!("{number} is not finite")));
        }
        Token::String(text) => Value::String(utf8(text)?.to_owned()),
        Token::Binary(bytes) => Value::Binary(bytes.to_vec().into()),
        Token::Ext(EXT_TYPE, payload) => {
            Value::Timestamp(Timestamp::from_ext(payload).map_err(Error::validation)?)
        }
        Token::Ext(kind, _) => {
            return Err(Error::validation(format_args!(
                "MessagePack extension {kind} is unknown; only -1 (timestamp) is used"
            )));
        }
        Token::Array(_) | Token::Map(_) if depth == MAX_DEPTH => {
            return Err(Error::validation(
                "too many arrays and maps lie in one another",
            ));
        }
        Token::Array(len) => {
            let mut values = Vec::with_capacity((len as usize).min(PREPARED));
            for _ in 0..len {
                values.push(read(reader, keys, depth + 1)?);
            }
            Value::Array(values)
        }
        Token::Map(len) => {
            let mut map = Map::new();
            for _ in 0..len {
                let Token::String(key) = reader.next()? else {
                    return Err(Error::validation("a key is no text"));
                };
                let key = utf8(key)?;
                let fault = match keys {
                    Keys::Document => key_fault(key),
                    Keys::Raw => None,
                };
                let twice = map.contains_key(key).then_some("occurs twice");
                if let Some(fault) = fault.or(twice) {
                    return Err(Error::validation(format_args!(
                        "the key {:?} {fault}",
                        shown(key)
                    )));
                }
                map.insert(key, read(reader, keys, depth + 1)?);
            }
            Value::Map(map)
        }
    })
}

fn utf8(text: &[u8]) -> Result<&str> {
    std::str::from_utf8(text).map_err(|_| Error::validation("text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_values_are_read_as_another_reader_reads_them_or_not_at_all() {
        let given = Value::from_json_str(
            r#"{"a":[1,-2,3.5,"x",null,true],"b":{"$date":"2024-02-29T12:00:00.000Z"},"c":{"$binary":"AAEC"},"d":{"e":{}}}"#,
        )
        .unwrap();
        let bytes = rmp_serde::to_vec_named(&given).unwrap();
        assert!(value(&bytes).unwrap().is_same(&given));
        let mut read = 0;
        for at in 0..bytes.len() {
            assert!(value(&bytes[..at]).is_err(), "{at} bytes");
            for flip in 1..=255 {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                let Ok(found) = value(&damaged) else {
                    continue;
                };
                let expected: Value = rmp_serde::from_slice(&damaged).unwrap();
                assert!(found.is_same(&expected), "{found:?} and {expected:?}");
                read += 1;
            }
        }
        assert!(read > 1_000, "{read}");
    }

    #[test]
    fn keys_of_operators_are_for_queries_alone() {
        let bytes = b"\x81\xa3$in\x01";
        assert!(value(bytes).is_err());
        assert!(raw_value(bytes).is_ok());
        assert!(raw_value(b"\x82\xa1a\x01\xa1a\x02").is_err(), "a key twice");
    }

    #[test]
    fn arrays_in_arrays_without_end_are_refused() {
        let deep = vec![0x91; 1_000_000];
        assert!(value(&deep).is_err());
    }
}
