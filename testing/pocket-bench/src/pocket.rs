//! Pocket's side: a server on a loopback socket, and devices.

use std::sync::Arc;

use pocket_core::{Collection, CollectionConfig, Database};
use pocket_storage::Storage;
use pocket_storage_memory::MemoryStorage;
use pocket_storage_redb::RedbStorage;
use pocket_sync_client::{SyncConfig, SyncEngine};
use pocket_sync_server::SyncServer;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::documents::{BATCH, Task};
use crate::plan::Plan;

/// The collection that everything is in.
pub(crate) const COLLECTION: &str = "tasks";

/// Where the stores of a run live.
pub(crate) enum Medium {
    Memory,
    /// redb, in files of this directory, which goes away with it.
    Durable(TempDir),
}

impl Medium {
    pub(crate) fn new(plan: &Plan, durable: bool) -> Outcome<Self> {
        Ok(if durable {
            Self::Durable(plan.scratch()?)
        } else {
            Self::Memory
        })
    }

    /// A new store.
    pub(crate) fn store(&self, name: &str) -> Outcome<Arc<dyn Storage>> {
        Ok(match self {
            Self::Memory => Arc::new(MemoryStorage::new()),
            Self::Durable(directory) => Arc::new(RedbStorage::open(directory.path().join(name))?),
        })
    }
}

/// A server that listens.
pub(crate) struct Server {
    pub(crate) url: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(store: Arc<dyn Storage>) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("ws://{}/sync", listener.local_addr()?);
        let server = SyncServer::builder(store).build()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let shutdown = async {
                // Dropped or sent: both mean stop.
                let _ = stopped.await;
            };
            server.serve(listener, shutdown).await;
        });
        Ok(Self { url, stop, task })
    }

    pub(crate) async fn stop(self) -> Outcome {
        drop(self.stop);
        Ok(self.task.await?)
    }
}

/// A database that may sync.
pub(crate) struct Device {
    pub(crate) database: Database,
    pub(crate) tasks: Collection<Task>,
}

impl Device {
    pub(crate) async fn open(store: Arc<dyn Storage>) -> Outcome<Self> {
        let database = Database::builder("bench")
            .collection(CollectionConfig::new(COLLECTION).sync(true))
            .open_shared(store)
            .await?;
        let tasks = database.collection(COLLECTION)?;
        Ok(Self { database, tasks })
    }

    /// A device with documents that were never sent.
    pub(crate) async fn with(store: Arc<dyn Storage>, tasks: &[Task]) -> Outcome<Self> {
        let device = Self::open(store).await?;
        for batch in tasks.chunks(BATCH) {
            device.tasks.insert_many(batch).await?;
        }
        Ok(device)
    }

    /// Its sync engine, with the usual settings; not started.
    pub(crate) fn engine(&self, url: &str) -> SyncEngine {
        SyncEngine::new(&self.database, SyncConfig::new(url))
    }
}

/// Sends everything and ends the engine; fails unless exactly `count` mutations were settled.
pub(crate) async fn push_all(device: &Device, engine: &SyncEngine, count: usize) -> Outcome {
    engine.start().await?;
    engine.push().await?;
    let (stats, left) = (engine.snapshot().stats, device.database.stats().await?);
    if stats.push_count != count as u64 || left.pending_changes != 0 {
        return Err(format!(
            "{} of {count} mutations were acknowledged, {} are left",
            stats.push_count, left.pending_changes
        )
        .into());
    }
    Ok(())
}

/// Reads everything; fails unless exactly `count` records came.
pub(crate) async fn pull_all(engine: &SyncEngine, count: usize) -> Outcome {
    engine.start().await?;
    engine.pull().await?;
    let pulled = engine.snapshot().stats.pull_count;
    if pulled == count as u64 {
        Ok(())
    } else {
        Err(format!("{pulled} records came instead of {count}").into())
    }
}
