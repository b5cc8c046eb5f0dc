//! A store whose commits can be held back for a while.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pocket_core::storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted,
    Snapshot, Storage, Visitor,
};
use tokio::sync::{RwLock, RwLockWriteGuard};

/// A store that passes everything on, and lets a backup see one state of it over many scans where the backend cannot keep one.
///
/// The order of commits is kept: what writes to one database or one namespace waits for each commit before it begins
/// the next.
#[derive(Debug)]
pub(crate) struct Gate {
    storage: Arc<dyn Storage>,
    commits: RwLock<()>,
}

impl Gate {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Self {
            storage,
            commits: RwLock::new(()),
        })
    }

    /// Waits for the commits under way. Further ones wait until the guard is dropped.
    pub(crate) async fn shut(&self) -> RwLockWriteGuard<'_, ()> {
        self.commits.write().await
    }
}

#[async_trait]
impl Storage for Gate {
    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.storage.get(key).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.storage.get_many(keys).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.storage.scan(range, limit, direction).await
    }

    async fn sift(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Sifted> {
        self.storage.sift(range, limit, direction, sieve).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        let _open = self.commits.read().await;
        self.storage.commit(batch, durability).await
    }

    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        self.storage.snapshot().await
    }

    async fn visit(&self, visitor: Box<dyn Visitor>) -> Result<bool> {
        self.storage.visit(visitor).await
    }

    fn overtaken(&self) {
        self.storage.overtaken();
    }

    async fn close(&self) -> Result<()> {
        self.storage.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocket_storage_memory::MemoryStorage;

    #[tokio::test]
    async fn a_commit_waits_while_the_gate_is_shut_and_reads_do_not() {
        let gate = Gate::new(Arc::new(MemoryStorage::new()));
        let shut = gate.shut().await;
        let mut batch = Batch::new();
        batch.put(b"a".to_vec(), &b"1"[..]);
        let commit = gate.commit(batch, Durability::Relaxed);
        let mut commit = std::pin::pin!(commit);
        tokio::select! {
            biased;
            _ = &mut commit => panic!("it went through a shut gate"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(gate.get(b"a").await.unwrap(), None);
        drop(shut);
        commit.await.unwrap();
        assert_eq!(gate.get(b"a").await.unwrap().as_deref(), Some(&b"1"[..]));
    }
}
