//! The envelope of every stored value (format, encoding, checksum), and the rows inside.
//!
//! `[format u8 = 1][encoding u8 = 0 plain][CRC-32 of key, format, encoding and payload, little endian][payload]`.
//! The key is part of the sum, so a value that a damaged store serves under another key is found too.

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::scratch;
use crate::value::{read_row, write_row};
use crate::{Error, Result, codes};

/// The one format there is.
const FORMAT: u8 = 1;
/// The payload as it is; compression and encryption come as further numbers.
const PLAIN: u8 = 0;
const HEADER: usize = 6;

/// Bytes that the envelope adds to a payload.
pub const OVERHEAD: usize = HEADER;

/// Wraps the concatenation of `parts` for storage under `key`.
pub fn seal(key: &[u8], parts: &[&[u8]]) -> Bytes {
    let mut sealed =
        Vec::with_capacity(HEADER + parts.iter().map(|part| part.len()).sum::<usize>());
    sealed.extend_from_slice(&[FORMAT, PLAIN, 0, 0, 0, 0]);
    for part in parts {
        sealed.extend_from_slice(part);
    }
    let sum = checksum(key, FORMAT, PLAIN, &sealed[HEADER..]);
    sealed[2..HEADER].copy_from_slice(&sum.to_le_bytes());
    sealed.into()
}

/// As [`seal`], of a row and what stands behind it.
pub fn seal_row<T: Serialize>(key: &[u8], row: &T, behind: &[u8]) -> Bytes {
    scratch::with(|bytes| {
        encode_into(bytes, row);
        seal(key, &[bytes, behind])
    })
}

/// Unwraps what [`seal`] made for the same key, without copying.
///
/// # Errors
/// `corrupt` when the checksum does not fit, `newer-format` when a newer program wrote it.
pub fn open(key: &[u8], value: &Bytes) -> Result<Bytes> {
    verify(key, value)?;
    Ok(value.slice(HEADER..))
}

/// As [`open`], of a value that lies elsewhere.
///
/// # Errors
/// As [`open`].
pub fn verify<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8]> {
    let Some((header, payload)) = value.split_at_checked(HEADER) else {
        return Err(corrupt(key, "is too short"));
    };
    let sum = u32::from_le_bytes([header[2], header[3], header[4], header[5]]);
    if sum != checksum(key, header[0], header[1], payload) {
        return Err(corrupt(key, "fails its checksum"));
    }
    if header[0] != FORMAT || header[1] != PLAIN {
        return Err(Error::new(
            codes::NEWER_FORMAT,
            format!(
                "a stored value has format {}.{}; use a newer program to open this",
                header[0], header[1]
            ),
        ));
    }
    Ok(payload)
}

fn checksum(key: &[u8], format: u8, encoding: u8, payload: &[u8]) -> u32 {
    let mut hasher = pocket_storage::Crc32::new();
    hasher.update(key);
    hasher.update(&[format, encoding]);
    hasher.update(payload);
    hasher.finalize()
}

fn corrupt(key: &[u8], what: &str) -> Error {
    Error::of_damaged(
        key,
        format!(
            "the stored value of key {} {what}; other values stay readable",
            String::from_utf8_lossy(key).escape_debug()
        ),
    )
}

/// The last element of each stored array: nil today, a map for later fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Later;

impl Serialize for Later {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A row as a payload: a MessagePack array.
pub fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    encode_into(&mut bytes, row);
    bytes
}

fn encode_into<T: Serialize>(bytes: &mut Vec<u8>, row: &T) {
    write_row(bytes, row).expect("rows of numbers, text and bytes always encode");
}

/// The row that a payload holds, nothing behind it.
///
/// # Errors
/// `corrupt` when it is no such row.
pub fn decode<T: DeserializeOwned>(payload: &Bytes) -> Result<T> {
    let (row, rest) = decode_prefix(payload)?;
    if rest.is_empty() {
        Ok(row)
    } else {
        Err(damaged("a row has bytes behind its end"))
    }
}

/// The row that a payload begins with, and what follows it.
///
/// # Errors
/// As [`decode`].
pub fn decode_prefix<T: DeserializeOwned>(payload: &Bytes) -> Result<(T, Bytes)> {
    let (row, end) = read_row(payload).map_err(damaged)?;
    Ok((row, payload.slice(end..)))
}

/// The error of a stored value that has a right checksum and makes no sense.
pub fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(
        codes::CORRUPT,
        format!("a stored value cannot be read: {what}; restore the store from a backup"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_or_a_foreign_key_is_corrupt_and_never_another_value() {
        let sealed = seal(b"k", &[b"pay", b"load"]);
        assert_eq!(open(b"k", &sealed).unwrap(), "payload");
        assert_eq!(open(b"l", &sealed).unwrap_err().code(), codes::CORRUPT);
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open(b"k", &damaged.into()).unwrap_err().code(),
                codes::CORRUPT,
                "bit {bit}"
            );
        }
        for length in 0..sealed.len() {
            assert_eq!(
                open(b"k", &sealed.slice(..length)).unwrap_err().code(),
                codes::CORRUPT
            );
        }
    }

    #[test]
    fn a_newer_format_says_so() {
        let mut sealed = seal(b"k", &[b"x"]).to_vec();
        sealed[0] = 2;
        let sum = checksum(b"k", 2, 0, b"x");
        sealed[2..6].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(
            open(b"k", &sealed.into()).unwrap_err().code(),
            codes::NEWER_FORMAT
        );
    }
}
