//! Where each page begins.

use std::ops::Bound;

use bytes::Bytes;
use pocket_storage::KeyRange;

/// The lower bounds of all pages, as they are while the database has this layout.
///
/// Whoever adds or removes a page raises the number of the layout in the same transaction. A directory that was read
/// once is right for as long as a transaction finds its number; no other tab can move a page behind its back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    layout: u64,
    /// Ascending. The first page begins at the empty key, also when there is no record of it yet.
    lowers: Vec<Bytes>,
}

impl Directory {
    /// Of a layout that no database has: to be read anew.
    pub(crate) fn unknown() -> Self {
        Self::new(u64::MAX, Vec::new())
    }

    /// From the keys of all records, ascending.
    pub(crate) fn new(layout: u64, mut lowers: Vec<Bytes>) -> Self {
        if lowers.first().is_none_or(|first| !first.is_empty()) {
            lowers.insert(0, Bytes::new());
        }
        Self { layout, lowers }
    }

    /// The number of this layout.
    pub(crate) fn layout(&self) -> u64 {
        self.layout
    }

    /// How many pages there are.
    pub(crate) fn len(&self) -> usize {
        self.lowers.len()
    }

    /// Where the page `index` begins.
    pub(crate) fn lower(&self, index: usize) -> &Bytes {
        &self.lowers[index]
    }

    /// Where the page behind `index` begins.
    pub(crate) fn upper(&self, index: usize) -> Option<&Bytes> {
        self.lowers.get(index + 1)
    }

    /// The page that holds `key`, if any does.
    pub(crate) fn page_of(&self, key: &[u8]) -> usize {
        self.lowers
            .partition_point(|lower| lower.as_ref() <= key)
            .saturating_sub(1)
    }

    /// The first and the last page that may have entries of a range that is not empty.
    pub(crate) fn pages_of(&self, range: &KeyRange) -> (usize, usize) {
        let first = match &range.start {
            Bound::Included(key) | Bound::Excluded(key) => self.page_of(key),
            Bound::Unbounded => 0,
        };
        let last = match &range.end {
            Bound::Included(key) | Bound::Excluded(key) => self.page_of(key),
            Bound::Unbounded => self.len() - 1,
        };
        (first, last)
    }

    /// The directory after pages were removed and added, with the next number.
    #[must_use]
    pub(crate) fn after(&self, removed: &[Bytes], added: &[Bytes]) -> Self {
        let mut lowers = self.lowers.clone();
        if !removed.is_empty() {
            lowers.retain(|lower| removed.binary_search(lower).is_err());
        }
        lowers.extend_from_slice(added);
        // Two sorted runs: the sort is a merge.
        pocket_storage::sorting::sort_by(&mut lowers, Bytes::cmp);
        Self {
            layout: self.layout + 1,
            lowers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(lowers: &[&'static str]) -> Directory {
        let lowers = lowers
            .iter()
            .map(|lower| Bytes::from_static(lower.as_bytes()));
        Directory::new(7, lowers.collect())
    }

    #[test]
    fn each_key_has_exactly_one_page() {
        let directory = directory(&["d", "m"]);
        assert_eq!(directory.len(), 3);
        for (key, page) in [("", 0), ("c", 0), ("d", 1), ("da", 1), ("m", 2), ("z", 2)] {
            assert_eq!(directory.page_of(key.as_bytes()), page, "{key}");
        }
        assert_eq!(directory.upper(0).unwrap(), "d");
        assert_eq!(directory.upper(2), None);
    }

    #[test]
    fn what_is_unknown_is_no_layout_that_a_database_can_have() {
        let unknown = Directory::unknown();
        assert_eq!((unknown.layout(), unknown.len()), (u64::MAX, 1));
    }

    #[test]
    fn a_range_is_within_its_pages() {
        let directory = directory(&["", "d", "m"]);
        assert_eq!(directory.pages_of(&KeyRange::all()), (0, 2));
        assert_eq!(directory.pages_of(&KeyRange::prefix("e")), (1, 1));
        assert_eq!(directory.pages_of(&KeyRange::all().after("m")), (2, 2));
        assert_eq!(directory.pages_of(&KeyRange::all().before("d")), (0, 1));
    }

    #[test]
    fn a_change_of_pages_has_a_number_of_its_own() {
        let next = directory(&["d", "m"]).after(&[Bytes::from("d")], &[Bytes::from("f")]);
        assert_eq!(next.layout(), 8);
        assert_eq!(
            next,
            Directory {
                layout: 8,
                ..directory(&["f", "m"])
            }
        );
    }
}
