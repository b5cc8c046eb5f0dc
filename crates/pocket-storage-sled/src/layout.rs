//! Where an entry lies in sled's tree.
//!
//! | key | value |
//! |---|---|
//! | `0` `pocket` | `1`: this is a Pocket store, in the first layout |
//! | `0` `sums` | what the store must hold, see `witness.rs` |
//! | `1` and the entry's key | `0`, its hash and the value; or `1`, its hash, the number of a split value and its length |
//! | `2`, the number of a split value, the index of a piece | the piece |
//!
//! Numbers are big-endian: 8 bytes for hashes, split values and lengths, 4 for indexes.

use std::ops::Bound;

use pocket_storage::{KeyRange, Result, StorageError};

/// The key that makes a sled database a Pocket store.
pub(crate) const MARK: &[u8] = b"\0pocket";
/// The layout described above.
pub(crate) const MARK_VALUE: &[u8] = b"1";

/// The key of what the store must hold.
pub(crate) const SUMS: &[u8] = b"\0sums";

const ENTRY: u8 = 1;
const PIECE: u8 = 2;
const BEHIND_PIECES: u8 = 3;

const WHOLE: u8 = 0;
const SPLIT: u8 = 1;

/// Values larger than this are split into pieces of this size.
///
/// sled moves a page of more than 128 KiB into a file of its own that it never syncs. A leaf page holds up to
/// 17 entries before it is split, and a few more after a merge; with keys of up to 1 KiB this size keeps it
/// below the border.
pub(crate) const PIECE_BYTES: usize = 4096;

/// What a key holds.
pub(crate) struct Head<'a> {
    /// The hash of the entry's key and value.
    pub(crate) hash: u64,
    pub(crate) value: Value<'a>,
}

pub(crate) enum Value<'a> {
    Whole(&'a [u8]),
    Split { number: u64, bytes: usize },
}

impl<'a> Head<'a> {
    pub(crate) fn decode(stored: &'a [u8]) -> Result<Self> {
        Self::parse(stored)
            .ok_or_else(|| StorageError::Corrupt("an entry has no known form".to_owned()))
    }

    fn parse(stored: &'a [u8]) -> Option<Self> {
        let (form, rest) = stored.split_first()?;
        let (hash, rest) = rest.split_first_chunk::<8>()?;
        let value = match *form {
            WHOLE => Value::Whole(rest),
            SPLIT => {
                let (number, bytes) = rest.split_first_chunk::<8>()?;
                Value::Split {
                    number: u64::from_be_bytes(*number),
                    bytes: usize::try_from(u64::from_be_bytes(bytes.try_into().ok()?)).ok()?,
                }
            }
            _ => return None,
        };
        let hash = u64::from_be_bytes(*hash);
        Some(Self { hash, value })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(9 + 16);
        stored.push(match self.value {
            Value::Whole(_) => WHOLE,
            Value::Split { .. } => SPLIT,
        });
        stored.extend_from_slice(&self.hash.to_be_bytes());
        match self.value {
            Value::Whole(value) => stored.extend_from_slice(value),
            Value::Split { number, bytes } => {
                stored.extend_from_slice(&number.to_be_bytes());
                stored.extend_from_slice(&(bytes as u64).to_be_bytes());
            }
        }
        stored
    }
}

pub(crate) fn entry_key(key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    stored.push(ENTRY);
    stored.extend_from_slice(key);
    stored
}

/// The key of an entry, from its key in the tree.
pub(crate) fn key_of_entry(stored: &[u8]) -> &[u8] {
    stored.get(1..).unwrap_or_default()
}

pub(crate) fn entry_range(range: &KeyRange) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = match &range.start {
        Bound::Included(key) => Bound::Included(entry_key(key)),
        Bound::Excluded(key) => Bound::Excluded(entry_key(key)),
        Bound::Unbounded => Bound::Included(vec![ENTRY]),
    };
    let end = match &range.end {
        Bound::Included(key) => Bound::Included(entry_key(key)),
        Bound::Excluded(key) => Bound::Excluded(entry_key(key)),
        Bound::Unbounded => Bound::Excluded(vec![PIECE]),
    };
    (start, end)
}

pub(crate) fn pieces_prefix(number: u64) -> Vec<u8> {
    let mut key = vec![PIECE];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn piece_key(number: u64, index: usize) -> Vec<u8> {
    let index = u32::try_from(index).expect("a value of at most 17 MiB has some thousand pieces");
    let mut key = pieces_prefix(number);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The keys of all pieces.
pub(crate) fn all_pieces() -> std::ops::Range<Vec<u8>> {
    vec![PIECE]..vec![BEHIND_PIECES]
}

/// The number of the split value that a piece belongs to.
pub(crate) fn number_of_piece(stored: &[u8]) -> Option<u64> {
    let number = stored.get(1..9)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

pub(crate) fn piece_count(bytes: usize) -> usize {
    bytes.div_ceil(PIECE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_were_made() {
        let stored = Head {
            hash: 5,
            value: Value::Whole(b""),
        }
        .encode();
        let head = Head::decode(&stored).expect("a head");
        assert!(matches!(
            head,
            Head {
                hash: 5,
                value: Value::Whole(b"")
            }
        ));
        let value = Value::Split {
            number: 7,
            bytes: 5000,
        };
        let stored = Head { hash: 6, value }.encode();
        let head = Head::decode(&stored).expect("a head");
        assert_eq!(head.hash, 6);
        assert!(matches!(
            head.value,
            Value::Split {
                number: 7,
                bytes: 5000
            }
        ));
        assert_eq!(number_of_piece(&piece_key(7, 300)), Some(7));
    }

    #[test]
    fn a_head_of_no_known_form_is_corrupt() {
        for stored in [&b""[..], &[2; 9], &[WHOLE; 8], &[SPLIT; 24], &[SPLIT; 26]] {
            assert!(matches!(
                Head::decode(stored),
                Err(StorageError::Corrupt(_))
            ));
        }
    }

    #[test]
    fn every_entry_lies_in_the_range_of_all_entries_and_no_piece_does() {
        let range = entry_range(&KeyRange::all());
        let inside = |key: &[u8]| std::ops::RangeBounds::contains(&range, &key.to_vec());
        assert!(inside(&entry_key(b"")) && inside(&entry_key(&[0xff; 9])));
        assert!(!inside(MARK) && !inside(&piece_key(0, 0)));
        assert!(all_pieces().contains(&piece_key(u64::MAX, 9)));
    }
}
