//! A document gets another shape: an edit that nobody made.

use serde::Serialize;
use serde::de::DeserializeOwned;

use pocket_storage::ScanLimit;

use super::Reshaped;
use crate::commit::Job;
use crate::keys;
use crate::outbox::{Edit, Slot};
use crate::stored::{self, CollectionRow, DocumentHead, DocumentLater, Presence, StoredDocument};
use crate::tx::Tx;
use crate::{
    ChangeKind, Collection, CollectionName, Database, DocumentId, Error, Result, Revision, codes,
    write,
};

/// Documents and bytes of one commit.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Failures that [`ReshapeReport`] holds.
const FAILURES: usize = 100;

/// What [`Collection::reshape_all`] did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[must_use]
pub struct ReshapeReport {
    /// Documents that got another shape, or went.
    pub changed: u64,
    /// Documents at which a step failed; they are as before.
    pub failed: u64,
    /// The first 100 of those, by id.
    pub failures: Vec<ReshapeFailure>,
}

/// A document at which a step failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReshapeFailure {
    /// The document.
    pub document_id: DocumentId,
    /// What the step said: `migration`, or the limit that its result breaks.
    pub error: Error,
}

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
    let hlc = old.head.later.step_aside(old.head.rev.hlc);
    let rev = Revision::new(hlc, tx.client());
    let clock = tx.state().clock.max(hlc);
    tx.state().clock = clock;
    let body = kind.body().cloned();
    let presence = if body.is_some() {
        Presence::Live
    } else {
        Presence::Deleted
    };
    // An outbox would remember that nobody made this; where there is none, the document has to, for when sync is switched
    // on again.
    let is_known = old.head.server.is_some() || !old.head.pending.is_empty();
    let reshaped = old.head.later.reshaped.or(Some(old.head.rev));
    let later = DocumentLater {
        reshaped: reshaped.filter(|_| !row.sync && is_known),
        ..old.head.later.kept()
    };
    let body_changes = body.is_some();
    let needed = row.sync || body.is_some() || !old.head.pending.is_empty();
    slot.after = needed.then_some(StoredDocument {
        head: DocumentHead {
            rev,
            presence,
            later,
            ..old.head
        },
        body,
    });
    let is_edit = body_changes && crate::mutants::active("pocket-mutant:migration-counts-as-edit");
    let edit = Edit {
        slot: Box::new(slot),
        kind,
        rev,
        migrated: !is_edit,
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

/// What was done, and where the next batch begins, if there is one.
type Batch = (ReshapeReport, Option<Vec<u8>>);

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ReshapeJob {
    type Output = Batch;

    fn runs_alone(&self) -> bool {
        true
    }

    /// Nobody made this edit, and documents that sync brought may be what breaks the index.
    fn keeps_duplicates(&self) -> bool {
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
        let mut report = ReshapeReport::default();
        for slot in documents {
            let Some(body) = slot.after.as_ref().and_then(|it| it.body.as_ref()) else {
                continue;
            };
            let versions = (0, self.database.schema_version());
            let limits = &tx.core().limits.document;
            let migrations = self.database.migrations();
            let reshaped = match migrations.reshape(versions, &self.name, &slot.id, body, limits) {
                Ok(reshaped) => reshaped,
                // What is damaged is nothing that a step has said.
                Err(error) if error.code() == codes::CORRUPT => return Err(error),
                Err(error) => {
                    report.failed += 1;
                    report.failures.push(ReshapeFailure {
                        document_id: slot.id,
                        error,
                    });
                    continue;
                }
            };
            report.changed += u64::from(reshaped != Reshaped::Unchanged);
            store_reshaped(tx, &self.name, &row, slot, reshaped).await?;
        }
        Ok((report, last))
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
    /// leave what has the new shape as it is. If the new shape breaks a unique index it is stored all the same, and the
    /// journal tells of it.
    ///
    /// # Errors
    /// `migration` when a step fails, `collection-not-found`, `bad-id`, and what the store says.
    pub async fn reshape(&self, id: &str) -> Result<bool> {
        let documents = Documents::One(DocumentId::new(id)?);
        let (report, _) = self.reshape_batch(documents).await?;
        match report.failures.into_iter().next() {
            Some(failure) => Err(failure.error),
            None => Ok(report.changed > 0),
        }
    }

    /// As [`reshape`](Self::reshape) for every document, a batch at a time. Documents at which a step fails stay as they
    /// are, the others go on, and the report names them.
    ///
    /// # Errors
    /// `collection-not-found`, `corrupt`, and what the store says. Batches before stay.
    pub async fn reshape_all(&self) -> Result<ReshapeReport> {
        let (mut all, mut after) = (ReshapeReport::default(), None);
        loop {
            let (report, last) = self.reshape_batch(Documents::After(after)).await?;
            all.changed += report.changed;
            all.failed += report.failed;
            let room = FAILURES.saturating_sub(all.failures.len());
            all.failures.extend(report.failures.into_iter().take(room));
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
