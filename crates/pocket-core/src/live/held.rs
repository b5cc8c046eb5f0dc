//! The documents that a live query holds: those it shows, and some to fill up from.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use pocket_storage::ordered::BTreeMap;

use super::rows::Rows;
use super::window::{Edit, Touched, Window};
use crate::config::LIVE_RESERVE;
use crate::query::{Prepared, Sort, SortKeys};
use crate::{Body, Document, DocumentId, Result};

/// A document at its place in the order, as it is given out.
#[derive(Debug)]
pub(super) struct Row {
    sort: Arc<Sort>,
    keys: SortKeys,
    pub(super) document: Document,
}

impl Row {
    /// Whether both look the same to whoever sees the list. Another revision of the same content does.
    fn looks_like(&self, other: &Self) -> bool {
        self.document.body == other.document.body
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sort.compare_kept(
            (&self.keys, &self.document.id),
            (&other.keys, &other.document.id),
        )
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Row {}

/// What a document became; none when it is gone.
pub(super) type Changes = BTreeMap<DocumentId, Option<Document>>;

/// What of a document is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// What the query gives out.
    Documents,
    /// That it is there, to be counted.
    Places,
}

/// The rows of one state, and what was told of them.
///
/// Without a limit these are all that the query selects. With one they are the first of them, or the last where the query
/// counts from its end: all up to the bound.
#[derive(Debug)]
pub(super) struct Held {
    query: Arc<Prepared>,
    sort: Arc<Sort>,
    keep: Keep,
    now: Window<Row>,
    by_id: HashMap<DocumentId, Arc<Row>>,
    /// Beyond it are rows that are not held.
    bound: Option<Arc<Row>>,
    shown: Window<Row>,
    /// What was held of each document that changed since it was shown.
    touched: HashMap<DocumentId, Option<Arc<Row>>>,
}

impl Held {
    pub(super) fn new(query: Arc<Prepared>, keep: Keep) -> Self {
        let empty = Window {
            rows: Rows::default(),
            skip: query.skip,
            limit: query.limit,
            from_end: query.is_backwards(),
        };
        Self {
            sort: Arc::new(query.sort.clone()),
            query,
            keep,
            now: empty.clone(),
            by_id: HashMap::new(),
            bound: None,
            shown: empty,
            touched: HashMap::new(),
        }
    }

    /// Rows that are needed to show what is wanted.
    fn reach(&self) -> usize {
        let reach = self
            .query
            .limit
            .map(|limit| limit.saturating_add(self.query.skip));
        reach.unwrap_or(usize::MAX)
    }

    fn reserve(&self) -> usize {
        self.reach().clamp(LIVE_RESERVE.0, LIVE_RESERVE.1)
    }

    /// The query that reads what is to be held.
    pub(super) fn reading(&self) -> Prepared {
        let mut query = Prepared::clone(&self.query);
        query.skip = 0;
        if query.limit.is_some_and(|limit| limit > 0) {
            query.limit = Some(self.reach().saturating_add(self.reserve()));
        }
        query
    }

    /// Holds what was read with [`reading`](Self::reading), while the documents of `changes` became this. Whether a row of
    /// one of these was read, or where, says nothing.
    ///
    /// Answers false when that leaves too little, so that it has to be read again.
    ///
    /// # Errors
    /// `corrupt`.
    pub(super) fn read(
        &mut self,
        read: Vec<(SortKeys, Document)>,
        changes: &Changes,
    ) -> Result<bool> {
        let wanted = self.reading().limit.unwrap_or(usize::MAX);
        let is_whole = read.len() < wanted;
        let mut rows = Vec::with_capacity(read.len());
        for (keys, document) in read {
            if !changes.contains_key(&document.id) {
                rows.push(self.row(keys, document)?);
            }
        }
        self.by_id = rows
            .iter()
            .map(|row| (row.document.id.clone(), row.clone()))
            .collect();
        let furthest = if self.now.from_end {
            rows.first()
        } else {
            rows.last()
        };
        // Of the others nobody knows how far they reach.
        self.bound = furthest.filter(|_| !is_whole).cloned();
        let known = is_whole || self.bound.is_some() || wanted == 0;
        self.now.rows = Rows::of_sorted(rows);
        for (id, document) in changes {
            self.change(id, document.clone())?;
        }
        self.touch_all();
        Ok(known && !self.is_short())
    }

    /// A document became this.
    ///
    /// # Errors
    /// `corrupt`.
    pub(super) fn change(&mut self, id: &DocumentId, document: Option<Document>) -> Result<()> {
        if self.query.limit == Some(0) {
            return Ok(());
        }
        let after = self.select(document)?;
        let after = after.filter(|row| !self.is_beyond(row));
        let before = self.by_id.remove(id);
        if before.is_none() && after.is_none() {
            return Ok(());
        }
        self.touched
            .entry(id.clone())
            .or_insert_with(|| before.clone());
        if let Some(before) = before {
            self.now.rows.remove(&before);
        }
        if let Some(after) = after {
            self.by_id.insert(id.clone(), after.clone());
            self.now.rows.insert(after);
            self.let_go();
        }
        Ok(())
    }

    /// Lets the furthest row go when there are more than needed.
    fn let_go(&mut self) {
        let most = self.reach().saturating_add(2 * self.reserve());
        if self.now.rows.len() <= most {
            return;
        }
        let end = |held: &Self| {
            if held.now.from_end {
                held.now.rows.get(0).cloned()
            } else {
                held.now.rows.last().cloned()
            }
        };
        if let Some(gone) = end(self) {
            self.now.rows.remove(&gone);
            let id = gone.document.id.clone();
            self.by_id.remove(&id);
            self.touched.entry(id).or_insert(Some(gone));
        }
        self.bound = end(self);
    }

    fn is_beyond(&self, row: &Row) -> bool {
        self.bound.as_ref().is_some_and(|bound| {
            let ordering = row.cmp(bound);
            if self.now.from_end {
                ordering.is_lt()
            } else {
                ordering.is_gt()
            }
        })
    }

    /// Whether there may be rows to show that are not held.
    pub(super) fn is_short(&self) -> bool {
        self.bound.is_some() && self.now.rows.len() < self.reach()
    }

    fn select(&self, document: Option<Document>) -> Result<Option<Arc<Row>>> {
        let Some(document) = document else {
            return Ok(None);
        };
        let keys = self
            .query
            .select(&document)?
            .map(|keys| SortKeys::new(&keys));
        keys.map(|keys| self.row(keys, document)).transpose()
    }

    fn row(&self, keys: SortKeys, mut document: Document) -> Result<Arc<Row>> {
        document = match self.keep {
            Keep::Documents => self.query.project(document)?,
            Keep::Places => {
                document.body = None;
                document
            }
        };
        Ok(Arc::new(Row {
            sort: self.sort.clone(),
            keys,
            document,
        }))
    }

    /// After everything was read anew: what differs from what was shown counts as changed.
    fn touch_all(&mut self) {
        self.touched.clear();
        let mut shown: HashMap<_, _> = self
            .shown
            .iter()
            .map(|row| (row.document.id.clone(), row))
            .collect();
        for row in self.now.iter() {
            match shown.remove(&row.document.id) {
                Some(old) if old == row && old.looks_like(row) => {}
                old => drop(self.touched.insert(row.document.id.clone(), old.cloned())),
            }
        }
        let gone = shown.into_iter().map(|(id, row)| (id, Some(row.clone())));
        self.touched.extend(gone);
    }

    /// The edits since it was last asked. From here on this is what is shown.
    pub(super) fn edits(&mut self) -> Vec<Edit<Row>> {
        let edits = if self.shown.len() == 0 {
            let rows = self.now.iter().cloned().enumerate();
            rows.map(|(at, row)| Edit::Inserted { at, row }).collect()
        } else {
            let touched: Vec<_> = self
                .touched
                .drain()
                .map(|(id, before)| {
                    let after = self.by_id.get(&id).cloned();
                    let same = match (&before, &after) {
                        (Some(before), Some(after)) => before.looks_like(after),
                        _ => false,
                    };
                    Touched {
                        before,
                        after,
                        differs: !same,
                    }
                })
                .collect();
            self.shown.edits_to(&self.now, &touched)
        };
        self.touched.clear();
        self.shown = self.now.clone();
        edits
    }

    /// How many rows there are now; from here on these are what is shown.
    pub(super) fn count(&mut self) -> usize {
        self.touched.clear();
        self.shown = self.now.clone();
        self.shown.len()
    }

    /// Whether something changed since it was last shown.
    pub(super) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// What is shown.
    pub(super) fn shown(&self) -> &Window<Row> {
        &self.shown
    }
}

/// The document with bytes of its own: those of a page of the server would keep the whole page.
pub(super) fn detached(mut document: Document) -> Document {
    document.body = document
        .body
        .map(|body| Body::from_trusted(Bytes::copy_from_slice(body.as_bytes())));
    document
}
