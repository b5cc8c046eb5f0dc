//! The auditor's book, kept outside the system: what was acknowledged to whom, what the server was sent and answered,
//! and which version stood at which place.
//!
//! Every write of the workload has an id, and every live body carries the ids of the writes it was made of as field
//! names (`u17`). So any version, wherever it turns up, tells what it holds.

mod ancestry;
mod deletions;
mod forks;
mod kin;
mod pushes;

use std::collections::{BTreeMap, BTreeSet};

use pocket_core::{
    Body, Change, ClientId, CollectionName, DocumentId, MutationNumber, Outcome, Revision,
};
use pocket_storage::Durability;

pub(crate) use self::forks::{Forks, Mark};
use crate::expiry::{Ends, Times};
use crate::rights::{RightsBook, Team};

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
    /// What it says of the end of the document's time.
    pub(crate) ends: Ends,
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
    /// The team that may read it; everybody if none. A deletion has that of what it deleted.
    pub(crate) team: Option<Team>,
    /// When its time is over, if it ever is.
    pub(crate) ends: Option<i64>,
    /// The shape of what it holds.
    pub(crate) shape: u32,
    /// Who pushed it as what; none while it was only seen in a feed.
    pub(crate) by: Option<(ClientId, MutationNumber, Option<Revision>)>,
}

#[derive(Debug)]
struct Pushed {
    /// Of its content; none while only its number was seen.
    hash: Option<u64>,
    outcome: Option<Outcome>,
    /// How many outcomes were known when this one was.
    decided: u64,
    documents: Vec<DocKey>,
    /// What it says, as it was sent when it was not taken back yet.
    changes: Vec<Change>,
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
    /// For each device that was copied from another one: from which.
    origins: BTreeMap<usize, usize>,
    /// Devices whose stores went back to what they were.
    restored: BTreeSet<usize>,
    /// A store was copied, or went back to an older state: two may use the same numbers.
    pub(crate) doubles: bool,
    /// Clients took other ids, so nobody may ever ask for the outcomes of the old ones.
    pub(crate) renewed: bool,
    /// The server was told to forget clients: then their numbers begin anew.
    pub(crate) clients_forgotten: bool,
    /// What restored servers have lost.
    pub(crate) forks: Forks,
    /// Outcomes that became known.
    outcomes: u64,
    /// Whether a server was ever asked to forget deletions; whether it did may never be heard.
    pub(crate) may_have_forgotten: bool,
    /// Up to where deletions were forgotten, for each namespace.
    pub(crate) horizons: BTreeMap<usize, u64>,
    /// Who may read what, where there are rules.
    pub(crate) rights: Option<RightsBook>,
    /// Where documents live for a limited time.
    pub(crate) times: Option<Times>,
    /// Whether programs raise the schema version.
    pub(crate) schemas: bool,
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

    /// A device's store went back to what it was at `sequence`, before the write `before` was planned. What came later is
    /// gone with it, unless somebody else has it. Of a store that went back before, sequences alone do not tell.
    pub(crate) fn after_restore(&mut self, client: usize, sequence: u64, before: WriteId) {
        self.restored.insert(client);
        let mut reached = BTreeSet::new();
        for (id, write) in &mut self.writes {
            let is_gone = write.sequence > sequence || *id >= before;
            if write.client == client && is_gone {
                if write.state == State::Acknowledged {
                    write.state = State::GivenUp;
                }
                reached.insert((client, write.document.clone()));
            }
        }
        self.open.extend(reached);
        // What only this device had of a history that the server lost is gone for good.
        let lost = self.forks.ids.clone();
        self.give_up(|id, _| lost.contains(&id));
    }

    /// Whether a device, or one whose store it has, ever erased a document.
    pub(crate) fn erased_by(&self, client: usize, key: &DocKey) -> bool {
        let mut writes = self.writes.values();
        writes.any(|write| {
            write.kind == WriteKind::Erase
                && self.are_kin(write.client, client)
                && write.document == *key
        })
    }

    /// Nothing is promised about these writes any more.
    pub(crate) fn give_up(&mut self, which: impl Fn(WriteId, &Write) -> bool) {
        for (id, write) in &mut self.writes {
            if write.state == State::Acknowledged && which(*id, write) {
                write.state = State::GivenUp;
                self.open.insert((write.client, write.document.clone()));
            }
        }
    }

    pub(crate) fn name_tombstone(&mut self, document: DocKey, rev: Revision, id: WriteId) {
        self.tombstones.entry((document, rev)).or_insert(id);
    }

    /// The deletes that may have made a tombstone: all of its author where it was stamped anew.
    pub(crate) fn tombstones_of(&self, document: &DocKey, rev: Revision) -> Vec<WriteId> {
        if let Some(id) = self.tombstones.get(&(document.clone(), rev)) {
            return vec![*id];
        }
        let Some(client) = self.clients.get(&rev.client) else {
            return Vec::new();
        };
        let own = |write: &Write| self.are_kin(write.client, *client);
        let deletes = self
            .writes
            .iter()
            .filter(|(_, write)| !write.kind.puts() && write.document == *document && own(write));
        deletes.map(|(id, _)| *id).collect()
    }

    /// The delete that made a tombstone. One that its device gave another id keeps its time; one that was stamped anew
    /// counts as its author's newest delete there, or that of the device whose copy he is.
    pub(crate) fn tombstone(&self, document: &DocKey, rev: Revision) -> Option<WriteId> {
        if let Some(id) = self.tombstones.get(&(document.clone(), rev)) {
            return Some(*id);
        }
        let client = *self.clients.get(&rev.client)?;
        let from = Revision::new(rev.hlc, ClientId::from_bytes([0; 16]));
        let to = Revision::new(rev.hlc, ClientId::from_bytes([0xff; 16]));
        let same_time = (document.clone(), from)..=(document.clone(), to);
        let mut own = self.tombstones.range(same_time).filter(|(_, id)| {
            let write = self.writes.get(id);
            write.is_some_and(|write| self.are_kin(write.client, client))
        });
        if let Some((_, id)) = own.next() {
            return Some(*id);
        }
        let deletes = || {
            self.writes.iter().rev().filter(|(_, write)| {
                self.are_kin(write.client, client)
                    && write.document == *document
                    && !write.kind.puts()
                    && write.state != State::Refused
            })
        };
        let own = deletes().find(|(_, write)| write.client == client);
        own.or_else(|| deletes().next()).map(|(id, _)| *id)
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
        if self.renewed {
            // Who takes another id never asks for the outcomes of the old one.
            return Ok(());
        }
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
            || self.forks.unsure.contains(key)
    }

    /// Whether the server has forgotten a deletion of a document.
    pub(crate) fn has_forgotten(&self, key: &DocKey) -> bool {
        let horizon = self.horizons.get(&key.namespace).copied().unwrap_or(0);
        let versions = self.history.get(key).into_iter().flatten();
        let mut dead = versions.filter(|(_, version)| !version.live);
        dead.any(|(seq, _)| *seq <= horizon)
    }

    /// The version of a document that stands.
    pub(crate) fn current(&self, key: &DocKey) -> Option<(u64, &Version)> {
        let (seq, version) = self.history.get(key)?.last_key_value()?;
        Some((*seq, version))
    }

    /// The writes that a version of the server is made of.
    pub(crate) fn ids_of_version(&self, key: &DocKey, rev: Revision) -> Vec<WriteId> {
        let versions = self.history.get(key).into_iter().flatten();
        let versions = versions.filter(|(_, version)| version.rev == rev);
        versions
            .flat_map(|(_, version)| version.ids.clone())
            .collect()
    }

    /// The place of a version of the server.
    pub(crate) fn place_of(&self, key: &DocKey, rev: Revision) -> Option<u64> {
        let versions = self.history.get(key)?;
        let mut found = versions.iter().filter(|(_, version)| version.rev == rev);
        found.next_back().map(|(seq, _)| *seq)
    }
}

pub(crate) fn doc_key(namespace: usize, collection: &CollectionName, id: &DocumentId) -> DocKey {
    DocKey {
        namespace,
        collection: collection.clone(),
        id: id.clone(),
    }
}
