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
    Head, PIECE_BYTES, all_pieces, entry_key, entry_range, key_of_entry, number_of_piece,
    piece_count, piece_key, pieces_prefix, split, whole,
};
use crate::opener::{Blobs, wait_until_released};

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
    blobs: Blobs,
}

impl Engine {
    pub(crate) fn new(database: sled::Db, path: &Path) -> Result<Self> {
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
        Ok(Self {
            database: Some(database),
            path: path.to_owned(),
            log,
            applying: RwLock::new(()),
            writer: Mutex::new(Writer {
                next_number,
                blobs: Blobs::new(path),
            }),
        })
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
        stored.map(|stored| self.value(&stored)).transpose()
    }

    fn value(&self, stored: &IVec) -> Result<Bytes> {
        let (number, bytes) = match Head::decode(stored)? {
            Head::Whole(value) => return Ok(Bytes::copy_from_slice(value)),
            Head::Split { number, bytes } => (number, bytes),
        };
        // The length is from the disk: not to be believed before memory is taken for it.
        if bytes > MAX_VALUE_BYTES {
            return Err(damaged("a split value is longer than any value"));
        }
        let mut value = Vec::with_capacity(bytes);
        for piece in self.database()?.scan_prefix(pieces_prefix(number)) {
            let (_, piece) = piece.map_err(from_sled)?;
            value.extend_from_slice(&piece);
        }
        if value.len() != bytes {
            return Err(damaged("pieces of a split value are missing"));
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
        let key = entry_key(key);
        let before = self.database()?.get(&key).map_err(from_sled)?;
        if let Some(before) = before
            && let Head::Split { number, bytes } = Head::decode(&before)?
        {
            for index in 0..piece_count(bytes.min(MAX_VALUE_BYTES)) {
                batch.remove(piece_key(number, index));
            }
        }
        match value {
            None => batch.remove(key),
            Some(value) if value.len() <= PIECE_BYTES => batch.insert(key, whole(value)),
            Some(value) => {
                let number = writer.next_number;
                writer.next_number += 1;
                for (index, piece) in value.chunks(PIECE_BYTES).enumerate() {
                    batch.insert(piece_key(number, index), piece);
                }
                batch.insert(key, split(number, value.len()));
            }
        }
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
            let (key, value) = (key_of_entry(&key).to_vec(), self.value(&stored)?);
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
        self.make_durable(&mut writer, Durability::PowerLoss)
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
