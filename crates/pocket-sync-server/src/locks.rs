//! Locks that nobody waits behind for long.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what is consistent after each single operation on it, and between whose writes that belong together nothing panics:
/// a poisoned lock is taken as it is.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
