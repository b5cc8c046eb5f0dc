//! A store that fails on demand, for tests and simulators.
//!
//! [`FaultyStorage`] passes every call to the store it wraps, numbers the calls, and does at the numbers that
//! its [`Faults`] were told what they were told: answer an error, or "crash" before or after the effect, after
//! which every call answers [`Closed`](StorageError::Closed) as it would to a process that has ended. It adds
//! no thread, no clock and no waiting: around a store whose futures are done at once, so are these.
//!
//! Loss of power is the other half: which commits it takes away is for the disk to say. `MemoryDisk` in
//! `pocket-storage-memory` keeps that account; wrap a store that it opened, crash here, then cut the power
//! there, and open again.
//!
//! ```
//! use std::sync::Arc;
//! use pocket_storage::faulty::{Faults, FaultyStorage, Moment};
//! # use pocket_storage::Storage;
//!
//! # fn example(store: Arc<dyn Storage>) {
//! let faults = Faults::new();
//! let storage = FaultyStorage::new(store, &faults);
//! // The third call from now takes effect, but its caller never hears of it.
//! faults.crash_at(faults.calls().total() + 3, Moment::After);
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted,
    Snapshot, Storage, StorageError, View, Visitor,
};

/// What a call does, for counting and choosing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// [`Storage::get`].
    Get,
    /// [`Storage::get_many`].
    GetMany,
    /// [`Storage::scan`] and [`Storage::sift`].
    Scan,
    /// [`Storage::visit`], where the backend does it.
    Visit,
    /// [`Storage::commit`].
    Commit,
    /// [`Storage::close`].
    Close,
}

/// When something happens, seen from the call's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The call has no effect.
    Before,
    /// The call has its effect, but its caller does not hear of it.
    After,
}

/// How many calls there were, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// Calls of [`Storage::get`].
    pub get: u64,
    /// Calls of [`Storage::get_many`].
    pub get_many: u64,
    /// Calls of [`Storage::scan`].
    pub scan: u64,
    /// Calls of [`Storage::visit`] that were answered.
    pub visit: u64,
    /// Calls of [`Storage::commit`].
    pub commit: u64,
    /// Calls of [`Storage::close`].
    pub close: u64,
}

impl Calls {
    /// All calls.
    pub fn total(&self) -> u64 {
        self.get + self.get_many + self.scan + self.visit + self.commit + self.close
    }

    fn of(&mut self, kind: CallKind) -> &mut u64 {
        match kind {
            CallKind::Get => &mut self.get,
            CallKind::GetMany => &mut self.get_many,
            CallKind::Scan => &mut self.scan,
            CallKind::Visit => &mut self.visit,
            CallKind::Commit => &mut self.commit,
            CallKind::Close => &mut self.close,
        }
    }
}

#[derive(Debug)]
enum Fault {
    Fail(Moment, StorageError),
    Crash(Moment),
}

#[derive(Debug, Default)]
struct Plan {
    calls: Calls,
    /// By the number of the call among all calls.
    at_call: BTreeMap<u64, Fault>,
    /// By the number of the call among those of its kind.
    at_kind: BTreeMap<(CallKind, u64), Fault>,
    /// Every commit answers this, until it is taken away.
    refusing: Option<StorageError>,
    crashed: bool,
}

/// What shall go wrong, and what happened so far. Clones share one plan.
///
/// Calls are numbered from 1, in the order in which they are first polled. A plan may outlive its store: hand
/// it to the next one, and the numbers go on.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    plan: Arc<Mutex<Plan>>,
}

impl Faults {
    /// A plan in which nothing goes wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// Call number `call` has no effect and answers `error`.
    pub fn fail_at(&self, call: u64, error: StorageError) {
        let fault = Fault::Fail(Moment::Before, error);
        self.plan().at_call.insert(call, fault);
    }

    /// Call number `call` of this kind answers `error`, without its effect or in spite of it.
    pub fn fail_at_kind(&self, kind: CallKind, call: u64, moment: Moment, error: StorageError) {
        let fault = Fault::Fail(moment, error);
        self.plan().at_kind.insert((kind, call), fault);
    }

    /// The process ends at call number `call`: that call and every later one answers
    /// [`Closed`](StorageError::Closed).
    pub fn crash_at(&self, call: u64, moment: Moment) {
        self.plan().at_call.insert(call, Fault::Crash(moment));
    }

    /// The process ends at call number `call` of this kind.
    pub fn crash_at_kind(&self, kind: CallKind, call: u64, moment: Moment) {
        let fault = Fault::Crash(moment);
        self.plan().at_kind.insert((kind, call), fault);
    }

    /// The process ends now.
    pub fn crash(&self) {
        self.plan().crashed = true;
    }

    /// Whether the process has ended.
    pub fn crashed(&self) -> bool {
        self.plan().crashed
    }

    /// From now on every commit has no effect and answers `error`: a full disk, for example. `None` ends it.
    pub fn refuse_commits(&self, error: Option<StorageError>) {
        self.plan().refusing = error;
    }

    /// The calls so far, those answered with a fault included.
    pub fn calls(&self) -> Calls {
        self.plan().calls
    }

    /// A new process: forgets the crash and every fault that has not happened. The counts go on.
    pub fn restart(&self) {
        let mut plan = self.plan();
        let calls = plan.calls;
        *plan = Plan {
            calls,
            ..Plan::default()
        };
    }

    /// Counts a call and says what goes wrong with it.
    fn begin(&self, kind: CallKind) -> Result<Option<Fault>> {
        let mut plan = self.plan();
        if plan.crashed {
            return Err(StorageError::Closed);
        }
        let of_kind = plan.calls.of(kind);
        *of_kind += 1;
        let number = *of_kind;
        let total = plan.calls.total();
        let fault = plan
            .at_call
            .remove(&total)
            .or_else(|| plan.at_kind.remove(&(kind, number)));
        match fault {
            Some(Fault::Crash(Moment::Before)) => {
                plan.crashed = true;
                Err(StorageError::Closed)
            }
            Some(Fault::Fail(Moment::Before, error)) => Err(error),
            Some(fault) => Ok(Some(fault)),
            None => match &plan.refusing {
                Some(error) if kind == CallKind::Commit => Err(error.clone()),
                _ => Ok(None),
            },
        }
    }

    /// What the caller hears, once the call had its effect.
    fn end<T>(&self, fault: Option<Fault>, answer: Result<T>) -> Result<T> {
        match fault {
            Some(Fault::Crash(_)) => {
                self.plan().crashed = true;
                Err(StorageError::Closed)
            }
            Some(Fault::Fail(_, error)) => Err(error),
            // It may have crashed while the call was under way.
            None if self.crashed() => Err(StorageError::Closed),
            None => answer,
        }
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.plan)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A [`Storage`] around another one, in which what its [`Faults`] say goes wrong.
#[derive(Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    faults: Faults,
}

impl FaultyStorage {
    /// Wraps `inner`. `faults` stays in the hands of the test.
    pub fn new(inner: Arc<dyn Storage>, faults: &Faults) -> Self {
        Self {
            inner,
            faults: faults.clone(),
        }
    }
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Storage for FaultyStorage {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let fault = self.faults.begin(CallKind::Get)?;
        let answer = self.inner.get(key).await;
        self.faults.end(fault, answer)
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let fault = self.faults.begin(CallKind::GetMany)?;
        let answer = self.inner.get_many(keys).await;
        self.faults.end(fault, answer)
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        let fault = self.faults.begin(CallKind::Scan)?;
        let answer = self.inner.scan(range, limit, direction).await;
        self.faults.end(fault, answer)
    }

    async fn sift(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Sifted> {
        let fault = self.faults.begin(CallKind::Scan)?;
        let answer = self.inner.sift(range, limit, direction, sieve).await;
        self.faults.end(fault, answer)
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        let fault = self.faults.begin(CallKind::Commit)?;
        let answer = self.inner.commit(batch, durability).await;
        self.faults.end(fault, answer)
    }

    /// Taken without a fault; it can no more fail than what was read before.
    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        self.inner.snapshot().await
    }

    async fn visit(&self, visitor: Box<dyn Visitor>) -> Result<bool> {
        if self.faults.crashed() {
            return Err(StorageError::Closed);
        }
        // It is a call once somebody is called.
        let begun = Arc::new(Mutex::new(None));
        let (faults, told) = (self.faults.clone(), begun.clone());
        let visitor = move |view: Box<dyn View>| {
            let begin = faults.begin(CallKind::Visit);
            let goes_on = begin.is_ok();
            *lock(&told) = Some(begin);
            if goes_on {
                visitor.visit(view);
            }
        };
        let answer = self.inner.visit(Box::new(visitor)).await;
        let begun = lock(&begun).take();
        match begun {
            Some(fault) => self.faults.end(fault?, answer),
            None => answer,
        }
    }

    fn overtaken(&self) {
        self.inner.overtaken();
    }

    async fn close(&self) -> Result<()> {
        let fault = self.faults.begin(CallKind::Close)?;
        let answer = self.inner.close().await;
        self.faults.end(fault, answer)
    }
}
