//! What writes were made of.

use std::collections::BTreeSet;

use super::{Audit, Before, Write, WriteId, WriteKind};

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
