//! Finding the ids of documents in indexes, before any document is read.
//!
//! Nothing but the entries of an index tells how many there are in a range, so they are read: first a few of every
//! candidate, and of those that have more only as many as make it worth the while. What is found is exact, and the plan
//! is made of it.

use std::sync::Arc;

use pocket_storage::ordered::BTreeSet;
use pocket_storage::sorting;
use pocket_storage::{BoxFuture, Direction, KeyRange};

use super::bounds::{Term, Terms};
use super::candidate::{Candidate, behind};
use super::{PlanAccess, ids};
use crate::config::MAX_INDEX_CANDIDATES;
use crate::index::Index;
use crate::query::execute::Reader;
use crate::query::filter::Node;
use crate::{DocumentId, Result};

/// Documents among which are all that pass some conditions.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Rising, each once.
    pub(crate) ids: Vec<DocumentId>,
    /// Where they come from.
    pub(crate) access: PlanAccess,
    /// Whether each of them passes all of the conditions.
    pub(crate) exact: bool,
    /// The indexes that were read.
    pub(crate) indexes: Vec<Arc<Index>>,
    /// What is known of all of them.
    terms: Vec<Term>,
}

/// How many times more documents than are of use are looked for under each of several conditions that must all hold.
const SHARED_FACTOR: usize = 4;

/// A candidate whose entries are being read.
struct Reading {
    candidate: Candidate,
    entries: Vec<Vec<u8>>,
    /// What is still to be read.
    left: Vec<KeyRange>,
    /// Entries of the index that were counted outside of the ranges, and where others may lie.
    outside: usize,
    around: Vec<KeyRange>,
}

impl Found {
    pub(super) fn of_ids(ids: Vec<DocumentId>) -> Self {
        Self {
            access: PlanAccess::Ids { ids: ids.len() },
            ids,
            exact: false,
            indexes: Vec::new(),
            terms: Vec::new(),
        }
    }

    /// The ids that both have.
    fn and(mut self, other: Self, terms: &Terms) -> Self {
        let theirs = other.ids;
        self.ids.retain(|id| theirs.binary_search(id).is_ok());
        self.terms.extend(other.terms);
        self.exact = self.exact || other.exact || terms.are_covered_by(&self.terms);
        self.indexes.extend(other.indexes);
        let mut of = match self.access {
            PlanAccess::Intersection { of, .. } => of,
            access => vec![access],
        };
        of.push(other.access);
        self.access = PlanAccess::Intersection {
            of,
            ids: self.ids.len(),
        };
        self
    }
}

/// The documents that pass conditions which all hold, found in indexes; none where no index is of use.
///
/// 1. Ids that are named are taken as they are.
/// 2. Of the most promising candidates (at most [`MAX_INDEX_CANDIDATES`]), up to `narrow_entries` entries are
///    read. Those that have no more are narrow; the ids that all narrow ones share are taken. After one of at most
///    `few_ids` no other is looked at.
/// 3. Each `$or` counts as a candidate if all of its branches are found so.
/// 4. Without a narrow one, the others are read on, up to `found_ids` entries, unless it turns out that a
///    candidate's ranges hold more than half of its index.
///
/// As many documents as `useful`, or more, are worth nothing to the caller, who has another plan. So no more is read on
/// than `useful` entries; where several conditions may share fewer, [`SHARED_FACTOR`] times as many, and of
/// `narrow_entries` at least.
pub(super) fn find<'a>(
    reader: &'a mut Reader,
    conjuncts: &'a [Node],
    indexes: &'a [Arc<Index>],
    useful: usize,
) -> BoxFuture<'a, Result<Option<Found>>> {
    Box::pin(async move {
        if let Some(ids) = ids::named(conjuncts) {
            return Ok(Some(Found::of_ids(ids)));
        }
        let terms = Terms::of(conjuncts);
        let mut candidates = Vec::new();
        for index in indexes {
            candidates.extend(Candidate::of(index, conjuncts, &terms)?);
        }
        sorting::sort_by_key(&mut candidates, Candidate::rank);
        candidates.truncate(MAX_INDEX_CANDIDATES);
        let mut found: Option<Found> = None;
        let mut wide: Vec<Reading> = Vec::new();
        let (few_ids, narrow) = (reader.tuning.few_ids, reader.tuning.narrow_entries);
        let shared = useful.max(narrow).saturating_mul(SHARED_FACTOR);
        let is_enough = |found: &Option<Found>| {
            let few = |found: &Found| found.ids.len() <= few_ids;
            found.as_ref().is_some_and(few)
        };
        for candidate in candidates {
            if is_enough(&found) {
                break;
            }
            if candidate.is_too_scattered(reader).await? {
                continue;
            }
            let mut reading = Reading::new(candidate);
            let is_known = wide.iter().any(|other| reading.says_as_much_as(other));
            if is_known && reading.candidate.index.config.only.is_none() {
                continue;
            }
            if reading.read(reader, narrow).await? {
                join(&mut found, reading.found(&terms)?, &terms);
            } else {
                wide.push(reading);
            }
        }
        let of_branches = if conjuncts.len() > 1 { shared } else { useful };
        for node in conjuncts {
            if let Node::Any(branches) = node
                && !is_enough(&found)
                && let Some(union) = find_any(reader, branches, indexes, of_branches).await?
            {
                join(&mut found, union, &terms);
            }
        }
        if found.is_none() {
            let is_shared = wide.iter().any(|other| !other.says_as_much_as(&wide[0]));
            let may_repeat = wide.iter().any(|reading| reading.candidate.may_repeat());
            let most = if is_shared || may_repeat {
                shared
            } else {
                useful
            };
            let most = most.min(reader.tuning.found_ids);
            for mut reading in wide {
                if reading.read_on(reader, most).await? {
                    join(&mut found, reading.found(&terms)?, &terms);
                }
            }
        }
        Ok(found)
    })
}

fn join(found: &mut Option<Found>, other: Found, terms: &Terms) {
    *found = Some(match found.take() {
        Some(mine) => mine.and(other, terms),
        None => other,
    });
}

/// The documents that pass at least one of several conditions.
async fn find_any(
    reader: &mut Reader,
    branches: &[Node],
    indexes: &[Arc<Index>],
    useful: usize,
) -> Result<Option<Found>> {
    let (mut ids, mut of, mut used) = (Vec::new(), Vec::new(), Vec::new());
    for branch in branches {
        let Some(found) = find(reader, branch.conjuncts(), indexes, useful).await? else {
            return Ok(None);
        };
        ids.extend(found.ids);
        if ids.len() > reader.tuning.found_ids {
            return Ok(None);
        }
        of.push(found.access);
        used.extend(found.indexes);
    }
    sorting::sort_unstable(&mut ids);
    ids.dedup();
    Ok(Some(Found {
        access: PlanAccess::Union { of, ids: ids.len() },
        ids,
        exact: false,
        indexes: used,
        terms: Vec::new(),
    }))
}

impl Reading {
    fn new(candidate: Candidate) -> Self {
        let mut left = candidate.ranges.clone();
        let all = candidate.index.all();
        // What lies between two ranges, before the first and behind the last.
        let ends = left.iter().map(|range| behind(&range.end));
        let starts = left.iter().map(|range| behind(&range.start));
        let around = std::iter::once(all.start)
            .chain(ends)
            .zip(starts.chain([all.end]))
            .map(|(start, end)| KeyRange { start, end })
            .collect();
        if candidate.may_repeat() {
            left.push(candidate.index.overflow());
        }
        left.reverse();
        Self {
            candidate,
            entries: Vec::new(),
            left,
            outside: 0,
            around,
        }
    }

    /// Whether both stand for the same conditions, so that they have no fewer documents together.
    fn says_as_much_as(&self, other: &Self) -> bool {
        let conditions = |reading: &Self| -> BTreeSet<usize> {
            let terms = reading.candidate.terms.iter();
            terms.flat_map(|term| term.stands_for.clone()).collect()
        };
        conditions(self) == conditions(other)
    }

    /// Reads until there are `most` entries, or more by less than a page. Tells whether these are all.
    async fn read(&mut self, reader: &mut Reader, most: usize) -> Result<bool> {
        while let Some(range) = self.left.pop() {
            if self.entries.len() > most {
                self.left.push(range);
                return Ok(false);
            }
            let wanted = (most + 1 - self.entries.len()).min(reader.tuning.index_page);
            let keys = reader
                .keys(range.clone(), wanted, Direction::Forward)
                .await?;
            if let Some(last) = keys.last().filter(|_| keys.len() == wanted) {
                self.left.push(range.after(last.clone()));
            }
            self.entries.extend(keys);
        }
        Ok(self.entries.len() <= most)
    }

    /// Reads all the rest, in growing steps, as long as it is worth the while and there are no more than `all`. Tells
    /// whether it was.
    ///
    /// A document that is looked up costs several that are read one behind the other, so ranges that hold most of their
    /// index are worse than a scan. Entries outside are counted in the same steps as those inside, until one of the two
    /// is at its end.
    async fn read_on(&mut self, reader: &mut Reader, all: usize) -> Result<bool> {
        let mut most = reader.tuning.narrow_entries;
        while most < all {
            if self.count_outside(reader, most).await? {
                return Ok(false);
            }
            most = (most * 4).min(all);
            if self.read(reader, most).await? {
                let inside = self.entries.len();
                return Ok(!self.count_outside(reader, inside).await?);
            }
        }
        Ok(false)
    }

    /// Counts entries outside of the ranges until there are `most`. Tells whether there are fewer.
    async fn count_outside(&mut self, reader: &mut Reader, most: usize) -> Result<bool> {
        while self.outside < most
            && let Some(range) = self.around.pop()
        {
            if range.is_empty() {
                continue;
            }
            let wanted = (most - self.outside).min(reader.tuning.index_page);
            let keys = reader
                .keys(range.clone(), wanted, Direction::Forward)
                .await?;
            if let Some(last) = keys.last().filter(|_| keys.len() == wanted) {
                self.around.push(range.after(last.clone()));
            }
            self.outside += keys.len();
        }
        Ok(self.outside < most)
    }

    /// The documents of all the entries.
    fn found(self, terms: &Terms) -> Result<Found> {
        let Self {
            candidate, entries, ..
        } = self;
        let mut ids = Vec::with_capacity(entries.len());
        let mut is_whole = true;
        for key in &entries {
            let entry = candidate.index.entry(key)?;
            // The parts of a document with too many values are missing.
            is_whole &= entry.parts.len() == candidate.index.fields.len()
                && entry.parts.iter().all(|part| part.is_whole);
            ids.push(entry.id);
        }
        sorting::sort_unstable(&mut ids);
        ids.dedup();
        let exact = if is_whole {
            candidate.exact_terms().cloned().collect()
        } else {
            Vec::new()
        };
        Ok(Found {
            ids,
            access: PlanAccess::Index {
                index: candidate.index.name().to_owned(),
                bounds: candidate.bounds(),
                entries: entries.len(),
            },
            exact: terms.are_covered_by(&exact),
            indexes: vec![candidate.index],
            terms: exact,
        })
    }
}
