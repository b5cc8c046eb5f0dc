//! The client's side of the protocol, pure: events in, effects out.
//!
//! Calling rules, for every driver:
//! - One [`Session`] per replica. [`Session::handle`] is called with each event as it happens and with a moment that
//!   never goes back; the effects are carried out in their order.
//! - [`Effect::Store`] is answered by exactly one [`Event::Stored`], whenever it is ready. There is never a second
//!   request before the answer.
//! - [`Effect::Timer`] replaces the one deadline there is.
//! - [`Effect::Open`] is answered by `Opened` or `Refused`; after `Opened` come frames and at last `Closed`. What
//!   belongs to an earlier connection is ignored, so a driver need not filter.
//!
//! There is no socket, clock, task, random source or order of a hash map in here: the same events give the same effects.

mod asking;
mod comeback;
mod command;
mod event;
mod fetch;
mod handshake;
mod link;
mod pull;
mod push;
mod renewal;
mod report;
mod silence;
mod storing;

pub use event::{Effect, Event, Pass, SessionConfig, StoreAnswer, StoreRequest, StoreRequestKind};

use bytes::Bytes;
use pocket_sync_protocol::codes::{self as wire, close};
use pocket_sync_protocol::{ClientMessage, ErrorMessage, ServerMessage, encode_client};

use self::asking::Asking;
use self::comeback::{Return, closing, comeback, is_explained, is_suspicious};
use self::command::Waiting;
use self::link::{Link, Live};
use self::renewal::Renewal;
use self::silence::Due;
use self::storing::Store;
use crate::backoff::Backoff;
use crate::config::HANDSHAKE_MILLIS;
use crate::{Moment, Snapshot, Stats, SyncError, codes};

/// The client's state machine; see the [module](self) for the calling rules.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    backoff: Backoff,
    now: Moment,
    running: bool,
    attention: Attention,
    link: Link,
    /// Connections opened so far.
    opened: u64,
    /// When to open the next connection, while there is none.
    retry_at: Option<Moment>,
    store: Store,
    asking: Asking,
    renewal: Renewal,
    /// Client ids taken since the last handshake that went well.
    renewals: u32,
    commands: Vec<Waiting>,
    stats: Stats,
    first_sync_complete: bool,
    /// The server's time at moment zero, in milliseconds since 1970.
    server_clock: Option<i64>,
    deadline: Option<Moment>,
    published: Option<Snapshot>,
    effects: Vec<Effect>,
}

/// Whether something is wrong that a lost connection does not explain.
#[derive(Debug)]
enum Attention {
    None,
    /// It may go away: the session tries again, slowly.
    Retrying,
    /// It does not go away by itself, and going on could do harm.
    Halted(SyncError),
}

impl Session {
    /// A session that has not been started.
    pub fn new(config: SessionConfig) -> Self {
        Self {
            backoff: Backoff::new(config.retry_delay_millis, config.seed),
            config,
            now: Moment::default(),
            running: false,
            attention: Attention::None,
            link: Link::Down,
            opened: 0,
            retry_at: None,
            store: Store::default(),
            asking: Asking::default(),
            renewal: Renewal::default(),
            renewals: 0,
            commands: Vec::new(),
            stats: Stats::default(),
            first_sync_complete: false,
            server_clock: None,
            deadline: None,
            published: None,
            effects: Vec::new(),
        }
    }

    /// The longest message the server takes, as it last said.
    pub(crate) fn message_bytes(&self) -> usize {
        self.config.limits.message_bytes
    }

    /// Takes what happened at `now` and says what to do about it.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        match event {
            Event::Start => self.start(),
            Event::Stop => self.stop(),
            Event::Opened { connection } => self.greet(connection),
            Event::Refused { connection, error } if self.link.is(connection) => self.refused(error),
            Event::Closed {
                connection,
                code,
                reason,
            } if self.link.is(connection) => self.closed(code, &reason),
            Event::Frame { connection, bytes } if self.link.is(connection) => self.frame(&bytes),
            Event::Refused { .. } | Event::Closed { .. } | Event::Frame { .. } => {}
            // Whoever sent it has no moment to wait for any more, also when it came too early.
            Event::Timer => self.deadline = None,
            Event::OutboxGrew => self.outbox_grew(),
            Event::Stored(answer) => self.stored(answer),
            Event::Answered { batch, answers } => self.answered(batch, answers),
            Event::Command { id, pass } => self.command(id, pass),
            Event::Renewed(answer) => self.renewed(answer),
            Event::TokenChanged(token) => self.token_changed(token),
        }
        self.check_deadlines();
        self.renew_if_due();
        self.open_if_due();
        self.send_pushes();
        self.begin_reading();
        self.send_fetch();
        self.ask_store();
        self.finish_commands();
        self.publish();
        self.set_timer();
        std::mem::take(&mut self.effects)
    }

    fn start(&mut self) {
        if self.running && !matches!(self.attention, Attention::Halted(_)) {
            return;
        }
        self.running = true;
        self.attention = Attention::None;
        self.backoff.reset();
        self.store.forget();
        // Meanwhile the database may have left its server.
        self.first_sync_complete = false;
        self.retry_at = Some(self.now);
    }

    fn stop(&mut self) {
        self.running = false;
        self.attention = Attention::None;
        self.retry_at = None;
        self.asking.forget();
        self.renewal.stop();
        self.hang_up(close::NORMAL, "stopped");
        self.fail_commands(&SyncError::stopped());
    }

    fn token_changed(&mut self, token: Option<String>) {
        self.config.token = token;
        self.token_set();
        let blocked = match &self.attention {
            Attention::None => false,
            Attention::Retrying => true,
            Attention::Halted(error) => error.code() == codes::OTHER_USER,
        };
        if self.running && blocked {
            self.attention = Attention::None;
            self.backoff.reset();
            self.retry_at = Some(self.now);
        }
    }

    fn open_if_due(&mut self) {
        let due = self.retry_at.is_some_and(|at| at <= self.now);
        if !self.running || !matches!(self.link, Link::Down) || !due || self.store.is_changing() {
            return;
        }
        if self.store.replica().is_none() {
            self.store.want_load();
            return;
        }
        self.retry_at = None;
        self.renewal.opened();
        self.opened += 1;
        self.link = Link::Opening {
            connection: self.opened,
            deadline: self.now.plus(HANDSHAKE_MILLIS),
        };
        self.effects.push(Effect::Open {
            connection: self.opened,
        });
    }

    fn frame(&mut self, bytes: &Bytes) {
        let message = match pocket_sync_protocol::decode_server(bytes, &self.config.limits) {
            Ok(message) => message,
            Err(error) => return self.broken(error.into()),
        };
        if let Some(live) = self.link.live_mut() {
            live.heard(self.now);
        }
        match message {
            ServerMessage::Error(error) => self.refusal(error),
            ServerMessage::Welcome(welcome) => self.welcome(welcome),
            _ if self.link.live_mut().is_none() => {
                self.broken(SyncError::retryable(
                    wire::UNEXPECTED_MESSAGE,
                    "the server spoke before its welcome",
                ));
            }
            ServerMessage::Outcomes(outcomes) => self.outcomes(outcomes),
            ServerMessage::Page(page) => self.page(&page),
            ServerMessage::Pong(pong) => self.pong(pong),
            ServerMessage::Records(records) => self.records(&records),
        }
    }

    /// Ends a connection on which the other side, or this one, broke the protocol.
    fn broken(&mut self, error: SyncError) {
        self.blame();
        let back = if error.is_retryable() {
            Return::Soon
        } else {
            Return::Slowly
        };
        self.lose(error, back, close::BAD_FRAME);
    }

    /// This store is a copy, or was restored: it takes another client id and comes back at once.
    fn renew(&mut self, error: SyncError) {
        self.hang_up(close::NORMAL, error.code().to_owned());
        self.store.want_renewal();
        self.come_back_at_once(error);
    }

    /// What was read does not fit the server's log any more: everything is read again.
    fn resync(&mut self, error: SyncError) {
        self.hang_up(close::NORMAL, error.code().to_owned());
        self.store.want_resync();
        self.come_back_at_once(error);
    }

    fn come_back_at_once(&mut self, error: SyncError) {
        // A server that is never content must not be asked without a pause.
        let wait = if self.renewals == 0 {
            0
        } else {
            self.backoff.next()
        };
        self.renewals = self.renewals.saturating_add(1);
        self.retry_at = self.running.then(|| self.now.plus(wait));
        self.stats.last_error = Some(error);
    }

    /// The server refused something.
    fn refusal(&mut self, mut error: ErrorMessage) {
        match error.code.as_str() {
            wire::CLIENT_COPIED if !self.link.is_attached() => {
                return self.renew(SyncError::from_server(error.code, error.message, true));
            }
            wire::UNKNOWN_EPOCH | wire::BELOW_HORIZON | wire::RIGHTS_CHANGED => {
                return self.resync(SyncError::from_server(error.code, error.message, true));
            }
            _ => {}
        }
        // An earlier hello of our own, lost on its way through the network, may have come behind a newer one. A
        // WebSocket would have died before.
        error.retryable |= error.code == wire::REPLACED && self.config.poll_millis.is_some();
        let wait = error
            .retry_after
            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let back = comeback(&error.code, error.retryable, wait);
        if error.fatal || !self.link.is_attached() {
            if is_suspicious(&error.code) {
                self.blame();
            }
            let told = SyncError::from_server(error.code, error.message, error.retryable);
            return self.lose(told, back, close::NORMAL);
        }
        let resume = match wait {
            // The server knows to the millisecond when there is room again; what was in flight is refused as well, and
            // counts as no further failure.
            Some(wait) if error.code == wire::RATE_LIMITED => self.now.plus(wait),
            wait => self.now.plus(wait.unwrap_or(0).max(self.backoff.next())),
        };
        if self.fetch_refused(&error, resume) {
            return;
        }
        let told = SyncError::from_server(error.code, error.message, error.retryable);
        let Some(live) = self.link.live_mut() else {
            return;
        };
        let of_push = error.id.is_some_and(|id| live.push.is_flying(id));
        let of_pull = error.id.is_some_and(|id| live.pull.is_reading(id));
        match (of_push, of_pull) {
            // It answers something given up long ago, or a copy of it that the network made.
            (false, false) => return,
            // Somebody with this id has stored outcomes that this store has not: it is a copy, or was restored.
            (true, _) if told.code() == wire::UNKNOWN_NUMBER => return self.renew(told),
            _ if !error.retryable => return self.lose(told, back, close::NORMAL),
            (true, _) => {
                if told.code() == wire::RATE_LIMITED {
                    live.push.slow_down();
                }
                live.push.send_again_at(resume);
                self.bear_refusal(&told);
            }
            (_, true) => live.pull.read_again_at(resume),
        }
        self.stats.last_error = Some(told);
    }

    fn refused(&mut self, error: SyncError) {
        let back = comeback(error.code(), error.is_retryable(), None);
        let attached = self.link.is_attached();
        self.link = Link::Down;
        self.lost_from(error, back, attached);
    }

    fn closed(&mut self, code: Option<u16>, reason: &str) {
        let (error, back) = closing(code, reason);
        if error.code() == wire::UNKNOWN_EPOCH {
            self.link = Link::Down;
            return self.resync(error);
        }
        if code.is_none_or(|code| !is_explained(code)) {
            self.blame();
        }
        let attached = self.link.is_attached();
        self.link = Link::Down;
        self.lost_from(error, back, attached);
    }

    /// The connection ends, and what was on its way may be why.
    fn blame(&mut self) {
        if let Some((first, last)) = self.link.live().and_then(|live| live.push.unanswered()) {
            self.store.blame(first, last);
        }
    }

    /// Ends the connection from this side, because of `error`.
    fn lose(&mut self, error: SyncError, back: Return, code: u16) {
        let attached = self.link.is_attached();
        self.hang_up(code, error.code().to_owned());
        self.lost_from(error, back, attached);
    }

    fn hang_up(&mut self, code: u16, reason: impl Into<String>) {
        if !matches!(self.link, Link::Down) {
            self.link = Link::Down;
            self.effects.push(Effect::Close {
                code,
                reason: reason.into(),
            });
        }
    }

    /// There is no connection any more: decides when to come back, and who hears of it.
    fn lost_from(&mut self, error: SyncError, back: Return, was_attached: bool) {
        let another = self.config.renews || self.renewal.is_outdated();
        if self.running && another && renewal::needs_token(&error) {
            return self.token_refused(error, was_attached);
        }
        if self.running {
            let (wait, attention) = match back {
                Return::Now => (Some(self.backoff.first_free()), Attention::None),
                Return::Soon => (Some(self.backoff.next()), Attention::None),
                Return::After(wait) => (
                    Some(wait.saturating_add(self.backoff.next())),
                    Attention::None,
                ),
                Return::Slowly => (Some(self.backoff.slow()), Attention::Retrying),
                Return::Never => (None, Attention::Halted(error.clone())),
            };
            self.retry_at = wait
                .filter(|_| self.config.auto_retry)
                .map(|wait| self.now.plus(wait));
            if was_attached && self.config.auto_retry && matches!(attention, Attention::None) {
                self.bear_closure(&error);
            } else {
                self.fail_commands(&error);
            }
            self.attention = attention;
        }
        self.stats.last_error = Some(error);
    }

    fn check_deadlines(&mut self) {
        match &self.link {
            Link::Opening { deadline, .. } | Link::Greeting { deadline, .. }
                if *deadline <= self.now =>
            {
                let seconds = HANDSHAKE_MILLIS / 1_000;
                let error =
                    SyncError::timeout(format!("the server did not answer within {seconds} s"));
                self.lose(error, Return::Soon, close::TIMEOUT);
            }
            Link::Up(live) if live.is_dead(self.now) => {
                let error =
                    SyncError::timeout("nothing was heard of the server for three heartbeats");
                self.lose(error, Return::Soon, close::TIMEOUT);
            }
            Link::Up(live) if live.push_stalls(self.now) => {
                if live.was_heard() {
                    self.blame();
                }
                let error =
                    SyncError::timeout("the server did not answer a push for two heartbeats");
                self.lose(error, Return::Soon, close::TIMEOUT);
            }
            Link::Up(_) => match self.answer_due() {
                Some(Due::GiveUp(due)) if due <= self.now => self.unanswered(due),
                _ => self.beat(),
            },
            _ => {}
        }
    }

    /// What a live connection does by the clock.
    fn beat(&mut self) {
        let (now, behind) = (self.now, self.is_owed());
        if matches!(self.answer_due(), Some(Due::Ask(at)) if at <= now) {
            self.ping();
        }
        let Link::Up(live) = &mut self.link else {
            return;
        };
        live.push.resume(now);
        live.pull.resume(now);
        live.fetch.resume(now);
        if live.pull.is_stalled(now, behind, live.patience) {
            live.pull.read_again_at(now);
            live.pull.resume(now);
        }
        if live.ping_due(now) {
            live.pinged(now);
            self.ping();
        }
    }

    fn send(&mut self, message: &ClientMessage) {
        self.effects.push(Effect::Send(encode_client(message)));
    }

    fn set_timer(&mut self) {
        let deadline = match &self.link {
            Link::Down if self.running && self.store.is_ready() => self.retry_at,
            Link::Down => self.retry_at.filter(|at| self.running && *at > self.now),
            Link::Opening { deadline, .. } | Link::Greeting { deadline, .. } => Some(*deadline),
            Link::Up(live) => Some(self.live_deadline(live)),
        };
        let renewal = self.renewal.due_at().filter(|_| self.running);
        let deadline = deadline.into_iter().chain(renewal).min();
        if deadline != self.deadline {
            self.deadline = deadline;
            self.effects.push(Effect::Timer(deadline));
        }
    }

    fn live_deadline(&self, live: &Live) -> Moment {
        let mut deadline = live.next_ping().min(live.idle_until().plus(1));
        let also = [
            live.push_stalls_at(),
            live.push.resumes_at(),
            live.fetch.resumes_at(),
            live.pull.resumes_at(),
        ];
        let stalled = Some(live.pull.stalls_at(live.patience))
            .filter(|_| (self.config.pulls() || self.store.is_resyncing()) && self.is_owed());
        let answer = self.answer_due().map(|due| match due {
            Due::Ask(at) | Due::GiveUp(at) => at,
        });
        for moment in also.into_iter().chain([stalled, answer]).flatten() {
            deadline = deadline.min(moment);
        }
        // What is due already is being done, and only waits for the store or the server.
        deadline.max(self.now.plus(1))
    }
}
