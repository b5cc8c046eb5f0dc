//! Locks that are held for a moment, and never over an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it, also where a thread has panicked that held it: what is behind the locks of this crate is whole after each
/// single change.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
