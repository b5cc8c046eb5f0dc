//! The auditor's book, kept outside the system: what was acknowledged to whom, what the server was sent and answered,
//! and which version stood at which place.
//!
//! Every write of the workload has an id, and every live body carries the ids of the writes it was made of as field
//! names (`u17`). So any version, wherever it turns up, tells what it holds.

use std::collections::{BTreeMap, BTreeSet};

use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, MutationContent,
    MutationNumber, Outcome, Record, RecordState, Revision,
};
use pocket_storage::Durability;
use pocket_sync_server::decide::{PushAnswer, PushRequest};

use crate::counts::{Counts, Kind};

pub(crate) type WriteId = u64;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) promise: &'static str,
    pub(crate) what: String,
}

pub(crate) type Verdict<T = ()> = Result<T, Violation>;

pub(crate) fn broken<T>(promise: &'static str, what: impl Into<String>) -> Verdict<T> {
    Err(Violation {
        promise,
        what: what.into(),
    })
}

/// A document of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DocKey {
    pub(crate) namespace: usize,
    pub(crate) collection: CollectionName,
    pub(crate) id: DocumentId,
}

impl std::fmt::Display for DocKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "n{}/{}/{}", self.namespace, self.collection, self.id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteKind {
    Insert,
    Update,
    Upsert,
    Delete,
    Erase,
}

impl WriteKind {
    pub(crate) fn puts(self) -> bool {
        matches!(self, Self::Insert | Self::Update | Self::Upsert)
    }
}

/// What a write found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// No document, or the tombstone of this delete.
    NotLive(Option<WriteId>),
    /// A document made of these writes.
    Live(Vec<WriteId>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Planned,
    /// Its call returned well.
    Acknowledged,
    /// Its call failed in a way that leaves open whether it took effect, or its process died.
    Unknown,
    /// Its call was refused.
    Refused,
    /// It was acknowledged at a durability that the crash did not honour, as it may.
    GivenUp,
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) client: usize,
    pub(crate) document: DocKey,
    pub(crate) kind: WriteKind,
    pub(crate) before: Before,
    pub(crate) state: State,
    pub(crate) durability: Durability,
    /// The local commit it was part of, at the latest.
    pub(crate) sequence: u64,
    /// The other half of a transfer.
    pub(crate) mate: Option<WriteId>,
}

/// A version the server gave a place to.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) rev: Revision,
    pub(crate) live: bool,
    pub(crate) erased: bool,
    pub(crate) ids: Vec<WriteId>,
    /// Who pushed it as what; none while it was only seen in a feed.
    pub(crate) by: Option<(ClientId, MutationNumber, Option<Revision>)>,
}

#[derive(Debug)]
struct Pushed {
    /// Of its content; none while only its number was seen.
    hash: Option<u64>,
    outcome: Option<Outcome>,
    documents: Vec<DocKey>,
}

#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) writes: BTreeMap<WriteId, Write>,
    last_write: WriteId,
    pub(crate) documents: BTreeSet<DocKey>,
    /// The newest acknowledged write of a client on a document.
    pub(crate) newest: BTreeMap<(usize, DocKey), WriteId>,
    /// Documents of a client of which it is open what the newest write is.
    pub(crate) open: BTreeSet<(usize, DocKey)>,
    pub(crate) history: BTreeMap<DocKey, BTreeMap<u64, Version>>,
    places: BTreeMap<(usize, u64), DocKey>,
    pushed: BTreeMap<(usize, ClientId, MutationNumber), Pushed>,
    /// Writes that a server was ever sent.
    pub(crate) sent: BTreeSet<WriteId>,
    pub(crate) clients: BTreeMap<ClientId, usize>,
    tombstones: BTreeMap<(DocKey, Revision), WriteId>,
}

/// The writes a body was made of.
pub(crate) fn ids_of(body: &Body) -> Vec<WriteId> {
    let map = body.to_map().unwrap_or_default();
    let ids = map
        .keys()
        .filter_map(|name| name.strip_prefix('u')?.parse().ok());
    ids.collect()
}

impl Audit {
    pub(crate) fn plan(&mut self, write: Write) -> WriteId {
        self.last_write += 1;
        self.documents.insert(write.document.clone());
        self.writes.insert(self.last_write, write);
        self.last_write
    }

    /// The next id that [`plan`](Self::plan) will give.
    pub(crate) fn next_id(&self) -> WriteId {
        self.last_write + 1
    }

    pub(crate) fn end_write(&mut self, id: WriteId, state: State, sequence: u64) {
        let Some(write) = self.writes.get_mut(&id) else {
            return;
        };
        write.state = state;
        write.sequence = sequence;
        let key = (write.client, write.document.clone());
        match state {
            State::Acknowledged => {
                self.open.remove(&key);
                self.newest.insert(key, id);
            }
            State::Unknown => {
                self.open.insert(key);
            }
            _ => {}
        }
    }

    /// A crash took back the newest local commits: those up to `sequence` are there.
    ///
    /// Returns what was promised to survive this and did not.
    pub(crate) fn after_crash(&mut self, client: usize, sequence: u64, power: bool) -> Verdict {
        let needed = if power {
            Durability::PowerLoss
        } else {
            Durability::ProcessCrash
        };
        let mut reached = BTreeSet::new();
        for (id, write) in &mut self.writes {
            let acknowledged = write.client == client && write.state == State::Acknowledged;
            if !acknowledged || write.sequence <= sequence {
                continue;
            }
            if write.durability >= needed {
                return broken(
                    "P1",
                    format!(
                        "client {client} acknowledged write {id} on {} in commit {}, but the store came back at {sequence}",
                        write.document, write.sequence
                    ),
                );
            }
            write.state = State::GivenUp;
            reached.insert((client, write.document.clone()));
        }
        self.open.extend(reached);
        Ok(())
    }

    pub(crate) fn name_tombstone(&mut self, document: DocKey, rev: Revision, id: WriteId) {
        self.tombstones.entry((document, rev)).or_insert(id);
    }

    /// The delete that made a tombstone. One that was stamped anew counts as its author's newest delete there.
    pub(crate) fn tombstone(&self, document: &DocKey, rev: Revision) -> Option<WriteId> {
        if let Some(id) = self.tombstones.get(&(document.clone(), rev)) {
            return Some(*id);
        }
        let client = self.clients.get(&rev.client)?;
        let mut deletes = self.writes.iter().rev().filter(|(_, write)| {
            write.client == *client && write.document == *document && !write.kind.puts()
        });
        deletes.next().map(|(id, _)| *id)
    }

    /// The writes that a version stands for: those it is made of, or the delete.
    pub(crate) fn writes_in(
        &self,
        document: &DocKey,
        live: bool,
        ids: &[WriteId],
        rev: Revision,
    ) -> Vec<WriteId> {
        if live {
            return ids.to_vec();
        }
        self.tombstone(document, rev).into_iter().collect()
    }

    /// A push reached the engine: its content must be the one its numbers always had.
    pub(crate) fn received(
        &mut self,
        namespace: usize,
        push: &PushRequest,
        counts: &mut Counts,
    ) -> Verdict {
        for (place, mutation) in (0_u64..).zip(&push.mutations) {
            let number = push.first.plus(place);
            let (hash, changes) = match mutation {
                // What ended the connections too often is withdrawn: only its number travels.
                Ok(mutation) if matches!(mutation.content, MutationContent::Withdrawn) => {
                    counts.add(Kind::Withdrawn);
                    (None, Vec::new())
                }
                Ok(mutation) => (
                    Some(hash_changes(mutation.changes())),
                    mutation.changes().to_vec(),
                ),
                Err(bad) => (
                    Some(u64::from(crc32fast::hash(bad.code.as_bytes()))),
                    Vec::new(),
                ),
            };
            let mut documents = Vec::new();
            for change in &changes {
                let key = doc_key(namespace, &change.collection, &change.id);
                let ids = change.kind.body().map(ids_of).unwrap_or_default();
                let live = change.kind.body().is_some();
                self.sent
                    .extend(self.writes_in(&key, live, &ids, change.rev));
                self.documents.insert(key.clone());
                documents.push(key);
            }
            let fresh = Pushed {
                hash,
                outcome: None,
                documents,
            };
            let known = self
                .pushed
                .entry((namespace, push.client, number))
                .or_insert(fresh);
            known.hash = known.hash.or(hash);
            if hash.is_some() && known.hash != hash {
                return broken(
                    "P2",
                    format!(
                        "client {:?} sent another content under number {number}: {changes:?}",
                        self.clients.get(&push.client)
                    ),
                );
            }
        }
        Ok(())
    }

    /// The engine answered: an outcome never changes, and a place belongs to one change.
    pub(crate) fn decided(
        &mut self,
        namespace: usize,
        push: &PushRequest,
        answer: &PushAnswer,
        counts: &mut Counts,
    ) -> Verdict {
        for ((place, outcome), mutation) in (0_u64..).zip(&answer.outcomes).zip(&push.mutations) {
            let number = answer.first.plus(place);
            let Some(known) = self.pushed.get_mut(&(namespace, push.client, number)) else {
                return broken("P2", format!("an outcome for number {number}, never sent"));
            };
            match &known.outcome {
                Some(before) if before != outcome => {
                    return broken(
                        "P2",
                        format!("number {number} became {outcome:?} after it was {before:?}"),
                    );
                }
                Some(_) => counts.add(Kind::PushRepeated),
                None => {
                    known.outcome = Some(outcome.clone());
                    count_outcome(outcome, counts);
                    if let (Outcome::Applied { first }, Ok(mutation)) = (outcome, mutation) {
                        for (offset, change) in (0_u64..).zip(mutation.changes()) {
                            let seq = first.get() + offset;
                            self.applied(namespace, seq, change, push.client, number)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn applied(
        &mut self,
        namespace: usize,
        seq: u64,
        change: &Change,
        client: ClientId,
        number: MutationNumber,
    ) -> Verdict {
        let key = doc_key(namespace, &change.collection, &change.id);
        let version = Version {
            rev: change.rev,
            live: change.kind.body().is_some(),
            erased: matches!(change.kind, ChangeKind::Erase),
            ids: change.kind.body().map(ids_of).unwrap_or_default(),
            by: Some((client, number, change.base)),
        };
        self.stands_at(key, seq, version)
    }

    /// A feed showed a record.
    pub(crate) fn served(&mut self, namespace: usize, record: &Record) -> Verdict {
        let key = doc_key(namespace, &record.collection, &record.id);
        let version = Version {
            rev: record.rev,
            live: record.state.body().is_some(),
            erased: matches!(record.state, RecordState::Erased),
            ids: record.state.body().map(ids_of).unwrap_or_default(),
            by: None,
        };
        self.stands_at(key, record.seq.get(), version)
    }

    fn stands_at(&mut self, key: DocKey, seq: u64, version: Version) -> Verdict {
        let place = (key.namespace, seq);
        let owner = self.places.entry(place).or_insert_with(|| key.clone());
        if *owner != key {
            return broken(
                "P2",
                format!("place {seq} is taken by {owner} and by {key}"),
            );
        }
        self.documents.insert(key.clone());
        let versions = self.history.entry(key.clone()).or_default();
        match versions.get_mut(&seq) {
            None => {
                versions.insert(seq, version);
            }
            Some(known) => {
                if known.rev != version.rev
                    || known.live != version.live
                    || known.ids != version.ids
                {
                    return broken(
                        "P3",
                        format!("{key} at place {seq} was {known:?}, and now is {version:?}"),
                    );
                }
                match (&known.by, &version.by) {
                    (Some(one), Some(other)) if one != other => {
                        return broken("P2", format!("{key} at place {seq} was written twice"));
                    }
                    (None, Some(_)) => known.by = version.by,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The newest place of a namespace that is known.
    pub(crate) fn head(&self, namespace: usize) -> u64 {
        let range = (namespace, 0)..=(namespace, u64::MAX);
        self.places
            .range(range)
            .next_back()
            .map_or(0, |((_, seq), _)| *seq)
    }

    /// Whether it is known what stands at each place behind `from` up to `to`.
    pub(crate) fn knows(&self, namespace: usize, from: u64, to: u64) -> bool {
        let range = (namespace, from + 1)..=(namespace, to.max(from));
        to <= from || self.places.range(range).count() as u64 == to - from
    }

    /// Every place up to the head is explained by one change of one mutation.
    pub(crate) fn check_places(&self, namespace: usize) -> Verdict {
        for seq in 1..=self.head(namespace) {
            let Some(key) = self.places.get(&(namespace, seq)) else {
                return broken(
                    "P2",
                    format!("nobody was told that he wrote place {seq} of namespace {namespace}"),
                );
            };
            let version = &self.history[key][&seq];
            if version.by.is_none() {
                return broken(
                    "P2",
                    format!(
                        "{key} at place {seq} is {version:?}, and nobody was told that he wrote it"
                    ),
                );
            }
        }
        Ok(())
    }

    /// Whether the server may have taken a change of a document that nobody was told of yet.
    pub(crate) fn may_have_moved(&self, key: &DocKey) -> bool {
        let open = |pushed: &&Pushed| pushed.outcome.is_none();
        self.pushed
            .values()
            .filter(open)
            .any(|pushed| pushed.documents.contains(key))
    }

    /// The version of a document that stands.
    pub(crate) fn current(&self, key: &DocKey) -> Option<(u64, &Version)> {
        let (seq, version) = self.history.get(key)?.last_key_value()?;
        Some((*seq, version))
    }

    /// The place of a version of the server.
    pub(crate) fn place_of(&self, key: &DocKey, rev: Revision) -> Option<u64> {
        let versions = self.history.get(key)?;
        let mut found = versions.iter().filter(|(_, version)| version.rev == rev);
        found.next_back().map(|(seq, _)| *seq)
    }

    /// What a write replaced, and what that replaced, back to where there was no document; with itself.
    pub(crate) fn made_of(&self, id: WriteId) -> BTreeSet<WriteId> {
        let mut closed = BTreeSet::new();
        let mut next = vec![id];
        while let Some(id) = next.pop() {
            let before = self.writes.get(&id).map(|write| &write.before);
            if let (true, Some(Before::Live(ids))) = (closed.insert(id), before) {
                next.extend(ids);
            }
        }
        closed
    }

    /// What these writes replaced, and what that replaced, and so on; with themselves.
    pub(crate) fn closure(&self, roots: impl IntoIterator<Item = WriteId>) -> BTreeSet<WriteId> {
        let mut closed = BTreeSet::new();
        let mut next: Vec<WriteId> = roots.into_iter().collect();
        while let Some(id) = next.pop() {
            if !closed.insert(id) {
                continue;
            }
            // An update keeps what it was made on in its body; losing that would be a loss.
            match self.writes.get(&id) {
                Some(Write {
                    kind,
                    before: Before::Live(ids),
                    ..
                }) if *kind != WriteKind::Update => next.extend(ids),
                Some(Write {
                    before: Before::NotLive(delete),
                    ..
                }) => next.extend(delete),
                _ => {}
            }
        }
        closed
    }
}

pub(crate) fn doc_key(namespace: usize, collection: &CollectionName, id: &DocumentId) -> DocKey {
    DocKey {
        namespace,
        collection: collection.clone(),
        id: id.clone(),
    }
}

fn count_outcome(outcome: &Outcome, counts: &mut Counts) {
    counts.add(match outcome {
        Outcome::Applied { .. } => Kind::Applied,
        Outcome::Conflict { .. } => Kind::Conflict,
        Outcome::Rejected { code, .. } if code == "clock" => Kind::RejectedClock,
        Outcome::Rejected { .. } => Kind::RejectedOther,
    });
}

fn hash_changes(changes: &[Change]) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    for change in changes {
        hash.update(change.collection.as_str().as_bytes());
        hash.update(change.id.as_str().as_bytes());
        hash.update(&change.rev.hlc.bits().to_le_bytes());
        if let Some(base) = change.base {
            hash.update(&base.hlc.bits().to_le_bytes());
            hash.update(base.client.as_bytes());
        }
        match &change.kind {
            ChangeKind::Put(body) => hash.update(body.as_bytes()),
            ChangeKind::Delete => hash.update(b"delete"),
            ChangeKind::Erase => hash.update(b"erase"),
        }
    }
    u64::from(hash.finalize())
}
