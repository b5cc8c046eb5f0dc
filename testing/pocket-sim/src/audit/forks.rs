//! What a server that was restored from an older copy has lost.

use std::collections::{BTreeMap, BTreeSet};

use pocket_core::{Epoch, Revision};

use super::{Audit, DocKey, Version, WriteId};

/// What the book knew of the server when a copy of its store was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    outcomes: u64,
}

/// Every time that a server came back with an older state.
#[derive(Debug, Default)]
pub(crate) struct Forks {
    /// How often that was.
    pub(crate) count: u64,
    /// For each time, the last place of each namespace that is left.
    partings: Vec<BTreeMap<usize, u64>>,
    /// After how many of them each opening of a log was.
    epochs: BTreeMap<Epoch, u64>,
    /// The versions that were lost, oldest first.
    versions: BTreeMap<DocKey, Vec<Version>>,
    /// Documents of changes that a server was sent before it was restored, and nobody was told of.
    pub(crate) unsure: BTreeSet<DocKey>,
    /// The writes they were made of.
    pub(crate) ids: BTreeSet<WriteId>,
}

impl Forks {
    /// Whether a place told in an opening was lost since.
    pub(crate) fn is_lost(&self, namespace: usize, epoch: Epoch, seq: u64) -> bool {
        let Some(then) = self.epochs.get(&epoch) else {
            return false;
        };
        let since = self
            .partings
            .iter()
            .skip(usize::try_from(*then).unwrap_or(0));
        since
            .filter_map(|parting| parting.get(&namespace))
            .any(|last| seq > *last)
    }

    /// Whether an opening came before the last time.
    pub(crate) fn is_old(&self, epoch: Epoch) -> bool {
        self.epochs
            .get(&epoch)
            .is_some_and(|then| *then < self.count)
    }

    /// A log was opened.
    pub(crate) fn opened(&mut self, epoch: Epoch) {
        self.epochs.entry(epoch).or_insert(self.count);
    }

    /// Whether a live version was lost.
    pub(crate) fn has_live(&self, key: &DocKey) -> bool {
        let mut lost = self.versions.get(key).into_iter().flatten();
        lost.any(|version| version.live)
    }

    /// The writes that lost versions of a document were made of.
    pub(crate) fn ids_of(&self, key: &DocKey) -> impl Iterator<Item = WriteId> {
        let lost = self.versions.get(key).into_iter().flatten();
        lost.flat_map(|version| version.ids.iter().copied())
    }

    /// Whether a deletion of a document was lost.
    pub(crate) fn has_deleted(&self, key: &DocKey) -> bool {
        let mut lost = self.versions.get(key).into_iter().flatten();
        lost.any(|version| !version.live)
    }

    /// Whether an erase of a document was lost.
    pub(crate) fn erased(&self, key: &DocKey) -> bool {
        let mut lost = self.versions.get(key).into_iter().flatten();
        lost.any(|version| version.erased)
    }

    /// Whether all that was lost of a document, if anything, came behind a place.
    pub(crate) fn lost_behind(&self, key: &DocKey, seq: u64) -> bool {
        let parting = |parting: &BTreeMap<usize, u64>| parting.get(&key.namespace).copied();
        let earliest = self.partings.iter().filter_map(parting).min();
        self.versions.contains_key(key) && earliest.is_some_and(|last| seq <= last)
    }

    /// The deletions that were lost and that this one brings back: it has their time.
    pub(crate) fn deletions_at(
        &self,
        key: &DocKey,
        rev: Revision,
    ) -> impl Iterator<Item = Revision> {
        let lost = self.versions.get(key).into_iter().flatten();
        lost.filter(move |version| !version.live && version.rev.hlc.time() == rev.hlc.time())
            .map(|version| version.rev)
    }

    /// Deletions that were lost.
    pub(crate) fn deletions(&self) -> impl Iterator<Item = (&DocKey, &Version)> {
        let versions = self.versions.iter();
        let versions = versions.flat_map(|(key, lost)| lost.iter().map(move |one| (key, one)));
        versions.filter(|(_, version)| !version.live)
    }

    /// Whether a version was lost, or is one that a device brings back: that has its time.
    pub(crate) fn has(&self, key: &DocKey, rev: Revision) -> bool {
        let mut lost = self.versions.get(key).into_iter().flatten();
        lost.any(|version| version.rev.hlc.time() == rev.hlc.time())
    }

    /// Whether a lost version of a document came behind the one that first held what `holds` looks for.
    pub(crate) fn superseded(&self, key: &DocKey, holds: impl Fn(&Version) -> bool) -> bool {
        let Some(lost) = self.versions.get(key) else {
            return false;
        };
        let first = lost.iter().position(holds);
        first.is_some_and(|first| first + 1 < lost.len())
    }
}

impl Audit {
    /// A copy of the server's store is made.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            outcomes: self.outcomes,
        }
    }

    /// The server is restored: of each namespace, only places up to these are left. Returns the writes it has lost.
    pub(crate) fn fork(&mut self, mark: Mark, left: &BTreeMap<usize, u64>) -> BTreeSet<WriteId> {
        self.forks.count += 1;
        self.forks.partings.push(left.clone());
        let mut gone = BTreeSet::new();
        let keys: Vec<DocKey> = self.history.keys().cloned().collect();
        for key in keys {
            let last = left.get(&key.namespace).copied().unwrap_or(0);
            let Some(versions) = self.history.get_mut(&key) else {
                continue;
            };
            let lost = versions.split_off(&(last + 1));
            for version in lost.values() {
                gone.extend(self.writes_in(&key, version.live, &version.ids, version.rev));
            }
            let lost = lost.into_values();
            self.forks.versions.entry(key).or_default().extend(lost);
        }
        self.history.retain(|_, versions| !versions.is_empty());
        self.places
            .retain(|(namespace, seq), _| *seq <= left.get(namespace).copied().unwrap_or(0));
        // What nobody was told of may be in the copy, or not.
        let open = self
            .pushed
            .values()
            .filter(|pushed| pushed.outcome.is_none());
        let documents = open.flat_map(|pushed| pushed.documents.iter().cloned());
        self.forks.unsure.extend(documents);
        // What was decided since is open again, under the same numbers or others.
        self.pushed
            .retain(|_, pushed| pushed.outcome.is_some() && pushed.decided <= mark.outcomes);
        for horizon in &mut self.horizons {
            *horizon.1 = (*horizon.1).min(left.get(horizon.0).copied().unwrap_or(0));
        }
        self.forks.ids.extend(&gone);
        if self.forks.count > 1 {
            // What was being brought back may be lost again, where nobody looks for it any more.
            let lost = self.forks.ids.clone();
            self.give_up(|id, _| lost.contains(&id));
        }
        gone
    }
}
