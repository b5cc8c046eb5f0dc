//! The digests of a namespace: kept in the commit that moves them, and counted once where they were not kept before.

use std::sync::Arc;

use pocket_core::{CollectionName, Digest, DocumentId, Seq};
use pocket_storage::ordered::BTreeMap;
use pocket_storage::{Batch, Direction, ScanLimit, StorageError};

use super::log::{Log, Open};
use super::{EmbeddedEngine, read_error};
use crate::digests::{Digests, Moved};
use crate::engine::{COUNTED, COUNTED_BYTES, Counted, EngineResult, ReadRequest};
use crate::keys::Keys;
use crate::stored::{self, DigestRow, Usage};

/// What a namespace holds.
pub(super) struct Survey {
    pub(super) usage: Usage,
    pub(super) digests: Digests,
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn corrupt(error: pocket_core::Error) -> StorageError {
    StorageError::Corrupt(error.to_string())
}

impl EmbeddedEngine {
    /// Counts what a namespace holds, which nobody did before. The caller holds the log's writer lock.
    pub(super) async fn survey(&self, log: &Log) -> Result<Survey, StorageError> {
        let mut survey = Survey {
            usage: Usage::default(),
            digests: Digests::default(),
        };
        let mut range = log.keys.documents();
        loop {
            let limit = ScanLimit::entries(COUNTED).bytes(COUNTED_BYTES);
            let found = self
                .inner
                .storage
                .scan(range.clone(), limit, Direction::Forward)
                .await?;
            let Some((last, _)) = found.last() else {
                return Ok(survey);
            };
            range = range.after(last.clone());
            for (at, value) in &found {
                let (row, body) = stored::open_record_row(at, value).map_err(corrupt)?;
                let Some(body) = body else { continue };
                let id = log.keys.document_id(at);
                let id = id.and_then(|id| std::str::from_utf8(id).ok());
                let (Some(collection), Some(id)) = (log.keys.document_collection(at), id) else {
                    return Err(corrupt(stored::damaged("the key of a record")));
                };
                survey.usage.documents += 1;
                survey.usage.bytes += (id.len() + body.len()) as u64;
                let id = DocumentId::new(id).map_err(corrupt)?;
                let digest = Digest::of(&id, row.rev);
                let readership = row.into_marks().readership();
                if survey.digests.len() <= self.inner.limits.readerships {
                    survey.digests.add(&collection, &readership, digest);
                }
            }
        }
    }

    /// Counts what is stored, for who looks at it.
    pub(super) async fn count_stored(&self, keys: &Keys, most: usize) -> EngineResult<Counted> {
        let mut counted = Counted::default();
        let mut range = keys.documents();
        while counted.records < most {
            let limit = ScanLimit::entries(COUNTED).bytes(COUNTED_BYTES);
            let storage = &self.inner.storage;
            let found = storage.scan(range.clone(), limit, Direction::Forward).await;
            let found = found.map_err(read_error)?;
            let Some((last, _)) = found.last() else {
                counted.is_whole = true;
                break;
            };
            range = range.after(last.clone());
            for (at, value) in &found {
                let (row, _) = stored::open_record_row(at, value)?;
                let collection = keys
                    .document_collection(at)
                    .ok_or_else(|| stored::damaged("the key of a record"))?;
                counted.add(collection, row.is_live());
            }
        }
        Ok(counted)
    }

    /// The digests as they are stored.
    pub(super) async fn load_digests(&self, log: &Log) -> Result<Digests, StorageError> {
        let mut digests = Digests::default();
        for (at, value) in self.stored_digests(log).await? {
            let row: DigestRow = stored::open(&at, &value).map_err(corrupt)?;
            let collection = log
                .keys
                .digest_collection(&at)
                .ok_or_else(|| corrupt(stored::damaged("the key of a digest")))?;
            let readership = row.readership().map_err(corrupt)?;
            digests.add(&collection, &readership, row.digest);
        }
        Ok(digests)
    }

    /// Stores digests that were just counted, in the place of whatever an earlier program left. Says whether they are
    /// kept from now on.
    pub(super) async fn store_digests(
        &self,
        log: &Log,
        digests: &Digests,
        batch: &mut Batch,
    ) -> Result<bool, StorageError> {
        for (at, _) in self.stored_digests(log).await? {
            batch.delete(at);
        }
        if digests.len() > self.inner.limits.readerships {
            return Ok(false);
        }
        for (collection, readership, digest) in digests.iter() {
            let at = log.keys.digest(collection, readership);
            let value = stored::seal(&at, &DigestRow::new(readership, digest));
            batch.put(at, value);
        }
        Ok(true)
    }

    async fn stored_digests(&self, log: &Log) -> Result<Vec<pocket_storage::Entry>, StorageError> {
        let most = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
        let range = log.keys.digests();
        let storage = &self.inner.storage;
        storage.scan(range, most, Direction::Forward).await
    }
}

impl Open {
    /// Moves the digests in a batch, and says whether they are kept on, which they are up to `most`; none when it is not
    /// known any more, so that the next opening counts.
    pub(super) fn move_digests(
        &self,
        keys: &Keys,
        moved: &Moved,
        most: usize,
        batch: &mut Batch,
    ) -> Option<bool> {
        let Some(digests) = &self.digests else {
            return self.row.later.digests.filter(|kept| !kept);
        };
        if digests.len() + moved.len() > most {
            for (collection, readership, _) in digests.iter() {
                batch.delete(keys.digest(collection, readership));
            }
            return Some(false);
        }
        for ((collection, readership), by) in moved {
            let digest = digests.get(collection, readership).plus(*by);
            let at = keys.digest(collection, readership);
            if digest == Digest::EMPTY {
                batch.delete(at);
            } else {
                let value = stored::seal(&at, &DigestRow::new(readership, digest));
                batch.put(at, value);
            }
        }
        Some(true)
    }

    /// The batch is stored: what is in memory follows.
    pub(super) fn digests_moved(&mut self, moved: Moved) {
        if self.row.later.digests != Some(true) {
            self.digests = None;
        }
        if let Some(digests) = &mut self.digests {
            // Copied only if a reader sums them at this moment.
            let digests = Arc::make_mut(digests);
            for ((collection, readership), by) in moved {
                digests.add(&collection, &readership, by);
            }
        }
    }

    /// The digests, for a reader who asks for them and has read up to the head with `end`.
    pub(super) fn digests_at(&self, request: &ReadRequest, end: Seq) -> Option<Arc<Digests>> {
        let reaches = request.digests && end == self.state.head;
        self.digests.clone().filter(|_| reaches)
    }
}

/// What the reader of a request should hold; none where that is not known. It asks the rules, so no lock may be held.
pub(super) fn digests_for(
    request: &ReadRequest,
    digests: Option<Arc<Digests>>,
) -> Option<BTreeMap<CollectionName, Digest>> {
    digests?.seen_by(&request.authority, |name| request.wants(name))
}
