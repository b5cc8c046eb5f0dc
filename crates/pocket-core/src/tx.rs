//! What a write reads and writes through, before it is committed.

mod reads;

use std::sync::Arc;

use bytes::Bytes;
use pocket_storage::ordered::BTreeMap;
use pocket_storage::{Batch, sorting};
use serde::Serialize;

use crate::ahead::Ahead;
use crate::commit::CommitCore;
use crate::configure;
use crate::damage::Server;
use crate::events::{ChangeEvent, CommitEvents};
use crate::index::Maintenance;
use crate::keys::CollectionId;
use crate::registry::Registry;
use crate::stored::{self, ServerVersion, State, StoredDocument};
use crate::written::Written;
use crate::{Body, ClientId, Digest, DocumentId, Hlc, Result, Revision, Timestamp, envelope, keys};

/// Writes that are not committed yet, over the store.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) values: Written,
    /// Of all values that were written, also of those that others took the place of.
    pub(crate) bytes: usize,
    pub(crate) state: State,
    pub(crate) registry: Registry,
    pub(crate) client: ClientId,
    pub(crate) events: Vec<CommitEvents>,
    pub(crate) outbox_grew: bool,
    /// A document went whose last version nobody knows, so no event tells who showed it.
    pub(crate) lost: bool,
}

impl Kept {
    /// What was written of collections and indexes, as it will be stored.
    pub(crate) fn settings(&self) -> Vec<(Vec<u8>, Option<Bytes>)> {
        let settings = self.values.iter().filter(|(key, _)| keys::is_setting(key));
        let mut settings: Vec<_> = settings
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        sorting::sort_unstable(&mut settings);
        settings
    }
}

/// What a job reads and writes through.
#[derive(Debug)]
pub(crate) struct Tx {
    core: Arc<CommitCore>,
    pub(crate) kept: Kept,
    /// What the running job wrote, over what is kept.
    own: Written,
    own_state: State,
    own_registry: Registry,
    own_client: ClientId,
    own_events: Vec<ChangeEvent>,
    own_outbox_grew: bool,
    own_lost: Option<Server>,
    /// By how much the digests of server versions move, by collection.
    own_moved: BTreeMap<CollectionId, Digest>,
    /// What its documents change in indexes.
    own_maintenance: Maintenance,
    /// Sealed values read ahead by the running job.
    ahead: Ahead,
    /// Sealed values read ahead for jobs that run one behind the other.
    ahead_for_all: Ahead,
}

impl Tx {
    pub(crate) fn new(
        core: Arc<CommitCore>,
        state: State,
        registry: Registry,
        client: ClientId,
    ) -> Self {
        Self {
            core,
            own: Written::default(),
            own_state: state.clone(),
            own_registry: registry.clone(),
            own_client: client,
            own_events: Vec::new(),
            own_outbox_grew: false,
            own_lost: None,
            own_moved: BTreeMap::new(),
            own_maintenance: Maintenance::default(),
            ahead: Ahead::default(),
            ahead_for_all: Ahead::default(),
            kept: Kept {
                values: Written::default(),
                bytes: 0,
                state,
                registry,
                client,
                events: Vec::new(),
                outbox_grew: false,
                lost: false,
            },
        }
    }

    /// The job did its work: its writes join the commit, under a sequence of their own.
    pub(crate) fn keep(&mut self) {
        self.ahead.clear();
        if self.own.is_empty() {
            return self.discard();
        }
        self.move_digests();
        self.own_state.sequence = self.kept.state.sequence.next();
        self.kept.state = self.own_state.clone();
        self.kept.registry = self.own_registry.clone();
        self.kept.client = self.own_client;
        self.kept.outbox_grew |= std::mem::take(&mut self.own_outbox_grew);
        let written = self.own.iter().filter_map(|(_, value)| value.as_ref());
        self.kept.bytes += written.map(Bytes::len).sum::<usize>();
        self.kept.lost |= self.own_lost.take().is_some();
        self.kept.values.append(std::mem::take(&mut self.own));
        if !self.own_events.is_empty() {
            let events = std::mem::take(&mut self.own_events);
            let (sequence, timestamp) = (self.kept.state.sequence, self.core.env.now());
            self.kept
                .events
                .push(CommitEvents::new(sequence, timestamp, events));
        }
    }

    /// The job failed: as if it had never run.
    pub(crate) fn discard(&mut self) {
        self.ahead.clear();
        self.own = Written::default();
        self.own_events.clear();
        self.own_outbox_grew = false;
        self.own_lost = None;
        self.own_moved.clear();
        self.own_maintenance = Maintenance::default();
        self.own_state = self.kept.state.clone();
        self.own_registry = self.kept.registry.clone();
        self.own_client = self.kept.client;
    }

    /// The batch of all that was kept, and the state row as it will be stored.
    ///
    /// What was kept moves into the batch.
    pub(crate) fn batch(&mut self, stored: Option<Bytes>) -> (Batch, Bytes) {
        let mut batch = Batch::new();
        match stored {
            Some(value) => batch.check_equals(keys::STATE, value),
            None => batch.check_absent(keys::STATE),
        };
        let values = std::mem::take(&mut self.kept.values);
        batch.reserve(values.len() + 1);
        for (key, value) in values.into_sorted() {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        let sealed = envelope::seal(keys::STATE, &[&stored::encode(&self.kept.state)]);
        batch.put(keys::STATE, sealed.clone());
        (batch, sealed)
    }

    pub(crate) fn core(&self) -> &Arc<CommitCore> {
        &self.core
    }

    pub(crate) fn state(&mut self) -> &mut State {
        &mut self.own_state
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.own_registry
    }

    pub(crate) fn registry_mut(&mut self) -> &mut Registry {
        &mut self.own_registry
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.core.env.now()
    }

    /// The time by the server's clock, as far as it is known: that which revisions follow.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now().millis().saturating_add(self.own_state.offset))
    }

    /// A new revision of this device, later than all before it.
    pub(crate) fn next_revision(&mut self) -> Revision {
        let hlc = self.own_state.clock.tick(self.time());
        self.own_state.clock = hlc;
        Revision::new(hlc, self.own_client)
    }

    /// A server accepted or sent a version of this time: the revisions that follow are later.
    pub(crate) fn has_seen(&mut self, hlc: Hlc) {
        self.own_state.seen = self.own_state.seen.max(hlc);
        self.own_state.clock = self.own_state.clock.max(hlc);
    }

    /// Who this is to a server.
    pub(crate) fn client(&self) -> ClientId {
        self.own_client
    }

    /// From this commit on it is another client.
    pub(crate) fn become_client(&mut self, client: ClientId) {
        self.own_client = client;
    }

    /// A server told its time: revisions follow it from now on, whatever this device's clock says. The server read its
    /// clock at some moment since it was `asked`, by this device's clock. What may be right stays as it is: else the writes
    /// of a device on a slow line would look older than they are, and lose to earlier ones.
    pub(crate) fn set_server_time(&mut self, server_time: Timestamp, asked: Timestamp) {
        let ahead_of = |own: Timestamp| server_time.millis().saturating_sub(own.millis());
        let (least, most) = (ahead_of(self.now()), ahead_of(asked));
        // Not `clamp`: this device's clock may have been set back meanwhile.
        self.own_state.offset = self.own_state.offset.min(most).max(least);
    }

    /// A server told a time that its own is not behind: this device is ahead of it at least by what it is ahead of that.
    pub(crate) fn bound_server_time(&mut self, latest: Timestamp) {
        let offset = latest.millis().saturating_sub(self.now().millis());
        self.own_state.offset = self.own_state.offset.min(offset);
    }

    /// Reads a value; a damaged one is an error.
    pub(crate) async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        let written = self.own.get(key).or_else(|| self.kept.values.get(key));
        // What was read ahead is as good as read now: if the store moves on meanwhile, the commit finds that out.
        let known = written
            .or_else(|| self.ahead.get(key))
            .or_else(|| self.ahead_for_all.get(key));
        if let Some(value) = known {
            let value = value.as_ref();
            return value.map(|value| self.core.open(key, value)).transpose();
        }
        let value = self.core.storage.get(key).await?;
        value.map(|value| self.core.open(key, &value)).transpose()
    }

    /// The server's version of a document that is known here becomes another one.
    pub(crate) fn server_version_moved(
        &mut self,
        collection: CollectionId,
        id: &DocumentId,
        before: Option<ServerVersion>,
        after: Option<ServerVersion>,
    ) {
        let counted = |version: Option<ServerVersion>| version.and_then(|it| it.counted());
        let (before, after) = (counted(before), counted(after));
        if before != after {
            let digest =
                |rev: Option<Revision>| rev.map_or(Digest::EMPTY, |rev| Digest::of(id, rev));
            let moved = self.own_moved.entry(collection).or_default();
            *moved = moved.plus(digest(after)).minus(digest(before));
        }
    }

    /// Stores the digests that moved with the rows of their collections.
    fn move_digests(&mut self) {
        for (collection, moved) in std::mem::take(&mut self.own_moved) {
            let row = self.own_registry.row(collection);
            if let Some((name, mut row)) = row.filter(|_| moved != Digest::EMPTY) {
                row.later.held = row.later.held.plus(moved);
                configure::put_collection(self, &name, row);
            }
        }
    }

    /// What the running job's documents change in indexes.
    pub(crate) fn maintenance(&mut self) -> &mut Maintenance {
        &mut self.own_maintenance
    }

    /// Whether the running job wrote a value under this key that is still there.
    pub(crate) fn is_written(&self, key: &[u8]) -> bool {
        self.own.get(key).is_some_and(Option::is_some)
    }

    /// The value under this key before the running job.
    pub(crate) async fn before(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = match self.kept.values.get(key) {
            Some(value) => value.clone(),
            None => self.core.storage.get(key).await?,
        };
        value.map(|value| self.core.open(key, &value)).transpose()
    }

    /// Whether there was a value under this key before the running job.
    pub(crate) async fn was_there(&self, key: &[u8]) -> Result<bool> {
        match self.kept.values.get(key) {
            Some(value) => Ok(value.is_some()),
            None => Ok(self.core.storage.get(key).await?.is_some()),
        }
    }

    /// Writes a value made of `parts`. Documents go through [`store_document`](Self::store_document).
    pub(crate) fn put(&mut self, key: Vec<u8>, parts: &[&[u8]]) {
        debug_assert!(!keys::is_document(&key), "its indexes would not hear of it");
        let sealed = envelope::seal(&key, parts);
        self.own.insert(key, Some(sealed));
    }

    /// Writes a row. Documents go through [`store_document`](Self::store_document).
    pub(crate) fn put_row<T: Serialize>(&mut self, key: Vec<u8>, row: &T) {
        debug_assert!(!keys::is_document(&key), "its indexes would not hear of it");
        let sealed = stored::seal_row(&key, row, &[]);
        self.own.insert(key, Some(sealed));
    }

    /// Removes a value. Documents go through [`store_document`](Self::store_document).
    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        debug_assert!(!keys::is_document(&key), "its indexes would not hear of it");
        self.own.insert(key, None);
    }

    /// Writes a document or removes it, in its indexes too. `before` is the version that is stored now.
    pub(crate) fn store_document(
        &mut self,
        collection: CollectionId,
        id: &DocumentId,
        before: Option<(Revision, &Body)>,
        after: Option<&StoredDocument>,
    ) {
        let version = after.and_then(|document| Some((document.head.rev, document.body.as_ref()?)));
        self.document_moved(collection, id, before, version);
        let key = keys::document(collection, id);
        let sealed = after.map(|document| document.seal(&key));
        self.own.insert(key, sealed);
    }

    pub(crate) fn event(&mut self, event: ChangeEvent) {
        self.own_events.push(event);
    }

    pub(crate) fn outbox_grew(&mut self) {
        self.own_outbox_grew = true;
    }

    /// A document went whose last version nobody knows.
    pub(crate) fn lost_a_document(&mut self, server: Server) {
        self.own_lost = self.own_lost.max(Some(server));
    }

    /// Whether the running job let such documents go, and what it takes to know what the server has of them.
    pub(crate) fn lost(&self) -> Option<Server> {
        self.own_lost
    }
}
