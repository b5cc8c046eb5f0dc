//! A query that is soon done runs where the store is read: index and documents cost one way to another thread.

use std::sync::Arc;

use futures_util::FutureExt;
use pocket_storage::{Storage, View};
use tokio::sync::oneshot;

use super::attempt::{Outcome, Proof, Task, attempt};
use super::{Prepared, Reader};
use crate::expire::Sight;
use crate::index::Index;
use crate::keys::CollectionId;

/// Runs a query on a reading thread of the store. None when it reads too much for that, or scans; when the store has no
/// such thing; and when anything fails: whoever reads the usual way is told the same. Otherwise as [`attempt`].
pub(super) async fn attempt_there(
    query: &Prepared,
    task: Task,
    collection: CollectionId,
    indexes: &[Arc<Index>],
    (proof, sight): (&Proof, &Sight),
    storage: &dyn Storage,
) -> Option<Option<Outcome>> {
    let (reply, answer) = oneshot::channel();
    let (query, indexes) = (query.clone(), indexes.to_vec());
    let (proof, sight) = (proof.clone(), sight.clone());
    let visitor = move |view: Box<dyn View>| {
        let mut reader = Reader::here(view, sight);
        let attempt = attempt(&query, task, collection, &indexes, &proof, &mut reader);
        // Nothing waits there but what is not to be done there.
        let _ = reply.send(attempt.now_or_never());
    };
    match storage.visit(Box::new(visitor)).await {
        Ok(true) => answer.await.ok()??.ok(),
        Ok(false) | Err(_) => None,
    }
}
