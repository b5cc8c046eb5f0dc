//! tokio's tasks and timers.

use std::hash::{BuildHasher, Hasher, RandomState};

use tokio::task::JoinHandle;
pub(crate) use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

/// A task that runs by itself; dropping the handle lets it go on.
pub(crate) type Task<T> = JoinHandle<T>;

/// Begins a task.
pub(crate) fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// A number that differs from engine to engine. Nothing depends on it but the jitter.
pub(crate) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
