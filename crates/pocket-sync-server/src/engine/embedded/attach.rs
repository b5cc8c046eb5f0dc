//! The beginning of a session.

use pocket_core::{SessionToken, random_bytes};
use pocket_storage::{Batch, Durability, StorageError};

use super::log::Log;
use super::{EmbeddedEngine, read_error, write_error};
use crate::decide;
use crate::engine::{AttachRequest, Attached, EngineError, EngineResult};
use crate::stored::{self, ClientRecord};

impl EmbeddedEngine {
    /// Tries once; none when another engine moved the log meanwhile. The caller holds the log's writer lock.
    pub(super) async fn attach_once(
        &self,
        log: &Log,
        request: &AttachRequest,
    ) -> EngineResult<Option<Attached>> {
        let key = log.keys.client(request.client);
        let before = self.inner.storage.get(&key).await.map_err(read_error)?;
        let known = before
            .as_ref()
            .map(|value| ClientRecord::open(&key, value))
            .transpose()?;
        let is_new = known.is_none();
        let token = SessionToken::from_bytes(random_bytes(&*self.inner.env));
        let now = self.inner.env.now();
        let record = decide::attach(now, known, request, token).map_err(EngineError::Refused)?;
        let (stored, row) = log.with_open(|open| (open.stored.clone(), open.row.clone()))?;
        let log_key = log.keys.log();
        let row = stored::LogRow {
            clock: row.clock.max(pocket_core::Hlc::from_time(now)),
            ..row
        };
        let after = stored::seal(&log_key, &row);
        let mut batch = Batch::new();
        // What is told in the welcome is within the clock that is stored, or who stamps by it could be refused for that,
        // should the machine's go back.
        batch
            .check_equals(log_key.clone(), stored)
            .put(log_key, after.clone());
        match before {
            Some(before) => batch.check_equals(key.clone(), before),
            None => batch.check_absent(key.clone()),
        };
        let value = record.seal(&key);
        batch.put(key, value);
        let commit = log.begin();
        let result = self
            .inner
            .storage
            .commit(batch, Durability::PowerLoss)
            .await;
        let attached = commit.end(result, |open| {
            open.row = row;
            open.stored = after;
            let attached = Attached {
                log: open.state.clone(),
                session: token,
                last: record.last,
                is_new,
                time: now,
            };
            open.remember([(request.client, record)], self.inner.limits.cached_clients);
            attached
        });
        match attached {
            Ok(attached) => Ok(Some(attached)),
            Err(StorageError::Conflict) => Ok(None),
            Err(error) => Err(write_error(error)),
        }
    }
}
