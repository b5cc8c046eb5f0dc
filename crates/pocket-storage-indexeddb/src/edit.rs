//! What batches do to pages: read pages in, written pages out.

use bytes::Bytes;
use pocket_storage::ordered::BTreeMap;
use pocket_storage::{Batch, Check, Write};

use crate::directory::Directory;
use crate::page::{self, Page, PageEntry, entry_size};

/// A page with more bytes of entries than this is split.
const SPLIT_ABOVE: usize = 16 * 1024;

/// What a page is filled to when one is split.
const FILL: usize = 12 * 1024;

/// A page with less than this goes to the page before it, if that is written as well and has room.
const MERGE_BELOW: usize = 3 * 1024;

/// An entry larger than this has a page of its own, so that its neighbours are not written with it.
const LARGE: usize = 8 * 1024;

/// All pages that some batches touch, and what becomes of them.
#[derive(Debug)]
pub(crate) struct Edit {
    pages: BTreeMap<usize, Page>,
    /// What the batches wrote so far.
    written: BTreeMap<Vec<u8>, Option<Bytes>>,
}

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Records to store, by their keys.
    pub(crate) puts: Vec<(Bytes, Vec<u8>)>,
    /// Keys of records to remove.
    pub(crate) deletes: Vec<Bytes>,
    /// The directory afterwards, if it is another one.
    pub(crate) directory: Option<Directory>,
}

impl Edit {
    /// Of the pages, each by its place in the directory.
    pub(crate) fn new(pages: BTreeMap<usize, Page>) -> Self {
        Self {
            pages,
            written: BTreeMap::new(),
        }
    }

    /// The pages that a batch needs, each once.
    pub(crate) fn pages_of<'a>(
        directory: &Directory,
        batches: impl Iterator<Item = &'a Batch>,
    ) -> Vec<usize> {
        let mut pages: Vec<usize> = Vec::new();
        for batch in batches {
            let checked = batch.checks().iter().map(|check| match check {
                Check::Equals { key, .. } | Check::Absent { key } => key,
            });
            let written = batch.writes().iter().map(key_of);
            pages.extend(checked.chain(written).map(|key| directory.page_of(key)));
        }
        pocket_storage::sorting::sort_unstable(&mut pages);
        pages.dedup();
        pages
    }

    /// Applies a batch over those before it; nothing of it if a check does not hold.
    pub(crate) fn apply(&mut self, directory: &Directory, batch: &Batch) -> bool {
        let holds = |check: &Check| match check {
            Check::Equals { key, value } => self.get(directory, key) == Some(value),
            Check::Absent { key } => self.get(directory, key).is_none(),
        };
        if !batch.checks().iter().all(holds) {
            return false;
        }
        for write in batch.writes() {
            let value = match write {
                Write::Put { value, .. } => Some(value.clone()),
                Write::Delete { .. } => None,
            };
            self.written.insert(key_of(write).clone(), value);
        }
        true
    }

    fn get(&self, directory: &Directory, key: &[u8]) -> Option<&Bytes> {
        match self.written.get(key) {
            Some(written) => written.as_ref(),
            None => self.pages.get(&directory.page_of(key))?.get(key),
        }
    }

    /// The records that differ afterwards.
    pub(crate) fn finish(mut self, directory: &Directory) -> Outcome {
        let mut written = std::mem::take(&mut self.written).into_iter().peekable();
        let mut touched: Vec<Touched> = Vec::new();
        while let Some((key, _)) = written.peek() {
            let index = directory.page_of(key);
            let upper = directory.upper(index);
            let mut changes = Vec::new();
            while let Some(change) = written
                .next_if(|(key, _)| upper.is_none_or(|upper| key.as_slice() < upper.as_ref()))
            {
                changes.push(change);
            }
            let page = self.pages.remove(&index).unwrap_or_default();
            let entries = merged(page.entries, changes);
            touched.push(Touched {
                index,
                old: page.record,
                entries,
            });
        }
        give_small_ones_away(&mut touched);
        let mut outcome = Outcome::default();
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for page in touched {
            let lower = directory.lower(page.index);
            if page.entries.is_empty() {
                if !page.old.is_empty() {
                    outcome.deletes.push(lower.clone());
                }
                if page.index > 0 {
                    removed.push(lower.clone());
                }
                continue;
            }
            for (place, (begins, entries)) in split(lower, page.entries).into_iter().enumerate() {
                let record = page::encode(&begins, &entries);
                if place > 0 {
                    added.push(begins.clone());
                } else if page.old == record {
                    continue;
                }
                outcome.puts.push((begins, record));
            }
        }
        if !removed.is_empty() || !added.is_empty() {
            outcome.directory = Some(directory.after(&removed, &added));
        }
        outcome
    }
}

/// A page that was written to.
struct Touched {
    index: usize,
    /// The record before; empty if there was none.
    old: Bytes,
    entries: Vec<PageEntry>,
}

/// Moves what is left of small pages to the page before them.
fn give_small_ones_away(touched: &mut [Touched]) {
    // The nearest page before that has kept its entries.
    let mut before: Option<usize> = None;
    for place in 0..touched.len() {
        let bytes = page::size(&touched[place].entries);
        let takes = before.filter(|before| {
            let adjacent = (*before + 1..=place)
                .all(|other| touched[other].index == touched[other - 1].index + 1);
            adjacent
                && bytes > 0
                && bytes < MERGE_BELOW
                && page::size(&touched[*before].entries) + bytes <= FILL
        });
        if let Some(before) = takes {
            let entries = std::mem::take(&mut touched[place].entries);
            touched[before].entries.extend(entries);
        } else if !touched[place].entries.is_empty() {
            before = Some(place);
        }
    }
}

fn key_of(write: &Write) -> &Vec<u8> {
    match write {
        Write::Put { key, .. } | Write::Delete { key } => key,
    }
}

/// Sorted entries with sorted changes laid over them.
fn merged(entries: Vec<PageEntry>, changes: Vec<(Vec<u8>, Option<Bytes>)>) -> Vec<PageEntry> {
    let mut merged = Vec::with_capacity(entries.len() + changes.len());
    let mut entries = entries.into_iter().peekable();
    for (key, value) in changes {
        while let Some(entry) = entries.next_if(|(other, _)| **other < *key) {
            merged.push(entry);
        }
        entries.next_if(|(other, _)| **other == *key);
        if let Some(value) = value {
            merged.push((Bytes::from(key), value));
        }
    }
    merged.extend(entries);
    merged
}

/// Cuts entries into pages, the first of which begins at `lower`.
fn split(lower: &Bytes, entries: Vec<PageEntry>) -> Vec<(Bytes, Vec<PageEntry>)> {
    if page::size(&entries) <= SPLIT_ABOVE {
        return vec![(lower.clone(), entries)];
    }
    let mut pages: Vec<(Bytes, Vec<PageEntry>)> = vec![(lower.clone(), Vec::new())];
    let mut bytes = 0;
    // Set behind a large entry: the next page begins directly behind it, wherever its own first entry may lie. Else
    // what comes between them later would have to be written with the large one.
    let mut behind: Option<Bytes> = None;
    for entry in entries {
        let size = entry_size(&entry);
        let is_full = bytes > 0 && (bytes + size > FILL || size > LARGE);
        if is_full || behind.is_some() {
            let begins = behind.take().unwrap_or_else(|| entry.0.clone());
            // What is kept of a key must not keep its page.
            pages.push((Bytes::copy_from_slice(&begins), Vec::new()));
            bytes = 0;
        }
        if size > LARGE {
            let mut next = entry.0.to_vec();
            next.push(0);
            behind = Some(Bytes::from(next));
        }
        bytes += size;
        if let Some((_, last)) = pages.last_mut() {
            last.push(entry);
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What IndexedDB does: records by their keys.
    #[derive(Default)]
    struct Records(BTreeMap<Bytes, Bytes>);

    impl Records {
        fn page(&self, directory: &Directory, index: usize) -> Page {
            let lower = directory.lower(index);
            let upper = directory.upper(index).map(|upper| &**upper);
            if let Some(record) = self.0.get(lower) {
                return Page::decode(record.clone(), lower, upper).unwrap();
            }
            assert_eq!(index, 0, "only the first page may have no record");
            Page::default()
        }

        /// Applies batches as one transaction; how many records it wrote, and the answers.
        fn commit(&mut self, directory: &mut Directory, batches: &[Batch]) -> (usize, Vec<bool>) {
            let pages = Edit::pages_of(directory, batches.iter());
            let pages = pages
                .into_iter()
                .map(|index| (index, self.page(directory, index)));
            let mut edit = Edit::new(pages.collect());
            let answers = batches
                .iter()
                .map(|batch| edit.apply(directory, batch))
                .collect();
            let outcome = edit.finish(directory);
            let written = outcome.puts.len() + outcome.deletes.len();
            for key in outcome.deletes {
                assert!(self.0.remove(&key).is_some(), "what is removed was there");
            }
            for (key, record) in outcome.puts {
                assert_ne!(
                    self.0.insert(key, record.clone().into()),
                    Some(record.into())
                );
            }
            if let Some(after) = outcome.directory {
                assert_eq!(after.layout(), directory.layout() + 1);
                *directory = after;
            }
            // What another tab would read is the same.
            let keys = self.0.keys().cloned().collect();
            assert_eq!(*directory, Directory::new(directory.layout(), keys));
            (written, answers)
        }

        fn entries(&self, directory: &Directory) -> Vec<PageEntry> {
            let mut all = Vec::new();
            for index in 0..directory.len() {
                let entries = self.page(directory, index).entries;
                let bytes = page::size(&entries);
                assert!(bytes <= SPLIT_ABOVE || entries.len() == 1, "{bytes}");
                all.extend(entries);
            }
            all
        }
    }

    fn put(key: impl Into<Vec<u8>>, bytes: usize) -> Batch {
        let mut batch = Batch::new();
        batch.put(key, vec![7; bytes]);
        batch
    }

    fn many(range: std::ops::Range<u32>, bytes: usize) -> Batch {
        let mut batch = Batch::new();
        for number in range {
            batch.put(number.to_be_bytes(), vec![1; bytes]);
        }
        batch
    }

    fn fresh() -> (Records, Directory) {
        (Records::default(), Directory::new(0, Vec::new()))
    }

    #[test]
    fn five_hundred_small_entries_are_a_dozen_records() {
        let (mut records, mut directory) = fresh();
        let (written, _) = records.commit(&mut directory, &[many(0..500, 200)]);
        assert_eq!(written, 9);
        let (written, _) = records.commit(&mut directory, &[many(500..1_000, 200)]);
        assert!(written <= 11, "{written}");
    }

    #[test]
    fn entries_added_one_by_one_at_the_end_fill_their_pages() {
        let (mut records, mut directory) = fresh();
        for number in 0..1_000 {
            let (written, _) = records.commit(&mut directory, &[many(number..number + 1, 200)]);
            assert!(written <= 2);
        }
        assert!(directory.len() <= 210_000 / FILL + 2, "{}", directory.len());
    }

    #[test]
    fn the_neighbours_of_a_large_entry_are_not_written_with_it() {
        let (mut records, mut directory) = fresh();
        for key in ["a", "m", "z"] {
            records.commit(&mut directory, &[put(key, 10)]);
        }
        records.commit(&mut directory, &[put("m", 1_000_000)]);
        // At most once for a key that comes to lie directly before or behind it.
        for key in ["n", "l"] {
            records.commit(&mut directory, &[put(key, 10)]);
        }
        for key in ["k", "la", "ma", "mz", "o", "z"] {
            let index = directory.page_of(key.as_bytes());
            assert!(
                records.page(&directory, index).record.len() < 1_000,
                "{key}"
            );
            records.commit(&mut directory, &[put(key, 10)]);
        }
        records.commit(&mut directory, &[put("m", 5)]);
        assert_eq!(records.entries(&directory).len(), 10);
    }

    #[test]
    fn what_is_removed_leaves_no_record_and_what_is_thinned_out_few() {
        let (mut records, mut directory) = fresh();
        records.commit(&mut directory, &[many(0..2_000, 100)]);
        let before = records.0.len();
        let mut thinned = Batch::new();
        for number in (0..2_000_u32).filter(|number| number % 20 != 0) {
            thinned.delete(number.to_be_bytes());
        }
        records.commit(&mut directory, &[thinned]);
        assert_eq!(records.entries(&directory).len(), 100);
        assert!(records.0.len() <= before / 10, "{}", records.0.len());
        let mut all = Batch::new();
        for number in 0..2_000_u32 {
            all.delete(number.to_be_bytes());
        }
        records.commit(&mut directory, &[all.clone()]);
        assert!(records.0.is_empty());
        assert_eq!(records.commit(&mut directory, &[all]).0, 0);
    }

    #[test]
    fn what_changes_nothing_writes_nothing() {
        let (mut records, mut directory) = fresh();
        records.commit(&mut directory, &[many(0..500, 200)]);
        assert_eq!(records.commit(&mut directory, &[many(100..400, 200)]).0, 0);
    }

    fn batch() -> impl Strategy<Value = Batch> {
        let key = proptest::collection::vec(0_u8..4, 0..5);
        let bytes =
            prop_oneof![8 => 0_usize..400, 2 => 2_000_usize..9_000, 1 => 15_000_usize..40_000];
        let write = (
            key.clone(),
            proptest::option::weighted(0.7, (bytes, any::<u8>())),
        );
        let writes = proptest::collection::vec(write, 0..30);
        let check = proptest::option::of((key, any::<bool>()));
        (writes, check).prop_map(|(writes, check)| {
            let mut batch = Batch::new();
            if let Some((key, absent)) = check {
                if absent {
                    batch.check_absent(key);
                } else {
                    batch.check_equals(key, Vec::new());
                }
            }
            for (key, value) in writes {
                match value {
                    Some((bytes, byte)) => batch.put(key, vec![byte; bytes]),
                    None => batch.delete(key),
                };
            }
            batch
        })
    }

    fn holds(model: &BTreeMap<Vec<u8>, Bytes>, batch: &Batch) -> bool {
        batch.checks().iter().all(|check| match check {
            Check::Equals { key, value } => model.get(key) == Some(value),
            Check::Absent { key } => !model.contains_key(key),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn pages_hold_what_a_sorted_map_would(
            groups in proptest::collection::vec(proptest::collection::vec(batch(), 1..4), 1..25)
        ) {
            let (mut records, mut directory) = fresh();
            let mut model: BTreeMap<Vec<u8>, Bytes> = BTreeMap::new();
            for group in groups {
                let (_, answers) = records.commit(&mut directory, &group);
                for (batch, answer) in group.iter().zip(answers) {
                    prop_assert_eq!(answer, holds(&model, batch));
                    for write in batch.writes().iter().filter(|_| answer) {
                        match write {
                            Write::Put { key, value } => model.insert(key.clone(), value.clone()),
                            Write::Delete { key } => model.remove(key),
                        };
                    }
                }
                let found = records.entries(&directory);
                let found: Vec<_> = found.iter().map(|(key, value)| (key.to_vec(), value.clone())).collect();
                prop_assert_eq!(found, model.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
