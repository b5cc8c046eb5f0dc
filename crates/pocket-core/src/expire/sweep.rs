//! Deleting what is over: jobs of bounded size, which find it by the hidden index.
//!
//! What a sweep deletes is a change that nobody made, as that of a migration: it stands on the version that expired,
//! is the smallest step in time behind it, and gives way to whatever else stands.

use std::ops::Bound;

use pocket_storage::ScanLimit;

use super::Expiry;
use crate::commit::Job;
use crate::index::Interval;
use crate::keys::{CollectionId, Target};
use crate::migrate::{Reshaped, store_reshaped};
use crate::outbox::{self, Entry, PendingChange, Slot};
use crate::stored::{Progress, StoredKind};
use crate::tx::Tx;
use crate::{ChangeKind, Database, DocumentId, Result, Revision, Timestamp, Value};

/// Documents that one commit deletes at the most, and about how many bytes they have: deletions that are sent keep what
/// they delete until they are settled.
const DOCUMENTS: usize = 512;
const DOCUMENT_BYTES: usize = 1024 * 1024;

impl Database {
    /// Deletes the documents whose time to live is over, and returns how many; readers have not seen them since.
    ///
    /// It works in many small commits, between which others write, finds the documents by an index, and costs next to
    /// nothing when there is nothing to do. Opening a database does it, and a sync client about once a minute; an
    /// application that runs long without one calls it now and then. In a collection that syncs, a document with a change
    /// that no server has settled yet waits for that, unless no server ever heard of the document.
    ///
    /// # Errors
    /// `corrupt`, and what the store says. What was deleted before stays deleted.
    pub async fn expire(&self) -> Result<u64> {
        let registry = self.core().registry();
        let mut count = 0;
        for collection in registry.expiring() {
            if let Some(index) = registry.expiry_index(collection) {
                self.finish_index(index.number).await?;
            }
            let mut after = None;
            loop {
                let swept = self.submit(SweepJob { collection, after }).await?;
                count += swept.deleted;
                let Some(reached) = swept.reached else { break };
                after = Some(reached);
            }
        }
        Ok(count)
    }

    /// Whether some collection has a time to live, so that [`expire`](Self::expire) may have something to do.
    pub fn has_ttl(&self) -> bool {
        self.core().registry().expiring().next().is_some()
    }
}

/// Deletes some documents of a collection whose time is over.
struct SweepJob {
    collection: CollectionId,
    /// The entry of the hidden index that was looked at last.
    after: Option<Vec<u8>>,
}

struct Swept {
    deleted: u64,
    /// The entry that was looked at last, if there may be more behind it.
    reached: Option<Vec<u8>>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for SweepJob {
    type Output = Swept;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Swept> {
        let mut swept = Swept {
            deleted: 0,
            reached: None,
        };
        let index = tx.registry().expiry_index(self.collection);
        let Some(index) = index.filter(|index| index.is_ready()).cloned() else {
            return Ok(swept);
        };
        let Some((name, row)) = tx.registry().row(self.collection) else {
            return Ok(swept);
        };
        let (sight, now) = (tx.sight(self.collection), Value::Timestamp(tx.time()));
        let over = Interval::like(Bound::Unbounded, Bound::Included(&now));
        let mut range = index.range(&[], &over);
        if let Some(after) = self.after.clone() {
            range = range.after(after);
        }
        let entries = tx.scan(range, ScanLimit::entries(DOCUMENTS)).await?;
        let is_all = entries.len() < DOCUMENTS;
        let (mut bytes, count) = (0, entries.len());
        for (at, (key, _)) in entries.into_iter().enumerate() {
            let id = index.entry(&key)?.id;
            let slot = Slot::load(tx, self.collection, &id).await?;
            let document = slot.after.as_ref();
            let is_over = document.map_or(Ok(false), |stored| sight.is_over(&id, stored))?;
            if is_over && (!row.sync || is_settled(tx, &slot).await?) {
                let body = document.and_then(|stored| stored.body.as_ref());
                bytes += body.map_or(0, crate::Body::len);
                swept.deleted += 1;
                store_reshaped(tx, &name, &row, slot, Reshaped::Deleted).await?;
            }
            let is_last = at + 1 == count;
            if bytes >= DOCUMENT_BYTES || (is_last && !is_all) {
                swept.reached = Some(key);
                return Ok(swept);
            }
        }
        Ok(swept)
    }
}

/// Whether nothing is under way that the deletion of a document would have to be merged with: that would be an edit, and
/// no longer give way. What was made here and never sent just goes.
async fn is_settled(tx: &mut Tx, slot: &Slot) -> Result<bool> {
    match slot.pending() {
        [] => Ok(true),
        [place] => {
            let row = outbox::load_row(tx, Target::DEFAULT, *place).await?;
            let is_unsent = row.progress == Progress::Unsent && !row.is_withdrawn();
            let mut changes = row.changes.iter();
            Ok(is_unsent
                && changes.any(|change| {
                    let is_same = change.collection() == slot.collection && change.id == slot.id;
                    is_same && change.kind == StoredKind::Put && change.base.is_none()
                }))
        }
        _ => Ok(false),
    }
}

/// The documents that a mutation deletes without an edit of anybody.
pub(crate) fn deletions(entry: &Entry) -> Vec<(CollectionId, DocumentId)> {
    let changes = entry.changes.iter();
    changes
        .filter(|change| change.migrated && matches!(change.kind, ChangeKind::Delete))
        .map(PendingChange::document)
        .collect()
}

/// A server refused the deletion of an expired document, which is back: it is hidden, and not deleted again before
/// somebody writes it. Otherwise each sweep would send what is refused each time.
pub(crate) async fn give_up(tx: &mut Tx, collection: CollectionId, id: &DocumentId) -> Result<()> {
    let Some(index) = tx.registry().expiry_index(collection).cloned() else {
        return Ok(());
    };
    let stored = outbox::load_document(tx, collection, id).await?;
    let stored = stored.and_then(|stored| Some((stored.head.rev, stored.body?)));
    let Some((rev, body)) = stored else {
        return Ok(());
    };
    for values in index.entries_of(id, rev, &body)?.values {
        tx.delete(index.key(&values, id));
    }
    Ok(())
}

impl Expiry {
    /// The value that stands in the hidden index for a version; none when its time is never over.
    pub(crate) fn value(
        &self,
        id: &DocumentId,
        rev: Revision,
        body: &crate::Body,
    ) -> Result<Option<Value>> {
        let moment: Option<Timestamp> = self.moment(id, rev, body)?;
        Ok(moment.map(Value::Timestamp))
    }
}
