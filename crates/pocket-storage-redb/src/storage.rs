//! The store, as its users see it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pocket_storage::blocking::{BlockingOptions, BlockingStorage};
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted,
    Snapshot, Storage, Visitor,
};

use crate::RedbBuilder;
use crate::opener::Opener;

/// A store in one redb file.
///
/// Dropping it waits for the commits under way and releases the file; [`close`](Storage::close) does the same
/// without blocking, and tells whether the last writes are durable.
#[derive(Debug)]
pub struct RedbStorage {
    inner: BlockingStorage<Opener>,
}

impl RedbStorage {
    /// Opens the store in the file `path`, made if it is missing, with the usual options.
    ///
    /// # Errors
    /// As [`RedbBuilder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Options for opening.
    pub fn builder() -> RedbBuilder {
        RedbBuilder::new()
    }

    pub(crate) fn start(opener: Opener, options: &BlockingOptions) -> Result<Self> {
        let inner = BlockingStorage::open(opener, options)?;
        Ok(Self { inner })
    }
}

#[async_trait]
impl Storage for RedbStorage {
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

    async fn sift(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Sifted> {
        self.inner.sift(range, limit, direction, sieve).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.inner.commit(batch, durability).await
    }

    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        self.inner.snapshot().await
    }

    async fn visit(&self, visitor: Box<dyn Visitor>) -> Result<bool> {
        self.inner.visit(visitor).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
