//! A query shows one state of the database, though it is read in several calls.
//!
//! Every commit replaces the state row. So what was read between two looks at the same row is of one state, and mostly
//! that is so: nothing is locked, and reading costs one more look. When a commit came in between, a query that is soon
//! done is run again; then it is run on a snapshot, or, where the backend has none, as a job of its own while which no
//! other commits.
//!
//! Where a store can be visited, a query that an index helps is first tried there, in one call that shows one state.

use std::sync::Arc;

use pocket_storage::{BoxFuture, StorageError};

use super::attempt::{Outcome, Proof, Task, attempt};
#[cfg(not(target_arch = "wasm32"))]
use super::visited::attempt_there;
use super::{Prepared, Reader};
use crate::commit::{Job, state_of};
use crate::config::MAX_COMMIT_ATTEMPTS;
use crate::index::Index;
use crate::keys::CollectionId;
use crate::registry::Registry;
use crate::tx::Tx;
use crate::{CollectionName, CommitSequence, Database, Result};

/// Runs among commits before it is made sure that none comes in between.
const LIVE_RUNS: usize = 3;

/// Calls to the store that such a run has at the most; a longer one is not tried again.
const SHORT_CALLS: u64 = 16;

/// Runs a query on one state. None when the collection is not there.
///
/// Boxed, so that whoever asks has no copy of all this.
#[inline(never)]
pub(super) fn run<'a>(
    query: &'a Prepared,
    task: Task,
    database: &'a Database,
    name: &'a CollectionName,
) -> BoxFuture<'a, Result<Option<Outcome>>> {
    Box::pin(run_unboxed(query, task, database, name))
}

async fn run_unboxed(
    query: &Prepared,
    task: Task,
    database: &Database,
    name: &CollectionName,
) -> Result<Option<Outcome>> {
    let core = database.core();
    for _ in 0..LIVE_RUNS {
        let (registry, state) = core.seen().await?;
        let Some((collection, indexes)) = of(&registry, name) else {
            return Ok(None);
        };
        let sight = core.sight_in(&registry, collection);
        let proof = Proof::State(state.clone());
        #[cfg(not(target_arch = "wasm32"))]
        if !indexes.is_empty() {
            let (seen, storage) = ((&proof, &sight), &*core.storage);
            match attempt_there(query, task, collection, &indexes, seen, storage).await {
                Some(None) => {
                    core.was_not_one_state(state.as_ref()).await?;
                    continue;
                }
                Some(outcome) => return Ok(outcome),
                None => {}
            }
        }
        let mut reader = Reader::live(core.storage.clone(), sight).meeting(&core.meetings);
        let outcome = attempt(query, task, collection, &indexes, &proof, &mut reader).await?;
        if outcome.is_some() {
            return Ok(outcome);
        }
        core.was_not_one_state(state.as_ref()).await?;
        if reader.figures().calls > SHORT_CALLS {
            break;
        }
    }
    let Some(snapshot) = core.storage.snapshot().await? else {
        let (outcome, _) = run_alone(query, task, database, name).await?;
        return Ok(outcome);
    };
    let (registry, _) = core.seen().await?;
    let Some((collection, indexes)) = of(&registry, name) else {
        return Ok(None);
    };
    let mut reader = Reader::snapshot(snapshot, core.sight_in(&registry, collection));
    let proof = Proof::Indexes;
    match attempt(query, task, collection, &indexes, &proof, &mut reader).await? {
        Some(outcome) => Ok(Some(outcome)),
        // An index is newer or older than the snapshot.
        None => attempt(query, task, collection, &[], &proof, &mut reader).await,
    }
}

/// The number of a collection and its indexes.
pub(in crate::query) fn of(
    registry: &Registry,
    name: &CollectionName,
) -> Option<(CollectionId, Vec<Arc<Index>>)> {
    let collection = registry.get(name)?.id();
    let indexes = registry.ready_indexes(collection).cloned().collect();
    Some((collection, indexes))
}

/// Runs a query while nobody commits through this handle, and tells of which state it is.
#[inline(never)]
pub(super) fn run_alone<'a>(
    query: &Prepared,
    task: Task,
    database: &'a Database,
    name: &CollectionName,
) -> BoxFuture<'a, Result<(Option<Outcome>, CommitSequence)>> {
    let job = ReadJob {
        query: query.clone(),
        task,
        name: name.clone(),
    };
    Box::pin(database.submit(job))
}

struct ReadJob {
    query: Prepared,
    task: Task,
    name: CollectionName,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ReadJob {
    type Output = (Option<Outcome>, CommitSequence);

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Self::Output> {
        let core = tx.core().clone();
        for _ in 0..MAX_COMMIT_ATTEMPTS {
            // Another handle on the same store committed, or it would have been read among commits. No commit of this one
            // is under way that could be forgotten.
            core.storage.overtaken();
            core.refresh().await?;
            let (registry, state) = core.seen().await?;
            let at = state_of(state.as_ref())?.sequence;
            let Some((collection, indexes)) = of(&registry, &self.name) else {
                return Ok((None, at));
            };
            let mut reader =
                Reader::live(core.storage.clone(), core.sight_in(&registry, collection));
            let proof = Proof::State(state.clone());
            let query = &self.query;
            let outcome =
                attempt(query, self.task, collection, &indexes, &proof, &mut reader).await?;
            // One that took a single call is of one state without a proof, but perhaps of a later one.
            if outcome.is_some() && reader.state().await? == state {
                return Ok((outcome, at));
            }
        }
        Err(StorageError::Conflict.into())
    }
}
