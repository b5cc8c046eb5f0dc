//! What one index can do for a query: which of its entries to read, and whether they come in the order that is asked.

use std::ops::Bound;
use std::sync::Arc;

use pocket_storage::sorting;
use pocket_storage::{Direction, KeyRange};

use super::bounds::{Shape, Term, Terms};
use super::implies::holds_all;
use crate::config::{MAX_INDEX_RANGES, MAX_LISTED_VALUES};
use crate::index::{Index, Interval};
use crate::query::execute::{Prepared, Reader};
use crate::query::filter::Node;
use crate::query::{Cursor, Filter, Order};
use crate::stored::damaged;
use crate::value::{Encoded, decode};
use crate::{Result, Value};

/// Entries of an index among which are those of every document that is sought.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) index: Arc<Index>,
    /// In the order of keys, apart from each other.
    pub(crate) ranges: Vec<KeyRange>,
    /// What the ranges stand for.
    pub(super) terms: Vec<Term>,
}

/// A candidate whose entries come in the order of a query.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) candidate: Candidate,
    /// Whether the greatest keys come first.
    pub(crate) backward: bool,
    /// Whether the documents of equal values come as the query breaks ties; otherwise they come the other way round.
    pub(crate) aligned: bool,
    /// Fields whose values all entries share.
    pub(crate) pinned: usize,
}

impl Candidate {
    /// All that an index can be read for under conditions that all hold: one candidate, but of a field with arrays one
    /// for each condition, as every condition may hold of another element.
    pub(super) fn of(index: &Arc<Index>, conjuncts: &[Node], terms: &Terms) -> Result<Vec<Self>> {
        let Some(first) = index.fields.first() else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for term in choices(index, 0, first.path.as_str(), terms) {
            let mut used = vec![term];
            for (place, field) in index.fields.iter().enumerate().skip(1) {
                if matches!(
                    used.last(),
                    Some(Term {
                        shape: Shape::Intervals(_),
                        ..
                    })
                ) {
                    break;
                }
                let mut choices = choices(index, place, field.path.as_str(), terms);
                if choices.is_empty() {
                    break;
                }
                used.push(choices.remove(0));
            }
            found.extend(Self::bounded_by(index, conjuncts, terms, used)?);
        }
        Ok(found)
    }

    /// The entries that these terms of the first fields allow. All but the last are points.
    fn bounded_by(
        index: &Arc<Index>,
        conjuncts: &[Node],
        terms: &Terms,
        mut used: Vec<Term>,
    ) -> Result<Option<Self>> {
        let mut prefixes = vec![Vec::new()];
        let mut then = vec![Interval::all()];
        let mut bounded = 0;
        for term in &used {
            // As many values as may be listed, for one field; only together with others they grow beyond that.
            let most = if bounded == 0 {
                MAX_LISTED_VALUES
            } else {
                MAX_INDEX_RANGES
            };
            match &term.shape {
                Shape::Points(values) if prefixes.len() * values.len() <= most => {
                    let longer = prefixes.iter().flat_map(|prefix: &Vec<Value>| {
                        let with = |value: &Value| {
                            [prefix.as_slice(), std::slice::from_ref(value)].concat()
                        };
                        values.iter().map(with)
                    });
                    prefixes = longer.collect();
                }
                Shape::Intervals(intervals)
                    if prefixes.len() * intervals.len() <= MAX_INDEX_RANGES =>
                {
                    then.clone_from(intervals);
                }
                // Too many ranges.
                _ => break,
            }
            bounded += 1;
        }
        used.truncate(bounded);
        let by_place: Vec<_> = used.iter().collect();
        if used.is_empty() || !holds_all(index, conjuncts, terms, &by_place)? {
            return Ok(None);
        }
        let ranges = prefixes
            .iter()
            .flat_map(|prefix| then.iter().map(|then| index.range(prefix, then)));
        Ok(Some(Self {
            index: index.clone(),
            ranges: united(ranges.collect()),
            terms: used,
        }))
    }

    /// Whether it has more ranges than its index has entries, so that reading them is no use. It is only asked where it
    /// costs less than what it may save, and of indexes that have an entry of every document.
    pub(super) async fn is_too_scattered(&self, reader: &mut Reader) -> Result<bool> {
        let config = &self.index.config;
        let ranges = self.ranges.len();
        if ranges <= MAX_INDEX_RANGES || config.sparse || config.only.is_some() {
            return Ok(false);
        }
        let (mut left, mut seen) = (self.index.all(), 0);
        while seen < ranges {
            let wanted = (ranges - seen).min(reader.tuning.index_page);
            let keys = reader
                .keys(left.clone(), wanted, Direction::Forward)
                .await?;
            seen += keys.len();
            match keys.last().filter(|_| keys.len() == wanted) {
                Some(last) => left = left.after(last.clone()),
                None => break,
            }
        }
        Ok(seen < ranges)
    }

    /// How much it may read, by its looks: the best first.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let widths: Vec<_> = self.terms.iter().map(|term| term.shape.width()).collect();
        // One more field that is bounded weighs more than how it is.
        (std::cmp::Reverse(widths.len()), widths, self.index.number)
    }

    /// How many of its fields are bounded.
    pub(super) fn width(&self) -> usize {
        self.terms.len()
    }

    /// What its ranges stand for, as a filter.
    pub(crate) fn bounds(&self) -> Filter {
        let nodes = self
            .terms
            .iter()
            .flat_map(|term| term.nodes.iter().cloned());
        Filter::of_nodes(nodes.collect())
    }

    /// Whether some documents may have several entries.
    pub(crate) fn may_repeat(&self) -> bool {
        (0..self.index.fields.len()).any(|place| self.index.is_multi(place))
    }

    /// What holds of every document that has an entry in it, if the values of the entry are whole.
    pub(super) fn exact_terms(&self) -> impl Iterator<Item = &Term> {
        let terms = self.terms.iter().enumerate();
        terms
            .filter(|(place, term)| {
                term.exact && !(self.index.is_multi(*place) && term.shape.contains_null())
            })
            .map(|(_, term)| term)
    }
}

/// The terms by which a field may be bounded, the narrowest first: all of them together where a document has one value
/// in it.
fn choices(index: &Index, place: usize, path: &str, terms: &Terms) -> Vec<Term> {
    let mut all: Vec<Term> = terms.at(path).cloned().collect();
    if !index.is_multi(place) {
        let joined = all.into_iter().reduce(|joined, term| joined.and(&term));
        return joined.into_iter().collect();
    }
    sorting::sort_by_key(&mut all, |term| term.shape.width());
    all
}

impl Ordered {
    /// The entries of an index in the order of a query, if they can be read so.
    ///
    /// Behind fields that the filter pins to one value must stand the fields of the sort, each in the same direction or
    /// each in the other one. Fields with arrays have several keys in a document, of which only one is its place, so
    /// there may be none.
    pub(super) fn of(
        index: &Arc<Index>,
        query: &Prepared,
        conjuncts: &[Node],
        terms: &Terms,
    ) -> Result<Option<Self>> {
        let one = |place: usize| {
            let path = index.fields[place].path.as_str();
            choices(index, place, path, terms).into_iter().next()
        };
        let mut used: Vec<Term> = Vec::new();
        while used.len() < index.fields.len()
            && let Some(term) = one(used.len()).filter(|term| term.shape.single().is_some())
        {
            used.push(term);
        }
        let pinned = used.len();
        if (pinned..index.fields.len()).any(|place| index.is_multi(place)) {
            return Ok(None);
        }
        let is_pinned = |path: &str| {
            let known = index.fields.iter().take(pinned).enumerate();
            known
                .filter(|(place, _)| !index.is_multi(*place))
                .any(|(_, field)| field.path.as_str() == path)
        };
        let wanted = query.sort.fields().iter().enumerate();
        let wanted: Vec<_> = wanted
            .filter(|(_, (path, _))| !is_pinned(path.as_str()))
            .collect();
        let given = &index.fields[pinned..];
        if wanted.len() != given.len()
            || wanted
                .iter()
                .zip(given)
                .any(|((_, (path, _)), field)| *path != field.path)
        {
            return Ok(None);
        }
        let mut turns = wanted
            .iter()
            .zip(given)
            .map(|((_, (_, order)), field)| *order != field.order);
        let ids_fall = query.sort.id_order() == Order::Descending;
        // With no field left, entries come by id in both directions.
        let against = turns.next().unwrap_or(ids_fall);
        if turns.any(|turned| turned != against) {
            return Ok(None);
        }
        if let Some(term) = (pinned < index.fields.len()).then(|| one(pinned)).flatten() {
            used.push(term);
        }
        let by_place: Vec<_> = used.iter().collect();
        if !holds_all(index, conjuncts, terms, &by_place)? {
            return Ok(None);
        }
        let values: Vec<Value> = used[..pinned]
            .iter()
            .filter_map(|term| term.shape.single().cloned())
            .collect();
        let then = used
            .get(pinned)
            .map_or_else(|| vec![Interval::all()], |term| term.shape.intervals());
        if then.len() > MAX_INDEX_RANGES {
            return Ok(None);
        }
        let ranges = then.iter().map(|then| index.range(&values, then));
        let mut this = Self {
            candidate: Candidate {
                index: index.clone(),
                ranges: united(ranges.collect()),
                terms: used,
            },
            backward: against != query.is_backwards(),
            aligned: against == ids_fall,
            pinned,
        };
        let places: Vec<_> = wanted.iter().map(|(place, _)| *place).collect();
        for (cursor, is_after) in [(&query.after, true), (&query.before, false)] {
            // A cursor of another value of a pinned field has all documents on one side, whatever their other keys.
            if let Some(cursor) = cursor
                && agrees(cursor, query, index, &values)?
            {
                this.cut(&values, &places, cursor, is_after != against)?;
            }
        }
        Ok(Some(this))
    }

    /// Leaves out what lies on the wrong side of a cursor, as far as its keys tell.
    fn cut(
        &mut self,
        pinned: &[Value],
        places: &[usize],
        cursor: &Cursor,
        is_start: bool,
    ) -> Result<()> {
        let keys: Vec<_> = cursor.keys.iter().collect();
        let mut values = pinned.to_vec();
        for place in places {
            let Some(key) = keys.get(*place) else {
                return Ok(());
            };
            values.push(value_of(*key)?);
        }
        // Behind a value that is cut, other values say nothing about the order.
        let index = &self.candidate.index;
        let first = index.range(&values, &Interval::all());
        let key = [start(&first), cursor.id.as_str().as_bytes()].concat();
        let parts = index.entry(&key)?.parts;
        let mut sorted = parts.iter().enumerate().skip(self.pinned);
        let cut = sorted
            .find(|(_, part)| !part.is_whole)
            .map(|(place, _)| place);
        if let Some(place) = cut {
            values.truncate(place + 1);
        }
        let equal = index.range(&values, &Interval::all());
        let exact = (cut.is_none() && self.aligned).then_some(key);
        let kept = match (is_start, exact) {
            (true, Some(key)) => KeyRange::all().after(key),
            (false, Some(key)) => KeyRange::all().before(key),
            (true, None) => KeyRange {
                start: equal.start,
                end: Bound::Unbounded,
            },
            (false, None) => KeyRange {
                start: Bound::Unbounded,
                end: equal.end,
            },
        };
        let ranges = self.candidate.ranges.iter().map(|range| both(range, &kept));
        self.candidate.ranges = ranges.filter(|range| !range.is_empty()).collect();
        Ok(())
    }
}

/// A key of a cursor.
fn value_of(key: Encoded<'_>) -> Result<Value> {
    decode::value(key.bytes()).map_err(damaged)
}

/// Whether a cursor has the values that these fields are pinned to, as far as it is sorted by them.
fn agrees(cursor: &Cursor, query: &Prepared, index: &Index, values: &[Value]) -> Result<bool> {
    let sorted = query.sort.fields().iter().zip(cursor.keys.iter());
    for ((path, _), key) in sorted {
        let mut pinned = index.fields.iter().zip(values);
        if let Some((_, value)) = pinned.find(|(field, _)| field.path == *path)
            && value_of(key)? != *value
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Ranges in the order of keys, those that overlap made one and empty ones left out.
fn united(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.retain(|range| !range.is_empty());
    sorting::sort_by(&mut ranges, |left, right| start(left).cmp(start(right)));
    let mut apart: Vec<KeyRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match apart.last_mut() {
            Some(last) if start(&range) < end(last) => {
                if end(&range) > end(last) {
                    last.end = range.end;
                }
            }
            _ => apart.push(range),
        }
    }
    apart
}

/// Where a range of an index begins; all of them are given with their first key.
fn start(range: &KeyRange) -> &[u8] {
    match &range.start {
        Bound::Included(key) | Bound::Excluded(key) => key,
        Bound::Unbounded => &[],
    }
}

/// Where a range of an index ends; all of them are given with the first key behind.
fn end(range: &KeyRange) -> &[u8] {
    match &range.end {
        Bound::Included(key) | Bound::Excluded(key) => key,
        Bound::Unbounded => &[u8::MAX],
    }
}

/// What lies in both ranges.
pub(in crate::query) fn both(left: &KeyRange, right: &KeyRange) -> KeyRange {
    fn key(bound: &Bound<Vec<u8>>) -> Option<(&[u8], bool)> {
        match bound {
            Bound::Included(key) => Some((key, true)),
            Bound::Excluded(key) => Some((key, false)),
            Bound::Unbounded => None,
        }
    }
    let start = match (key(&left.start), key(&right.start)) {
        (Some((mine, included)), Some((theirs, theirs_included))) => {
            // Of equal keys the one that leaves it out begins later.
            if (mine, !included) >= (theirs, !theirs_included) {
                &left.start
            } else {
                &right.start
            }
        }
        (None, _) => &right.start,
        (_, None) => &left.start,
    };
    let end = match (key(&left.end), key(&right.end)) {
        (Some(mine), Some(theirs)) => {
            if mine <= theirs {
                &left.end
            } else {
                &right.end
            }
        }
        (None, _) => &right.end,
        (_, None) => &left.end,
    };
    KeyRange {
        start: start.clone(),
        end: end.clone(),
    }
}

/// The other side of a bound.
pub(in crate::query) fn behind(bound: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Included(key) => Bound::Excluded(key.clone()),
        Bound::Excluded(key) => Bound::Included(key.clone()),
        Bound::Unbounded => Bound::Unbounded,
    }
}
