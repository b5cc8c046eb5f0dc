//! One connection, as a pure state machine: an event in, effects out, in order.
//!
//! No socket, clock, store or task is in it. Whoever drives it executes the effects; every one that asks for something
//! is answered by exactly one event with the same ticket, however late. [`Session::wants_frames`] says whether the next
//! frame may be read from the connection: this is the backpressure on writers.

mod echo;
mod event;
mod handshake;
mod pull;
mod rate;
mod request;
mod telling;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_core::{ClientId, CollectionName, Seq, SessionToken, Timestamp};
use pocket_sync_protocol::codes;
use pocket_sync_protocol::{ClientMessage, HelloCheckpoint, Ping, Pong, decode_client};

use self::echo::Echo;
use self::handshake::Check;
use self::pull::Pulling;
use self::rate::{Rate, Verdict};
use crate::auth::{Access, Secret};
use crate::engine::LogState;
use crate::rules::{Authority, Rules};
use crate::{Config, Namespace};

pub use self::event::{Effect, Event, Moment, Now};

/// The largest hello; whoever is not known yet is not listened to at length.
pub(crate) const HELLO_BYTES: usize = 128 * 1024;

/// Pages that may wait for a client that polls.
const POLLED_WINDOW: u32 = 2;

/// Reads for replaced pulls that may be under way before the client is listened to again.
const FORSAKEN_READS: usize = 2;

/// One connection.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    carriage: Carriage,
    state: State,
    /// When the client was heard last.
    heard: Moment,
    /// The moment of the event that is being handled.
    now: Moment,
    /// Whether the client takes less than it was sent.
    full: bool,
    effects: Vec<Effect>,
    /// The codes of errors told since they were last asked for.
    told: Vec<&'static str>,
    /// Who may read and write what, now.
    rules: Rules,
    /// Whether tokens or rules have changed since this client was asked who it is.
    is_outdated: bool,
}

/// What depends on how the frames travel.
#[derive(Debug)]
struct Carriage {
    /// Whether an outcome that was sent has arrived before what follows it, so that its records need not come back.
    withholds_own: bool,
    /// A client that was silent for so long is gone.
    timeout: Duration,
    /// Pages sent ahead at the most.
    window: u32,
}

#[derive(Debug)]
enum State {
    Waiting { header_token: Option<Secret> },
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
    collections: Arc<BTreeSet<CollectionName>>,
    checkpoint: Option<HelloCheckpoint>,
    user: Arc<str>,
    /// Kept to be checked again while the session lives.
    token: Option<Secret>,
    /// When it was asked what the token is worth.
    asked: Moment,
    access: Option<Access>,
}

#[derive(Debug)]
struct Open {
    greeting: Greeting,
    log: LogState,
    session: SessionToken,
    /// How fast it may still ask.
    rate: Rate,
    /// What the user may do.
    authority: Authority,
    /// Whether the checkpoint of the hello was read with other rights, and nothing was read from the start since.
    rights_changed: bool,
    /// When the token is checked next.
    recheck: Moment,
    checking: Checking,
    /// From then on the token is worth nothing.
    expires: Option<Timestamp>,
    /// Pushes whose outcome is on its way, in order.
    pushes: VecDeque<InFlight>,
    push_bytes: usize,
    fetch: Option<(u64, u32)>,
    pull: Option<Pulling>,
    echo: Echo,
    /// The highest place that outcomes have told of.
    told: Seq,
    /// Reads under way for pulls that were replaced.
    forsaken: usize,
    last_ticket: u64,
    stopping: bool,
}

/// Whether somebody is finding out what the token is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checking {
    No,
    Asked,
    /// The answer will be outdated already, because tokens or rules have changed since.
    Outdated,
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
        let carriage = Carriage {
            withholds_own: true,
            timeout: config.client_timeout,
            window: config.limits.window,
        };
        Self::with(config, carriage)
    }

    /// A connection whose client asks for what there is, as over HTTP, `interval` after it asked last.
    ///
    /// It outlives the silence between, within [`Config::poll_timeout`]. Nothing a client pushed is withheld from it,
    /// since an answer that got lost may have held the outcome.
    pub fn polled(config: Arc<Config>, interval: Duration) -> Self {
        let longest = config.poll_timeout.max(config.client_timeout);
        let carriage = Carriage {
            withholds_own: false,
            timeout: config
                .client_timeout
                .max(2 * interval.min(longest))
                .min(longest),
            window: config.limits.window.min(POLLED_WINDOW),
        };
        Self::with(config, carriage)
    }

    fn with(config: Arc<Config>, carriage: Carriage) -> Self {
        let state = State::Waiting { header_token: None };
        Self {
            rules: config.rules.clone(),
            is_outdated: false,
            config,
            carriage,
            state,
            heard: Moment::default(),
            now: Moment::default(),
            full: false,
            effects: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Takes an event and tells what is to be done.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        if self.is_over() {
            return Vec::new();
        }
        self.now = now.moment;
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
            Event::Authenticated(result) => self.authenticated(now, result),
            Event::Attached(result) => self.attached(now, result),
            Event::Committed { ticket, result } => self.committed(ticket, result),
            Event::FeedRead { ticket, result } => self.feed_read(ticket, result),
            Event::Fetched { ticket, result } => self.fetched(ticket, result),
            Event::HeadMoved(head) => self.head_moved(head),
            Event::Full => self.full = true,
            Event::Room => {
                self.full = false;
                self.pump();
            }
            Event::Timer => self.timer(now),
            Event::RightsChanged(rules) => self.rights_changed(rules),
            Event::Replaced => self.fail(
                codes::REPLACED,
                "a newer session of this client has begun".to_owned(),
            ),
            Event::Disconnect => self.fail(
                codes::GOING_AWAY,
                "the server ended this connection; connect again".to_owned(),
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
                    && open.forsaken < FORSAKEN_READS
            }
            State::Authenticating(_) | State::Attaching(_) | State::Over => false,
        }
    }

    /// Whether the client was sent more than it takes, so that nothing is read for it.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Whether the client has come in.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether an answer is being waited for that will lead to more being sent.
    pub fn is_busy(&self) -> bool {
        match &self.state {
            State::Authenticating(_) | State::Attaching(_) => true,
            State::Open(open) => {
                let pull = open.pull.as_ref();
                let reading = pull.is_some_and(|pull| pull.is_reading() || pull.owes(open.told));
                reading || !open.pushes.is_empty() || open.fetch.is_some()
            }
            State::Waiting { .. } | State::Over => false,
        }
    }

    /// The codes of the errors that the client was told since the last call.
    pub fn take_errors(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.told)
    }

    /// Where the client stands in the feed once it has applied what was sent; none before its first pull.
    pub fn position(&self) -> Option<Seq> {
        let State::Open(open) = &self.state else {
            return None;
        };
        open.pull.as_ref().and_then(Pulling::position)
    }

    /// Whether nothing can happen any more.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn frame(&mut self, now: Now, frame: &Bytes) {
        self.heard = now.moment;
        if let State::Open(open) = &self.state {
            if open.stopping {
                return;
            }
            // Not only when the deadline is looked at: behind its end a token is worth nothing.
            if let Err(error) = open.is_valid(now) {
                return self.fail(codes::TOKEN_EXPIRED, error.to_string());
            }
        }
        let mut limits = self.config.limits.frames();
        if let State::Waiting { .. } = self.state {
            limits = limits.with_message_bytes(limits.message_bytes.min(HELLO_BYTES));
        }
        match decode_client(frame, &limits) {
            Ok(message) => self.message(now, message, frame.len()),
            Err(error) => self.fail(error.code(), error.to_string()),
        }
    }

    fn message(&mut self, now: Now, message: ClientMessage, bytes: usize) {
        if !self.is_in_time(now, &message, bytes) {
            return;
        }
        match (&self.state, message) {
            (State::Waiting { .. }, ClientMessage::Hello(hello)) => self.hello(now, hello),
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

    /// Whether a message comes within the rate; if not, it is answered here.
    fn is_in_time(&mut self, now: Now, message: &ClientMessage, bytes: usize) -> bool {
        let State::Open(open) = &mut self.state else {
            return true;
        };
        let id = match message {
            ClientMessage::Push(push) => push.id,
            ClientMessage::Pull(pull) => pull.id,
            ClientMessage::Fetch(fetch) => fetch.id,
            ClientMessage::Ping(ping) => ping.id,
            ClientMessage::More(more) => more.id,
            ClientMessage::Hello(_) => return true,
        };
        let verdict = match message {
            ClientMessage::More(_) if open.awaits_more() => return true,
            ClientMessage::More(_) | ClientMessage::Ping(_) => {
                open.rate.judge_sign_of_life(now.moment)
            }
            _ => open.rate.judge(now.moment, bytes),
        };
        match verdict {
            Verdict::Taken => return true,
            Verdict::Refused(wait) => {
                self.refuse_for(
                    id,
                    codes::RATE_LIMITED,
                    "too many requests; slow down",
                    wait,
                );
            }
            Verdict::Over => self.fail(
                codes::RATE_LIMITED,
                "far too many requests; connect again later, and slow down".to_owned(),
            ),
        }
        false
    }

    fn ping(&mut self, now: Now, ping: Ping) {
        let State::Open(open) = &self.state else {
            return;
        };
        self.send(Pong {
            id: ping.id,
            head: open.log.head,
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
        let mut check = None;
        if let State::Open(open) = &mut self.state {
            match open.check(now, self.config.recheck) {
                Ok(Check { next, is_due }) => {
                    check = Some(next);
                    if is_due && open.checking == Checking::No {
                        self.effects.push(open.ask());
                    }
                }
                Err(error) => return self.fail(codes::TOKEN_EXPIRED, error.to_string()),
            }
        }
        let (wait, code, message) = match &self.state {
            State::Open(_) => (
                self.carriage.timeout,
                codes::IDLE_TIMEOUT,
                "nothing was heard for too long",
            ),
            // What is opened now is opened once, and goes on.
            State::Attaching(_) => (
                self.attach_timeout(),
                codes::RETRY_LATER,
                "the namespace is still being opened, which takes long once when a new version or setting has to count \
                 what is stored; connect again",
            ),
            _ => (
                self.config.handshake_timeout,
                codes::HANDSHAKE_TIMEOUT,
                "no hello came in time",
            ),
        };
        let deadline = self.heard.after(wait);
        if now.moment < deadline {
            let next = check.map_or(deadline, |next| next.min(deadline));
            self.effects.push(Effect::Timer(next));
        } else {
            self.fail(code, message.to_owned());
        }
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
mod tests;
