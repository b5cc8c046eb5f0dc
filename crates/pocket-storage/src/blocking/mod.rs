//! From a blocking engine to a [`Storage`](crate::Storage): one writer thread, group commit, reader threads.
//!
//! An engine implements [`BlockingStore`], something that can open it again implements [`BlockingOpener`], and
//! [`BlockingStorage`] does the rest:
//!
//! - Commits go through one thread, in the order in which their futures were first polled. Whatever waits when
//!   the thread becomes free is joined into one write of the engine, up to the bounds of
//!   [`BlockingOptions`]. The checks of each batch are evaluated on the state that includes the batches before
//!   it in the group; a batch whose check fails is left out and answered `Conflict`, the others stand. The
//!   group gets the strongest durability that one of its batches asks for.
//! - `get`, a `get_many` of one key and a `scan` within [`ScanLimit::SHORT`] run where they are called; longer ones, `sift`,
//!   `visit` and those of snapshots run on a few reader threads. So does a `get_many` of few keys: while it is under way, further
//!   writers join the commit that it reads for, which saves more than the way there costs.
//! - When the engine fails, the batches under way are answered with its error, and those that already wait are
//!   refused: they may build on what failed. The next call closes and reopens the engine before it does
//!   anything else. To the data a failure is a crash: relaxed commits may be gone.
//! - A panic of the engine is contained and answered as `Corrupt`; [`contains_panics`] tells a panic hook so.

mod adapter;
mod lock;
mod queue;
mod readers;
mod shared;
mod snapshot;
mod threads;
mod writer;

use std::num::NonZeroUsize;

use bytes::Bytes;

use crate::{
    Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted, View,
};

pub use adapter::BlockingStorage;
pub use lock::{LockFile, sync_directory};

/// Whether this thread runs code of an engine: should that panic, it becomes an error.
///
/// For the panic hook of a program: such a panic is told as the error, and need not be printed.
///
/// ```
/// let printed = std::panic::take_hook();
/// std::panic::set_hook(Box::new(move |panic| {
///     if !pocket_storage::blocking::contains_panics() {
///         printed(panic);
///     }
/// }));
/// ```
pub fn contains_panics() -> bool {
    shared::contains_panics()
}

/// The net effect of a group of batches: what each key holds afterwards, or `None` for nothing. Sorted by key, each key
/// once.
pub type WriteSet = Vec<(Vec<u8>, Option<Bytes>)>;

/// A synchronous engine that one writer and several readers use at the same time.
pub trait BlockingStore: Send + Sync + Sized + 'static {
    /// What the engine can promise.
    fn capabilities(&self) -> Capabilities;

    /// The value of `key` in the state of the last finished [`write`](Self::write), or a later one.
    ///
    /// # Errors
    /// `Corrupt` for damage, `Backend` for a failure that reopening may cure.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The values of `keys`, in their order, all from one state.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>>;

    /// The entries of `range`, as [`Storage::scan`](crate::Storage::scan) has it. `range` is not empty and
    /// `limit` allows at least one entry.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn scan(&self, range: &KeyRange, limit: ScanLimit, direction: Direction) -> Result<Vec<Entry>>;

    /// The entries of `range` that `sieve` keeps, as [`Storage::sift`](crate::Storage::sift) has it. `range` is not empty
    /// and `limit` allows at least one entry.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn sift(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: &dyn Sieve,
    ) -> Result<Sifted> {
        let entries = self.scan(range, limit, direction)?;
        Ok(Sifted::of(entries, sieve))
    }

    /// The state of the last finished [`write`](Self::write), to be read while others follow; none if the engine has no such
    /// thing. It is dropped before the engine is closed or dropped.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn snapshot(&self) -> Result<Option<Box<dyn View>>> {
        Ok(None)
    }

    /// Applies `writes` all or not at all and makes them, and everything before them, as durable as
    /// `durability` says. Called by one thread at a time. `writes` may be empty: then only durability is asked.
    ///
    /// # Errors
    /// `Full` only when nothing was written. After any error the engine is closed and opened again.
    fn write(&self, writes: WriteSet, durability: Durability) -> Result<()>;

    /// Makes what was written durable and releases the engine's files.
    ///
    /// # Errors
    /// `Backend` if the last writes could not be made durable.
    fn close(self) -> Result<()>;
}

/// Opens an engine, the first time and after each failure.
///
/// It is dropped when the store is closed, so it is the place to hold the [`LockFile`].
pub trait BlockingOpener: Send + Sync + 'static {
    /// The engine.
    type Store: BlockingStore;

    /// Opens the engine. The one opened before, if any, was closed or dropped.
    ///
    /// # Errors
    /// `Corrupt` for a damaged or foreign file; it is never shown as an empty store.
    fn open(&self) -> Result<Self::Store>;
}

/// Sizes of the adapter.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BlockingOptions {
    /// What its threads are called; they end in `-write` and `-read`. Default `pocket`.
    pub name: String,
    /// Threads for `get_many`, `scan`, `sift` and `visit`. Default 2.
    pub readers: NonZeroUsize,
    /// Batches in one group at the most. Default 1,024.
    pub group_batches: NonZeroUsize,
    /// Key and value bytes after which a group takes no further batch. Default 8 MiB.
    pub group_bytes: usize,
}

impl Default for BlockingOptions {
    fn default() -> Self {
        Self {
            name: "pocket".to_owned(),
            readers: NonZeroUsize::MIN.saturating_add(1),
            group_batches: NonZeroUsize::MIN.saturating_add(1023),
            group_bytes: 8 * 1024 * 1024,
        }
    }
}
