//! Opening a namespace's log.

use pocket_storage::{Batch, Direction, Durability, ScanLimit, StorageError};

use super::log::{self, Log, Open};
use super::{ATTEMPTS, EmbeddedEngine, busy, read_error, write_error};
use crate::engine::{EngineError, EngineResult};
use crate::stored;

/// Records read at once when a namespace is counted, and their bytes.
const COUNTED: usize = 1_024;
const COUNTED_BYTES: usize = 4 * 1024 * 1024;

impl EmbeddedEngine {
    /// Opens the log unless it is open. The caller holds the log's writer lock.
    pub(super) async fn ensure_open(&self, log: &Log) -> EngineResult<()> {
        if log.is_open() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            match self.open(log).await {
                Ok(open) => {
                    log.set_open(open);
                    return Ok(());
                }
                Err(StorageError::Conflict) => {}
                Err(StorageError::Backend(reason)) => return Err(EngineError::NotApplied(reason)),
                Err(other) => return Err(write_error(other)),
            }
        }
        Err(busy())
    }

    async fn open(&self, log: &Log) -> Result<Open, StorageError> {
        let (log_key, history_key) = (log.keys.log(), log.keys.history());
        let values = self
            .inner
            .storage
            .get_many(&[log_key.clone(), history_key.clone()])
            .await?;
        let corrupt = |error: pocket_core::Error| StorageError::Corrupt(error.to_string());
        let mut batch = Batch::new();
        let (mut row, mut history) = match values.as_slice() {
            [None, None] => {
                batch
                    .check_absent(log_key.clone())
                    .check_absent(history_key.clone());
                log::create(&*self.inner.env)
            }
            [Some(stored), Some(history)] => {
                batch.check_equals(log_key.clone(), stored.clone());
                let row = stored::open(&log_key, stored).map_err(corrupt)?;
                let history = stored::open(&history_key, history).map_err(corrupt)?;
                if log.joins() {
                    return Ok(Open::new(
                        row,
                        history,
                        stored.clone(),
                        self.inner.limits.tail_bytes,
                    ));
                }
                (row, history)
            }
            _ => {
                let reason = "a namespace has a log without its history or the other way round";
                return Err(StorageError::Corrupt(reason.to_owned()));
            }
        };
        let is_counted = self.inner.limits.decide.quota.is_set();
        row.later.usage = match row.later.usage {
            // Counted only where there is a bound, for each commit stores it.
            _ if !is_counted => None,
            Some(usage) => Some(usage),
            None => Some(self.count(log).await?),
        };
        log::begin_epoch(&mut row, &mut history, &*self.inner.env);
        let stored = stored::seal(&log_key, &row);
        batch.put(log_key, stored.clone());
        let value = stored::seal(&history_key, &history);
        batch.put(history_key, value);
        self.inner
            .storage
            .commit(batch, Durability::PowerLoss)
            .await?;
        Ok(Open::new(
            row,
            history,
            stored,
            self.inner.limits.tail_bytes,
        ))
    }

    /// Counts what a namespace holds, which nobody did before. The caller holds the log's writer lock.
    async fn count(&self, log: &Log) -> Result<stored::Usage, StorageError> {
        let mut usage = stored::Usage::default();
        let mut range = log.keys.documents();
        loop {
            let limit = ScanLimit::entries(COUNTED).bytes(COUNTED_BYTES);
            let found = self
                .inner
                .storage
                .scan(range.clone(), limit, Direction::Forward)
                .await?;
            let Some((last, _)) = found.last() else {
                return Ok(usage);
            };
            range = range.after(last.clone());
            for (at, value) in &found {
                let corrupt = |error: pocket_core::Error| StorageError::Corrupt(error.to_string());
                let (_, body) = stored::open_record_row(at, value).map_err(corrupt)?;
                if let (Some(body), Some(id)) = (body, log.keys.document_id(at)) {
                    usage.documents += 1;
                    usage.bytes += (id.len() + body.len()) as u64;
                }
            }
        }
    }

    /// Takes up a log that nobody has open, without an epoch of its own: for whoever gives no places. The caller holds the
    /// log's writer lock, and [leaves](Log::leave) before it lets go of it. False when there is no such namespace.
    pub(super) async fn visit(&self, log: &Log) -> EngineResult<bool> {
        let (log_key, history_key) = (log.keys.log(), log.keys.history());
        let values = self
            .inner
            .storage
            .get_many(&[log_key.clone(), history_key.clone()])
            .await
            .map_err(read_error)?;
        let [Some(stored), Some(history)] = values.as_slice() else {
            return Ok(false);
        };
        let row = stored::open(&log_key, stored)?;
        let history = stored::open(&history_key, history)?;
        log.set_visited(Open::new(row, history, stored.clone(), 0));
        Ok(true)
    }
}
