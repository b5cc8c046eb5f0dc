//! A node's disk: it survives the node, keeps apart what is durable, fails on demand, and answers late.
//!
//! From the inside out: `MemoryDisk` knows what a crash and a loss of power take away, `FaultyStorage` fails and
//! crashes at planned calls, and [`LateStorage`] makes single calls wait for the world, before their effect or after.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use pocket_storage::faulty::{Faults, FaultyStorage};
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage,
};
use pocket_storage_memory::MemoryDisk;

use crate::dice::Dice;

/// How often calls wait, and how long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lateness {
    pub(crate) commits: f64,
    pub(crate) reads: f64,
    /// The longest wait in milliseconds; most are much shorter.
    pub(crate) most: u64,
}

/// A call that waits: the world releases it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) call: u64,
    pub(crate) millis: u64,
}

#[derive(Debug)]
pub(crate) struct NodeDisk {
    disk: MemoryDisk,
    pub(crate) faults: Faults,
    gate: Gate,
}

/// What a disk held at one moment.
#[derive(Debug)]
pub(crate) struct Backup(MemoryDisk);

impl Backup {
    /// A store on it.
    pub(crate) fn open(&self) -> Arc<dyn Storage> {
        Arc::new(self.0.copy().open())
    }
}

impl NodeDisk {
    pub(crate) fn new(dice: Dice, lateness: Lateness) -> Self {
        Self {
            disk: MemoryDisk::new(),
            faults: Faults::new(),
            gate: Gate(Arc::new(Mutex::new(GateState {
                dice,
                lateness,
                last: 0,
                begun: Vec::new(),
                released: BTreeSet::new(),
            }))),
        }
    }

    /// The store of a new process on this disk.
    pub(crate) fn mount(&self) -> Arc<dyn Storage> {
        self.faults.restart();
        let inner: Arc<dyn Storage> = Arc::new(self.disk.open());
        Arc::new(LateStorage {
            inner: FaultyStorage::new(inner, &self.faults),
            gate: self.gate.clone(),
        })
    }

    /// What it holds now.
    pub(crate) fn copy(&self) -> Backup {
        Backup(self.disk.copy())
    }

    /// From now on it holds what it held then. No process may be running on it.
    pub(crate) fn restore(&mut self, backup: &Backup) {
        self.disk = backup.0.copy();
    }

    /// A look at what is stored, past all faults: the auditor's.
    pub(crate) fn look(&self) -> Arc<dyn Storage> {
        Arc::new(self.disk.open())
    }

    /// Ends the process on it, maybe with the power. Returns how many commits were lost.
    pub(crate) fn end(&self, power: bool, dice: &mut Dice) -> usize {
        let most = if power {
            self.disk.lost_by_power_loss()
        } else {
            self.disk.lost_by_crash()
        };
        let lost = dice.index(most + 1);
        if power {
            self.disk.lose_power(lost);
        } else {
            self.disk.crash(lost);
        }
        self.gate.state().begun.clear();
        lost
    }

    /// The calls that began to wait since the last time.
    pub(crate) fn waits(&self) -> Vec<Wait> {
        std::mem::take(&mut self.gate.state().begun)
    }

    pub(crate) fn release(&self, call: u64) {
        self.gate.state().released.insert(call);
    }

    /// From now on every call answers at once.
    pub(crate) fn hurry(&self) {
        self.gate.state().lateness = Lateness::default();
    }
}

#[derive(Debug)]
struct GateState {
    dice: Dice,
    lateness: Lateness,
    last: u64,
    begun: Vec<Wait>,
    released: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
struct Gate(Arc<Mutex<GateState>>);

/// When a call waits, seen from its effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Late {
    No,
    Before,
    After,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn throw(&self, is_commit: bool) -> Late {
        let mut state = self.state();
        let probability = if is_commit {
            state.lateness.commits
        } else {
            state.lateness.reads
        };
        match (
            probability > 0.0 && state.dice.chance(probability),
            is_commit,
        ) {
            (false, _) => Late::No,
            (true, false) => Late::Before,
            (true, true) => state.dice.pick(&[Late::Before, Late::After]),
        }
    }

    async fn wait(&self) {
        let call = {
            let mut state = self.state();
            state.last += 1;
            let most = state.lateness.most.max(1);
            // Mostly short, now and then the whole length.
            let bound = if state.dice.chance(0.2) {
                most
            } else {
                (most / 50).max(1)
            };
            let millis = state.dice.between(1, bound);
            let call = state.last;
            state.begun.push(Wait { call, millis });
            call
        };
        poll_fn(|_| {
            if self.state().released.remove(&call) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    async fn around<T>(&self, is_commit: bool, call: impl Future<Output = T>) -> T {
        let late = self.throw(is_commit);
        if late == Late::Before {
            self.wait().await;
        }
        let answer = call.await;
        if late == Late::After {
            self.wait().await;
        }
        answer
    }
}

/// A store whose single calls wait until the world releases them.
#[derive(Debug)]
struct LateStorage {
    inner: FaultyStorage,
    gate: Gate,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Storage for LateStorage {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.gate.around(false, self.inner.get(key)).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.gate.around(false, self.inner.get_many(keys)).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.gate
            .around(false, self.inner.scan(range, limit, direction))
            .await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.gate
            .around(true, self.inner.commit(batch, durability))
            .await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
