//! How operations end, and what the book keeps of it.

use pocket_core::{Error, codes};

use super::Operation;
use crate::audit::{DocKey, State};
use crate::counts::Kind;
use crate::trace::Node;
use crate::view;
use crate::world::{Happening, World};

impl World {
    /// An operation ended.
    pub(crate) fn worked(
        &mut self,
        index: usize,
        operation: Operation,
        result: &Result<(), Error>,
    ) {
        self.note(Node::Client(index), || match result {
            Ok(()) => format!("did {}", operation.what),
            Err(error) => format!("could not: {} ({error:?})", operation.what),
        });
        if let Some(up) = self.clients[index].up_mut() {
            up.working = None;
        }
        let keys: Vec<DocKey> = operation
            .writes
            .iter()
            .map(|id| self.audit.writes[id].document.clone())
            .collect();
        let Ok(view) = view::look(self.clients[index].disk.look(), &keys) else {
            return;
        };
        let state = match result {
            Ok(()) => State::Acknowledged,
            // The only ones that leave it open.
            Err(error)
                if matches!(
                    error.code(),
                    codes::STORAGE | codes::CLOSED | codes::CORRUPT
                ) =>
            {
                State::Unknown
            }
            Err(_) => State::Refused,
        };
        if state == State::Unknown {
            self.counts.add(Kind::WriteUnknown);
        }
        for (id, key) in operation.writes.iter().zip(&keys) {
            self.audit.end_write(*id, state, view.sequence);
            let seen = view.documents.get(key).filter(|seen| !seen.live);
            if let (Some(seen), State::Acknowledged, false) =
                (seen, state, self.audit.writes[id].kind.puts())
            {
                self.audit.name_tombstone(key.clone(), seen.rev, *id);
            }
        }
        if state != State::Acknowledged && operation.switch.is_some() {
            // Tried again until it is done.
            let on = self.clients[index].late_syncs;
            let news = Happening::Switch { client: index, on };
            self.schedule(100, news);
        }
    }

    /// Operations that died with their process: nobody knows whether they took effect.
    pub(crate) fn abandon(&mut self, operation: Option<Operation>) {
        let Some(operation) = operation else { return };
        if !operation.writes.is_empty() {
            self.counts.add(Kind::WriteUnknown);
        }
        self.note(Node::Client(operation.client), || {
            format!("never heard of: {}", operation.what)
        });
        for id in operation.writes {
            self.audit.end_write(id, State::Unknown, u64::MAX);
        }
    }
}
