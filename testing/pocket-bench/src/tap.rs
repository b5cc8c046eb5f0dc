//! A WebSocket proxy that counts the bytes at its socket and keeps the frames.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use pocket_sync_protocol::{
    ClientMessage, SUBPROTOCOL, ServerMessage, WireLimits, decode_client, decode_server,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, connect_async};

use crate::Outcome;

/// What passed on one connection.
#[derive(Default)]
pub(crate) struct Traffic {
    frames: Mutex<Frames>,
    /// Bytes from the client, everything from the first of the HTTP request on.
    pub(crate) up_bytes: AtomicU64,
    /// Bytes to the client.
    pub(crate) down_bytes: AtomicU64,
}

#[derive(Default)]
struct Frames {
    up: Vec<Bytes>,
    down: Vec<Bytes>,
    /// How often the client's turn ended, with an answer to what it had said.
    turns: usize,
    /// Whether the last frame was the client's.
    asked: bool,
    /// Answers behind so many turns are withheld.
    most: Option<usize>,
}

impl Traffic {
    fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_up(&self, frame: Bytes) -> bool {
        let mut frames = self.frames();
        frames.up.push(frame);
        frames.asked = true;
        true
    }

    fn keep_down(&self, frame: Bytes) -> bool {
        let mut frames = self.frames();
        if std::mem::take(&mut frames.asked) {
            frames.turns += 1;
        }
        let passes = frames.most.is_none_or(|most| frames.turns <= most);
        if passes {
            frames.down.push(frame);
        }
        passes
    }

    /// Forgets the frames so far.
    pub(crate) fn clear(&self) {
        let mut frames = self.frames();
        frames.up.clear();
        frames.down.clear();
    }

    /// The frames from the client that hold messages like these.
    pub(crate) fn up(&self, wanted: impl Fn(&ClientMessage) -> bool) -> Vec<Bytes> {
        let is_wanted = |frame: &&Bytes| {
            decode_client(frame, &WireLimits::default()).is_ok_and(|message| wanted(&message))
        };
        self.frames().up.iter().filter(is_wanted).cloned().collect()
    }

    /// The frames to the client that hold messages like these.
    pub(crate) fn down(&self, wanted: impl Fn(&ServerMessage) -> bool) -> Vec<Bytes> {
        let is_wanted = |frame: &&Bytes| {
            decode_server(frame, &WireLimits::default()).is_ok_and(|message| wanted(&message))
        };
        self.frames()
            .down
            .iter()
            .filter(is_wanted)
            .cloned()
            .collect()
    }
}

/// A proxy for one connection.
pub(crate) struct Tap {
    pub(crate) url: String,
    pub(crate) traffic: Arc<Traffic>,
    task: JoinHandle<Outcome>,
}

impl Tap {
    pub(crate) async fn start(server: &str) -> Outcome<Self> {
        Self::withholding(server, None).await
    }

    /// One that passes no more than the answers to what the client said in its first `most` turns.
    pub(crate) async fn withholding(server: &str, most: Option<usize>) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("ws://{}/sync", listener.local_addr()?);
        let traffic = Arc::new(Traffic::default());
        traffic.frames().most = most;
        let task = tokio::spawn(pass(listener, server.to_owned(), Arc::clone(&traffic)));
        Ok(Self { url, traffic, task })
    }

    /// Waits for the end of the connection.
    pub(crate) async fn finish(self) -> Outcome<Arc<Traffic>> {
        self.task.await??;
        Ok(self.traffic)
    }
}

async fn pass(listener: TcpListener, server: String, traffic: Arc<Traffic>) -> Outcome {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let counted = Counted {
        stream,
        traffic: Arc::clone(&traffic),
    };
    #[expect(
        clippy::result_large_err,
        reason = "the type of the callback is tungstenite's"
    )]
    let agree = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        response.headers_mut().insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
        Ok(response)
    };
    let (down, up) = accept_hdr_async(counted, agree).await?.split();
    let mut request = server.into_client_request()?;
    request.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    let (to_server, from_server) = connect_async(request).await?.0.split();
    let upward = forward(up, to_server, |frame| traffic.keep_up(frame));
    let downward = forward(from_server, down, |frame| traffic.keep_down(frame));
    tokio::join!(upward, downward);
    Ok(())
}

/// Passes on what `keep` takes, and the end. A side that is gone ends it: the other one says what it needed.
async fn forward<A, B>(
    mut from: SplitStream<WebSocketStream<A>>,
    mut to: SplitSink<WebSocketStream<B>, Message>,
    keep: impl Fn(Bytes) -> bool,
) where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = from.next().await {
        if let Message::Binary(frame) = &message
            && !keep(frame.clone())
        {
            continue;
        }
        if to.send(message).await.is_err() {
            break;
        }
    }
    // It may have been closed already.
    let _ = to.close().await;
}

/// The client's socket, whose bytes are counted.
struct Counted {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        self.traffic.up_bytes.fetch_add(read, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.traffic
            .down_bytes
            .fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
