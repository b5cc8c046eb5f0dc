//! A page: many neighbouring entries in one record of IndexedDB.
//!
//! ```text
//! format u8 = 1 | crc32 u32 of all that follows | length u16, lower bound | entries…
//! an entry:  key length u16 | value length u32 | key | value
//! ```
//!
//! Numbers are little-endian. The keys ascend, and none is below the lower bound, which is also the key of the record.

use bytes::{BufMut, Bytes};

/// The format of pages that this code writes, and the only one it reads.
const FORMAT: u8 = 1;

/// Format and checksum.
const HEAD_BYTES: usize = 5;

/// What an entry costs beside its key and value.
pub(crate) const ENTRY_BYTES: usize = 6;

/// A key and its value, both parts of their page.
pub(crate) type PageEntry = (Bytes, Bytes);

/// Entries of one record, as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// The entries by their keys.
    pub(crate) entries: Vec<PageEntry>,
    /// The record itself; empty if there is none.
    pub(crate) record: Bytes,
}

impl Page {
    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        let place = self
            .entries
            .binary_search_by(|(other, _)| other.as_ref().cmp(key));
        Some(&self.entries[place.ok()?].1)
    }

    /// Reads the record that lies at `lower`; the next page begins at `upper`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn decode(
        record: Bytes,
        lower: &[u8],
        upper: Option<&[u8]>,
    ) -> Result<Self, &'static str> {
        let body = record.get(HEAD_BYTES..).ok_or("a page is cut")?;
        if record[0] != FORMAT {
            return Err("a page has another format");
        }
        if record[1..HEAD_BYTES] != pocket_storage::crc32(body).to_le_bytes() {
            return Err("a page does not fit its checksum");
        }
        let mut at = HEAD_BYTES;
        let length = usize::from(number_u16(&record, &mut at)?);
        if part(&record, &mut at, length)? != lower {
            return Err("a page lies at another key than its own");
        }
        let mut entries: Vec<PageEntry> = Vec::new();
        while at < record.len() {
            let key_bytes = usize::from(number_u16(&record, &mut at)?);
            let value_bytes = number_u32(&record, &mut at)? as usize;
            let key = part(&record, &mut at, key_bytes)?;
            let value = part(&record, &mut at, value_bytes)?;
            let ascends = entries
                .last()
                .map_or(*key >= *lower, |(last, _)| *key > **last);
            if !ascends || upper.is_some_and(|upper| *key >= *upper) {
                return Err("the keys of a page are out of order");
            }
            entries.push((key, value));
        }
        Ok(Self { entries, record })
    }
}

/// Writes a page. Keys are at most [`pocket_storage::MAX_KEY_BYTES`] long, values at most
/// [`pocket_storage::MAX_VALUE_BYTES`], which both numbers have room for.
pub(crate) fn encode(lower: &[u8], entries: &[PageEntry]) -> Vec<u8> {
    let bytes = HEAD_BYTES + 2 + lower.len() + size(entries);
    let mut record = Vec::with_capacity(bytes);
    record.put_u8(FORMAT);
    record.put_u32_le(0);
    record.put_u16_le(lower.len() as u16);
    record.put_slice(lower);
    for (key, value) in entries {
        record.put_u16_le(key.len() as u16);
        record.put_u32_le(value.len() as u32);
        record.put_slice(key);
        record.put_slice(value);
    }
    let checksum = pocket_storage::crc32(&record[HEAD_BYTES..]);
    record[1..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    record
}

/// What entries take in a page.
pub(crate) fn size(entries: &[PageEntry]) -> usize {
    entries.iter().map(entry_size).sum()
}

/// What an entry takes in a page.
pub(crate) fn entry_size((key, value): &PageEntry) -> usize {
    ENTRY_BYTES + key.len() + value.len()
}

fn part(record: &Bytes, at: &mut usize, bytes: usize) -> Result<Bytes, &'static str> {
    let end = at.checked_add(bytes).filter(|end| *end <= record.len());
    let end = end.ok_or("a page is cut")?;
    let part = record.slice(*at..end);
    *at = end;
    Ok(part)
}

fn number_u16(record: &Bytes, at: &mut usize) -> Result<u16, &'static str> {
    let bytes = part(record, at, 2)?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn number_u32(record: &Bytes, at: &mut usize) -> Result<u32, &'static str> {
    let bytes = part(record, at, 4)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(all: &[(&'static [u8], &'static [u8])]) -> Vec<PageEntry> {
        let of = |(key, value): &(&'static [u8], &'static [u8])| {
            (Bytes::from_static(key), Bytes::from_static(value))
        };
        all.iter().map(of).collect()
    }

    /// The first format. Databases in browsers hold it; this text never changes.
    #[test]
    fn a_page_of_the_first_format_is_read_and_written_byte_by_byte() {
        let all = entries(&[(b"a", b""), (b"ab", b"value")]);
        let record = encode(b"a", &all);
        let head = [1, 0x1e, 0x2f, 0x36, 0xc3, 1, 0, b'a'];
        let first = [1, 0, 0, 0, 0, 0, b'a'];
        let second = *b"\x02\0\x05\0\0\0abvalue";
        assert_eq!(record, [&head[..], &first, &second].concat());
        let page = Page::decode(record.into(), b"a", Some(b"b")).unwrap();
        assert_eq!(page.entries, all);
        assert_eq!(page.get(b"ab").unwrap(), "value");
        assert_eq!(page.get(b"a").unwrap(), "");
        assert_eq!(page.get(b"aa"), None);
    }

    #[test]
    fn a_flipped_bit_or_a_cut_is_always_found() {
        let all = entries(&[(b"key", b"value"), (b"kez", b"another value")]);
        let record = encode(b"k", &all);
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut damaged = record.clone();
                damaged[at] ^= 1 << bit;
                assert!(Page::decode(damaged.into(), b"k", None).is_err(), "{at}");
            }
            let cut = Bytes::copy_from_slice(&record[..at]);
            assert!(Page::decode(cut, b"k", None).is_err(), "{at}");
        }
    }

    #[test]
    fn a_whole_page_in_the_wrong_place_is_found() {
        let record = Bytes::from(encode(b"k", &entries(&[(b"ka", b"1"), (b"kb", b"2")])));
        assert!(Page::decode(record.clone(), b"k", Some(b"kc")).is_ok());
        assert!(Page::decode(record.clone(), b"j", None).is_err());
        assert!(Page::decode(record, b"k", Some(b"kb")).is_err());
        let unsorted = encode(b"k", &entries(&[(b"kb", b"2"), (b"ka", b"1")]));
        assert!(Page::decode(unsorted.into(), b"k", None).is_err());
        let below = encode(b"k", &entries(&[(b"a", b"2")]));
        assert!(Page::decode(below.into(), b"k", None).is_err());
    }
}
