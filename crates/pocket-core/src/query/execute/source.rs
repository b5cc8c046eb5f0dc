//! The documents of a plan, one batch after another.

use std::sync::Arc;

use pocket_storage::{Direction, KeyRange};

use super::ordered::Entries;
use super::sieve::Wanted;
use super::{Prepared, Reader};
use crate::config::QueryTuning;
use crate::keys::CollectionId;
use crate::query::plan::{Access, Plan, Purpose};
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
    /// Of a range that is read from within: what lies below, falling, and above, rising, if they are given out in order.
    around: (Vec<Document>, Vec<Document>),
    /// Where the ends of the range came nearest, if it was read from its ends alone.
    met: Option<Vec<u8>>,
    /// Whether it is read from within.
    is_parted: bool,
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
    /// Two that touch, read away from there.
    Apart(KeyRange, KeyRange),
    Entries(Box<Entries>),
    Nothing,
}

impl Source {
    /// Of a query that is read to its end, unless it is in order and has a limit. What is only counted has no order, and
    /// is held no longer than a page.
    pub(in crate::query) fn new(
        plan: &Plan,
        query: &Prepared,
        collection: CollectionId,
        tuning: &QueryTuning,
        purpose: Purpose,
    ) -> Self {
        let counts = matches!(purpose, Purpose::Count);
        let ends = match (plan.is_in_order, query.reach()) {
            (true, None) if counts => Ends::Both,
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
            around: <(Vec<_>, Vec<_>)>::default(),
            met: None,
            is_parted: false,
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
        if !matches!(self.left, Left::Range(..) | Left::Apart(..)) {
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
                if let Some([lower, upper]) = self.parted(&range, direction, reader) {
                    return self
                        .apart((lower, upper), page, query, reader)
                        .await
                        .map(Some);
                }
                let found = self.range(range, direction, page, reader).await?;
                if found.is_none()
                    && let Some(key) = self.met.take()
                {
                    reader.meetings.note(self.collection, key);
                }
                if found.is_none() && !self.far.is_empty() {
                    let mut far = std::mem::take(&mut self.far);
                    far.reverse();
                    return Ok(Some(far));
                }
                Ok(found)
            }
            Left::Apart(lower, upper) => {
                let (lower, upper) = (lower.clone(), upper.clone());
                self.apart((lower, upper), page, query, reader)
                    .await
                    .map(Some)
            }
            Left::Entries(entries) => {
                entries
                    .documents((page, lookups), query, self.collection, reader)
                    .await
            }
        }
    }

    /// The parts of a range that is to be read from within, if it is not begun. In a browser no scan drives pages out of a
    /// cache.
    fn parted(
        &self,
        range: &KeyRange,
        direction: Direction,
        reader: &Reader,
    ) -> Option<[KeyRange; 2]> {
        let in_any_order = match self.ends {
            Ends::One => false,
            Ends::Both => true,
            Ends::BothInOrder => direction == Direction::Forward,
        };
        let parts = || reader.meetings.part(self.collection, range);
        let is_worth_it = in_any_order && !cfg!(target_arch = "wasm32");
        (is_worth_it && !self.begun && self.sieve.is_some())
            .then(parts)
            .flatten()
    }

    /// The next documents of two ranges that are read away from each other. Where one is at its end, the other is read on
    /// from both of its own.
    async fn apart(
        &mut self,
        (lower, upper): (KeyRange, KeyRange),
        page: usize,
        query: &Prepared,
        reader: &mut Reader,
    ) -> Result<Vec<Document>> {
        self.begun = true;
        self.left = Left::Nothing;
        self.is_parted = true;
        let all = || Arc::new(Wanted::new(Arc::new(query.clone()), None));
        let sieve = self.sieve.clone().unwrap_or_else(all);
        let ranges = (lower.clone(), upper.clone());
        let (low, high) = reader.sifted_apart(ranges, page, sieve).await?;
        self.around.0.extend(low.documents);
        self.around.1.extend(high.documents);
        let is_held = match (low.last, high.last) {
            (Some(low), Some(high)) => {
                self.left = Left::Apart(lower.before(low), upper.after(high));
                self.ends == Ends::BothInOrder
            }
            (Some(low), None) => {
                self.left = Left::Range(lower.before(low), Direction::Forward);
                let (below, above) = std::mem::take(&mut self.around);
                // The rest comes before all of them.
                self.far.extend(above.into_iter().rev().chain(below));
                true
            }
            (None, Some(high)) => {
                self.left = Left::Range(upper.after(high), Direction::Forward);
                false
            }
            (None, None) => false,
        };
        if is_held {
            return Ok(Vec::new());
        }
        let (below, above) = std::mem::take(&mut self.around);
        Ok(below.into_iter().rev().chain(above).collect())
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
        let mut documents = near.documents;
        let Some(last) = near.last else {
            return Ok(None);
        };
        self.met = (far.is_some() && !self.is_parted).then(|| last.clone());
        if !sieve.is_narrowed() && kept as u64 * 2 > looked_at {
            (self.sieve, self.met) = (None, None);
        }
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
