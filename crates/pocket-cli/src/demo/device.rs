//! A device of the story: a database, and an engine that is online or not.

use std::fmt::Write;
use std::time::Duration;

use pocket_core::replica::Replica;
use pocket_core::{Collection, CollectionConfig, Database, Map, Seq, Target, Value};
use pocket_sync_client::{Snapshot, Stats, Status, SyncConfig, SyncEngine};
use sha2::{Digest, Sha256};

use super::broken;
use super::stage::Stage;
use crate::failure::Result;
use crate::output::json;

/// How long a pass may take before the story is broken off.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first delay before a lost connection is opened again. Short, because the story is.
const RETRY: Duration = Duration::from_millis(100);

pub(super) struct Device {
    database: Database,
    engine: SyncEngine,
}

/// What a collection holds, and a hash of the bytes that `pocket export` prints of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) documents: u64,
    pub(super) sha256: String,
}

impl Device {
    /// A new device in a directory of its own. It is offline.
    pub(super) async fn new(stage: &Stage, name: &str, url: &str) -> Result<Self> {
        let database = stage.open(name).await?;
        let engine = SyncEngine::new(&database, SyncConfig::new(url).retry_delay(RETRY));
        Ok(Self { database, engine })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// A collection, made synced if it is missing.
    pub(super) async fn collection(&self, name: &str) -> Result<Collection<Value>> {
        let config = CollectionConfig::new(name).sync(true);
        self.database.create_collection(config).await?;
        Ok(self.database.collection(name)?)
    }

    /// Sets fields of a document, as `pocket update` does.
    pub(super) async fn update(&self, collection: &str, id: &str, patch: Map) -> Result {
        let collection = self.collection(collection).await?;
        collection.update(id, &Value::Map(patch)).await?;
        Ok(())
    }

    /// Goes online and returns when it is in step with the server.
    pub(super) async fn meet(&self) -> Result<Snapshot> {
        self.engine.start().await?;
        let pass = tokio::time::timeout(PATIENCE, self.engine.force_sync()).await;
        pass.map_err(|_| broken("a device did not get in step with the server in time"))??;
        Ok(self.engine.snapshot())
    }

    /// Goes offline.
    pub(super) async fn leave(&self) -> Result {
        Ok(self.engine.stop().await?)
    }

    pub(super) fn stats(&self) -> Stats {
        self.engine.snapshot().stats
    }

    /// Waits until so many mutations were acknowledged since the engine was made.
    pub(super) async fn acknowledged(&self, count: u64) -> Result {
        let mut stats = self.engine.stats();
        let reached = async {
            while let Some(stats) = stats.next().await {
                if stats.push_count >= count {
                    break;
                }
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.map_err(|_| broken("the server did not acknowledge the edits in time"))
    }

    /// Waits until it has numbered further changes, which it then sends at once.
    pub(super) async fn sends_more(&self) -> Result {
        let replica = self.replica();
        let before = replica.state().await?.last_number;
        let numbered = async {
            while replica.state().await?.last_number == before {
                tokio::task::yield_now().await;
            }
            Ok(())
        };
        let numbered = tokio::time::timeout(PATIENCE, numbered).await;
        numbered.map_err(|_| broken("a device did not go on sending"))?
    }

    /// Waits for this status.
    pub(super) async fn becomes(&self, wanted: Status) -> Result {
        let mut status = self.engine.status();
        let reached = async {
            while let Some(status) = status.next().await {
                if status == wanted {
                    break;
                }
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        reached.map_err(|_| broken(format_args!("a device did not become {wanted} in time")))
    }

    /// Changes that no server has acknowledged, as they are stored.
    pub(super) async fn pending(&self) -> Result<u64> {
        Ok(self.replica().state().await?.pending)
    }

    /// How far the server's log is read and stored.
    pub(super) async fn place(&self) -> Result<Seq> {
        Ok(self.replica().state().await?.checkpoint.seq)
    }

    fn replica(&self) -> Replica {
        Replica::new(&self.database, Target::DEFAULT)
    }

    pub(super) async fn contents(&self, collection: &str) -> Result<Contents> {
        let collection = self.collection(collection).await?;
        let mut stream = collection.find().stream();
        let (mut hash, mut documents) = (Sha256::new(), 0);
        while let Some(document) = stream.next().await {
            hash.update(json(&document?.to_map()?));
            hash.update(b"\n");
            documents += 1;
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut sha256 = String::with_capacity(64);
        for byte in digest {
            // Writing to a string cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Ok(Contents { documents, sha256 })
    }

    /// Goes offline for good and closes the database.
    pub(super) async fn close(self) -> Result {
        self.engine.destroy().await;
        Ok(self.database.close().await?)
    }
}
