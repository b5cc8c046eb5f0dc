//! A server that can be stopped and started again, and devices that sync with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pocket_core::{CollectionConfig, Database, DatabaseBuilder, Env, SystemEnv, Timestamp, Value};
use pocket_storage_memory::MemoryDisk;
use pocket_sync_client::{SyncConfig, SyncEngine};
use pocket_sync_server::auth::Authenticator;
use pocket_sync_server::{Config, Rules, SyncServer, TokenTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here takes; whoever waits so long waits for ever.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a device reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Http,
}

impl Transport {
    pub(crate) fn url(self, address: SocketAddr) -> String {
        match self {
            Self::WebSocket => format!("ws://{address}"),
            Self::Http => format!("http://{address}"),
        }
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it ends in time")
}

/// Looks again and again until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let looking = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE / 2, looking).await.is_ok(),
        "it never came true: {what}"
    );
}

/// A server on a disk of its own, at an address it keeps.
pub(crate) struct World {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    disk: MemoryDisk,
    /// How far its clock is ahead of the machine's, in milliseconds.
    clock: Arc<AtomicI64>,
    config: Config,
    authenticator: Arc<dyn Authenticator>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    server: Option<SyncServer>,
}

impl World {
    pub(crate) async fn new(transport: Transport) -> Self {
        Self::with(transport, Config::default(), Arc::new(TokenTable::open())).await
    }

    pub(crate) async fn with(
        transport: Transport,
        config: Config,
        authenticator: Arc<dyn Authenticator>,
    ) -> Self {
        let mut world = Self {
            transport,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            disk: MemoryDisk::new(),
            clock: Arc::default(),
            config,
            authenticator,
            running: None,
            server: None,
        };
        world.start().await;
        world
    }

    pub(crate) async fn start(&mut self) {
        let server = SyncServer::builder(Arc::new(self.disk.open()))
            .authenticator(self.authenticator.clone())
            .env(Arc::new(MovedClock(self.clock.clone())))
            .config(self.config.clone())
            .build()
            .unwrap();
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        self.server = Some(server.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            server.serve(listener, async { drop(stopped.await) }).await;
        });
        self.running = Some((stop, serving));
    }

    pub(crate) async fn stop(&mut self) {
        let (stop, serving) = self.running.take().unwrap();
        self.server = None;
        drop(stop);
        serving.await.unwrap();
    }

    /// Clients that have come in and were not let go.
    pub(crate) fn clients(&self) -> usize {
        self.server
            .as_ref()
            .map_or(0, |server| server.clients().len())
    }

    /// Others may read and write from now on, also behind a restart.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.config.rules = rules.clone();
        if let Some(server) = &self.server {
            server.set_rules(rules);
        }
    }

    /// Time passes on the server.
    pub(crate) fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    /// A figure that the server tells who looks after it; none when it is not told.
    pub(crate) async fn figure(&self, name: &str) -> Option<u64> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = self.address;
        let request = format!("GET /metrics HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let value = answer.lines().find_map(|line| line.strip_prefix(name));
        value.map(|value| value.trim().parse().unwrap())
    }

    /// Sessions and TCP connections that the server holds.
    pub(crate) fn connections(&self) -> usize {
        self.server.as_ref().map_or(0, SyncServer::connections)
    }

    pub(crate) fn config(&self) -> SyncConfig {
        self.config_for(self.address)
    }

    /// For a server that is reached at another address.
    pub(crate) fn config_for(&self, address: SocketAddr) -> SyncConfig {
        SyncConfig::new(self.transport.url(address)).retry_delay(Duration::from_millis(20))
    }

    /// A device that was not started yet.
    pub(crate) async fn device(&self) -> Device {
        Device::new(self.config()).await
    }

    /// What a fresh device gets.
    pub(crate) async fn documents(&self) -> BTreeMap<String, String> {
        let reader = self.device().await;
        reader.sync().await;
        let documents = reader.documents().await;
        reader.engine.destroy().await;
        documents
    }
}

/// The machine's clock, moved.
#[derive(Debug, Default)]
pub(crate) struct MovedClock(pub(crate) Arc<AtomicI64>);

impl Env for MovedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemEnv.now().millis() + self.0.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemEnv.random(bytes);
    }
}

/// A database and its engine.
pub(crate) struct Device {
    pub(crate) disk: MemoryDisk,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) database: Database,
    pub(crate) engine: SyncEngine,
    config: SyncConfig,
}

impl Device {
    pub(crate) async fn new(config: SyncConfig) -> Self {
        Self::on(MemoryDisk::new(), config, Arc::default()).await
    }

    async fn on(disk: MemoryDisk, config: SyncConfig, clock: Arc<AtomicI64>) -> Self {
        Self::built(disk, config, clock, |builder| builder).await
    }

    async fn built(
        disk: MemoryDisk,
        config: SyncConfig,
        clock: Arc<AtomicI64>,
        program: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
    ) -> Self {
        let builder = program(builder(clock.clone()));
        let database = builder.open(disk.open()).await.unwrap();
        let engine = SyncEngine::new(&database, config.clone());
        Self {
            disk,
            clock,
            database,
            engine,
            config,
        }
    }

    /// The program ends and begins again.
    pub(crate) async fn restart(self) -> Self {
        let config = self.config.clone();
        self.restart_with(config).await
    }

    pub(crate) async fn restart_with(self, config: SyncConfig) -> Self {
        let (disk, _, clock) = self.end().await;
        Self::on(disk, config, clock).await
    }

    /// Another program begins on the same database.
    pub(crate) async fn restart_as(
        self,
        program: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
    ) -> Self {
        let (disk, config, clock) = self.end().await;
        Self::built(disk, config, clock, program).await
    }

    async fn end(self) -> (MemoryDisk, SyncConfig, Arc<AtomicI64>) {
        self.engine.destroy().await;
        self.database.close().await.unwrap();
        let Self {
            disk,
            clock,
            database,
            engine,
            config,
        } = self;
        drop((database, engine));
        (disk, config, clock)
    }

    pub(crate) async fn put(&self, id: &str, text: &str) {
        self.put_in("docs", id, text).await;
    }

    pub(crate) async fn put_in(&self, collection: &str, id: &str, text: &str) {
        let document = format!(r#"{{"_id":"{id}","text":"{text}"}}"#);
        let document = Value::from_json_str(&document).unwrap();
        let collection = self.database.collection::<Value>(collection).unwrap();
        collection.upsert(&document).await.unwrap();
    }

    pub(crate) async fn delete(&self, id: &str) {
        self.database
            .collection::<Value>("docs")
            .unwrap()
            .delete(id)
            .await
            .unwrap();
    }

    pub(crate) async fn documents(&self) -> BTreeMap<String, String> {
        self.documents_in("docs").await
    }

    /// The texts of a collection by id; nothing where there is no such collection.
    pub(crate) async fn documents_in(&self, collection: &str) -> BTreeMap<String, String> {
        let Ok(collection) = self.database.collection::<Value>(collection) else {
            return BTreeMap::new();
        };
        let all = collection.get_all().await.unwrap();
        let text = |document: &Value, name: &str| match document {
            Value::Map(map) => match map.get(name) {
                Some(Value::String(text)) => text.clone(),
                other => panic!("{name}: {other:?}"),
            },
            other => panic!("{other:?}"),
        };
        all.iter()
            .map(|document| (text(document, "_id"), text(document, "text")))
            .collect()
    }

    pub(crate) async fn text(&self, id: &str) -> Option<String> {
        self.documents().await.remove(id)
    }

    /// Starts and makes a complete pass, as often as it takes.
    pub(crate) async fn sync(&self) {
        self.engine.start().await.unwrap();
        while let Err(error) = self.engine.force_sync().await {
            // A hello held up by a cut may come behind a newer one and end its session; the next call connects again.
            let late_hello = error.code() == "replaced";
            assert!(error.is_retryable() || late_hello, "{error:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A second passes on this device. What two devices write in one millisecond has no order of its own.
    pub(crate) fn later(&self) {
        self.clock.fetch_add(1_000, Ordering::Relaxed);
    }

    pub(crate) async fn go_offline(&self) {
        self.engine.stop().await.unwrap();
    }

    pub(crate) async fn pending(&self) -> u64 {
        self.engine.pending_changes().await.unwrap()
    }

    pub(crate) async fn place(&self) -> u64 {
        self.engine.checkpoint().await.unwrap().seq.get()
    }
}

fn builder(clock: Arc<AtomicI64>) -> DatabaseBuilder {
    Database::builder("device")
        .collection(CollectionConfig::new("docs").sync(true))
        .env(MovedClock(clock))
}
