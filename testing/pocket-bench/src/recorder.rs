//! A store that keeps what is written to it, so that another one can be given the very same.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage, Write,
};
use pocket_storage_memory::MemoryStorage;

/// The writes of one commit.
pub(crate) type Writes = Vec<Write>;

/// A store in memory that keeps the writes of every commit.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    store: Arc<MemoryStorage>,
    commits: Arc<Mutex<Vec<Writes>>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            store: Arc::new(MemoryStorage::new()),
            commits: Arc::default(),
        }
    }

    /// The commits since the last call.
    pub(crate) fn take(&self) -> Vec<Writes> {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut commits)
    }
}

#[async_trait]
impl Storage for Recorder {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.store.get(key).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.store.get_many(keys).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.store.scan(range, limit, direction).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        let writes = batch.writes().to_vec();
        self.store.commit(batch, durability).await?;
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.push(writes);
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}
