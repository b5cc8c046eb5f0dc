//! The contract in redb's terms.

use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use pocket_storage::blocking::{BlockingStore, WriteSet};
use pocket_storage::{
    Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted,
    StorageError, View,
};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::apply::apply;
use crate::error::{from_commit, from_database, from_storage, from_table, from_transaction};
use crate::lookup;

/// Every entry of the store, under its own key.
const ENTRIES: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("pocket");

/// Commits that redb only holds in memory also hold back the pages they replace; past this many bytes the
/// next commit is made durable whatever it asks for.
const RELAXED_BYTES: usize = 16 * 1024 * 1024;

/// What one entry costs in that account beside its bytes.
const RELAXED_ENTRY: usize = 256;

pub(crate) struct Engine {
    database: Database,
    /// Bytes committed since the last durable commit.
    relaxed: AtomicUsize,
}

/// Makes the empty table by which a Pocket store is recognised.
pub(crate) fn initialize(database: &Database) -> Result<()> {
    let transaction = database.begin_write().map_err(from_transaction)?;
    transaction.open_table(ENTRIES).map_err(from_table)?;
    transaction.commit().map_err(from_commit)
}

impl Engine {
    pub(crate) fn new(database: Database) -> Result<Self> {
        let engine = Self {
            database,
            relaxed: AtomicUsize::new(0),
        };
        engine.entries()?;
        Ok(engine)
    }

    /// The entries as of the last commit. It keeps its state while others write.
    fn entries(&self) -> Result<Entries> {
        let transaction = self.database.begin_read().map_err(from_transaction)?;
        transaction.open_table(ENTRIES).map_err(from_table)
    }

    fn commit(
        &self,
        writes: &[(Vec<u8>, Option<Bytes>)],
        durability: redb::Durability,
    ) -> Result<()> {
        let mut transaction = self.database.begin_write().map_err(from_transaction)?;
        transaction
            .set_durability(durability)
            .map_err(|error| StorageError::Backend(error.to_string()))?;
        {
            let mut entries = transaction.open_table(ENTRIES).map_err(from_table)?;
            apply(&mut entries, writes)?;
        }
        transaction.commit().map_err(from_commit)
    }
}

impl BlockingStore for Engine {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::PowerLoss)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let found = self.entries()?.get(key).map_err(from_storage)?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        lookup::get_many(&self.entries()?, keys)
    }

    fn scan(&self, range: &KeyRange, limit: ScanLimit, direction: Direction) -> Result<Vec<Entry>> {
        scan(&self.entries()?, range, limit, direction)
    }

    fn sift(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: &dyn Sieve,
    ) -> Result<Sifted> {
        sift(&self.entries()?, range, limit, direction, sieve)
    }

    fn snapshot(&self) -> Result<Option<Box<dyn View>>> {
        Ok(Some(Box::new(Snapshot(self.entries()?))))
    }

    fn write(&self, writes: WriteSet, durability: Durability) -> Result<()> {
        let bytes: usize = writes
            .iter()
            .map(|(key, value)| RELAXED_ENTRY + key.len() + value.as_ref().map_or(0, Bytes::len))
            .sum();
        let relaxed = self.relaxed.load(Ordering::Relaxed) + bytes;
        // redb has no level between "in this process" and "on the disk", so a commit that must survive
        // the end of the process is synced, too.
        if durability == Durability::Relaxed && relaxed < RELAXED_BYTES {
            self.commit(&writes, redb::Durability::None)?;
            self.relaxed.store(relaxed, Ordering::Relaxed);
        } else {
            self.commit(&writes, redb::Durability::Immediate)?;
            self.relaxed.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        if self.relaxed.load(Ordering::Relaxed) > 0 {
            self.commit(&[], redb::Durability::Immediate)?;
        }
        self.database
            .close()
            .map_err(|error| from_database(error, "the file"))
    }
}

type Entries = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The entries in one read transaction. redb keeps the pages they lie in until it is dropped, and the file from being closed.
struct Snapshot(Entries);

impl View for Snapshot {
    fn scan(&self, range: &KeyRange, limit: ScanLimit, direction: Direction) -> Result<Vec<Entry>> {
        scan(&self.0, range, limit, direction)
    }

    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        lookup::get_many(&self.0, keys)
    }

    fn sift(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: &dyn Sieve,
    ) -> Result<Sifted> {
        sift(&self.0, range, limit, direction, sieve)
    }
}

fn scan(
    entries: &Entries,
    range: &KeyRange,
    limit: ScanLimit,
    direction: Direction,
) -> Result<Vec<Entry>> {
    let bounds = (as_slice(&range.start), as_slice(&range.end));
    let mut found = entries.range::<&[u8]>(bounds).map_err(from_storage)?;
    let mut taken = Vec::new();
    let mut bytes = 0;
    while taken.len() < limit.entries && (taken.is_empty() || bytes < limit.bytes) {
        let next = match direction {
            Direction::Forward => found.next(),
            Direction::Backward => found.next_back(),
        };
        let Some(next) = next else { break };
        let (key, value) = next.map_err(from_storage)?;
        let (key, value) = (key.value().to_vec(), Bytes::copy_from_slice(value.value()));
        bytes += key.len() + value.len();
        taken.push((key, value));
    }
    Ok(taken)
}

/// Looks at entries in redb's own pages, and copies those that are kept.
fn sift(
    entries: &Entries,
    range: &KeyRange,
    limit: ScanLimit,
    direction: Direction,
    sieve: &dyn Sieve,
) -> Result<Sifted> {
    let mut sifted = Sifted::default();
    let mut last = None;
    let bounds = (as_slice(&range.start), as_slice(&range.end));
    let mut found = entries.range::<&[u8]>(bounds).map_err(from_storage)?;
    while !sifted.is_full(limit) {
        let next = match direction {
            Direction::Forward => found.next(),
            Direction::Backward => found.next_back(),
        };
        let Some(next) = next else { break };
        let (key, value) = next.map_err(from_storage)?;
        {
            let (key, value) = (key.value(), value.value());
            sifted.looked(key.len() + value.len());
            if sieve.keeps(key, value) {
                let entry = (key.to_vec(), Bytes::copy_from_slice(value));
                sifted.entries.push(entry);
            }
        }
        last = Some(key);
    }
    sifted.last = last.map(|key| key.value().to_vec());
    Ok(sifted)
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}
