//! What a query shows of the rows it holds, and how one showing becomes the next.

use std::collections::HashSet;
use std::sync::Arc;

use pocket_storage::sorting;

use super::rows::{Range, Rows};

/// Rows with a part of them that is shown. Copies share everything.
#[derive(Debug)]
pub(super) struct Window<R> {
    pub(super) rows: Rows<R>,
    pub(super) skip: usize,
    pub(super) limit: Option<usize>,
    /// Whether skip and limit count from the end.
    pub(super) from_end: bool,
}

impl<R> Clone for Window<R> {
    fn clone(&self) -> Self {
        Self {
            rows: self.rows.clone(),
            ..*self
        }
    }
}

/// One edit of a list. Places are those at the moment of the edit, when all edits before it were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit<R> {
    Removed { at: usize, row: Arc<R> },
    Moved { from: usize, to: usize, row: Arc<R> },
    Updated { at: usize, row: Arc<R> },
    Inserted { at: usize, row: Arc<R> },
}

/// A row before and after; none where it is not held.
#[derive(Debug)]
pub(super) struct Touched<R> {
    pub(super) before: Option<Arc<R>>,
    pub(super) after: Option<Arc<R>>,
    /// Whether the two look different.
    pub(super) differs: bool,
}

impl<R: Ord> Window<R> {
    pub(super) fn len(&self) -> usize {
        let (start, end) = self.bounds();
        end - start
    }

    /// Where among the rows the shown ones begin and end.
    fn bounds(&self) -> (usize, usize) {
        let len = self.rows.len();
        let skipped = self.skip.min(len);
        let shown = self.limit.unwrap_or(usize::MAX).min(len - skipped);
        if self.from_end {
            (len - skipped - shown, len - skipped)
        } else {
            (skipped, skipped + shown)
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<&Arc<R>> {
        let (start, end) = self.bounds();
        let at = start.checked_add(at).filter(|at| *at < end)?;
        self.rows.get(at)
    }

    pub(super) fn iter(&self) -> Range<'_, R> {
        let (start, end) = self.bounds();
        self.rows.range(start, end)
    }

    /// The place at which a row is shown.
    fn place(&self, row: &R) -> Option<usize> {
        let (start, end) = self.bounds();
        let place = self.rows.find(row).filter(|place| *place < end)?;
        place.checked_sub(start)
    }

    /// The edits that make the next showing of this one. `touched` has every row that was added to, taken from or
    /// changed among the rows that are held; all others stand in the same order in both.
    ///
    /// First rows leave, the last one first; then rows move or change, in their new order; then rows come, the first one
    /// first. So the list never holds more rows than the longer of the two, and whatever was not touched moves only by
    /// what happens before it.
    pub(super) fn edits_to(&self, next: &Self, touched: &[Touched<R>]) -> Vec<Edit<R>> {
        let mut leave = Vec::new();
        let mut come = Vec::new();
        let mut stay = Vec::new();
        let (mut old_places, mut new_places) = (HashSet::new(), HashSet::new());
        for row in touched {
            let before = row.before.as_ref().and_then(|row| self.place(row));
            let after = row.after.as_ref().and_then(|row| next.place(row));
            old_places.extend(before);
            new_places.extend(after);
            match (before, after) {
                (Some(old), Some(new)) => stay.push(Stay {
                    old,
                    new,
                    differs: row.differs,
                }),
                (Some(old), None) => leave.push(old),
                (None, Some(new)) => come.push(new),
                (None, None) => {}
            }
        }
        self.edges(next, &old_places, &mut leave);
        next.edges(self, &new_places, &mut come);
        sorting::sort_unstable(&mut leave);
        sorting::sort_unstable(&mut come);

        let mut edits = Vec::with_capacity(leave.len() + stay.len() + come.len());
        for &at in leave.iter().rev() {
            edits.extend(self.get(at).cloned().map(|row| Edit::Removed { at, row }));
        }
        next.moves(&mut stay, &leave, &come, &mut edits);
        for at in come {
            edits.extend(next.get(at).cloned().map(|row| Edit::Inserted { at, row }));
        }
        edits
    }

    /// The places of rows that were not touched and that the other one does not show. As both have them in one order,
    /// they lie at the ends.
    fn edges(&self, other: &Self, touched: &HashSet<usize>, found: &mut Vec<usize>) {
        // What was not touched is held by both, and shown by one that shows all it holds.
        if other.len() == other.rows.len() {
            return;
        }
        let gone = |at: &usize| self.get(*at).is_some_and(|row| other.place(row).is_none());
        let mut untouched = (0..self.len()).filter(|at| !touched.contains(at));
        found.extend(untouched.by_ref().take_while(gone));
        found.extend(untouched.rev().take_while(gone));
    }

    /// The edits of rows that are shown before and after.
    fn moves(&self, stay: &mut [Stay], leave: &[usize], come: &[usize], edits: &mut Vec<Edit<R>>) {
        // Where each row stands among those that were not touched and stay: behind so many of them.
        sorting::sort_unstable_by(stay, |left, right| left.old.cmp(&right.old));
        let old: Vec<usize> = stay
            .iter()
            .enumerate()
            .map(|(order, row)| row.old - order - below(leave, row.old))
            .collect();
        let mut by_new: Vec<usize> = (0..stay.len()).collect();
        sorting::sort_unstable_by(&mut by_new, |&left, &right| {
            stay[left].new.cmp(&stay[right].new)
        });
        let new: Vec<usize> = by_new
            .iter()
            .enumerate()
            .map(|(order, &row)| stay[row].new - order - below(come, stay[row].new))
            .collect();
        // They go to their new places one after another, in the new order. Of those behind the same untouched row,
        // those that went stand before those that did not yet.
        let mut waiting = Counts::full(stay.len());
        for (order, &row) in by_new.iter().enumerate() {
            waiting.take(row);
            let gone = &new[..order];
            let from =
                old[row] + gone.partition_point(|&place| place <= old[row]) + waiting.before(row);
            let to = new[order]
                + order
                + waiting.before(old.partition_point(|&place| place < new[order]));
            let Some(now) = self.get(stay[row].new).cloned() else {
                continue;
            };
            if from != to {
                edits.push(Edit::Moved { from, to, row: now });
            } else if stay[row].differs {
                edits.push(Edit::Updated { at: to, row: now });
            }
        }
    }
}

struct Stay {
    old: usize,
    new: usize,
    differs: bool,
}

/// How many of the sorted `places` are smaller.
fn below(places: &[usize], place: usize) -> usize {
    places.partition_point(|&other| other < place)
}

/// How many of a row of things are still there, in logarithmic time (Fenwick 1994).
struct Counts(Vec<usize>);

impl Counts {
    fn full(count: usize) -> Self {
        // A node covers as many things as its lowest bit says.
        Self((0..=count).map(|node| node & node.wrapping_neg()).collect())
    }

    fn take(&mut self, at: usize) {
        let mut node = at + 1;
        while let Some(count) = self.0.get_mut(node) {
            *count -= 1;
            node += node & node.wrapping_neg();
        }
    }

    /// How many are there before `at`.
    fn before(&self, at: usize) -> usize {
        let (mut node, mut sum) = (at, 0);
        while node > 0 {
            sum += self.0[node];
            node &= node - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Sorted by key, then by id.
    type Row = (u8, u8);

    fn window(
        rows: &BTreeMap<u8, u8>,
        skip: usize,
        limit: Option<usize>,
        from_end: bool,
    ) -> Window<Row> {
        let mut rows: Vec<_> = rows.iter().map(|(id, key)| Arc::new((*key, *id))).collect();
        rows.sort();
        Window {
            rows: Rows::of_sorted(rows),
            skip,
            limit,
            from_end,
        }
    }

    fn shown(window: &Window<Row>) -> Vec<Row> {
        window.iter().map(|row| **row).collect()
    }

    fn apply(list: &mut Vec<Row>, edits: &[Edit<Row>]) {
        for edit in edits {
            match edit {
                Edit::Removed { at, row } => assert_eq!(list.remove(*at), **row),
                Edit::Moved { from, to, row } => {
                    assert_eq!(list.remove(*from).1, row.1);
                    list.insert(*to, **row);
                }
                Edit::Updated { at, row } => {
                    assert_eq!(list[*at].1, row.1);
                    list[*at] = **row;
                }
                Edit::Inserted { at, row } => list.insert(*at, **row),
            }
        }
    }

    fn touched(old: &BTreeMap<u8, u8>, new: &BTreeMap<u8, u8>, ids: &[u8]) -> Vec<Touched<Row>> {
        let row = |rows: &BTreeMap<u8, u8>, id| rows.get(&id).map(|key| Arc::new((*key, id)));
        ids.iter()
            .map(|id| Touched {
                before: row(old, *id),
                after: row(new, *id),
                differs: true,
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
        #[test]
        fn edits_applied_to_the_old_list_give_the_new_one(
            old in prop::collection::btree_map(0..40_u8, 0..12_u8, 0..40),
            changes in prop::collection::btree_map(0..40_u8, prop::option::of(0..12_u8), 0..12),
            skip in 0..6_usize,
            limit in prop::option::of(0..12_usize),
            from_end: bool,
        ) {
            let mut new = old.clone();
            for (id, key) in &changes {
                match key {
                    Some(key) => drop(new.insert(*id, *key)),
                    None => drop(new.remove(id)),
                }
            }
            let ids: Vec<_> = changes.keys().copied().collect();
            let (from, to) = (window(&old, skip, limit, from_end), window(&new, skip, limit, from_end));
            let edits = from.edits_to(&to, &touched(&old, &new, &ids));
            let mut list = shown(&from);
            apply(&mut list, &edits);
            prop_assert_eq!(list, shown(&to));
            // No row is named twice, and one that was not touched only comes or leaves.
            let mut named: Vec<_> = edits.iter().map(|edit| match edit {
                Edit::Removed { row, .. } | Edit::Inserted { row, .. } => (row.1, true),
                Edit::Moved { row, .. } | Edit::Updated { row, .. } => (row.1, false),
            }).collect();
            prop_assert!(named.iter().all(|(id, edge)| *edge || ids.contains(id)));
            named.sort_unstable();
            prop_assert!(named.windows(2).all(|pair| pair[0].0 != pair[1].0), "{:?}", edits);
        }
    }

    #[test]
    fn one_row_that_changes_is_one_edit() {
        let old: BTreeMap<u8, u8> = (0..10).map(|id| (id, id * 2)).collect();
        let edits = |id: u8, key: Option<u8>| {
            let mut new = old.clone();
            match key {
                Some(key) => drop(new.insert(id, key)),
                None => drop(new.remove(&id)),
            }
            let (from, to) = (window(&old, 0, None, false), window(&new, 0, None, false));
            from.edits_to(&to, &touched(&old, &new, &[id]))
        };
        let row = |key, id| Arc::new((key, id));
        assert_eq!(
            edits(2, Some(5)),
            [Edit::Updated {
                at: 2,
                row: row(5, 2)
            }]
        );
        assert_eq!(
            edits(2, Some(9)),
            [Edit::Moved {
                from: 2,
                to: 4,
                row: row(9, 2)
            }]
        );
        assert_eq!(
            edits(9, Some(0)),
            [Edit::Moved {
                from: 9,
                to: 1,
                row: row(0, 9)
            }]
        );
        assert_eq!(
            edits(3, None),
            [Edit::Removed {
                at: 3,
                row: row(6, 3)
            }]
        );
        assert_eq!(
            edits(99, Some(3)),
            [Edit::Inserted {
                at: 2,
                row: row(3, 99)
            }]
        );
    }

    #[test]
    fn a_full_window_is_filled_from_behind_and_shifted_from_before() {
        let old: BTreeMap<u8, u8> = (0..10).map(|id| (id, id * 2)).collect();
        let edits = |id: u8, key: Option<u8>| {
            let mut new = old.clone();
            match key {
                Some(key) => drop(new.insert(id, key)),
                None => drop(new.remove(&id)),
            }
            // Ids 2, 3 and 4.
            let (from, to) = (
                window(&old, 2, Some(3), false),
                window(&new, 2, Some(3), false),
            );
            from.edits_to(&to, &touched(&old, &new, &[id]))
        };
        let removed = |at, key, id| Edit::Removed {
            at,
            row: Arc::new((key, id)),
        };
        let inserted = |at, key, id| Edit::Inserted {
            at,
            row: Arc::new((key, id)),
        };
        assert_eq!(edits(3, None), [removed(1, 6, 3), inserted(2, 10, 5)]);
        assert_eq!(edits(0, None), [removed(0, 4, 2), inserted(2, 10, 5)]);
        assert_eq!(edits(50, Some(1)), [removed(2, 8, 4), inserted(0, 2, 1)]);
        assert_eq!(edits(3, Some(30)), [removed(1, 6, 3), inserted(2, 10, 5)]);
        assert_eq!(edits(8, Some(0)), [removed(2, 8, 4), inserted(0, 2, 1)]);
        assert_eq!(edits(8, Some(30)), []);
        assert_eq!(edits(1, None), [removed(0, 4, 2), inserted(2, 10, 5)]);
    }
}
