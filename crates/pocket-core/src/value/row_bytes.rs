//! Rows written by serde, for types of this crate and the server; the other half of [`super::row`].
//!
//! The bytes are those that `rmp-serde` writes. It keeps a second way for sequences that do not know their length, which
//! doubles the code of whatever lies in one; all of these know it.

use std::fmt;

use rmp::encode;
use serde::Serialize;
use serde::ser::{self, Error as _};

use crate::scratch::Sink;

/// Why a row cannot be written.
#[derive(Debug)]
pub(crate) struct WriteError(String);

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WriteError {}

impl ser::Error for WriteError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Result<T = ()> = std::result::Result<T, WriteError>;

/// Appends a row as MessagePack: structs are arrays.
pub(crate) fn write_row<T: Serialize + ?Sized>(to: &mut Vec<u8>, row: &T) -> Result {
    row.serialize(&mut Bytes(Sink(to)))
}

/// Bytes in the making. Writing into memory cannot fail.
struct Bytes<'a>(Sink<'a>);

impl Bytes<'_> {
    fn natural(&mut self, number: u64) {
        let _ = encode::write_uint(&mut self.0, number);
    }

    fn integer(&mut self, number: i64) {
        let _ = encode::write_sint(&mut self.0, number);
    }

    fn nil(&mut self) {
        let _ = encode::write_nil(&mut self.0);
    }

    fn text(&mut self, text: &str) {
        let _ = encode::write_str(&mut self.0, text);
    }

    fn array(&mut self, len: usize) -> &mut Self {
        let _ = encode::write_array_len(&mut self.0, len as u32);
        self
    }

    fn map(&mut self, len: usize) -> &mut Self {
        let _ = encode::write_map_len(&mut self.0, len as u32);
        self
    }

    /// A variant with a value: a map of that one entry.
    fn variant(&mut self, name: &str) -> &mut Self {
        self.map(1).text(name);
        self
    }
}

fn known(len: Option<usize>) -> Result<usize> {
    len.ok_or_else(|| WriteError::custom("a sequence in a row does not know its length"))
}

macro_rules! write {
    ($($method:ident: $write:ident, $given:ty;)*) => {
        $(fn $method(self, value: $given) -> Result {
            self.$write(value.into());
            Ok(())
        })*
    };
}

impl ser::Serializer for &mut Bytes<'_> {
    type Ok = ();
    type Error = WriteError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    write! {
        serialize_u8: natural, u8;
        serialize_u16: natural, u16;
        serialize_u32: natural, u32;
        serialize_u64: natural, u64;
        serialize_i8: integer, i8;
        serialize_i16: integer, i16;
        serialize_i32: integer, i32;
        serialize_i64: integer, i64;
    }

    fn serialize_bool(self, value: bool) -> Result {
        let _ = encode::write_bool(&mut self.0, value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result {
        let _ = encode::write_f32(&mut self.0, value);
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result {
        let _ = encode::write_f64(&mut self.0, value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result {
        let _ = encode::write_bin(&mut self.0, value);
        Ok(())
    }

    fn serialize_none(self) -> Result {
        self.nil();
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result {
        self.nil();
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result {
        self.array(0);
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result {
        self.text(name);
        Ok(())
    }

    fn serialize_newtype_struct<T>(self, name: &'static str, value: &T) -> Result
    where
        T: Serialize + ?Sized,
    {
        if name == rmp_serde::MSGPACK_EXT_STRUCT_NAME {
            return Err(WriteError::custom("a row holds no extension"));
        }
        value.serialize(self)
    }

    fn serialize_newtype_variant<T>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result
    where
        T: Serialize + ?Sized,
    {
        value.serialize(self.variant(name))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self> {
        Ok(self.array(known(len)?))
    }

    fn serialize_tuple(self, len: usize) -> Result<Self> {
        Ok(self.array(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Self> {
        Ok(self.array(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        len: usize,
    ) -> Result<Self> {
        Ok(self.variant(name).array(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self> {
        Ok(self.map(known(len)?))
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<Self> {
        Ok(self.array(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        len: usize,
    ) -> Result<Self> {
        Ok(self.variant(name).array(len))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! elements {
    ($($compound:ident: $element:ident;)*) => {
        $(impl ser::$compound for &mut Bytes<'_> {
            type Ok = ();
            type Error = WriteError;

            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result {
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

macro_rules! fields {
    ($($compound:ident)*) => {
        $(impl ser::$compound for &mut Bytes<'_> {
            type Ok = ();
            type Error = WriteError;

            fn serialize_field<T>(&mut self, _name: &'static str, value: &T) -> Result
            where
                T: Serialize + ?Sized,
            {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result {
                Ok(())
            }
        })*
    };
}

fields! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for &mut Bytes<'_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result {
        Ok(())
    }
}
