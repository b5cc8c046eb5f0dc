//! In which order a query's documents come.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::filter::field_of;
use crate::{Document, Result, Value};

/// Which end of the order of values comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// The smallest.
    #[default]
    Ascending,
    /// The greatest.
    Descending,
}

/// Fields to sort by, the most important first.
#[derive(Clone, Debug, Default)]
pub(super) struct Sort {
    fields: Vec<(String, Order)>,
}

impl Sort {
    pub(super) fn add(&mut self, field: String, order: Order) {
        self.fields.push((field, order));
    }

    /// Whether this is the order that documents are stored in.
    pub(super) fn is_by_id(&self) -> bool {
        match self.fields.first() {
            None => true,
            Some((field, order)) => field == "_id" && *order == Order::Ascending,
        }
    }

    fn keys(&self, document: &Document) -> Result<Vec<Value>> {
        self.fields
            .iter()
            .map(|(field, _)| field_of(document, field))
            .collect()
    }
}

/// A document with what it is sorted by.
struct Row<'a> {
    sort: &'a Sort,
    keys: Vec<Value>,
    document: Document,
}

impl Ord for Row<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let fields = self
            .sort
            .fields
            .iter()
            .zip(self.keys.iter().zip(&other.keys));
        fields
            .map(|((_, order), (mine, theirs))| match order {
                Order::Ascending => mine.cmp(theirs),
                Order::Descending => theirs.cmp(mine),
            })
            .find(|ordering| ordering.is_ne())
            .unwrap_or_else(|| self.document.id.cmp(&other.document.id))
    }
}

impl PartialOrd for Row<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Row<'_> {}

/// The first documents of an order, held in a heap no larger than the limit.
pub(super) struct Top<'a> {
    sort: &'a Sort,
    limit: usize,
    heap: BinaryHeap<Row<'a>>,
}

impl<'a> Top<'a> {
    pub(super) fn new(sort: &'a Sort, limit: Option<usize>) -> Self {
        Self {
            sort,
            limit: limit.unwrap_or(usize::MAX),
            heap: BinaryHeap::new(),
        }
    }

    pub(super) fn offer(&mut self, document: Document) -> Result<()> {
        let row = Row {
            sort: self.sort,
            keys: self.sort.keys(&document)?,
            document,
        };
        if self.heap.len() < self.limit {
            self.heap.push(row);
        } else if let Some(mut last) = self.heap.peek_mut().filter(|last| row < **last) {
            *last = row;
        }
        Ok(())
    }

    pub(super) fn into_sorted(self) -> Vec<Document> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|row| row.document)
            .collect()
    }
}
