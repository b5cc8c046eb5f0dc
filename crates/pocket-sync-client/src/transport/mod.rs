//! Ways to a server. A transport moves whole frames; what they mean is the session's business.

mod http;
#[cfg(feature = "tls")]
mod tls;
mod websocket;

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{Endpoint, SyncError};

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

    /// Sends what there is, as far as the other side takes it, and says what comes in.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Incoming>;

    /// Sends the rest and a close frame, and waits a moment for the other side's.
    fn close(self: Box<Self>, code: u16, reason: String) -> BoxFuture<'static, ()>;
}
