//! The error of sync, with a stable code for what the application can do.

use std::borrow::Cow;
use std::fmt;

use pocket_sync_protocol::ProtocolError;

use crate::codes;

/// Why sync does not get on, with a stable [`code`](SyncError::code).
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyncError {
    code: Cow<'static, str>,
    message: String,
    retryable: bool,
}

impl SyncError {
    /// An error that stays until somebody does something about it.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Self {
            code: code.into(),
            message: message.to_string(),
            retryable: false,
        }
    }

    /// An error that may go away by itself; the engine tries again.
    pub fn retryable(code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Self {
            code: code.into(),
            message: message.to_string(),
            retryable: true,
        }
    }

    /// The stable code; `docs/errors.md` says what to do about each.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// What happened and what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same may succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    pub(crate) fn from_server(code: String, message: String, retryable: bool) -> Self {
        Self {
            code: code.into(),
            message,
            retryable,
        }
    }

    pub(crate) fn connect(message: impl fmt::Display) -> Self {
        Self::retryable(codes::CONNECT, message)
    }

    pub(crate) fn timeout(message: impl fmt::Display) -> Self {
        Self::retryable(codes::TIMEOUT, message)
    }

    pub(crate) fn config(message: impl fmt::Display) -> Self {
        Self::new(codes::CONFIG, message)
    }

    pub(crate) fn stopped() -> Self {
        Self::new(
            codes::STOPPED,
            "the sync engine does not run; call `start` first",
        )
    }

    pub(crate) fn destroyed() -> Self {
        Self::new(
            codes::DESTROYED,
            "the sync engine was destroyed; make a new one",
        )
    }
}

impl fmt::Debug for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncError[{}]: {}", self.code, self.message)
    }
}

impl From<pocket_core::Error> for SyncError {
    fn from(error: pocket_core::Error) -> Self {
        Self {
            code: error.code().into(),
            message: error.to_string(),
            retryable: error.is_retryable(),
        }
    }
}

/// A defect of the other side, or of the way between: a new connection may do better.
impl From<ProtocolError> for SyncError {
    fn from(error: ProtocolError) -> Self {
        let retryable = !matches!(
            error,
            ProtocolError::VersionMismatch { .. } | ProtocolError::CriticalField { .. }
        );
        Self {
            code: error.code().into(),
            message: error.to_string(),
            retryable,
        }
    }
}
