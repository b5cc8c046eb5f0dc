//! Forgetting: old deletions leave the feed, and clients that never came back leave the store.
//!
//! A small batch at a time. What is old is looked for beside everything else; only to take it away is the log's writer
//! lock held, and it is looked at again then. Each batch is atomic: the horizon moves in the commit in which deletions
//! behind it go. A reader that stood before it learns of it with the page it reads, and resyncs.
//!
//! A namespace that nobody uses is not opened for this: no place is given, so no epoch is needed.

use std::time::Duration;

use bytes::Bytes;
use pocket_core::{ClientId, Hlc, Seq, Timestamp};
use pocket_storage::{Batch, Direction, Durability, ScanLimit, StorageError};

use super::log::Log;
use super::places::Placed;
use super::{ATTEMPTS, CLOSED, EmbeddedEngine, busy, read_error, write_error};
use crate::Namespace;
use crate::decide::DocumentKey;
use crate::engine::{Compacted, EngineResult, Retention, is_past};
use crate::keys::Keys;
use crate::locks::lock;
use crate::stored::{self, ClientRecord, LogRow};

/// Deletions, or clients, forgotten by one commit.
const BATCH: usize = 256;
/// Entries of the feed, or clients, looked at by one call.
const SCANNED: usize = 4_096;

/// Up to where a namespace was looked through. Only to save work: whoever knows nothing begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    /// Nothing in the feed up to here is left to forget; whatever changes gets a later place.
    feed: Seq,
    /// The first deletion up to there whose time lies ahead, and that time: the clock was wrong then, or is now.
    ahead: Option<(Seq, Timestamp)>,
    /// A deletion at this place was old enough, so those before it are, whatever time they bear.
    old: Seq,
    /// The key of the last client of this round.
    client: Option<Vec<u8>>,
}

/// A deletion that is old enough, as the feed has it.
struct Deletion {
    seq: Seq,
    key: DocumentKey,
    /// The entry of the feed: its key and its value.
    at: Vec<u8>,
    entry: Bytes,
}

/// What one look found.
#[derive(Default)]
struct Found {
    /// By rising place.
    deletions: Vec<Deletion>,
    clients: Vec<ClientId>,
    looked: Looked,
    more: bool,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.deletions.is_empty() && self.clients.is_empty()
    }
}

impl EmbeddedEngine {
    /// Forgets a batch of what is old enough.
    pub(super) async fn forget(
        &self,
        namespace: &Namespace,
        retention: &Retention,
    ) -> EngineResult<Compacted> {
        let keys = Keys::new(namespace);
        for _ in 0..ATTEMPTS {
            let Some(row) = self.stored_row(&keys).await? else {
                return Ok(Compacted::default());
            };
            let now = self.inner.env.now();
            let looked = lock(&self.inner.looked).get(namespace).cloned();
            let looked = looked.unwrap_or_default();
            let found = self.look(&keys, retention, now, &row, looked).await?;
            let mut compacted = Compacted {
                horizon: row.horizon,
                more: found.more,
                ..Compacted::default()
            };
            if found.is_empty() && !found.more {
                compacted.more = self.reconsider(namespace, &row, now).await?;
            }
            if !found.is_empty() {
                let log = self.log(namespace)?;
                let taken = {
                    let _writer = log.writer.lock().await;
                    let is_visit = !log.is_open();
                    let there = !is_visit || self.visit(&log).await?;
                    let taken = if there {
                        self.take_away(&log, &found, retention, now).await
                    } else {
                        Ok(Some(compacted))
                    };
                    log.leave();
                    taken
                };
                drop(log);
                self.close_unused(namespace);
                match taken? {
                    Some(taken) => compacted = taken,
                    None => continue,
                }
            }
            self.note_looked(namespace, found.looked);
            return Ok(compacted);
        }
        Err(busy())
    }

    fn note_looked(&self, namespace: &Namespace, looked: Looked) {
        let mut all = lock(&self.inner.looked);
        if all.len() >= CLOSED && !all.contains_key(namespace) {
            all.clear();
        }
        all.insert(namespace.clone(), looked);
    }

    /// The log's row as it is stored; none when there is no such namespace.
    pub(super) async fn stored_row(&self, keys: &Keys) -> EngineResult<Option<LogRow>> {
        let at = keys.log();
        let value = self.inner.storage.get(&at).await.map_err(read_error)?;
        Ok(value.map(|value| stored::open(&at, &value)).transpose()?)
    }

    /// Looks at a part of the feed for old deletions; when there is none any more, at a part of the clients.
    async fn look(
        &self,
        keys: &Keys,
        retention: &Retention,
        now: Timestamp,
        row: &LogRow,
        looked: Looked,
    ) -> EngineResult<Found> {
        let mut found = Found {
            looked,
            ..Found::default()
        };
        if let Some((first, _)) = found.looked.ahead.take_if(|(_, time)| *time <= now) {
            found.looked.feed = before(first);
        }
        found.looked.feed = found.looked.feed.max(row.horizon).min(row.head);
        self.find_old(keys, retention, now, row, &mut found).await?;
        if found.deletions.is_empty() && !found.more {
            self.find_gone(keys, retention, now, &mut found).await?;
        } else {
            // The clients come last.
            found.more = true;
        }
        Ok(found)
    }

    async fn find_old(
        &self,
        keys: &Keys,
        retention: &Retention,
        now: Timestamp,
        row: &LogRow,
        found: &mut Found,
    ) -> EngineResult<()> {
        if found.looked.feed >= row.head || !retention.forgets_deletions() {
            return Ok(());
        }
        let range = (found.looked.feed, row.head);
        let (entries, reached) = self.places(keys, range, None, SCANNED).await?;
        found.more = reached < row.head;
        for Placed {
            seq,
            row: feed,
            at,
            value: entry,
        } in entries
        {
            let key = DocumentKey {
                collection: feed.collection,
                id: feed.id,
            };
            let deleted = match feed.later.deleted {
                Some(time) => Some(Timestamp::from_millis(time)),
                None if feed.later.live => None,
                None => self.deleted_before_it_was_noted(keys, seq, &key).await?,
            };
            if let Some(deleted) = deleted {
                let is_old = retention.is_over(deleted, now, seq, row.head);
                if !is_old && seq > found.looked.old {
                    if deleted > now {
                        // How old it is, those behind it tell.
                        found.looked.ahead.get_or_insert((seq, deleted));
                        found.looked.feed = seq;
                        continue;
                    }
                    found.more = false;
                    return Ok(());
                }
                if is_old && let Some((first, _)) = found.looked.ahead.take() {
                    found.looked.old = seq;
                    found.looked.feed = before(first);
                    found.more = true;
                    return Ok(());
                }
                if found.deletions.len() == BATCH {
                    found.more = true;
                    return Ok(());
                }
                found.deletions.push(Deletion {
                    seq,
                    key,
                    at,
                    entry,
                });
            }
            found.looked.feed = seq;
        }
        found.looked.feed = reached;
        Ok(())
    }

    /// Feed entries of earlier versions do not say whether they are deletions: the record does.
    async fn deleted_before_it_was_noted(
        &self,
        keys: &Keys,
        seq: Seq,
        key: &DocumentKey,
    ) -> EngineResult<Option<Timestamp>> {
        let at = keys.document(&key.collection, &key.id);
        let value = self.inner.storage.get(&at).await.map_err(read_error)?;
        deleted_at(&at, value.as_ref(), seq)
    }

    /// Clients that were not seen for longer than deletions are remembered.
    async fn find_gone(
        &self,
        keys: &Keys,
        retention: &Retention,
        now: Timestamp,
        found: &mut Found,
    ) -> EngineResult<()> {
        let Some(expiry) = retention.clients else {
            return Ok(());
        };
        let mut range = keys.clients();
        if let Some(last) = found.looked.client.take() {
            range = range.after(last);
        }
        let mut seen = 0;
        while seen < SCANNED {
            let limit = ScanLimit::entries(BATCH);
            let entries = self
                .inner
                .storage
                .scan(range.clone(), limit, Direction::Forward)
                .await
                .map_err(read_error)?;
            let Some((last, _)) = entries.last() else {
                found.looked.client = None;
                return Ok(());
            };
            range = range.after(last.clone());
            seen += entries.len();
            for (at, value) in entries {
                let record = ClientRecord::open(&at, &value)?;
                if is_past(record.last_seen, expiry, now) {
                    let client = keys
                        .client_id(&at)
                        .ok_or_else(|| stored::damaged("a key of a client is too short"))?;
                    found.clients.push(client);
                }
                found.looked.client = Some(at);
                if found.clients.len() == BATCH {
                    found.more = true;
                    return Ok(());
                }
            }
        }
        found.more = true;
        Ok(())
    }

    /// Takes away what was found, as far as it is still so. None when another engine moved the log meanwhile. The caller holds
    /// the log's writer lock, and the log is open.
    async fn take_away(
        &self,
        log: &Log,
        found: &Found,
        retention: &Retention,
        now: Timestamp,
    ) -> EngineResult<Option<Compacted>> {
        let (stored, row) = log.with_open(|open| (open.stored.clone(), open.row.clone()))?;
        let mut batch = Batch::new();
        let log_key = log.keys.log();
        let deletions = self.still_deleted(&found.deletions).await?;
        let documents = deletions.iter().map(|Deletion { key, .. }| key);
        let documents: Vec<_> = documents
            .map(|key| log.keys.document(&key.collection, &key.id))
            .collect();
        let records = self.inner.storage.get_many(&documents).await;
        let records = records.map_err(read_error)?;
        for ((deletion, at), record) in deletions.iter().zip(documents).zip(records) {
            batch.delete(deletion.at.clone());
            // A program that did not know these entries may have left one behind a document that it wrote anew.
            if deleted_at(&at, record.as_ref(), deletion.seq)?.is_some() {
                batch.delete(at);
            }
        }
        let clients = self.still_gone(log, &found.clients, retention, now).await?;
        for client in &clients {
            batch.delete(log.keys.client(*client));
        }
        let horizon = deletions.last().map_or(Seq::ZERO, |last| last.seq);
        let row = LogRow {
            horizon: row.horizon.max(horizon),
            ..row
        };
        let compacted = Compacted {
            tombstones: deletions.len(),
            clients: clients.len(),
            horizon: row.horizon,
            more: found.more,
        };
        if batch.is_empty() {
            return Ok(Some(compacted));
        }
        let after = stored::seal(&log_key, &row);
        batch
            .check_equals(log_key.clone(), stored)
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
            for deletion in &deletions {
                open.tail.forget(&deletion.key, deletion.seq);
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

    /// Those that nobody wrote anew since they were found.
    async fn still_deleted<'a>(&self, found: &'a [Deletion]) -> EngineResult<Vec<&'a Deletion>> {
        let keys: Vec<_> = found.iter().map(|deletion| deletion.at.clone()).collect();
        let entries = self.inner.storage.get_many(&keys).await;
        let entries = entries.map_err(read_error)?;
        let pairs = found.iter().zip(entries);
        let still = pairs.filter(|(deletion, entry)| entry.as_ref() == Some(&deletion.entry));
        Ok(still.map(|(deletion, _)| deletion).collect())
    }

    /// Those that did not come back since they were found.
    async fn still_gone(
        &self,
        log: &Log,
        found: &[ClientId],
        retention: &Retention,
        now: Timestamp,
    ) -> EngineResult<Vec<ClientId>> {
        let mut gone = Vec::with_capacity(found.len());
        for (client, record) in self.clients(log, found).await? {
            let is_gone = |expiry| is_past(record.last_seen, expiry, now);
            if retention.clients.is_some_and(is_gone) {
                gone.push(client);
            }
        }
        Ok(gone)
    }

    /// What is stored of clients.
    async fn clients(
        &self,
        log: &Log,
        clients: &[ClientId],
    ) -> EngineResult<Vec<(ClientId, ClientRecord)>> {
        let keys: Vec<_> = clients
            .iter()
            .map(|client| log.keys.client(*client))
            .collect();
        let values = self.inner.storage.get_many(&keys).await;
        let values = values.map_err(read_error)?;
        let mut records = Vec::with_capacity(clients.len());
        for ((client, at), value) in clients.iter().zip(&keys).zip(values) {
            if let Some(value) = value {
                records.push((*client, ClientRecord::open(at, &value)?));
            }
        }
        Ok(records)
    }

    /// Takes note that clients are connected, a batch at a time.
    pub(super) async fn see(
        &self,
        namespace: &Namespace,
        clients: &[ClientId],
        unless_within: Duration,
    ) -> EngineResult<()> {
        let log = self.log(namespace)?;
        for clients in clients.chunks(BATCH) {
            let mut attempts = 0..ATTEMPTS;
            loop {
                attempts.next().ok_or_else(busy)?;
                let _writer = log.writer.lock().await;
                self.ensure_open(&log).await?;
                if self.see_once(&log, clients, unless_within).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// False when another engine moved the log meanwhile.
    async fn see_once(
        &self,
        log: &Log,
        clients: &[ClientId],
        unless_within: Duration,
    ) -> EngineResult<bool> {
        let now = self.inner.env.now();
        let mut seen = self.clients(log, clients).await?;
        seen.retain(|(_, record)| is_past(record.last_seen, unless_within, now));
        if seen.is_empty() {
            return Ok(true);
        }
        let stored = log.with_open(|open| open.stored.clone())?;
        let mut batch = Batch::new();
        batch.check_equals(log.keys.log(), stored);
        for (client, record) in &mut seen {
            record.last_seen = now;
            let at = log.keys.client(*client);
            let value = record.seal(&at);
            batch.put(at, value);
        }
        let commit = log.begin();
        let result = self
            .inner
            .storage
            .commit(batch, Durability::PowerLoss)
            .await;
        let ended = commit.end(result, |open| {
            for (client, record) in seen {
                // Those that are not in memory are read when they push.
                if let Some(known) = open.clients.get_mut(&client) {
                    *known = record;
                }
            }
        });
        match ended {
            Ok(()) => Ok(true),
            Err(StorageError::Conflict) => Ok(false),
            Err(error) => Err(write_error(error)),
        }
    }
}

fn before(place: Seq) -> Seq {
    Seq::new(place.get().saturating_sub(1))
}

/// When the document at a key was deleted, if its record is the deletion of this place.
fn deleted_at(key: &[u8], record: Option<&Bytes>, place: Seq) -> EngineResult<Option<Timestamp>> {
    let Some(record) = record else {
        return Ok(None);
    };
    let (row, _) = stored::open_record_row(key, record)?;
    let is_this = row.seq == place && !row.is_live();
    let hlc: Hlc = row.rev.hlc;
    Ok(is_this.then(|| hlc.time()))
}
