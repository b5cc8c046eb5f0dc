//! What a session hears and what it wants done.

use std::time::Duration;

use bytes::Bytes;
use pocket_core::{Seq, Timestamp};

use crate::Namespace;
use crate::auth::{Access, AuthError, Secret};
use crate::decide::{DocumentKey, PushAnswer, PushRequest};
use crate::engine::{AttachRequest, Attached, EngineResult, FeedPage, Fetched, ReadRequest};
use crate::rules::{Authority, Rules};

/// Milliseconds of a clock that never jumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    pub(super) fn after(self, wait: Duration) -> Self {
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
        token: Option<Secret>,
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
    /// So much of what was sent waits for the client to take it that nothing more is to be read for it.
    Full,
    /// What was sent has gone, and there is room again.
    Room,
    /// The deadline of the last [`Effect::Timer`] has passed.
    Timer,
    /// Tokens, users or rules have changed, and these are the rules now: whoever is let in by a token is asked for it
    /// again, at once.
    RightsChanged(Rules),
    /// A newer session of the same client has begun.
    Replaced,
    /// Somebody wants this connection to end; the client may come back.
    Disconnect,
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
        token: Option<Secret>,
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
        /// Whose eyes they are for.
        authority: Authority,
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
