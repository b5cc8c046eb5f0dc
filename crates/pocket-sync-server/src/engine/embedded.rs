//! The embedded engine: namespaces over any [`Storage`].
//!
//! One commit of a namespace runs at a time, and each checks that the log still holds what this engine last read or
//! wrote there, so two engines on one store are safe. After a commit of unknown result nothing is served before the
//! log was opened anew, under a new epoch.

mod attach;
mod compact;
mod digests;
mod log;
mod open;
mod places;
mod read;
mod uncounted;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use pocket_core::mutants::active;
use pocket_core::{ClientId, Env, Mutation, Seq, Timestamp};
use pocket_storage::{Batch, Direction, Durability, ScanLimit, Storage, StorageError};
use pocket_sync_protocol::EncodedRecord;

use self::compact::Looked;
use self::log::Log;
use self::uncounted::Uncounted;
use super::{
    AttachRequest, Attached, Committed, Compacted, Counted, Engine, EngineError, EngineResult,
    FeedPage, Fetched, ReadRequest, Retention,
};
use crate::decide::{self, Current, DocumentKey, Overlay, PushRequest, WriteSet};
use crate::keys::Keys;
use crate::locks::lock;
use crate::rules::Authority;
use crate::stored::{self, ClientRecord};
use crate::{Limits, Namespace, keys};

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
    looked: Mutex<HashMap<Namespace, Looked>>,
    /// Those without digests.
    uncounted: Mutex<HashMap<Namespace, Uncounted>>,
}

#[derive(Default)]
struct Logs {
    open: HashMap<Namespace, Arc<Log>>,
    /// Closed in good order since this engine began: they go on in the epoch they had.
    closed: HashSet<Namespace>,
}

impl Logs {
    /// Closes a log in good order; nobody else holds it.
    fn close(&mut self, namespace: &Namespace) {
        let Some(log) = self.open.remove(namespace) else {
            return;
        };
        if log.is_open() || log.joins() {
            if self.closed.len() >= CLOSED {
                self.closed.clear();
            }
            self.closed.insert(namespace.clone());
        }
    }
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
                looked: Mutex::default(),
                uncounted: Mutex::default(),
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
            log.join_first();
        }
        logs.open.insert(namespace.clone(), Arc::clone(&log));
        Ok(log)
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        lock(&self.inner.logs)
    }

    /// Leaves no trace of a log that was looked at and is not open.
    fn close_unused(&self, namespace: &Namespace) {
        let mut logs = self.logs();
        let unused = |log: &Arc<Log>| Arc::strong_count(log) == 1 && !log.is_open();
        if logs.open.get(namespace).is_some_and(unused) {
            logs.close(namespace);
        }
    }

    /// Loads what `pushes` name: from memory what is there, from the store the rest, in one read.
    async fn load(&self, log: &Log, pushes: &[PushRequest]) -> EngineResult<Overlay> {
        let needs_documents = pushes.iter().any(|push| push.authority.needs_documents());
        let changes = pushes.iter().map(PushRequest::changes).sum();
        let mut missing_documents = Vec::with_capacity(changes);
        let mut missing_clients = Vec::new();
        let mut overlay = log.with_open(|open| {
            let mut overlay = Overlay::new(open.row.head, open.row.clock);
            overlay.set_horizon(open.row.horizon);
            overlay.reserve(changes);
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
                        Some((current, marks)) => {
                            overlay.set((slot, &key.id), current, &marks);
                            if needs_documents {
                                overlay.describe(slot, marks, open.tail.body(&key));
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
                let marks = row.into_marks();
                overlay.set((*slot, &key.id), current, &marks);
                if needs_documents {
                    overlay.describe(*slot, marks, body);
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
        let mut batch = Batch::new();
        let most = self.inner.limits.readerships;
        let (before, row, digests) = log
            .with_open(|open| {
                let digests = open.move_digests(&log.keys, &writes.moved, most, &mut batch);
                (open.stored.clone(), open.row.clone(), digests)
            })
            .map_err(|error| StorageError::Backend(error.to_string()))?;
        let log_key = log.keys.log();
        let now = self.inner.env.now();
        let row = stored::LogRow {
            head: writes.head,
            clock: writes.clock,
            later: stored::LogLater {
                usage: writes.usage,
                digests,
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
                // A deletion of an older version stands there, too.
                batch.delete(log.keys.feed(replaced.seq));
                if !replaced.live {
                    batch.delete(log.keys.deletion(replaced.seq));
                }
            }
            let deleted = record.state.body().is_none().then_some(now);
            let at = match deleted {
                Some(_) => log.keys.deletion(record.seq),
                None => log.keys.feed(record.seq),
            };
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
            open.digests_moved(writes.moved);
            for (key, current, marks, record) in fresh {
                open.tail.push(key, current, marks, record);
            }
            open.remember(writes.clients, self.inner.limits.cached_clients);
        })?;
        Ok(writes.head)
    }
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Engine for EmbeddedEngine {
    async fn prepare(&self, namespace: &Namespace) -> EngineResult<()> {
        let log = self.log(namespace)?;
        if log.is_open() {
            return Ok(());
        }
        let _writer = log.writer.lock().await;
        self.ensure_open(&log).await
    }

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
        self.forget(namespace, retention).await
    }

    async fn note_seen(
        &self,
        namespace: &Namespace,
        clients: &[ClientId],
        unless_within: Duration,
    ) -> EngineResult<()> {
        self.see(namespace, clients, unless_within).await
    }

    fn release(&self, namespace: &Namespace) {
        let mut logs = self.logs();
        match logs.open.get(namespace) {
            // Whoever else holds it is at work in it.
            Some(log) if Arc::strong_count(log) > 1 => log.release(self.inner.limits.tail_bytes),
            Some(_) => logs.close(namespace),
            None => {}
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

    async fn stored_head(&self, namespace: &Namespace) -> EngineResult<Option<Seq>> {
        let row = self.stored_row(&Keys::new(namespace)).await?;
        Ok(row.map(|row| row.head))
    }

    async fn stored_time(&self, namespace: &Namespace) -> EngineResult<Option<Timestamp>> {
        let row = self.stored_row(&Keys::new(namespace)).await?;
        Ok(row.map(|row| row.clock.time()))
    }

    async fn count(&self, namespace: &Namespace, most: usize) -> EngineResult<Counted> {
        self.count_stored(&Keys::new(namespace), most).await
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
        StorageError::Full(_) => EngineError::Full(error.to_string()),
        StorageError::Conflict => EngineError::NotApplied(error.to_string()),
        other => EngineError::Fatal(other.to_string()),
    }
}
