//! Namespaces that had too many sets of labels for digests, and have few again.
//!
//! Such a namespace is looked through now and then, a part at a time and beside everything else. When half of the bound
//! would do, its row says that nobody has counted it, as that of a store from before digests does: the next opening counts.

use std::collections::BTreeSet;
use std::time::Duration;

use pocket_core::{CollectionName, Timestamp};
use pocket_storage::{Batch, Direction, Durability, ScanLimit, StorageError};

use super::log::Log;
use super::{EmbeddedEngine, read_error, write_error};
use crate::Namespace;
use crate::engine::{COUNTED, COUNTED_BYTES, EngineResult, is_past};
use crate::keys::Keys;
use crate::locks::lock;
use crate::rules::Readership;
use crate::stored::{self, LogRow};

/// How long after it was looked through a namespace is looked through again.
const PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known so far of a namespace without digests.
#[derive(Debug, Default)]
pub(super) struct Uncounted {
    seen: BTreeSet<(CollectionName, Readership)>,
    /// The key of the last document of this round.
    last: Option<Vec<u8>>,
    /// When the last round ended.
    looked: Option<Timestamp>,
}

impl EmbeddedEngine {
    /// Looks through a part of a namespace that has no digests. True when there is more of it.
    pub(super) async fn reconsider(
        &self,
        namespace: &Namespace,
        row: &LogRow,
        now: Timestamp,
    ) -> EngineResult<bool> {
        let known = lock(&self.inner.uncounted).remove(namespace);
        if row.later.digests != Some(false) {
            return Ok(false);
        }
        let mut known = known.unwrap_or_default();
        if !known
            .looked
            .is_none_or(|looked| is_past(looked, PAUSE, now))
        {
            self.note_uncounted(namespace, known);
            return Ok(false);
        }
        let keys = Keys::new(namespace);
        let mut range = keys.documents();
        if let Some(last) = known.last.take() {
            range = range.after(last);
        }
        let limit = ScanLimit::entries(COUNTED).bytes(COUNTED_BYTES);
        let storage = &self.inner.storage;
        let found = storage.scan(range, limit, Direction::Forward).await;
        let found = found.map_err(read_error)?;
        for (at, value) in &found {
            let (row, _) = stored::open_record_row(at, value)?;
            let collection = keys
                .document_collection(at)
                .ok_or_else(|| stored::damaged("the key of a record"))?;
            if row.is_live() {
                let readership = row.into_marks().readership();
                known.seen.insert((collection, readership));
            }
        }
        let is_few = known.seen.len() <= self.inner.limits.readerships / 2;
        match found.into_iter().next_back() {
            Some((last, _)) if is_few => {
                known.last = Some(last);
                self.note_uncounted(namespace, known);
                return Ok(true);
            }
            Some(_) => {}
            None => self.have_counted(namespace).await?,
        }
        let known = Uncounted {
            looked: Some(now),
            ..Uncounted::default()
        };
        self.note_uncounted(namespace, known);
        Ok(false)
    }

    fn note_uncounted(&self, namespace: &Namespace, known: Uncounted) {
        lock(&self.inner.uncounted).insert(namespace.clone(), known);
    }

    /// Has the next opening count.
    async fn have_counted(&self, namespace: &Namespace) -> EngineResult<()> {
        let log = self.log(namespace)?;
        let marked = {
            let _writer = log.writer.lock().await;
            let is_visit = !log.is_open();
            let there = !is_visit || self.visit(&log).await?;
            let marked = if there {
                self.mark_uncounted(&log).await
            } else {
                Ok(())
            };
            log.leave();
            marked
        };
        drop(log);
        self.close_unused(namespace);
        marked
    }

    /// The caller holds the log's writer lock, and the log is open. When another engine moved it meanwhile, nothing is marked.
    async fn mark_uncounted(&self, log: &Log) -> EngineResult<()> {
        let (before, mut row) = log.with_open(|open| (open.stored.clone(), open.row.clone()))?;
        if row.later.digests != Some(false) {
            return Ok(());
        }
        row.later.digests = None;
        let key = log.keys.log();
        let after = stored::seal(&key, &row);
        let mut batch = Batch::new();
        batch
            .check_equals(key.clone(), before)
            .put(key, after.clone());
        let commit = log.begin();
        let storage = &self.inner.storage;
        let result = storage.commit(batch, Durability::PowerLoss).await;
        let ended = commit.end(result, |open| {
            open.row = row;
            open.stored = after;
        });
        match ended {
            Ok(()) | Err(StorageError::Conflict) => Ok(()),
            Err(error) => Err(write_error(error)),
        }
    }
}
