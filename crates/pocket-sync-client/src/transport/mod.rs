//! Ways to a server. A transport moves whole frames; what they mean is the session's business.

#[cfg(feature = "tls")]
mod tls;
mod websocket;

use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub(crate) use websocket::connect;

/// What comes out of a connection.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// One whole message.
    Frame(Bytes),
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
