//! In which order a query's documents come.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use pocket_storage::sorting;
use serde::{Deserialize, Serialize};

use super::path::{Path, Place, Reached};
use crate::config::MAX_SORT_FIELDS;
use crate::value::{Elements, Encoded, Lead};
use crate::{Document, DocumentId, Error, Result, codes};

/// Which end of the order of values comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Order {
    /// The smallest; `asc` in text.
    #[default]
    #[serde(rename = "asc", alias = "ascending")]
    Ascending,
    /// The greatest; `desc` in text.
    #[serde(rename = "desc", alias = "descending")]
    Descending,
}

impl Order {
    fn apply(self, ordering: Ordering) -> Ordering {
        match self {
            Self::Ascending => ordering,
            Self::Descending => ordering.reverse(),
        }
    }

    /// What of the values at a path comes first; null when there is none.
    fn first<'a>(self, path: &Path, place: Place<'a>) -> Result<Encoded<'a>> {
        let reached = path.values(place)?;
        if let Reached::One(Some(value)) = reached
            && value.array().is_none()
        {
            return Ok(value);
        }
        let mut candidates = reached.keys()?.into_iter();
        let mut first = candidates.next().unwrap_or(Encoded::NULL);
        for candidate in candidates {
            if self.apply(candidate.compare(first)?).is_lt() {
                first = candidate;
            }
        }
        Ok(first)
    }
}

/// The checked order of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sort {
    /// Without `_id` and what would stand behind it: no two documents are equal by their ids.
    fields: Vec<(Path, Order)>,
    id: Order,
}

impl Sort {
    /// Reads the fields to sort by, the most important first.
    ///
    /// # Errors
    /// `bad-query` for a bad path and for too many fields.
    pub(crate) fn new<'a>(fields: impl ExactSizeIterator<Item = (&'a str, Order)>) -> Result<Self> {
        if fields.len() > MAX_SORT_FIELDS {
            return Err(Error::new(
                codes::BAD_QUERY,
                format!(
                    "a query sorts by at most {MAX_SORT_FIELDS} fields, not {}; leave out the last ones",
                    fields.len()
                ),
            ));
        }
        let mut sort = Self {
            fields: Vec::new(),
            id: Order::Ascending,
        };
        let mut is_complete = false;
        for (text, order) in fields {
            let path = Path::parse(text)?;
            if path.is_id() && !is_complete {
                sort.id = order;
                is_complete = true;
            } else if !is_complete {
                sort.fields.push((path, order));
            }
        }
        Ok(sort)
    }

    /// The fields before the id.
    pub(crate) fn fields(&self) -> &[(Path, Order)] {
        &self.fields
    }

    /// How ids break ties.
    pub(crate) fn id_order(&self) -> Order {
        self.id
    }

    /// What tells this order from others, in cursors. It is stored in nothing that lasts.
    pub(super) fn signature(&self) -> u32 {
        pocket_storage::crc32(self.to_string().as_bytes())
    }

    /// What a document is sorted by, besides its id: of an array its least element, or its greatest where the order
    /// falls.
    pub(crate) fn keys<'a>(&self, place: Place<'a>) -> Result<Vec<Encoded<'a>>> {
        let keys = self.fields.iter();
        keys.map(|(path, order)| order.first(path, place)).collect()
    }

    /// Which of a document, of this id, and a place comes first. No more of the document is read than that takes.
    pub(crate) fn compare_place(
        &self,
        (mine, my_id): (Place<'_>, &str),
        (theirs, their_id): (&SortKeys, &DocumentId),
    ) -> Result<Ordering> {
        for ((path, order), theirs) in self.fields.iter().zip(theirs.iter()) {
            let ordering = order.apply(order.first(path, mine)?.compare(theirs)?);
            if ordering.is_ne() {
                return Ok(ordering);
            }
        }
        Ok(self.id.apply(my_id.cmp(their_id.as_str())))
    }

    /// Which of two places comes first.
    pub(crate) fn compare<'a, 'b>(
        &self,
        (mine, my_id): (impl IntoIterator<Item = Encoded<'a>>, &DocumentId),
        (theirs, their_id): (impl IntoIterator<Item = Encoded<'b>>, &DocumentId),
    ) -> Ordering {
        let keys = mine.into_iter().zip(theirs);
        for ((_, order), (mine, theirs)) in self.fields.iter().zip(keys) {
            // Damage that only a comparison would find is told when the document is read.
            let ordering = order.apply(mine.compare(theirs).unwrap_or(Ordering::Equal));
            if ordering.is_ne() {
                return ordering;
            }
        }
        self.id.apply(my_id.cmp(their_id))
    }

    /// As [`compare`](Self::compare) of what was kept. Most is told apart by the leads, without reading a value.
    pub(crate) fn compare_kept(
        &self,
        (mine, my_id): (&SortKeys, &DocumentId),
        (theirs, their_id): (&SortKeys, &DocumentId),
    ) -> Ordering {
        self.compare_leads(mine, theirs)
            .then_with(|| self.compare((mine.iter(), my_id), (theirs.iter(), their_id)))
    }

    /// What the leads tell; equal where they do not tell.
    fn compare_leads(&self, mine: &SortKeys, theirs: &SortKeys) -> Ordering {
        let first = self.fields.first();
        first.map_or(Ordering::Equal, |(_, order)| {
            order.apply(mine.lead.cmp(&theirs.lead))
        })
    }
}

/// As it is told in messages: `age desc, _id asc`.
impl std::fmt::Display for Sort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |order| match order {
            Order::Ascending => "asc",
            Order::Descending => "desc",
        };
        for (path, order) in &self.fields {
            write!(f, "{path} {}, ", word(*order))?;
        }
        write!(f, "_id {}", word(self.id))
    }
}

/// What a document was sorted by, kept: the encoded values one behind another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SortKeys {
    bytes: Vec<u8>,
    count: u32,
    /// Of the first value.
    lead: Lead,
}

impl SortKeys {
    pub(crate) fn new(keys: &[Encoded<'_>]) -> Self {
        Self {
            bytes: keys.iter().flat_map(|key| key.bytes()).copied().collect(),
            count: keys.len() as u32,
            lead: keys.first().map(|key| key.lead()).unwrap_or_default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Encoded<'_>> {
        Elements::row(&self.bytes, self.count).map(|key| key.unwrap_or(Encoded::NULL))
    }
}

/// A document with what it is sorted by.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) keys: SortKeys,
    pub(crate) document: Document,
}

/// The first documents of an order, no more of them held than are wanted.
#[derive(Debug)]
pub(crate) struct Top<'a> {
    ranking: Ranking<'a>,
    wanted: usize,
    /// A heap with the last one on top while there is a bound, as it comes without one.
    heap: BinaryHeap<Ranked<'a>>,
    rows: Vec<Row>,
}

/// An order, or its reverse.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranking<'a> {
    pub(crate) sort: &'a Sort,
    pub(crate) backwards: bool,
}

impl Ranking<'_> {
    fn turn(self, ordering: Ordering) -> Ordering {
        if self.backwards {
            ordering.reverse()
        } else {
            ordering
        }
    }

    fn compare(self, left: &Row, right: &Row) -> Ordering {
        self.turn(self.sort.compare_kept(
            (&left.keys, &left.document.id),
            (&right.keys, &right.document.id),
        ))
    }

    /// Rows in order. Their keys are read once, not at each comparison.
    fn sort(self, rows: &mut [Row]) {
        let width = self.sort.fields.len();
        let mut keys = Vec::with_capacity(rows.len() * width);
        for row in rows.iter() {
            let nulls = std::iter::repeat(Encoded::NULL);
            keys.extend(row.keys.iter().chain(nulls).take(width));
        }
        let order = sorting::places(rows.len(), &|left, right| {
            let of = |place: usize| {
                let keys = &keys[place * width..][..width];
                (keys.iter().copied(), &rows[place].document.id)
            };
            let leads = (self.sort).compare_leads(&rows[left].keys, &rows[right].keys);
            self.turn(leads.then_with(|| self.sort.compare(of(left), of(right))))
        });
        drop(keys);
        sorting::arrange(rows, order);
    }
}

impl<'a> Top<'a> {
    /// The first `wanted` of an order, or all.
    pub(crate) fn new(ranking: Ranking<'a>, wanted: Option<usize>) -> Self {
        Self {
            ranking,
            wanted: wanted.unwrap_or(usize::MAX),
            heap: BinaryHeap::new(),
            rows: Vec::new(),
        }
    }

    /// Shows it a document with its keys.
    pub(crate) fn offer(&mut self, keys: &[Encoded<'_>], document: &Document) {
        let row = || Row {
            keys: SortKeys::new(keys),
            document: document.clone(),
        };
        if self.wanted == usize::MAX {
            self.rows.push(row());
            return;
        }
        let ranking = self.ranking;
        if self.heap.len() < self.wanted {
            self.heap.push(Ranked {
                ranking,
                row: row(),
            });
            return;
        }
        let Some(mut last) = self.heap.peek_mut() else {
            return;
        };
        // Nearly every document of a large collection stops here, before anything is copied.
        let ordering = ranking.turn(ranking.sort.compare(
            (keys.iter().copied(), &document.id),
            (last.row.keys.iter(), &last.row.document.id),
        ));
        if ordering.is_lt() {
            last.row = row();
        }
    }

    /// The last of as many rows as are wanted; none while there are fewer.
    pub(crate) fn last_wanted(&self) -> Option<&Row> {
        let is_full = self.heap.len() == self.wanted;
        self.heap
            .peek()
            .filter(|_| is_full)
            .map(|ranked| &ranked.row)
    }

    /// What was wanted, in order.
    pub(crate) fn into_sorted(mut self) -> Vec<Row> {
        if self.wanted == usize::MAX {
            self.ranking.sort(&mut self.rows);
            return self.rows;
        }
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|ranked| ranked.row).collect()
    }
}

/// A row in a heap.
#[derive(Debug)]
struct Ranked<'a> {
    ranking: Ranking<'a>,
    row: Row,
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ranking.compare(&self.row, &other.row)
    }
}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked<'_> {}
