//! Clearing a collection, and deleting it.

use crate::commit::Job;
use crate::configure::put_collection;
use crate::damage;
use crate::expire::Sight;
use crate::index;
use crate::keys::{self, Target};
use crate::outbox::Slot;
use crate::replica;
use crate::stepwise::{self, Begun};
use crate::stored::{self, Clearing, CollectionRow, Later, StoredDocument, UnderWay};
use crate::tx::Tx;
use crate::write::{Operation, Write, apply, finish};
use crate::{CollectionName, DocumentId, Result, Ttl};

/// Deletes the documents of a collection, each as a mutation of its own.
#[derive(Clone, Debug)]
pub(crate) struct ClearJob {
    pub(crate) collection: CollectionName,
    /// Also forgets the collection's settings.
    pub(crate) forget: bool,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ClearJob {
    type Output = Begun;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Begun> {
        let mut row = tx.registry().existing(&self.collection)?;
        if row.later.under_way.is_some() {
            return Ok(Begun::Busy);
        }
        if self.forget {
            // Nobody sees the documents from here on. Their entries in indexes are not removed with each one, but all
            // together afterwards.
            index::drop_all(tx, row.id())?;
            row.dropped = true;
            put_collection(tx, &self.collection, row.clone());
        }
        let target = replica::load_target(tx, Target::DEFAULT).await?;
        let from = Clearing {
            clock: tx.state().clock,
            seq: target.highest_known(),
            after: None,
            later: Later,
        };
        let deleted = some(tx, &self.collection, row, from).await?;
        Ok(Begun::Yes(deleted))
    }
}

/// Deletes the next documents, and notes how far that came. Says how many there were.
pub(crate) async fn some(
    tx: &mut Tx,
    name: &CollectionName,
    mut row: CollectionRow,
    mut from: Clearing,
) -> Result<u64> {
    let goes_on = row.later.under_way.take().is_some();
    let ttl = row.later.ttl.as_ref().map(Ttl::of_row);
    let sight = Sight::new(ttl.as_ref(), tx.time())?;
    let mut range = keys::documents(row.id());
    if let Some(after) = &from.after {
        range = range.after(after.to_vec());
    }
    let (mut deleted, mut shown) = (0_u64, 0);
    // What holds nothing to delete costs no commit of its own.
    while deleted == 0 {
        let limit = stepwise::step();
        let entries = tx.scan_sealed(range.clone(), limit).await?;
        let is_last = !limit.is_reached_by(&entries);
        let last = entries.last().map(|(key, _)| key.clone());
        for (key, sealed) in entries {
            let id = keys::document_id(&key)
                .ok_or_else(|| stored::damaged("a document's key is too short"))?;
            let id = DocumentId::new(id)?;
            let opened = tx.core().open(&key, &sealed);
            let stored = opened.and_then(|payload| StoredDocument::decode(&payload));
            let (slot, is_shown) = match damage::unless_damaged(stored)? {
                Some(stored) if !stored.is_live() => continue,
                Some(stored) if goes_on && is_since(tx, &from, &stored) => continue,
                Some(stored) => {
                    let is_shown = !sight.is_over(&id, &stored)?;
                    (Slot::of(row.id(), id.clone(), Some(stored)), is_shown)
                }
                None => (Slot::load_over(tx, row.id(), &id, true).await?, true),
            };
            let write = Write {
                collection: name.clone(),
                id,
                operation: Operation::Delete,
            };
            let edit = apply(tx, &row, slot, &write)?;
            finish(tx, name, &row, edit).await?;
            deleted += 1;
            shown += u64::from(is_shown);
        }
        from.after = last.filter(|_| !is_last).map(Into::into);
        match &from.after {
            Some(after) => range = range.after(after.to_vec()),
            None => break,
        }
    }
    if from.after.is_some() {
        row.later.under_way = Some(UnderWay::Clearing(from));
    }
    if goes_on || row.later.under_way.is_some() {
        put_collection(tx, name, row);
    }
    Ok(shown)
}

/// Whether a document was written here, or came from a server, since the clearing began, which may have been interrupted for a
/// while. Then it stays.
fn is_since(tx: &Tx, from: &Clearing, stored: &StoredDocument) -> bool {
    let rev = stored.head.rev;
    // The clock had passed all that had been written or seen by then. What others wrote before may come later; what this
    // device wrote has its place later, too, and came before.
    let has_come = stored.head.server.is_some_and(|server| {
        server.rev == rev && server.seq > from.seq && rev.client != tx.client()
    });
    has_come || rev.hlc > from.clock
}
