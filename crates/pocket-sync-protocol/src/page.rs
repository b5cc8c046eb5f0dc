//! Records that many readers share, and the pages made of them.

use bytes::Bytes;
use pocket_core::storage::ordered::BTreeMap;
use pocket_core::{ClientId, CollectionName, Digest, DocumentId, Record, Revision, Seq};

use crate::limits::MAX_FRAME_CHANGES;
use crate::push::{Table, at};
use crate::{Page, ProtocolError, RecordSet, Records, Removal, codec};

/// A record, encoded once for all its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// Its collection.
    pub collection: CollectionName,
    /// Who wrote its revision.
    pub client: ClientId,
    /// Its place.
    pub seq: Seq,
    /// Everything else.
    pub bytes: Bytes,
}

impl EncodedRecord {
    /// Encodes a record.
    pub fn encode(record: &Record) -> Self {
        Self {
            collection: record.collection.clone(),
            client: record.rev.client,
            seq: record.seq,
            bytes: codec::encode_record(record),
        }
    }

    /// The record; its body is a slice of these bytes.
    ///
    /// # Errors
    /// `bad-frame` when the bytes are no record.
    pub fn decode(&self) -> Result<Record, ProtocolError> {
        Ok(codec::decode_record(&self.bytes)?.with(&self.collection, self.client))
    }
}

/// Collects records until a message is full.
#[derive(Debug)]
pub struct PageBuilder {
    limit: usize,
    bytes: usize,
    collections: Table<CollectionName>,
    clients: Table<ClientId>,
    heads: Vec<(u32, u32)>,
    data: Vec<Bytes>,
    removals: Vec<Removal>,
}

impl PageBuilder {
    /// What a page costs beside its records, at the most: names, numbers, digest, array heads.
    pub const FIXED_BYTES: usize = 512;

    /// A page in a message of at most `message_bytes`.
    pub fn new(message_bytes: usize) -> Self {
        Self {
            limit: message_bytes,
            bytes: Self::FIXED_BYTES,
            collections: Table::default(),
            clients: Table::default(),
            heads: Vec::new(),
            data: Vec::new(),
            removals: Vec::new(),
        }
    }

    /// Adds a record, unless the message is full. The first one is always taken.
    ///
    /// # Returns
    /// Whether it was added.
    #[must_use = "a record that was not added belongs into the next message"]
    pub fn push(&mut self, record: &EncodedRecord) -> bool {
        let cost = self.cost(record);
        let full = self.bytes.saturating_add(cost) > self.limit || self.len() >= MAX_FRAME_CHANGES;
        if full && !self.is_empty() {
            return false;
        }
        self.bytes = self.bytes.saturating_add(cost);
        let head = (
            self.collections.index(&record.collection),
            self.clients.index(&record.client),
        );
        self.heads.push(head);
        self.data.push(record.bytes.clone());
        true
    }

    /// Adds a document that the reader may no longer see, unless the message is full. The first entry is always taken.
    ///
    /// # Returns
    /// Whether it was added.
    #[must_use = "a removal that was not added belongs into the next message"]
    pub fn remove(&mut self, collection: &CollectionName, id: &DocumentId, seq: Seq) -> bool {
        // Heads of an array and a text, an index, a place, and a nil.
        const REMOVAL: usize = 1 + 3 + 3 + 9 + 1;
        let mut cost = REMOVAL + id.as_str().len();
        if !self.collections.contains(collection) {
            cost += 2 + collection.as_str().len();
        }
        let full = self.bytes.saturating_add(cost) > self.limit || self.len() >= MAX_FRAME_CHANGES;
        if full && !self.is_empty() {
            return false;
        }
        self.bytes = self.bytes.saturating_add(cost);
        self.removals.push(Removal {
            collection: self.collections.index(collection),
            id: id.clone(),
            seq,
        });
        true
    }

    /// How many records and removals it holds.
    pub fn len(&self) -> usize {
        self.data.len() + self.removals.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the message so far, at the most.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the reader may no longer see, for a [`Page`]; to be taken before [`finish`](Self::finish).
    pub fn take_removals(&mut self) -> Vec<Removal> {
        std::mem::take(&mut self.removals)
    }

    /// The records, for a [`Page`] or [`Records`].
    pub fn finish(self) -> RecordSet {
        RecordSet {
            collections: self.collections.into_values(),
            clients: self.clients.into_values(),
            heads: self.heads,
            data: self.data,
        }
    }

    fn cost(&self, record: &EncodedRecord) -> usize {
        // An array head and two indexes of at most three bytes, and the head of the bytes.
        const RECORD: usize = 1 + 3 + 3 + 5;
        let mut cost = RECORD + record.bytes.len();
        if !self.collections.contains(&record.collection) {
            cost += 2 + record.collection.as_str().len();
        }
        if !self.clients.contains(&record.client) {
            cost += 2 + 16;
        }
        cost
    }
}

impl RecordSet {
    /// The records, in the order they were sent. Bodies are checked, and are slices of the frame.
    ///
    /// Bodies are checked against the largest limits any server may have: the limits in force when
    /// a document was accepted are not known here.
    ///
    /// # Errors
    /// `bad-frame` when an index points nowhere or the bytes of one are no record.
    pub fn decode(&self) -> Result<Vec<Record>, ProtocolError> {
        if self.heads.len() != self.data.len() {
            return Err(ProtocolError::bad_frame(format!(
                "{} heads for {} records",
                self.heads.len(),
                self.data.len()
            )));
        }
        let mut records = Vec::with_capacity(self.data.len());
        for ((collection, client), bytes) in self.heads.iter().zip(&self.data) {
            let collection = at(&self.collections, *collection, "collection")?;
            let client = at(&self.clients, *client, "client")?;
            records.push(codec::decode_record(bytes)?.with(collection, *client));
        }
        Ok(records)
    }
}

impl Page {
    /// Its records by rising place, each behind the start and not behind the end.
    ///
    /// # Errors
    /// `bad-frame` when an index points nowhere, the bytes of one are no record, or the places are
    /// not in order.
    pub fn records(&self) -> Result<Vec<Record>, ProtocolError> {
        let records = self.set.decode()?;
        let mut last = self.start;
        for record in &records {
            if record.seq <= last || record.seq > self.end {
                return Err(ProtocolError::bad_frame(format!(
                    "record at place {} in a page from {} to {}, behind {last}",
                    record.seq, self.start, self.end
                )));
            }
            last = record.seq;
        }
        Ok(records)
    }

    /// The bytes of [`digest`](Self::digest), which say what the reader holds once the page is applied.
    pub fn encode_digests(digests: &BTreeMap<CollectionName, Digest>) -> Bytes {
        codec::encode_digests(digests)
    }

    /// The digest of the live documents of each collection that the reader may see, as of the page's end; collections
    /// that are left out have none. No digests at all where the page tells none, or of a kind that is not known here.
    ///
    /// # Errors
    /// `bad-frame` when the bytes are none of the kind they claim to be.
    pub fn digests(&self) -> Result<Option<BTreeMap<CollectionName, Digest>>, ProtocolError> {
        match &self.digest {
            Some(bytes) => codec::decode_digests(bytes),
            None => Ok(None),
        }
    }

    /// The documents the reader may no longer see, with the place at which each was removed.
    ///
    /// # Errors
    /// `bad-frame` when an index points nowhere.
    pub fn removals(&self) -> Result<Vec<(CollectionName, DocumentId, Seq)>, ProtocolError> {
        let removals = self.removals.iter().map(|removal| {
            let collection = at(&self.set.collections, removal.collection, "collection")?;
            Ok((collection.clone(), removal.id.clone(), removal.seq))
        });
        removals.collect()
    }
}

impl Records {
    /// Its records.
    ///
    /// # Errors
    /// `bad-frame` when an index points nowhere or the bytes of one are no record.
    pub fn records(&self) -> Result<Vec<Record>, ProtocolError> {
        self.set.decode()
    }
}

impl codec::RecordParts {
    fn with(self, collection: &CollectionName, client: ClientId) -> Record {
        Record {
            collection: collection.clone(),
            id: self.id,
            rev: Revision::new(self.hlc, client),
            seq: self.seq,
            state: self.state,
        }
    }
}
