//! Futures whose storage answers at once.

use std::task::{Context, Poll, Waker};

/// More than a future has steps that waits for nobody but itself.
const STEPS: usize = 10_000;

/// Runs a future to its end without a runtime.
///
/// # Panics
/// When it waits for something that does not come.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..STEPS {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("it waits for ever");
}
