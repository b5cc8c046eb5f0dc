//! Opening a namespace's log.

use std::sync::Arc;

use bytes::Bytes;
use pocket_storage::{Batch, Durability, StorageError};

use super::log::{self, Log, Open};
use super::{ATTEMPTS, EmbeddedEngine, busy, read_error, write_error};
use crate::engine::{EngineError, EngineResult};
use crate::stored::{self, HistoryRow, LogRow};

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
                    return self.join(log, row, history, stored.clone()).await;
                }
                (row, history)
            }
            _ => {
                let reason = "a namespace has a log without its history or the other way round";
                return Err(StorageError::Corrupt(reason.to_owned()));
            }
        };
        let is_counted = self.inner.limits.decide.quota.is_set();
        let mut digests = None;
        match row.later.digests {
            Some(true) if row.later.usage.is_some() || !is_counted => {
                digests = Some(Arc::new(self.load_digests(log).await?));
            }
            Some(false) if row.later.usage.is_some() || !is_counted => {}
            _ => {
                let survey = self.survey(log).await?;
                let kept = self.store_digests(log, &survey.digests, &mut batch).await?;
                row.later.digests = Some(kept);
                digests = Some(Arc::new(survey.digests)).filter(|_| kept);
                row.later.usage = Some(survey.usage);
            }
        }
        // Stored by each commit, so only where there is a bound.
        row.later.usage = row.later.usage.filter(|_| is_counted);
        log::begin_epoch(&mut row, &mut history, &*self.inner.env);
        let stored = stored::seal(&log_key, &row);
        batch.put(log_key, stored.clone());
        let value = stored::seal(&history_key, &history);
        batch.put(history_key, value);
        self.inner
            .storage
            .commit(batch, Durability::PowerLoss)
            .await?;
        let open = Open::new(row, history, stored, self.inner.limits.tail_bytes);
        Ok(Open { digests, ..open })
    }

    /// Goes on in the epoch that is there.
    async fn join(
        &self,
        log: &Log,
        row: LogRow,
        history: HistoryRow,
        stored: Bytes,
    ) -> Result<Open, StorageError> {
        let mut digests = None;
        if row.later.digests == Some(true) {
            digests = Some(Arc::new(self.load_digests(log).await?));
            let now = self.inner.storage.get(&log.keys.log()).await?;
            if now.as_ref() != Some(&stored) {
                // The other engine writes on: these are digests of another moment.
                return Err(StorageError::Conflict);
            }
        }
        let open = Open::new(row, history, stored, self.inner.limits.tail_bytes);
        Ok(Open { digests, ..open })
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
