//! A transaction that reads, and is read in again for as long as the browser keeps it open.
//!
//! A transaction stays active in whatever the answer to one of its requests wakes, down to the `await` of the application
//! that reads the next document. No transaction that writes, of any tab, runs beside one that reads, so what it has read
//! once is true until it is no longer active. One that may write, and is the turn of this handle, is kept for its commit.

use std::rc::Rc;

use pocket_storage::ordered::BTreeMap;
use pocket_storage::{Result, sorting};

use crate::directory::Directory;
use crate::idb::{Mode, Transaction};
use crate::page::Page;
use crate::shared::Shared;
use crate::turn::Out;

/// Rounds of requests in one transaction: others who want to write wait for that long.
const MOST_ROUNDS: usize = 16;

/// Reads without a request in a row: nothing else of the page runs meanwhile.
const MOST_UNASKED: usize = 64;

/// The same of a turn, which is over with its commit: enough for what one commit, or a query of many pages, reads.
const TURN_ROUNDS: usize = 256;
const TURN_UNASKED: usize = 4_096;

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
    is_turn: bool,
    /// While somebody reads in a turn.
    out: Option<Out>,
}

impl Reading {
    /// The turn of this handle if it has one, or is to have one. Else the transaction of the read before if it is still
    /// active, or a new one; with `is_alone` always a new one.
    pub(crate) async fn begin(shared: &Shared, is_alone: bool) -> Result<Self> {
        shared.turns.wait().await;
        if let Some(turn) = Self::kept_turn(shared) {
            return Ok(turn);
        }
        let (mut mode, mut out) = (Mode::Read, None);
        if shared.turns.settle() {
            mode = shared.mode.get();
            // Others who read here meanwhile wait for it.
            out = Some(shared.turns.take());
        } else if !is_alone {
            let kept = shared.reading.take().filter(Self::goes_on);
            // Whoever waits to write comes first.
            if let Some(kept) = kept.filter(|_| !shared.is_writing.get()) {
                return Ok(kept);
            }
        }
        Ok(Self {
            transaction: shared.begin(mode).await?,
            directory: None,
            pages: BTreeMap::new(),
            rounds: 0,
            unasked: 0,
            is_turn: out.is_some(),
            out,
        })
    }

    /// A transaction for a commit of this mode, and the directory if it is known: the turn if this handle has one.
    pub(crate) async fn for_commit(
        shared: &Shared,
        mode: Mode,
    ) -> Result<(Transaction, Option<Rc<Directory>>)> {
        shared.turns.wait().await;
        let turn = Self::kept_turn(shared);
        // What is committed without a turn has not been overtaken.
        shared.turns.settle();
        match turn.filter(|turn| turn.transaction.mode() >= mode) {
            Some(turn) => Ok((turn.transaction, turn.directory)),
            None => Ok((shared.begin(mode).await?, None)),
        }
    }

    fn kept_turn(shared: &Shared) -> Option<Self> {
        let is_turn = |kept: &mut Self| kept.is_turn;
        let kept = shared.reading.borrow_mut().take_if(is_turn);
        let mut turn = kept.filter(Self::goes_on)?;
        turn.out = Some(shared.turns.take());
        Some(turn)
    }

    fn goes_on(&self) -> bool {
        let (rounds, unasked) = if self.is_turn {
            (TURN_ROUNDS, TURN_UNASKED)
        } else {
            (MOST_ROUNDS, MOST_UNASKED)
        };
        self.rounds < rounds && self.unasked < unasked && self.transaction.is_active()
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
            sorting::sort_unstable(&mut pages);
            pages.dedup();
            pages
        };
        let known = self.directory.clone();
        let (directory, pages) = shared.load(&self.transaction, known, &wanted).await?;
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

    /// The transaction, to scan in it.
    pub(crate) fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// The directory, once it was looked at.
    pub(crate) fn directory(&self) -> Option<Rc<Directory>> {
        self.directory.clone()
    }

    /// After a scan in it: leaves a turn to the next read, and lets go of anything else.
    pub(crate) fn scanned(mut self, shared: &Shared, directory: Rc<Directory>, rounds: usize) {
        if self.is_turn {
            self.directory = Some(directory);
            self.rounds += rounds;
            self.unasked = 0;
            self.keep(shared);
        }
    }

    /// Leaves it to the next read.
    pub(crate) fn keep(mut self, shared: &Shared) {
        let has_turn = |kept: &Option<Self>| kept.as_ref().is_some_and(|kept| kept.is_turn);
        if !self.is_turn && has_turn(&shared.reading.borrow()) {
            return;
        }
        if self.pages.len() > KEPT_PAGES {
            self.pages.clear();
        }
        self.pages.retain(|_, page| page.record.len() <= KEPT_BYTES);
        let out = self.out.take();
        shared.reading.replace(Some(self));
        // Whoever waits for it finds it.
        drop(out);
    }
}
