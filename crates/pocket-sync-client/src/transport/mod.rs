//! Ways to a server. A transport moves whole frames; what they mean is the session's business.

mod http;
#[cfg(feature = "tls")]
mod tls;
mod websocket;

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

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

/// Whether what answered does not speak TLS at all.
fn is_no_tls(error: &std::io::Error) -> bool {
    #[cfg(feature = "tls")]
    let is_no_tls = tls::is_no_tls(error);
    #[cfg(not(feature = "tls"))]
    let is_no_tls = {
        let _ = error;
        false
    };
    is_no_tls
}

fn no_tls(endpoint: &Endpoint) -> SyncError {
    let (url, secure, plain) = if endpoint.is_http() {
        (endpoint.http_url(), "https", "http")
    } else {
        (endpoint.websocket_url(), "wss", "ws")
    };
    SyncError::new(
        codes::CONNECT,
        format!(
            "what answers at `{url}` does not speak TLS; does the server speak {secure}://? Try {plain}://, or check the \
             port"
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
