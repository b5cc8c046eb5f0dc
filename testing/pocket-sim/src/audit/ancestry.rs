//! What writes were made of.

use std::collections::BTreeSet;

use super::{Audit, Before, DocKey, State, Write, WriteId, WriteKind};

impl Audit {
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

    /// Whether a version of the server that is left was ever made of a write.
    pub(crate) fn had(&self, key: &DocKey, id: WriteId) -> bool {
        let mut versions = self.history.get(key).into_iter().flatten();
        versions.any(|(_, version)| version.ids.contains(&id))
    }

    /// What was replaced on its device before it was sent, by a write that the server took, has lost, and that nobody has any
    /// more. Its author knew it; that his write is gone for good brings back nothing.
    pub(crate) fn replaced_by_lost(&self) -> BTreeSet<WriteId> {
        let is_given_up = |id: &WriteId| self.writes[id].state == State::GivenUp;
        let lost = self.forks.ids.iter().copied().filter(is_given_up);
        let stood =
            |id: &WriteId| self.forks.ids.contains(id) || self.had(&self.writes[id].document, *id);
        let mut replaced = self.closure(lost);
        replaced.retain(|id| !stood(id));
        replaced
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
