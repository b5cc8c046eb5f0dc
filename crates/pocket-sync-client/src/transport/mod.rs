//! Ways to a server. A transport moves whole frames; what they mean is the session's business.

#[cfg(target_arch = "wasm32")]
mod browser;
mod http;
#[cfg(not(target_arch = "wasm32"))]
mod native;

use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use browser as machine;
use bytes::Bytes;
#[cfg(not(target_arch = "wasm32"))]
use native as machine;
use pocket_core::Value;
use pocket_core::storage::{BoxFuture, MaybeSend};
use pocket_sync_protocol::codes as wire;

use crate::{Endpoint, SyncError, codes};

/// Bytes of a close frame's reason, at the most.
const CLOSE_REASON_BYTES: usize = 123;

/// How long saying goodbye may take.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// Whether the token travels in the hello: where the connection itself cannot carry it in a header.
pub(crate) fn token_in_hello(endpoint: &Endpoint) -> bool {
    !endpoint.is_http() && machine::websocket::TOKEN_IN_HELLO
}

/// Opens a connection to `endpoint`, in the way its scheme says.
///
/// # Errors
/// `connect` when nobody answers, or something else than the sync server; `unauthorized` and `forbidden` when the
/// server refuses at the door.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    token: Option<&str>,
    pull_interval: Duration,
) -> Result<Box<dyn Connection>, SyncError> {
    if endpoint.is_http() {
        http::connect(endpoint, token, pull_interval).await
    } else {
        machine::websocket::connect(endpoint, token).await
    }
}

/// Whether an answer of this status says that no sync server is at this path, so that asking again brings the same.
fn is_no_server(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 426)
}

fn no_server(status: u16, url: &str) -> SyncError {
    SyncError::new(
        codes::CONNECT,
        format!(
            "there is no sync server at `{url}` (HTTP {status}); check the path of the URL: `/sync`, unless the server \
             is mounted elsewhere"
        ),
    )
}

/// What a sync server says about a request that it does not take; none if it is not one that speaks: what a portal or a
/// proxy says tells nothing about the token.
fn refusal(content_type: Option<&str>, body: &[u8]) -> Option<SyncError> {
    let kind = content_type?.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return None;
    }
    let Ok(Value::Map(body)) = Value::from_json_str(std::str::from_utf8(body).ok()?) else {
        return None;
    };
    let text = |name: &str| match body.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (code, message) = (text("code")?, text("message").unwrap_or_default());
    let known = wire::info(&code)?;
    Some(SyncError::from_server(code, message, known.retryable))
}

/// Something else than a sync server has answered.
fn stranger(status: u16, url: &str) -> SyncError {
    SyncError::connect(match status {
        _ if is_no_server(status) => return no_server(status, url),
        200..=399 => format!(
            "`{url}` answered with a web page (HTTP {status}); check the URL, or sign in to this network first"
        ),
        401 | 403 => format!(
            "something before the sync server refused `{url}` (HTTP {status}); check the URL, or sign in to this \
             network first"
        ),
        _ => format!("`{url}` answered with HTTP {status}"),
    })
}

/// A close frame's reason, cut to what fits one (RFC 6455, 5.5).
fn shortened(mut reason: String) -> String {
    while reason.len() > CLOSE_REASON_BYTES {
        reason.pop();
    }
    reason
}

/// What comes out of a connection.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// One whole message.
    Frame(Bytes),
    /// The server has said why it takes nothing more; nothing follows.
    Refused(SyncError),
    /// The end; nothing follows.
    Closed {
        /// The code of the other side's close frame.
        code: Option<u16>,
        /// What it said, or what broke.
        reason: String,
    },
}

/// An open connection.
pub(crate) trait Connection: MaybeSend {
    /// Takes a frame to be sent. The session bounds how many there are.
    fn send(&mut self, frame: Bytes);

    /// The server takes messages of so many bytes: what is joined on the way is no longer.
    fn limit(&mut self, message_bytes: usize) {
        let _ = message_bytes;
    }

    /// Writes what goes without waiting; [`poll`](Self::poll) writes the rest, and tells what went wrong.
    fn write(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// Sends what there is, as far as the other side takes it, and says what comes in.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Incoming>;

    /// Sends the rest and a close frame, and waits a moment for the other side's.
    fn close(self: Box<Self>, code: u16, reason: String) -> BoxFuture<'static, ()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_a_sync_server_says_something_about_the_token() {
        let refused =
            |body: &str| refusal(Some("application/json; charset=utf-8"), body.as_bytes());
        let good = r#"{"code":"unauthorized","message":"no"}"#;
        let error = refused(good).expect("it is a server's");
        assert_eq!((error.code(), error.message()), ("unauthorized", "no"));
        assert!(!error.is_retryable());
        for other in [
            "",
            "<html>",
            "[]",
            r#"{"code":7}"#,
            r#"{"code":"made-up"}"#,
            r#"{"error":"x"}"#,
        ] {
            assert!(refused(other).is_none(), "{other}");
        }
        assert!(refusal(Some("text/html"), good.as_bytes()).is_none());
        assert!(refusal(None, good.as_bytes()).is_none());
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        assert_eq!(shortened("ü".repeat(100)).len(), 122);
        assert_eq!(shortened("short".to_owned()), "short");
    }

    #[test]
    fn what_answers_instead_of_a_server_is_told_apart() {
        for (status, says) in [
            (200, "web page"),
            (302, "sign in"),
            (401, "before the sync server"),
            (403, "sign in"),
            (502, "502"),
        ] {
            let error = stranger(status, "ws://h/sync");
            assert_eq!((error.code(), error.is_retryable()), (codes::CONNECT, true));
            assert!(error.message().contains(says), "{error}");
        }
        for status in [404, 405, 410, 426] {
            let error = stranger(status, "ws://h/x");
            assert_eq!(
                (error.code(), error.is_retryable()),
                (codes::CONNECT, false)
            );
            assert!(error.message().contains("check the path"), "{error}");
        }
    }
}
