//! What the driver tells, and the handle lets others watch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::listeners::Listener;
use crate::{Progress, Snapshot, Stats, Status};

/// What the handle lets others watch.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) status: watch::Sender<Status>,
    pub(crate) stats: watch::Sender<Stats>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) snapshot: watch::Sender<Snapshot>,
    pub(crate) listeners: Mutex<Vec<Listener>>,
    /// The last entry of the journal that this engine wrote.
    pub(crate) journaled: watch::Sender<u64>,
    /// Whether the engine was destroyed, or nobody holds it any more.
    ended: watch::Sender<bool>,
    /// The count of the outbox's signal that the published status accounts for.
    pub(crate) outbox_seen: AtomicU64,
}

impl Watched {
    /// What `told` means while the outbox stands at `outbox`: a write that the session has not heard of is not sent.
    ///
    /// Without it, whoever waits for `idle` right after a write could be told of the moment before.
    pub(crate) fn true_status(&self, told: Status, outbox: &watch::Receiver<u64>) -> Status {
        let unheard = *outbox.borrow() != self.outbox_seen.load(Ordering::Acquire);
        if told == Status::Idle && unheard {
            Status::Syncing
        } else {
            told
        }
    }

    /// The engine is no more: every stream of it ends.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
        self.listeners().clear();
    }

    /// Turns true when the engine is no more.
    pub(crate) fn ending(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    pub(crate) fn listeners(&self) -> std::sync::MutexGuard<'_, Vec<Listener>> {
        // Nothing panics under this lock.
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        set(&self.status, snapshot.status);
        set(&self.stats, snapshot.stats.clone());
        set(&self.progress, snapshot.progress);
        self.snapshot.send_replace(snapshot);
    }
}

fn set<T: PartialEq>(watched: &watch::Sender<T>, value: T) {
    watched.send_if_modified(|current| {
        let changed = *current != value;
        *current = value;
        changed
    });
}
