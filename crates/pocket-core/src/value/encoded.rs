//! Values as they lie in a body: looked at and compared in place, without building a [`Value`](crate::Value).

use std::cmp::Ordering;
use std::str;

use pocket_storage::sorting;

use super::body::corrupt;
use super::lead::Lead;
use super::number::{Integer, cmp_floats};
use super::timestamp::{EXT_TYPE, Timestamp};
use super::token::{Reader, Token};
use crate::Result;

/// One value in its encoded form, borrowed from a body.
///
/// The bytes were checked when they came in. What reads them answers `corrupt` should they be damaged all the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded<'a> {
    token: Token<'a>,
    /// All its bytes; none of a text that stands in no body.
    bytes: &'a [u8],
    /// How many of them are the head of an array or a map, before what it holds.
    head: usize,
}

/// What an encoded value is.
#[derive(Clone, Debug)]
pub(crate) enum View<'a> {
    Null,
    Bool(bool),
    Integer(Integer),
    Float(f64),
    Timestamp(Timestamp),
    /// Text. UTF-8 unless the bytes are damaged.
    String(&'a [u8]),
    Binary(&'a [u8]),
    Array(Elements<'a>),
    Map(Entries<'a>),
}

impl<'a> Encoded<'a> {
    /// What a missing field compares as.
    pub(crate) const NULL: Self = Self {
        token: Token::Null,
        bytes: &[0xc0],
        head: 1,
    };

    /// The one value that these bytes are.
    #[inline]
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let token = reader.next().map_err(|error| corrupt(&error))?;
        Ok(Self {
            token,
            bytes,
            head: reader.position(),
        })
    }

    /// The one map that these bytes are.
    #[inline]
    pub(crate) fn map_of(bytes: &'a [u8]) -> Result<Self> {
        let whole = Self::of(bytes)?;
        match whole.token {
            Token::Map(_) => Ok(whole),
            _ => Err(corrupt(&"it is no map")),
        }
    }

    /// A value of a row, an array of `len` values, and the bytes behind the row.
    pub(crate) fn of_row(bytes: &'a [u8], len: u32, place: u32) -> Result<(Self, &'a [u8])> {
        let mut reader = Reader::new(bytes);
        let mut read = || {
            if reader.next()? != Token::Array(len) || place >= len {
                return Err(corrupt(&"it is no such row"));
            }
            reader.skip_many(place.into())?;
            let value = Self::read(&mut reader)?;
            reader.skip_many((len - place - 1).into())?;
            Ok(value)
        };
        let value = read().map_err(|error: crate::Error| corrupt(&error))?;
        Ok((value, &bytes[reader.position()..]))
    }

    /// A text that stands in no body, as an id does.
    pub(crate) fn text(text: &'a str) -> Self {
        Self {
            token: Token::String(text.as_bytes()),
            bytes: &[],
            head: 0,
        }
    }

    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut step = || {
            let start = reader.position();
            let token = reader.next()?;
            let head = reader.position() - start;
            reader.skip_many(token.inside())?;
            Ok(Self {
                token,
                bytes: reader.since(start),
                head,
            })
        };
        step().map_err(|error: crate::Error| corrupt(&error))
    }

    /// Its bytes as they lie in the body.
    #[inline]
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// What it is.
    pub(crate) fn view(self) -> Result<View<'a>> {
        Ok(match self.token {
            Token::Null => View::Null,
            Token::Bool(value) => View::Bool(value),
            Token::Integer(value) => View::Integer(value),
            Token::Float(value) => View::Float(value),
            Token::String(value) => View::String(value),
            Token::Binary(value) => View::Binary(value),
            Token::Ext(EXT_TYPE, payload) => {
                View::Timestamp(Timestamp::from_ext(payload).map_err(|what| corrupt(&what))?)
            }
            Token::Ext(..) => return Err(corrupt(&"an extension that is no timestamp")),
            Token::Array(left) => View::Array(Elements {
                reader: Reader::new(&self.bytes[self.head..]),
                left,
            }),
            Token::Map(left) => View::Map(Entries {
                reader: Reader::new(&self.bytes[self.head..]),
                left,
            }),
        })
    }

    /// Its elements, if it is an array.
    #[inline]
    pub(crate) fn array(self) -> Option<Elements<'a>> {
        match self.token {
            Token::Array(left) => Some(Elements {
                reader: Reader::new(&self.bytes[self.head..]),
                left,
            }),
            _ => None,
        }
    }

    /// Its entries, if it is a map.
    #[inline]
    pub(crate) fn map(self) -> Option<Entries<'a>> {
        match self.token {
            Token::Map(left) => Some(Entries {
                reader: Reader::new(&self.bytes[self.head..]),
                left,
            }),
            _ => None,
        }
    }

    /// Its text, if it is a string.
    pub(crate) fn as_str(self) -> Result<Option<&'a str>> {
        let Token::String(text) = self.token else {
            return Ok(None);
        };
        str::from_utf8(text)
            .map(Some)
            .map_err(|error| corrupt(&error))
    }

    /// Whether both are of one type, integers and floats being one.
    #[inline]
    pub(crate) fn is_like(self, other: Encoded<'_>) -> bool {
        self.rank() == other.rank()
    }

    /// Its place in the order of `docs/values.md`, the same as that of the values.
    pub(crate) fn compare(self, other: Encoded<'_>) -> Result<Ordering> {
        let ranks = self.rank().cmp(&other.rank());
        if ranks.is_ne() {
            return Ok(ranks);
        }
        Ok(match (self.view()?, other.view()?) {
            (View::Bool(left), View::Bool(right)) => left.cmp(&right),
            (View::Integer(left), View::Integer(right)) => left.cmp(&right),
            (View::Integer(left), View::Float(right)) => left.cmp_float(right),
            (View::Float(left), View::Integer(right)) => right.cmp_float(left).reverse(),
            (View::Float(left), View::Float(right)) => cmp_floats(left, right),
            (View::Timestamp(left), View::Timestamp(right)) => left.cmp(&right),
            (View::String(left), View::String(right))
            | (View::Binary(left), View::Binary(right)) => left.cmp(right),
            (View::Array(left), View::Array(right)) => compare_arrays(left, right)?,
            (View::Map(left), View::Map(right)) => compare_maps(left, right)?,
            _ => Ordering::Equal,
        })
    }

    /// Whether both are equal in the order.
    #[inline]
    pub(crate) fn equals(self, other: Encoded<'_>) -> Result<bool> {
        // Told apart by a glance at their heads, as nearly all are.
        let may_be = match (self.token, other.token) {
            (Token::String(left), Token::String(right)) => return Ok(left == right),
            (Token::Array(left), Token::Array(right)) | (Token::Map(left), Token::Map(right)) => {
                left == right
            }
            _ => true,
        };
        Ok(may_be && self.compare(other)?.is_eq())
    }

    /// Its lead.
    pub(crate) fn lead(self) -> Lead {
        Lead::of(self.token, self.rank())
    }

    #[inline]
    fn rank(self) -> u8 {
        match self.token {
            Token::Null => 0,
            Token::Bool(_) => 1,
            Token::Integer(_) | Token::Float(_) => 2,
            Token::Ext(..) => 3,
            Token::String(_) => 4,
            Token::Binary(_) => 5,
            Token::Array(_) => 6,
            Token::Map(_) => 7,
        }
    }
}

fn compare_arrays(mut left: Elements<'_>, mut right: Elements<'_>) -> Result<Ordering> {
    loop {
        let (mine, theirs) = match (left.next(), right.next()) {
            (None, None) => return Ok(Ordering::Equal),
            (None, Some(_)) => return Ok(Ordering::Less),
            (Some(_), None) => return Ok(Ordering::Greater),
            (Some(mine), Some(theirs)) => (mine?, theirs?),
        };
        let ordering = mine.compare(theirs)?;
        if ordering.is_ne() {
            return Ok(ordering);
        }
    }
}

fn compare_maps(left: Entries<'_>, right: Entries<'_>) -> Result<Ordering> {
    let (left, right) = (left.sorted()?, right.sorted()?);
    for ((mine, my_value), (theirs, their_value)) in left.iter().zip(&right) {
        let keys = mine.cmp(theirs);
        if keys.is_ne() {
            return Ok(keys);
        }
        let values = my_value.compare(*their_value)?;
        if values.is_ne() {
            return Ok(values);
        }
    }
    Ok(left.len().cmp(&right.len()))
}

/// The elements of an array, one after another.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Elements<'a> {
    /// So many values that stand one behind another in these bytes.
    pub(crate) fn row(bytes: &'a [u8], count: u32) -> Self {
        Self {
            reader: Reader::new(bytes),
            left: count,
        }
    }

    /// Whether one of them equals this. Where that is a text, nothing more of the others is read than their first bytes.
    #[inline]
    pub(crate) fn contain(mut self, sought: Encoded<'_>) -> Result<bool> {
        let Token::String(text) = sought.token else {
            for element in self {
                if element?.equals(sought)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        };
        while self.left > 0 {
            self.left -= 1;
            let is_text = self.reader.is_text(text);
            if is_text.map_err(|error| corrupt(&error))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many are left.
    pub(crate) fn count_left(&self) -> u32 {
        self.left
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Encoded<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = Encoded::read(&mut self.reader);
        if read.is_err() {
            self.left = 0;
        }
        Some(read)
    }
}

/// The entries of a map in the order written, one after another: the bytes of the key, and the value.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Entries<'a> {
    /// The value of this key; the others are passed over.
    #[inline]
    pub(crate) fn get(mut self, name: &[u8]) -> Result<Option<Encoded<'a>>> {
        let mut find = || {
            while self.left > 0 {
                self.left -= 1;
                if self.reader.is_next_text(name)? {
                    return Ok(Some(Encoded::read(&mut self.reader)?));
                }
                self.reader.skip()?;
            }
            Ok(None)
        };
        find().map_err(|error: crate::Error| corrupt(&error))
    }

    fn key(&mut self) -> Result<&'a [u8]> {
        match self.reader.next()? {
            Token::String(key) => Ok(key),
            _ => Err(corrupt(&"a key is no text")),
        }
    }

    /// All of them by key.
    fn sorted(self) -> Result<Vec<(&'a [u8], Encoded<'a>)>> {
        let mut entries = self.collect::<Result<Vec<_>>>()?;
        sorting::sort_unstable_by(&mut entries, |left, right| left.0.cmp(right.0));
        Ok(entries)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(&'a [u8], Encoded<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut read = || {
            let key = self.key()?;
            Ok((key, Encoded::read(&mut self.reader)?))
        };
        let entry = read().map_err(|error: crate::Error| corrupt(&error));
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_contains_what_equals_one_of_its_elements_and_nothing_inside_of_them() {
        let elements = serde_json::json!([
            "a",
            "x".repeat(31),
            "y".repeat(32),
            "z".repeat(300),
            "u".repeat(70_000),
            7,
            -70_000,
            1.5,
            true,
            null,
            ["inside"],
            {"key": "value"},
            "",
            "last",
        ]);
        let bytes = rmp_serde::to_vec(&elements).unwrap();
        let array = || Encoded::of(&bytes).unwrap().array().unwrap();
        for element in elements.as_array().unwrap() {
            let sought = rmp_serde::to_vec(element).unwrap();
            let sought = Encoded::of(&sought).unwrap();
            assert!(array().contain(sought).unwrap(), "{element}");
        }
        for other in ["b", "inside", "key", "value", "las", "lastly"] {
            assert!(!array().contain(Encoded::text(other)).unwrap(), "{other}");
        }
        let cut = &bytes[..bytes.len() - 2];
        let damaged = Encoded::of(cut).unwrap().array().unwrap();
        assert!(damaged.contain(Encoded::text("last")).is_err());
    }
}
