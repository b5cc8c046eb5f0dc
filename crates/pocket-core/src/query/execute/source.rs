//! The documents of a plan, one batch after another.

use std::sync::Arc;

use pocket_storage::{Direction, KeyRange};

use super::ordered::Entries;
use super::sieve::Wanted;
use super::{Prepared, Reader};
use crate::config::QueryTuning;
use crate::keys::CollectionId;
use crate::query::plan::{Access, Plan};
use crate::query::sort::Row;
use crate::{Document, DocumentId, Result};

/// Bytes of documents that are looked up at once, if they are as large as those before.
const LOOKUP_BYTES: u64 = 4 * 1024 * 1024;

/// What is left of a plan's documents. It holds no more than two pages of them at once, besides those that the query gives
/// out.
#[derive(Debug)]
pub(in crate::query) struct Source {
    collection: CollectionId,
    left: Left,
    /// Documents, or entries, read at once next time.
    page: usize,
    /// Documents looked up by their ids at once next time: a store gives them all, however large they are.
    lookups: usize,
    /// The query, for sieves.
    shared: Option<Arc<Prepared>>,
    /// What leaves documents in the store that the query does not select.
    sieve: Option<Arc<Wanted>>,
    ends: Ends,
    /// Whether a page was sifted.
    begun: bool,
    /// Documents of the far end of a range, to be given out behind all others, the last one first.
    far: Vec<Document>,
}

/// Whether a range is read from both of its ends at once, so that a second thread of the store helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// From one: the reading may end anywhere.
    One,
    /// From both, in whatever order.
    Both,
    /// From both, and what the far end gives is held until all else was given out.
    BothInOrder,
}

#[derive(Debug)]
enum Left {
    Ids(std::vec::IntoIter<DocumentId>),
    Range(KeyRange, Direction),
    Entries(Box<Entries>),
    Nothing,
}

impl Source {
    /// Of a query that is read to its end, unless it is in order and has a limit.
    pub(in crate::query) fn new(
        plan: &Plan,
        query: &Prepared,
        collection: CollectionId,
        tuning: &QueryTuning,
    ) -> Self {
        let ends = match (plan.is_in_order, query.reach()) {
            (true, Some(_)) => Ends::One,
            (true, None) => Ends::BothInOrder,
            (false, _) => Ends::Both,
        };
        Self::reading(plan, query, collection, tuning, ends)
    }

    /// Of a query that may be left at any document, and holds nothing but a page.
    pub(in crate::query) fn streaming(
        plan: &Plan,
        query: &Prepared,
        collection: CollectionId,
        tuning: &QueryTuning,
    ) -> Self {
        Self::reading(plan, query, collection, tuning, Ends::One)
    }

    fn reading(
        plan: &Plan,
        query: &Prepared,
        collection: CollectionId,
        tuning: &QueryTuning,
        ends: Ends,
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
        let mut source = Self {
            collection,
            left,
            page,
            lookups: page.min(tuning.first_page),
            shared: None,
            sieve: None,
            ends,
            begun: false,
            far: Vec::new(),
        };
        if query.leaves_out() {
            source.sift(query, None);
        }
        source
    }

    /// From now on nothing is needed that comes behind a row.
    pub(super) fn narrow(&mut self, query: &Prepared, last: &Row) {
        self.sift(query, Some(last.clone()));
    }

    fn sift(&mut self, query: &Prepared, last: Option<Row>) {
        if !matches!(self.left, Left::Range(..)) {
            return;
        }
        let shared = self.shared.get_or_insert_with(|| Arc::new(query.clone()));
        self.sieve = Some(Arc::new(Wanted::new(shared.clone(), last)));
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
        let most = match &self.sieve {
            Some(_) => reader.tuning.sifted_page,
            None => reader.tuning.document_page,
        };
        let page = page.min(most);
        self.page = (page * 2).min(most);
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
                let found = self.range(range, direction, page, reader).await?;
                if found.is_none() && !self.far.is_empty() {
                    let mut far = std::mem::take(&mut self.far);
                    far.reverse();
                    return Ok(Some(far));
                }
                Ok(found)
            }
            Left::Entries(entries) => {
                entries
                    .documents((page, lookups), query, self.collection, reader)
                    .await
            }
        }
    }

    /// The next documents of a range, which are none if there are no more in it.
    async fn range(
        &mut self,
        range: KeyRange,
        direction: Direction,
        page: usize,
        reader: &mut Reader,
    ) -> Result<Option<Vec<Document>>> {
        if range.is_empty() {
            return Ok(None);
        }
        let Some(sieve) = self.sieve.clone() else {
            let page = reader.page(range.clone(), page, direction).await?;
            return Ok(page.last.map(|last| {
                self.left = Left::Range(beyond(range, direction, last), direction);
                page.documents
            }));
        };
        // The first page may be all there is.
        let is_first = !std::mem::replace(&mut self.begun, true);
        let before = reader.figures().documents;
        let one = self.ends == Ends::One || is_first;
        let (near, far) = if one {
            let near = reader
                .sifted_page(range.clone(), page, direction, sieve.clone())
                .await?;
            (near, None)
        } else {
            let (near, far) = reader
                .sifted_ends(range.clone(), page, direction, sieve.clone())
                .await?;
            (near, Some(far))
        };
        // Where most are wanted, looking at them twice costs more than it saves.
        let kept = near.documents.len() + far.as_ref().map_or(0, |far| far.documents.len());
        let looked_at = reader.figures().documents - before;
        if !sieve.is_narrowed() && kept as u64 * 2 > looked_at {
            self.sieve = None;
        }
        let mut documents = near.documents;
        let Some(last) = near.last else {
            return Ok(None);
        };
        let mut left = beyond(range, direction, last);
        if let Some(far) = far {
            if let Some(last) = far.last {
                left = beyond(left, reversed(direction), last);
            }
            match self.ends {
                Ends::BothInOrder => self.far.extend(far.documents),
                _ => documents.extend(far.documents),
            }
        }
        self.left = Left::Range(left, direction);
        Ok(Some(documents))
    }
}

/// What is left of a range behind the last key that was read. Fewer than were asked for may also mean that they are large.
fn beyond(range: KeyRange, direction: Direction, last: Vec<u8>) -> KeyRange {
    match direction {
        Direction::Forward => range.after(last),
        Direction::Backward => range.before(last),
    }
}

fn reversed(direction: Direction) -> Direction {
    match direction {
        Direction::Forward => Direction::Backward,
        Direction::Backward => Direction::Forward,
    }
}
