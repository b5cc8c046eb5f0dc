//! Deletions whose outcome nobody was told, and deletes that another deletion stands for.

use pocket_core::{Change, ChangeKind, Outcome, Revision};

use super::{Audit, DocKey, Pushed, Version, Write, WriteId};

impl Audit {
    /// What was sent under a number, as far as it is about a document.
    fn pushed_to<'a>(
        &'a self,
        key: &'a DocKey,
    ) -> impl Iterator<Item = (&'a Pushed, &'a Change)> + 'a {
        let pushed = self.pushed.iter();
        let pushed = pushed.filter(|((namespace, ..), _)| *namespace == key.namespace);
        let changes =
            pushed.flat_map(|(_, pushed)| pushed.changes.iter().map(move |it| (pushed, it)));
        changes.filter(|(_, change)| change.collection == key.collection && change.id == key.id)
    }

    /// The deletion of a version that was sent to the server, and of which nobody was told what became of it.
    pub(crate) fn untold_deletion(&self, key: &DocKey, version: &Version) -> Option<Revision> {
        let mut open = self.pushed_to(key).filter(|(pushed, change)| {
            let deletes = match change.kind {
                ChangeKind::Put(_) => false,
                ChangeKind::Delete => change.base == Some(version.rev),
                ChangeKind::Erase => true,
            };
            deletes && pushed.outcome.is_none()
        });
        open.next().map(|(_, change)| change.rev)
    }

    /// Such deletions that took effect, as what came next shows: it was made on nothing. Their writers took other ids.
    pub(crate) fn untold_deletions(&self) -> impl Iterator<Item = (&DocKey, Revision)> {
        self.history.iter().flat_map(move |(key, versions)| {
            let next = versions.values().skip(1);
            let pairs = versions.values().zip(next);
            let on_nothing = pairs.filter(|(before, next)| {
                before.live && next.by.is_some_and(|(_, _, base)| base.is_none())
            });
            on_nothing
                .filter_map(move |(before, _)| Some((key, self.untold_deletion(key, before)?)))
        })
    }

    /// Whether a deletion stood behind what a delete was made on. One that came before that deleted something else.
    pub(crate) fn was_deleted(&self, id: WriteId, write: &Write) -> bool {
        let Some(versions) = self.history.get(&write.document) else {
            return false;
        };
        let made_of = self.made_of(id);
        let holds = |version: &Version| version.ids.iter().any(|id| made_of.contains(id));
        let first = versions.iter().find(|(_, version)| holds(version));
        let first = first.map_or(0, |(seq, _)| *seq);
        let mut behind = versions.range(first..);
        behind.any(|(_, version)| !version.live)
    }

    /// The place of the deletion by somebody else that was in the way of a delete: both wanted the same, so nothing was left
    /// of it to do, and nothing to journal.
    pub(crate) fn deleted_by_another(&self, key: &DocKey, id: WriteId) -> Option<u64> {
        let versions = self.history.get(key)?;
        let is_this = |change: &Change| {
            matches!(change.kind, ChangeKind::Delete) && self.tombstone(key, change.rev) == Some(id)
        };
        self.pushed_to(key)
            .filter(|(_, change)| is_this(change))
            .filter_map(|(pushed, _)| match &pushed.outcome {
                Some(Outcome::Conflict { seqs }) => Some(seqs),
                _ => None,
            })
            .flatten()
            .map(|seq| seq.get())
            .filter(|seq| versions.get(seq).is_some_and(|version| !version.live))
            .min()
    }
}
