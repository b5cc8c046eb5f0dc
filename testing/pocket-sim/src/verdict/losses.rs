//! P5: nothing is lost in silence.

use std::collections::BTreeSet;

use crate::audit::{State, Verdict, Write, WriteId, broken};
use crate::view::JournalView;
use crate::world::World;

impl World {
    /// P5: every acknowledged write is in what stands, in something that replaced it knowingly, or in a journal.
    pub(super) fn check_losses(&self, journals: &[JournalView]) -> Verdict {
        let mut roots: BTreeSet<WriteId> = BTreeSet::new();
        // What lost to an erase is journaled without its body, which would name the writes.
        let bodiless = self.audit.writes.iter().filter(|(_, write)| {
            let journal = journals.get(write.client);
            journal.is_some_and(|journal| journal.erased.contains(&write.document))
        });
        roots.extend(bodiless.map(|(id, _)| *id));
        for journal in journals {
            roots.extend(&journal.local);
            roots.extend(&journal.remote);
            for (key, rev) in journal
                .local_tombstones
                .iter()
                .chain(&journal.remote_tombstones)
            {
                roots.extend(self.audit.tombstones_of(key, *rev));
            }
            // With the right to read goes what others wrote, with an erase all of it; that there was an entry shows still.
            let bodiless = journal.remote_tombstones.iter();
            let bodiless = bodiless
                .filter(|(key, _)| self.audit.rights.is_some() || journal.erased.contains(key));
            roots.extend(bodiless.flat_map(|(key, rev)| self.audit.ids_of_version(key, *rev)));
        }
        for (key, versions) in &self.audit.history {
            let erased = versions
                .iter()
                .rev()
                .find(|(_, version)| version.erased)
                .map(|(seq, _)| *seq);
            if erased.is_some() {
                roots.extend(self.audit.forks.ids_of(key));
            }
            if self.audit.forks.erased(key) {
                // What a lost erase took along is gone; what was made anew behind it comes back without it.
                roots.extend(versions.values().flat_map(|version| &version.ids));
            }
            for (seq, version) in versions {
                let last = versions
                    .last_key_value()
                    .is_some_and(|(last, _)| last == seq);
                let put_and_gone =
                    version.live && !last && erased.is_none_or(|erased| *seq > erased);
                if !put_and_gone {
                    // What stands; what an erase took along; and deletes, whose successors are judged by P6.
                    roots.extend(self.audit.writes_in(
                        key,
                        version.live,
                        &version.ids,
                        version.rev,
                    ));
                }
            }
        }
        // A create that was deleted before it took effect anywhere leaves nothing to keep.
        let versions = self.audit.history.values().flatten();
        let heard = versions
            .flat_map(|(_, version)| version.ids.iter().copied())
            .collect();
        let unheard = self
            .audit
            .writes
            .iter()
            .filter(|(id, write)| !write.kind.puts() && self.is_unheard(**id, &heard));
        roots.extend(unheard.map(|(id, _)| *id));
        // So do deletions that a restored server lost, of what somebody made anew since.
        roots.extend(self.lost_deletions());
        // Deletes in a collection whose sync was switched off are local affairs.
        let local = self.audit.writes.iter().filter(|(_, write)| {
            !write.kind.puts()
                && write.document.collection.as_str() == "late"
                && self.clients[write.client].toggled
        });
        roots.extend(local.map(|(id, _)| *id));
        let affairs = self.audit.writes.iter();
        let affairs = affairs.filter(|(id, write)| self.audit.is_local_affair(**id, write));
        roots.extend(affairs.map(|(id, _)| *id));
        // What its user may not read is gone for a device that has read everything again, and so it counts as deleted.
        let hidden = self.audit.writes.iter().filter(|(_, write)| {
            let stands = self.audit.current(&write.document);
            let is_hidden = stands.is_some_and(|(_, version)| {
                !self.audit.may_read(write.client, &write.document, version)
            });
            !write.kind.puts() && is_hidden && self.clients[write.client].resynced
        });
        roots.extend(hidden.map(|(id, _)| *id));
        // Two who delete the same want the same: the deletion of one stands for that of the other.
        let deletes = self.audit.writes.iter().filter(|(id, write)| {
            let lost = self.audit.forks.has_deleted(&write.document);
            !write.kind.puts() && (lost || self.audit.was_deleted(**id, write))
        });
        roots.extend(deletes.map(|(id, _)| *id));
        roots.extend(self.untold_deletions());
        // So did that of what stood before something that was made on nothing.
        for (key, rev) in self.audit.untold_deletions() {
            roots.extend(self.audit.tombstones_of(key, rev));
        }
        roots.extend(self.audit.ended_in_time());
        let unheard = self.audit.writes.iter().filter(|(id, write)| {
            let latest = self.latest_at(write.client);
            self.audit.went_unheard(**id, latest)
        });
        roots.extend(unheard.map(|(id, _)| *id));
        let kept = self.audit.closure(roots);
        for (id, write) in &self.audit.writes {
            if write.state != State::Acknowledged || kept.contains(id) {
                continue;
            }
            return broken(
                "P5",
                format!(
                    "write {id} ({:?} on {} by client {}, on {:?}) is gone: not in what stands, replaced by nobody who knew it, in no journal; sent: {}",
                    write.kind,
                    write.document,
                    write.client,
                    write.before,
                    self.audit.sent.contains(id)
                ),
            );
        }
        Ok(())
    }

    /// The deletes of what is not there: one of them took effect, and nobody was told of it.
    fn untold_deletions(&self) -> Vec<WriteId> {
        let deletes = self.audit.writes.iter();
        let deletes = deletes.filter(|(_, write)| !write.kind.puts());
        let untold = deletes.filter(|(_, write)| {
            self.audit.may_have_moved(&write.document) && !self.stands_on_server(&write.document)
        });
        untold.map(|(id, _)| *id).collect()
    }

    /// The deletes of versions that a restored server has lost.
    fn lost_deletions(&self) -> BTreeSet<WriteId> {
        let mut ids = BTreeSet::new();
        for (key, version) in self.audit.forks.deletions() {
            ids.extend(self.audit.writes_in(key, false, &[], version.rev));
        }
        ids
    }

    /// Whether nothing of a delete and of what it deleted ever took effect on the server.
    fn is_unheard(&self, id: WriteId, heard: &BTreeSet<WriteId>) -> bool {
        let Some(write) = self.audit.writes.get(&id) else {
            return false;
        };
        let own = |id: &WriteId| {
            let other = self.audit.writes.get(id);
            let kin = |other: &Write| self.audit.are_kin(other.client, write.client);
            other.is_some_and(kin) && !heard.contains(id)
        };
        own(&id) && self.audit.made_of(id).iter().all(own)
    }
}
