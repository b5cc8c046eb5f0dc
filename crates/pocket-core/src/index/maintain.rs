//! Keeping entries right: what each document that a job stores changes in the indexes of its collection.
//!
//! Every document row is written by [`Tx::store_document`], which tells of it here: local writes, what sync brings, what
//! a resync removes, all alike. The entries become part of the job's writes at once; what must be judged by the end state
//! waits for [`finish`], which runs behind the job and before its writes are kept.

use std::sync::Arc;

use super::{Index, unique};
use crate::keys::CollectionId;
use crate::tx::Tx;
use crate::{Body, DocumentId, Error, Result, Revision};
use pocket_storage::ordered::BTreeMap;

/// What the running job did to indexes, and what is still to be done for it.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    /// Entries of unique indexes that were added, in the order written.
    added: Vec<Added>,
    /// Fields that met an array for the first time, by index.
    multi: BTreeMap<u32, u32>,
    /// Why the job cannot be kept.
    failed: Option<Error>,
}

/// An entry that a job added to a unique index.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) index: Arc<Index>,
    pub(super) values: Vec<u8>,
    pub(super) id: DocumentId,
    pub(super) overflow: bool,
    /// It was there with something else that is written alike, since both are cut.
    pub(super) was_there: bool,
}

impl Maintenance {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.multi.is_empty() && self.failed.is_none()
    }
}

impl Tx {
    /// A document is stored with another revision or body, or none.
    pub(crate) fn document_moved(
        &mut self,
        collection: CollectionId,
        id: &DocumentId,
        before: Option<(Revision, &Body)>,
        after: Option<(Revision, &Body)>,
    ) {
        let Some(indexes) = self.registry().live_indexes(collection).cloned() else {
            return;
        };
        if before == after {
            return;
        }
        let body = |version: Option<(Revision, _)>| version.map(|(_, body)| body);
        let same_body = body(before) == body(after);
        // What cannot be read has no entries that anybody knows: all it gets are new.
        let sight = self.sight(collection);
        let was_over =
            before.is_some_and(|(rev, body)| sight.lives(id, rev, body).is_ok_and(|lives| !lives));
        for index in indexes.iter() {
            // What is over kept its entries and kept nobody from taking its values, which are judged when it comes back.
            let comes_back = was_over && index.config.unique;
            // The revision means something only to what counts from the last write.
            if same_body && !index.is_hidden() && !comes_back {
                continue;
            }
            if let Err(error) = self.entries_moved(index, id, before, after, comes_back) {
                self.maintenance().failed = Some(error);
            }
        }
    }

    fn entries_moved(
        &mut self,
        index: &Arc<Index>,
        id: &DocumentId,
        before: Option<(Revision, &Body)>,
        after: Option<(Revision, &Body)>,
        comes_back: bool,
    ) -> Result<()> {
        let entries = |(rev, body): (Revision, &Body)| index.entries_of(id, rev, body);
        // What cannot be read has entries that nobody knows. They stay, and lead readers to a document that does not
        // match.
        let old = before.map(entries).and_then(Result::ok).unwrap_or_default();
        let new = after.map(entries).transpose()?.unwrap_or_default();
        for values in old.values.difference(&new.values) {
            self.delete(index.key(values, id));
        }
        if new.multi & !index.multi != 0 {
            *self.maintenance().multi.entry(index.number).or_default() |= new.multi;
        }
        for values in &new.values {
            let was_there = !comes_back && old.values.contains(values);
            // The hidden entry of a document that nobody is to sweep is missing, until somebody writes the document.
            if !was_there || index.is_hidden() {
                self.put(index.key(values, id), &[]);
            }
            let is_new = !was_there || is_another(index, id, before, after, values)?;
            if index.config.unique && is_new {
                self.maintenance().added.push(Added {
                    index: index.clone(),
                    values: values.clone(),
                    id: id.clone(),
                    overflow: new.overflow,
                    was_there,
                });
            }
        }
        Ok(())
    }
}

/// Whether what was cut to the same values before and after a write is something new in a unique index.
fn is_another(
    index: &Index,
    id: &DocumentId,
    before: Option<(Revision, &Body)>,
    after: Option<(Revision, &Body)>,
    values: &[u8],
) -> Result<bool> {
    let (Some((_, before)), Some((_, after))) = (before, after) else {
        return Ok(false);
    };
    if !index.config.unique || index.is_whole(values)? {
        return Ok(false);
    }
    let old = index.whole_values(id, before, values)?;
    Ok(!index.whole_values(id, after, values)?.is_subset(&old))
}

/// Ends what the documents of a job began: it runs behind the job, before its writes are kept. `keeps_duplicates` says
/// that they are kept whatever unique indexes say, as what a server sent is; then it returns the entries of the journal
/// that it wrote about that.
///
/// # Errors
/// `index-unique-violation`, `validation`, `corrupt`, and what the store says; then the job must not be kept.
pub(crate) async fn finish(tx: &mut Tx, keeps_duplicates: bool) -> Result<Vec<u64>> {
    if tx.maintenance().is_empty() {
        return Ok(Vec::new());
    }
    let done = std::mem::take(tx.maintenance());
    if let Some(error) = done.failed {
        return Err(error);
    }
    for (number, multi) in done.multi {
        // It may have been dropped by the same job.
        let index = tx.registry().index(number).filter(|index| index.is_live());
        if let Some(index) = index {
            index.with_multi(multi).store(tx)?;
        }
    }
    unique::check(tx, done.added, keeps_duplicates).await
}

impl Index {
    /// The same index, with arrays in these fields too.
    pub(super) fn with_multi(&self, multi: u32) -> Self {
        Self {
            multi: self.multi | multi,
            ..self.clone()
        }
    }
}
