//! A sorted list that is cheap to copy, to change in the middle, and to ask for the place of a row.

use std::iter::FusedIterator;
use std::sync::Arc;

/// Rows in one chunk at the most; a fuller one is divided.
const MOST: usize = 256;

/// Neighbours that together have no more are joined.
const FEW: usize = MOST / 2;

/// Rows in their order, in chunks that copies share until one of them changes.
///
/// A change copies one chunk and the list of chunks: for 100,000 rows some 600 pointers instead of all rows. To find the
/// place of a row, the lengths of the chunks before it are added up.
#[derive(Debug)]
pub(super) struct Rows<R> {
    chunks: Arc<Vec<Chunk<R>>>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<R> {
    /// As many as `rows` has, here so that adding up touches no chunk.
    len: usize,
    /// Never empty.
    rows: Arc<Vec<Arc<R>>>,
}

impl<R> Clone for Rows<R> {
    fn clone(&self) -> Self {
        Self {
            chunks: self.chunks.clone(),
            len: self.len,
        }
    }
}

impl<R> Clone for Chunk<R> {
    fn clone(&self) -> Self {
        Self {
            len: self.len,
            rows: self.rows.clone(),
        }
    }
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
            len: 0,
        }
    }
}

impl<R> Chunk<R> {
    fn new(rows: Vec<Arc<R>>) -> Self {
        Self {
            len: rows.len(),
            rows: Arc::new(rows),
        }
    }
}

/// Where a row is, or would be.
struct Place {
    chunk: usize,
    /// The place in the chunk.
    within: usize,
    /// The rows in the chunks before.
    before: usize,
    found: bool,
}

impl<R: Ord> Rows<R> {
    /// Takes rows that are sorted.
    pub(super) fn of_sorted(rows: Vec<Arc<R>>) -> Self {
        let len = rows.len();
        let mut chunks = Vec::with_capacity(len.div_ceil(FEW));
        let mut rows = rows.into_iter();
        loop {
            let chunk: Vec<_> = rows.by_ref().take(FEW).collect();
            if chunk.is_empty() {
                break;
            }
            chunks.push(Chunk::new(chunk));
        }
        Self {
            chunks: Arc::new(chunks),
            len,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, mut at: usize) -> Option<&Arc<R>> {
        for chunk in self.chunks.iter() {
            if at < chunk.len {
                return chunk.rows.get(at);
            }
            at -= chunk.len;
        }
        None
    }

    pub(super) fn last(&self) -> Option<&Arc<R>> {
        self.chunks.last()?.rows.last()
    }

    /// The rows from place `start` up to `end`.
    pub(super) fn range(&self, start: usize, end: usize) -> Range<'_, R> {
        let end = end.min(self.len);
        let (mut chunk, mut within) = (0, start);
        while let Some(here) = self.chunks.get(chunk).filter(|here| within >= here.len) {
            within -= here.len;
            chunk += 1;
        }
        Range {
            chunks: &self.chunks,
            chunk,
            within,
            left: end.saturating_sub(start),
        }
    }

    /// The place of a row.
    pub(super) fn find(&self, row: &R) -> Option<usize> {
        let place = self.place(row);
        place.found.then_some(place.before + place.within)
    }

    fn place(&self, row: &R) -> Place {
        let behind = |chunk: &Chunk<R>| chunk.rows.last().is_none_or(|last| **last < *row);
        let chunk = self.chunks.partition_point(behind);
        let before = self.chunks[..chunk].iter().map(|chunk| chunk.len).sum();
        let (within, found) = match self.chunks.get(chunk) {
            None => (0, false),
            Some(here) => match here.rows.binary_search_by(|here| (**here).cmp(row)) {
                Ok(at) => (at, true),
                Err(at) => (at, false),
            },
        };
        Place {
            chunk,
            within,
            before,
            found,
        }
    }

    /// Puts a row into its place; one that is equal is replaced.
    pub(super) fn insert(&mut self, row: Arc<R>) {
        let place = self.place(&row);
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.is_empty() {
            chunks.push(Chunk::new(vec![row]));
            self.len = 1;
            return;
        }
        // Behind the last one: at the end of the last chunk.
        let at = place.chunk.min(chunks.len() - 1);
        let chunk = &mut chunks[at];
        let within = if place.chunk > at {
            chunk.len
        } else {
            place.within
        };
        let rows = Arc::make_mut(&mut chunk.rows);
        if place.found {
            rows[within] = row;
            return;
        }
        rows.insert(within, row);
        chunk.len += 1;
        self.len += 1;
        if chunk.len > MOST {
            let second = rows.split_off(chunk.len / 2);
            chunk.len = rows.len();
            chunks.insert(at + 1, Chunk::new(second));
        }
    }

    /// Takes out the row that is equal.
    pub(super) fn remove(&mut self, row: &R) -> Option<Arc<R>> {
        let place = self.place(row);
        if !place.found {
            return None;
        }
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = &mut chunks[place.chunk];
        let row = Arc::make_mut(&mut chunk.rows).remove(place.within);
        chunk.len -= 1;
        self.len -= 1;
        if chunk.len == 0 {
            chunks.remove(place.chunk);
        } else if !join(chunks, place.chunk) && place.chunk > 0 {
            join(chunks, place.chunk - 1);
        }
        Some(row)
    }

    /// Takes out the last row.
    pub(super) fn pop(&mut self) -> Option<Arc<R>> {
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = chunks.last_mut()?;
        let row = Arc::make_mut(&mut chunk.rows).pop();
        chunk.len -= 1;
        self.len -= 1;
        if chunk.len == 0 {
            chunks.pop();
        }
        row
    }

    /// Takes out the first row.
    pub(super) fn pop_first(&mut self) -> Option<Arc<R>> {
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = chunks.first_mut()?;
        let row = Arc::make_mut(&mut chunk.rows).remove(0);
        chunk.len -= 1;
        self.len -= 1;
        if chunk.len == 0 {
            chunks.remove(0);
        }
        Some(row)
    }
}

/// Joins a chunk and the next one if they are small.
fn join<R>(chunks: &mut Vec<Chunk<R>>, at: usize) -> bool {
    let [left, right, ..] = &mut chunks[at..] else {
        return false;
    };
    let small = left.len + right.len <= FEW;
    if small {
        Arc::make_mut(&mut left.rows).extend(right.rows.iter().cloned());
        left.len += right.len;
        chunks.remove(at + 1);
    }
    small
}

/// Rows one after another.
#[derive(Debug)]
pub(super) struct Range<'a, R> {
    chunks: &'a [Chunk<R>],
    chunk: usize,
    within: usize,
    left: usize,
}

impl<'a, R> Iterator for Range<'a, R> {
    type Item = &'a Arc<R>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let chunk = self.chunks.get(self.chunk)?;
        let row = chunk.rows.get(self.within);
        self.within += 1;
        if self.within == chunk.len {
            self.chunk += 1;
            self.within = 0;
        }
        row
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R> ExactSizeIterator for Range<'_, R> {}
impl<R> FusedIterator for Range<'_, R> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(rows: &Rows<u32>) -> Vec<u32> {
        rows.range(0, rows.len()).map(|row| **row).collect()
    }

    proptest! {
        #[test]
        fn rows_are_a_sorted_vector(edits in prop::collection::vec((any::<bool>(), 0..3_000_u32), 0..4_000)) {
            let mut model: Vec<u32> = (0..600).map(|number| number * 5).collect();
            let mut rows = Rows::of_sorted(model.iter().copied().map(Arc::new).collect());
            let (first, kept) = (rows.clone(), model.clone());
            for (insert, number) in edits {
                let place = model.binary_search(&number);
                prop_assert_eq!(rows.find(&number), place.ok());
                match (insert, place) {
                    (true, Err(at)) => model.insert(at, number),
                    (false, Ok(at)) => drop(model.remove(at)),
                    _ => {}
                }
                if insert {
                    rows.insert(Arc::new(number));
                } else {
                    let removed = rows.remove(&number);
                    prop_assert_eq!(removed.is_some(), place.is_ok());
                }
                prop_assert_eq!(rows.len(), model.len());
            }
            prop_assert_eq!(numbers(&rows), &model[..]);
            prop_assert_eq!(rows.last().map(|row| **row), model.last().copied());
            let middle = model.len() / 2;
            prop_assert_eq!(rows.get(middle).map(|row| **row), model.get(middle).copied());
            let part: Vec<_> = rows.range(middle, middle + 10).map(|row| **row).collect();
            let until = model.len().min(middle + 10);
            prop_assert_eq!(part, &model[middle..until]);
            prop_assert_eq!(rows.pop().map(|row| *row), model.pop());
            if !model.is_empty() {
                prop_assert_eq!(rows.pop_first().map(|row| *row), Some(model.remove(0)));
            }
            prop_assert_eq!(numbers(&rows), model);
            // What was copied before shows what was then.
            prop_assert_eq!(numbers(&first), kept);
        }
    }

    #[test]
    fn chunks_stay_neither_large_nor_many() {
        let mut rows = Rows::default();
        for number in 0..10_000_u32 {
            rows.insert(Arc::new(number));
        }
        assert!(
            rows.chunks.len() <= 10_000 / FEW + 1,
            "{}",
            rows.chunks.len()
        );
        for number in (0..10_000_u32).filter(|number| number % 100 != 0) {
            rows.remove(&number);
        }
        assert_eq!(rows.len(), 100);
        assert!(rows.chunks.len() <= 5, "{}", rows.chunks.len());
    }
}
