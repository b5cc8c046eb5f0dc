//! Reads: each within one transaction, which sees one state. Those of single keys may share it.

use bytes::Bytes;
use pocket_storage::{Direction, Entry, KeyRange, Result, ScanLimit};

use crate::directory::Directory;
use crate::guess::{FIRST_PAGES, Guess};
use crate::idb::Transaction;
use crate::page::{Page, PageEntry};
use crate::reading::Reading;
use crate::shared::Shared;

/// The values of `keys`.
pub(crate) async fn get_many(shared: &Shared, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut reading = Reading::begin(shared, false).await?;
    let directory = reading.load(shared, keys).await?;
    let value_of = |key: &Vec<u8>| {
        let page = reading.page(directory.page_of(key))?;
        page.get(key).map(|value| kept(value, page))
    };
    let values = keys.iter().map(value_of).collect();
    reading.keep(shared);
    Ok(values)
}

/// The entries of `range`.
pub(crate) async fn scan(
    shared: &Shared,
    range: &KeyRange,
    limit: ScanLimit,
    direction: Direction,
) -> Result<Vec<Entry>> {
    if limit.entries == 0 || range.is_empty() {
        return Ok(Vec::new());
    }
    let reading = Reading::begin(shared, true).await?;
    let transaction = reading.transaction();
    let known = reading.directory();
    let layout = match known {
        Some(_) => None,
        None => Some(transaction.layout()?),
    };
    let mut directory = known.unwrap_or_else(|| shared.directory());
    let mut scan = Scan {
        range,
        limit,
        direction,
        found: Vec::new(),
        bytes: 0,
        is_done: false,
        guess: Guess::default(),
    };
    let mut left = directory.pages_of(range);
    let mut count = FIRST_PAGES;
    let mut rounds = 0;
    loop {
        let (first, last) = part_of(left, count, direction);
        let pages = transaction.pages(directory.lower(first), directory.lower(last))?;
        transaction.round(&pages).await?;
        rounds += 1;
        if let Some(layout) = &layout {
            let number = transaction.layout_in(layout)?;
            if number != directory.layout() {
                // Only in the first round: one transaction sees one layout.
                directory = shared.read_directory(transaction, number).await?;
                left = directory.pages_of(range);
                continue;
            }
        }
        let records = Transaction::records_in(&pages)?;
        let record = |record| transaction.record(record);
        scan.take(shared, &directory, (first, last), records, record)?;
        let rest = match direction {
            Direction::Forward => (last < left.1).then(|| (last + 1, left.1)),
            Direction::Backward => (first > left.0).then(|| (left.0, first - 1)),
        };
        match rest {
            Some(rest) if !scan.is_done => left = rest,
            _ => break,
        }
        count = scan.guess.next(limit.bytes.saturating_sub(scan.bytes));
    }
    let found = scan.found;
    reading.scanned(shared, directory, rounds);
    Ok(found)
}

/// The part of the pages that are left to read next.
fn part_of((first, last): (usize, usize), count: usize, direction: Direction) -> (usize, usize) {
    let more = count.max(1) - 1;
    match direction {
        Direction::Forward => (first, last.min(first + more)),
        Direction::Backward => (first.max(last.saturating_sub(more)), last),
    }
}

struct Scan<'a> {
    range: &'a KeyRange,
    limit: ScanLimit,
    direction: Direction,
    found: Vec<Entry>,
    bytes: usize,
    is_done: bool,
    guess: Guess,
}

impl Scan<'_> {
    /// Takes what belongs to the range from the records of neighbouring pages, up to the limit: a record behind it is not
    /// even copied out of the browser's memory.
    fn take<R>(
        &mut self,
        shared: &Shared,
        directory: &Directory,
        (first, last): (usize, usize),
        mut records: Vec<R>,
        bytes_of: impl Fn(R) -> Result<Bytes>,
    ) -> Result<()> {
        let expected = last - first + 1;
        // Only the first page of all may have no record.
        let missing = expected - records.len().min(expected);
        if missing > usize::from(first == 0) || records.len() > expected {
            return Err(shared.corrupt("a page is missing"));
        }
        let mut indexes: Vec<usize> = (first + missing..=last).collect();
        if self.direction == Direction::Backward {
            records.reverse();
            indexes.reverse();
        }
        for (index, record) in indexes.into_iter().zip(records) {
            if self.is_done {
                return Ok(());
            }
            let record = bytes_of(record)?;
            self.guess.saw(record.len());
            let page = &shared.page(directory, index, Some(record))?;
            let entries = page.entries.iter();
            match self.direction {
                Direction::Forward => self.take_entries(entries, page),
                Direction::Backward => self.take_entries(entries.rev(), page),
            }
        }
        Ok(())
    }

    fn take_entries<'e>(&mut self, entries: impl Iterator<Item = &'e PageEntry>, page: &Page) {
        for (key, value) in entries {
            if self.is_done {
                return;
            }
            if self.range.contains(key) {
                self.found.push((key.to_vec(), kept(value, page)));
                self.bytes += key.len() + value.len();
                self.is_done =
                    self.found.len() >= self.limit.entries || self.bytes >= self.limit.bytes;
            }
        }
    }
}

/// A value to hand out: a copy, unless it is most of its page anyway, so that it does not keep the whole page.
fn kept(value: &Bytes, page: &Page) -> Bytes {
    if value.len() * 2 > page.record.len() {
        value.clone()
    } else {
        Bytes::copy_from_slice(value)
    }
}
