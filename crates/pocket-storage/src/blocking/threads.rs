//! Threads that are started when there is work for them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::queue::Queue;
use crate::{Result, StorageError};

/// The threads that serve a queue.
pub(super) struct Threads {
    name: String,
    most: usize,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// At most so many, of this name. None of them runs yet.
    pub(super) fn new(name: String, most: usize) -> Self {
        Self {
            name,
            most,
            running: Mutex::default(),
        }
    }

    /// Starts one more before something is put into the queue, if all are busy and there may be more. It does what `serve`
    /// gives.
    ///
    /// # Errors
    /// `Backend` if none runs and none can be started.
    pub(super) fn ready<T, F>(&self, queue: &Queue<T>, serve: impl FnOnce() -> F) -> Result<()>
    where
        F: FnOnce() + Send + 'static,
    {
        if queue.is_served() {
            return Ok(());
        }
        let mut running = self.running();
        if running.len() < self.most {
            let started = std::thread::Builder::new()
                .name(self.name.clone())
                .spawn(serve());
            match started {
                Ok(thread) => running.push(thread),
                Err(error) if running.is_empty() => {
                    return Err(StorageError::Backend(format!(
                        "cannot start a thread: {error}"
                    )));
                }
                // The others come to it.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Whether none was ever started.
    pub(super) fn is_empty(&self) -> bool {
        self.running().is_empty()
    }

    /// Waits until all have ended but this one, should it be one of them: a waker that drops a store runs on a thread of
    /// the store, which cannot wait for itself.
    pub(super) fn join(&self) {
        let here = std::thread::current().id();
        for thread in std::mem::take(&mut *self.running()) {
            if thread.thread().id() != here {
                let _ = thread.join();
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
