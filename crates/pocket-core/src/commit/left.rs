//! A round whose writers are all gone: whoever listens drives it to its end, and so hears of it.
//!
//! Nothing here runs in the background, so a commit that nobody waits for any more would be told with the next write only.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::Shared;
use pocket_storage::BoxFuture;

use crate::events::Notifier;
use crate::lock::lock;

pub(super) type Round = Shared<BoxFuture<'static, ()>>;

/// The last round, and how many writers wait for their answers.
#[derive(Default)]
pub(super) struct Running {
    round: Mutex<Option<Round>>,
    writers: AtomicUsize,
}

impl Running {
    /// The round under way, if there is one.
    pub(super) fn round(&self) -> Option<Round> {
        let round = lock(&self.round).clone();
        round.filter(|round| round.peek().is_none())
    }

    /// The round under way, or the next one.
    pub(super) fn round_or(&self, next: impl FnOnce() -> Round) -> Round {
        let mut last = lock(&self.round);
        if let Some(round) = last.as_ref().filter(|round| round.peek().is_none()) {
            return round.clone();
        }
        let round = next();
        *last = Some(round.clone());
        round
    }

    /// A writer waits for its answer, until this is dropped.
    pub(super) fn wait<'a>(&'a self, notifier: &'a Notifier) -> Writer<'a> {
        self.writers.fetch_add(1, Ordering::AcqRel);
        Writer {
            running: self,
            notifier,
        }
    }
}

/// A writer that waits for its answer.
pub(super) struct Writer<'a> {
    running: &'a Running,
    notifier: &'a Notifier,
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let was_last = self.running.writers.fetch_sub(1, Ordering::AcqRel) == 1;
        if was_last && self.running.round().is_some() {
            self.notifier.was_left();
        }
    }
}

/// What a listener does about rounds that were left.
pub(crate) struct LeftRounds {
    running: Weak<Running>,
    driven: Option<Round>,
}

impl LeftRounds {
    pub(super) fn new(running: &Arc<Running>) -> Self {
        Self {
            running: Arc::downgrade(running),
            driven: None,
        }
    }

    /// Drives the round that was left, if there is one. Ready when it is over: then there may be something to hear.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.driven.is_none() {
            let running = self.running.upgrade();
            let left = running.filter(|it| it.writers.load(Ordering::Acquire) == 0);
            self.driven = left.and_then(|running| running.round());
        }
        let Some(round) = &mut self.driven else {
            return Poll::Pending;
        };
        let over = round.poll_unpin(context);
        if over.is_ready() {
            self.driven = None;
        }
        over
    }
}

impl std::fmt::Debug for LeftRounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeftRounds")
            .field("drives", &self.driven.is_some())
            .finish_non_exhaustive()
    }
}
