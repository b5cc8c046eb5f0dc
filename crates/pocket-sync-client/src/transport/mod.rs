//! Ways to a server. A transport moves whole frames; what they mean is the session's business.

mod http;
#[cfg(feature = "tls")]
mod tls;
mod websocket;

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use pocket_core::Value;
use pocket_sync_protocol::codes as wire;

use crate::{Endpoint, SyncError, codes};

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
        websocket::connect(endpoint, token).await
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

/// What a failure to connect says about TLS; none when it is about something else.
#[cfg(feature = "tls")]
fn tls_failure(error: &std::io::Error, endpoint: &Endpoint) -> Option<SyncError> {
    tls::failure(error, endpoint)
}

#[cfg(not(feature = "tls"))]
fn tls_failure(_: &std::io::Error, _: &Endpoint) -> Option<SyncError> {
    None
}

/// The URL of an endpoint, as its transport has it.
#[cfg(feature = "tls")]
fn shown(endpoint: &Endpoint) -> String {
    if endpoint.is_http() {
        endpoint.http_url()
    } else {
        endpoint.websocket_url()
    }
}

#[cfg(feature = "tls")]
fn no_tls(endpoint: &Endpoint) -> SyncError {
    let (secure, plain) = if endpoint.is_http() {
        ("https", "http")
    } else {
        ("wss", "ws")
    };
    SyncError::new(
        codes::CONNECT,
        format!(
            "what answers at `{}` does not speak TLS; does the server speak {secure}://? Try {plain}://, or check the \
             port",
            shown(endpoint)
        ),
    )
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
pub(crate) trait Connection: Send {
    /// Takes a frame to be sent. The session bounds how many there are.
    fn send(&mut self, frame: Bytes);

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
