//! A queue between async callers and threads.
//!
//! Its length is bounded by its users: every entry belongs to a future that waits for the answer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// Threads that wait for a job.
    idle: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                idle: 0,
                closed: false,
            }),
            filled: Condvar::new(),
        }
    }

    /// Appends `job`, or gives it back when the queue is closed.
    pub(super) fn push(&self, job: T) -> Result<(), T> {
        let mut state = self.lock();
        if state.closed {
            return Err(job);
        }
        state.waiting.push_back(job);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for a job and takes it, with those behind it for which `joins` says so, up to the first for
    /// which it does not. `None` when the queue is closed and empty.
    pub(super) fn take(&self, mut joins: impl FnMut(&T) -> bool) -> Option<Vec<T>> {
        let mut state = self.lock();
        loop {
            if let Some(first) = state.waiting.pop_front() {
                // The first is always taken, and counted like the others.
                let mut more = joins(&first);
                let mut taken = vec![first];
                while more {
                    more = state.waiting.front().is_some_and(&mut joins);
                    if more {
                        taken.extend(state.waiting.pop_front());
                    }
                }
                return Some(taken);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Whether one more job would find a thread that waits for it, or nobody at all since the queue is closed.
    pub(super) fn is_served(&self) -> bool {
        let state = self.lock();
        state.closed || state.idle > state.waiting.len()
    }

    /// Takes what waits now.
    pub(super) fn drain(&self) -> VecDeque<T> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// Takes what waits and refuses everything from now on.
    pub(super) fn close(&self) -> VecDeque<T> {
        let mut state = self.lock();
        state.closed = true;
        self.filled.notify_all();
        std::mem::take(&mut state.waiting)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No user code runs under this lock except `joins`, which only looks; the state is always whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
