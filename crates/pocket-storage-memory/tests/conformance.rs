//! The contract, shown for the memory backend.

use std::sync::Arc;

use pocket_storage::conformance::{self, Place};
use pocket_storage::{BoxFuture, Result, Storage};
use pocket_storage_memory::{MemoryDisk, MemoryStorage};

struct Kept(MemoryStorage);

impl Place for Kept {
    fn open(&self) -> BoxFuture<'_, Result<Arc<dyn Storage>>> {
        Box::pin(async { Ok(Arc::new(self.0.clone()) as Arc<dyn Storage>) })
    }
}

struct Disk(MemoryDisk);

impl Place for Disk {
    fn open(&self) -> BoxFuture<'_, Result<Arc<dyn Storage>>> {
        Box::pin(async { Ok(Arc::new(self.0.open()) as Arc<dyn Storage>) })
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    conformance::run(|| Kept(MemoryStorage::new())).await;
}

#[tokio::test]
async fn a_memory_disk_keeps_the_contract() {
    conformance::run(|| Disk(MemoryDisk::new())).await;
}
