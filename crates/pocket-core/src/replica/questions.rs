//! Conflicts that only the application can decide: told, and settled by its answers.

use std::sync::Arc;

use pocket_storage::ScanLimit;

use super::conflict::{Answer, Conflict, Resolver};
use super::resolve::Resolution;
use super::state::{ReplicaState, left_out, snapshot};
use super::unerased::Unerased;
use super::{load_target, store_target};
use crate::commit::Job;
use crate::keys::{self, Target};
use crate::stored::{self, Progress};
use crate::tx::Tx;
use crate::{Place, Result};

/// What became of answers, and what is still open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The state afterwards.
    pub state: ReplicaState,
    /// Entries that were written into the journal.
    pub journaled: Vec<u64>,
    /// Entries that were written into it besides, about documents that have the same values in a unique index.
    pub violations: Vec<u64>,
    /// Conflicts that wait for an answer, the oldest first. Those whose versions moved since they were asked about are
    /// here again.
    pub questions: Vec<Conflict>,
}

pub(super) struct ResolveJob {
    pub(super) target: Target,
    pub(super) answers: Vec<Answer>,
    pub(super) limit: usize,
    pub(super) resolver: Arc<dyn Resolver>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ResolveJob {
    type Output = Resolved;

    fn runs_alone(&self) -> bool {
        true
    }

    fn is_by_sync(&self) -> bool {
        true
    }

    fn add_violations(output: &mut Self::Output, entries: &[u64]) {
        output.violations.extend(entries);
        output.state.open_conflicts += entries.len() as u64;
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Resolved> {
        let mut row = load_target(tx, self.target).await?;
        let before = row.clone();
        let open = open(tx, self.target).await?;
        let left_out = left_out(tx, &row);
        let mut resolution = Resolution {
            left_out,
            tx,
            target: self.target,
            resolver: self.resolver.clone(),
            read_to: row.checkpoint.seq,
            journaled: Vec::new(),
            answers: self.answers.clone(),
            questions: Vec::new(),
            unerased: Unerased::default(),
        };
        for place in open {
            if resolution.questions.len() >= self.limit {
                break;
            }
            resolution.try_resolve(place).await?;
        }
        let (journaled, questions) = (resolution.journaled, resolution.questions);
        let unerased = resolution.unerased;
        unerased.read_again(tx, self.target, &mut row).await?;
        if row != before {
            store_target(tx, self.target, &row);
        }
        Ok(Resolved {
            state: snapshot(tx, self.target, &row).await?,
            journaled,
            violations: Vec::new(),
            questions,
        })
    }
}

/// The mutations that wait for the application, the oldest first.
async fn open(tx: &mut Tx, target: Target) -> Result<Vec<Place>> {
    let all = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    let mut places = Vec::new();
    for (key, _) in tx.scan(keys::all_questions(target), all).await? {
        let place = keys::trailing_number(&key)
            .ok_or_else(|| stored::damaged("a key of questions is too short"))?;
        let place = Place::new(place);
        let waits = match tx.get(&keys::outbox(target, place)).await? {
            Some(payload) => {
                let row: stored::MutationRow = stored::decode(&payload)?;
                matches!(row.progress, Progress::Conflicted(_))
            }
            None => false,
        };
        if waits {
            places.push(place);
        } else {
            tx.delete(key);
        }
    }
    Ok(places)
}
