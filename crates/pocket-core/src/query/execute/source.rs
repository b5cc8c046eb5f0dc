//! The documents of a plan, one batch after another.

use pocket_storage::{Direction, KeyRange};

use super::ordered::Entries;
use super::{Prepared, Reader};
use crate::config::QueryTuning;
use crate::keys::CollectionId;
use crate::query::plan::{Access, Plan};
use crate::{Document, DocumentId, Result};

/// Bytes of documents that are looked up at once, if they are as large as those before.
const LOOKUP_BYTES: u64 = 4 * 1024 * 1024;

/// What is left of a plan's documents. It holds no more than a page of them at once.
#[derive(Debug)]
pub(in crate::query) struct Source {
    collection: CollectionId,
    left: Left,
    /// Documents, or entries, read at once next time.
    page: usize,
    /// Documents looked up by their ids at once next time: a store gives them all, however large they are.
    lookups: usize,
}

#[derive(Debug)]
enum Left {
    Ids(std::vec::IntoIter<DocumentId>),
    Range(KeyRange, Direction),
    Entries(Box<Entries>),
    Nothing,
}

impl Source {
    pub(in crate::query) fn new(
        plan: &Plan,
        query: &Prepared,
        collection: CollectionId,
        tuning: &QueryTuning,
    ) -> Self {
        let left = match &plan.access {
            Access::Found(found) => Left::Ids(found.ids.clone().into_iter()),
            Access::Documents(range, direction) => Left::Range(range.clone(), *direction),
            Access::Ordered(ordered) => Left::Entries(Box::new(Entries::new(ordered))),
        };
        // Where reading ends with the limit, no more is read than might be needed.
        let page = match query.reach() {
            Some(reach) if plan.is_in_order => reach.clamp(tuning.first_page, tuning.document_page),
            _ => tuning.document_page,
        };
        Self {
            collection,
            left,
            page,
            lookups: page.min(tuning.first_page),
        }
    }

    /// The next documents, tombstones too, in the order of the plan; none at the end.
    pub(in crate::query) async fn next(
        &mut self,
        query: &Prepared,
        reader: &mut Reader,
    ) -> Result<Option<Vec<Document>>> {
        let (page, lookups) = (self.page, self.lookups);
        let before = reader.figures();
        let next = self.read(page, lookups, query, reader).await;
        let after = reader.figures();
        let documents = after.documents - before.documents;
        // The keys of entries count, too, which is little beside documents for which it matters.
        if let Some(mean) = (after.bytes - before.bytes).checked_div(documents) {
            let fit = LOOKUP_BYTES / mean.max(1);
            let fit = usize::try_from(fit).unwrap_or(usize::MAX);
            self.lookups = fit.clamp(1, reader.tuning.document_page);
        }
        next
    }

    async fn read(
        &mut self,
        page: usize,
        lookups: usize,
        query: &Prepared,
        reader: &mut Reader,
    ) -> Result<Option<Vec<Document>>> {
        self.page = (page * 2).min(reader.tuning.document_page);
        match &mut self.left {
            Left::Nothing => Ok(None),
            Left::Ids(ids) => {
                let ids: Vec<_> = ids.take(lookups).collect();
                if ids.is_empty() {
                    return Ok(None);
                }
                reader.documents(self.collection, ids).await.map(Some)
            }
            Left::Range(range, direction) => {
                let (range, direction) = (range.clone(), *direction);
                self.left = Left::Nothing;
                if range.is_empty() {
                    return Ok(None);
                }
                let (documents, last) = reader.page(range.clone(), page, direction).await?;
                let Some(last) = last else { return Ok(None) };
                // Fewer may also mean that they are large.
                let rest = match direction {
                    Direction::Forward => range.after(last),
                    Direction::Backward => range.before(last),
                };
                self.left = Left::Range(rest, direction);
                Ok(Some(documents))
            }
            Left::Entries(entries) => {
                entries
                    .documents((page, lookups), query, self.collection, reader)
                    .await
            }
        }
    }
}
