//! Deleting what is over: jobs of bounded size, which find it by the hidden index.
//!
//! What a sweep deletes is a change that nobody made, as that of a migration: it stands on the version that expired,
//! is the smallest step in time behind it, and gives way to whatever else stands.

use std::ops::Bound;

use pocket_storage::{BoxFuture, ScanLimit};

use super::{Expiry, Sight};
use crate::commit::Job;
use crate::damage;
use crate::index::{Index, Interval};
use crate::keys::{CollectionId, Target};
use crate::migrate::{Reshaped, store_reshaped};
use crate::outbox::{self, Entry, PendingChange, Slot};
use crate::replica::Replica;
use crate::stored::{Doubt, Progress, StoredKind};
use crate::tx::Tx;
use crate::{ChangeKind, Database, DocumentId, Error, Result, Revision, Timestamp, Value, codes};

/// Documents that one commit deletes at the most, and about how many bytes they have: deletions that are sent keep what
/// they delete until they are settled.
const DOCUMENTS: usize = 512;
const DOCUMENT_BYTES: usize = 1024 * 1024;

impl Database {
    /// Deletes the documents whose time to live is over, and returns how many; readers have not seen them since.
    ///
    /// It works in many small commits, between which others write, finds the documents by an index, and costs next to
    /// nothing when there is nothing to do. Opening a database does it; an application that runs long calls it now and
    /// then.
    ///
    /// Of a collection that syncs it deletes only what no server ever heard of. What others have is hidden here, too, but
    /// this device's clock may be wrong by any amount, and the deletion would be sent to all: only a sync client, which
    /// was just told the server's time, does that ([`Replica::expire`]).
    ///
    /// # Errors
    /// `corrupt` when there are damaged documents, after all others were looked at, and what the store says. What was
    /// deleted stays deleted.
    pub async fn expire(&self) -> Result<u64> {
        self.sweep(None).await
    }

    /// `told` is who was told the server's time, and what it is.
    ///
    /// Boxed, so that neither of those who ask has a copy of it.
    #[inline(never)]
    fn sweep<'a>(&'a self, told: Option<(&'a Replica, Timestamp)>) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let registry = self.core().registry();
            let (mut count, mut swept) = (0, Ok(()));
            for collection in registry.expiring() {
                swept = swept.and(self.sweep_one(collection, told, &mut count).await);
            }
            swept.map(|()| count)
        })
    }

    async fn sweep_one(
        &self,
        collection: CollectionId,
        told: Option<(&Replica, Timestamp)>,
        count: &mut u64,
    ) -> Result<()> {
        if let Some(index) = self.core().registry().expiry_index(collection) {
            self.finish_index(index.number).await?;
        }
        let (mut after, mut damage) = (None, None);
        loop {
            let job = SweepJob {
                collection,
                server_time: told.map(|(_, time)| time),
                after,
            };
            let swept = match told {
                Some((replica, _)) => replica.submit(job).await?,
                None => self.submit(job).await?,
            };
            *count += swept.deleted;
            damage = damage.or(swept.damage);
            let Some(reached) = swept.reached else { break };
            after = Some(reached);
        }
        damage.map_or(Ok(()), Err)
    }

    /// Whether some collection has a time to live, so that [`expire`](Self::expire) may have something to do.
    pub fn has_ttl(&self) -> bool {
        self.core().registry().expiring().next().is_some()
    }
}

impl Replica {
    /// As [`Database::expire`], and deletes what others have as well, which is sent: for the sync client, now and then.
    ///
    /// `server_time` is what the server's clock says now, as told in this session or an earlier one of this process,
    /// and counted on from there without the clock of this device, which may be set at any time. What is over by only one
    /// of the two clocks stays. A document with a change that no server has settled yet waits for that.
    ///
    /// # Errors
    /// As [`Database::expire`]. `other-client` where it [acts as](Self::acting_as) a client that the store is no longer:
    /// the time was that of a server which the database has left, maybe.
    pub async fn expire(&self, server_time: Timestamp) -> Result<u64> {
        self.database().sweep(Some((self, server_time))).await
    }
}

/// Deletes some documents of a collection whose time is over.
struct SweepJob {
    collection: CollectionId,
    /// The time of the server, if somebody was just told it.
    server_time: Option<Timestamp>,
    /// The entry of the hidden index that was looked at last.
    after: Option<Vec<u8>>,
}

#[derive(Default)]
struct Swept {
    deleted: u64,
    /// What the first damaged document said.
    damage: Option<Error>,
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
        let mut swept = Swept::default();
        let index = tx.registry().expiry_index(self.collection);
        let Some(index) = index.filter(|index| index.is_ready()).cloned() else {
            return Ok(swept);
        };
        let Some((name, row)) = tx.registry().row(self.collection) else {
            return Ok(swept);
        };
        if row.sync && self.server_time.is_none() && tx.state().pending == 0 {
            return Ok(swept);
        }
        let (sight, time) = (tx.sight(self.collection), tx.time());
        let told = self.server_time.map(|told| Sight {
            now: if crate::mutants::active("pocket-mutant:expiry-by-own-clock") {
                time
            } else {
                told.min(time)
            },
            ..sight.clone()
        });
        let now = Value::Timestamp(time);
        let over = Interval::like(Bound::Unbounded, Bound::Included(&now));
        let mut range = index.range(&[], &over);
        if let Some(after) = self.after.clone() {
            range = range.after(after);
        }
        let entries = tx.scan_each(range, ScanLimit::entries(DOCUMENTS)).await?;
        let is_all = entries.len() < DOCUMENTS;
        let (mut bytes, count) = (0, entries.len());
        for (at, (key, value)) in entries.into_iter().enumerate() {
            // All that an entry says is its key.
            damage::unless_damaged(value)?;
            let found = Found {
                collection: self.collection,
                syncs: row.sync,
                sight: &sight,
                told: told.as_ref(),
            };
            match found.slot(tx, &index, &key).await {
                Ok(None) => {}
                Ok(Some(slot)) => {
                    let body = slot.after.as_ref().and_then(|stored| stored.body.as_ref());
                    bytes += body.map_or(0, crate::Body::len);
                    swept.deleted += 1;
                    store_reshaped(tx, &name, &row, slot, Reshaped::Deleted).await?;
                }
                // It keeps no other from being deleted.
                Err(error) if error.code() == codes::CORRUPT => {
                    swept.damage.get_or_insert(error);
                }
                Err(error) => return Err(error),
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

/// What is asked about an entry of the hidden index.
struct Found<'a> {
    collection: CollectionId,
    /// Whether the collection syncs.
    syncs: bool,
    /// What readers see.
    sight: &'a Sight,
    /// As it is by the server's time too, if somebody was just told it.
    told: Option<&'a Sight>,
}

impl Found<'_> {
    /// The document, if it may be deleted. Writes nothing.
    async fn slot(&self, tx: &mut Tx, index: &Index, key: &[u8]) -> Result<Option<Slot>> {
        let id = index.entry(key)?.id;
        let slot = Slot::load(tx, self.collection, &id).await?;
        let Some(stored) = &slot.after else {
            return Ok(None);
        };
        if !self.sight.is_over(&id, stored)? {
            return Ok(None);
        }
        // Others have it, and they lose it: this device's clock is no reason.
        let others_lose_it = self.syncs && !is_only_here(tx, &slot).await?;
        let may_go = match self.told {
            _ if !others_lose_it => true,
            Some(told) => slot.pending().is_empty() && told.is_over(&id, stored)?,
            None => false,
        };
        Ok(may_go.then_some(slot))
    }
}

/// Whether a document was made here and never sent: it just goes, from the outbox too. What brings back what a restored
/// server has lost looks alike, but others have it.
async fn is_only_here(tx: &mut Tx, slot: &Slot) -> Result<bool> {
    let server = slot.after.as_ref().and_then(|after| after.head.server);
    let ([place], None) = (slot.pending(), server) else {
        return Ok(false);
    };
    let row = outbox::load_row(tx, Target::DEFAULT, *place).await?;
    let is_unsent = row.progress == Progress::Unsent
        && row.later.doubt == Doubt::None
        && !row.is_withdrawn()
        && !row.later.returns;
    let mut changes = row.changes.iter();
    Ok(is_unsent
        && changes.any(|change| {
            let is_same = change.collection() == slot.collection && change.id == slot.id;
            is_same && change.kind == StoredKind::Put && change.base.is_none()
        }))
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
/// somebody gives it another moment. Otherwise each sweep would send what is refused each time.
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
