//! The body of a document as it is stored and sent: checked MessagePack.

use std::{any, fmt};

use bytes::Bytes;
use pocket_storage::ordered::BTreeMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::check::{ID_FIELD, check_body, check_document};
use super::decode;
use super::encoded::Encoded;
use super::limits::DocumentLimits;
use super::token::{Reader, Token};
use super::{Map, Value, write};
use crate::scratch::{self, Sink};
use crate::{DocumentId, Error, Result, codes};

/// What a document holds besides its id: a checked MessagePack map, cheap to clone.
///
/// Two bodies are `==` when their bytes are; [`same_value`](Body::same_value) compares what they hold.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Bytes);

impl Body {
    /// Takes bytes that came from outside, after [`check_body`].
    ///
    /// # Errors
    /// Those of [`check_body`].
    pub fn from_msgpack(bytes: Bytes, limits: &DocumentLimits) -> Result<Self> {
        check_body(&bytes, limits)?;
        Ok(Self(bytes))
    }

    /// Takes bytes that were checked before, as those from our own store were.
    ///
    /// Should they be damaged all the same, what reads them answers `corrupt`.
    pub fn from_trusted(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Divides a document as `rmp-serde` wrote it into its id and its body, and checks both.
    ///
    /// An `_id` of null counts as none.
    ///
    /// # Errors
    /// `bad-id` when the `_id` is no text or breaks the rule of ids; else those of [`check_body`].
    pub fn split(bytes: &[u8], limits: &DocumentLimits) -> Result<(Option<DocumentId>, Self)> {
        let document = check_document(bytes, limits)?;
        let Some(entry) = document.id else {
            limits.check_bytes(bytes.len())?;
            return Ok((None, Self(Bytes::copy_from_slice(bytes))));
        };
        let mut body = Vec::with_capacity(bytes.len());
        write_map_head(&mut body, document.entries as usize - 1);
        body.extend_from_slice(&bytes[document.first..entry.start]);
        body.extend_from_slice(&bytes[entry.end..]);
        limits.check_bytes(body.len())?;
        let id = match entry.text {
            Some((start, end)) => Some(DocumentId::new(&String::from_utf8_lossy(
                &bytes[start..end],
            ))?),
            None => None,
        };
        Ok((id, Self(body.into())))
    }

    /// Divides each document of an array, as [`split`](Body::split) does.
    ///
    /// # Errors
    /// As [`split`](Body::split), with the place of the document; `validation` when the bytes are no array.
    pub fn split_many(
        bytes: &[u8],
        limits: &DocumentLimits,
    ) -> Result<Vec<(Option<DocumentId>, Self)>> {
        let mut reader = Reader::new(bytes);
        let Token::Array(len) = reader.next()? else {
            return Err(Error::validation("the documents are no array"));
        };
        // What the array claims to hold may not be there.
        let mut documents = Vec::new();
        for at in 0..len {
            let start = reader.position();
            reader.skip()?;
            let document = Self::split(reader.since(start), limits).map_err(|error| {
                let path = error
                    .path()
                    .map_or_else(|| at.to_string(), |path| format!("{at}.{path}"));
                Error::new(error.code(), format!("document {at}: {error}")).at(&path)
            })?;
            documents.push(document);
        }
        match reader.left() {
            0 => Ok(documents),
            _ => Err(Error::validation(
                "something stands behind the array of documents",
            )),
        }
    }

    /// Writes a document of the caller's own type and divides it into id and body.
    ///
    /// # Errors
    /// `validation` when it is no map or struct with named fields or cannot be written; else those of
    /// [`split`](Body::split).
    pub fn from_serialize<T: Serialize + ?Sized>(
        document: &T,
        limits: &DocumentLimits,
    ) -> Result<(Option<DocumentId>, Self)> {
        scratch::with(|bytes| {
            rmp_serde::encode::write_named(&mut Sink(bytes), document).map_err(|error| {
                Error::validation(format!(
                    "a {} cannot be written: {error}",
                    any::type_name::<T>()
                ))
            })?;
            Self::split(bytes, limits)
        })
    }

    /// Writes a map without `_id`.
    ///
    /// # Errors
    /// Those of [`check_body`].
    pub fn from_map(map: &Map, limits: &DocumentLimits) -> Result<Self> {
        let bytes = write::map_bytes(map).map_err(Error::validation)?;
        Self::from_msgpack(bytes.into(), limits)
    }

    /// All of it as values.
    ///
    /// # Errors
    /// `corrupt` when trusted bytes are damaged.
    pub fn to_map(&self) -> Result<Map> {
        decode::map(&self.0).map_err(|error| corrupt(&error))
    }

    /// Reads the document as the caller's own type, with `_id` as its first field.
    ///
    /// # Errors
    /// `type-mismatch` with what serde says when it is not of that type; `corrupt` when trusted bytes are
    /// damaged.
    pub fn decode_with_id<T: DeserializeOwned>(&self, id: &DocumentId) -> Result<T> {
        let head = self.entries()?;
        let first = head.reader.position();
        let mut document = Vec::with_capacity(self.len() + id.as_str().len() + 12);
        write_map_head(&mut document, head.left as usize + 1);
        write_text(&mut document, ID_FIELD);
        write_text(&mut document, id.as_str());
        document.extend_from_slice(&self.0[first..]);
        rmp_serde::from_slice(&document).map_err(|error| match self.skim() {
            Ok(()) => Error::new(
                codes::TYPE_MISMATCH,
                format!(
                    "document {id:?} cannot be read as {}: {error}",
                    any::type_name::<T>()
                ),
            ),
            Err(damage) => damage,
        })
    }

    /// This body with the fields of `patch` set: those there are keep their places, new ones go last.
    ///
    /// Fields are replaced whole, whatever they hold.
    ///
    /// # Errors
    /// `document-too-large` or `validation` when the result is over the limits; `corrupt` when trusted bytes
    /// are damaged.
    pub fn merge_top_level(&self, patch: &Self, limits: &DocumentLimits) -> Result<Self> {
        let changes: Vec<Entry<'_>> = patch.entries()?.collect::<Result<_>>()?;
        let places: BTreeMap<&[u8], usize> = changes
            .iter()
            .enumerate()
            .map(|(place, entry)| (entry.key, place))
            .collect();
        let mut is_new = vec![true; changes.len()];
        let mut count = 0;
        let mut fields = Vec::with_capacity(self.len() + patch.len());
        for entry in self.entries()? {
            let entry = entry?;
            let change = places.get(entry.key).copied();
            let value = change.map_or(entry.value, |place| changes[place].value);
            if let Some(place) = change {
                is_new[place] = false;
            }
            fields.extend_from_slice(entry.written_key);
            fields.extend_from_slice(value);
            count += 1;
        }
        for (entry, _) in changes.iter().zip(is_new).filter(|(_, is_new)| *is_new) {
            fields.extend_from_slice(entry.written_key);
            fields.extend_from_slice(entry.value);
            count += 1;
        }
        let mut merged = Vec::with_capacity(fields.len() + 5);
        write_map_head(&mut merged, count);
        merged.append(&mut fields);
        Self::from_msgpack(merged.into(), limits)
    }

    /// A body of these fields. Those that are [the same](Value::is_same) here keep their bytes.
    ///
    /// # Errors
    /// Those of [`check_body`]; `corrupt` when trusted bytes are damaged.
    pub fn with_fields(&self, fields: &Map, limits: &DocumentLimits) -> Result<Self> {
        let mut old: BTreeMap<&[u8], Entry<'_>> = BTreeMap::new();
        for entry in self.entries()? {
            let entry = entry?;
            old.insert(entry.key, entry);
        }
        let fresh = Self::from_map(fields, limits)?;
        let mut bytes = Vec::with_capacity(self.len().max(fresh.len()));
        write_map_head(&mut bytes, fields.len());
        for (entry, (name, value)) in fresh.entries()?.zip(fields.iter()) {
            let mut entry = entry?;
            if let Some(old) = old.get(name.as_bytes()) {
                let before: Value = decode::value(old.value).map_err(|error| corrupt(&error))?;
                if before.is_same(value) {
                    entry = *old;
                }
            }
            bytes.extend_from_slice(entry.written_key);
            bytes.extend_from_slice(entry.value);
        }
        Self::from_msgpack(bytes.into(), limits)
    }

    /// The value of one field at the top; the others are passed over, not built.
    ///
    /// # Errors
    /// `corrupt` when trusted bytes are damaged.
    pub fn field(&self, name: &str) -> Result<Option<Value>> {
        for entry in self.entries()? {
            let entry = entry?;
            if entry.key == name.as_bytes() {
                return decode::value(entry.value)
                    .map(Some)
                    .map_err(|error| corrupt(&error));
            }
        }
        Ok(None)
    }

    /// Whether both hold equal fields, whatever their order and the form of their bytes.
    ///
    /// Damaged bytes equal nothing but themselves.
    pub fn same_value(&self, other: &Self) -> bool {
        self == other
            || matches!((self.to_map(), other.to_map()), (Ok(left), Ok(right)) if left == right)
    }

    /// The MessagePack bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The MessagePack bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The number of MessagePack bytes, as limits count it.
    #[expect(
        clippy::len_without_is_empty,
        reason = "even an empty document has a byte"
    )]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The whole as one encoded value, a map.
    ///
    /// # Errors
    /// `corrupt` when trusted bytes are damaged.
    pub(crate) fn encoded(&self) -> Result<Encoded<'_>> {
        Encoded::map_of(&self.0)
    }

    /// Whether the bytes are whole, to tell damage from a wrong type.
    fn skim(&self) -> Result<()> {
        self.entries()?.try_for_each(|entry| entry.map(drop))
    }

    fn entries(&self) -> Result<Entries<'_>> {
        let mut reader = Reader::new(&self.0);
        match reader.next() {
            Ok(Token::Map(left)) => Ok(Entries {
                bytes: &self.0,
                reader,
                left,
            }),
            Ok(_) => Err(corrupt(&"it is no map")),
            Err(error) => Err(corrupt(&error)),
        }
    }
}

/// Its content as JSON.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self
            .to_map()
            .and_then(|map| Value::Map(map).to_json_string())
        {
            Ok(json) => write!(f, "Body({json})"),
            Err(error) => write!(f, "Body({} bytes, {error})", self.len()),
        }
    }
}

/// A field at the top as bytes.
#[derive(Clone, Copy)]
struct Entry<'a> {
    /// Its key, bare.
    key: &'a [u8],
    /// Its key with the marker before it.
    written_key: &'a [u8],
    value: &'a [u8],
}

struct Entries<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Entries<'a> {
    fn read(&mut self) -> Result<Entry<'a>> {
        let start = self.reader.position();
        let Token::String(key) = self.reader.next()? else {
            return Err(Error::validation("a key is no text"));
        };
        let middle = self.reader.position();
        self.reader.skip()?;
        let end = self.reader.position();
        Ok(Entry {
            key,
            written_key: &self.bytes[start..middle],
            value: &self.bytes[middle..end],
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.read().map_err(|error| corrupt(&error));
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

pub(super) fn corrupt(what: &dyn fmt::Display) -> Error {
    Error::new(
        codes::CORRUPT,
        format!("a stored document cannot be read: {what}; restore it from a server or a backup"),
    )
}

fn write_map_head(out: &mut Vec<u8>, entries: usize) {
    match entries {
        0..=0x0f => out.push(0x80 | entries as u8),
        0x10..=0xffff => {
            out.push(0xde);
            out.extend_from_slice(&(entries as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdf);
            out.extend_from_slice(&(entries as u32).to_be_bytes());
        }
    }
}

/// Writes a text of less than 64 KiB, as keys of the system and ids are.
fn write_text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ 0..=0x1f => out.push(0xa0 | len as u8),
        len @ 0x20..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        len => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}
