//! What the driver tells, and the handle lets others watch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pocket_core::replica::Replica;
use tokio::sync::watch;

use crate::listeners::Listener;
use crate::{Progress, Snapshot, Stats, Status};

/// What the handle lets others watch.
pub(crate) struct Watched {
    replica: Replica,
    /// Whether a session runs that has read what is pending. Otherwise the outbox itself says it.
    counts: AtomicBool,
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
    pub(crate) fn new(replica: Replica) -> Self {
        Self {
            replica,
            counts: AtomicBool::new(false),
            status: watch::Sender::default(),
            stats: watch::Sender::default(),
            progress: watch::Sender::default(),
            snapshot: watch::Sender::default(),
            listeners: Mutex::default(),
            journaled: watch::Sender::default(),
            ended: watch::Sender::default(),
            outbox_seen: AtomicU64::new(0),
        }
    }

    /// What waits for its outcome: as the session told it, or, while none counts, as the outbox has it.
    fn true_pending(&self, told: u64, left_out: u64) -> u64 {
        if self.counts.load(Ordering::Acquire) {
            told
        } else {
            self.replica.known_pending().saturating_sub(left_out)
        }
    }

    /// What `told` means at this moment.
    pub(crate) fn true_stats(&self, told: Stats) -> Stats {
        let pending = self.true_pending(told.pending, told.left_out);
        Stats { pending, ..told }
    }

    /// What `told` means at this moment.
    pub(crate) fn true_progress(&self, told: Progress) -> Progress {
        let left_out = self.stats.borrow().left_out;
        let push_left = self.true_pending(told.push_left, left_out);
        Progress { push_left, ..told }
    }

    /// No session runs.
    pub(crate) fn rests(&self) {
        self.counts.store(false, Ordering::Release);
    }

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
        let has_read = snapshot.checkpoint.is_some();
        self.counts.store(has_read, Ordering::Release);
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
