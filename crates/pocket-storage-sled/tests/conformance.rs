//! The contract, shown for the sled backend.

use std::sync::Arc;

use pocket_storage::conformance::{self, Place};
use pocket_storage::{BoxFuture, Result, Storage};
use pocket_storage_sled::SledStorage;
use tempfile::TempDir;

struct Directory(TempDir);

impl Place for Directory {
    fn open(&self) -> BoxFuture<'_, Result<Arc<dyn Storage>>> {
        Box::pin(async {
            let storage = SledStorage::open(self.0.path().join("store"))?;
            Ok(Arc::new(storage) as Arc<dyn Storage>)
        })
    }
}

#[tokio::test]
async fn sled_keeps_the_contract() {
    conformance::run(|| Directory(tempfile::tempdir().expect("a temporary directory"))).await;
}
