//! What callers and threads share: the engine, its state, and how it is brought back.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
};

use bytes::Bytes;

use super::{BlockingOpener, BlockingStore};
use crate::{Direction, Entry, KeyRange, Result, ScanLimit, StorageError, View, Visitor};

pub(super) struct Shared<O: BlockingOpener> {
    slot: RwLock<Slot<O>>,
}

/// Readers and the writer hold the read lock while they use the engine, so whoever holds the write lock is
/// alone with it.
struct Slot<O: BlockingOpener> {
    /// `None` once closed.
    opener: Option<O>,
    engine: Engine<O::Store>,
    /// States of the engine that are being read. They go before the engine does.
    snapshots: Mutex<Snapshots>,
}

#[derive(Default)]
struct Snapshots {
    last: u64,
    held: BTreeMap<u64, Arc<dyn View>>,
}

impl<O: BlockingOpener> Slot<O> {
    fn snapshots(&self) -> MutexGuard<'_, Snapshots> {
        self.snapshots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

enum Engine<S> {
    Open(S),
    /// It failed and must be reopened before anything else. The engine, if there still is one, and why.
    Failed(Option<S>, String),
    Closed,
}

impl<O: BlockingOpener> Shared<O> {
    pub(super) fn open(opener: O) -> Result<Self> {
        let engine = Engine::Open(contain(|| opener.open())?);
        Ok(Self {
            slot: RwLock::new(Slot {
                opener: Some(opener),
                engine,
                snapshots: Mutex::default(),
            }),
        })
    }

    /// Uses the engine if that is possible without waiting and without opening it again.
    pub(super) fn try_use<T>(&self, f: impl FnOnce(&O::Store) -> Result<T>) -> Option<Result<T>> {
        let slot = match self.slot.try_read() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        match &slot.engine {
            Engine::Open(store) => Some(contain(|| f(store))),
            Engine::Failed(..) => None,
            Engine::Closed => Some(Err(StorageError::Closed)),
        }
    }

    /// Uses the engine once, opened again before if it had failed.
    pub(super) fn use_once<T>(&self, f: impl FnOnce(&O::Store) -> Result<T>) -> Result<T> {
        loop {
            {
                let slot = self.read();
                match &slot.engine {
                    Engine::Open(store) => return contain(|| f(store)),
                    Engine::Failed(..) => {}
                    Engine::Closed => return Err(StorageError::Closed),
                }
            }
            self.reopen()?;
        }
    }

    /// Reads, and if the engine fails, reopens it and reads once more.
    pub(super) fn read_twice<T>(&self, f: impl Fn(&O::Store) -> Result<T>) -> Result<T> {
        self.ready()?;
        match self.use_once(&f) {
            Err(StorageError::Backend(reason)) => {
                self.fail(&reason);
                self.ready()?;
                self.use_once(&f)
            }
            answer => answer,
        }
    }

    /// Takes a snapshot and tells its number.
    pub(super) fn begin_snapshot(&self) -> Result<Option<u64>> {
        self.ready()?;
        let slot = self.read();
        let Engine::Open(store) = &slot.engine else {
            return Err(StorageError::Closed);
        };
        let Some(snapshot) = contain(|| store.snapshot())? else {
            return Ok(None);
        };
        let mut snapshots = slot.snapshots();
        snapshots.last += 1;
        let number = snapshots.last;
        snapshots.held.insert(number, snapshot.into());
        Ok(Some(number))
    }

    /// Reads a snapshot.
    pub(super) fn scan_snapshot(
        &self,
        number: u64,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        // Held while it is read, so that it is gone when somebody is alone with the engine.
        let slot = self.read();
        let snapshot = slot.snapshots().held.get(&number).cloned();
        let snapshot = snapshot.ok_or(StorageError::Closed)?;
        contain(|| snapshot.scan(range, limit, direction))
    }

    /// Reads single keys of a snapshot.
    pub(super) fn get_snapshot(&self, number: u64, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let slot = self.read();
        let snapshot = slot.snapshots().held.get(&number).cloned();
        let snapshot = snapshot.ok_or(StorageError::Closed)?;
        contain(|| snapshot.get_many(keys))
    }

    /// Has a state of the engine read at once, if it shows any. The engine is used meanwhile, so nobody closes it.
    pub(super) fn visit(&self, visitor: Box<dyn Visitor>) -> Result<bool> {
        self.ready()?;
        let slot = self.read();
        let Engine::Open(store) = &slot.engine else {
            return Err(StorageError::Closed);
        };
        let Some(view) = contain(|| store.snapshot())? else {
            return Ok(false);
        };
        contain(|| {
            visitor.visit(view);
            Ok(true)
        })
    }

    pub(super) fn end_snapshot(&self, number: u64) {
        let ended = self.read().snapshots().held.remove(&number);
        // What it held is given back outside of the lock.
        drop(ended);
    }

    /// Reopens the engine if it has failed.
    fn ready(&self) -> Result<()> {
        if matches!(self.read().engine, Engine::Failed(..)) {
            self.reopen()?;
        }
        Ok(())
    }

    /// Marks the engine as failed.
    pub(super) fn fail(&self, reason: &str) {
        let mut slot = self.write();
        slot.snapshots().held.clear();
        slot.engine = match std::mem::replace(&mut slot.engine, Engine::Closed) {
            Engine::Open(store) => Engine::Failed(Some(store), reason.to_owned()),
            other => other,
        };
    }

    /// Ends the engine, then drops the opener and with it the lock file.
    pub(super) fn close(&self) -> Result<()> {
        let mut slot = self.write();
        slot.snapshots().held.clear();
        let engine = std::mem::replace(&mut slot.engine, Engine::Closed);
        let answer = match engine {
            Engine::Open(store) => contain(|| store.close()),
            Engine::Failed(store, reason) => {
                discard(store);
                Err(StorageError::Backend(format!(
                    "closed after a failure ({reason}); the newest commits may not be durable"
                )))
            }
            Engine::Closed => Ok(()),
        };
        slot.opener = None;
        answer
    }

    fn reopen(&self) -> Result<()> {
        let mut slot = self.write();
        let slot = &mut *slot;
        let Engine::Failed(store, reason) = &mut slot.engine else {
            return Ok(());
        };
        let Some(opener) = &slot.opener else {
            return Err(StorageError::Closed);
        };
        discard(store.take());
        match contain(|| opener.open()) {
            Ok(store) => {
                slot.engine = Engine::Open(store);
                Ok(())
            }
            Err(StorageError::Backend(again)) => Err(StorageError::Backend(format!(
                "the store failed ({reason}) and could not be reopened: {again}; \
                 nothing was written, the next call tries again"
            ))),
            Err(error) => Err(error),
        }
    }

    // The engine's panics are contained before they reach a guard, so a poisoned lock is taken as it is.
    fn read(&self) -> RwLockReadGuard<'_, Slot<O>> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slot<O>> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops a failed engine. Whatever it says at the end says nothing new.
fn discard<S>(store: Option<S>) {
    let _contained = Contained::begin();
    let _ = catch_unwind(AssertUnwindSafe(|| drop(store)));
}

thread_local! {
    /// How deep in engine code this thread is.
    static CONTAINED: Cell<usize> = const { Cell::new(0) };
}

/// See [`contains_panics`](super::contains_panics).
pub(super) fn contains_panics() -> bool {
    // A thread that ends runs no engine code.
    CONTAINED.try_with(Cell::get).unwrap_or(0) > 0
}

struct Contained;

impl Contained {
    fn begin() -> Self {
        CONTAINED.set(CONTAINED.get() + 1);
        Self
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        CONTAINED.set(CONTAINED.get() - 1);
    }
}

/// Runs engine code; engines panic on damage that they did not expect.
pub(super) fn contain<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    let _contained = Contained::begin();
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(StorageError::Corrupt(format!(
            "the storage engine panicked: {message}"
        )))
    })
}
