//! Unique indexes: whether another document has the values that a job gave to one.
//!
//! It is asked once the job has done all it does, so documents may swap values within one job, and it looks at the
//! store with everything on top of it that was written and is not committed yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Index;
use super::entry::MAX_ENTRIES;
use super::maintain::Added;
use crate::stored::StoredDocument;
use crate::tx::Tx;
use crate::{DocumentId, Error, Result, codes, journal, outbox};

/// Entries with the same values read at once. Mostly there is one: that of the document itself.
const PAGE: usize = 8;

/// Judges what was added. What came by sync stays, and the journal tells of it, in the entries that are returned.
pub(super) async fn check(tx: &mut Tx, added: Vec<Added>, by_sync: bool) -> Result<Vec<u64>> {
    let (mut told, mut entries) = (BTreeSet::new(), Vec::new());
    for added in added {
        let (index, id) = (&added.index, &added.id);
        if !added.was_there && !tx.is_written(&index.key(&added.values, id)) {
            // Taken back by the same job.
            continue;
        }
        if added.overflow {
            if by_sync {
                continue;
            }
            return Err(too_many(index, id));
        }
        let Some(other) = other_with(tx, index, &added.values, id).await? else {
            continue;
        };
        if !added.was_there && tx.was_there(&index.key(&added.values, id)).await? {
            // Taken away and given back by the same job.
            continue;
        }
        if !by_sync {
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

/// Another document with these values in an index.
pub(super) async fn other_with(
    tx: &mut Tx,
    index: &Arc<Index>,
    values: &[u8],
    id: &DocumentId,
) -> Result<Option<DocumentId>> {
    let is_whole = index.is_whole(values)?;
    let mut range = Some(index.with_values(values));
    while let Some(next) = range {
        let (keys, rest) = tx.keys_page(next, PAGE).await?;
        range = rest;
        for key in keys {
            let other = index.entry(&key)?.id;
            if other != *id && (is_whole || shares_value(tx, index, values, id, &other).await?) {
                return Ok(Some(other));
            }
        }
    }
    Ok(None)
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
    Ok(Error::new(
        codes::INDEX_UNIQUE_VIOLATION,
        format!(
            "document {id:?} of `{}` has the same {} as document {other:?}, and the index {:?} is unique",
            tx.registry().name(index.collection)?,
            index.field_names(),
            index.name()
        ),
    ))
}
