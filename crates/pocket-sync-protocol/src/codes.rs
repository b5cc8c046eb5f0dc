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
    /// The token is missing, wrong or expired.
    pub const UNAUTHORIZED: u16 = 4401;
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
    /// The message was too large.
    pub const TOO_LARGE: u16 = 4413;
    /// Too many messages, bytes or connections: come back later.
    pub const TOO_MANY: u16 = 4429;

    /// Whether a client that was closed with this code comes back by itself.
    pub fn comes_back(code: Option<u16>) -> bool {
        match code {
            None => true,
            Some(code) => code < 4000 || matches!(code, TIMEOUT | TOO_MANY),
        }
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

macro_rules! catalogue {
    ($(#[$list_doc:meta])* $list:ident: $($(#[$doc:meta])* $name:ident = $code:literal, $retryable:literal, $close:expr, $advice:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $code;)*

        $(#[$list_doc])*
        pub const $list: &[CodeInfo] = &[$(CodeInfo { code: $code, retryable: $retryable, close: $close, advice: $advice }),*];
    };
}

catalogue! {
    /// Every code an `error` message may carry.
    ERRORS:
    /// The token is missing or wrong.
    UNAUTHORIZED = "unauthorized", false, Some(close::UNAUTHORIZED), "Set another token.";
    /// The token was right once and is too old.
    TOKEN_EXPIRED = "token-expired", false, Some(close::UNAUTHORIZED), "Get a new token and connect again.";
    /// The user may not open this namespace.
    FORBIDDEN = "forbidden", false, Some(close::FORBIDDEN), "Ask for the right, or open another namespace.";
    /// The two sides speak no common protocol version.
    VERSION_MISMATCH = "version-mismatch", false, Some(close::VERSION), "Update the older side.";
    /// The bytes are no message of this protocol.
    BAD_FRAME = "bad-frame", false, Some(close::BAD_FRAME), "A defect of the sender; connect again and report it.";
    /// The message is larger than the receiver takes.
    TOO_LARGE = "too-large", false, Some(close::TOO_LARGE), "Send fewer changes at once; the limits stand in `welcome`.";
    /// A message of a kind that is not taken, or not at this point.
    UNEXPECTED_MESSAGE = "unexpected-message", false, Some(close::BAD_FRAME), "A defect of the sender; connect again and report it.";
    /// A field whose name begins with `!` is unknown here.
    CRITICAL_FIELD = "critical-field", false, Some(close::BAD_FRAME), "Update the receiver, or do not use what needs the field.";
    /// No `hello` came in time.
    HANDSHAKE_TIMEOUT = "handshake-timeout", true, Some(close::TIMEOUT), "Connect again.";
    /// Nothing was heard of the client for too long.
    IDLE_TIMEOUT = "idle-timeout", true, Some(close::TIMEOUT), "Connect again; send pings.";
    /// This client id belongs to another user.
    OTHER_USER = "other-user", false, Some(close::REPLACED), "Use the first user's token, or a new database.";
    /// The session token is neither the last issued nor the last presented one.
    CLIENT_COPIED = "client-copied", false, Some(close::REPLACED), "The database was copied or restored: it needs a client id of its own.";
    /// The checkpoint names an epoch this log never had, or a place beyond it.
    UNKNOWN_EPOCH = "unknown-epoch", false, Some(close::CHECKPOINT), "The server was restored or is another one: resync.";
    /// The checkpoint is older than what the server remembers of deletions.
    BELOW_HORIZON = "below-horizon", false, Some(close::CHECKPOINT), "Resync.";
    /// An earlier mutation is missing.
    GAP = "gap", true, None, "Send again from the number that is expected.";
    /// The number is confirmed, and its outcome is no longer kept.
    UNKNOWN_NUMBER = "unknown-number", false, None, "Never send a number again after confirming it.";
    /// The server could not do it now.
    RETRY_LATER = "retry-later", true, None, "Send the same again after `retry_after`.";
    /// Too many messages or bytes.
    RATE_LIMITED = "rate-limited", true, None, "Send the same again after `retry_after`.";
    /// The server stops or restarts.
    GOING_AWAY = "going-away", true, Some(close::GOING_AWAY), "Connect again.";
    /// A newer session of the same client has begun.
    REPLACED = "replaced", false, Some(close::REPLACED), "Nothing; one session of a client is enough.";
    /// Something broke inside the server.
    INTERNAL = "internal", true, Some(close::INTERNAL), "Connect again later; the server's log says more.";
}

/// The codes of rejected mutations. All are final: the number is used up.
pub mod rejection {
    use super::CodeInfo;

    catalogue! {
        /// Every code a rejected outcome may carry.
        REJECTIONS:
        /// A revision is too far ahead of the server's clock.
        CLOCK = "clock", false, None, "Set the clock by the outcome's server time, stamp the change anew and send it as a new mutation.";
        /// The document or the mutation breaks a rule.
        VALIDATION = "validation", false, None, "Correct the document.";
        /// The document is larger than the server takes.
        DOCUMENT_TOO_LARGE = "document-too-large", false, None, "Make the document smaller; the limit stands in `welcome`.";
        /// The mutation has more changes than the server takes.
        TOO_MANY_CHANGES = "too-many-changes", false, None, "Split the transaction; the limit stands in `welcome`.";
        /// The user may not do this.
        FORBIDDEN = "forbidden", false, None, "Ask for the right.";
        /// The document's id is empty, too long or contains NUL.
        BAD_ID = "bad-id", false, None, "Use 1 to 256 bytes of UTF-8 without NUL.";
        /// The collection's name does not match the rule or is reserved.
        BAD_COLLECTION_NAME = "bad-collection-name", false, None, "Use a letter, then up to 63 letters, digits, `_` or `-`.";
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
