//! Futures of a node, polled by the world and by nobody else.

use std::task::{Context, Poll, Waker};

use pocket_storage::{BoxFuture, MaybeSend};

/// What a node does at the moment.
pub(crate) struct Tasks<T> {
    running: Vec<BoxFuture<'static, T>>,
}

impl<T> Tasks<T> {
    pub(crate) const fn new() -> Self {
        Self {
            running: Vec::new(),
        }
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = T> + MaybeSend + 'static) {
        self.running.push(Box::pin(task));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Polls each task, oldest first, until one is done.
    pub(crate) fn next_done(&mut self) -> Option<T> {
        let mut context = Context::from_waker(Waker::noop());
        for place in 0..self.running.len() {
            if let Poll::Ready(done) = self.running[place].as_mut().poll(&mut context) {
                // In order of their beginning: a later one must not overtake.
                drop(self.running.remove(place));
                return Some(done);
            }
        }
        None
    }
}

/// Runs a future whose storage answers at once.
#[track_caller]
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a look at a disk waited for something"),
    }
}
