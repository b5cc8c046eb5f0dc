//! Conflicts that only the application can decide: asked about outside of the store, and answered into it.
//!
//! The store keeps such conflicts, so nothing is lost with the session: what it says is open is asked about, whoever
//! asked before.

use pocket_core::replica::{Answer, ReplicaState, Resolved};

use super::{Effect, Session, StoreRequest};

/// How far the asking is.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Something may be open that was not asked about: the store has moved.
    due: bool,
    /// Batches of questions given out so far.
    batches: u64,
    /// The batch that is being answered.
    open: Option<u64>,
    /// What was answered, to be stored.
    answers: Option<Vec<Answer>>,
}

impl Asking {
    /// The store has moved: what was blocked may be open now.
    pub(super) fn moved(&mut self) {
        self.due = true;
    }

    /// Nobody answers any more what was asked.
    pub(super) fn forget(&mut self) {
        self.open = None;
        self.answers = None;
        self.due = true;
    }

    /// What to ask the store for.
    pub(super) fn next_request(&mut self, replica: &ReplicaState) -> Option<StoreRequest> {
        if let Some(answers) = self.answers.take() {
            return Some(StoreRequest::Resolve(answers));
        }
        let ask = replica.undecided > 0 && self.due && self.open.is_none();
        self.due &= !ask;
        ask.then(|| StoreRequest::Resolve(Vec::new()))
    }
}

impl Session {
    /// The application has answered.
    pub(super) fn answered(&mut self, batch: u64, answers: Vec<Answer>) {
        if self.asking.open == Some(batch) {
            self.asking.open = None;
            self.asking.answers = Some(answers);
        }
    }

    /// Answers are stored; what is still open goes to the application.
    pub(super) fn resolved(&mut self, resolved: Resolved) {
        let decided = resolved.journaled.len() as u64;
        self.stats.conflict_count += decided;
        self.store.turned_back += decided;
        self.progressed(resolved.state);
        self.asking.due = false;
        if !resolved.questions.is_empty() && self.running {
            self.asking.batches += 1;
            self.asking.open = Some(self.asking.batches);
            self.effects.push(Effect::Ask {
                batch: self.asking.batches,
                conflicts: resolved.questions,
            });
        }
        self.store_may_hold_more(true);
    }
}
