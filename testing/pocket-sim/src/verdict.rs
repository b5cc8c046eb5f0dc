//! The promises that are judged at the end, when everything has come to rest.

mod losses;

use std::collections::BTreeSet;

use pocket_core::Revision;

use crate::audit::{Before, DocKey, Verdict, Version, WriteId, WriteKind, broken};
use crate::counts::Kind;
use crate::view::{self, JournalView};
use crate::world::World;

impl World {
    /// Why a client has not come to rest, if it has not: P4.
    pub(crate) fn unrest(&self, index: usize) -> Option<String> {
        let client = &self.clients[index];
        if !client.is_idle() {
            let status = client.up().map(|up| {
                let error = up.snapshot.stats.last_error.clone();
                format!(
                    "{} {error:?} {:?}",
                    up.snapshot.status, up.snapshot.progress
                )
            });
            return Some(format!("client {index} is not idle: {status:?}"));
        }
        let keys = self.keys_of(client.shape.namespace);
        let view = match view::look(client.disk.look(), &keys) {
            Ok(view) => view,
            Err(error) => return Some(format!("client {index}'s store cannot be read: {error:?}")),
        };
        // What lies outside the client's scope stays.
        let left_out = self.clients[index]
            .up()
            .map_or(0, |up| up.snapshot.stats.left_out);
        if view.pending > left_out {
            return Some(format!(
                "client {index} has {} mutations in its outbox",
                view.pending
            ));
        }
        for key in keys.iter().filter(|key| client.reads(&key.collection)) {
            let shown = view
                .documents
                .get(key)
                .filter(|seen| seen.live)
                .map(|seen| seen.rev);
            let current = self.audit.current(key);
            let current = current
                .filter(|(_, version)| version.live && self.audit.may_read(index, key, version));
            let differs = shown != current.map(|(_, version)| version.rev);
            // What nobody was told of, since its sender never asked again, is left out of what is read from the start.
            if differs && !(shown.is_none() && self.was_taken_away(index, key)) {
                return Some(format!(
                    "client {index} shows {:?} of {key}, where {current:?} stands",
                    view.documents.get(key)
                ));
            }
        }
        None
    }

    /// Judges a history whose devices have all come to rest.
    pub(crate) fn judge(&mut self) -> Verdict {
        self.note_time();
        let namespaces: BTreeSet<usize> = self
            .clients
            .iter()
            .map(|client| client.shape.namespace)
            .collect();
        for namespace in &namespaces {
            self.audit.check_places(*namespace)?;
        }
        self.check_isolation()?;
        for index in 0..self.clients.len() {
            self.check_view(index, false)?;
        }
        let mut journals = Vec::new();
        for index in 0..self.clients.len() {
            let journal = self.journal_of(index)?;
            for rule in &journal.rules {
                self.count_rule(rule);
            }
            journals.push(journal);
        }
        self.check_history(&journals)?;
        self.check_erasures()?;
        self.check_revocations()?;
        if self.has_schemas() {
            self.check_reshaped_journals()?;
        }
        self.check_losses(&journals)
    }

    fn count_rule(&mut self, rule: &str) {
        let kind = match rule {
            "last-write-wins" => Kind::ResolvedLater,
            "server-wins" => Kind::ResolvedServer,
            "client-wins" => Kind::ResolvedClient,
            "merge" => Kind::ResolvedMerge,
            "custom" => Kind::ResolvedCustom,
            "outcome-unknown" => Kind::ResolvedDoubt,
            "access-revoked" => Kind::ResolvedRevoked,
            _ => return,
        };
        self.counts.add(kind);
    }

    /// P10: of a document that a device may not read any more, it holds at the most what its user wrote himself.
    fn check_revocations(&mut self) -> Verdict {
        if self.audit.rights.is_none() {
            return Ok(());
        }
        for index in 0..self.clients.len() {
            // Whoever reads everything again is not told what is gone, only not shown it.
            if self.audit.rights_changed(index) || self.clients[index].resynced {
                continue;
            }
            let client = &self.clients[index];
            let store = view::everything(&client.disk.look());
            let own: BTreeSet<WriteId> = self
                .audit
                .writes
                .iter()
                .filter(|(_, write)| self.audit.are_kin(write.client, index))
                .flat_map(|(id, _)| self.audit.made_of(*id))
                .collect();
            let keys = self.keys_of(client.shape.namespace);
            // What he merged with is his, too.
            let journal = self.journal_of(index)?;
            for key in keys.iter().filter(|key| client.reads(&key.collection)) {
                let hidden = self.audit.current(key);
                let hidden = hidden.is_some_and(|(_, version)| {
                    version.live && !self.audit.may_read(index, key, version)
                });
                let late = key.collection.as_str() == "late" && client.toggled;
                // Once a deletion is forgotten, rules cannot tell who had read what was there before.
                let forgotten = self.audit.has_forgotten(key);
                if !hidden || late || forgotten {
                    continue;
                }
                let versions = self.audit.history.get(key).into_iter().flatten();
                let mut ids = versions.flat_map(|(_, version)| &version.ids);
                if let Some(id) = ids.find(|id| {
                    !own.contains(id) && !journal.local.contains(id) && holds(&store, **id)
                }) {
                    return broken(
                        "P10",
                        format!(
                            "client {index} still holds write {id} of {key}, which his user may not read any more"
                        ),
                    );
                }
                self.counts.add(Kind::RevocationChecked);
            }
        }
        Ok(())
    }

    /// A device holds nothing of another namespace.
    fn check_isolation(&self) -> Verdict {
        for (index, client) in self.clients.iter().enumerate() {
            let own = client.shape.namespace;
            let keys = self.keys_of(own);
            let Ok(view) = view::look(client.disk.look(), &keys) else {
                continue;
            };
            for (key, seen) in view.documents {
                let foreign = seen.ids.iter().find(|id| {
                    self.audit
                        .writes
                        .get(id)
                        .is_none_or(|write| write.document != key)
                });
                if let Some(foreign) = foreign {
                    return broken(
                        "P10",
                        format!("client {index} shows {key} with write {foreign}, made elsewhere"),
                    );
                }
            }
        }
        Ok(())
    }

    /// What was erased lies nowhere any more: not in a shadow, not as a base, not in a journal, not on the server.
    fn check_erasures(&mut self) -> Verdict {
        let mut names = Vec::new();
        for (key, versions) in &self.audit.history {
            // Written anew, a document shows only what it is now: who had not read of the erase never hears of it.
            let stays = versions.last_key_value();
            if let Some((seq, _)) = stays.filter(|(_, version)| version.erased) {
                let ids: BTreeSet<WriteId> = versions
                    .values()
                    .flat_map(|version| version.ids.clone())
                    .collect();
                names.extend(ids.into_iter().map(|id| (key.clone(), *seq, id)));
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            // Whoever reads everything again is not told of deletions, and what he kept beside the document stays. So is who
            // reads for the first time, and may have written before.
            if client.resynced {
                continue;
            }
            let store = view::everything(&client.disk.look());
            for (key, seq, id) in &names {
                let untold = client.blind.is_none_or(|blind| *seq <= blind);
                if untold || !self.audit.always_read(index, key) {
                    continue;
                }
                // What is switched on and off is a local affair for a while.
                let late = key.collection.as_str() == "late" && client.toggled;
                let reads = client.reads(&key.collection) && !late;
                if key.namespace == client.shape.namespace && reads && holds(&store, *id) {
                    return broken(
                        "P10",
                        format!("client {index} still holds write {id} of {key}, which was erased"),
                    );
                }
            }
        }
        let store = view::everything(&self.server.disk.look());
        let left = names.iter().find(|(.., id)| holds(&store, *id));
        self.counts.add_many(Kind::ErasureChecked, names.len());
        match left {
            Some((key, _, id)) => broken(
                "P10",
                format!("the server still holds write {id} of {key}, which was erased"),
            ),
            None => Ok(()),
        }
    }

    /// P2, P6: each version stands on the one before it, and nobody came back from the dead.
    fn check_history(&self, journals: &[JournalView]) -> Verdict {
        for (key, versions) in &self.audit.history {
            let mut before: Option<&Version> = None;
            let mut before_seq = None;
            for (seq, version) in versions {
                let Some((client, number, base)) = version.by else {
                    // Pushed under an id that nobody has any more.
                    before = Some(version);
                    continue;
                };
                // A version that nobody was ever shown may lie between.
                let from = before_seq.replace(*seq).unwrap_or(0);
                if self.audit.renewed && !self.audit.knows(key.namespace, from, *seq) {
                    before = Some(version);
                    continue;
                }
                let stands = before.filter(|before| before.live).map(|before| before.rev);
                if !version.erased && base != stands {
                    return broken(
                        "P2",
                        format!(
                            "{key} at place {seq} was made on {base:?} and applied on {stands:?} (number {number} of client {:?})",
                            self.audit.clients.get(&client)
                        ),
                    );
                }
                if let Some(dead) = before.filter(|before| !before.live && version.live) {
                    self.check_return(key, *seq, version, dead, journals)?;
                }
                before = Some(version);
            }
        }
        Ok(())
    }

    fn check_return(
        &self,
        key: &DocKey,
        seq: u64,
        version: &Version,
        dead: &Version,
        journals: &[JournalView],
    ) -> Verdict {
        let Some((client, ..)) = version.by else {
            return Ok(());
        };
        let Some(author) = self.audit.clients.get(&client) else {
            return Ok(());
        };
        // Deletions that a restored server has lost may not come back, and what it lost does; so does what was made on
        // another version by who had read that, for to whoever reads everything again nobody tells who deleted it since.
        if self.audit.forks.has_live(key) {
            return Ok(());
        }
        let kin: Vec<&JournalView> = (0..self.clients.len())
            .filter(|other| self.audit.are_kin(*author, *other))
            .map(|other| &journals[other])
            .collect();
        // Switching sync on offers what is there as if it were new.
        if self.clients[*author].toggled && key.collection.as_str() == "late" {
            return Ok(());
        }
        let before = &self.audit.history[key];
        let earlier = || before.range(..seq).map(|(_, version)| version);
        let decided = earlier().filter(|version| !version.live).any(|version| {
            // Somebody may have decided about it in a history that is lost, from which a device brought it back.
            let mut revs =
                std::iter::once(version.rev).chain(self.audit.forks.deletions_at(key, version.rev));
            revs.any(|rev| {
                let decided = (key.clone(), Some(rev));
                kin.iter().any(|journal| journal.kept.contains(&decided))
            })
        });
        // Whether a copy, or the id it had before, made it and somebody deleted it, a device cannot know once it has
        // read from the start, where deletions are left out.
        let knows =
            !self.audit.doubles && !self.audit.clients_forgotten && self.audit.forks.count == 0;
        let known: BTreeSet<WriteId> = earlier()
            .filter(|_| knows)
            .flat_map(|version| version.ids.iter().copied())
            .collect();
        let created = version
            .ids
            .iter()
            .any(|id| self.created(*id, *author, &known));
        // A resync that does not see a document any more counts it as deleted, by a tombstone of the device's own.
        let missed = kin.iter().any(|journal| {
            journal.kept.iter().any(|(kept, rev)| {
                let own = |rev: &Revision| {
                    let device = self.audit.clients.get(&rev.client);
                    device.is_some_and(|device| self.audit.are_kin(*device, *author))
                };
                let unseen = rev.filter(own);
                kept == key
                    && unseen.is_some_and(|rev| {
                        let tombstone = (key.clone(), rev);
                        journal.remote_tombstones.contains(&tombstone)
                    })
            })
        });
        if decided || missed || created {
            return Ok(());
        }
        broken(
            "P6",
            format!(
                "{key} was deleted as {dead:?} and came back at place {seq} by {version:?} of client {author}, who had not seen that"
            ),
        )
    }

    /// Whether a write of this author made a document where there was none, or stands only on such writes; and none
    /// of them was `known` on the server before.
    fn created(&self, id: WriteId, author: usize, known: &BTreeSet<WriteId>) -> bool {
        let write = self
            .audit
            .writes
            .get(&id)
            .filter(|write| self.audit.are_kin(write.client, author));
        let Some(write) = write.filter(|_| !known.contains(&id)) else {
            return false;
        };
        match &write.before {
            Before::NotLive(_) => true,
            Before::Live(ids) => {
                write.kind != WriteKind::Update
                    && ids.iter().any(|id| self.created(*id, author, known))
            }
        }
    }
}

/// Whether a body with the mark of this write lies in a store: the field name `u…` as MessagePack has it.
fn holds(store: &[u8], id: WriteId) -> bool {
    let name = format!("u{id}");
    let mut mark = vec![0xa0 | u8::try_from(name.len()).unwrap_or(0x1f)];
    mark.extend_from_slice(name.as_bytes());
    // Its value, `true`: three bytes alone are among the random ones of a store sooner or later.
    mark.push(0xc3);
    store.windows(mark.len()).any(|window| window == mark)
}
