//! Clearing a collection, and deleting it.

use pocket_storage::ScanLimit;

use crate::commit::Job;
use crate::configure::{CHUNK, put_collection};
use crate::damage;
use crate::expire::Sight;
use crate::index;
use crate::keys;
use crate::outbox::Slot;
use crate::stored::{self, CollectionRow, StoredDocument};
use crate::tx::Tx;
use crate::write::{Operation, Write, apply, finish};
use crate::{CollectionName, DocumentId, Result};

/// Deletes the documents of a collection, each as a mutation of its own, in one commit.
#[derive(Clone, Debug)]
pub(crate) struct ClearJob {
    pub(crate) collection: CollectionName,
    /// Also forgets the collection's settings.
    pub(crate) forget: bool,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ClearJob {
    /// Documents that were shown until now.
    type Output = u64;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<u64> {
        let mut row = tx.registry().existing(&self.collection)?;
        let sight = tx.sight(row.id());
        if self.forget {
            // Nobody sees the documents from here on. Their entries in indexes are not removed with each one, but all
            // together afterwards.
            index::drop_all(tx, row.id())?;
            row.dropped = true;
            put_collection(tx, &self.collection, row.clone());
        }
        delete_all(tx, &self.collection, &row, &sight).await
    }
}

/// Says how many of them `sight` saw.
async fn delete_all(
    tx: &mut Tx,
    name: &CollectionName,
    row: &CollectionRow,
    sight: &Sight,
) -> Result<u64> {
    let mut range = keys::documents(row.id());
    let mut shown = 0;
    loop {
        let limit = ScanLimit::entries(CHUNK);
        let entries = tx.scan_each(range.clone(), limit).await?;
        let Some((last, _)) = entries.last() else {
            return Ok(shown);
        };
        range = range.after(last.clone());
        for (key, payload) in entries {
            let id = keys::document_id(&key)
                .ok_or_else(|| stored::damaged("a document's key is too short"))?;
            let id = DocumentId::new(id)?;
            let stored = payload.and_then(|payload| StoredDocument::decode(&payload));
            let (slot, is_shown) = match damage::unless_damaged(stored)? {
                Some(stored) if !stored.is_live() => continue,
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
            let edit = apply(tx, row, Box::new(slot), &write)?;
            finish(tx, name, row, edit).await?;
            shown += u64::from(is_shown);
        }
    }
}
