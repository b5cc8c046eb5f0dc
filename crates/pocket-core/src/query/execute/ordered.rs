//! The documents of an index's entries, in the order of a query.
//!
//! Entries come by their values and then by id. Two things may part that order from the query's:
//!
//! - Read backward, ids of equal values come falling, and most queries want them rising. Then what is equal is turned:
//!   within a page by reversing it, and what reaches beyond the page by reading just these entries the other way.
//! - Values that were cut are equal as far as they go, though the documents' are not, and what stands behind them says
//!   nothing. The documents of such entries are held together and sorted.

use std::collections::VecDeque;
use std::sync::Arc;

use pocket_storage::sorting;
use pocket_storage::{Direction, KeyRange};

use super::{Prepared, Reader};
use crate::index::{Index, Part};
use crate::keys::CollectionId;
use crate::query::path::Place;
use crate::query::plan::{Ordered, behind, both};
use crate::query::sort::SortKeys;
use crate::{Document, DocumentId, Result};

/// Documents that are held before it is asked which of them a query with a limit needs. Half of them go at the least.
#[cfg(not(test))]
const MOST_HELD: usize = 256;
#[cfg(test)]
const MOST_HELD: usize = 4;

/// What is left of the entries.
#[derive(Debug)]
pub(super) struct Entries {
    index: Arc<Index>,
    backward: bool,
    aligned: bool,
    pinned: usize,
    /// In the order they are read.
    ranges: VecDeque<KeyRange>,
    /// The entries of one row of values that are read the other way round, before all others.
    equal: Option<KeyRange>,
    /// Read, and to be given out.
    ready: VecDeque<Entry>,
    /// Documents whose values are equal as far as they were kept, and what they have in common.
    held: Option<(Vec<u8>, Vec<Document>)>,
}

#[derive(Debug)]
struct Entry {
    id: DocumentId,
    /// What the key holds before the id.
    values: Vec<u8>,
    /// How many bytes of them tell the order: those up to the first value that was cut. All are there if none was.
    telling: Option<usize>,
}

impl Entry {
    fn is_whole(&self) -> bool {
        self.telling.is_none()
    }

    /// What it has in common with those among which its place is not known.
    fn row(&self) -> &[u8] {
        &self.values[..self.telling.unwrap_or(self.values.len())]
    }
}

impl Entries {
    pub(super) fn new(ordered: &Ordered) -> Self {
        let mut ranges: VecDeque<_> = ordered.candidate.ranges.iter().cloned().collect();
        if ordered.backward {
            ranges.make_contiguous().reverse();
        }
        Self {
            index: ordered.candidate.index.clone(),
            backward: ordered.backward,
            aligned: ordered.aligned,
            pinned: ordered.pinned,
            ranges,
            equal: None,
            ready: VecDeque::new(),
            held: None,
        }
    }

    /// The documents of the next entries, in order; none at the end. Told is how many entries and how many documents are
    /// read at once.
    pub(super) async fn documents(
        &mut self,
        (page, lookups): (usize, usize),
        query: &Prepared,
        collection: CollectionId,
        reader: &mut Reader,
    ) -> Result<Option<Vec<Document>>> {
        while self.ready.is_empty() {
            if !self.read(page, reader).await? {
                // What is still held is the end.
                let held = self.held.take();
                return held.map(|(_, held)| sorted(held, query)).transpose();
            }
        }
        let wanted = self.ready.len().min(lookups);
        let entries: Vec<_> = self.ready.drain(..wanted).collect();
        let ids = entries.iter().map(|entry| entry.id.clone()).collect();
        let mut found = reader
            .documents(collection, ids)
            .await?
            .into_iter()
            .peekable();
        let mut documents = Vec::with_capacity(wanted);
        for entry in entries {
            let belongs = |(row, _): &(Vec<u8>, _)| *row == entry.row();
            if !self.held.as_ref().is_some_and(belongs)
                && let Some((_, held)) = self.held.take()
            {
                documents.append(&mut sorted(held, query)?);
            }
            // It may have gone meanwhile.
            let Some(document) = found.next_if(|document| document.id == entry.id) else {
                continue;
            };
            if entry.is_whole() {
                documents.push(document);
                continue;
            }
            let (_, held) = self
                .held
                .get_or_insert_with(|| (entry.row().to_vec(), Vec::new()));
            if query.select(&document)?.is_some() {
                held.push(document);
            }
            // Of those that have it in common no more than the first are needed.
            if let Some(reach) = query.reach()
                && held.len() / 2 > reach.max(MOST_HELD)
            {
                *held = sorted(std::mem::take(held), query)?;
                held.truncate(reach);
            }
        }
        Ok(Some(documents))
    }

    /// Reads entries, as many as a page has. False at the end.
    async fn read(&mut self, page: usize, reader: &mut Reader) -> Result<bool> {
        let (range, turned) = match self.equal.take() {
            Some(range) => (range, true),
            None => match self.ranges.pop_front() {
                Some(range) => (range, false),
                None => return Ok(false),
            },
        };
        let backward = self.backward != turned;
        let direction = if backward {
            Direction::Backward
        } else {
            Direction::Forward
        };
        let keys = reader.keys(range.clone(), page, direction).await?;
        let is_full = keys.len() == page;
        let mut entries = keys
            .iter()
            .map(|key| self.entry(key))
            .collect::<Result<Vec<_>>>()?;
        let beyond = |range: &KeyRange, key: Vec<u8>| match direction {
            Direction::Forward => range.clone().after(key),
            Direction::Backward => range.clone().before(key),
        };
        if let Some(last) = keys.last().filter(|_| is_full) {
            let rest = beyond(&range, last.clone());
            if turned {
                self.equal = Some(rest);
            } else if self.aligned {
                self.ranges.push_front(rest);
            } else if let Some(last) = entries.pop() {
                // More like the last ones may follow: all of those are read the other way round, and then what is
                // behind them.
                entries.retain(|entry| entry.values != last.values);
                let equal = KeyRange::prefix(last.values);
                self.ranges.push_front(match direction {
                    Direction::Forward => KeyRange {
                        start: behind(&equal.end),
                        end: range.end.clone(),
                    },
                    Direction::Backward => KeyRange {
                        start: range.start.clone(),
                        end: behind(&equal.start),
                    },
                });
                self.equal = Some(both(&equal, &range));
            }
        }
        if !self.aligned && !turned {
            let rows = entries.chunk_by_mut(|left, right| left.values == right.values);
            rows.for_each(<[Entry]>::reverse);
        }
        self.ready.extend(entries);
        Ok(true)
    }

    fn entry(&self, key: &[u8]) -> Result<Entry> {
        let entry = self.index.entry(key)?;
        let length = key.len() - entry.id.as_str().len();
        let mut end = length - entry.parts.iter().map(Part::len).sum::<usize>();
        let mut telling = None;
        for (place, part) in entry.parts.iter().enumerate() {
            end += part.len();
            if place >= self.pinned && !part.is_whole {
                telling = Some(end);
                break;
            }
        }
        Ok(Entry {
            telling,
            id: entry.id,
            values: key[..length].to_vec(),
        })
    }
}

/// Documents in the order of a query, all of which it selects.
fn sorted(documents: Vec<Document>, query: &Prepared) -> Result<Vec<Document>> {
    let with_keys = documents.into_iter().map(|document| {
        let body = document.body.as_ref();
        let keys = body
            .map(|body| query.sort.keys(Place::document(&document.id, body)?))
            .transpose()?;
        Ok((SortKeys::new(&keys.unwrap_or_default()), document))
    });
    let mut rows: Vec<_> = with_keys.collect::<Result<_>>()?;
    sorting::sort_by(&mut rows, |(left_keys, left), (right_keys, right)| {
        let ordering = query
            .sort
            .compare_kept((left_keys, &left.id), (right_keys, &right.id));
        if query.is_backwards() {
            ordering.reverse()
        } else {
            ordering
        }
    });
    Ok(rows.into_iter().map(|(_, document)| document).collect())
}
