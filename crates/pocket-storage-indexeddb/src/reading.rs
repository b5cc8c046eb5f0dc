//! A transaction that reads, and is read in again for as long as the browser keeps it open.
//!
//! A transaction stays active in whatever the answer to one of its requests wakes, down to the `await` of the application
//! that reads the next document. No transaction that writes, of any tab, runs beside one that reads, so what it has read
//! once is true until it is no longer active.

use std::rc::Rc;

use pocket_storage::Result;
use pocket_storage::ordered::BTreeMap;

use crate::directory::Directory;
use crate::idb::{Mode, Transaction};
use crate::page::Page;
use crate::shared::Shared;

/// Rounds of requests in one transaction: others who want to write wait for that long.
const MOST_ROUNDS: usize = 16;

/// Reads without a request in a row: nothing else of the page runs meanwhile.
const MOST_UNASKED: usize = 64;

/// Pages that are kept, and the bytes of the largest one that is.
const KEPT_PAGES: usize = 8;
const KEPT_BYTES: usize = 32 * 1024;

/// The transaction, and what was read in it.
#[derive(Debug)]
pub(crate) struct Reading {
    transaction: Transaction,
    /// As it is while the transaction is active, once that was looked at.
    directory: Option<Rc<Directory>>,
    pages: BTreeMap<usize, Page>,
    rounds: usize,
    unasked: usize,
}

impl Reading {
    /// The transaction of the read before if it is still active, or a new one.
    pub(crate) async fn begin(shared: &Shared) -> Result<Self> {
        let database = shared.database().await?;
        let kept = shared.reading.take().filter(Self::goes_on);
        // Whoever waits to write comes first.
        if let Some(kept) = kept.filter(|_| !shared.is_writing.get()) {
            return Ok(kept);
        }
        Ok(Self {
            transaction: database.begin(Mode::Read)?,
            directory: None,
            pages: BTreeMap::new(),
            rounds: 0,
            unasked: 0,
        })
    }

    fn goes_on(&self) -> bool {
        self.rounds < MOST_ROUNDS && self.unasked < MOST_UNASKED && self.transaction.is_active()
    }

    /// Reads the pages of these keys, unless they are known, and gives the directory in which they have their places.
    pub(crate) async fn load(
        &mut self,
        shared: &Shared,
        keys: &[Vec<u8>],
    ) -> Result<Rc<Directory>> {
        if let Some(directory) = &self.directory {
            let is_known = |key: &Vec<u8>| self.pages.contains_key(&directory.page_of(key));
            if keys.iter().all(is_known) {
                self.unasked += 1;
                return Ok(Rc::clone(directory));
            }
        }
        let wanted = |directory: &Directory| {
            let mut pages: Vec<usize> = keys.iter().map(|key| directory.page_of(key)).collect();
            pages.sort_unstable();
            pages.dedup();
            pages
        };
        let known = self.directory.clone();
        let (directory, pages) = shared.load(&self.transaction, known, wanted).await?;
        if self.pages.len() + pages.len() > KEPT_PAGES {
            self.pages.clear();
        }
        self.pages.extend(pages);
        self.directory = Some(Rc::clone(&directory));
        self.rounds += 1;
        self.unasked = 0;
        Ok(directory)
    }

    /// A page that was loaded.
    pub(crate) fn page(&self, index: usize) -> Option<&Page> {
        self.pages.get(&index)
    }

    /// Leaves it to the next read.
    pub(crate) fn keep(mut self, shared: &Shared) {
        if self.pages.len() > KEPT_PAGES {
            self.pages.clear();
        }
        self.pages.retain(|_, page| page.record.len() <= KEPT_BYTES);
        shared.reading.replace(Some(self));
    }
}
