//! A stream that counts what passes, and that stops where too much has come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that counts what passes.
#[derive(Debug)]
pub(super) struct Meter<S> {
    stream: S,
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Nothing is read any more once so much has come.
    most: u64,
}

impl<S> Meter<S> {
    /// Bytes that were `read` before are counted as received.
    pub(super) fn new(stream: S, read: usize, most: u64) -> Self {
        Self {
            stream,
            received: read as u64,
            sent: 0,
            most,
        }
    }

    /// Whether reading stopped because too much has come.
    pub(super) fn is_over(&self) -> bool {
        self.received >= self.most
    }

    /// Any number of bytes may come from now on.
    pub(super) fn lift(&mut self) {
        self.most = u64::MAX;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Meter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over() {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
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
