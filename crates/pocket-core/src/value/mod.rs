//! Values: what a document is made of, with one order over all of it and two exact notations.
//!
//! `docs/values.md` describes both notations, the order and the limits.

mod body;
mod check;
pub(crate) mod decode;
mod encoded;
mod json;
mod lead;
mod limits;
mod map;
mod number;
mod order;
mod row;
mod row_bytes;
mod serial;
#[cfg(any(test, target_arch = "wasm32"))]
mod small_json;
mod timestamp;
mod token;
mod write;

use bytes::Bytes;

pub use body::Body;
pub(crate) use check::{ID_FIELD, SYSTEM_FIELDS};
pub use check::{check_body, check_frame};
pub(crate) use encoded::{Elements, Encoded, Entries, View};
pub(crate) use lead::Lead;
pub use limits::DocumentLimits;
pub use map::Map;
pub use number::Integer;
pub(crate) use row::read_row;
pub(crate) use row_bytes::write_row;
pub(crate) use serial::RawValue;
pub use timestamp::Timestamp;
pub(crate) use write::value_bytes;

/// One value of a document.
///
/// `==` and `<` follow the one order of `docs/values.md`: numbers compare by value, so `1 == 1.0`,
/// and maps with the same entries are equal whatever the order of their keys.
/// [`is_same`](Value::is_same) tells those apart too.
///
/// ```
/// use pocket_core::Value;
///
/// let value = Value::from_json_str(r#"{"at":{"$date":"2024-02-29T12:00:00.000Z"},"n":1}"#)?;
/// let map = value.as_map().expect("a map was written");
/// assert_eq!(map.get("n"), Some(&Value::from(1.0)));
/// assert!(!map.get("n").is_some_and(|n| n.is_same(&Value::from(1.0))));
/// # Ok::<(), pocket_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing. A missing field counts as this in the order.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number, exact.
    Integer(Integer),
    /// A floating-point number. It must be finite to be written anywhere.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Binary(Bytes),
    /// A moment.
    Timestamp(Timestamp),
    /// Values in a row.
    Array(Vec<Value>),
    /// Named values, in the order written.
    Map(Map),
}

impl Value {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one. A float is none, even a whole one.
    pub fn as_integer(&self) -> Option<Integer> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The float, if it is one. An integer is none.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is binary.
    pub fn as_binary(&self) -> Option<&Bytes> {
        match self {
            Self::Binary(value) => Some(value),
            _ => None,
        }
    }

    /// The moment, if it is one.
    pub fn as_timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Timestamp(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The name of its type: `null`, `bool`, `number`, `timestamp`, `string`, `binary`, `array`, `map`.
    ///
    /// Values of one name are of like types: integers and floats are both numbers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Integer(_) | Self::Float(_) => "number",
            Self::Timestamp(_) => "timestamp",
            Self::String(_) => "string",
            Self::Binary(_) => "binary",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
        }
    }

    /// Whether both are of one type in the sense of [`type_name`](Value::type_name).
    pub fn is_like(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

macro_rules! from {
    ($($source:ty => $variant:ident),* $(,)?) => {$(
        impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool,
    i8 => Integer, i16 => Integer, i32 => Integer, i64 => Integer, isize => Integer,
    u8 => Integer, u16 => Integer, u32 => Integer, u64 => Integer, usize => Integer,
    Integer => Integer,
    f32 => Float, f64 => Float,
    &str => String, String => String,
    Bytes => Binary,
    Timestamp => Timestamp,
    Vec<Value> => Array,
    Map => Map,
}

/// `None` is null.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

/// Compiles the examples of the page.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/values.md")]
struct Page;
