//! The contract every backend keeps.

use std::fmt::Debug;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Batch, MaybeSend, MaybeSync, Result, Sieve, Sifted, Visitor};

/// The longest key a store must accept, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;

/// The largest value a store must accept, in bytes: a body of 16 MiB and its envelope.
pub const MAX_VALUE_BYTES: usize = 17 * 1024 * 1024;

/// What an acknowledged commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: a crash may lose the newest commits, a suffix, never a hole and never half a batch.
    Relaxed,
    /// The end of the process, also by `kill -9`.
    ProcessCrash,
    /// Loss of power, given a disk that honours fsync.
    #[default]
    PowerLoss,
}

/// What a backend can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The strongest durability it has. A commit that asks for more gets this.
    pub durability: Durability,
}

impl Capabilities {
    /// A backend whose strongest level is `durability`.
    pub fn new(durability: Durability) -> Self {
        Self { durability }
    }
}

/// Which end of a range a scan starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    #[default]
    Forward,
    /// Largest key first.
    Backward,
}

/// A range of keys, compared as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Where the range begins.
    pub start: Bound<Vec<u8>>,
    /// Where the range ends.
    pub end: Bound<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self {
            start: Bound::Unbounded,
            end: Bound::Unbounded,
        }
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let start = prefix.into();
        let end = prefix_end(&start).map_or(Bound::Unbounded, Bound::Excluded);
        Self {
            start: Bound::Included(start),
            end,
        }
    }

    /// One key.
    pub fn key(key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        Self {
            start: Bound::Included(key.clone()),
            end: Bound::Included(key),
        }
    }

    /// The same range, beginning behind `key`.
    #[must_use]
    pub fn after(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.start = Bound::Excluded(key.into());
        self
    }

    /// The same range, ending before `key`.
    #[must_use]
    pub fn before(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.end = Bound::Excluded(key.into());
        self
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        let from = match &self.start {
            Bound::Included(start) => key >= start.as_slice(),
            Bound::Excluded(start) => key > start.as_slice(),
            Bound::Unbounded => true,
        };
        let to = match &self.end {
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
            Bound::Unbounded => true,
        };
        from && to
    }

    /// Whether no key can lie in the range. Ordered maps panic on such bounds, so backends ask first.
    pub fn is_empty(&self) -> bool {
        match (&self.start, &self.end) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (
                Bound::Included(start) | Bound::Excluded(start),
                Bound::Included(end) | Bound::Excluded(end),
            ) => start >= end,
        }
    }
}

/// The smallest key greater than every key with this prefix, if there is one.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// How much one scan returns at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimit {
    /// Entries at the most.
    pub entries: usize,
    /// The scan ends behind the entry whose key and value bring the sum to this many bytes or more.
    pub bytes: usize,
}

impl ScanLimit {
    /// At most `entries` entries and 4 MiB.
    pub fn entries(entries: usize) -> Self {
        Self {
            entries,
            bytes: 4 * 1024 * 1024,
        }
    }

    /// The same number of entries with another bound on their bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// So little that a backend may read it where it is called, as it does with [`get`](Storage::get).
    pub const SHORT: Self = Self {
        entries: 8,
        bytes: 64 * 1024,
    };

    /// Whether it allows no more than [`SHORT`](Self::SHORT).
    pub fn is_short(self) -> bool {
        self.entries <= Self::SHORT.entries && self.bytes <= Self::SHORT.bytes
    }

    /// Whether a scan that gave these entries may have ended because of this limit. Otherwise there are no more in its range.
    pub fn is_reached_by(self, entries: &[Entry]) -> bool {
        let sizes = entries.iter().map(|(key, value)| key.len() + value.len());
        entries.len() >= self.entries || sizes.sum::<usize>() >= self.bytes
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Bytes);

/// An ordered map of bytes whose only write is an atomic batch with checks.
///
/// A backend is finished when it passes the conformance suite (feature `conformance`). Each guarantee below is
/// quoted by the case that shows it.
#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
pub trait Storage: Debug + MaybeSend + MaybeSync + 'static {
    /// What this store can promise.
    fn capabilities(&self) -> Capabilities;

    /// The value of `key`, or `None`. Sees every commit that was acknowledged before the call.
    ///
    /// # Errors
    /// [`Corrupt`](crate::StorageError::Corrupt), [`Closed`](crate::StorageError::Closed) or
    /// [`Backend`](crate::StorageError::Backend).
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The values of `keys`, in their order, all read from one state of the store.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>>;

    /// The entries of `range` in the order of `direction`, all read from one state of the store, until `limit`
    /// is reached. A limit of no entries returns none; otherwise at least one entry is returned if the range
    /// has one, whatever its size. No more than [`ScanLimit::SHORT`] costs no way to another thread.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>>;

    /// The same scan through a sieve: of the entries that [`scan`](Self::scan) returns, those that `sieve` keeps. `limit`
    /// counts the others, too, which a backend can leave where they are.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn sift(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Sifted> {
        let entries = self.scan(range, limit, direction).await?;
        Ok(Sifted::of(entries, &*sieve))
    }

    /// Applies `batch` all or not at all.
    ///
    /// All checks are evaluated on the state before the batch; then the writes are applied in order. When the
    /// call returns `Ok`, the batch survives what `durability` names, or the strongest level the backend has.
    /// A commit of a stronger level makes every commit before it as durable as itself. Commits take effect in
    /// the order in which their futures were first polled. A future that is dropped before it is done leaves
    /// the batch either stored or not stored, never half.
    ///
    /// # Errors
    /// [`Conflict`](crate::StorageError::Conflict), [`Full`](crate::StorageError::Full),
    /// [`TooLarge`](crate::StorageError::TooLarge) and [`Closed`](crate::StorageError::Closed): nothing was
    /// written. [`Backend`](crate::StorageError::Backend) and [`Corrupt`](crate::StorageError::Corrupt):
    /// unknown; the store refuses writes until it has reopened itself, which it tries at the next call.
    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()>;

    /// One state of the store, to be read in parts while commits go on: what a backup needs. It holds every commit that was
    /// acknowledged before the call, and of each later one nothing or, if it was under way, all. None where the backend
    /// cannot do that; then whoever needs one state has to keep others from committing.
    ///
    /// It may cost room for as long as it lives: what is replaced meanwhile is kept for it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        Ok(None)
    }

    /// Has `visitor` read one state of the store where it lies: several reads of which one follows from another cost no more
    /// than one call. The state holds every commit that was acknowledged before the call. False where the backend cannot do
    /// that; then nobody was called.
    ///
    /// # Errors
    /// As [`get`](Self::get). The visitor may have been called.
    async fn visit(&self, visitor: Box<dyn Visitor>) -> Result<bool> {
        drop(visitor);
        Ok(false)
    }

    /// Says that another handle of the store committed between what was read through this one and what was to be committed,
    /// or shown, by it, and that the same begins again with reading. Handles that go on without a pause are faster each
    /// time; where they take turns, a backend may see to it that what is read next and the commit behind it are one step,
    /// for a while. That is no promise: the checks of a batch decide as before. Nothing unless a backend does better.
    fn overtaken(&self) {}

    /// Ends the store: finishes what is under way and releases files and locks. Every later call answers
    /// [`Closed`](crate::StorageError::Closed). Closing twice is allowed. Dropping a store without closing it
    /// releases them, too, at the latest when the last handle is gone.
    ///
    /// # Errors
    /// [`Backend`](crate::StorageError::Backend) if the last writes could not be made durable.
    async fn close(&self) -> Result<()>;
}

/// One state of a store, until it is dropped.
#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
pub trait Snapshot: Debug + MaybeSend + MaybeSync + 'static {
    /// The entries of `range` in this state, as [`Storage::scan`] has it.
    ///
    /// # Errors
    /// As [`Storage::get`]. [`Closed`](crate::StorageError::Closed) also once the store had to be opened anew after a
    /// failure: the state is gone.
    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>>;

    /// The values of `keys`, in their order, in this state. Made of scans where a backend has nothing better.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let found = self
                .scan(
                    KeyRange::key(key.as_slice()),
                    ScanLimit::entries(1),
                    Direction::Forward,
                )
                .await?;
            values.push(found.into_iter().next().map(|(_, value)| value));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_range_holds_exactly_the_keys_with_that_prefix() {
        let range = KeyRange::prefix(vec![1, 0xff]);
        assert!(range.contains(&[1, 0xff]) && range.contains(&[1, 0xff, 0xff, 9]));
        assert!(!range.contains(&[2]) && !range.contains(&[1, 0xfe, 0xff]));
        assert!(KeyRange::prefix(vec![0xff]).contains(&[0xff, 0xff]));
    }

    #[test]
    fn a_limit_is_reached_by_so_many_entries_or_bytes() {
        let entry = (vec![1], Bytes::from_static(b"four"));
        let entries = vec![entry; 3];
        for (limit, reached) in [
            (ScanLimit::entries(3), true),
            (ScanLimit::entries(4), false),
            (ScanLimit::entries(4).bytes(15), true),
            (ScanLimit::entries(4).bytes(16), false),
        ] {
            assert_eq!(limit.is_reached_by(&entries), reached, "{limit:?}");
        }
    }

    #[test]
    fn inverted_bounds_are_empty() {
        assert!(KeyRange::all().after(vec![5]).before(vec![5]).is_empty());
        assert!(!KeyRange::prefix(vec![5]).is_empty());
    }
}
