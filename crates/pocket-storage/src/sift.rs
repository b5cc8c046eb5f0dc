//! Scans that leave out what is not wanted where it lies, before it is copied or sent to another thread.

use crate::{Entry, MaybeSend, MaybeSync, ScanLimit};

/// Tells which entries of a scan are wanted.
///
/// It is asked where entries are read, on any thread, about an entry perhaps more than once, and about some that are
/// never returned: its answer follows from the entry alone. It must not call the store.
pub trait Sieve: MaybeSend + MaybeSync + 'static {
    /// Whether the entry is wanted.
    fn keeps(&self, key: &[u8], value: &[u8]) -> bool;
}

/// What a scan through a [`Sieve`] came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sifted {
    /// The entries that the sieve keeps, in the order of the scan.
    pub entries: Vec<Entry>,
    /// How many were looked at, those that are kept and those that are not.
    pub looked_at: usize,
    /// Bytes of keys and values of those that were looked at.
    pub bytes: usize,
    /// The key of the last one that was looked at, kept or not; none when there was none.
    pub last: Option<Vec<u8>>,
}

impl Sifted {
    /// What a sieve leaves of the entries of a scan.
    pub fn of(mut entries: Vec<Entry>, sieve: &dyn Sieve) -> Self {
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len());
        let sifted = Self {
            looked_at: entries.len(),
            bytes: bytes.sum(),
            last: entries.last().map(|(key, _)| key.clone()),
            entries: Vec::new(),
        };
        entries.retain(|(key, value)| sieve.keeps(key, value));
        Self { entries, ..sifted }
    }

    /// Whether a scan with this limit ends behind what was looked at.
    pub fn is_full(&self, limit: ScanLimit) -> bool {
        self.looked_at >= limit.entries || (self.looked_at > 0 && self.bytes >= limit.bytes)
    }

    /// Notes that an entry of so many bytes was looked at.
    pub fn looked(&mut self, bytes: usize) {
        self.looked_at += 1;
        self.bytes += bytes;
    }
}
