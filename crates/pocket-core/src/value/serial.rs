//! Values through serde: for people (JSON) and for machines (MessagePack).
//!
//! One visitor reads both. It takes extensions where the source says it is for people, too: serde's own
//! buffers (flattened fields, untagged enums) say so of everything they hold.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{self, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::timestamp::{DATE_KEY, ExtVisitor, read_date};
use super::{Map, Value};

/// The key of bytes in JSON.
pub(super) const BINARY_KEY: &str = "$binary";

/// No more places are prepared for a row than this before its values are there.
const PREPARED: usize = 1_024;

/// Why a key may not be used, at any depth.
pub(super) fn key_fault(key: &str) -> Option<&'static str> {
    if key.starts_with('$') {
        Some("begins with `$`, which is reserved; rename it")
    } else if key.contains('\0') {
        Some("contains NUL; rename it")
    } else {
        None
    }
}

/// A value whose keys may begin with `$`, as operators of filters do: the way into and out of serde for what is no
/// document.
///
/// `{"$date": …}` and `{"$binary": …}` are moments and bytes here too, where the notation is for people.
pub(crate) struct RawValue<V>(pub(crate) V);

impl Serialize for RawValue<&Value> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => {
                let mut row = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    row.serialize_element(&RawValue(value))?;
                }
                row.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries.iter() {
                    map.serialize_entry(key, &RawValue(value))?;
                }
                map.end()
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RawValue<Value> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Keys::Raw.deserialize(deserializer).map(Self)
    }
}

/// Which keys a value may have.
#[derive(Clone, Copy)]
pub(super) enum Keys {
    /// Those of documents.
    Document,
    /// Any.
    Raw,
}

impl Keys {
    pub(super) fn fault(self, key: &str) -> Option<&'static str> {
        match self {
            Self::Document => key_fault(key),
            Self::Raw => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let for_people = deserializer.is_human_readable();
        deserializer.deserialize_any(ValueVisitor {
            for_people,
            keys: self,
        })
    }
}

/// A key in a message, cut short.
pub(super) fn shown(key: &str) -> String {
    crate::error::cut(key, 40)
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => value.serialize(serializer),
            Self::Float(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Float(value) => Err(not_finite(*value)),
            Self::String(value) => serializer.serialize_str(value),
            Self::Binary(value) if serializer.is_human_readable() => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(BINARY_KEY, &STANDARD.encode(value))?;
                map.end()
            }
            Self::Binary(value) => serializer.serialize_bytes(value),
            Self::Timestamp(value) => value.serialize(serializer),
            Self::Array(values) => serializer.collect_seq(values),
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

/// Keys that could not be read back are refused.
impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self.iter() {
            if let Some(fault) = key_fault(key) {
                return Err(ser::Error::custom(format!(
                    "the key {:?} {fault}",
                    shown(key)
                )));
            }
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn not_finite<E: ser::Error>(value: f64) -> E {
    E::custom(format!(
        "{value} is not finite and cannot be kept; leave it out or use null"
    ))
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Keys::Document.deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor)
    }
}

struct ValueVisitor {
    for_people: bool,
    keys: Keys,
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.keys.deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        if value.is_finite() {
            Ok(Value::Float(value))
        } else {
            Err(E::custom(format!("{value} is not finite")))
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        self.visit_byte_buf(value.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Binary(value.into()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, ext: D) -> Result<Value, D::Error> {
        ext.deserialize_tuple(2, ExtVisitor).map(Value::Timestamp)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(PREPARED));
        while let Some(value) = seq.next_element_seed(self.keys)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let first = map.next_key::<String>()?;
        match first.as_deref() {
            Some(DATE_KEY) if self.for_people => read_date(&mut map).map(Value::Timestamp),
            Some(BINARY_KEY) if self.for_people => read_binary(&mut map),
            _ => read_map(first, map, self.keys).map(Value::Map),
        }
    }
}

struct MapVisitor;

impl<'de> Visitor<'de> for MapVisitor {
    type Value = Map;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Map, A::Error> {
        read_map(map.next_key()?, map, Keys::Document)
    }
}

fn read_map<'de, A: MapAccess<'de>>(
    first: Option<String>,
    mut source: A,
    keys: Keys,
) -> Result<Map, A::Error> {
    let mut map = Map::new();
    let mut next = first;
    while let Some(key) = next {
        if let Some(fault) = keys.fault(&key) {
            return Err(de::Error::custom(format!(
                "the key {:?} {fault}",
                shown(&key)
            )));
        }
        if map.contains_key(&key) {
            return Err(de::Error::custom(format!(
                "the key {:?} occurs twice",
                shown(&key)
            )));
        }
        let value = source.next_value_seed(keys)?;
        map.insert(key, value);
        next = source.next_key()?;
    }
    Ok(map)
}

/// Reads the rest of `{"$binary": …}` behind its key.
fn read_binary<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Value, A::Error> {
    let text: String = map.next_value()?;
    let bytes = STANDARD.decode(&text).map_err(|error| {
        de::Error::custom(format!(
            "`$binary` holds base64 with padding (RFC 4648): {error}"
        ))
    })?;
    match map.next_key::<de::IgnoredAny>()? {
        None => Ok(Value::Binary(bytes.into())),
        Some(_) => Err(de::Error::custom("`$binary` stands alone in its map")),
    }
}
