//! The entries, who may still touch them, and what a crash would take away.

use std::fmt;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use pocket_storage::ordered::BTreeMap;
use pocket_storage::{Batch, Check, Durability, Result, StorageError, Write};

use crate::MemoryStorage;

/// Values up to this size are copied, so that a small value does not keep a large network buffer alive.
const COPY_UP_TO: usize = 64 * 1024;

/// A disk in memory that survives the stores opened on it.
///
/// It keeps what is needed to take back every commit that was promised less than power-loss durability. A
/// clone is another handle on the same disk; [`copy`](Self::copy) makes a disk of its own.
#[derive(Clone)]
pub struct MemoryDisk {
    shared: Arc<RwLock<Entries>>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with(Entries::new(true))
    }

    /// A disk that takes nothing back and therefore remembers nothing but its entries.
    pub(crate) fn without_history() -> Self {
        Self::with(Entries::new(false))
    }

    fn with(entries: Entries) -> Self {
        Self {
            shared: Arc::new(RwLock::new(entries)),
        }
    }

    /// A store on this disk. Several may be open at once; each sees the commits of all.
    pub fn open(&self) -> MemoryStorage {
        MemoryStorage::on(self.clone())
    }

    /// An independent disk with the same entries, all of them durable: a backup, or a copied device.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut entries = Entries::new(true);
        entries.map.clone_from(&self.read().map);
        Self::with(entries)
    }

    /// The newest commits that the end of the process may take away.
    pub fn lost_by_crash(&self) -> usize {
        self.read().newest_below(Durability::ProcessCrash)
    }

    /// The newest commits that a loss of power may take away.
    pub fn lost_by_power_loss(&self) -> usize {
        self.read().newest_below(Durability::PowerLoss)
    }

    /// Ends the process: takes back the newest `lost` commits that did not ask for
    /// [`ProcessCrash`](Durability::ProcessCrash), at most [`lost_by_crash`](Self::lost_by_crash).
    /// Every store opened so far answers [`Closed`](StorageError::Closed) from now on.
    pub fn crash(&self, lost: usize) {
        let mut entries = self.write();
        let lost = lost.min(entries.newest_below(Durability::ProcessCrash));
        entries.take_back(lost);
    }

    /// Cuts the power: takes back the newest `lost` commits that did not ask for
    /// [`PowerLoss`](Durability::PowerLoss), at most [`lost_by_power_loss`](Self::lost_by_power_loss). What is
    /// left is durable. Every store opened so far answers [`Closed`](StorageError::Closed) from now on.
    pub fn lose_power(&self, lost: usize) {
        let mut entries = self.write();
        let lost = lost.min(entries.newest_below(Durability::PowerLoss));
        entries.take_back(lost);
        entries.undo.clear();
    }

    pub(crate) fn generation(&self) -> u64 {
        self.read().generation
    }

    // A panic while the lock is held cannot leave a half-applied batch: nothing in `apply` can panic between
    // the first write and the last. So a poisoned lock is taken as it is.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.shared
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.shared
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Default for MemoryDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.read();
        f.debug_struct("MemoryDisk")
            .field("entries", &entries.map.len())
            .field("generation", &entries.generation)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Entries {
    pub(crate) map: BTreeMap<Vec<u8>, Bytes>,
    /// Counts crashes. A store of an older generation belongs to a process that has ended.
    pub(crate) generation: u64,
    /// How to take back the commits since the last one with power-loss durability, oldest first.
    undo: Vec<Undo>,
    keeps_history: bool,
}

struct Undo {
    durability: Durability,
    /// What the keys held before, in the order they were overwritten.
    before: Vec<(Vec<u8>, Option<Bytes>)>,
}

impl Entries {
    fn new(keeps_history: bool) -> Self {
        Self {
            map: BTreeMap::new(),
            generation: 0,
            undo: Vec::new(),
            keeps_history,
        }
    }

    /// Evaluates all checks, then applies all writes.
    pub(crate) fn apply(&mut self, batch: Batch, durability: Durability) -> Result<()> {
        if !batch.checks().iter().all(|check| self.holds(check)) {
            return Err(StorageError::Conflict);
        }
        let may_go_back = self.keeps_history && durability < Durability::PowerLoss;
        let mut before = Vec::new();
        for write in batch.into_writes() {
            let (Write::Put { key, .. } | Write::Delete { key }) = &write;
            let kept = may_go_back.then(|| key.clone());
            let previous = match write {
                Write::Put { key, value } => self.map.insert(key, owned(&value)),
                Write::Delete { key } => self.map.remove(&key),
            };
            before.extend(kept.map(|key| (key, previous)));
        }
        if durability >= Durability::PowerLoss {
            self.undo.clear();
        } else if self.keeps_history {
            self.undo.push(Undo { durability, before });
        }
        Ok(())
    }

    fn holds(&self, check: &Check) -> bool {
        match check {
            Check::Equals { key, value } => self.map.get(key) == Some(value),
            Check::Absent { key } => !self.map.contains_key(key),
        }
    }

    /// How many commits there are behind the last one that is at least as durable as `durability`.
    fn newest_below(&self, durability: Durability) -> usize {
        let is_below = |undo: &&Undo| undo.durability < durability;
        self.undo.iter().rev().take_while(is_below).count()
    }

    fn take_back(&mut self, commits: usize) {
        self.generation += 1;
        let kept = self.undo.len() - commits;
        for undo in self.undo.drain(kept..).rev() {
            for (key, previous) in undo.before.into_iter().rev() {
                match previous {
                    Some(value) => self.map.insert(key, value),
                    None => self.map.remove(&key),
                };
            }
        }
    }
}

fn owned(value: &Bytes) -> Bytes {
    if value.len() <= COPY_UP_TO {
        Bytes::copy_from_slice(value)
    } else {
        value.clone()
    }
}
