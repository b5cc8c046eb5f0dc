//! Forgetting: old deletions leave the feed, and clients that never came back leave the store.
//!
//! A small batch at a time, each under the log's writer lock and atomic: the horizon moves in the same commit in which
//! deletions behind it go. A reader that stood before it learns of it with the page it reads, and resyncs.

use pocket_core::{Hlc, Seq, Timestamp};
use pocket_storage::{Batch, Direction, Durability, ScanLimit, StorageError};

use super::log::Log;
use super::{EmbeddedEngine, read_error, write_error};
use crate::decide::DocumentKey;
use crate::engine::{Compacted, EngineError, EngineResult, Retention};
use crate::stored::{self, ClientRecord, FeedRow, LogRow};

/// Deletions, or clients, forgotten by one commit.
const BATCH: usize = 256;
/// Entries of the feed, or clients, looked at between two commits.
const SCANNED: usize = 4_096;

/// What one look at the feed found.
struct Found {
    /// Deletions that are old enough, by rising place.
    old: Vec<(Seq, DocumentKey)>,
    /// Nothing up to here is left to forget, once those are forgotten.
    looked_to: Seq,
    more: bool,
}

impl EmbeddedEngine {
    /// Forgets a batch of what is old enough. The caller holds the log's writer lock, and the log is open.
    pub(super) async fn forget(
        &self,
        log: &Log,
        retention: &Retention,
    ) -> EngineResult<Option<Compacted>> {
        let now = self.inner.env.now();
        let row = log.with_open(|open| open.row.clone())?;
        let found = self.find_old(log, retention, now, &row).await?;
        let clients = if found.old.is_empty() && !found.more {
            self.find_gone(log, retention, now).await?
        } else {
            Vec::new()
        };
        let mut compacted = Compacted {
            tombstones: found.old.len(),
            clients: clients.len(),
            horizon: row.horizon,
            more: found.more || clients.len() == BATCH,
        };
        log.looked_to(found.looked_to);
        if found.old.is_empty() && clients.is_empty() {
            return Ok(Some(compacted));
        }
        compacted.horizon = found.old.last().map_or(row.horizon, |(seq, _)| *seq);
        let mut batch = Batch::new();
        for (seq, key) in &found.old {
            batch.delete(log.keys.feed(*seq));
            batch.delete(log.keys.document(&key.collection, &key.id));
        }
        for client in &clients {
            batch.delete(log.keys.client(*client));
        }
        let log_key = log.keys.log();
        let before = log.with_open(|open| open.stored.clone())?;
        let row = LogRow {
            horizon: compacted.horizon,
            ..row
        };
        let after = stored::seal(&log_key, &row);
        batch
            .check_equals(log_key.clone(), before)
            .put(log_key, after.clone());
        let commit = log.begin();
        let result = self
            .inner
            .storage
            .commit(batch, Durability::PowerLoss)
            .await;
        let ended = commit.end(result, |open| {
            open.state.horizon = row.horizon;
            open.row = row;
            open.stored = after;
            for (seq, key) in &found.old {
                open.tail.forget(key, *seq);
            }
            for client in &clients {
                open.clients.remove(client);
            }
        });
        match ended {
            Ok(()) => Ok(Some(compacted)),
            Err(StorageError::Conflict) => Ok(None),
            Err(error) => Err(write_error(error)),
        }
    }

    async fn find_old(
        &self,
        log: &Log,
        retention: &Retention,
        now: Timestamp,
        row: &LogRow,
    ) -> EngineResult<Found> {
        let mut found = Found {
            old: Vec::new(),
            looked_to: log.compacted_to().max(row.horizon),
            more: false,
        };
        if found.looked_to >= row.head {
            return Ok(found);
        }
        let range = log.keys.feed_range(found.looked_to, row.head);
        let limit = ScanLimit::entries(SCANNED).bytes(usize::MAX);
        let entries = self
            .inner
            .storage
            .scan(range, limit, Direction::Forward)
            .await
            .map_err(read_error)?;
        let is_last = entries.len() < SCANNED;
        for (at, value) in entries {
            let seq = log
                .keys
                .feed_seq(&at)
                .ok_or_else(|| stored::damaged("a key of the feed"))?;
            let entry: FeedRow = stored::open(&at, &value)?;
            let key = DocumentKey {
                collection: entry.collection,
                id: entry.id,
            };
            let deleted = match entry.later.deleted {
                Some(time) => Some(Timestamp::from_millis(time)),
                None if entry.later.live => None,
                None => self.deleted_before_it_was_noted(log, seq, &key).await?,
            };
            let Some(deleted) = deleted else {
                found.looked_to = seq;
                continue;
            };
            if !retention.is_over(deleted, now, seq, row.head) {
                return Ok(found);
            }
            if found.old.len() == BATCH {
                found.more = true;
                return Ok(found);
            }
            found.old.push((seq, key));
            found.looked_to = seq;
        }
        found.more = !is_last;
        Ok(found)
    }

    /// Feed entries of earlier versions do not say whether they are deletions: the record does.
    async fn deleted_before_it_was_noted(
        &self,
        log: &Log,
        seq: Seq,
        key: &DocumentKey,
    ) -> EngineResult<Option<Timestamp>> {
        let at = log.keys.document(&key.collection, &key.id);
        let value = self.inner.storage.get(&at).await.map_err(read_error)?;
        let Some(value) = value else { return Ok(None) };
        let (row, _) = stored::open_record_row(&at, &value)?;
        let dead = row.seq == seq && !row.is_live();
        let hlc: Hlc = row.rev.hlc;
        Ok(dead.then(|| hlc.time()))
    }

    /// Clients that were not seen for longer than deletions are remembered.
    async fn find_gone(
        &self,
        log: &Log,
        retention: &Retention,
        now: Timestamp,
    ) -> EngineResult<Vec<pocket_core::ClientId>> {
        let Some(expiry) = retention.clients else {
            return Ok(Vec::new());
        };
        let mut gone = Vec::new();
        let mut range = log.keys.clients();
        loop {
            let limit = ScanLimit::entries(BATCH);
            let entries = self
                .inner
                .storage
                .scan(range.clone(), limit, Direction::Forward)
                .await
                .map_err(read_error)?;
            let Some((last, _)) = entries.last() else {
                return Ok(gone);
            };
            range = range.after(last.clone());
            for (at, value) in &entries {
                let record = ClientRecord::open(at, value)?;
                let age = now.millis().saturating_sub(record.last_seen.millis());
                if u128::try_from(age).unwrap_or(0) < expiry.as_millis() {
                    continue;
                }
                let client = log.keys.client_id(at).ok_or_else(|| {
                    EngineError::from(stored::damaged("a key of a client is too short"))
                })?;
                gone.push(client);
                if gone.len() == BATCH {
                    return Ok(gone);
                }
            }
        }
    }
}
