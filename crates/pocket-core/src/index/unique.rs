//! Unique indexes: whether another document has the values that a job gave to one.
//!
//! It is asked once the job has done all it does, so documents may swap values within one job, and it looks at the
//! store with everything on top of it that was written and is not committed yet.

use std::sync::Arc;

use super::Index;
use super::entry::MAX_ENTRIES;
use super::maintain::Added;
use crate::stored::StoredDocument;
use crate::tx::Tx;
use crate::{DocumentId, Error, Result, codes, journal, keys, outbox};
use pocket_storage::ordered::BTreeSet;

/// Entries with the same values read at once. Mostly there is one: that of the document itself.
const PAGE: usize = 8;

/// Judges what was added. Duplicates that are kept, as those that come by sync, are told by the journal, in the entries
/// that are returned.
pub(super) async fn check(
    tx: &mut Tx,
    added: Vec<Added>,
    keeps_duplicates: bool,
) -> Result<Vec<u64>> {
    let (mut told, mut entries) = (BTreeSet::new(), Vec::new());
    for added in added {
        let (index, id) = (&added.index, &added.id);
        if !added.was_there && !tx.is_written(&index.key(&added.values, id)) {
            // Taken back by the same job.
            continue;
        }
        if added.overflow {
            if keeps_duplicates {
                // Nothing can be compared, so there is nothing to tell.
                continue;
            }
            return Err(too_many(index, id));
        }
        let Some(other) = other_with(tx, index, &added.values, id).await? else {
            continue;
        };
        if !added.was_there
            && tx.was_there(&index.key(&added.values, id)).await?
            && !was_over(tx, index, id).await?
        {
            // Taken away and given back by the same job.
            continue;
        }
        if !keeps_duplicates {
            return Err(violation(tx, index, id, &other)?);
        }
        let pair = (
            index.number,
            id.clone().min(other.clone()),
            id.clone().max(other.clone()),
        );
        if told.insert(pair) {
            let documents = [id.clone(), other];
            entries.push(journal::write_violation(tx, index, &documents).await?);
        }
    }
    Ok(entries)
}

/// Another document with these values in an index; none for one whose own time is over, which is in nobody's way.
pub(super) async fn other_with(
    tx: &mut Tx,
    index: &Arc<Index>,
    values: &[u8],
    id: &DocumentId,
) -> Result<Option<DocumentId>> {
    if is_over(tx, index, id).await? {
        return Ok(None);
    }
    let is_whole = index.is_whole(values)?;
    let mut range = Some(index.with_values(values));
    while let Some(next) = range {
        let (keys, rest) = tx.keys_page(next, PAGE).await?;
        range = rest;
        for key in keys {
            let other = index.entry(&key)?.id;
            if other == *id || is_over(tx, index, &other).await? {
                continue;
            }
            if is_whole || shares_value(tx, index, values, id, &other).await? {
                return Ok(Some(other));
            }
        }
    }
    Ok(None)
}

/// Whether the time of a document is over: it keeps nobody from anything any more.
async fn is_over(tx: &mut Tx, index: &Index, id: &DocumentId) -> Result<bool> {
    if tx.registry().expiry(index.collection).is_none() {
        return Ok(false);
    }
    let document = outbox::load_document(tx, index.collection, id).await?;
    let sight = tx.sight(index.collection);
    document.map_or(Ok(false), |stored| sight.is_over(id, &stored))
}

/// Whether the time of a document was over before the running job, so that its entries were judged by nobody since.
async fn was_over(tx: &mut Tx, index: &Index, id: &DocumentId) -> Result<bool> {
    let sight = tx.sight(index.collection);
    if !sight.hides() {
        return Ok(false);
    }
    let document = tx.before(&keys::document(index.collection, id)).await?;
    document.map_or(Ok(false), |payload| {
        sight.is_over(id, &StoredDocument::decode(&payload)?)
    })
}

/// Whether two documents have a value in common among those that are written as `values`, which were cut.
async fn shares_value(
    tx: &mut Tx,
    index: &Index,
    values: &[u8],
    left: &DocumentId,
    right: &DocumentId,
) -> Result<bool> {
    let mut sets = Vec::with_capacity(2);
    for id in [left, right] {
        let document = outbox::load_document(tx, index.collection, id).await?;
        let body = document.and_then(|document: StoredDocument| document.body);
        let Some(body) = body else {
            return Ok(false);
        };
        sets.push(index.whole_values(id, &body, values)?);
    }
    Ok(!sets[0].is_disjoint(&sets[1]))
}

/// The error of a document whose values cannot all be compared.
pub(super) fn too_many(index: &Index, id: &DocumentId) -> Error {
    Error::validation(format!(
        "document {id:?} has more than {MAX_ENTRIES} values in the unique index {:?}; they cannot all be compared",
        index.name()
    ))
}

/// The error of a local write, or of a building.
pub(super) fn violation(
    tx: &Tx,
    index: &Index,
    id: &DocumentId,
    other: &DocumentId,
) -> Result<Error> {
    let first = index.fields.first();
    let error = Error::new(
        codes::INDEX_UNIQUE_VIOLATION,
        format!(
            "document {id:?} of `{}` has the same {} as document {other:?}, and the index {:?} is unique",
            tx.registry().name(index.collection)?,
            index.field_names(),
            index.name()
        ),
    );
    Ok(error.at(first.map_or("", |field| field.path.as_str())))
}
