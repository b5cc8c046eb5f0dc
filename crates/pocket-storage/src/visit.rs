//! Reading in one go where the entries lie, without a way to another thread for each step.

use std::fmt;

use bytes::Bytes;

use crate::{Direction, Entry, KeyRange, MaybeSend, MaybeSync, Result, ScanLimit, Sieve, Sifted};

/// One state of a store, whose reads answer at once.
///
/// They may wait for a disk, so none is for a thread that others wait for.
pub trait View: MaybeSend + MaybeSync + 'static {
    /// The entries of `range` in this state, as [`Storage::scan`](crate::Storage::scan) has it. `range` is not empty and `limit` allows at least
    /// one entry.
    ///
    /// # Errors
    /// As [`Storage::get`](crate::Storage::get).
    fn scan(&self, range: &KeyRange, limit: ScanLimit, direction: Direction) -> Result<Vec<Entry>>;

    /// The values of `keys`, in their order, in this state. Made of scans where an engine has nothing better.
    ///
    /// # Errors
    /// As [`Storage::get`](crate::Storage::get).
    fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let one = |key: &Vec<u8>| {
            let range = KeyRange::key(key.as_slice());
            let found = self.scan(&range, ScanLimit::entries(1), Direction::Forward)?;
            Ok(found.into_iter().next().map(|(_, value)| value))
        };
        keys.iter().map(one).collect()
    }

    /// The entries of `range` that `sieve` keeps, as [`Storage::sift`](crate::Storage::sift) has it. `range` is not empty and `limit` allows at
    /// least one entry.
    ///
    /// # Errors
    /// As [`Storage::get`](crate::Storage::get).
    fn sift(
        &self,
        range: &KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: &dyn Sieve,
    ) -> Result<Sifted> {
        let entries = self.scan(range, limit, direction)?;
        Ok(Sifted::of(entries, sieve))
    }
}

impl fmt::Debug for dyn View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// What is done in [`Storage::visit`](crate::Storage::visit).
pub trait Visitor: MaybeSend + 'static {
    /// Reads what it needs, and is over soon: others wait for the thread it runs on. It must not call the store.
    fn visit(self: Box<Self>, view: Box<dyn View>);
}

impl<F: FnOnce(Box<dyn View>) + MaybeSend + 'static> Visitor for F {
    fn visit(self: Box<Self>, view: Box<dyn View>) {
        self(view);
    }
}
