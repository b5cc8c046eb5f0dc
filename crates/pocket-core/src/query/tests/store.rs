//! A store that counts what is read of it, and lets others commit in between.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use pocket_storage::{
    Batch, BoxFuture, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit,
    Snapshot, Storage, View, Visitor,
};
use pocket_storage_memory::MemoryStorage;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) index_entries: u64,
    pub(super) documents: u64,
    /// Of the values that one call looked up, at the most.
    pub(super) most_bytes: usize,
    pub(super) calls: u64,
    pub(super) commits: u64,
}

type Work = BoxFuture<'static, ()>;

/// What happens beside the reading.
#[derive(Default)]
struct Beside {
    counted: Counted,
    /// What is done before the next reads: nothing, or something.
    between: VecDeque<Option<Work>>,
    /// Snapshots that were taken, and visits.
    snapshots: u64,
    visits: u64,
}

/// The store. Its clones are one.
#[derive(Clone)]
pub(super) struct Watched {
    inner: Arc<MemoryStorage>,
    beside: Arc<Mutex<Beside>>,
    has_snapshots: bool,
    is_visited: bool,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl Watched {
    pub(super) fn new(has_snapshots: bool) -> Self {
        Self {
            inner: Arc::new(MemoryStorage::new()),
            beside: Arc::default(),
            has_snapshots,
            is_visited: false,
        }
    }

    /// One that can be visited.
    pub(super) fn visited() -> Self {
        Self {
            is_visited: true,
            ..Self::new(true)
        }
    }

    /// One of each kind.
    pub(super) fn each() -> [Self; 3] {
        [Self::new(true), Self::new(false), Self::visited()]
    }

    pub(super) fn has_snapshots(&self) -> bool {
        self.has_snapshots
    }

    pub(super) fn visits(&self) -> u64 {
        self.beside.lock().unwrap().visits
    }

    /// What was read since the last time.
    pub(super) fn counted(&self) -> Counted {
        std::mem::take(&mut self.beside.lock().unwrap().counted)
    }

    /// From now on these are done, each before one read.
    pub(super) fn between(&self, works: impl IntoIterator<Item = Option<Work>>) {
        self.beside.lock().unwrap().between = works.into_iter().collect();
    }

    /// Whether all of it was done.
    pub(super) fn is_done(&self) -> bool {
        self.beside.lock().unwrap().between.is_empty()
    }

    pub(super) fn snapshots(&self) -> u64 {
        self.beside.lock().unwrap().snapshots
    }

    async fn turn(&self) {
        tokio::task::yield_now().await;
        let (mut rest, counted) = {
            let mut beside = self.beside.lock().unwrap();
            beside.counted.calls += 1;
            // What is done reads, too, and nothing is to come in between of that.
            let rest = std::mem::take(&mut beside.between);
            (rest, beside.counted)
        };
        if let Some(Some(work)) = rest.pop_front() {
            work.await;
            self.beside.lock().unwrap().counted = counted;
        }
        self.beside.lock().unwrap().between = rest;
    }

    fn count<'a>(&self, keys: impl Iterator<Item = &'a Vec<u8>>) {
        let mut beside = self.beside.lock().unwrap();
        for key in keys {
            match key.first() {
                Some(b'i') => beside.counted.index_entries += 1,
                Some(b'd') => beside.counted.documents += 1,
                _ => {}
            }
        }
    }
}

#[async_trait]
impl Storage for Watched {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.turn().await;
        let value = self.inner.get(key).await?;
        self.count(value.is_some().then(|| key.to_vec()).iter());
        Ok(value)
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.turn().await;
        let values = self.inner.get_many(keys).await?;
        let found = keys.iter().zip(&values);
        self.count(
            found
                .filter(|(_, value)| value.is_some())
                .map(|(key, _)| key),
        );
        let bytes = values.iter().flatten().map(Bytes::len).sum();
        let counted = &mut self.beside.lock().unwrap().counted;
        counted.most_bytes = counted.most_bytes.max(bytes);
        Ok(values)
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.turn().await;
        let entries = self.inner.scan(range, limit, direction).await?;
        self.count(entries.iter().map(|(key, _)| key));
        Ok(entries)
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.beside.lock().unwrap().counted.commits += 1;
        self.inner.commit(batch, durability).await
    }

    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        self.turn().await;
        if !self.has_snapshots {
            return Ok(None);
        }
        self.beside.lock().unwrap().snapshots += 1;
        let inner = self.inner.snapshot().await?.unwrap();
        let watched = self.clone();
        Ok(Some(Box::new(Held { inner, watched })))
    }

    async fn visit(&self, visitor: Box<dyn Visitor>) -> Result<bool> {
        if !self.is_visited {
            return Ok(false);
        }
        self.turn().await;
        self.beside.lock().unwrap().visits += 1;
        let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
        let all = self.inner.scan(KeyRange::all(), limit, Direction::Forward);
        let entries = all.await?.into_iter().collect();
        let watched = self.clone();
        visitor.visit(Box::new(Seen { entries, watched }));
        Ok(true)
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[derive(Debug)]
struct Held {
    inner: Box<dyn Snapshot>,
    watched: Watched,
}

#[async_trait]
impl Snapshot for Held {
    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.watched.turn().await;
        let entries = self.inner.scan(range, limit, direction).await?;
        self.watched.count(entries.iter().map(|(key, _)| key));
        Ok(entries)
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.watched.turn().await;
        self.inner.get_many(keys).await
    }
}

/// What is there during a visit.
struct Seen {
    entries: BTreeMap<Vec<u8>, Bytes>,
    watched: Watched,
}

impl View for Seen {
    fn scan(&self, range: &KeyRange, limit: ScanLimit, direction: Direction) -> Result<Vec<Entry>> {
        let found = self.entries.range((range.start.clone(), range.end.clone()));
        let found = found.map(|(key, value)| (key.clone(), value.clone()));
        let found: Vec<_> = match direction {
            Direction::Forward => found.take(limit.entries).collect(),
            Direction::Backward => found.rev().take(limit.entries).collect(),
        };
        self.watched.count(found.iter().map(|(key, _)| key));
        Ok(found)
    }
}
