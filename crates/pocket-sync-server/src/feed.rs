//! The tail of a feed: the newest records, encoded once for all their readers.

use std::collections::{BTreeMap, HashMap};

use pocket_core::mutants::active;
use pocket_core::{Body, CollectionName, Seq};
use pocket_sync_protocol::EncodedRecord;

use crate::decide::{Current, DocumentKey};
use crate::engine::{ReadRequest, Removed};
use crate::rules::{Authority, Marks, View};

/// What an entry costs beside its record, roughly.
const ENTRY_BYTES: usize = 256;

/// Entries of a tail looked at by one read, when some of them may be left out.
const LOOKED_AT: usize = 8_192;

/// The newest records of a namespace. Complete for every reader that stands at its floor or behind it.
///
/// A record that is superseded leaves at once, so a stretch of the tail is always a snapshot.
#[derive(Debug)]
pub(crate) struct Tail {
    floor: Seq,
    limit: usize,
    bytes: usize,
    entries: BTreeMap<Seq, TailEntry>,
    documents: HashMap<DocumentKey, Seq>,
}

#[derive(Debug)]
struct TailEntry {
    key: DocumentKey,
    current: Current,
    marks: Marks,
    record: EncodedRecord,
}

/// Part of a feed, as one reader may see it.
#[derive(Debug)]
pub(crate) struct Stretch {
    pub(crate) end: Seq,
    pub(crate) records: Vec<EncodedRecord>,
    pub(crate) removals: Vec<Removed>,
}

impl Stretch {
    /// Nothing yet, behind a place.
    pub(crate) fn behind(after: Seq) -> Self {
        Self {
            end: after,
            records: Vec::new(),
            removals: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.records.len() + self.removals.len()
    }
}

/// Looks at records for one reader. It asks the rules of the application, so no lock may be held meanwhile.
pub(crate) struct Viewer<'a> {
    authority: &'a Authority,
    told: Seq,
    /// Whether the reader may read a collection at all: asked once, for it is the same for all of its records.
    collections: HashMap<CollectionName, bool>,
}

impl<'a> Viewer<'a> {
    /// For one who was told of all removals up to `told`.
    pub(crate) fn new(authority: &'a Authority, told: Seq) -> Self {
        Self {
            authority,
            told,
            collections: HashMap::new(),
        }
    }

    /// What the reader gets of a record.
    pub(crate) fn view(&mut self, record: &EncodedRecord, marks: &Marks) -> View {
        if self.authority.sees_everything() {
            return View::Shown;
        }
        let known = self.collections.get(&record.collection).copied();
        let may_read = known.unwrap_or_else(|| {
            let may_read = self.authority.may_read(&record.collection);
            self.collections.insert(record.collection.clone(), may_read);
            may_read
        });
        let document = || {
            let record = record.decode().ok()?;
            let body = record.state.body().cloned()?;
            Some((record.id, body))
        };
        let (collection, writer) = (&record.collection, record.client);
        self.authority
            .view((collection, may_read), writer, marks, self.told, document)
    }
}

/// Part of a tail, taken out to be looked at for one reader.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The place it covers.
    pub(crate) end: Seq,
    entries: Vec<(DocumentKey, Marks, EncodedRecord)>,
}

impl Taken {
    /// What the reader may see of it, as much as he asked for.
    pub(crate) fn sift(self, request: &ReadRequest) -> Stretch {
        let mut viewer = Viewer::new(&request.authority, request.told);
        let mut stretch = Stretch::behind(request.after);
        let mut bytes = 0;
        for (key, marks, record) in self.entries {
            let view = match viewer.view(&record, &marks) {
                View::Hidden if active("pocket-mutant:label-filter-forgotten") => View::Shown,
                view => view,
            };
            let seq = record.seq;
            bytes += match view {
                View::Hidden => {
                    stretch.end = seq;
                    continue;
                }
                View::Removed { .. } => request.removal_cost(&key),
                View::Shown => request.cost(&record),
            };
            if request.is_full(&stretch, bytes) {
                return stretch;
            }
            if let View::Removed { own } = view {
                stretch.removals.push(Removed { key, seq, own });
            } else {
                stretch.records.push(record);
            }
            stretch.end = seq;
        }
        stretch.end = self.end;
        stretch
    }
}

impl Tail {
    /// An empty tail behind `floor` that holds about `limit` bytes.
    pub(crate) fn new(floor: Seq, limit: usize) -> Self {
        Self {
            floor,
            limit,
            bytes: 0,
            entries: BTreeMap::new(),
            documents: HashMap::new(),
        }
    }

    /// Adds a record behind all others and forgets the oldest when there are too many.
    pub(crate) fn push(
        &mut self,
        key: DocumentKey,
        current: Current,
        marks: Marks,
        record: EncodedRecord,
    ) {
        if let Some(older) = self.documents.insert(key.clone(), current.seq) {
            self.remove(older);
        }
        self.bytes += ENTRY_BYTES + record.bytes.len();
        self.entries.insert(
            current.seq,
            TailEntry {
                key,
                current,
                marks,
                record,
            },
        );
        while self.bytes > self.limit
            && let Some((seq, _)) = self.entries.first_key_value()
        {
            let seq = *seq;
            if let Some(entry) = self.remove(seq) {
                self.documents.remove(&entry.key);
            }
            self.floor = seq;
        }
    }

    /// Forgets a deletion, as the store did.
    pub(crate) fn forget(&mut self, key: &DocumentKey, seq: Seq) {
        if self.documents.get(key) == Some(&seq) {
            self.documents.remove(key);
            self.remove(seq);
        }
    }

    /// The version of a document that stands and who may read it, if it is one of the newest.
    pub(crate) fn current(&self, key: &DocumentKey) -> Option<(Current, Marks)> {
        let entry = self.entries.get(self.documents.get(key)?)?;
        Some((entry.current, entry.marks.clone()))
    }

    /// The record of a document and its marks, if it is one of the newest.
    pub(crate) fn record(&self, key: &DocumentKey) -> Option<(EncodedRecord, Marks)> {
        let entry = self.entries.get(self.documents.get(key)?)?;
        Some((entry.record.clone(), entry.marks.clone()))
    }

    /// What a document holds, if it is one of the newest and live.
    pub(crate) fn body(&self, key: &DocumentKey) -> Option<Body> {
        let (record, _) = self.record(key)?;
        // Its bytes are our own, so they are a record.
        record.decode().ok()?.state.body().cloned()
    }

    /// What `request` may ask for up to `last`, or none if the tail does not reach back so far.
    pub(crate) fn take(&self, request: &ReadRequest, last: Seq) -> Option<Taken> {
        if request.after < self.floor {
            return None;
        }
        let mut taken = Taken {
            end: request.after.max(last),
            entries: Vec::new(),
        };
        if request.after >= last {
            return Some(taken);
        }
        let all = request.authority.sees_everything();
        let most = if all { request.records } else { LOOKED_AT };
        let mut bytes = 0;
        let mut end = request.after;
        for (seq, entry) in self.entries.range(request.after.next()..=last) {
            let left_out = !entry.current.live && request.leaves_out_deletion_at(*seq);
            if !left_out && request.wants(&entry.key.collection) {
                bytes += request.cost(&entry.record);
                let is_over = all && bytes > request.bytes && !taken.entries.is_empty();
                if taken.entries.len() >= most || is_over {
                    taken.end = end;
                    break;
                }
                let (marks, record) = (entry.marks.clone(), entry.record.clone());
                taken.entries.push((entry.key.clone(), marks, record));
            }
            end = *seq;
        }
        Some(taken)
    }

    fn remove(&mut self, seq: Seq) -> Option<TailEntry> {
        let entry = self.entries.remove(&seq)?;
        self.bytes -= ENTRY_BYTES + entry.record.bytes.len();
        Some(entry)
    }
}

impl ReadRequest {
    /// Whether records of this collection are read.
    pub(crate) fn wants(&self, collection: &CollectionName) -> bool {
        self.collections.is_empty() || self.collections.contains(collection)
    }

    /// Whether a stretch has no room for one more, with which it would have so many bytes.
    fn is_full(&self, stretch: &Stretch, bytes: usize) -> bool {
        stretch.len() >= self.records || (bytes > self.bytes && !stretch.is_empty())
    }

    /// Whether a deletion at this place does not concern the reader.
    pub(crate) fn leaves_out_deletion_at(&self, seq: Seq) -> bool {
        self.live_until.is_some_and(|until| seq <= until)
    }

    /// What a record costs in a message, at the most.
    #[expect(
        clippy::unused_self,
        reason = "the one place that knows what the byte bound counts"
    )]
    pub(crate) fn cost(&self, record: &EncodedRecord) -> usize {
        // Table entries and heads; what `PageBuilder` counts, rounded up.
        record.bytes.len() + 12 + 2 + record.collection.as_str().len() + 18
    }

    /// What a removal costs in a message, at the most.
    #[expect(
        clippy::unused_self,
        reason = "the one place that knows what the byte bound counts"
    )]
    pub(crate) fn removal_cost(&self, key: &DocumentKey) -> usize {
        key.id.as_str().len() + 3 + 1 + 3 + 9 + 1 + 2 + key.collection.as_str().len()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pocket_core::{ClientId, CollectionName, DocumentId, Hlc, Revision};

    use super::*;

    fn add(tail: &mut Tail, seq: u64, id: &str, bytes: usize) {
        let key = DocumentKey {
            collection: CollectionName::new("c").unwrap(),
            id: DocumentId::new(id).unwrap(),
        };
        let client = ClientId::from_bytes([1; 16]);
        let current = Current {
            rev: Revision::new(Hlc::from_bits(seq), client),
            seq: Seq::new(seq),
            live: true,
            bytes: 0,
        };
        let record = EncodedRecord {
            collection: key.collection.clone(),
            client,
            seq: Seq::new(seq),
            bytes: Bytes::from(vec![0; bytes]),
        };
        tail.push(key, current, Marks::default(), record);
    }

    fn read(
        tail: &Tail,
        after: u64,
        records: usize,
        bytes: usize,
        last: u64,
    ) -> Option<(u64, Vec<u64>)> {
        let request = ReadRequest {
            after: Seq::new(after),
            until: None,
            live_until: None,
            told: Seq::new(after),
            collections: std::sync::Arc::default(),
            records,
            bytes,
            authority: crate::rules::Authority::open(),
            digests: false,
        };
        let stretch = tail.take(&request, Seq::new(last))?.sift(&request);
        Some((
            stretch.end.get(),
            stretch
                .records
                .iter()
                .map(|record| record.seq.get())
                .collect(),
        ))
    }

    #[test]
    fn superseded_records_are_skipped_and_the_end_covers_them() {
        let mut tail = Tail::new(Seq::ZERO, 1_000_000);
        add(&mut tail, 1, "a", 10);
        add(&mut tail, 2, "b", 10);
        add(&mut tail, 4, "a", 10);
        assert_eq!(read(&tail, 0, 100, 10_000, 5), Some((5, vec![2, 4])));
        assert_eq!(read(&tail, 4, 100, 10_000, 5), Some((5, vec![])));
        assert_eq!(read(&tail, 0, 1, 10_000, 5), Some((2, vec![2])));
        assert_eq!(read(&tail, 9, 1, 10_000, 5), Some((9, vec![])));
    }

    #[test]
    fn a_stretch_ends_before_its_bytes_run_over_but_holds_one_record() {
        let mut tail = Tail::new(Seq::ZERO, 1_000_000);
        (1..=3).for_each(|seq| add(&mut tail, seq, &format!("d{seq}"), 1_000));
        assert_eq!(read(&tail, 0, 100, 2_500, 3), Some((2, vec![1, 2])));
        assert_eq!(read(&tail, 0, 100, 10, 3), Some((1, vec![1])));
    }

    #[test]
    fn a_reader_that_stands_before_the_floor_is_sent_to_the_store() {
        let mut tail = Tail::new(Seq::ZERO, 3 * (ENTRY_BYTES + 1_000));
        (1..=10).for_each(|seq| add(&mut tail, seq, &format!("d{seq}"), 1_000));
        assert_eq!(read(&tail, 6, 100, 1_000_000, 10), None);
        assert_eq!(
            read(&tail, 7, 100, 1_000_000, 10),
            Some((10, vec![8, 9, 10]))
        );
        assert_eq!(tail.documents.len(), 3);
    }

    #[test]
    fn a_document_written_over_and_over_costs_one_entry() {
        let mut tail = Tail::new(Seq::ZERO, 1_000_000);
        (1..=10_000).for_each(|seq| add(&mut tail, seq, "same", 100));
        assert_eq!(tail.entries.len(), 1);
        assert_eq!(tail.bytes, ENTRY_BYTES + 100);
        assert_eq!(
            read(&tail, 0, 100, 1_000_000, 10_000),
            Some((10_000, vec![10_000]))
        );
    }
}
