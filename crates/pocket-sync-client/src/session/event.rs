//! What goes into a session and what comes out of it.

use std::fmt;

use bytes::Bytes;
use pocket_core::replica::{
    Answer, Applied, Attachment, Blamed, Claim, Conflict, IncomingPage, ReplicaState, Resent,
    Resolved, Scope, Settled, Verified,
};
use pocket_core::{
    ClientId, CollectionName, DocumentId, MutationNumber, Outcome, Pinned, PushLimit,
};
use pocket_sync_protocol::{Direction, WireLimits};

use crate::config::ANSWER_MILLIS;
use crate::{AuthReason, Moment, Snapshot, SyncError};

/// What a session must know from the start.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// The namespace to open.
    pub namespace: String,
    /// The token that says who this is.
    pub token: Option<String>,
    /// Whether the hello carries the token; otherwise the transport has another place for it.
    pub token_in_hello: bool,
    /// The collections that sync.
    pub scope: Scope,
    /// Which way changes flow.
    pub direction: Direction,
    /// Changes per push, and records per page while catching up.
    pub batch_size: usize,
    /// Whether to connect again by itself.
    pub auto_retry: bool,
    /// Whether somebody answers [`Effect::Renew`].
    pub renews: bool,
    /// The first delay before connecting again, in milliseconds.
    pub retry_delay_millis: u64,
    /// Milliseconds between two looks at the server, where it cannot speak by itself; zero looks only when there is a
    /// reason. None: the server's own heartbeat.
    pub poll_millis: Option<u64>,
    /// Lost connections that one command bears.
    pub max_retry_attempts: u32,
    /// Milliseconds without a word of the server after which a connection is given up, while a command waits.
    pub answer_millis: u64,
    /// Decides the jitter. Two clients should not share one.
    pub seed: u64,
    /// The program and its version, for the server's log.
    pub agent: String,
    /// What a frame of the server may cost.
    pub limits: WireLimits,
}

impl SessionConfig {
    /// The defaults, for these collections.
    pub fn new(scope: Scope) -> Self {
        Self {
            namespace: "default".to_owned(),
            token: None,
            token_in_hello: true,
            scope,
            direction: Direction::Both,
            batch_size: 100,
            auto_retry: true,
            renews: false,
            retry_delay_millis: 1_000,
            poll_millis: None,
            max_retry_attempts: 5,
            answer_millis: ANSWER_MILLIS,
            seed: 0,
            agent: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: WireLimits::default(),
        }
    }

    pub(crate) fn pushes(&self) -> bool {
        self.direction != Direction::Pull
    }

    pub(crate) fn pulls(&self) -> bool {
        self.direction != Direction::Push
    }
}

/// The token is left out: configurations end up in logs.
impl fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionConfig")
            .field("namespace", &self.namespace)
            .field("scope", &self.scope)
            .field("direction", &self.direction)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// What happened, as the driver saw it.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an event is handed over once and never kept"
)]
pub enum Event {
    /// Begin, or begin again after a stop. Clears an error that only a person could clear.
    Start,
    /// End the connection and stay away.
    Stop,
    /// The connection is open.
    Opened {
        /// The number that [`Effect::Open`] gave.
        connection: u64,
    },
    /// The connection could not be opened, or the server ended it and said why.
    Refused {
        /// The number that [`Effect::Open`] gave.
        connection: u64,
        /// Why.
        error: SyncError,
    },
    /// The connection has ended.
    Closed {
        /// The number that [`Effect::Open`] gave.
        connection: u64,
        /// The code of the other side's close frame.
        code: Option<u16>,
        /// What it said, or what broke.
        reason: String,
    },
    /// The server said something.
    Frame {
        /// The number that [`Effect::Open`] gave.
        connection: u64,
        /// One whole binary message.
        bytes: Bytes,
    },
    /// The moment of the last [`Effect::Timer`] has come. Too early or too often does no harm.
    Timer,
    /// A local write entered the outbox.
    OutboxGrew,
    /// The store has answered the one request under way.
    Stored(StoreAnswer),
    /// The application has answered a batch of [`Effect::Ask`].
    Answered {
        /// The number that [`Effect::Ask`] gave.
        batch: u64,
        /// An answer to each of its conflicts.
        answers: Vec<Answer>,
    },
    /// Somebody waits for a complete pass.
    Command {
        /// What [`Effect::Finished`] repeats.
        id: u64,
        /// What the pass must complete.
        pass: Pass,
    },
    /// The answer to [`Effect::Renew`]: another token, or why there is none.
    Renewed(Result<String, String>),
    /// There is another token.
    TokenChanged(Option<String>),
}

/// What a command must complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Everything the session's direction allows.
    Both,
    /// All that was in the outbox has its outcome.
    Push,
    /// All that the server had is here.
    Pull,
}

/// What the driver shall do, in this order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Open a connection; its events carry this number.
    Open {
        /// Rises with each connection.
        connection: u64,
    },
    /// Close the connection opened last, or give up opening it. Its further events are ignored.
    Close {
        /// For the close frame.
        code: u16,
        /// For the close frame.
        reason: String,
    },
    /// Send this on the connection opened last.
    Send(Bytes),
    /// Ask the store. There is never more than one request without an answer.
    Store {
        /// Who the store is to be for it, as far as that was read: it refuses once it is somebody else.
        client: Option<ClientId>,
        /// What.
        request: StoreRequest,
    },
    /// Ask the application about these conflicts, all at the same time, and wait for none longer than its deadline.
    /// Everything else goes on meanwhile. After a stop nobody waits for the answers.
    Ask {
        /// Rises with each batch. There is never a second one before the first is answered.
        batch: u64,
        /// What it shall decide.
        conflicts: Vec<Conflict>,
    },
    /// Ask the application for another token, and answer with [`Event::Renewed`] in any case. There is never a second
    /// question before the answer.
    Renew(AuthReason),
    /// Send [`Event::Timer`] at this moment, and no longer at the one told before.
    Timer(Option<Moment>),
    /// This is how things stand now.
    Publish(Box<Snapshot>),
    /// A command is done.
    Finished {
        /// The command.
        id: u64,
        /// How it went.
        result: Result<(), SyncError>,
    },
}

/// What the store shall do; [`perform`](crate::store::perform) does it.
#[derive(Clone, Debug)]
pub enum StoreRequest {
    /// Read where the replica stands.
    Load,
    /// Store the binding and the session token.
    Attach(Attachment),
    /// Number the next unsent mutations.
    Pin(PushLimit),
    /// Read numbered mutations again.
    Resend {
        /// From this number on.
        from: MutationNumber,
        /// How many.
        limit: PushLimit,
    },
    /// A connection ended while these mutations were on their way, and one of them may be why.
    Blame {
        /// The number of the first.
        first: MutationNumber,
        /// The number of the last.
        last: MutationNumber,
    },
    /// Store what became of mutations.
    Settle {
        /// The number of the first outcome.
        first: MutationNumber,
        /// The outcomes, contiguous.
        outcomes: Vec<Outcome>,
    },
    /// Store a page.
    Apply(IncomingPage),
    /// Name the documents whose records conflicts wait for.
    Waiting,
    /// Store what the application answered, and name the conflicts that still wait for an answer.
    Resolve(Vec<Answer>),
    /// Take another client id: this store is a copy, or was restored.
    Renew,
    /// Begin to read everything again.
    Resync,
    /// Remove some of what a resync did not see.
    Sweep,
    /// Compare what is here with what the server says it should be.
    Verify(Claim),
}

impl StoreRequest {
    /// Which kind it is.
    pub fn kind(&self) -> StoreRequestKind {
        match self {
            Self::Load => StoreRequestKind::Load,
            Self::Attach(_) => StoreRequestKind::Attach,
            Self::Pin(_) => StoreRequestKind::Pin,
            Self::Resend { .. } => StoreRequestKind::Resend,
            Self::Blame { .. } => StoreRequestKind::Blame,
            Self::Settle { .. } => StoreRequestKind::Settle,
            Self::Apply(_) => StoreRequestKind::Apply,
            Self::Waiting => StoreRequestKind::Waiting,
            Self::Resolve(_) => StoreRequestKind::Resolve,
            Self::Renew => StoreRequestKind::Renew,
            Self::Resync => StoreRequestKind::Resync,
            Self::Sweep => StoreRequestKind::Sweep,
            Self::Verify(_) => StoreRequestKind::Verify,
        }
    }
}

/// The kinds of [`StoreRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreRequestKind {
    /// [`StoreRequest::Load`].
    Load,
    /// [`StoreRequest::Attach`].
    Attach,
    /// [`StoreRequest::Pin`].
    Pin,
    /// [`StoreRequest::Resend`].
    Resend,
    /// [`StoreRequest::Blame`].
    Blame,
    /// [`StoreRequest::Settle`].
    Settle,
    /// [`StoreRequest::Apply`].
    Apply,
    /// [`StoreRequest::Waiting`].
    Waiting,
    /// [`StoreRequest::Resolve`].
    Resolve,
    /// [`StoreRequest::Renew`].
    Renew,
    /// [`StoreRequest::Resync`].
    Resync,
    /// [`StoreRequest::Sweep`].
    Sweep,
    /// [`StoreRequest::Verify`].
    Verify,
}

/// What the store answers.
#[derive(Clone, Debug)]
pub enum StoreAnswer {
    /// To a load.
    Loaded(ReplicaState),
    /// To an attach.
    Attached(ReplicaState),
    /// To a pin: what was numbered.
    Pinned(Pinned),
    /// To a resend.
    Resent(Resent),
    /// To a blame.
    Blamed(Blamed),
    /// To a settle.
    Settled(Settled),
    /// To an apply.
    Applied(Applied),
    /// To a resolve.
    Resolved(Resolved),
    /// To a question for those that wait.
    Waiting(Vec<(CollectionName, DocumentId)>),
    /// To a renewal.
    Renewed(ReplicaState),
    /// To the beginning of a resync.
    Resyncing(ReplicaState),
    /// To a sweep.
    Swept(Applied),
    /// To a comparison.
    Verified(Verified),
    /// To any: nothing of it is stored, or nothing is known.
    Failed {
        /// What was asked.
        request: StoreRequestKind,
        /// Why.
        error: pocket_core::Error,
    },
}
