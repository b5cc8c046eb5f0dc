//! The store: one handle on a disk in memory.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use pocket_storage::ordered::BTreeMap;
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted,
    Snapshot, Storage, StorageError,
};

use crate::MemoryDisk;

/// A store in memory.
///
/// A clone is another open handle on the same entries, also when this one was closed.
#[derive(Debug)]
pub struct MemoryStorage {
    disk: MemoryDisk,
    /// The generation of the disk this handle belongs to; a crash begins another one.
    generation: u64,
    closed: AtomicBool,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        Self::on(MemoryDisk::without_history())
    }

    pub(crate) fn on(disk: MemoryDisk) -> Self {
        Self {
            generation: disk.generation(),
            disk,
            closed: AtomicBool::new(false),
        }
    }

    fn check_open(&self, generation: u64) -> Result<()> {
        if self.closed.load(Ordering::Acquire) || generation != self.generation {
            return Err(StorageError::Closed);
        }
        Ok(())
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for MemoryStorage {
    fn clone(&self) -> Self {
        Self::on(self.disk.clone())
    }
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Storage for MemoryStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::Relaxed)
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let entries = self.disk.read();
        self.check_open(entries.generation)?;
        Ok(entries.map.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let entries = self.disk.read();
        self.check_open(entries.generation)?;
        Ok(keys
            .iter()
            .map(|key| entries.map.get(key).cloned())
            .collect())
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        let entries = self.disk.read();
        self.check_open(entries.generation)?;
        Ok(scan(&entries.map, range, limit, direction))
    }

    async fn sift(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Sifted> {
        let entries = self.disk.read();
        self.check_open(entries.generation)?;
        let mut sifted = Sifted::default();
        if range.is_empty() {
            return Ok(sifted);
        }
        let bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>) = (range.start, range.end);
        let mut found = entries.map.range(bounds);
        let mut last = None;
        while !sifted.is_full(limit) {
            let next = match direction {
                Direction::Forward => found.next(),
                Direction::Backward => found.next_back(),
            };
            let Some((key, value)) = next else { break };
            sifted.looked(key.len() + value.len());
            if sieve.keeps(key, value) {
                sifted.entries.push((key.clone(), value.clone()));
            }
            last = Some(key);
        }
        sifted.last = last.cloned();
        Ok(sifted)
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        let mut entries = self.disk.write();
        self.check_open(entries.generation)?;
        batch.check_sizes()?;
        entries.apply(batch, durability)
    }

    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        let entries = self.disk.read();
        self.check_open(entries.generation)?;
        Ok(Some(Box::new(Copied(entries.map.clone()))))
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

/// A copy of all keys; the values are shared.
#[derive(Debug)]
struct Copied(BTreeMap<Vec<u8>, Bytes>);

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Snapshot for Copied {
    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        Ok(scan(&self.0, range, limit, direction))
    }
}

fn scan(
    map: &BTreeMap<Vec<u8>, Bytes>,
    range: KeyRange,
    limit: ScanLimit,
    direction: Direction,
) -> Vec<Entry> {
    if range.is_empty() {
        return Vec::new();
    }
    let bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>) = (range.start, range.end);
    let found = map.range(bounds);
    match direction {
        Direction::Forward => take(found, limit),
        Direction::Backward => take(found.rev(), limit),
    }
}

fn take<'a>(found: impl Iterator<Item = (&'a Vec<u8>, &'a Bytes)>, limit: ScanLimit) -> Vec<Entry> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    for (key, value) in found.take(limit.entries) {
        taken.push((key.clone(), value.clone()));
        bytes += key.len() + value.len();
        if bytes >= limit.bytes {
            break;
        }
    }
    taken
}
