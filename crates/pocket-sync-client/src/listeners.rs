//! Listeners to conflicts: one task tells them what the journal got, in its order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pocket_core::storage::{MaybeSend, MaybeSync};
use pocket_core::{Journal, JournalEntry};
use tokio::sync::watch;

use crate::platform::{Task, spawn};
use crate::watched::Watched;

/// Entries of the journal that are read at once.
const ENTRIES_AT_ONCE: usize = 64;

/// Times the journal is read before it is left for now.
const READS: usize = 3;

/// Who wants to hear of conflicts.
pub(crate) type Listener = Arc<dyn Hear>;

/// A function that hears of an entry.
pub(crate) trait Hear: MaybeSend + MaybeSync {
    fn hear(&self, entry: &JournalEntry);
}

impl<F: Fn(&JournalEntry) + MaybeSend + MaybeSync> Hear for F {
    fn hear(&self, entry: &JournalEntry) {
        self(entry);
    }
}

/// The task that tells the listeners of an engine.
#[derive(Debug)]
pub(crate) struct Telling {
    /// The last entry that everybody was told of.
    told: watch::Receiver<u64>,
    /// Ends the task once it is dropped.
    end: Option<watch::Sender<()>>,
    task: Task<()>,
}

impl Telling {
    pub(crate) fn new(journal: Journal, watched: Arc<Watched>) -> Self {
        let after = journal.last_number();
        let (tell, told) = watch::channel(after);
        let (end, mut ends) = watch::channel(());
        let task = spawn(async move {
            let mut journaled = watched.journaled.subscribe();
            let mut after = after;
            loop {
                tokio::select! {
                    biased;
                    _ = journaled.wait_for(|last| *last > after) => {}
                    _ = ends.changed() => return,
                }
                let last = *journaled.borrow();
                after = tell_from(&journal, &watched, after, last).await;
                tell.send_replace(after);
            }
        });
        Self {
            told,
            end: Some(end),
            task,
        }
    }

    /// Returns when all listeners were told of the journal up to `last`.
    pub(crate) async fn caught_up(&mut self, last: u64) {
        // Without a sender the task has ended, and tells nobody any more.
        let _ = self.told.wait_for(|told| *told >= last).await;
    }

    /// Ends the task when it has told everything up to `last`, and waits for it.
    pub(crate) async fn end(mut self, last: u64) {
        self.caught_up(last).await;
        drop(self.end.take());
        let _ = self.task.await;
    }
}

/// The next entries behind `after`; none when the store fails again and again.
pub(crate) async fn entries_behind(journal: &Journal, after: u64) -> Option<Vec<JournalEntry>> {
    for _ in 0..READS {
        if let Ok(entries) = journal.list(Some(after), ENTRIES_AT_ONCE).await {
            return Some(entries);
        }
    }
    None
}

/// Tells the next entries behind `after` and returns the number of the last one that was told.
async fn tell_from(journal: &Journal, watched: &Watched, after: u64, last: u64) -> u64 {
    let listeners = watched.listeners().clone();
    if listeners.is_empty() {
        return last;
    }
    // A store that fails again and again has told so on its own; the entries stay in the journal.
    let entries = entries_behind(journal, after).await.unwrap_or_default();
    for entry in &entries {
        for listener in &listeners {
            // One that panics is a matter between it and the panic hook; the others hear of it all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| listener.hear(entry)));
        }
    }
    entries.last().map_or(last, |entry| entry.number)
}
