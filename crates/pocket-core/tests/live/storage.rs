//! A store in which other things happen at chosen calls.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use pocket_core::storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Snapshot,
    Storage,
};
use pocket_storage_memory::MemoryStorage;
use tokio::sync::Semaphore;

type Act = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What happens in a store, in the hands of the test.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Inner>);

#[derive(Default)]
struct Inner {
    reads: AtomicU64,
    act: Mutex<Option<(u64, bool, Arc<Act>)>>,
    acting: AtomicBool,
    /// Commits that took effect wait here before they answer.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

impl Script {
    /// At the read of this number from now, from 0, something is done: before it reads or after.
    pub(crate) fn at_read(
        &self,
        read: u64,
        after: bool,
        act: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        let at = self.0.reads.load(Ordering::SeqCst) + read;
        *self.0.act.lock().unwrap() = Some((at, after, Arc::new(Box::new(act))));
    }

    /// Whether what was to happen still waits.
    pub(crate) fn waits(&self) -> bool {
        self.0.act.lock().unwrap().is_some()
    }

    /// From now on commits take effect and do not answer before they get a permit.
    pub(crate) fn hold_commits(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.0.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    async fn act(&self, read: u64, now_after: bool) {
        let due = {
            let mut act = self.0.act.lock().unwrap();
            let is_due = act
                .as_ref()
                .is_some_and(|(at, after, _)| *at == read && *after == now_after);
            if is_due { act.take() } else { None }
        };
        if let Some((.., act)) = due {
            // Reads of what is done here do not count.
            self.0.acting.store(true, Ordering::SeqCst);
            act().await;
            self.0.acting.store(false, Ordering::SeqCst);
        }
    }

    fn begin(&self) -> Option<u64> {
        let counts = !self.0.acting.load(Ordering::SeqCst);
        counts.then(|| self.0.reads.fetch_add(1, Ordering::SeqCst))
    }
}

pub(crate) struct Scripted {
    pub(crate) inner: MemoryStorage,
    pub(crate) script: Script,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

macro_rules! scripted {
    ($this:ident, $read:expr) => {{
        let number = $this.script.begin();
        if let Some(number) = number {
            $this.script.act(number, false).await;
        }
        let answer = $read.await;
        if let Some(number) = number {
            $this.script.act(number, true).await;
        }
        answer
    }};
}

#[async_trait]
impl Storage for Scripted {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        scripted!(self, self.inner.get(key))
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        scripted!(self, self.inner.get_many(keys))
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        scripted!(self, self.inner.scan(range.clone(), limit, direction))
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.inner.commit(batch, durability).await?;
        let gate = self.script.0.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        Ok(())
    }

    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
