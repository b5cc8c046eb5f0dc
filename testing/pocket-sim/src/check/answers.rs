//! What the answers of a store say.

use pocket_core::replica::ReplicaState;
use pocket_sync_client::StoreAnswer;

/// The replica's state in an answer.
pub(super) fn state_of(answer: &StoreAnswer) -> Option<&ReplicaState> {
    match answer {
        StoreAnswer::Loaded(state)
        | StoreAnswer::Attached(state)
        | StoreAnswer::Renewed(state)
        | StoreAnswer::Resyncing(state) => Some(state),
        StoreAnswer::Settled(settled) => Some(&settled.state),
        StoreAnswer::Verified(verified) => Some(&verified.state),
        StoreAnswer::Applied(applied) | StoreAnswer::Swept(applied) => Some(&applied.state),
        _ => None,
    }
}

pub(super) fn describe(answer: &StoreAnswer) -> String {
    match answer {
        StoreAnswer::Loaded(state) => format!(
            "loaded: read to {}, {} pending",
            state.checkpoint.seq, state.pending
        ),
        StoreAnswer::Waiting(documents) => format!("waits for {documents:?}"),
        StoreAnswer::Attached(state) => {
            let token = state.token.map(|token| token.to_string()[..6].to_owned());
            format!("attached, token {token:?}")
        }
        StoreAnswer::Renewed(state) => {
            format!("takes another id, {} in doubt", state.waiting)
        }
        StoreAnswer::Resyncing(_) => "begins a resync".to_owned(),
        StoreAnswer::Swept(applied) => format!(
            "swept {} documents, journal {:?}, done: {}",
            applied.changes, applied.journaled, !applied.state.checkpoint.resyncing
        ),
        StoreAnswer::Pinned(pinned) => format!(
            "pinned {:?}",
            pinned
                .mutations
                .iter()
                .map(|mutation| mutation.number.get())
                .collect::<Vec<_>>()
        ),
        StoreAnswer::Blamed(blamed) => format!("blames what was on its way: {blamed:?}"),
        StoreAnswer::Resent(resent) => format!(
            "reads again {:?}",
            resent
                .mutations
                .iter()
                .map(|mutation| mutation.number.get())
                .collect::<Vec<_>>()
        ),
        StoreAnswer::Settled(settled) => format!(
            "settled: {} applied, {} conflicts, {} rejected, journal {:?}, {} pending, {} waiting",
            settled.applied,
            settled.conflicts,
            settled.rejected,
            settled.journaled,
            settled.state.pending,
            settled.state.waiting
        ),
        StoreAnswer::Applied(applied) => format!(
            "applied {} records up to {}, journal {:?}, {} pending, {} waiting",
            applied.changes,
            applied.state.checkpoint.seq,
            applied.journaled,
            applied.state.pending,
            applied.state.waiting
        ),
        StoreAnswer::Resolved(resolved) => format!(
            "resolved: journal {:?}, {} to ask about, {} pending, {} waiting",
            resolved.journaled,
            resolved.questions.len(),
            resolved.state.pending,
            resolved.state.waiting
        ),
        StoreAnswer::Verified(verified) => format!("digests: {:?}", verified.verdict),
        StoreAnswer::Failed { request, error } => format!("store failed {request:?}: {error:?}"),
    }
}
