//! Change events: what each commit did, told after it is durable, in order.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use crate::commit::LeftRounds;
use crate::config::COMMITTED_MESSAGES;
use crate::live::Router;
use crate::lock::lock;
use crate::registry::Registry;
use crate::subscribers::Subscribers;
use crate::{Body, CollectionName, CommitSequence, Document, DocumentId, Subscription, Timestamp};

/// What a change did to its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// There was none (or a tombstone) before.
    Insert,
    /// There was one before.
    Update,
    /// It is gone.
    Delete,
}

/// One change of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeEvent {
    /// The document's collection.
    pub collection: CollectionName,
    /// What happened.
    pub operation: Operation,
    /// The document.
    pub document_id: DocumentId,
    /// The document afterwards; none after a delete.
    pub document: Option<Document>,
    /// The document before; none before an insert.
    pub previous_document: Option<Document>,
    /// Whether another device made the change.
    pub is_from_sync: bool,
    /// When it was committed here.
    pub timestamp: Timestamp,
    /// The local commit it belongs to; all changes of one commit share it.
    pub sequence: CommitSequence,
}

/// What a subscriber to changes gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeItem {
    /// A change.
    Change(ChangeEvent),
    /// The subscriber fell behind, or another handle wrote to the same store and this one was not told what: the commits
    /// from the first to the second are not told. Or the store is an earlier one than it was, and these commits, which were
    /// told, are not in it. Read again.
    Lagged {
        /// The first commit left out.
        from: CommitSequence,
        /// The last commit left out.
        to: CommitSequence,
    },
}

impl ChangeEvent {
    /// The event between two versions; none when neither is there.
    pub(crate) fn between(
        collection: CollectionName,
        before: Option<Document>,
        after: Option<Document>,
        is_from_sync: bool,
    ) -> Option<Self> {
        let before = before.filter(|document| !document.is_deleted());
        let after = after.filter(|document| !document.is_deleted());
        let (operation, document_id) = match (&before, &after) {
            (None, Some(after)) => (Operation::Insert, after.id.clone()),
            (Some(_), Some(after)) => (Operation::Update, after.id.clone()),
            (Some(before), None) => (Operation::Delete, before.id.clone()),
            (None, None) => return None,
        };
        Some(Self {
            collection,
            operation,
            document_id,
            document: after,
            previous_document: before,
            is_from_sync,
            // Both are set when the commit gets its sequence.
            timestamp: Timestamp::from_millis(0),
            sequence: CommitSequence::ZERO,
        })
    }

    /// Bytes of what it tells.
    pub(crate) fn bytes(&self) -> usize {
        let of_document = |document: &Document| {
            document.id.as_str().len() + document.body.as_ref().map_or(0, Body::len)
        };
        let versions = self.document.iter().chain(&self.previous_document);
        self.collection.as_str().len() + versions.map(of_document).sum::<usize>()
    }
}

/// The events of one commit.
#[derive(Clone, Debug)]
pub(crate) struct CommitEvents {
    pub(crate) sequence: CommitSequence,
    /// Before it, up to this one, another handle on the store committed, and nobody here was told what.
    pub(crate) missed: Option<CommitSequence>,
    /// About how many there are in memory for it.
    pub(crate) bytes: usize,
    pub(crate) events: Arc<Vec<ChangeEvent>>,
}

impl CommitEvents {
    pub(crate) fn new(
        sequence: CommitSequence,
        timestamp: Timestamp,
        mut events: Vec<ChangeEvent>,
    ) -> Self {
        for event in &mut events {
            event.sequence = sequence;
            event.timestamp = timestamp;
        }
        Self {
            sequence,
            missed: None,
            bytes: events.iter().map(ChangeEvent::bytes).sum(),
            events: Arc::new(events),
        }
    }
}

/// Tells subscribers what was committed. It never waits for one.
#[derive(Debug)]
pub(crate) struct Notifier {
    subscribers: Subscribers,
    /// What was committed, for other handles of the store; none once it is closed.
    messages: Mutex<Option<broadcast::Sender<Bytes>>>,
    outbox: watch::Sender<u64>,
    /// The last commit that was told or had nothing to tell: of this handle, or of another one that told it.
    told: Mutex<CommitSequence>,
    pub(crate) live: Arc<Router>,
}

impl Default for Notifier {
    fn default() -> Self {
        Self {
            subscribers: Subscribers::default(),
            messages: Mutex::new(Some(broadcast::Sender::new(COMMITTED_MESSAGES))),
            outbox: watch::Sender::new(0),
            told: Mutex::default(),
            live: Arc::default(),
        }
    }
}

impl Notifier {
    /// The store stands at this commit, and nobody waits to hear how it came there.
    pub(crate) fn begin(&self, at: CommitSequence) {
        *self.lock_told() = at;
    }

    /// Tells what was committed on top of the state `base`, after which the store stands at `end`.
    pub(crate) fn committed(
        &self,
        mut commits: Vec<CommitEvents>,
        (base, end): (CommitSequence, CommitSequence),
        registry: &Registry,
    ) {
        // Held until all is told, so that nobody takes for told what is still to be.
        let mut held = self.lock_told();
        let told = std::mem::replace(&mut *held, end);
        if told != base {
            // A query that has read that state already need not read again, unless it was told of a later one.
            self.live.miss((told < base).then_some(base));
            if commits.is_empty() {
                commits.push(CommitEvents::new(
                    end,
                    Timestamp::from_millis(0),
                    Vec::new(),
                ));
            }
            commits[0].missed = Some(base);
        }
        for commit in commits {
            self.live.committed(&commit, registry);
            self.subscribers.tell(&commit);
        }
    }

    /// The store stands at this commit, and what led there is not told. Whether it stood elsewhere before.
    pub(crate) fn skipped_to(&self, at: CommitSequence) -> bool {
        let mut held = self.lock_told();
        let told = std::mem::replace(&mut *held, at);
        if told == at {
            return false;
        }
        // A query that has read that state already need not read again.
        self.live.miss((told < at).then_some(at));
        let mut commit = CommitEvents::new(at, Timestamp::from_millis(0), Vec::new());
        commit.missed = Some(at);
        self.subscribers.tell(&commit);
        true
    }

    /// Whether somebody wants to tell other handles.
    pub(crate) fn is_followed(&self) -> bool {
        let messages = lock(&self.messages);
        messages.as_ref().is_some_and(|it| it.receiver_count() > 0)
    }

    /// Tells those who tell other handles.
    pub(crate) fn tell_others(&self, message: Bytes) {
        if let Some(messages) = &*lock(&self.messages) {
            // No subscriber is no error.
            let _ = messages.send(message);
        }
    }

    /// None once the database is closed.
    pub(crate) fn committed_messages(&self) -> Option<broadcast::Receiver<Bytes>> {
        let messages = lock(&self.messages);
        messages.as_ref().map(broadcast::Sender::subscribe)
    }

    /// Those who began what is being committed are gone: whoever listens goes on with it. A sync engine looks for something to
    /// send, and so does, too.
    pub(crate) fn was_left(&self) {
        self.subscribers.wake();
        self.live.wake();
        self.outbox_grew();
    }

    /// The database is closed: whoever listens gets what was told, and then the end.
    pub(crate) fn close(&self) {
        self.live.close();
        self.subscribers.close();
        *lock(&self.messages) = None;
    }

    pub(crate) fn outbox_grew(&self) {
        self.outbox.send_modify(|count| *count += 1);
    }

    /// The last commit that was told or had nothing to tell.
    pub(crate) fn told(&self) -> CommitSequence {
        *self.lock_told()
    }

    fn lock_told(&self) -> MutexGuard<'_, CommitSequence> {
        lock(&self.told)
    }

    pub(crate) fn outbox(&self) -> watch::Receiver<u64> {
        self.outbox.subscribe()
    }

    /// The changes of one collection, or of all, from now on.
    pub(crate) fn changes(
        &self,
        only: Option<CollectionName>,
        left: LeftRounds,
    ) -> Subscription<ChangeItem> {
        // Nothing is told between the two.
        let told = self.lock_told();
        self.subscribers.subscribe(only, *told, left)
    }
}
