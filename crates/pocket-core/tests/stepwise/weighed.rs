//! A store that notes how heavy its commits are.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use pocket_core::storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage, Write,
};
use pocket_storage_memory::MemoryStorage;

#[derive(Debug, Default)]
pub(super) struct Weighed {
    inner: MemoryStorage,
    heaviest: AtomicUsize,
}

impl Weighed {
    /// From now on they count.
    pub(super) fn begin(&self) {
        self.heaviest.store(0, Ordering::Relaxed);
    }

    /// Bytes of the heaviest commit.
    pub(super) fn heaviest(&self) -> usize {
        self.heaviest.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Storage for Weighed {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.inner.get_many(keys).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.inner.scan(range, limit, direction).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        let bytes = batch.writes().iter().map(|write| match write {
            Write::Put { key, value } => key.len() + value.len(),
            Write::Delete { key } => key.len(),
        });
        self.heaviest.fetch_max(bytes.sum(), Ordering::Relaxed);
        self.inner.commit(batch, durability).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
