//! The error of sync, with a stable code for what the application can do.

use std::borrow::Cow;
use std::fmt;

use pocket_sync_protocol::ProtocolError;

use crate::codes;

/// Why sync does not get on, with a stable [`code`](SyncError::code).
///
/// It lies behind one pointer, so that a result that may be one is small wherever it is passed on.
#[derive(Clone, PartialEq, Eq)]
pub struct SyncError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    code: Cow<'static, str>,
    message: String,
    retryable: bool,
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for SyncError {}

impl SyncError {
    /// An error that stays until somebody does something about it.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Self::of(code.into(), message.to_string(), false)
    }

    /// An error that may go away by itself; the engine tries again.
    pub fn retryable(code: impl Into<Cow<'static, str>>, message: impl fmt::Display) -> Self {
        Self::of(code.into(), message.to_string(), true)
    }

    // Never inlined: it is made in many places.
    #[inline(never)]
    fn of(code: Cow<'static, str>, message: String, retryable: bool) -> Self {
        Self(Box::new(Inner {
            code,
            message,
            retryable,
        }))
    }

    /// The stable code; `docs/errors.md` says what to do about each.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What happened and what to do.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same may succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    pub(crate) fn from_server(code: String, message: String, retryable: bool) -> Self {
        Self::of(code.into(), message, retryable)
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
        write!(f, "SyncError[{}]: {}", self.code(), self.message())
    }
}

impl From<pocket_core::Error> for SyncError {
    fn from(error: pocket_core::Error) -> Self {
        let code = error.code().into();
        Self::of(code, error.to_string(), error.is_retryable())
    }
}

/// A defect of the other side, or of the way between: a new connection may do better.
impl From<ProtocolError> for SyncError {
    fn from(error: ProtocolError) -> Self {
        let retryable = !matches!(
            error,
            ProtocolError::VersionMismatch { .. } | ProtocolError::CriticalField { .. }
        );
        Self::of(error.code().into(), error.to_string(), retryable)
    }
}
