//! The socket of a connection: reads and writes beside each other, and notices when nothing moves.

use std::collections::VecDeque;
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
use super::coming::Coming;
use super::meter::Meter;
use crate::Config;
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
    /// Whether something was handed to the socket and not flushed.
    dirty: bool,
    /// The most that may wait before no more is asked for.
    most_unsent: usize,
    patience: Duration,
    /// Runs while the socket takes nothing; with the bytes it had taken when it was set.
    stalled: Option<(Pin<Box<Sleep>>, u64)>,
    /// What had been sent when the socket last took less than there was.
    full_at: Option<u64>,
    /// Bytes that a full socket made room for: a sign of life, since the client has taken as many.
    drained: u64,
    coming: Coming,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket<S> {
    pub(super) fn new(stream: WebSocketStream<Meter<S>>, config: &Config) -> Self {
        Self {
            stream,
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            is_cut: false,
            dirty: false,
            most_unsent: config.limits.unsent_bytes,
            patience: config.write_timeout,
            stalled: None,
            full_at: None,
            drained: 0,
            coming: Coming::new(config.frame_timeout, config.limits.control_frames),
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, session: &Session) -> Poll<Turn> {
        let written = self.poll_write(context);
        let sent = self.stream.get_ref().sent;
        if let Some(before) = self.full_at.take() {
            self.drained += sent - before;
        }
        match written {
            Poll::Ready(Ok(())) => self.stalled = None,
            Poll::Ready(Err(_)) => return Poll::Ready(Turn::Gone),
            Poll::Pending => {
                self.full_at = Some(sent);
                if self.poll_stalled(context).is_ready() {
                    return Poll::Ready(Turn::Gone);
                }
            }
        }
        let is_full = self.is_full();
        if session.is_full() && !is_full {
            return Poll::Ready(Turn::Room);
        }
        if !session.wants_frames() || is_full {
            self.coming.pause();
            return Poll::Pending;
        }
        self.poll_read(context)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        loop {
            let read = self.stream.poll_next_unpin(context);
            let received = self.stream.get_ref().received;
            let Poll::Ready(message) = read else {
                ready!(self.coming.poll_late(context, received));
                return Poll::Ready(Turn::Bad {
                    code: codes::IDLE_TIMEOUT,
                    message: "a frame came too slowly".to_owned(),
                });
            };
            match message {
                Some(Ok(Message::Binary(frame))) => {
                    self.coming.message(received);
                    return Poll::Ready(Turn::Frame(frame));
                }
                Some(Ok(Message::Text(_))) => {
                    let message = "messages are binary, not text".to_owned();
                    return Poll::Ready(Turn::Bad {
                        code: codes::BAD_FRAME,
                        message,
                    });
                }
                // The socket answers pings by itself; the answer goes out with the next flush.
                Some(Ok(Message::Ping(content) | Message::Pong(content))) => {
                    self.dirty = true;
                    if self.coming.control(content.len(), received) {
                        return Poll::Ready(Turn::Bad {
                            code: codes::RATE_LIMITED,
                            message: "far too many pings; connect again later".to_owned(),
                        });
                    }
                }
                Some(Ok(Message::Frame(_))) => {}
                Some(Err(Error::Io(_))) if self.stream.get_ref().is_over() => {
                    return Poll::Ready(Turn::Bad {
                        code: codes::TOO_LARGE,
                        message: "this is too much before the welcome".to_owned(),
                    });
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
        let until = self.stream.get_ref().received + DISCARDED;
        while self.stream.get_ref().received < until {
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
        self.stream.get_ref().received + self.drained
    }

    fn takes_news(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        // What the socket itself holds is a few fragments.
        self.unsent_bytes > self.most_unsent
    }

    fn is_gone(&self) -> bool {
        false
    }

    async fn turn(&mut self, session: &Session) -> Turn {
        if session.is_open() {
            self.stream.get_mut().lift();
        }
        std::future::poll_fn(|context| self.poll_turn(context, session)).await
    }

    async fn close(mut self, code: u16, reason: &str, patience: Duration) {
        self.stream.get_mut().lift();
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
            let until = self.stream.get_ref().received + DISCARDED;
            let mut answered = false;
            while self.stream.get_ref().received < until
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
