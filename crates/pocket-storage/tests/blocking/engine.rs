//! The engine of these tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use bytes::Bytes;
use pocket_storage::blocking::{
    BlockingOpener, BlockingOptions, BlockingStorage, BlockingStore, WriteSet,
};
use pocket_storage::{
    Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, StorageError, View,
};

/// What the engine did and shall do. It outlives the engine, as a disk does.
#[derive(Clone, Default)]
pub(crate) struct World {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) map: BTreeMap<Vec<u8>, Bytes>,
    /// Size and durability of each write.
    pub(crate) writes: Vec<(usize, Durability)>,
    pub(crate) opened: u32,
    pub(crate) closed: u32,
    /// Snapshots that live, and how many did when an engine was opened or closed.
    pub(crate) snapshots: u32,
    pub(crate) snapshots_left: u32,
    /// The threads on which keys were looked up, and scans ran.
    pub(crate) read_on: Vec<ThreadId>,
    /// Writes wait while this is set.
    held: bool,
    /// A write that waits.
    waiting: bool,
    /// Answers of the next writes, then of the next openings, then of the next reads.
    pub(crate) next_writes: Vec<Trouble>,
    pub(crate) next_opens: Vec<StorageError>,
    pub(crate) next_reads: Vec<StorageError>,
}

pub(crate) enum Trouble {
    Fail(StorageError),
    Panic,
}

impl World {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hold(&self) {
        self.state().held = true;
    }

    pub(crate) fn release(&self) {
        self.state().held = false;
        self.changed.notify_all();
    }

    /// Until a write has begun and is held.
    pub(crate) fn wait_for_a_write(&self) {
        let state = self.state();
        drop(
            self.changed
                .wait_while(state, |state| !state.waiting)
                .expect("no panic under the lock"),
        );
    }

    pub(crate) fn open(&self) -> BlockingStorage<Opener> {
        self.open_with(&BlockingOptions::default())
    }

    pub(crate) fn open_with(&self, options: &BlockingOptions) -> BlockingStorage<Opener> {
        BlockingStorage::open(Opener(self.clone()), options).expect("opens")
    }
}

pub(crate) struct Opener(World);

impl BlockingOpener for Opener {
    type Store = Engine;

    fn open(&self) -> Result<Engine> {
        let mut state = self.0.state();
        if let Some(error) = state.next_opens.pop() {
            return Err(error);
        }
        state.opened += 1;
        state.snapshots_left += state.snapshots;
        Ok(Engine(self.0.clone()))
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.state().closed += 100;
    }
}

/// What the map held. It counts as long as it lives.
struct Copied(World, BTreeMap<Vec<u8>, Bytes>);

impl View for Copied {
    fn scan(&self, _: &KeyRange, limit: ScanLimit, _: Direction) -> Result<Vec<Entry>> {
        let found = self.1.iter().take(limit.entries);
        Ok(found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.0.state().snapshots -= 1;
    }
}

pub(crate) struct Engine(World);

impl BlockingStore for Engine {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::PowerLoss)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let mut state = self.0.state();
        state.read_on.push(std::thread::current().id());
        match state.next_reads.pop() {
            Some(error) => Err(error),
            None => Ok(state.map.get(key).cloned()),
        }
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>> {
        let mut state = self.0.state();
        state.read_on.push(std::thread::current().id());
        match state.next_reads.pop() {
            Some(error) => Err(error),
            None => Ok(keys
                .iter()
                .map(|key| state.map.get(*key).cloned())
                .collect()),
        }
    }

    fn scan(&self, range: &KeyRange, limit: ScanLimit, _: Direction) -> Result<Vec<Entry>> {
        let bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>) = (range.start.clone(), range.end.clone());
        let mut state = self.0.state();
        state.read_on.push(std::thread::current().id());
        if let Some(error) = state.next_reads.pop() {
            return Err(error);
        }
        let found = state.map.range(bounds).take(limit.entries);
        Ok(found
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn snapshot(&self) -> Result<Option<Box<dyn View>>> {
        let mut state = self.0.state();
        state.snapshots += 1;
        let map = state.map.clone();
        Ok(Some(Box::new(Copied(self.0.clone(), map))))
    }

    fn write(&self, writes: WriteSet, durability: Durability) -> Result<()> {
        assert!(writes.is_sorted_by(|(one, _), (next, _)| one < next));
        let mut state = self.0.state();
        state.waiting = true;
        self.0.changed.notify_all();
        state = self
            .0
            .changed
            .wait_while(state, |state| state.held)
            .expect("no panic under the lock");
        state.waiting = false;
        match state.next_writes.pop() {
            Some(Trouble::Fail(error)) => return Err(error),
            Some(Trouble::Panic) => {
                drop(state);
                panic!("a page is not what it should be");
            }
            None => {}
        }
        state.writes.push((writes.len(), durability));
        for (key, value) in writes {
            match value {
                Some(value) => state.map.insert(key, value),
                None => state.map.remove(&key),
            };
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        let mut state = self.0.state();
        state.closed += 1;
        state.snapshots_left += state.snapshots;
        drop(state);
        Ok(())
    }
}
