//! Why a connection has ended, and when to come back.

use pocket_sync_protocol::codes::{self as wire, close};

use crate::{SyncError, codes};

/// When to come back after a connection has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Return {
    /// At once if this is the first failure in a row, else after the next delay.
    Now,
    /// After the next delay.
    Soon,
    /// After this many milliseconds at the least, because the server said so.
    After(u64),
    /// Slowly, and with the status `error`.
    Slowly,
    /// Not before a start or another token, and with the status `error`.
    Never,
}

/// Whether an error that ends the connection may be about what was sent on it.
pub(super) fn is_suspicious(code: &str) -> bool {
    matches!(
        code,
        wire::BAD_FRAME
            | wire::TOO_LARGE
            | wire::UNEXPECTED_MESSAGE
            | wire::CRITICAL_FIELD
            | wire::INTERNAL
    )
}

/// Whether a close code says why, and that this has nothing to do with what was sent.
pub(super) fn is_explained(code: u16) -> bool {
    !matches!(
        code,
        close::BAD_FRAME | close::TOO_LARGE | close::INTERNAL | 1002..=1010
    )
}

/// When to come back after an error of this code.
pub(super) fn comeback(code: &str, retryable: bool, wait: Option<u64>) -> Return {
    match code {
        wire::OTHER_USER | codes::OTHER_LINEAGE | codes::OTHER_NAMESPACE => Return::Never,
        // A defect of one side: a new connection may do better, and the delay grows while it does not.
        wire::BAD_FRAME | wire::UNEXPECTED_MESSAGE | wire::TOO_LARGE => Return::Soon,
        _ => match wait {
            Some(wait) if retryable => Return::After(wait),
            _ if retryable => Return::Soon,
            _ => Return::Slowly,
        },
    }
}

/// What a close frame without an error message before it means.
pub(super) fn closing(code: Option<u16>, reason: &str) -> (SyncError, Return) {
    let told = |what: &str| match reason {
        "" => what.to_owned(),
        reason => format!("{what}: {reason}"),
    };
    let named = match code {
        Some(close::UNAUTHORIZED) => Some((wire::UNAUTHORIZED, "the server refused the token")),
        Some(close::TOKEN_EXPIRED) => Some((wire::TOKEN_EXPIRED, "the token has expired")),
        Some(close::FORBIDDEN) => Some((wire::FORBIDDEN, "the server refused the namespace")),
        Some(close::VERSION) => Some((
            wire::VERSION_MISMATCH,
            "the server speaks no common protocol version",
        )),
        Some(close::REPLACED) => Some((wire::REPLACED, "another session of this client has begun")),
        Some(close::CHECKPOINT) => Some((
            wire::UNKNOWN_EPOCH,
            "the server does not know this checkpoint",
        )),
        _ => None,
    };
    if let Some((code, what)) = named {
        return (
            SyncError::new(code, told(what)),
            comeback(code, false, None),
        );
    }
    let what = match code {
        // Over HTTP the server forgets who stays away for long: nothing is wrong.
        Some(close::GONE) => {
            let what = told("the server does not know the connection any more");
            return (SyncError::connect(what), Return::Now);
        }
        Some(close::GOING_AWAY | close::RESTART) => "the server went away for a while".to_owned(),
        Some(code) => format!("the server closed the connection with code {code}"),
        None => "the connection was lost".to_owned(),
    };
    (SyncError::connect(told(&what)), Return::Soon)
}
