//! The WebSocket of a connection.

mod coming;
mod meter;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use self::meter::Meter;
use self::wire::Socket;
use crate::driver::Caller;
use crate::patient::Patient;
use crate::server::{Held, Inner};
use crate::session::{HELLO_BYTES, Session};
use crate::{SyncServer, driver};

/// Bytes read from a connection at once. Every connection keeps so many, also one that does nothing; and each read
/// clears what it may fill.
const READ_BUFFER: usize = 2 * 1024;
/// Bytes collected before they are written to a connection, and the most that one fragment of a message has: what was
/// once collected is kept by the connection for as long as it lives, so a long message goes out in parts.
const WRITE_BUFFER: usize = 4 * 1024;
/// Bytes beside a hello that may come before its welcome: headers of frames, and a ping or two.
const HELLO_ROOM: usize = 1_024;

/// Serves a connection once its upgrade is through.
pub(crate) async fn upgraded(
    server: SyncServer,
    upgrade: OnUpgrade,
    caller: Caller,
    _held: Option<Held>,
) {
    let _served = server.inner.serving();
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "an upgrade failed");
            return;
        }
    };
    // The bare socket where it is one, so that no layer of the HTTP server stays in between; patience a socket has itself.
    let upgraded = match upgraded.downcast::<TokioIo<Patient<TcpStream>>>() {
        Ok(Parts { io, read_buf, .. }) => {
            let stream = io.into_inner().into_inner();
            return Box::pin(serve_bare(server, stream, read_buf, caller)).await;
        }
        Err(upgraded) => upgraded,
    };
    // In a router of somebody else.
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(Parts { io, read_buf, .. }) => {
            Box::pin(serve_bare(server, io.into_inner(), read_buf, caller)).await;
        }
        Err(upgraded) => {
            let stream = TokioIo::<Upgraded>::new(upgraded);
            Box::pin(serve(server.inner, stream, Vec::new(), caller)).await;
        }
    }
}

async fn serve_bare(server: SyncServer, stream: TcpStream, read: Bytes, caller: Caller) {
    let bytes = read.to_vec();
    // All of what the request was read into hangs on it.
    drop(read);
    serve(server.inner, stream, bytes, caller).await;
}

async fn serve<S>(server: Arc<Inner>, stream: S, read: Vec<u8>, caller: Caller)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let message_bytes = server.config.limits.wire.message_bytes;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(3 * WRITE_BUFFER)
        .max_message_size(Some(message_bytes))
        .max_frame_size(Some(message_bytes));
    // The library takes no other limits once it has begun, so what comes before the welcome is limited by its bytes.
    let meter = Meter::new(stream, read.len(), (HELLO_BYTES + HELLO_ROOM) as u64);
    let socket =
        WebSocketStream::from_partially_read(meter, read, Role::Server, Some(config)).await;
    let wire = Socket::new(socket, &server.config);
    let session = Session::new(Arc::clone(&server.config));
    driver::serve(server, session, wire, caller).await;
}
