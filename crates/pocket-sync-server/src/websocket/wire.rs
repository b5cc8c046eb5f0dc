//! The socket of a connection: reads and writes beside each other, and notices when nothing moves.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pocket_sync_protocol::codes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::WRITE_BUFFER;
use crate::driver::{Turn, Wire};
use crate::session::Session;

/// The longest reason in a close frame.
const REASON_BYTES: usize = 123;
/// Bytes of a client that is being closed which are read and thrown away at the most.
const DISCARDED: u64 = 16 * 1024 * 1024;

/// A socket and what waits to be sent on it.
pub(super) struct Socket<S> {
    stream: WebSocketStream<Meter<S>>,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    /// Whether the first of them has been sent in part.
    is_cut: bool,
    /// With more bytes unsent than these, nothing is read.
    most_unsent: usize,
    /// Whether something was handed to the socket and not flushed.
    dirty: bool,
    patience: Duration,
    /// Runs while the socket takes nothing; with the bytes it had taken when it was set.
    stalled: Option<(Pin<Box<Sleep>>, u64)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket<S> {
    pub(super) fn new(
        stream: WebSocketStream<Meter<S>>,
        patience: Duration,
        most_unsent: usize,
    ) -> Self {
        Self {
            stream,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            is_cut: false,
            most_unsent,
            dirty: false,
            patience,
            stalled: None,
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, wants_frames: bool) -> Poll<Turn> {
        match self.poll_write(context) {
            Poll::Ready(Ok(())) => self.stalled = None,
            Poll::Ready(Err(_)) => return Poll::Ready(Turn::Gone),
            Poll::Pending => {
                if self.poll_stalled(context).is_ready() {
                    return Poll::Ready(Turn::Gone);
                }
            }
        }
        if !wants_frames || self.unsent_bytes > self.most_unsent {
            return Poll::Pending;
        }
        loop {
            let message = ready!(self.stream.poll_next_unpin(context));
            match message {
                Some(Ok(Message::Binary(frame))) => return Poll::Ready(Turn::Frame(frame)),
                Some(Ok(Message::Text(_))) => {
                    let message = "messages are binary, not text".to_owned();
                    return Poll::Ready(Turn::Bad {
                        code: codes::BAD_FRAME,
                        message,
                    });
                }
                // The socket answers pings by itself; the answer goes out with the next flush.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                    self.dirty = true;
                }
                Some(Err(Error::Capacity(error))) => {
                    return Poll::Ready(Turn::Bad {
                        code: codes::TOO_LARGE,
                        message: error.to_string(),
                    });
                }
                Some(Err(error @ (Error::Protocol(_) | Error::Utf8(_)))) => {
                    return Poll::Ready(Turn::Bad {
                        code: codes::BAD_FRAME,
                        message: error.to_string(),
                    });
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Poll::Ready(Turn::Gone),
            }
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.unsent.is_empty() {
            ready!(self.stream.poll_ready_unpin(context))?;
            // Ready, and nothing awaited since: the message cannot be lost between here and the socket.
            if let Some(message) = self.next_part() {
                self.dirty = true;
                self.stream.start_send_unpin(message)?;
            }
        }
        if self.dirty {
            ready!(self.stream.poll_flush_unpin(context))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// The next message, or the next fragment of one that is too long for the buffer.
    fn next_part(&mut self) -> Option<Message> {
        let front = self.unsent.front_mut()?;
        let part = front.split_to(front.len().min(WRITE_BUFFER));
        let is_last = front.is_empty();
        if is_last {
            self.unsent.pop_front();
        }
        self.unsent_bytes -= part.len();
        let is_first = !std::mem::replace(&mut self.is_cut, !is_last);
        if is_first && is_last {
            return Some(Message::Binary(part));
        }
        let kind = if is_first {
            Data::Binary
        } else {
            Data::Continue
        };
        let frame = Frame::message(part, OpCode::Data(kind), is_last);
        Some(Message::Frame(frame))
    }

    /// Ready when the socket has taken nothing for too long. A slow one that takes a little gets more time.
    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let sent = self.stream.get_ref().sent;
        let patience = self.patience;
        let (sleep, before) = self
            .stalled
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(patience)), sent));
        while sleep.as_mut().poll(context).is_ready() {
            if *before == sent {
                return Poll::Ready(());
            }
            *before = sent;
            sleep.as_mut().reset(Instant::now() + patience);
        }
        Poll::Pending
    }

    async fn discard(&mut self) {
        // Nothing more comes from here: whoever waits for the end need not wait for our patience.
        let stream = self.stream.get_mut();
        let end = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_shutdown(context));
        if end.await.is_err() {
            return;
        }
        // Not inside of the future: every connection would have room for it from its beginning.
        let mut bytes = vec![0; 4_096];
        let until = self.received() + DISCARDED;
        while self.received() < until {
            let mut buffer = ReadBuf::new(&mut bytes);
            let stream = self.stream.get_mut();
            let read = std::future::poll_fn(|context| {
                Pin::new(&mut *stream).poll_read(context, &mut buffer)
            })
            .await;
            if read.is_err() || buffer.filled().is_empty() {
                return;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for Socket<S> {
    fn send(&mut self, frame: Bytes) {
        self.unsent_bytes += frame.len();
        self.unsent.push_back(frame);
    }

    fn received(&self) -> u64 {
        self.stream.get_ref().received
    }

    fn takes_news(&self) -> bool {
        true
    }

    fn is_gone(&self) -> bool {
        false
    }

    async fn turn(&mut self, session: &Session) -> Turn {
        let wants_frames = session.wants_frames();
        std::future::poll_fn(|context| self.poll_turn(context, wants_frames)).await
    }

    async fn close(mut self, code: u16, reason: &str, patience: Duration) {
        let goodbye = async {
            std::future::poll_fn(|context| self.poll_write(context)).await?;
            let fits = |end: &usize| *end <= REASON_BYTES && reason.is_char_boundary(*end);
            let cut = (0..=reason.len()).rev().find(fits).unwrap_or_default();
            let frame = CloseFrame {
                code: CloseCode::from(code),
                reason: reason[..cut].into(),
            };
            self.stream.send(Message::Close(Some(frame))).await?;
            // A socket closed with unread bytes in it may take back what was sent, so the rest is read first.
            let until = self.received() + DISCARDED;
            let mut answered = false;
            while self.received() < until
                && let Some(message) = self.stream.next().await
            {
                answered |= message?.is_close();
            }
            Ok::<bool, Error>(answered)
        };
        if matches!(
            tokio::time::timeout(patience, goodbye).await,
            Ok(Err(_) | Ok(false))
        ) {
            // What follows a broken frame cannot be understood, only thrown away.
            let _ = tokio::time::timeout(patience, self.discard()).await;
        }
    }
}

/// A stream that counts what passes.
#[derive(Debug)]
pub(super) struct Meter<S> {
    stream: S,
    received: u64,
    sent: u64,
}

impl<S> Meter<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            received: 0,
            sent: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Meter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.received += (buffer.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Meter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
