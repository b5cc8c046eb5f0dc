//! What the pushes of one commit name, as loaded, with the effects of those decided so far.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, Digest, DocumentId, Hlc, Record,
    RecordState, Revision, Seq,
};

use super::outcome_bytes;
use crate::digests::Moved;
use crate::rules::{Admitted, Marks, Readership, Standing};
use crate::stored::{ClientRecord, Usage};

/// The version of a document that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its revision.
    pub rev: Revision,
    /// Its place.
    pub seq: Seq,
    /// Whether it is neither deleted nor erased.
    pub live: bool,
    /// The bytes of its body and id; 0 when it is deleted.
    pub bytes: u64,
}

impl Current {
    /// The version that a record holds.
    pub(crate) fn of(record: &Record) -> Self {
        let body = record.state.body();
        Self {
            rev: record.rev,
            seq: record.seq,
            live: body.is_some(),
            bytes: body.map_or(0, |body| size(&record.id, body)),
        }
    }
}

/// What a live document counts.
pub(crate) fn size(id: &DocumentId, body: &Body) -> u64 {
    (id.as_str().len() + body.len()) as u64
}

/// The name of a document in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// Its collection.
    pub collection: CollectionName,
    /// Its id.
    pub id: DocumentId,
}

impl DocumentKey {
    /// The document a change is about.
    pub fn of(change: &Change) -> Self {
        Self {
            collection: change.collection.clone(),
            id: change.id.clone(),
        }
    }
}

/// A version whose entry leaves the feed when another is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Its place.
    pub seq: Seq,
    /// Whether it was neither deleted nor erased.
    pub live: bool,
}

#[derive(Debug, Default)]
struct Slot {
    /// The stored version.
    stored: Option<Replaced>,
    /// What the stored version counts in a digest.
    counted: Option<(Readership, Digest)>,
    current: Option<Current>,
    /// What rules want to know of the current version.
    standing: Standing,
    written: Option<(Record, Marks)>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) record: ClientRecord,
    /// What its outcomes cost to keep.
    pub(super) outcome_bytes: usize,
    pub(super) changed: bool,
}

/// What the pushes of one commit name, as loaded, with the effects of those decided so far.
#[derive(Debug)]
pub struct Overlay {
    pub(super) head: Seq,
    pub(super) clock: Hlc,
    pub(super) usage: Option<Usage>,
    horizon: Seq,
    documents: HashMap<DocumentKey, usize>,
    /// In the order in which they were named, which is nearly that of their places.
    slots: Vec<Slot>,
    pub(super) clients: BTreeMap<ClientId, Client>,
}

/// What a commit stores.
#[derive(Debug)]
pub struct WriteSet {
    /// The head afterwards.
    pub head: Seq,
    /// The server's hybrid clock afterwards.
    pub clock: Hlc,
    /// What the namespace holds afterwards, if it was told what it held before.
    pub usage: Option<Usage>,
    /// The records, by rising place, each with the version it replaces.
    pub records: Vec<(Record, Option<Replaced>, Marks)>,
    /// By how much the digests move.
    pub(crate) moved: Moved,
    /// The clients that changed.
    pub clients: Vec<(ClientId, ClientRecord)>,
}

impl WriteSet {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.clients.is_empty()
    }
}

impl Overlay {
    /// The state of a log before a commit.
    pub fn new(head: Seq, clock: Hlc) -> Self {
        Self {
            head,
            clock,
            usage: None,
            horizon: Seq::ZERO,
            documents: HashMap::new(),
            slots: Vec::new(),
            clients: BTreeMap::new(),
        }
    }

    /// Tells what the namespace holds, so that it is counted on.
    pub fn set_usage(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// Tells up to where deletions are forgotten: labels that left before are of no concern to any reader.
    pub fn set_horizon(&mut self, horizon: Seq) {
        self.horizon = horizon;
    }

    /// What the namespace would hold after these changes.
    pub(super) fn usage_after(&self, before: Usage, changes: &[Change]) -> Usage {
        changes.iter().fold(before, |usage, change| {
            let after = match &change.kind {
                ChangeKind::Put(body) => Some(size(&change.id, body)),
                ChangeKind::Delete | ChangeKind::Erase => None,
            };
            usage.moved(self.current(change), after)
        })
    }

    /// Makes room for this many further documents.
    pub fn reserve(&mut self, documents: usize) {
        self.documents.reserve(documents);
        self.slots.reserve(documents);
    }

    /// Names a document, missing until it is told; none when it was named before.
    pub fn name(&mut self, key: DocumentKey) -> Option<usize> {
        let next = self.slots.len();
        match self.documents.entry(key) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(entry) => entry.insert(next),
        };
        self.slots.push(Slot::default());
        Some(next)
    }

    /// Tells the version of a named document that stands, and who may read it.
    pub(crate) fn set(
        &mut self,
        (slot, id): (usize, &DocumentId),
        current: Current,
        marks: &Marks,
    ) {
        let counted = || (marks.readership(), Digest::of(id, current.rev));
        self.slots[slot] = Slot {
            stored: Some(Replaced {
                seq: current.seq,
                live: current.live,
            }),
            counted: current.live.then(counted),
            current: Some(current),
            ..Slot::default()
        };
    }

    /// Tells what rules want to know of a document that was [`set`](Self::set).
    pub(crate) fn describe(&mut self, slot: usize, marks: Marks, body: Option<Body>) {
        self.slots[slot].standing = Standing {
            exists: true,
            marks,
            body,
        };
    }

    /// Names a document with the version that stands; none if there is no such document.
    pub fn load(&mut self, key: DocumentKey, current: Option<Current>) {
        let id = key.id.clone();
        if let (Some(slot), Some(current)) = (self.name(key), current) {
            self.set((slot, &id), current, &Marks::default());
        }
    }

    /// Whether a client was loaded already.
    pub fn has_client(&self, client: ClientId) -> bool {
        self.clients.contains_key(&client)
    }

    /// Loads what is known of a client.
    pub fn load_client(&mut self, client: ClientId, record: ClientRecord) {
        self.clients.insert(
            client,
            Client {
                outcome_bytes: record.outcomes.iter().map(outcome_bytes).sum(),
                record,
                changed: false,
            },
        );
    }

    /// What is to be stored.
    pub fn into_writes(self) -> WriteSet {
        let mut moved = Moved::new();
        let mut records = Vec::with_capacity(self.slots.len());
        for slot in self.slots {
            let Some((record, marks)) = slot.written else {
                continue;
            };
            let at = |readership| (record.collection.clone(), readership);
            if let Some((readership, digest)) = slot.counted {
                let sum = moved.entry(at(readership)).or_default();
                *sum = sum.minus(digest);
            }
            if record.state.body().is_some() {
                let sum = moved.entry(at(marks.readership())).or_default();
                *sum = sum.plus(Digest::of(&record.id, record.rev));
            }
            records.push((record, slot.stored, marks));
        }
        records.sort_unstable_by_key(|(record, ..)| record.seq);
        let clients = self
            .clients
            .into_iter()
            .filter(|(_, client)| client.changed);
        WriteSet {
            head: self.head,
            clock: self.clock,
            usage: self.usage,
            records,
            moved,
            clients: clients.map(|(id, client)| (id, client.record)).collect(),
        }
    }

    pub(super) fn current(&self, change: &Change) -> Option<Current> {
        let slot = *self.documents.get(&DocumentKey::of(change))?;
        self.slots[slot].current
    }

    pub(super) fn standing(&self, change: &Change) -> Option<&Standing> {
        let slot = *self.documents.get(&DocumentKey::of(change))?;
        Some(&self.slots[slot].standing)
    }

    pub(super) fn write(&mut self, change: &Change, admitted: Admitted) -> Seq {
        self.head = self.head.next();
        let key = DocumentKey::of(change);
        let place = *self.documents.entry(key).or_insert_with(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let slot = &mut self.slots[place];
        let state = match &change.kind {
            ChangeKind::Put(body) => RecordState::Live(body.clone()),
            ChangeKind::Delete => RecordState::Deleted,
            ChangeKind::Erase => RecordState::Erased,
        };
        let marks = admitted.marks(self.head, self.horizon);
        slot.standing = Standing {
            exists: true,
            marks: marks.clone(),
            body: state.body().cloned(),
        };
        let record = Record {
            collection: change.collection.clone(),
            id: change.id.clone(),
            rev: change.rev,
            seq: self.head,
            state,
        };
        let current = Current::of(&record);
        if let Some(usage) = &mut self.usage {
            let after = current.live.then_some(current.bytes);
            *usage = usage.moved(slot.current, after);
        }
        slot.current = Some(current);
        slot.written = Some((record, marks));
        self.head
    }
}
