//! One connection, as a pure state machine: an event in, effects out, in order.
//!
//! No socket, clock, store or task is in it. Whoever drives it executes the effects; every one that asks for something
//! is answered by exactly one event with the same ticket, however late. [`Session::wants_frames`] says whether the next
//! frame may be read from the connection: this is the backpressure on writers.

mod echo;
mod pull;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_core::{ClientId, CollectionName, Seq, SessionToken, Timestamp};
use pocket_sync_protocol::codes::{self, close};
use pocket_sync_protocol::{
    ClientMessage, ErrorMessage, Fetch, Hello, HelloCheckpoint, Outcomes, PageBuilder, Ping, Pong,
    Push, Records, ServerMessage, VersionRange, Welcome, decode_client, encode_server,
};

use self::echo::Echo;
use self::pull::Pulling;
use crate::auth::{Access, AuthError};
use crate::decide::{AttachRefusal, DocumentKey, PushAnswer, PushRequest, Refusal};
use crate::engine::{
    AttachRequest, Attached, EngineError, EngineResult, FeedPage, Fetched, LogState, ReadRequest,
};
use crate::{Config, Namespace};

/// Milliseconds of a clock that never jumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    fn after(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// The two clocks of a driver: one for deadlines, one for what clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The clock of deadlines.
    pub moment: Moment,
    /// The time of day.
    pub time: Timestamp,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection is open; with the token of its header, if it had one.
    Opened {
        /// The token.
        token: Option<String>,
    },
    /// A binary message came.
    Frame(Bytes),
    /// Bytes came, though no whole message yet: a large one on a slow line is a sign of life.
    Alive,
    /// Something came that is no binary message within the size limit.
    BadFrame {
        /// `bad-frame` or `too-large`.
        code: &'static str,
        /// What came.
        message: String,
    },
    /// The answer to [`Effect::Authenticate`].
    Authenticated(Result<Access, AuthError>),
    /// The answer to [`Effect::Attach`].
    Attached(EngineResult<Attached>),
    /// The answer to [`Effect::Commit`].
    Committed {
        /// Its ticket.
        ticket: u64,
        /// What became of the push.
        result: EngineResult<PushAnswer>,
    },
    /// The answer to [`Effect::Read`].
    FeedRead {
        /// Its ticket.
        ticket: u64,
        /// What was read.
        result: EngineResult<FeedPage>,
    },
    /// The answer to [`Effect::Fetch`].
    Fetched {
        /// Its ticket.
        ticket: u64,
        /// What was read.
        result: EngineResult<Fetched>,
    },
    /// The doorbell: the head is here now. It may be late, doubled or lost.
    HeadMoved(Seq),
    /// The deadline of the last [`Effect::Timer`] has passed.
    Timer,
    /// A newer session of the same client has begun.
    Replaced,
    /// The server stops.
    Shutdown,
    /// The connection is gone.
    Closed,
}

/// What is to be done, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Find out who this is.
    Authenticate {
        /// The token, if there was one.
        token: Option<String>,
    },
    /// Begin the session in this namespace.
    Attach {
        /// The namespace; doorbell, commits and reads are its own from now on.
        namespace: Namespace,
        /// Who begins.
        request: AttachRequest,
    },
    /// Commit a push, behind those before it.
    Commit {
        /// The answer repeats it.
        ticket: u64,
        /// The push.
        push: PushRequest,
    },
    /// Read the feed.
    Read {
        /// The answer repeats it.
        ticket: u64,
        /// What to read.
        request: ReadRequest,
    },
    /// Read documents by id.
    Fetch {
        /// The answer repeats it.
        ticket: u64,
        /// Which ones.
        documents: Vec<DocumentKey>,
    },
    /// Send a binary message.
    Send(Bytes),
    /// Replaces the one deadline.
    Timer(Moment),
    /// Close the connection, behind what was sent. The session is over.
    Close {
        /// The close code.
        code: u16,
        /// A reason for people.
        reason: String,
    },
}

/// One connection.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    state: State,
    /// When the client was heard last.
    heard: Moment,
    effects: Vec<Effect>,
}

#[derive(Debug)]
enum State {
    Waiting { header_token: Option<String> },
    Authenticating(Box<Greeting>),
    Attaching(Box<Greeting>),
    Open(Box<Open>),
    Over,
}

/// What a hello said that is needed later.
#[derive(Debug)]
struct Greeting {
    version: u16,
    client: ClientId,
    namespace: Namespace,
    presented: Option<SessionToken>,
    collections: Arc<[CollectionName]>,
    checkpoint: Option<HelloCheckpoint>,
    user: Arc<str>,
}

#[derive(Debug)]
struct Open {
    greeting: Greeting,
    log: LogState,
    session: SessionToken,
    /// Pushes whose outcome is on its way, in order.
    pushes: VecDeque<InFlight>,
    push_bytes: usize,
    fetch: Option<(u64, u32)>,
    pull: Option<Pulling>,
    echo: Echo,
    last_ticket: u64,
    stopping: bool,
}

#[derive(Debug)]
struct InFlight {
    ticket: u64,
    id: u32,
    bytes: usize,
}

impl Session {
    /// A connection that is about to open.
    pub fn new(config: Arc<Config>) -> Self {
        let state = State::Waiting { header_token: None };
        Self {
            config,
            state,
            heard: Moment::default(),
            effects: Vec::new(),
        }
    }

    /// Takes an event and tells what is to be done.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        if self.is_over() {
            return Vec::new();
        }
        match event {
            Event::Opened { token } => {
                self.state = State::Waiting {
                    header_token: token,
                };
                self.heard = now.moment;
                self.effects.push(Effect::Timer(
                    now.moment.after(self.config.handshake_timeout),
                ));
            }
            Event::Frame(frame) => self.frame(now, &frame),
            Event::Alive => self.alive(now),
            Event::BadFrame { code, message } => self.fail(code, message),
            Event::Authenticated(result) => self.authenticated(result),
            Event::Attached(result) => self.attached(now, result),
            Event::Committed { ticket, result } => self.committed(ticket, result),
            Event::FeedRead { ticket, result } => self.feed_read(ticket, result),
            Event::Fetched { ticket, result } => self.fetched(ticket, result),
            Event::HeadMoved(head) => self.head_moved(head),
            Event::Timer => self.timer(now),
            Event::Replaced => self.fail(
                codes::REPLACED,
                "a newer session of this client has begun".to_owned(),
            ),
            Event::Shutdown => self.shutdown(),
            Event::Closed => self.state = State::Over,
        }
        std::mem::take(&mut self.effects)
    }

    /// Whether the next frame may be read from the connection.
    pub fn wants_frames(&self) -> bool {
        match &self.state {
            State::Waiting { .. } => true,
            State::Open(open) => {
                open.pushes.len() < self.config.limits.wire.pushes
                    && open.push_bytes < self.config.limits.push_bytes
                    && open.fetch.is_none()
            }
            State::Authenticating(_) | State::Attaching(_) | State::Over => false,
        }
    }

    /// Whether nothing can happen any more.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn frame(&mut self, now: Now, frame: &Bytes) {
        self.heard = now.moment;
        if let State::Open(open) = &self.state
            && open.stopping
        {
            return;
        }
        match decode_client(frame, &self.config.limits.frames()) {
            Ok(message) => self.message(now, message, frame.len()),
            Err(error) => self.fail(error.code(), error.to_string()),
        }
    }

    fn message(&mut self, now: Now, message: ClientMessage, bytes: usize) {
        match (&self.state, message) {
            (State::Waiting { .. }, ClientMessage::Hello(hello)) => self.hello(hello),
            (State::Open(_), ClientMessage::Push(push)) => self.push(&push, bytes),
            (State::Open(_), ClientMessage::Pull(pull)) => self.pull(pull),
            (State::Open(_), ClientMessage::More(more)) => self.more(more),
            (State::Open(_), ClientMessage::Fetch(fetch)) => self.fetch(fetch),
            (State::Open(_), ClientMessage::Ping(ping)) => self.ping(now, ping),
            _ => self.fail(
                codes::UNEXPECTED_MESSAGE,
                "this message is not taken at this point; a connection begins with one hello"
                    .to_owned(),
            ),
        }
    }

    fn hello(&mut self, hello: Hello) {
        let State::Waiting { header_token } = &mut self.state else {
            return;
        };
        let token = hello.token.or(header_token.take());
        let version = match VersionRange::SUPPORTED.agree(hello.versions) {
            Ok(version) => version,
            Err(error) => return self.fail(error.code(), error.to_string()),
        };
        let Some(namespace) = Namespace::new(&hello.namespace) else {
            let message = "a namespace has 1 to 128 bytes and no control characters".to_owned();
            return self.fail(codes::FORBIDDEN, message);
        };
        self.state = State::Authenticating(Box::new(Greeting {
            version,
            client: hello.client,
            namespace,
            presented: hello.session,
            collections: hello.collections.into(),
            checkpoint: hello.checkpoint,
            user: Arc::from(""),
        }));
        self.effects.push(Effect::Authenticate { token });
    }

    fn authenticated(&mut self, result: Result<Access, AuthError>) {
        let mut greeting = match std::mem::replace(&mut self.state, State::Over) {
            State::Authenticating(greeting) => greeting,
            other => {
                self.state = other;
                return;
            }
        };
        match result {
            Ok(access) if access.may_open(&greeting.namespace) => {
                greeting.user = access.user;
                let request = AttachRequest {
                    user: Arc::clone(&greeting.user),
                    client: greeting.client,
                    presented: greeting.presented,
                };
                self.effects.push(Effect::Attach {
                    namespace: greeting.namespace.clone(),
                    request,
                });
                self.state = State::Attaching(greeting);
            }
            Ok(access) => {
                let message = format!(
                    "{} may not open the namespace {}",
                    access.user, greeting.namespace
                );
                self.fail(codes::FORBIDDEN, message);
            }
            Err(error @ AuthError::Refused(_)) => self.fail(codes::UNAUTHORIZED, error.to_string()),
            Err(error @ AuthError::Expired) => self.fail(codes::TOKEN_EXPIRED, error.to_string()),
            Err(error @ AuthError::Unavailable(_)) => self.fail(codes::INTERNAL, error.to_string()),
        }
    }

    fn attached(&mut self, now: Now, result: EngineResult<Attached>) {
        let greeting = match std::mem::replace(&mut self.state, State::Over) {
            State::Attaching(greeting) => greeting,
            other => {
                self.state = other;
                return;
            }
        };
        let attached = match result {
            Ok(attached) => attached,
            Err(error) => {
                let code = match error {
                    EngineError::Refused(AttachRefusal::OtherUser) => codes::OTHER_USER,
                    EngineError::Refused(AttachRefusal::ClientCopied) => codes::CLIENT_COPIED,
                    _ => codes::INTERNAL,
                };
                return self.fail(code, error.to_string());
            }
        };
        self.heard = now.moment;
        self.effects
            .push(Effect::Timer(now.moment.after(self.config.client_timeout)));
        self.send(Welcome {
            version: greeting.version,
            lineage: attached.log.lineage,
            user: greeting.user.to_string(),
            epochs: attached.log.epochs.to_vec(),
            epoch: attached.log.epoch,
            head: attached.log.head,
            horizon: attached.log.horizon,
            time: attached.time,
            session: attached.session,
            last_number: attached.last,
            limits: self.config.limits.wire,
            heartbeat: self.config.heartbeat,
        });
        self.state = State::Open(Box::new(Open {
            greeting: *greeting,
            log: attached.log,
            session: attached.session,
            pushes: VecDeque::new(),
            push_bytes: 0,
            fetch: None,
            pull: None,
            echo: Echo::default(),
            last_ticket: 0,
            stopping: false,
        }));
    }

    fn push(&mut self, push: &Push, bytes: usize) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        if open.pushes.len() >= self.config.limits.wire.pushes {
            return self.refuse(push.id, codes::RETRY_LATER, "too many pushes are in flight");
        }
        if open.has_foreign_checkpoint() {
            let message = "the checkpoint of the hello is not part of this log's history, so nothing is taken";
            return self.refuse(push.id, codes::UNKNOWN_EPOCH, message);
        }
        let limits = self.config.limits.wire.document_limits();
        let mutations = match push.mutations(open.greeting.client, &limits) {
            Ok(mutations) => mutations,
            Err(error) => return self.fail(error.code(), error.to_string()),
        };
        let ticket = open.ticket();
        open.pushes.push_back(InFlight {
            ticket,
            id: push.id,
            bytes,
        });
        open.push_bytes += bytes;
        let push = PushRequest {
            user: Arc::clone(&open.greeting.user),
            client: open.greeting.client,
            session: open.session,
            confirmed: push.confirmed,
            first: push.first,
            mutations,
            bytes,
        };
        self.effects.push(Effect::Commit { ticket, push });
    }

    fn committed(&mut self, ticket: u64, result: EngineResult<PushAnswer>) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        let Some(place) = open.pushes.iter().position(|push| push.ticket == ticket) else {
            return;
        };
        let Some(InFlight { id, bytes, .. }) = open.pushes.remove(place) else {
            return;
        };
        open.push_bytes -= bytes;
        match result {
            Ok(answer) => self.answered(id, answer),
            Err(EngineError::Fatal(message)) => return self.fail(codes::INTERNAL, message),
            Err(error) => self.refuse(id, codes::RETRY_LATER, &error.to_string()),
        }
        self.stop_when_done();
        self.pump();
    }

    fn answered(&mut self, id: u32, answer: PushAnswer) {
        let gap = match answer.refusal {
            Some(Refusal::Gap(expected)) => Some(expected),
            _ => None,
        };
        if !answer.outcomes.is_empty() || gap.is_some() || answer.refusal.is_none() {
            self.send(Outcomes {
                id,
                first: answer.first,
                outcomes: answer.outcomes,
                gap,
            });
        }
        if let State::Open(open) = &mut self.state {
            // Only now, behind the outcomes: from here on these records need not come back to their writer.
            open.echo.add(answer.written);
        }
        match answer.refusal {
            None | Some(Refusal::Gap(_)) => {}
            Some(Refusal::UnknownNumber(number)) => {
                let message =
                    format!("mutation {number} was confirmed, and its outcome is no longer kept");
                self.refuse(id, codes::UNKNOWN_NUMBER, &message);
            }
            Some(Refusal::Unconfirmed) => {
                let message =
                    "too many outcomes wait to be confirmed; confirm those that are stored";
                self.refuse(id, codes::RETRY_LATER, message);
            }
            Some(Refusal::Replaced) => {
                self.fail(
                    codes::REPLACED,
                    "a newer session of this client has begun".to_owned(),
                );
            }
            Some(Refusal::OtherUser) => {
                self.fail(
                    codes::OTHER_USER,
                    "this client id belongs to another user".to_owned(),
                );
            }
        }
    }

    fn fetch(&mut self, fetch: Fetch) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        if fetch.documents.len() > self.config.limits.fetch_documents {
            let message = format!(
                "ask for at most {} documents at once",
                self.config.limits.fetch_documents
            );
            return self.refuse(fetch.id, codes::TOO_LARGE, &message);
        }
        if open.fetch.is_some() {
            return self.refuse(fetch.id, codes::RETRY_LATER, "another fetch is under way");
        }
        let ticket = open.ticket();
        open.fetch = Some((ticket, fetch.id));
        let documents = fetch.documents.into_iter();
        let documents = documents
            .map(|(collection, id)| DocumentKey { collection, id })
            .collect();
        self.effects.push(Effect::Fetch { ticket, documents });
    }

    fn fetched(&mut self, ticket: u64, result: EngineResult<Fetched>) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        let Some((_, id)) = open.fetch.take_if(|fetch| fetch.0 == ticket) else {
            return;
        };
        let fetched = match result {
            Ok(fetched) => fetched,
            Err(EngineError::Fatal(message)) => return self.fail(codes::INTERNAL, message),
            Err(error) => return self.refuse(id, codes::RETRY_LATER, &error.to_string()),
        };
        let mut builder = PageBuilder::new(self.config.limits.wire.message_bytes);
        if !fetched.records.iter().all(|record| builder.push(record)) {
            return self.refuse(
                id,
                codes::TOO_LARGE,
                "the records do not fit into one message; ask for fewer",
            );
        }
        self.send(Records {
            id,
            epoch: fetched.epoch,
            head: fetched.head,
            set: builder.finish(),
        });
    }

    fn ping(&mut self, now: Now, ping: Ping) {
        let State::Open(open) = &self.state else {
            return;
        };
        let head = open.log.head;
        self.send(Pong {
            id: ping.id,
            head,
            time: now.time,
        });
    }

    fn alive(&mut self, now: Now) {
        // Whoever has not said hello gets no more time by saying it slowly.
        if let State::Open(_) = self.state {
            self.heard = now.moment;
        }
    }

    fn timer(&mut self, now: Now) {
        let (wait, code, message) = match &self.state {
            State::Open(_) => (
                self.config.client_timeout,
                codes::IDLE_TIMEOUT,
                "nothing was heard for too long",
            ),
            _ => (
                self.config.handshake_timeout,
                codes::HANDSHAKE_TIMEOUT,
                "no hello came in time",
            ),
        };
        let deadline = self.heard.after(wait);
        if now.moment < deadline {
            self.effects.push(Effect::Timer(deadline));
        } else {
            self.fail(code, message.to_owned());
        }
    }

    fn shutdown(&mut self) {
        match &mut self.state {
            State::Open(open) => {
                open.stopping = true;
                open.pull = None;
                self.stop_when_done();
            }
            _ => self.go_away(),
        }
    }

    fn stop_when_done(&mut self) {
        if let State::Open(open) = &self.state
            && open.stopping
            && open.pushes.is_empty()
        {
            self.go_away();
        }
    }

    fn go_away(&mut self) {
        self.fail(
            codes::GOING_AWAY,
            "the server stops or restarts; connect again".to_owned(),
        );
    }

    fn send(&mut self, message: impl Into<ServerMessage>) {
        self.effects
            .push(Effect::Send(encode_server(&message.into())));
    }

    /// Answers a request with an error; the connection goes on.
    fn refuse(&mut self, id: u32, code: &'static str, message: &str) {
        let retryable = codes::retryable(code);
        self.send(ErrorMessage {
            id: Some(id),
            code: code.to_owned(),
            message: message.to_owned(),
            retryable,
            retry_after: retryable.then_some(self.config.retry_after),
            fatal: false,
        });
    }

    /// Tells what is wrong and ends the connection.
    fn fail(&mut self, code: &'static str, message: String) {
        let info = codes::info(code);
        let retryable = codes::retryable(code);
        self.send(ErrorMessage {
            id: None,
            code: code.to_owned(),
            message: message.clone(),
            retryable,
            retry_after: None,
            fatal: true,
        });
        let close = info.and_then(|info| info.close).unwrap_or(close::INTERNAL);
        self.effects.push(Effect::Close {
            code: close,
            reason: message,
        });
        self.state = State::Over;
    }
}

impl Open {
    fn ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Whether the client told in its hello that it has read what this log never gave: then its outbox is not for us.
    fn has_foreign_checkpoint(&self) -> bool {
        let checkpoint = self.greeting.checkpoint.as_ref();
        checkpoint.is_some_and(|checkpoint| !self.log.contains(checkpoint.epoch, checkpoint.seq))
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
