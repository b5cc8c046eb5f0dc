//! Cursors: places in the order of a query.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmp::encode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sort::{Sort, SortKeys};
use crate::config::MAX_SORT_FIELDS;
use crate::value::{Encoded, View, decode};
use crate::{DocumentId, DocumentLimits, Error, Result, check_frame, codes};

/// The first byte of a cursor: how the rest is written.
const VERSION: u8 = 1;

/// A place in the order of a query: where one document stands, or stood.
///
/// It holds what the document was sorted by and its id, so it keeps its place when the document is changed or deleted.
/// It fits only queries with the same sort. Its text is opaque and safe in URLs; it grows with the values sorted by.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor {
    /// [`Sort::signature`].
    sort: u32,
    pub(super) keys: SortKeys,
    pub(super) id: DocumentId,
}

impl Cursor {
    pub(super) fn new(sort: &Sort, keys: SortKeys, id: DocumentId) -> Self {
        Self {
            sort: sort.signature(),
            keys,
            id,
        }
    }

    /// Whether it is a place in this order.
    ///
    /// # Errors
    /// `bad-query` when it was made for another one.
    pub(super) fn check(&self, sort: &Sort) -> Result<()> {
        if self.sort == sort.signature() && self.keys.len() == sort.fields().len() {
            return Ok(());
        }
        Err(Error::new(
            codes::BAD_QUERY,
            format!(
                "the cursor was made for another sort than `{sort}`; begin without a cursor, or sort as the query did \
                 that it comes from"
            ),
        ))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = || {
            let mut bytes = vec![VERSION];
            encode::write_map_len(&mut bytes, 3)?;
            encode::write_str(&mut bytes, "s")?;
            encode::write_uint(&mut bytes, self.sort.into())?;
            encode::write_str(&mut bytes, "i")?;
            encode::write_str(&mut bytes, self.id.as_str())?;
            encode::write_str(&mut bytes, "k")?;
            encode::write_array_len(&mut bytes, self.keys.len() as u32)?;
            bytes.extend_from_slice(self.keys.as_bytes());
            Ok::<_, encode::ValueWriteError>(bytes)
        };
        let bytes = write().map_err(|_| fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({self})")
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        read(text).ok_or_else(|| {
            Error::new(
                codes::BAD_QUERY,
                "this is no cursor, or one of another version; take the text of a cursor whole and unchanged, or begin \
                 without one",
            )
        })
    }
}

fn read(text: &str) -> Option<Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (&VERSION, frame) = bytes.split_first()? else {
        return None;
    };
    // A map and an array stand around the values; each value takes a byte.
    check_frame(frame, DocumentLimits::MAX_DEPTH + 2, frame.len()).ok()?;
    let entries = Encoded::of(frame).ok()?.map()?;
    let field = |name: &str| entries.clone().get(name.as_bytes()).ok().flatten();
    let View::Integer(sort) = field("s")?.view().ok()? else {
        return None;
    };
    let keys: Vec<_> = field("k")?.array()?.collect::<Result<_>>().ok()?;
    if keys.len() > MAX_SORT_FIELDS {
        return None;
    }
    // No document was sorted by what no document can hold.
    for key in &keys {
        decode::value(key.bytes()).ok()?;
    }
    Some(Cursor {
        sort: sort.as_u64()?.try_into().ok()?,
        keys: SortKeys::new(&keys),
        id: DocumentId::new(field("i")?.as_str().ok()??).ok()?,
    })
}

/// As its text.
impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
