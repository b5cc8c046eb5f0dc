//! The server: one engine, its namespaces and the connections to them.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pocket_core::{ClientId, Env, Seq, SystemEnv};
use pocket_storage::Storage;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::auth::{Authenticator, TokenTable};
use crate::combiner::Combiner;
use crate::doorbell::Doorbell;
use crate::engine::{EmbeddedEngine, Engine};
use crate::session::Event;
use crate::{Config, Namespace};

/// How long to wait when the machine has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A sync server. A clone is another handle on the same one.
///
/// [`serve`](Self::serve) listens by itself; [`router`](Self::router) is for an `axum` server that exists already.
#[derive(Clone)]
pub struct SyncServer {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) config: Arc<Config>,
    hubs: Mutex<HashMap<Namespace, Weak<Hub>>>,
    clients: Mutex<HashMap<(Namespace, ClientId), Connected>>,
    last_connection: AtomicU64,
    stop: watch::Sender<bool>,
    /// Connections that are being served.
    served: watch::Sender<usize>,
}

/// What the sessions of a namespace share.
pub(crate) struct Hub {
    pub(crate) combiner: Combiner,
    doorbell: Arc<Doorbell>,
    engine: Arc<dyn Engine>,
    namespace: Namespace,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.engine.release(&self.namespace);
    }
}

struct Connected {
    connection: u64,
    events: mpsc::UnboundedSender<Event>,
}

/// Sets up a [`SyncServer`].
#[derive(Debug)]
pub struct SyncServerBuilder {
    storage: Arc<dyn Storage>,
    engine: Option<Arc<dyn Engine>>,
    authenticator: Arc<dyn Authenticator>,
    env: Arc<dyn Env>,
    config: Config,
}

impl SyncServerBuilder {
    /// Lets in who has one of these tokens. Without any, the server is open and everybody is `anonymous`.
    #[must_use]
    pub fn tokens(self, tokens: TokenTable) -> Self {
        self.authenticator(Arc::new(tokens))
    }

    /// Asks this one who may come in.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = authenticator;
        self
    }

    /// Takes time and randomness from here instead of the machine.
    #[must_use]
    pub fn env(mut self, env: Arc<dyn Env>) -> Self {
        self.env = env;
        self
    }

    /// Sets limits and deadlines.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Keeps namespaces with this engine instead of the embedded one.
    #[must_use]
    pub fn engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.engine = Some(engine);
        self
    }

    /// The server.
    pub fn build(self) -> SyncServer {
        let engine = self.engine.unwrap_or_else(|| {
            let limits = self.config.limits.clone();
            Arc::new(EmbeddedEngine::new(
                self.storage,
                Arc::clone(&self.env),
                limits,
            ))
        });
        SyncServer {
            inner: Arc::new(Inner {
                engine,
                authenticator: self.authenticator,
                env: self.env,
                config: Arc::new(self.config),
                hubs: Mutex::default(),
                clients: Mutex::default(),
                last_connection: AtomicU64::new(0),
                stop: watch::Sender::new(false),
                served: watch::Sender::new(0),
            }),
        }
    }
}

impl SyncServer {
    /// A server over `storage`.
    pub fn builder(storage: Arc<dyn Storage>) -> SyncServerBuilder {
        SyncServerBuilder {
            storage,
            engine: None,
            authenticator: Arc::new(TokenTable::open()),
            env: Arc::new(SystemEnv),
            config: Config::default(),
        }
    }

    /// Serves `/sync` and `/health` on `listener` until `shutdown` is done, then stops as [`stop`](Self::stop) does.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(self.inner.config.connections));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                () = &mut shutdown => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    tracing::debug!(%peer, "connection");
                    let server = self.clone();
                    tokio::spawn(async move {
                        server.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.stop().await;
    }

    /// Ends every session: pushes under way are finished and answered, then connections are closed with a code that
    /// makes clients come back. Waits for that up to the configured time.
    pub async fn stop(&self) {
        self.inner.stop.send_replace(true);
        let mut served = self.inner.served.subscribe();
        let ended = served.wait_for(|served| *served == 0);
        let in_time = tokio::time::timeout(self.inner.config.shutdown_timeout, ended).await;
        if in_time.is_err() {
            tracing::warn!("some connections did not end in time");
        }
    }

    /// The connections that are being served.
    pub fn connections(&self) -> usize {
        *self.inner.served.borrow()
    }

    async fn connection(&self, stream: TcpStream) {
        let _served = self.inner.serving();
        // Small messages are the rule, and each waits for its answer.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delays");
        }
        let mut stop = self.inner.stop.subscribe();
        let service = TowerToHyperService::new(self.router());
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.inner.config.handshake_timeout);
        let connection = http
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended with an error");
                }
            }
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

impl Inner {
    /// The hub of a namespace: the one there is, or a new one.
    pub(crate) fn hub(&self, namespace: &Namespace) -> Arc<Hub> {
        let mut hubs = lock(&self.hubs);
        if let Some(hub) = hubs.get(namespace).and_then(Weak::upgrade) {
            return hub;
        }
        hubs.retain(|_, hub| hub.strong_count() > 0);
        let doorbell = Arc::new(Doorbell::new());
        let engine = Arc::clone(&self.engine);
        let combiner = Combiner::spawn(
            Arc::clone(&engine),
            namespace.clone(),
            Arc::clone(&doorbell),
            &self.config.limits,
        );
        let hub = Arc::new(Hub {
            combiner,
            doorbell,
            engine,
            namespace: namespace.clone(),
        });
        hubs.insert(namespace.clone(), Arc::downgrade(&hub));
        hub
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes note of a client's newest session and ends the one before.
    pub(crate) fn register(
        &self,
        namespace: &Namespace,
        client: ClientId,
        connection: u64,
        events: &mpsc::UnboundedSender<Event>,
    ) {
        let connected = Connected {
            connection,
            events: events.clone(),
        };
        let older = lock(&self.clients).insert((namespace.clone(), client), connected);
        if let Some(older) = older {
            // It may be gone already; then there is nothing to end.
            let _ = older.events.send(Event::Replaced);
        }
    }

    pub(crate) fn unregister(&self, namespace: &Namespace, client: ClientId, connection: u64) {
        let mut clients = lock(&self.clients);
        let key = (namespace.clone(), client);
        if clients
            .get(&key)
            .is_some_and(|connected| connected.connection == connection)
        {
            clients.remove(&key);
        }
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Counts a connection for as long as the answer lives.
    pub(crate) fn serving(self: &Arc<Self>) -> Serving {
        self.served.send_modify(|served| *served += 1);
        Serving {
            server: Arc::clone(self),
        }
    }
}

/// One connection that is being served.
pub(crate) struct Serving {
    server: Arc<Inner>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.server.served.send_modify(|served| *served -= 1);
    }
}

impl Hub {
    pub(crate) fn listen(&self) -> watch::Receiver<Seq> {
        self.doorbell.listen()
    }
}

// The maps are consistent after each single operation on them, so a poisoned lock is taken as it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for SyncServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncServer")
            .field("engine", &self.inner.engine)
            .field("authenticator", &self.inner.authenticator)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
