//! Rows read by serde, for types of this crate and the server.
//!
//! A row's type says what comes next and it is that or an error, so each method reads one kind of value and hands it to
//! the one method of the visitor that takes it. A general decoder makes code for every kind in every field of every
//! type, which was a sixth of the module that browsers load.

use std::fmt;

use serde::de::{self, DeserializeSeed, Error as _, Unexpected, Visitor};

use super::number::Integer;
use super::token::{Reader, Token};

/// Why a row cannot be read.
#[derive(Debug)]
pub(crate) struct RowError(String);

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RowError {}

impl de::Error for RowError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Result<T> = std::result::Result<T, RowError>;

/// The row that bytes begin with, and how many bytes it has.
pub(crate) fn read_row<'de, T: de::Deserialize<'de>>(bytes: &'de [u8]) -> Result<(T, usize)> {
    let mut rows = Rows(Reader::new(bytes));
    let row = T::deserialize(&mut rows)?;
    Ok((row, rows.0.position()))
}

/// Values of rows, read from the front.
struct Rows<'de>(Reader<'de>);

fn unexpected(token: Token<'_>, wanted: &'static str) -> RowError {
    let found = match token {
        Token::Null => Unexpected::Unit,
        Token::Bool(value) => Unexpected::Bool(value),
        Token::Integer(_) => Unexpected::Other("an integer"),
        Token::Float(value) => Unexpected::Float(value),
        Token::String(_) => Unexpected::Other("text"),
        Token::Binary(bytes) => Unexpected::Bytes(bytes),
        Token::Ext(..) => Unexpected::Other("an extension"),
        Token::Array(_) => Unexpected::Seq,
        Token::Map(_) => Unexpected::Map,
    };
    RowError::invalid_type(found, &wanted)
}

impl<'de> Rows<'de> {
    fn next(&mut self) -> Result<Token<'de>> {
        self.0.next().map_err(RowError::custom)
    }

    fn integer(&mut self) -> Result<Integer> {
        match self.next()? {
            Token::Integer(value) => Ok(value),
            other => Err(unexpected(other, "an integer")),
        }
    }

    fn unsigned(&mut self) -> Result<u64> {
        let value = self.integer()?;
        let below = || RowError("a number is below zero".to_owned());
        value.as_u64().ok_or_else(below)
    }

    fn signed(&mut self) -> Result<i64> {
        let value = self.integer()?;
        let above = || RowError("a number is too large".to_owned());
        value.as_i64().ok_or_else(above)
    }

    fn float(&mut self) -> Result<f64> {
        match self.next()? {
            Token::Float(value) => Ok(value),
            other => Err(unexpected(other, "a float")),
        }
    }

    fn text(&mut self) -> Result<&'de str> {
        match self.next()? {
            Token::String(text) => std::str::from_utf8(text).map_err(RowError::custom),
            other => Err(unexpected(other, "text")),
        }
    }

    fn bytes(&mut self) -> Result<&'de [u8]> {
        match self.next()? {
            Token::Binary(bytes) => Ok(bytes),
            other => Err(unexpected(other, "bytes")),
        }
    }

    fn array(&mut self) -> Result<u32> {
        match self.next()? {
            Token::Array(len) => Ok(len),
            other => Err(unexpected(other, "an array")),
        }
    }

    fn map(&mut self) -> Result<u32> {
        match self.next()? {
            Token::Map(len) => Ok(len),
            other => Err(unexpected(other, "a map")),
        }
    }

    /// Whether nil stands there, which is then read.
    fn nil(&mut self) -> Result<bool> {
        let before = self.0.clone();
        let nil = self.next()? == Token::Null;
        if !nil {
            self.0 = before;
        }
        Ok(nil)
    }

    fn all_read(left: u32) -> Result<()> {
        if left == 0 {
            Ok(())
        } else {
            Err(RowError(format!("{left} values more than expected")))
        }
    }
}

macro_rules! read {
    ($($method:ident: $read:ident, $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(self.$read()?)
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Rows<'de> {
    type Error = RowError;

    read! {
        deserialize_u8: unsigned, visit_u64;
        deserialize_u16: unsigned, visit_u64;
        deserialize_u32: unsigned, visit_u64;
        deserialize_u64: unsigned, visit_u64;
        deserialize_i8: signed, visit_i64;
        deserialize_i16: signed, visit_i64;
        deserialize_i32: signed, visit_i64;
        deserialize_i64: signed, visit_i64;
        deserialize_f32: float, visit_f64;
        deserialize_f64: float, visit_f64;
        deserialize_str: text, visit_borrowed_str;
        deserialize_string: text, visit_borrowed_str;
        deserialize_identifier: text, visit_borrowed_str;
        deserialize_bytes: bytes, visit_borrowed_bytes;
        deserialize_byte_buf: bytes, visit_borrowed_bytes;
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        Err(RowError(
            "a row's type does not say what it expects".to_owned(),
        ))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.next()? {
            Token::Bool(value) => visitor.visit_bool(value),
            other => Err(unexpected(other, "a bool")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.nil()? {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.next()? {
            Token::Null => visitor.visit_unit(),
            other => Err(unexpected(other, "nil")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let mut left = Left {
            count: self.array()?,
            rows: self,
        };
        let value = visitor.visit_seq(&mut left)?;
        Rows::all_read(left.count)?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let mut left = Left {
            count: self.map()?,
            rows: self,
        };
        let value = visitor.visit_map(&mut left)?;
        Rows::all_read(left.count)?;
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        // A variant alone is its name, one with a value a map of that one entry.
        let before = self.0.clone();
        let holds = match self.next()? {
            Token::Map(1) => true,
            Token::String(_) => false,
            other => return Err(unexpected(other, "a variant")),
        };
        if !holds {
            self.0 = before;
        }
        visitor.visit_enum(Variant { holds, rows: self })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.0.skip().map_err(RowError::custom)?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// What is left of an array, or the entries of a map.
struct Left<'a, 'de> {
    count: u32,
    rows: &'a mut Rows<'de>,
}

impl<'de> de::SeqAccess<'de> for &mut Left<'_, 'de> {
    type Error = RowError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.count == 0 {
            return Ok(None);
        }
        self.count -= 1;
        seed.deserialize(&mut *self.rows).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        // Each value has a byte at least, so no claim sets more aside than is there.
        Some(self.rows.0.left().min(self.count as usize))
    }
}

impl<'de> de::MapAccess<'de> for &mut Left<'_, 'de> {
    type Error = RowError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if self.count == 0 {
            return Ok(None);
        }
        self.count -= 1;
        seed.deserialize(&mut *self.rows).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.rows)
    }
}

struct Variant<'a, 'de> {
    holds: bool,
    rows: &'a mut Rows<'de>,
}

impl Variant<'_, '_> {
    fn with_value(&self) -> Result<()> {
        if self.holds {
            Ok(())
        } else {
            Err(RowError("a variant has no value".to_owned()))
        }
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = RowError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let value = seed.deserialize(&mut *self.rows)?;
        Ok((value, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = RowError;

    fn unit_variant(self) -> Result<()> {
        if self.holds {
            return Err(RowError("a variant has a value too many".to_owned()));
        }
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        self.with_value()?;
        seed.deserialize(self.rows)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        self.with_value()?;
        de::Deserializer::deserialize_seq(self.rows, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.with_value()?;
        de::Deserializer::deserialize_seq(self.rows, visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    crate::later_fields! {
        struct Fields {
            count: u64 = "c",
        }
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Phase {
        #[serde(rename = "w")]
        Waiting,
        #[serde(rename = "a")]
        At(Option<serde_bytes::ByteBuf>),
        #[serde(rename = "b")]
        Between(u64, i64),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Row {
        name: String,
        small: u8,
        signed: i64,
        flag: bool,
        id: serde_bytes::ByteArray<16>,
        places: Vec<(u64, Option<u32>)>,
        phase: Phase,
        later: Fields,
    }

    fn rows() -> impl Strategy<Value = Row> {
        let phase = prop_oneof![
            Just(Phase::Waiting),
            any::<Option<Vec<u8>>>().prop_map(|key| Phase::At(key.map(Into::into))),
            any::<(u64, i64)>().prop_map(|(from, to)| Phase::Between(from, to)),
        ];
        let scalars = any::<(String, u8, i64, bool, [u8; 16], u64)>();
        (scalars, any::<Vec<(u64, Option<u32>)>>(), phase).prop_map(
            |((name, small, signed, flag, id, count), places, phase)| Row {
                name,
                small,
                signed,
                flag,
                id: id.into(),
                places,
                phase,
                later: Fields { count },
            },
        )
    }

    proptest! {
        #[test]
        fn a_row_comes_back_with_its_length(row in rows(), behind: Vec<u8>) {
            let mut bytes = rmp_serde::to_vec(&row).unwrap();
            let length = bytes.len();
            let mut written = Vec::new();
            crate::value::write_row(&mut written, &row).unwrap();
            prop_assert_eq!(&written, &bytes);
            bytes.extend(behind);
            prop_assert_eq!(read_row::<Row>(&bytes).unwrap(), (row, length));
        }

        /// Nothing is read that a general decoder reads as something else, and nothing panics.
        #[test]
        fn damaged_bytes_are_an_error_or_the_row_that_they_say(
            row in rows(),
            place: prop::sample::Index,
            byte: u8,
            length: prop::sample::Index,
        ) {
            let mut bytes = rmp_serde::to_vec(&row).unwrap();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            if let Ok((read, end)) = read_row::<Row>(&bytes) {
                prop_assert_eq!(rmp_serde::from_slice::<Row>(&bytes[..end]).unwrap(), read);
            }
            let _ = read_row::<Row>(&bytes[..length.index(bytes.len())]);
        }
    }

    #[test]
    fn a_length_that_claims_more_than_is_there_sets_nothing_aside() {
        assert!(read_row::<Vec<u64>>(&[0xdd, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
        assert!(read_row::<String>(&[0xdb, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }
}
