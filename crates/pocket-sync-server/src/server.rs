//! The server: one engine, its namespaces and the connections to them.

mod builder;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use axum::Extension;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pocket_core::{ClientId, Env, Seq, random_bytes};
use pocket_storage::Storage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::Instrument;

use self::builder::Source;
pub use self::builder::SyncServerBuilder;
use crate::admin::{Counts, Peer};
use crate::auth::Authenticator;
use crate::combiner::{Combiner, Observers};

pub use crate::connected::ClientInfo;
use crate::connected::{Connected, Seat};
use crate::decide::AttachRefusal;
use crate::direct::{NamespaceHandle, Writers};
use crate::doorbell::Doorbell;
use crate::engine::{AttachRequest, Attached, Engine, EngineError, EngineResult};
use crate::event::EventHook;
use crate::forgetting::Forgetting;
use crate::locks::lock;
use crate::metrics::Metrics;
use crate::newcomers::{Newcomers, Room};
use crate::patient::Patient;
use crate::polled::Table;
use crate::rules::Rules;
use crate::store_state::{StoreState, StoreTrouble};
use crate::{Config, Namespace};

/// How long to wait when the machine has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Tokens of live sessions that are checked again at once, however many sessions there are.
pub(crate) const CHECKS: usize = 32;

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
    pub(crate) connected: Connected,
    pub(crate) newcomers: Arc<Newcomers>,
    pub(crate) writers: Writers,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store: Arc<StoreState>,
    pub(crate) counts: Counts,
    #[cfg(feature = "tls")]
    tls: Option<Arc<crate::Tls>>,
    pub(crate) hook: Option<Arc<dyn EventHook>>,
    /// The connections over HTTP.
    pub(crate) polls: Table,
    last_connection: AtomicU64,
    /// Turns for checking tokens of sessions again.
    pub(crate) checks: Semaphore,
    pub(crate) forgetting: Forgetting,
    /// Who may read and write what, now. Sent also when who somebody is may have changed.
    rules: watch::Sender<Rules>,
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
    /// Its opening, while it is under way.
    opening: Mutex<Option<Opening>>,
    /// The turn of the session that begins.
    beginning: Arc<tokio::sync::Mutex<()>>,
}

/// What all wait for who come in while a namespace is opened.
type Opening = Shared<BoxFuture<'static, EngineResult<()>>>;

impl Drop for Hub {
    fn drop(&mut self) {
        self.engine.release(&self.namespace);
    }
}

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether it takes connections and what is written; not while it stops, and not while its store is in trouble.
    pub ready: bool,
    /// What is wrong with its store, if the last write failed less than half a minute ago.
    pub store: Option<StoreTrouble>,
    /// The connections that are being served.
    pub connections: usize,
    /// The clients among them that have come in.
    pub clients: usize,
}

/// The places of a connection among all, and among those of its address. A request carries a clone, for a WebSocket
/// lives on after the HTTP connection it began as.
#[derive(Clone)]
pub(crate) struct Held(
    #[expect(
        dead_code,
        reason = "it is held, and given back when the last clone is dropped"
    )]
    Arc<(Option<OwnedSemaphorePermit>, Seat<IpAddr>)>,
);

impl SyncServer {
    /// A server over `storage`.
    pub fn builder(storage: Arc<dyn Storage>) -> SyncServerBuilder {
        SyncServerBuilder::over(Source::Storage(storage))
    }

    /// A server over an engine of your own.
    pub fn over(engine: Arc<dyn Engine>) -> SyncServerBuilder {
        SyncServerBuilder::over(Source::Engine(engine))
    }

    /// Serves `/sync`, `/health`, `/metrics` and the page for people, if it is on, on `listener` until `shutdown` is done,
    /// then stops as [`stop`](Self::stop) does.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        self.inner.forgetting.begin(&self.inner);
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
                    let most = self.inner.config.connections_per_address;
                    let Some(seat) = self.inner.connected.seat_of_address(peer.ip(), most) else {
                        tracing::debug!(%peer, "too many connections from this address");
                        continue;
                    };
                    let server = self.clone();
                    let held = Held(Arc::new((place.ok(), seat)));
                    tokio::spawn(async move { server.connection(stream, peer, held).await });
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
        let in_time = tokio::time::timeout(self.inner.config.shutdown_timeout, ended)
            .await
            .is_ok();
        if !in_time {
            tracing::warn!("some connections did not end in time");
        }
        self.inner.forgetting.ended().await;
    }

    /// The clients that are connected.
    pub fn clients(&self) -> Vec<ClientInfo> {
        let mut list = self.inner.connected.list();
        for info in &mut list {
            let head = self.inner.heard(&info.namespace).unwrap_or_default();
            info.lag = head.get().saturating_sub(info.position.get());
        }
        list
    }

    /// Ends the sessions of a client, in every namespace; tells whether there was one.
    ///
    /// The client is told to come back. To keep it out, make its token worth nothing first.
    pub fn disconnect_client(&self, client: ClientId) -> bool {
        self.inner.connected.disconnect(client)
    }

    /// Replaces the rules of [`Config::rules`], and [checks all tokens again](Self::check_tokens).
    ///
    /// A session whose rights to read are others now ends with a code that makes the client come back; it then reads
    /// everything again by the new ones, and lets go of what it may no longer see. Rules without a
    /// [version](Rules::version), as of closures, are others each time.
    pub fn set_rules(&self, rules: Rules) {
        let fresh = random_bytes(&*self.inner.env);
        self.inner.rules.send_replace(rules.told_apart_by(fresh));
    }

    /// Checks the tokens of all sessions again now, instead of within [`Config::recheck`]: call it when the
    /// [`Authenticator`] would answer otherwise than before. It is asked about 32 of them at once at the most.
    ///
    /// Sessions whose token is worth nothing any more end with the code that a new one would be refused with.
    pub fn check_tokens(&self) {
        self.inner.rules.send_modify(|_| {});
    }

    /// How the server is.
    pub fn health(&self) -> Health {
        let store = self.inner.store.trouble();
        Health {
            ready: !*self.inner.stop.borrow() && store.is_none(),
            store,
            connections: self.connections(),
            clients: self.inner.connected.count(),
        }
    }

    /// A namespace, to be read and written by the server itself.
    ///
    /// What it writes goes the way of every change: through the same commit, the validator, and to all clients.
    pub fn namespace(&self, namespace: &Namespace) -> NamespaceHandle {
        NamespaceHandle::new(Arc::clone(&self.inner), namespace)
    }

    /// The connections that are being served.
    pub fn connections(&self) -> usize {
        *self.inner.served.borrow()
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, held: Held) {
        let _served = self.inner.serving();
        // Small messages are the rule, and each waits for its answer.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delays");
        }
        // Below TLS, where every byte that a slow client takes is seen.
        let stream = Patient::new(stream, self.inner.config.write_timeout);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.inner.tls {
            let shaking = tls.acceptor().accept(stream);
            let shaken = tokio::time::timeout(self.inner.config.handshake_timeout, shaking).await;
            match shaken {
                Ok(Ok(stream)) => self.http(stream, peer, held).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
            return;
        }
        self.http(stream, peer, held).await;
    }

    async fn http<S>(&self, stream: S, peer: SocketAddr, held: Held)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut stop = self.inner.stop.subscribe();
        let service = TowerToHyperService::new(
            self.router()
                .merge(self.admin_router())
                .layer(Extension(held))
                .layer(Extension(Peer(peer))),
        );
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.inner.config.handshake_timeout);
        let connection = http
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                // A request that waits for an answer gets one; nothing else may keep the server.
                connection.as_mut().graceful_shutdown();
                let patience = self.inner.config.shutdown_timeout;
                tokio::time::timeout(patience, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended with an error");
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
            Observers {
                hook: self.hook.clone(),
                metrics: Arc::clone(&self.metrics),
                env: Arc::clone(&self.env),
                store: Arc::clone(&self.store),
            },
        );
        let hub = Arc::new(Hub {
            combiner,
            doorbell,
            engine,
            namespace: namespace.clone(),
            opening: Mutex::default(),
            beginning: Arc::default(),
        });
        hubs.insert(namespace.clone(), Arc::downgrade(&hub));
        hub
    }

    /// The namespaces that somebody is connected to.
    pub(crate) fn namespaces_in_use(&self) -> usize {
        let hubs = lock(&self.hubs);
        hubs.values().filter(|hub| hub.strong_count() > 0).count()
    }

    /// The newest place of a namespace that somebody is connected to, as far as it was heard.
    pub(crate) fn heard(&self, namespace: &Namespace) -> Option<Seq> {
        let hub = lock(&self.hubs).get(namespace).and_then(Weak::upgrade)?;
        let head = *hub.listen().borrow();
        Some(head)
    }

    /// A number for a connection, higher than those before it. Each line that is logged for the connection names it.
    pub(crate) fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the rules, and when to check who somebody is.
    pub(crate) fn rights(&self) -> watch::Receiver<Rules> {
        self.rules.subscribe()
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Counts a connection for as long as the answer lives.
    pub(crate) fn serving(self: &Arc<Self>) -> Serving {
        // Mounted into a router of somebody else, a server learns only here that it runs.
        self.forgetting.begin(self);
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
    /// Waits until the namespace is open. Its opening goes on if nobody waits any more, so that a store which takes longer
    /// to count than anybody waits is open when they come back.
    pub(crate) async fn prepared(self: &Arc<Self>) -> EngineResult<()> {
        let opening = {
            let mut opening = lock(&self.opening);
            let under_way = opening.get_or_insert_with(|| {
                let hub = Arc::clone(self);
                let task = tokio::spawn(async move {
                    let done = AssertUnwindSafe(hub.engine.prepare(&hub.namespace));
                    let done = done.catch_unwind().await;
                    lock(&hub.opening).take();
                    done.unwrap_or_else(|_| Err(broke_off()))
                });
                async move { task.await.unwrap_or_else(|_| Err(broke_off())) }
                    .boxed()
                    .shared()
            });
            under_way.clone()
        };
        opening.await
    }

    /// Begins a session once the namespace is open.
    ///
    /// Whoever waits may give up. Once it is his turn the engine finishes all the same: a commit that is dropped on its way
    /// has no known result, and the log would be opened anew, which sends away everybody else. Before that he leaves the
    /// queue, so that those who give up and come back do not make it longer for each other.
    pub(crate) async fn attach(self: &Arc<Self>, request: AttachRequest) -> EngineResult<Attached> {
        self.begin(|hub| async move { hub.engine.attach(&hub.namespace, &request).await })
            .await
    }

    /// As [`attach`](Self::attach); a client that is not known needs room, which is asked for only then: those that are
    /// known come in however many new ones there are.
    pub(crate) async fn attach_if_room(
        self: &Arc<Self>,
        mut request: AttachRequest,
        room: impl FnOnce() -> Result<Room, Duration> + Send + 'static,
    ) -> EngineResult<Attached> {
        self.begin(|hub| async move {
            let (engine, namespace) = (&hub.engine, &hub.namespace);
            request.unless_new = Some(Duration::ZERO);
            let known = engine.attach(namespace, &request).await;
            if !matches!(
                known,
                Err(EngineError::Refused(AttachRefusal::TooManyNew(_)))
            ) {
                return known;
            }
            let room = room();
            let room =
                room.map_err(|wait| EngineError::Refused(AttachRefusal::TooManyNew(wait)))?;
            request.unless_new = None;
            let attached = engine.attach(namespace, &request).await;
            // Here, where it is noted also when who asked has left.
            if let Ok(Attached { is_new: true, .. }) = &attached {
                room.taken();
            }
            attached
        })
        .await
    }

    /// Does what begins a session, when it is its turn.
    async fn begin<F>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> F + Send + 'static,
    ) -> EngineResult<Attached>
    where
        F: Future<Output = EngineResult<Attached>> + Send + 'static,
    {
        self.prepared().await?;
        let turn = Arc::clone(&self.beginning).lock_owned().await;
        let hub = Arc::clone(self);
        let task = async move {
            let _turn = turn;
            let done = AssertUnwindSafe(work(hub)).catch_unwind().await;
            done.unwrap_or_else(|_| Err(broke_off()))
        };
        let task = tokio::spawn(task.in_current_span());
        task.await.unwrap_or_else(|_| Err(broke_off()))
    }

    pub(crate) fn listen(&self) -> watch::Receiver<Seq> {
        self.doorbell.listen()
    }
}

fn broke_off() -> EngineError {
    EngineError::NotApplied("the opening of the namespace broke off".to_owned())
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
