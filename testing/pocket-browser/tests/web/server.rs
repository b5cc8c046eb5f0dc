//! The sync server, and a native device.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use pocket_core::{CollectionConfig, Database, Value as Document};
use pocket_storage_memory::{MemoryDisk, MemoryStorage};
use pocket_sync_client::{SyncConfig, SyncEngine};
use pocket_sync_server::auth::Namespaces;
use pocket_sync_server::{SyncServer, TokenTable};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::site::{Files, answering};

pub(crate) const TOKEN: &str = "open-sesame";

/// A server that asks who comes, at an address it keeps.
pub(crate) struct Server {
    address: SocketAddr,
    disk: MemoryDisk,
    /// Pages beside the endpoint; then everybody may come.
    pages: Option<Files>,
    running: Option<Running>,
}

struct Running {
    server: SyncServer,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One for everybody, with the pages of an application beside its endpoint.
    pub(crate) async fn with_pages(pages: Files) -> Self {
        Self::start_with(Some(pages)).await
    }

    async fn start_with(pages: Option<Files>) -> Self {
        let mut server = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            disk: MemoryDisk::new(),
            pages,
            running: None,
        };
        server.start_again().await;
        server
    }

    pub(crate) async fn start_again(&mut self) {
        let mut builder = SyncServer::builder(Arc::new(self.disk.open()));
        if self.pages.is_none() {
            let tokens = TokenTable::default();
            builder = builder.tokens(tokens.token(TOKEN, Some("ann"), Namespaces::All));
        }
        let server = builder.build().unwrap();
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serves = server.clone();
        let pages = self.pages.clone();
        let serving = tokio::spawn(async move {
            let Some(pages) = pages else {
                return serves.serve(listener, async { drop(stopped.await) }).await;
            };
            let router = serves.router().fallback_service(answering(pages));
            let ended = async move {
                drop(stopped.await);
                serves.stop().await;
            };
            let served = axum::serve(listener, router).with_graceful_shutdown(ended);
            served.await.unwrap();
        });
        self.running = Some(Running {
            server,
            stop,
            serving,
        });
    }

    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().unwrap();
        drop(running.stop);
        running.serving.await.unwrap();
    }

    /// By WebSocket, and by HTTP.
    pub(crate) fn urls(&self) -> [String; 2] {
        ["ws", "http"].map(|scheme| format!("{scheme}://{}", self.address))
    }

    /// By WebSocket.
    pub(crate) fn url(&self) -> String {
        let [url, _] = self.urls();
        url
    }

    /// Ends the connections of all clients, as a network that changes does. They may come back at once.
    pub(crate) fn disconnect(&self) {
        let running = self.running.as_ref().unwrap();
        for one in running.server.clients() {
            // It may have gone by itself.
            running.server.disconnect_client(one.client);
        }
    }

    /// The clients that are connected.
    pub(crate) fn clients(&self) -> Vec<String> {
        let running = self.running.as_ref().unwrap();
        let clients = running.server.clients();
        clients.iter().map(|one| one.client.to_string()).collect()
    }
}

/// A line to a server that can be held up: then nothing passes, and nobody is told.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    held: watch::Sender<bool>,
}

impl Line {
    pub(crate) async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (held, _) = watch::channel(false);
        let (to, holds) = (server.address, held.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // Nobody is there: the connection ends here, too.
                let Ok(far) = TcpStream::connect(to).await else {
                    continue;
                };
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                tokio::spawn(pass(near_in, far_out, holds.subscribe()));
                tokio::spawn(pass(far_in, near_out, holds.subscribe()));
            }
        });
        Self { address, held }
    }

    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

/// Passes bytes on until either end is gone.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut held: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let free = held.wait_for(|held| !held).await.is_ok();
        if !free || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// A native device.
pub(crate) struct Native {
    pub(crate) database: Database,
    pub(crate) engine: SyncEngine,
}

impl Native {
    /// One with the collection `notes`, which is connected by WebSocket.
    pub(crate) async fn start(server: &Server) -> Self {
        Self::start_with(&server.url(), &["notes"]).await
    }

    pub(crate) async fn start_with(url: &str, collections: &[&str]) -> Self {
        let mut builder = Database::builder("native");
        for name in collections {
            builder = builder.collection(CollectionConfig::new(*name).sync(true));
        }
        let database = builder.open(MemoryStorage::new()).await.unwrap();
        let engine = SyncEngine::new(&database, SyncConfig::new(url).auth_token(TOKEN));
        engine.start().await.unwrap();
        Self { database, engine }
    }

    pub(crate) fn notes(&self) -> pocket_core::Collection<Document> {
        self.database.collection::<Document>("notes").unwrap()
    }

    pub(crate) async fn put(&self, id: &str) {
        self.write(&json!({ "_id": id, "text": "native" })).await;
        self.engine.force_sync().await.unwrap();
    }

    /// Writes a note; it goes out when it may.
    pub(crate) async fn write(&self, note: &Value) {
        let note = Document::from_json_str(&note.to_string()).unwrap();
        self.notes().upsert(&note).await.unwrap();
    }

    pub(crate) async fn count(&self) -> u64 {
        self.engine.force_sync().await.unwrap();
        self.notes().find().count().await.unwrap()
    }

    /// All documents of a collection once all is in step, by id.
    pub(crate) async fn all(&self, collection: &str) -> BTreeMap<String, Value> {
        self.engine.force_sync().await.unwrap();
        let collection = self.database.collection::<Document>(collection).unwrap();
        let all = collection.get_all().await.unwrap();
        by_id(all.iter().map(|document| {
            let text = document.to_json_string().unwrap();
            serde_json::from_str(&text).unwrap()
        }))
    }
}

/// Documents by their ids.
pub(crate) fn by_id(documents: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let documents = documents.into_iter();
    documents
        .map(|document| (document["_id"].as_str().unwrap().to_owned(), document))
        .collect()
}
