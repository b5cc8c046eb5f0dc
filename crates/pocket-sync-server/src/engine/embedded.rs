//! The embedded engine: namespaces over any [`Storage`].
//!
//! One commit of a namespace runs at a time, and each checks that the log still holds what this engine last read or
//! wrote there, so two engines on one store are safe. After a commit of unknown result nothing is served before the
//! log was opened anew, under a new epoch.

mod compact;
mod log;
mod read;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pocket_core::mutants::active;
use pocket_core::{Env, Mutation, Seq, SessionToken, random_bytes};
use pocket_storage::{Batch, Direction, Durability, ScanLimit, Storage, StorageError};
use pocket_sync_protocol::EncodedRecord;

use self::log::{Log, Open};
use super::{
    AttachRequest, Attached, Committed, Compacted, Engine, EngineError, EngineResult, FeedPage,
    Fetched, ReadRequest, Retention,
};
use crate::decide::{self, Current, DocumentKey, Overlay, PushRequest, WriteSet};
use crate::rules::Authority;
use crate::stored::{self, ClientRecord};
use crate::{Limits, Namespace, keys};

/// Records read at once when a namespace is counted, and their bytes.
const COUNTED: usize = 1_024;
const COUNTED_BYTES: usize = 4 * 1024 * 1024;

/// How often a commit is tried again when another engine moved the log.
const ATTEMPTS: usize = 8;

/// Closed namespaces that are remembered; one that is not begins another epoch, which costs a few bytes.
const CLOSED: usize = 100_000;

/// Namespaces over a [`Storage`]. A clone is another handle on the same engine.
#[derive(Clone)]
pub struct EmbeddedEngine {
    inner: Arc<Inner>,
}

struct Inner {
    storage: Arc<dyn Storage>,
    env: Arc<dyn Env>,
    limits: Limits,
    logs: Mutex<Logs>,
}

#[derive(Default)]
struct Logs {
    open: HashMap<Namespace, Arc<Log>>,
    /// Closed in good order since this engine began: they go on in the epoch they had.
    closed: HashSet<Namespace>,
}

impl EmbeddedEngine {
    /// An engine over `storage`. Two on one store are safe, but slow each other.
    pub fn new(storage: Arc<dyn Storage>, env: Arc<dyn Env>, limits: Limits) -> Self {
        Self {
            inner: Arc::new(Inner {
                storage,
                env,
                limits,
                logs: Mutex::default(),
            }),
        }
    }

    fn log(&self, namespace: &Namespace) -> EngineResult<Arc<Log>> {
        let mut logs = self.logs();
        if let Some(log) = logs.open.get(namespace) {
            return Ok(Arc::clone(log));
        }
        if logs.open.len() >= self.inner.limits.namespaces {
            return Err(EngineError::NotApplied(
                "too many namespaces are open; raise the limit".to_owned(),
            ));
        }
        let log = Arc::new(Log::new(namespace));
        if logs.closed.remove(namespace) {
            log.rejoin();
        }
        logs.open.insert(namespace.clone(), Arc::clone(&log));
        Ok(log)
    }

    // Nothing panics between two writes under this lock that belong together, so a poisoned one is taken as it is.
    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.inner
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads what `pushes` name: from memory what is there, from the store the rest, in one read.
    async fn load(&self, log: &Log, pushes: &[PushRequest]) -> EngineResult<Overlay> {
        let needs_documents = pushes.iter().any(|push| push.authority.needs_documents());
        let mut missing_documents = Vec::new();
        let mut missing_clients = Vec::new();
        let mut overlay = log.with_open(|open| {
            let mut overlay = Overlay::new(open.row.head, open.row.clock);
            overlay.reserve(pushes.iter().map(PushRequest::changes).sum());
            if let Some(usage) = open.row.later.usage {
                overlay.set_usage(usage);
            }
            for push in pushes {
                // Taken out, for its outcomes may be many; it comes back when the commit is done.
                match open.clients.remove(&push.client) {
                    Some(record) => overlay.load_client(push.client, record),
                    None if overlay.has_client(push.client) => {}
                    None if missing_clients.contains(&push.client) => {}
                    None => missing_clients.push(push.client),
                }
                for change in push.mutations.iter().flatten().flat_map(Mutation::changes) {
                    let key = DocumentKey::of(change);
                    let Some(slot) = overlay.name(key.clone()) else {
                        continue;
                    };
                    match open.tail.current(&key) {
                        Some(current) => {
                            overlay.set(slot, current);
                            if needs_documents && let Some((marks, body)) = open.tail.standing(&key)
                            {
                                overlay.describe(slot, marks, body);
                            }
                        }
                        None => missing_documents.push((slot, key)),
                    }
                }
            }
            overlay
        })?;
        if missing_documents.is_empty() && missing_clients.is_empty() {
            return Ok(overlay);
        }
        let document_keys = missing_documents
            .iter()
            .map(|(_, key)| log.keys.document(&key.collection, &key.id));
        let client_keys = missing_clients
            .iter()
            .map(|client| log.keys.client(*client));
        let keys: Vec<Vec<u8>> = document_keys.chain(client_keys).collect();
        let values = self
            .inner
            .storage
            .get_many(&keys)
            .await
            .map_err(read_error)?;
        let mut found = keys.iter().zip(&values);
        for ((slot, key), (at, value)) in missing_documents.iter().zip(&mut found) {
            if let Some(value) = value {
                let (row, body) = stored::open_record_row(at, value)?;
                let current = Current {
                    rev: row.rev,
                    seq: row.seq,
                    live: row.is_live(),
                    bytes: body.as_ref().map_or(0, |body| decide::size(&key.id, body)),
                };
                overlay.set(*slot, current);
                if needs_documents {
                    overlay.describe(*slot, row.into_marks(), body);
                }
            }
        }
        for (client, (at, value)) in missing_clients.into_iter().zip(found) {
            if let Some(value) = value {
                let record = ClientRecord::open(at, value)?;
                overlay.load_client(client, record);
            }
        }
        Ok(overlay)
    }

    /// Stores a write set in one atomic, durable batch; then readers see it.
    async fn store(&self, log: &Log, writes: WriteSet) -> Result<Seq, StorageError> {
        let (before, row) = log
            .with_open(|open| (open.stored.clone(), open.row.clone()))
            .map_err(|error| StorageError::Backend(error.to_string()))?;
        let mut batch = Batch::new();
        let log_key = log.keys.log();
        let now = self.inner.env.now();
        let row = stored::LogRow {
            head: writes.head,
            clock: writes.clock,
            later: stored::LogLater {
                usage: writes.usage,
            },
            ..row
        };
        let after = stored::seal(&log_key, &row);
        batch
            .check_equals(log_key.clone(), before)
            .put(log_key, after.clone());
        let mut fresh = Vec::with_capacity(writes.records.len());
        for (record, replaced, marks) in &writes.records {
            let key = DocumentKey {
                collection: record.collection.clone(),
                id: record.id.clone(),
            };
            let at = log.keys.document(&key.collection, &key.id);
            let value = stored::seal_record(&at, record, marks);
            batch.put(at, value);
            if let Some(replaced) = replaced {
                batch.delete(log.keys.feed(*replaced));
            }
            let at = log.keys.feed(record.seq);
            let deleted = record.state.body().is_none().then_some(now);
            let value = stored::seal_feed(&at, &key, deleted);
            batch.put(at, value);
            let current = Current::of(record);
            let encoded = EncodedRecord::encode(record);
            fresh.push((key, current, marks.clone(), encoded));
        }
        for (client, record) in &writes.clients {
            let at = log.keys.client(*client);
            let value = record.seal(&at);
            batch.put(at, value);
        }
        let durability = if active("pocket-mutant:ack-before-commit") {
            Durability::Relaxed
        } else {
            Durability::PowerLoss
        };
        let commit = log.begin();
        let result = self.inner.storage.commit(batch, durability).await;
        commit.end(result, |open| {
            open.state.head = row.head;
            open.row = row;
            open.stored = after;
            for (key, current, marks, record) in fresh {
                open.tail.push(key, current, marks, record);
            }
            open.remember(writes.clients, self.inner.limits.cached_clients);
        })?;
        Ok(writes.head)
    }

    /// Opens the log unless it is open. The caller holds the log's writer lock.
    async fn ensure_open(&self, log: &Log) -> EngineResult<()> {
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

    async fn attach_once(
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
        let record = decide::attach(now, known, &request.user, request.presented, token)
            .map_err(EngineError::Refused)?;
        let (stored, row) = log.with_open(|open| (open.stored.clone(), open.row.clone()))?;
        let log_key = log.keys.log();
        let row = stored::LogRow {
            clock: row.clock.max(pocket_core::Hlc::from_time(now)),
            ..row
        };
        let after = stored::seal(&log_key, &row);
        let mut batch = Batch::new();
        // The clock told in the welcome is persisted before it is told.
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
                time: open.row.clock.time(),
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

#[async_trait]
impl Engine for EmbeddedEngine {
    async fn attach(
        &self,
        namespace: &Namespace,
        request: &AttachRequest,
    ) -> EngineResult<Attached> {
        let log = self.log(namespace)?;
        let _writer = log.writer.lock().await;
        for _ in 0..ATTEMPTS {
            self.ensure_open(&log).await?;
            if let Some(attached) = self.attach_once(&log, request).await? {
                return Ok(attached);
            }
        }
        Err(busy())
    }

    async fn commit(
        &self,
        namespace: &Namespace,
        pushes: &[PushRequest],
    ) -> EngineResult<Committed> {
        let log = self.log(namespace)?;
        let _writer = log.writer.lock().await;
        for _ in 0..ATTEMPTS {
            self.ensure_open(&log).await?;
            let mut overlay = self.load(&log, pushes).await?;
            let now = self.inner.env.now();
            let limits = &self.inner.limits.decide;
            let epoch = Some(log.with_open(|open| open.row.epoch)?);
            let answer = |push| decide::PushAnswer {
                epoch,
                ..decide::decide(now, limits, &mut overlay, push)
            };
            let answers = pushes.iter().map(answer).collect();
            let writes = overlay.into_writes();
            let head = writes.head;
            if writes.is_empty() {
                return Ok(Committed { answers, head });
            }
            match self.store(&log, writes).await {
                Ok(head) => return Ok(Committed { answers, head }),
                Err(_) if active("pocket-mutant:ack-before-commit") => {
                    return Ok(Committed { answers, head });
                }
                Err(StorageError::Conflict) => {}
                Err(error) => return Err(write_error(error)),
            }
        }
        Err(busy())
    }

    async fn changes(
        &self,
        namespace: &Namespace,
        request: &ReadRequest,
    ) -> EngineResult<FeedPage> {
        let log = self.log(namespace)?;
        self.read(&log, request).await
    }

    async fn fetch(
        &self,
        namespace: &Namespace,
        documents: &[DocumentKey],
        authority: &Authority,
    ) -> EngineResult<Fetched> {
        let log = self.log(namespace)?;
        self.read_documents(&log, documents, authority).await
    }

    async fn compact(
        &self,
        namespace: &Namespace,
        retention: &Retention,
    ) -> EngineResult<Compacted> {
        let log = self.log(namespace)?;
        let _writer = log.writer.lock().await;
        for _ in 0..ATTEMPTS {
            self.ensure_open(&log).await?;
            if let Some(compacted) = self.forget(&log, retention).await? {
                return Ok(compacted);
            }
        }
        Err(busy())
    }

    fn release(&self, namespace: &Namespace) {
        let mut logs = self.logs();
        let Some(log) = logs.open.get(namespace) else {
            return;
        };
        // Whoever else holds it is at work in it.
        if Arc::strong_count(log) > 1 {
            return log.release(self.inner.limits.tail_bytes);
        }
        let joins = log.is_open() || log.joins();
        logs.open.remove(namespace);
        if joins {
            if logs.closed.len() >= CLOSED {
                logs.closed.clear();
            }
            logs.closed.insert(namespace.clone());
        }
    }

    async fn namespaces(&self) -> EngineResult<Vec<Namespace>> {
        let mut found = Vec::new();
        let mut range = keys::namespaces();
        loop {
            let first = self
                .inner
                .storage
                .scan(range, ScanLimit::entries(1), Direction::Forward)
                .await;
            let first = first.map_err(|error| EngineError::NotApplied(error.to_string()))?;
            let Some(namespace) = first.first().and_then(|(key, _)| keys::namespace_of(key)) else {
                return Ok(found);
            };
            range = keys::namespaces_behind(&namespace);
            found.push(namespace);
        }
    }

    async fn head(&self, namespace: &Namespace) -> EngineResult<Seq> {
        let log = self.log(namespace)?;
        let _writer = log.writer.lock().await;
        self.ensure_open(&log).await?;
        log.with_open(|open| open.row.head)
    }
}

impl fmt::Debug for EmbeddedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedEngine")
            .field("storage", &self.inner.storage)
            .finish_non_exhaustive()
    }
}

fn busy() -> EngineError {
    EngineError::NotApplied("another server keeps writing to this store".to_owned())
}

fn read_error(error: StorageError) -> EngineError {
    match error {
        StorageError::Corrupt(_) | StorageError::Closed => EngineError::Fatal(error.to_string()),
        other => EngineError::NotApplied(other.to_string()),
    }
}

fn write_error(error: StorageError) -> EngineError {
    match error {
        StorageError::Backend(_) => EngineError::Unknown(error.to_string()),
        StorageError::Full(_) | StorageError::Conflict => {
            EngineError::NotApplied(error.to_string())
        }
        other => EngineError::Fatal(other.to_string()),
    }
}
