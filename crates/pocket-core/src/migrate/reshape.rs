//! A document gets another shape: an edit that nobody made.

use serde::Serialize;
use serde::de::DeserializeOwned;

use pocket_storage::ScanLimit;

use super::Reshaped;
use crate::commit::Job;
use crate::keys;
use crate::outbox::{Edit, Slot};
use crate::stored::{self, CollectionRow, DocumentHead, Presence, StoredDocument};
use crate::tx::Tx;
use crate::{
    ChangeKind, Collection, CollectionName, Database, DocumentId, Hlc, Result, Revision, write,
};

/// Documents and bytes of one commit.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// What one batch does at the most.
pub(super) fn batch() -> ScanLimit {
    ScanLimit::entries(BATCH).bytes(BATCH_BYTES)
}

/// Stores the new shape of the document in `slot`, as the smallest step in time behind the version it was made of: any
/// edit that anybody made of that version is later, and wins where the later one does.
pub(crate) async fn store_reshaped(
    tx: &mut Tx,
    name: &CollectionName,
    row: &CollectionRow,
    mut slot: Slot,
    reshaped: Reshaped,
) -> Result<()> {
    let Some(old) = slot.after.take() else {
        return Ok(());
    };
    let kind = match reshaped {
        Reshaped::Unchanged => return Ok(()),
        Reshaped::Changed(body) => ChangeKind::Put(body),
        Reshaped::Deleted => ChangeKind::Delete,
    };
    let hlc = Hlc::from_bits(old.head.rev.hlc.bits().saturating_add(1));
    let rev = Revision::new(hlc, tx.client());
    let clock = tx.state().clock.max(hlc);
    tx.state().clock = clock;
    let body = kind.body().cloned();
    let presence = if body.is_some() {
        Presence::Live
    } else {
        Presence::Deleted
    };
    let needed = row.sync || body.is_some() || !old.head.pending.is_empty();
    slot.after = needed.then_some(StoredDocument {
        head: DocumentHead {
            rev,
            presence,
            ..old.head
        },
        body,
    });
    let edit = Edit {
        slot,
        kind,
        rev,
        migrated: true,
    };
    write::finish(tx, name, row, edit).await
}

/// Runs all migrations over one document, or over a batch of a collection.
struct ReshapeJob {
    database: Database,
    name: CollectionName,
    documents: Documents,
}

enum Documents {
    One(DocumentId),
    /// Those behind this key.
    After(Option<Vec<u8>>),
}

/// How many documents changed, and where the next batch begins, if there is one.
type Batch = (u64, Option<Vec<u8>>);

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ReshapeJob {
    type Output = Batch;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Batch> {
        let row = tx.registry().existing(&self.name)?;
        let (documents, last) = match &self.documents {
            Documents::One(id) => (vec![Slot::load(tx, row.id(), id).await?], None),
            Documents::After(after) => {
                let range = keys::documents(row.id());
                let range = match after {
                    Some(after) => range.after(after.clone()),
                    None => range,
                };
                let entries = tx.scan(range, batch()).await?;
                let last = entries.last().map(|(key, _)| key.clone());
                let slots = entries
                    .iter()
                    .map(|(key, payload)| slot_of(&row, key, payload));
                (slots.collect::<Result<_>>()?, last)
            }
        };
        let mut changed = 0;
        for slot in documents {
            let Some(body) = slot.after.as_ref().and_then(|it| it.body.as_ref()) else {
                continue;
            };
            let versions = (0, self.database.schema_version());
            let limits = &tx.core().limits.document;
            let migrations = self.database.migrations();
            let reshaped = migrations.reshape(versions, &self.name, &slot.id, body, limits)?;
            changed += u64::from(reshaped != Reshaped::Unchanged);
            store_reshaped(tx, &self.name, &row, slot, reshaped).await?;
        }
        Ok((changed, last))
    }
}

/// The document of an entry of the store.
pub(super) fn slot_of(row: &CollectionRow, key: &[u8], payload: &bytes::Bytes) -> Result<Slot> {
    let id =
        keys::document_id(key).ok_or_else(|| stored::damaged("a document's key is too short"))?;
    let stored = StoredDocument::decode(payload)?;
    Ok(Slot::of(row.id(), DocumentId::new(id)?, Some(stored)))
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// Runs the migrations of the program over one document again, all of them in order, and tells whether it got
    /// another shape: for documents that arrive from devices with an older program. Steps that know their own result
    /// leave what has the new shape as it is.
    ///
    /// # Errors
    /// `migration` when a step fails, `collection-not-found`, `bad-id`, and what the store says.
    pub async fn reshape(&self, id: &str) -> Result<bool> {
        let documents = Documents::One(DocumentId::new(id)?);
        let (changed, _) = self.reshape_batch(documents).await?;
        Ok(changed > 0)
    }

    /// As [`reshape`](Self::reshape) for every document, a batch at a time; returns how many got another shape.
    ///
    /// # Errors
    /// As [`reshape`](Self::reshape). Batches before stay.
    pub async fn reshape_all(&self) -> Result<u64> {
        let (mut all, mut after) = (0, None);
        loop {
            let (changed, last) = self.reshape_batch(Documents::After(after)).await?;
            all += changed;
            if last.is_none() {
                return Ok(all);
            }
            after = last;
        }
    }

    async fn reshape_batch(&self, documents: Documents) -> Result<Batch> {
        let job = ReshapeJob {
            database: self.database().clone(),
            name: self.name().clone(),
            documents,
        };
        self.database().submit(job).await
    }
}
