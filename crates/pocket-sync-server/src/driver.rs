//! The tokio driver of a session: one loop with one `match`, whatever carries the frames.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Extensions, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pocket_core::Seq;
use pocket_sync_protocol::codes::close;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep};
use tracing::Instrument;

use crate::admin::Peer;
use crate::auth::{AuthError, Secret};
use crate::connected::Joined;
use crate::engine::EngineError;
use crate::http::bearer_token;
use crate::perform;
use crate::server::Inner;
use crate::session::{Effect, Event, Moment, Now, Session};

/// How long a connection that was closed may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of a frame, or of a body, that buy it one more second.
const BYTES_PER_SECOND: u64 = 1_024;

/// How long the first so many bytes of a frame, or of a body, may take, where one that brings next to nothing has `patience`.
pub(crate) fn time_to_come(patience: Duration, received: u64) -> Duration {
    patience.saturating_add(Duration::from_secs(received / BYTES_PER_SECOND))
}

/// Where a session hears of what happened elsewhere. Boxed, for a channel keeps room for many from its beginning.
pub(crate) type Events = mpsc::UnboundedSender<Box<Event>>;

/// Who opens a connection, as far as its request tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// The number of the connection. It is given before the request is answered: whoever opens another one behind the
    /// answer has a higher number there, whichever of the two the runtime lets begin first.
    pub(crate) connection: u64,
    /// The token of its header.
    pub(crate) token: Option<Secret>,
    /// The address it comes from, where that is known.
    pub(crate) peer: Option<IpAddr>,
}

impl Caller {
    pub(crate) fn new(connection: u64, headers: &HeaderMap, extensions: &Extensions) -> Self {
        Self {
            connection,
            token: bearer_token(headers),
            peer: extensions.get::<Peer>().map(|Peer(peer)| peer.ip()),
        }
    }
}

/// What carries frames to a client and back.
pub(crate) trait Wire: Send {
    /// Sends a message, as soon as the client takes it.
    fn send(&mut self, frame: Bytes);

    /// A count that rises with every sign of life: bytes that came, and bytes that a client took which had not kept up.
    fn received(&self) -> u64;

    /// Whether news should be read for the client now. Nothing is lost when it is not: they are read later.
    fn takes_news(&self) -> bool;

    /// Whether the client has taken so little of what was sent that no more should be read for it.
    fn is_full(&self) -> bool;

    /// Whether it is known already that nobody takes anything any more.
    fn is_gone(&self) -> bool;

    /// Writes what waits, and reads the next message if one is wanted. Dropping the future loses nothing.
    fn turn(&mut self, session: &Session) -> impl Future<Output = Turn> + Send;

    /// Sends what waits and the code, and gives the client a moment to take both.
    fn close(self, code: u16, reason: &str, patience: Duration) -> impl Future<Output = ()> + Send;
}

/// What came of the connection.
pub(crate) enum Turn {
    /// A message.
    Frame(Bytes),
    /// Something that is none.
    Bad { code: &'static str, message: String },
    /// No message, but a sign of life; and the other sources are looked at before the next turn.
    Alive,
    /// The client has taken what was too much for it.
    Room,
    /// It is gone, or takes nothing any more.
    Gone,
}

/// Serves one connection from its opening to its end.
///
/// The future is boxed, so that what leads to it keeps no room for the session, too.
pub(crate) fn serve<'a, W: Wire + 'a>(
    server: Arc<Inner>,
    session: Session,
    wire: W,
    caller: Caller,
) -> BoxFuture<'a, ()> {
    let (events, receiver) = mpsc::unbounded_channel();
    let began = Instant::now();
    let connection = caller.connection;
    // Each line that is logged for this connection names it, and who it is for once that is known.
    let span = tracing::info_span!(
        "session",
        session = connection,
        namespace = tracing::field::Empty,
        user = tracing::field::Empty,
        client = tracing::field::Empty
    );
    let driver = Driver {
        session,
        connection,
        began,
        timer: Box::pin(tokio::time::sleep_until(began)),
        heard: 0,
        is_due: false,
        pending: FuturesUnordered::new(),
        events,
        joined: None,
        head: None,
        peer: caller.peer,
        server,
        wire,
    };
    Box::pin(driver.run(caller.token, receiver).instrument(span))
}

struct Driver<W> {
    server: Arc<Inner>,
    wire: W,
    session: Session,
    connection: u64,
    began: Instant,
    timer: Pin<Box<Sleep>>,
    /// The signs of life when the deadline was last looked at.
    heard: u64,
    /// The deadline has passed, and the session was not told so yet.
    is_due: bool,
    /// Reads, fetches and handshake steps under way: at most a few, by the session's own bounds.
    pending: FuturesUnordered<BoxFuture<'static, Event>>,
    events: Events,
    joined: Option<Joined>,
    head: Option<watch::Receiver<Seq>>,
    peer: Option<IpAddr>,
}

impl<W: Wire> Driver<W> {
    async fn run(mut self, token: Option<Secret>, mut events: mpsc::UnboundedReceiver<Box<Event>>) {
        let metrics = Arc::clone(&self.server.metrics);
        let mut stop = self.server.stopping();
        let mut stopping = false;
        let mut rights = self.server.rights();
        let rules = rights.borrow_and_update().clone();
        // Before it says hello this has no effects.
        self.session.handle(self.now(), Event::RightsChanged(rules));
        let mut next = Event::Opened { token };
        loop {
            if let Event::Frame(frame) = &next {
                metrics.received_bytes.add(frame.len() as u64);
            }
            let effects = self.session.handle(self.now(), next);
            for code in self.session.take_errors() {
                tracing::debug!(code, "an error was told");
                metrics.error(code);
            }
            if let (Some(joined), Some(position)) = (&self.joined, self.session.position()) {
                joined.sent(position);
            }
            for effect in effects {
                if let Effect::Close { code, reason } = effect {
                    if code == close::INTERNAL {
                        tracing::warn!(reason, "a session has ended, for a reason of the server");
                    } else {
                        tracing::info!(code, reason, "a session has ended");
                    }
                    drop(self.joined);
                    return self.wire.close(code, &reason, GOODBYE).await;
                }
                self.execute(effect).await;
            }
            if self.session.is_over() {
                return;
            }
            if std::mem::take(&mut self.is_due) {
                next = Event::Timer;
                continue;
            }
            if self.wire.is_full() && !self.session.is_full() {
                next = Event::Full;
                continue;
            }
            next = tokio::select! {
                // Answers first: outcomes go out before the doorbell lets the session read its own records.
                biased;
                Some(event) = events.recv() => *event,
                Some(event) = self.pending.next(), if !self.pending.is_empty() => event,
                // Before frames: a pong must not tell a head that is older than what others were told already.
                head = moved(&mut self.head), if self.wire.takes_news() => Event::HeadMoved(head),
                // Before frames as well: whoever sends without a pause must not put off the end of his token.
                () = &mut self.timer => self.deadline(),
                turn = self.wire.turn(&self.session) => match turn {
                    Turn::Frame(frame) => {
                        // Told as a frame, and not once more when the deadline comes.
                        self.heard = self.wire.received();
                        Event::Frame(frame)
                    }
                    Turn::Bad { code, message } => Event::BadFrame { code, message },
                    Turn::Alive => Event::Alive,
                    Turn::Room => Event::Room,
                    Turn::Gone => Event::Closed,
                },
                Ok(()) = rights.changed() => {
                    Event::RightsChanged(rights.borrow_and_update().clone())
                }
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    Event::Shutdown
                }
            };
            if let Event::Attached(Ok(_)) = &next
                && let Some(joined) = &mut self.joined
            {
                joined.register(&self.events);
                tracing::info!("a client has come in");
            }
        }
    }

    async fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Send(frame) => {
                self.server.metrics.sent_bytes.add(frame.len() as u64);
                self.wire.send(frame);
            }
            Effect::Timer(moment) => {
                let at = self.began + Duration::from_millis(moment.0);
                self.timer.as_mut().reset(at);
            }
            Effect::Commit { ticket, push } => {
                let Some(joined) = &self.joined else { return };
                let events = self.events.clone();
                let answer = Box::new(move |result| {
                    // The connection may be gone; the outcome is recorded and will be repeated.
                    let _ = events.send(Box::new(Event::Committed { ticket, result }));
                });
                let hub = Arc::clone(joined.hub());
                hub.combiner.push(push, answer, Arc::clone(&hub)).await;
            }
            // Whoever has gone must not end the newer session of the same client.
            Effect::Attach { .. } if self.wire.is_gone() => {
                let _ = self.events.send(Box::new(Event::Closed));
            }
            other => {
                if let Effect::Attach { namespace, request } = &other {
                    let joined = Joined::new(&self.server, namespace, request, self.connection);
                    let joined = match joined {
                        Ok(joined) => joined,
                        Err(refusal) => {
                            let refused = Err(EngineError::Refused(refusal));
                            // The loop that receives it is our own.
                            let _ = self.events.send(Box::new(Event::Attached(refused)));
                            return;
                        }
                    };
                    let span = tracing::Span::current();
                    span.record("namespace", namespace.as_str());
                    span.record("user", &*request.user);
                    span.record("client", tracing::field::display(request.client));
                    // Listening begins before the head of the welcome is read, so that no ring is missed.
                    self.head = Some(joined.hub().listen());
                    self.joined = Some(joined);
                }
                self.ask(other);
            }
        }
    }

    /// Lets the engine or the authenticator work, beside everything else.
    fn ask(&self, effect: Effect) {
        let server = Arc::clone(&self.server);
        let namespace = self
            .joined
            .as_ref()
            .map(|joined| joined.namespace().clone());
        let span = work_span(&effect);
        let opened = self.joined.as_ref().map(|joined| Arc::clone(joined.hub()));
        let peer = self.peer;
        let is_check = matches!(effect, Effect::Authenticate { .. }) && self.session.is_open();
        let work = async move {
            // All sessions may ask at the same moment, while whoever comes in must not wait behind them.
            let _turn = if is_check {
                server.checks.acquire().await.ok()
            } else {
                None
            };
            let effect = match (effect, opened) {
                (Effect::Attach { request, .. }, Some(hub)) => {
                    let newcomers = Arc::clone(&server.newcomers);
                    let user = Arc::clone(&request.user);
                    let room = move || newcomers.room(&user, peer);
                    let attached = hub.attach_if_room(request, room).await;
                    server.store.note(&attached);
                    let event = Event::Attached(attached);
                    log_failure(&event);
                    return event;
                }
                (effect, _) => effect,
            };
            let (engine, authenticator) = (&*server.engine, &*server.authenticator);
            match perform(engine, authenticator, namespace.as_ref(), effect).await {
                Ok(event) => {
                    if let Event::FeedRead {
                        result: Ok(page), ..
                    } = &event
                    {
                        tracing::Span::current().record("records", page.records.len());
                    }
                    log_failure(&event);
                    event
                }
                Err(effect) => {
                    tracing::error!(?effect, "an effect that nobody executes");
                    Event::Closed
                }
            }
        };
        self.pending.push(Box::pin(work.instrument(span)));
    }

    /// A deadline has passed; if bytes came since the last one, the session is told that first.
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
        self.is_due = true;
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

/// The span of what an effect asks for.
fn work_span(effect: &Effect) -> tracing::Span {
    match effect {
        Effect::Authenticate { .. } => tracing::info_span!("authenticate"),
        Effect::Attach { .. } => tracing::info_span!("attach"),
        Effect::Read { request, .. } => tracing::info_span!(
            "read",
            after = request.after.get(),
            records = tracing::field::Empty
        ),
        Effect::Fetch { documents, .. } => {
            tracing::info_span!("fetch", documents = documents.len())
        }
        _ => tracing::Span::none(),
    }
}

/// The client is told that something failed, and the log what. Commits are logged where they are joined.
fn log_failure(event: &Event) {
    match event {
        Event::Authenticated(Err(error @ AuthError::Unavailable(_))) => {
            tracing::warn!(%error, "a token could not be checked");
        }
        Event::Attached(Err(EngineError::Refused(_)))
        | Event::Fetched {
            result: Err(EngineError::TooLarge(_)),
            ..
        } => {}
        Event::Attached(Err(error))
        | Event::FeedRead {
            result: Err(error), ..
        }
        | Event::Fetched {
            result: Err(error), ..
        } => tracing::warn!(%error, "the store failed a session"),
        _ => {}
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
