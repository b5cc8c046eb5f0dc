//! What the pushes of one commit name, as loaded, with the effects of those decided so far.

use std::collections::{BTreeMap, HashMap};

use pocket_core::{
    Change, ChangeKind, ClientId, CollectionName, DocumentId, Hlc, Record, RecordState, Revision,
    Seq,
};

use crate::stored::ClientRecord;

/// The version of a document that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its revision.
    pub rev: Revision,
    /// Its place.
    pub seq: Seq,
    /// Whether it is neither deleted nor erased.
    pub live: bool,
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

#[derive(Debug, Default)]
struct Slot {
    /// The place of the stored version, whose feed entry goes when another is written.
    stored: Option<Seq>,
    current: Option<Current>,
    written: Option<Record>,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) record: ClientRecord,
    pub(super) changed: bool,
}

/// What the pushes of one commit name, as loaded, with the effects of those decided so far.
#[derive(Debug)]
pub struct Overlay {
    pub(super) head: Seq,
    pub(super) clock: Hlc,
    documents: HashMap<DocumentKey, Slot>,
    pub(super) clients: BTreeMap<ClientId, Client>,
}

/// What a commit stores.
#[derive(Debug)]
pub struct WriteSet {
    /// The head afterwards.
    pub head: Seq,
    /// The server's hybrid clock afterwards.
    pub clock: Hlc,
    /// The records, by rising place, each with the place of the version it replaces.
    pub records: Vec<(Record, Option<Seq>)>,
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
            documents: HashMap::new(),
            clients: BTreeMap::new(),
        }
    }

    /// Loads the version of a document that stands; none if there is no such document.
    pub fn load(&mut self, key: DocumentKey, current: Option<Current>) {
        let stored = current.map(|current| current.seq);
        self.documents.insert(
            key,
            Slot {
                stored,
                current,
                written: None,
            },
        );
    }

    /// Whether a document was loaded already.
    pub fn has(&self, key: &DocumentKey) -> bool {
        self.documents.contains_key(key)
    }

    /// Loads what is known of a client.
    pub fn load_client(&mut self, client: ClientId, record: ClientRecord) {
        self.clients.insert(
            client,
            Client {
                record,
                changed: false,
            },
        );
    }

    /// What is to be stored.
    pub fn into_writes(self) -> WriteSet {
        let written = self.documents.into_values();
        let mut records: Vec<_> = written
            .filter_map(|slot| Some((slot.written?, slot.stored)))
            .collect();
        records.sort_unstable_by_key(|(record, _)| record.seq);
        let clients = self
            .clients
            .into_iter()
            .filter(|(_, client)| client.changed);
        WriteSet {
            head: self.head,
            clock: self.clock,
            records,
            clients: clients.map(|(id, client)| (id, client.record)).collect(),
        }
    }

    pub(super) fn current(&self, change: &Change) -> Option<Current> {
        self.documents
            .get(&DocumentKey::of(change))
            .and_then(|slot| slot.current)
    }

    pub(super) fn write(&mut self, change: &Change) -> Seq {
        self.head = self.head.next();
        let slot = self.documents.entry(DocumentKey::of(change)).or_default();
        let state = match &change.kind {
            ChangeKind::Put(body) => RecordState::Live(body.clone()),
            ChangeKind::Delete => RecordState::Deleted,
            ChangeKind::Erase => RecordState::Erased,
        };
        let live = matches!(state, RecordState::Live(_));
        slot.current = Some(Current {
            rev: change.rev,
            seq: self.head,
            live,
        });
        slot.written = Some(Record {
            collection: change.collection.clone(),
            id: change.id.clone(),
            rev: change.rev,
            seq: self.head,
            state,
        });
        self.head
    }
}
