//! Everybody at once.

use std::time::Duration;

use pocket_core::{CollectionConfig, Database, Value};
use pocket_e2e::{Server, Transport};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_client::{Status, SyncConfig, SyncEngine};

const CLIENTS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(180);

struct Light {
    database: Database,
    engine: SyncEngine,
}

impl Light {
    async fn new(url: &str) -> Self {
        let database = Database::builder("light")
            .collection(CollectionConfig::new("docs").sync(true))
            .open(MemoryStorage::new())
            .await
            .unwrap();
        let engine = SyncEngine::new(&database, SyncConfig::new(url));
        engine.start().await.unwrap();
        Self { database, engine }
    }

    async fn put(&self, id: &str) {
        let document = Value::from_json_str(&format!(r#"{{"_id":"{id}"}}"#)).unwrap();
        let docs = self.database.collection::<Value>("docs").unwrap();
        docs.insert(&document).await.unwrap();
    }

    /// Waits until it is idle with so many documents.
    async fn settle(&self, documents: u64) {
        let docs = self.database.collection::<Value>("docs").unwrap();
        while self.engine.snapshot().status != Status::Idle
            || docs.count().await.unwrap() != documents
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The server is killed under two hundred connected devices and comes back, and so do they, by themselves. Each wrote
/// something while it was away.
pub(crate) fn two_hundred_clients_are_in_step_again_after_a_restart(transport: Transport) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut server = Server::start(&scratch.path().join("server"));
    let url = transport.url(server.address());
    runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(Light::new(&url).await);
        }
        clients[0].put("first").await;
        all(&clients, 1).await;
        server.kill();
        for (number, client) in clients.iter().enumerate() {
            let mut status = client.engine.status();
            let gone = async {
                while status
                    .next()
                    .await
                    .is_some_and(|now| now != Status::Offline)
                {}
            };
            tokio::time::timeout(PATIENCE, gone).await.unwrap();
            client.put(&format!("c{number}")).await;
        }
        server.restart();
        all(&clients, CLIENTS as u64 + 1).await;
        let place = clients[0].engine.checkpoint().await.unwrap().seq.get();
        assert_eq!(place, CLIENTS as u64 + 1, "each has one place in the order");
        for client in &clients {
            client.engine.destroy().await;
        }
    });
}

async fn all(clients: &[Light], documents: u64) {
    let settle =
        futures_util::future::join_all(clients.iter().map(|client| client.settle(documents)));
    let settled = tokio::time::timeout(PATIENCE, settle).await;
    if settled.is_err() {
        let mut stuck = Vec::new();
        for client in clients {
            let docs = client.database.collection::<Value>("docs").unwrap();
            let count = docs.count().await.unwrap();
            let snapshot = client.engine.snapshot();
            if count != documents || snapshot.status != Status::Idle {
                stuck.push((count, snapshot));
            }
        }
        panic!("{} are not in step: {:?}", stuck.len(), stuck.first());
    }
}
