//! The async face of a snapshot.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::BlockingOpener;
use super::readers::{Read, Readers};
use super::shared::Shared;
use crate::{Direction, Entry, KeyRange, Result, ScanLimit, Snapshot};

/// A state of the engine, held beside it until this is dropped.
pub(super) struct Held<O: BlockingOpener> {
    pub(super) shared: Arc<Shared<O>>,
    pub(super) readers: Arc<Readers<O>>,
    pub(super) number: u64,
}

#[async_trait]
impl<O: BlockingOpener> Snapshot for Held<O> {
    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        let number = self.number;
        self.readers
            .ask(|reply| Read::ScanSnapshot(number, range, limit, direction, reply))
            .await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let (number, keys) = (self.number, keys.to_vec());
        self.readers
            .ask(|reply| Read::GetSnapshot(number, keys, reply))
            .await
    }
}

impl<O: BlockingOpener> Drop for Held<O> {
    fn drop(&mut self) {
        self.shared.end_snapshot(self.number);
    }
}

impl<O: BlockingOpener> fmt::Debug for Held<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
