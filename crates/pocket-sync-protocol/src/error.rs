//! Why a frame or a message was refused.

use crate::codes::{self, close};
use crate::version::VersionRange;

/// A refused frame or message; each ends the connection it came on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The frame is larger than the receiver takes.
    #[error("a frame of {bytes} bytes is over the limit of {limit}; send less at once")]
    TooLarge {
        /// The size of the frame.
        bytes: usize,
        /// What the receiver takes.
        limit: usize,
    },
    /// The message holds more changes, mutations or records than any may.
    #[error(
        "a message of {count} changes or records is over the limit of {limit}; send less at once"
    )]
    TooMany {
        /// How many it holds.
        count: usize,
        /// What any message may hold.
        limit: usize,
    },
    /// The bytes are no message of this protocol.
    #[error("bad frame: {reason}")]
    BadFrame {
        /// What is wrong, and where.
        reason: String,
    },
    /// A field that must not be skipped is unknown here.
    #[error("the field {field:?} must be understood but is unknown here; update this side")]
    CriticalField {
        /// The field's name.
        field: String,
    },
    /// A message that this side does not take, or not now.
    #[error("unexpected message {name:?}")]
    UnexpectedMessage {
        /// The message's name.
        name: String,
    },
    /// The two sides speak no common version.
    #[error("no common protocol version: this side speaks {ours}, the other {theirs}; update one")]
    VersionMismatch {
        /// What this side speaks.
        ours: VersionRange,
        /// What the other side speaks.
        theirs: VersionRange,
    },
}

impl ProtocolError {
    /// A bad frame, for this reason.
    pub fn bad_frame(reason: impl Into<String>) -> Self {
        Self::BadFrame {
            reason: reason.into(),
        }
    }

    /// The stable code; see [`codes`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::TooMany { .. } => codes::TOO_LARGE,
            Self::BadFrame { .. } => codes::BAD_FRAME,
            Self::CriticalField { .. } => codes::CRITICAL_FIELD,
            Self::UnexpectedMessage { .. } => codes::UNEXPECTED_MESSAGE,
            Self::VersionMismatch { .. } => codes::VERSION_MISMATCH,
        }
    }

    /// The WebSocket close code that follows it.
    pub fn close_code(&self) -> u16 {
        codes::info(self.code())
            .and_then(|info| info.close)
            .unwrap_or(close::BAD_FRAME)
    }
}
