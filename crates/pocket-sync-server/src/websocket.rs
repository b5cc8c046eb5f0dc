//! The tokio driver of a session: one loop with one `match`.

mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use pocket_core::{ClientId, Seq};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use self::wire::{Meter, Turn, Wire};
use crate::server::{Hub, Inner};
use crate::session::{Effect, Event, Moment, Now, Session};
use crate::{Namespace, SyncServer, perform};

/// Bytes read from a connection at once.
const READ_BUFFER: usize = 32 * 1024;
/// Bytes collected before they are written to a connection.
const WRITE_BUFFER: usize = 64 * 1024;
/// How long a connection that was closed may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a connection once its upgrade is through.
pub(crate) async fn upgraded(server: SyncServer, upgrade: OnUpgrade, token: Option<String>) {
    let _served = server.inner.serving();
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "an upgrade failed");
            return;
        }
    };
    // The bare socket where it is one, so that no layer of the HTTP server stays in between.
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(Parts { io, read_buf, .. }) => {
            serve(server.inner, io.into_inner(), read_buf.to_vec(), token).await;
        }
        Err(upgraded) => {
            let stream = TokioIo::<Upgraded>::new(upgraded);
            serve(server.inner, stream, Vec::new(), token).await;
        }
    }
}

async fn serve<S>(server: Arc<Inner>, stream: S, read: Vec<u8>, token: Option<String>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let message_bytes = server.config.limits.wire.message_bytes;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + message_bytes + 1_024)
        .max_message_size(Some(message_bytes))
        .max_frame_size(Some(message_bytes));
    let socket =
        WebSocketStream::from_partially_read(Meter::new(stream), read, Role::Server, Some(config))
            .await;
    let wire = Wire::new(socket, server.config.write_timeout);
    let (events, receiver) = mpsc::unbounded_channel();
    let began = Instant::now();
    let driver = Driver {
        session: Session::new(Arc::clone(&server.config)),
        connection: server.next_connection(),
        began,
        timer: Box::pin(tokio::time::sleep_until(began)),
        heard: 0,
        pending: FuturesUnordered::new(),
        events,
        joined: None,
        head: None,
        server,
        wire,
    };
    driver.run(token, receiver).await;
}

struct Driver<S> {
    server: Arc<Inner>,
    wire: Wire<S>,
    session: Session,
    connection: u64,
    began: Instant,
    timer: Pin<Box<Sleep>>,
    /// Bytes received when the deadline was last looked at.
    heard: u64,
    /// Reads, fetches and handshake steps under way: at most a few, by the session's own bounds.
    pending: FuturesUnordered<BoxFuture<'static, Event>>,
    events: mpsc::UnboundedSender<Event>,
    joined: Option<Joined>,
    head: Option<watch::Receiver<Seq>>,
}

/// The namespace a connection has joined; it leaves when this is dropped, however the connection ended.
struct Joined {
    server: Arc<Inner>,
    namespace: Namespace,
    hub: Arc<Hub>,
    client: ClientId,
    connection: u64,
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.server
            .unregister(&self.namespace, self.client, self.connection);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Driver<S> {
    async fn run(mut self, token: Option<String>, mut events: mpsc::UnboundedReceiver<Event>) {
        let mut stop = self.server.stopping();
        let mut stopping = false;
        let mut next = Event::Opened { token };
        loop {
            let effects = self.session.handle(self.now(), next);
            for effect in effects {
                if let Effect::Close { code, reason } = effect {
                    drop(self.joined);
                    return self.wire.close(code, &reason, GOODBYE).await;
                }
                self.execute(effect).await;
            }
            if self.session.is_over() {
                return;
            }
            let wants_frames = self.session.wants_frames();
            next = tokio::select! {
                // Answers first: outcomes go out before the doorbell lets the session read its own records.
                biased;
                Some(event) = events.recv() => event,
                Some(event) = self.pending.next(), if !self.pending.is_empty() => event,
                // Before frames: a pong must not tell a head that is older than what others were told already.
                head = moved(&mut self.head) => Event::HeadMoved(head),
                turn = self.wire.turn(wants_frames) => match turn {
                    Turn::Frame(frame) => Event::Frame(frame),
                    Turn::Bad { code, message } => Event::BadFrame { code, message },
                    Turn::Gone => Event::Closed,
                },
                () = &mut self.timer => self.deadline(),
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    Event::Shutdown
                }
            };
            if let Event::Attached(Ok(_)) = &next
                && let Some(joined) = &self.joined
            {
                let Joined {
                    namespace,
                    client,
                    connection,
                    ..
                } = joined;
                self.server
                    .register(namespace, *client, *connection, &self.events);
            }
        }
    }

    async fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Send(frame) => self.wire.send(frame),
            Effect::Timer(moment) => {
                let at = self.began + Duration::from_millis(moment.0);
                self.timer.as_mut().reset(at);
            }
            Effect::Commit { ticket, push } => {
                let Some(joined) = &self.joined else { return };
                let events = self.events.clone();
                let answer = Box::new(move |result| {
                    // The connection may be gone; the outcome is recorded and will be repeated.
                    let _ = events.send(Event::Committed { ticket, result });
                });
                joined.hub.combiner.push(push, answer).await;
            }
            other => {
                if let Effect::Attach { namespace, request } = &other {
                    let hub = self.server.hub(namespace);
                    // Listening begins before the head of the welcome is read, so that no ring is missed.
                    self.head = Some(hub.listen());
                    self.joined = Some(Joined {
                        server: Arc::clone(&self.server),
                        namespace: namespace.clone(),
                        hub,
                        client: request.client,
                        connection: self.connection,
                    });
                }
                self.ask(other);
            }
        }
    }

    /// Lets the engine or the authenticator work, beside everything else.
    fn ask(&self, effect: Effect) {
        let server = Arc::clone(&self.server);
        let namespace = self.joined.as_ref().map(|joined| joined.namespace.clone());
        self.pending.push(Box::pin(async move {
            let (engine, authenticator) = (&*server.engine, &*server.authenticator);
            match perform(engine, authenticator, namespace.as_ref(), effect).await {
                Ok(event) => event,
                Err(effect) => {
                    tracing::error!(?effect, "an effect that nobody executes");
                    Event::Closed
                }
            }
        }));
    }

    /// A deadline has passed; if bytes came since the last one, the client is merely slow.
    fn deadline(&mut self) -> Event {
        // Asked again at once if the session does not set another deadline.
        self.timer
            .as_mut()
            .reset(Instant::now() + Duration::from_millis(1));
        let heard = self.wire.received();
        if heard == self.heard {
            return Event::Timer;
        }
        self.heard = heard;
        Event::Alive
    }

    fn now(&self) -> Now {
        let moment = Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        Now {
            moment,
            time: self.server.env.now(),
        }
    }
}

async fn moved(head: &mut Option<watch::Receiver<Seq>>) -> Seq {
    if let Some(head) = head
        && head.changed().await.is_ok()
    {
        return *head.borrow_and_update();
    }
    // Without a hub there is nothing to hear, and the hub lives as long as this connection.
    std::future::pending().await
}
