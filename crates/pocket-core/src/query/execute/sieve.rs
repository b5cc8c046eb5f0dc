//! What of a query can be told of a document where it is stored.

use std::sync::Arc;

use pocket_storage::Sieve;

use super::Prepared;
use crate::query::path::Place;
use crate::query::sort::Row;
use crate::{DocumentId, Result, envelope, keys, stored};

/// The documents that a query may give out, so that the others are never taken out of the store.
///
/// It leaves out only what the query does not select; what is kept is looked at again by whoever reads it. So whatever
/// cannot be read here is kept, and told there.
#[derive(Debug)]
pub(super) struct Wanted {
    query: Arc<Prepared>,
    /// What comes behind this row in the order that is wanted, or the reverse of it if the query counts from its end, is
    /// not needed any more.
    last: Option<Row>,
}

impl Wanted {
    pub(super) fn new(query: Arc<Prepared>, last: Option<Row>) -> Self {
        Self { query, last }
    }

    /// Whether it leaves out more than the query does.
    pub(super) fn is_narrowed(&self) -> bool {
        self.last.is_some()
    }

    fn selects(&self, key: &[u8], value: &[u8]) -> Result<bool> {
        let query = &*self.query;
        let id = keys::document_id(key).ok_or_else(|| stored::damaged("a key is too short"))?;
        let Some(body) = stored::live_body(envelope::verify(key, value)?)? else {
            return Ok(false);
        };
        let place = Place::of(id, body)?;
        if !query.filter.passes(place)? {
            return Ok(false);
        }
        let against =
            |keys, theirs: &DocumentId| query.sort.compare_place((place, id), (keys, theirs));
        if let Some(after) = &query.after
            && !against(&after.keys, &after.id)?.is_gt()
        {
            return Ok(false);
        }
        if let Some(before) = &query.before
            && !against(&before.keys, &before.id)?.is_lt()
        {
            return Ok(false);
        }
        let Some(last) = &self.last else {
            return Ok(true);
        };
        let ordering = against(&last.keys, &last.document.id)?;
        Ok(if query.is_backwards() {
            ordering.is_gt()
        } else {
            ordering.is_lt()
        })
    }
}

impl Sieve for Wanted {
    fn keeps(&self, key: &[u8], value: &[u8]) -> bool {
        self.selects(key, value).unwrap_or(true)
    }
}
