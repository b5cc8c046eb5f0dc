//! The one kind of stream this crate gives out.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, Stream, StreamExt};
use pocket_storage::MaybeSend;
use tokio::sync::watch;

#[cfg(not(target_arch = "wasm32"))]
type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;
#[cfg(target_arch = "wasm32")]
type BoxStream<T> = Pin<Box<dyn Stream<Item = T>>>;

/// A stream of values that also has a plain [`next`](Self::next). Dropping it ends it.
pub struct Subscription<T>(BoxStream<T>);

impl<T: 'static> Subscription<T> {
    #[cfg(not(target_arch = "wasm32"))]
    /// Makes one of a stream.
    pub fn new(stream: impl Stream<Item = T> + Send + 'static) -> Self {
        Self(Box::pin(stream.fuse()))
    }

    #[cfg(target_arch = "wasm32")]
    /// Makes one of a stream.
    pub fn new(stream: impl Stream<Item = T> + 'static) -> Self {
        Self(Box::pin(stream.fuse()))
    }

    /// The current value of `receiver`, then each newest one; values in between may be left out.
    pub fn newest(receiver: watch::Receiver<T>) -> Self
    where
        T: Clone + MaybeSend + Sync,
    {
        Self::new(stream::unfold(
            (receiver, true),
            |(mut receiver, first)| async move {
                if !first && receiver.changed().await.is_err() {
                    return None;
                }
                let value = receiver.borrow_and_update().clone();
                Some((value, (receiver, false)))
            },
        ))
    }

    /// Waits for the next value; `None` when there will be no more, however often it is asked.
    pub async fn next(&mut self) -> Option<T> {
        self.0.next().await
    }
}

impl<T> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(context)
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").finish()
    }
}
