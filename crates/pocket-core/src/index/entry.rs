//! The entries of an index: which ones a document has, and what stands in their keys.
//!
//! A document has one entry for each combination of the values of the index's fields: one value of a field that holds
//! no array, each distinct element of one that does, and null where there is nothing. A document with more than
//! [`MAX_ENTRIES`] of them has one entry instead, which lies apart ([`Index::overflow`]) and says nothing about its
//! values: whoever reads the index reads that range as well, and looks at the documents.
//!
//! Each value is written as `key.rs` says, at most [`Index::most`] bytes of it: a longer one is cut there, and what is
//! equal as far as it goes stands together, by id. Since no encoding is the beginning of another one, cut values still
//! stand in their right places among all others, and where a value ends can be seen in the key. An index never decides
//! alone: readers look at the document, too.

use pocket_storage::KeyRange;
use pocket_storage::ordered::BTreeSet;

use super::interval::Interval;
use super::key::{self, Decoder, Encoder};
use super::{Index, IndexField};
use crate::query::path::Place;
use crate::stored::damaged;
use crate::value::Encoded;
use crate::{Body, DocumentId, Result, Revision, Value, keys};

/// Entries that a document has in one index at the most.
pub(crate) const MAX_ENTRIES: usize = 4_096;

/// Bytes of a key for all values of an entry. The rest is for the index's number and the longest id.
const MAX_VALUE_BYTES: usize = 760;

const _: () = assert!(5 + MAX_VALUE_BYTES + crate::MAX_ID_BYTES <= pocket_storage::MAX_KEY_BYTES);

/// What a document has in an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    /// The values of each entry, as they stand in the key.
    pub(crate) values: BTreeSet<Vec<u8>>,
    /// The fields that hold an array here or lie in one, as bits.
    pub(crate) multi: u32,
    /// There are too many: the one entry lies apart.
    pub(crate) overflow: bool,
}

/// An entry that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The document.
    pub(crate) id: DocumentId,
    /// Its values, one for each field of the index; none of a document that has too many.
    pub(crate) parts: Vec<Part<'a>>,
}

/// One value of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// As it stands in the key.
    bytes: &'a [u8],
    inverted: bool,
    /// Whether all of the value is there; otherwise what is equal as far as it goes may be another value.
    pub(crate) is_whole: bool,
}

impl Part<'_> {
    /// Bytes of the key that it takes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[cfg(test)]
    pub(super) fn decoder(&self) -> Decoder<'_> {
        Decoder::new(self.bytes, self.inverted)
    }
}

impl Index {
    /// Bytes of each value that are kept; a longer one is cut there.
    pub(crate) fn most(&self) -> usize {
        MAX_VALUE_BYTES / self.fields.len()
    }

    /// The entries of a live document.
    ///
    /// # Errors
    /// `corrupt` when the body is damaged.
    pub(crate) fn entries(&self, id: &DocumentId, body: &Body) -> Result<Entries> {
        let mut entries = Entries::default();
        if let Some(only) = &self.config.only
            && !only.matches(id, body)?
        {
            return Ok(entries);
        }
        let place = Place::document(id, body)?;
        let mut fields = Vec::with_capacity(self.fields.len());
        for (bit, field) in self.fields.iter().enumerate() {
            let (values, multi) = values_of(field, place, self.most())?;
            entries.multi |= u32::from(multi) << bit;
            fields.push(values);
        }
        let count = fields
            .iter()
            .try_fold(1_usize, |count, values| count.checked_mul(values.len()));
        if count.is_none_or(|count| count > MAX_ENTRIES) {
            entries.overflow = true;
            entries.values.insert(vec![key::OVERFLOW]);
            return Ok(entries);
        }
        entries.values.insert(Vec::new());
        for values in &fields {
            let longer = entries.values.iter().flat_map(|before| {
                let with = |value: &Vec<u8>| [before.as_slice(), value].concat();
                values.iter().map(with)
            });
            entries.values = longer.collect();
        }
        if self.config.sparse {
            entries.values.remove(&self.nulls());
        }
        Ok(entries)
    }

    /// As [`entries`](Self::entries), also of a hidden index, which looks at more than the body.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub(crate) fn entries_of(
        &self,
        id: &DocumentId,
        rev: Revision,
        body: &Body,
    ) -> Result<Entries> {
        let Some(expiry) = &self.expiry else {
            return self.entries(id, body);
        };
        let value = expiry.value(id, rev, body)?;
        Ok(Entries {
            values: value.iter().map(key::encode).collect(),
            ..Entries::default()
        })
    }

    /// The values of a document that are written as `values` once they are cut.
    pub(super) fn whole_values(
        &self,
        id: &DocumentId,
        body: &Body,
        values: &[u8],
    ) -> Result<BTreeSet<Vec<Vec<u8>>>> {
        let place = Place::document(id, body)?;
        let (mut wholes, mut rest) = (BTreeSet::from([Vec::new()]), values);
        for field in &self.fields {
            let (part, behind) = self.part(field, rest)?;
            rest = behind;
            let (all, _) = values_of(field, place, usize::MAX)?;
            let fits = |value: &&Vec<u8>| value[..value.len().min(self.most())] == *part.bytes;
            let fitting: Vec<_> = all.iter().filter(fits).collect();
            let longer = wholes.iter().flat_map(|before| {
                fitting.iter().map(|value| {
                    let mut whole: Vec<Vec<u8>> = before.clone();
                    whole.push((*value).clone());
                    whole
                })
            });
            wholes = longer.collect();
        }
        Ok(wholes)
    }

    /// The values of an entry that has none.
    fn nulls(&self) -> Vec<u8> {
        let null = |field: &IndexField| {
            let mut null = key::encode(&Value::Null);
            field.direct(&mut null);
            null
        };
        self.fields.iter().flat_map(null).collect()
    }

    /// The key of an entry.
    pub(crate) fn key(&self, values: &[u8], id: &DocumentId) -> Vec<u8> {
        keys::index_entry(self.number, values, id)
    }

    /// Where the entries lie whose first fields equal `equal` and whose next one lies in `then`; in the order of the
    /// index's directions, then by id.
    ///
    /// The range may hold entries beyond, where values are cut.
    pub(crate) fn range(&self, equal: &[Value], then: &Interval) -> KeyRange {
        let mut prefix = keys::index_prefix(self.number);
        for (field, value) in self.fields.iter().zip(equal) {
            let mut encoder = Encoder::new(self.most());
            encoder.value(value);
            let mut bytes = encoder.finish();
            field.direct(&mut bytes);
            prefix.extend_from_slice(&bytes);
        }
        match self.fields.get(equal.len()) {
            Some(field) => then.keys(&prefix, self.most(), field.is_descending()),
            None => KeyRange::prefix(prefix),
        }
    }

    /// Where all entries lie but those of [`overflow`](Self::overflow).
    pub(crate) fn all(&self) -> KeyRange {
        self.range(&[], &Interval::all())
    }

    /// Where the documents lie that have too many values: each may match anything.
    pub(crate) fn overflow(&self) -> KeyRange {
        let mut prefix = keys::index_prefix(self.number);
        prefix.push(key::OVERFLOW);
        KeyRange::prefix(prefix)
    }

    /// Where the entries lie that have these values, as they stand in a key.
    pub(super) fn with_values(&self, values: &[u8]) -> KeyRange {
        let mut prefix = keys::index_prefix(self.number);
        prefix.extend_from_slice(values);
        KeyRange::prefix(prefix)
    }

    /// What a key of the index says.
    ///
    /// # Errors
    /// `corrupt` when it is none.
    pub(crate) fn entry<'a>(&self, key: &'a [u8]) -> Result<Entry<'a>> {
        let mut rest = key
            .get(keys::index_prefix(self.number).len()..)
            .ok_or_else(|| damaged("a key of an index is too short"))?;
        let mut parts = Vec::with_capacity(self.fields.len());
        if rest.first() == Some(&key::OVERFLOW) {
            rest = &rest[1..];
        } else {
            for field in &self.fields {
                let (part, behind) = self.part(field, rest)?;
                parts.push(part);
                rest = behind;
            }
        }
        let id = std::str::from_utf8(rest).map_err(damaged)?;
        let id = DocumentId::new(id)?;
        Ok(Entry { id, parts })
    }

    /// Whether all values in a key are whole.
    pub(super) fn is_whole(&self, values: &[u8]) -> Result<bool> {
        if values.first() == Some(&key::OVERFLOW) {
            return Ok(true);
        }
        let mut rest = values;
        for field in &self.fields {
            let (part, behind) = self.part(field, rest)?;
            if !part.is_whole {
                return Ok(false);
            }
            rest = behind;
        }
        Ok(true)
    }

    /// The value at the front of `bytes`, and what follows it.
    fn part<'a>(&self, field: &IndexField, bytes: &'a [u8]) -> Result<(Part<'a>, &'a [u8])> {
        let inverted = field.is_descending();
        // What takes all bytes there may be was cut, or could have been.
        let kept = self.most() - 1;
        let mut decoder = Decoder::new(&bytes[..bytes.len().min(kept)], inverted);
        let is_whole = decoder.skip().is_some();
        let length = if is_whole {
            decoder.position()
        } else {
            self.most()
        };
        let (bytes, rest) = bytes
            .split_at_checked(length)
            .ok_or_else(|| damaged("a key of an index ends in the middle"))?;
        let part = Part {
            bytes,
            inverted,
            is_whole,
        };
        Ok((part, rest))
    }
}

impl IndexField {
    /// Turns an encoding into the direction of the field.
    fn direct(&self, bytes: &mut [u8]) {
        if self.is_descending() {
            for byte in bytes {
                *byte = !*byte;
            }
        }
    }
}

/// The distinct values of a field as they stand in keys, and whether an array is among them or on the way.
fn values_of(
    field: &IndexField,
    place: Place<'_>,
    most: usize,
) -> Result<(BTreeSet<Vec<u8>>, bool)> {
    let write = |value: Encoded<'_>| {
        let mut encoder = Encoder::new(most);
        encoder.encoded(value)?;
        let mut bytes = encoder.finish();
        field.direct(&mut bytes);
        Ok(bytes)
    };
    let keys = field.path.keys(place)?;
    let multi = keys.len() > 1
        || field
            .path
            .values(place)?
            .as_slice()
            .iter()
            .any(|value| value.array().is_some());
    let values = keys.into_iter().map(write).collect::<Result<_>>()?;
    Ok((values, multi))
}
