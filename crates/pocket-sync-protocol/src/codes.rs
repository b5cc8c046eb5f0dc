//! The stable codes of errors and rejections, and the close codes of a connection.

/// Close codes of the WebSocket connection.
pub mod close {
    /// Done; nothing is wrong.
    pub const NORMAL: u16 = 1000;
    /// The server goes away for a while: come back.
    pub const GOING_AWAY: u16 = 1001;
    /// Something broke inside the server: come back later.
    pub const INTERNAL: u16 = 1011;
    /// The server restarts: come back.
    pub const RESTART: u16 = 1012;
    /// The frame was no message of this protocol.
    pub const BAD_FRAME: u16 = 4400;
    /// The token is missing or wrong.
    pub const UNAUTHORIZED: u16 = 4401;
    /// The token has expired: get a new one.
    pub const TOKEN_EXPIRED: u16 = 4402;
    /// The user may not open this namespace.
    pub const FORBIDDEN: u16 = 4403;
    /// No common protocol version.
    pub const VERSION: u16 = 4406;
    /// The handshake took too long, or nothing was heard for too long.
    pub const TIMEOUT: u16 = 4408;
    /// Another session has this client id, or another user does.
    pub const REPLACED: u16 = 4409;
    /// The checkpoint does not belong to this server's history.
    pub const CHECKPOINT: u16 = 4410;
    /// The server does not know this HTTP connection any more: come back at once.
    pub const GONE: u16 = 4411;
    /// The message was too large.
    pub const TOO_LARGE: u16 = 4413;
    /// Too many messages, bytes or connections: come back later.
    pub const TOO_MANY: u16 = 4429;

    /// Whether a client that was closed with this code comes back by itself.
    ///
    /// It does unless the code says that nothing can change without somebody's help.
    pub fn comes_back(code: Option<u16>) -> bool {
        !matches!(
            code,
            Some(UNAUTHORIZED | TOKEN_EXPIRED | FORBIDDEN | VERSION | REPLACED | CHECKPOINT)
        )
    }
}

/// What is known about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeInfo {
    /// The code.
    pub code: &'static str,
    /// Whether the same request may succeed later without a change by the client.
    pub retryable: bool,
    /// The close code that follows an `error` of this code, when it ends the connection.
    pub close: Option<u16>,
    /// What to do about it, in a sentence.
    pub advice: &'static str,
}

/// The token is missing or wrong.
pub const UNAUTHORIZED: &str = "unauthorized";
/// The token was right once and is too old.
pub const TOKEN_EXPIRED: &str = "token-expired";
/// The user may not open this namespace.
pub const FORBIDDEN: &str = "forbidden";
/// The two sides speak no common protocol version.
pub const VERSION_MISMATCH: &str = "version-mismatch";
/// The bytes are no message of this protocol.
pub const BAD_FRAME: &str = "bad-frame";
/// The message is larger than the receiver takes.
pub const TOO_LARGE: &str = "too-large";
/// A message of a kind that is not taken, or not at this point.
pub const UNEXPECTED_MESSAGE: &str = "unexpected-message";
/// A field whose name begins with `!` is unknown here.
pub const CRITICAL_FIELD: &str = "critical-field";
/// No `hello` came in time.
pub const HANDSHAKE_TIMEOUT: &str = "handshake-timeout";
/// Nothing was heard of the client for too long.
pub const IDLE_TIMEOUT: &str = "idle-timeout";
/// This client id belongs to another user.
pub const OTHER_USER: &str = "other-user";
/// The session token is neither the last issued nor the last presented one.
pub const CLIENT_COPIED: &str = "client-copied";
/// The checkpoint names an epoch this log never had, or a place beyond it.
pub const UNKNOWN_EPOCH: &str = "unknown-epoch";
/// The checkpoint is older than what the server remembers of deletions.
pub const BELOW_HORIZON: &str = "below-horizon";
/// The user's rights to read are not those the checkpoint was read with.
pub const RIGHTS_CHANGED: &str = "rights-changed";
/// An earlier mutation is missing.
pub const GAP: &str = "gap";
/// The number is confirmed, and its outcome is no longer kept.
pub const UNKNOWN_NUMBER: &str = "unknown-number";
/// The server could not do it now.
pub const RETRY_LATER: &str = "retry-later";
/// Too many messages or bytes.
pub const RATE_LIMITED: &str = "rate-limited";
/// The server stops or restarts.
pub const GOING_AWAY: &str = "going-away";
/// The server does not know this HTTP connection any more.
pub const CONNECTION_GONE: &str = "connection-gone";
/// A newer session of the same client has begun.
pub const REPLACED: &str = "replaced";
/// A stored document does not fit into a message any more.
pub const RECORD_TOO_LARGE: &str = "record-too-large";
/// The server's disk is full.
pub const SERVER_FULL: &str = "server-full";
/// Something broke inside the server.
pub const INTERNAL: &str = "internal";

/// Every code an `error` message may carry.
pub const ERRORS: &[CodeInfo] = &[
    never(
        UNAUTHORIZED,
        Some(close::UNAUTHORIZED),
        "Set another token.",
    ),
    never(
        TOKEN_EXPIRED,
        Some(close::TOKEN_EXPIRED),
        "Get a new token and connect again.",
    ),
    never(
        FORBIDDEN,
        Some(close::FORBIDDEN),
        "Ask for the right, or open another namespace.",
    ),
    never(
        VERSION_MISMATCH,
        Some(close::VERSION),
        "Update the older side.",
    ),
    never(
        BAD_FRAME,
        Some(close::BAD_FRAME),
        "A defect of the sender; connect again and report it.",
    ),
    never(
        TOO_LARGE,
        Some(close::TOO_LARGE),
        "Send fewer changes at once; the limits stand in `welcome`.",
    ),
    never(
        UNEXPECTED_MESSAGE,
        Some(close::BAD_FRAME),
        "A defect of the sender; connect again and report it.",
    ),
    never(
        CRITICAL_FIELD,
        Some(close::BAD_FRAME),
        "Update the receiver, or do not use what needs the field.",
    ),
    later(HANDSHAKE_TIMEOUT, Some(close::TIMEOUT), "Connect again."),
    later(
        IDLE_TIMEOUT,
        Some(close::TIMEOUT),
        "Connect again; send pings.",
    ),
    never(
        OTHER_USER,
        Some(close::REPLACED),
        "Use the first user's token, or a new database.",
    ),
    never(
        CLIENT_COPIED,
        Some(close::REPLACED),
        "The database was copied or restored: it needs a client id of its own.",
    ),
    never(
        UNKNOWN_EPOCH,
        Some(close::CHECKPOINT),
        "The server was restored or is another one: resync.",
    ),
    never(BELOW_HORIZON, Some(close::CHECKPOINT), "Resync."),
    never(RIGHTS_CHANGED, Some(close::CHECKPOINT), "Resync."),
    later(GAP, None, "Send again from the number that is expected."),
    never(
        UNKNOWN_NUMBER,
        None,
        "Never send a number again after confirming it.",
    ),
    later(
        RETRY_LATER,
        None,
        "Send the same again after `retry_after`.",
    ),
    later(
        RATE_LIMITED,
        Some(close::TOO_MANY),
        "Send the same again after `retry_after`.",
    ),
    later(GOING_AWAY, Some(close::GOING_AWAY), "Connect again."),
    later(CONNECTION_GONE, Some(close::GONE), "Connect again at once."),
    never(
        REPLACED,
        Some(close::REPLACED),
        "Nothing; one session of a client is enough.",
    ),
    later(
        RECORD_TOO_LARGE,
        Some(close::INTERNAL),
        "Connect again later; whoever runs the server raises its limit of messages.",
    ),
    later(
        SERVER_FULL,
        Some(close::INTERNAL),
        "Send the same again after `retry_after`; whoever runs the server makes room.",
    ),
    later(
        INTERNAL,
        Some(close::INTERNAL),
        "Connect again later; the server's log says more.",
    ),
];

/// The codes of rejected mutations. All are final: the number is used up.
pub mod rejection {
    use super::{CodeInfo, never};

    /// A revision is too far ahead of the server's clock.
    pub const CLOCK: &str = "clock";
    /// The document or the mutation breaks a rule.
    pub const VALIDATION: &str = "validation";
    /// The document is larger than the server takes.
    pub const DOCUMENT_TOO_LARGE: &str = "document-too-large";
    /// The mutation has more changes than the server takes.
    pub const TOO_MANY_CHANGES: &str = "too-many-changes";
    /// The user may not do this.
    pub const FORBIDDEN: &str = "forbidden";
    /// The namespace has as many documents or bytes as it may have.
    pub const QUOTA: &str = "quota";
    /// The document's id is empty, too long or contains NUL.
    pub const BAD_ID: &str = "bad-id";
    /// The collection's name does not match the rule or is reserved.
    pub const BAD_COLLECTION_NAME: &str = "bad-collection-name";

    /// Every code a rejected outcome may carry.
    pub const REJECTIONS: &[CodeInfo] = &[
        never(
            CLOCK,
            None,
            "Set the clock by the outcome's server time, stamp the change anew and send it as a new mutation.",
        ),
        never(VALIDATION, None, "Correct the document."),
        never(
            DOCUMENT_TOO_LARGE,
            None,
            "Make the document smaller; the limit stands in `welcome`.",
        ),
        never(
            TOO_MANY_CHANGES,
            None,
            "Split the transaction; the limit stands in `welcome`.",
        ),
        never(FORBIDDEN, None, "Ask for the right."),
        never(
            QUOTA,
            None,
            "Delete what is not needed, or ask for more room.",
        ),
        never(BAD_ID, None, "Use 1 to 256 bytes of UTF-8 without NUL."),
        never(
            BAD_COLLECTION_NAME,
            None,
            "Use a letter, then up to 63 letters, digits, `_` or `-`.",
        ),
    ];
}

const fn later(code: &'static str, close: Option<u16>, advice: &'static str) -> CodeInfo {
    CodeInfo {
        code,
        retryable: true,
        close,
        advice,
    }
}

const fn never(code: &'static str, close: Option<u16>, advice: &'static str) -> CodeInfo {
    CodeInfo {
        code,
        retryable: false,
        close,
        advice,
    }
}

/// What is known about an error code; none for one this crate does not know.
pub fn info(code: &str) -> Option<&'static CodeInfo> {
    ERRORS.iter().find(|info| info.code == code)
}

/// Whether an error of this code may go away by itself. An unknown code may not.
pub fn retryable(code: &str) -> bool {
    info(code).is_some_and(|info| info.retryable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_once_and_is_kebab_case() {
        for list in [ERRORS, rejection::REJECTIONS] {
            for (place, info) in list.iter().enumerate() {
                let kebab = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
                assert!(info.code.bytes().all(kebab), "{}", info.code);
                assert!(list[..place].iter().all(|other| other.code != info.code));
            }
        }
    }

    #[test]
    fn a_fatal_error_that_can_be_retried_closes_with_a_code_that_says_come_back() {
        for info in ERRORS
            .iter()
            .filter(|info| info.retryable && info.close.is_some())
        {
            assert!(close::comes_back(info.close), "{}", info.code);
        }
        assert!(!close::comes_back(Some(close::UNAUTHORIZED)));
        assert!(close::comes_back(None));
    }

    #[test]
    fn an_unknown_code_is_not_retryable() {
        assert!(!retryable("made-up"));
        assert!(retryable(RETRY_LATER));
    }
}
