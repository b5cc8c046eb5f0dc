//! The contract in sled's terms.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use pocket_storage::blocking::{BlockingStore, WriteSet};
use pocket_storage::{
    Capabilities, Direction, Durability, Entry, KeyRange, MAX_VALUE_BYTES, Result, ScanLimit,
    StorageError,
};
use sled::IVec;

use crate::error::{from_io, from_sled};
use crate::layout::{
    Head, PIECE_BYTES, SUMS, Value, all_pieces, entry_key, entry_range, key_of_entry,
    number_of_piece, piece_count, piece_key, pieces_prefix,
};
use crate::opener::{Blobs, wait_until_released};
use crate::witness::{Sums, Witness, hash};

pub(crate) struct Engine {
    /// `None` only while it is dropped.
    database: Option<sled::Db>,
    path: PathBuf,
    /// Our own handle of sled's log: its `flush` is no fsync on Linux.
    log: File,
    /// sled has no snapshots. Readers that look at several keys hold this; the writer holds it alone while a
    /// batch is applied in memory, not while it is made durable.
    applying: RwLock<()>,
    writer: Mutex<Writer>,
}

struct Writer {
    /// The number of the next split value.
    next_number: u64,
    sums: Sums,
    witness: Witness,
    blobs: Blobs,
}

impl Engine {
    /// `verify` says whether to read all entries and compare their sum.
    pub(crate) fn new(database: sled::Db, path: &Path, verify: bool) -> Result<Self> {
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path.join("db"))
            .map_err(|error| from_io(&error))?;
        let last = database
            .range(all_pieces())
            .next_back()
            .transpose()
            .map_err(from_sled)?;
        let next_number = match last {
            None => 0,
            Some((key, _)) => number_of_piece(&key)
                .and_then(|number| number.checked_add(1))
                .ok_or_else(|| damaged("the last piece has no number"))?,
        };
        let sums = database
            .get(SUMS)
            .map_err(from_sled)?
            .and_then(|sums| Sums::decode(&sums))
            .ok_or_else(|| damaged("the sums are missing"))?;
        let witness = Witness::check(path, sums.commits)?;
        let engine = Self {
            database: Some(database),
            path: path.to_owned(),
            log,
            applying: RwLock::new(()),
            writer: Mutex::new(Writer {
                next_number,
                sums,
                witness,
                blobs: Blobs::new(path),
            }),
        };
        if verify && !engine.sum_of_entries()?.same_entries(&sums) {
            return Err(damaged("entries were lost from the log"));
        }
        Ok(engine)
    }

    fn sum_of_entries(&self) -> Result<Sums> {
        let mut sums = Sums::default();
        for entry in self.database()?.range(entry_range(&KeyRange::all())) {
            let (key, stored) = entry.map_err(from_sled)?;
            self.value(key_of_entry(&key), &stored)?;
            sums.add(Head::decode(&stored)?.hash);
        }
        Ok(sums)
    }

    fn database(&self) -> Result<&sled::Db> {
        self.database.as_ref().ok_or(StorageError::Closed)
    }

    fn one_state(&self) -> RwLockReadGuard<'_, ()> {
        self.applying.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key; the caller holds the state.
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let stored = self.database()?.get(entry_key(key)).map_err(from_sled)?;
        stored.map(|stored| self.value(key, &stored)).transpose()
    }

    fn value(&self, key: &[u8], stored: &IVec) -> Result<Bytes> {
        let head = Head::decode(stored)?;
        let value = match head.value {
            Value::Whole(value) => Bytes::copy_from_slice(value),
            Value::Split { number, bytes } => self.joined(number, bytes)?,
        };
        if hash(key, &value) != head.hash {
            return Err(damaged("an entry does not have its hash"));
        }
        Ok(value)
    }

    fn joined(&self, number: u64, bytes: usize) -> Result<Bytes> {
        // The length is from the disk: not to be believed before memory is taken for it.
        if bytes > MAX_VALUE_BYTES {
            return Err(damaged("a split value is longer than any value"));
        }
        let mut value = Vec::with_capacity(bytes);
        for piece in self.database()?.scan_prefix(pieces_prefix(number)) {
            let (_, piece) = piece.map_err(from_sled)?;
            value.extend_from_slice(&piece);
        }
        Ok(Bytes::from(value))
    }

    /// Adds what makes `key` hold `value`, without the pieces of what it held before.
    fn add(
        &self,
        batch: &mut sled::Batch,
        writer: &mut Writer,
        key: &[u8],
        value: Option<&Bytes>,
    ) -> Result<()> {
        let stored_key = entry_key(key);
        if let Some(before) = self.database()?.get(&stored_key).map_err(from_sled)? {
            let before = Head::decode(&before)?;
            writer.sums.remove(before.hash);
            if let Value::Split { number, bytes } = before.value {
                for index in 0..piece_count(bytes.min(MAX_VALUE_BYTES)) {
                    batch.remove(piece_key(number, index));
                }
            }
        }
        let Some(value) = value else {
            batch.remove(stored_key);
            return Ok(());
        };
        let hash = hash(key, value);
        writer.sums.add(hash);
        let head = if value.len() <= PIECE_BYTES {
            Value::Whole(value)
        } else {
            let number = writer.next_number;
            writer.next_number += 1;
            for (index, piece) in value.chunks(PIECE_BYTES).enumerate() {
                batch.insert(piece_key(number, index), piece);
            }
            let bytes = value.len();
            Value::Split { number, bytes }
        };
        batch.insert(stored_key, Head { hash, value: head }.encode());
        Ok(())
    }

    fn make_durable(&self, writer: &mut Writer, durability: Durability) -> Result<()> {
        if durability == Durability::Relaxed {
            return Ok(());
        }
        if durability >= Durability::PowerLoss {
            // Before the log that points to them.
            writer.blobs.sync().map_err(|error| from_io(&error))?;
        }
        self.database()?.flush().map_err(from_sled)?;
        if durability >= Durability::PowerLoss {
            self.log.sync_data().map_err(|error| from_io(&error))?;
            let commits = writer.sums.commits;
            writer
                .witness
                .synced(commits)
                .map_err(|error| from_io(&error))?;
        }
        Ok(())
    }
}

impl BlockingStore for Engine {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::PowerLoss)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let _state = self.one_state();
        self.read(key)
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let _state = self.one_state();
        keys.iter().map(|key| self.read(key)).collect()
    }

    fn scan(&self, range: &KeyRange, limit: ScanLimit, direction: Direction) -> Result<Vec<Entry>> {
        let _state = self.one_state();
        let mut found = self.database()?.range(entry_range(range));
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < limit.entries && (taken.is_empty() || bytes < limit.bytes) {
            let next = match direction {
                Direction::Forward => found.next(),
                Direction::Backward => found.next_back(),
            };
            let Some(next) = next else { break };
            let (key, stored) = next.map_err(from_sled)?;
            let (key, value) = (
                key_of_entry(&key).to_vec(),
                self.value(key_of_entry(&key), &stored)?,
            );
            bytes += key.len() + value.len();
            taken.push((key, value));
        }
        Ok(taken)
    }

    fn write(&self, writes: WriteSet, durability: Durability) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if !writes.is_empty() {
            let mut batch = sled::Batch::default();
            for (key, value) in &writes {
                self.add(&mut batch, &mut writer, key, value.as_ref())?;
            }
            writer.sums.commits += 1;
            batch.insert(SUMS, writer.sums.encode().to_vec());
            let _alone = self
                .applying
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            self.database()?.apply_batch(batch).map_err(from_sled)?;
        }
        self.make_durable(&mut writer, durability)
    }

    fn close(self) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_durable(&mut writer, Durability::PowerLoss)?;
        writer
            .witness
            .note(writer.sums.commits)
            .map_err(|error| from_io(&error))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.database = None;
        wait_until_released(&self.path);
    }
}

fn damaged(what: &str) -> StorageError {
    StorageError::Corrupt(what.to_owned())
}
