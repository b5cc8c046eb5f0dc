//! The promises, held against what devices show while everything goes wrong.
//!
//! P1 acknowledged writes survive · P2 exactly once (in `audit.rs`) · P3 one order · P4 convergence, P5 no silent loss,
//! P6 no resurrection (in `verdict.rs`) · P7 read your own writes · P8 transactions stay whole.

mod answers;
mod own_writes;

use pocket_core::{ClientId, codes, replica};
use pocket_sync_client::{Pass, StoreAnswer, SyncError};

use crate::audit::{DocKey, Verdict, Version, WriteId, broken};
use crate::counts::Kind;
use crate::trace::Node;
use crate::view::{self, JournalView, Seen, Stored, View};
use crate::world::World;

use self::answers::{describe, state_of};

impl World {
    /// Remembers the first broken promise; the history ends with it.
    pub(crate) fn check(&mut self, verdict: Verdict) {
        if let (Err(violation), None) = (verdict, &self.broken) {
            self.note(Node::World, || {
                format!("{} is broken: {}", violation.promise, violation.what)
            });
            self.broken = Some(violation);
        }
    }

    pub(crate) fn keys_of(&self, namespace: usize) -> Vec<DocKey> {
        let keys = self.audit.documents.iter();
        keys.filter(|key| key.namespace == namespace)
            .cloned()
            .collect()
    }

    fn view_of(&self, index: usize, keys: &[DocKey]) -> Verdict<View> {
        match view::look(self.clients[index].disk.look(), keys) {
            Ok(view) => Ok(view),
            Err(error) => broken(
                "P1",
                format!("client {index}'s store cannot be read: {error:?}"),
            ),
        }
    }

    pub(crate) fn journal_of(&self, index: usize) -> Verdict<JournalView> {
        let client = &self.clients[index];
        match view::look_at_journal(client.disk.look(), client.shape.namespace) {
            Ok(mut journal) => {
                journal.extend(&client.told);
                Ok(journal)
            }
            Err(error) => broken(
                "P5",
                format!("client {index}'s journal cannot be read: {error:?}"),
            ),
        }
    }

    /// What a crash left is at least what was promised to survive it.
    pub(crate) fn look_after_crash(&mut self, index: usize, power: bool) -> Verdict {
        if self.has_schemas() && view::stored(self.clients[index].disk.look()) == Stored::HalfDone {
            // Nobody but the program reads it before it is done, and all its commits are durable.
            self.counts.add(Kind::MigrationCrashed);
            return Ok(());
        }
        let view = self.view_of(index, &[])?;
        self.audit.after_crash(index, view.sequence, power)
    }

    /// The store of a client has answered.
    pub(crate) fn stored(&mut self, index: usize, answer: &StoreAnswer) -> Verdict {
        let now = self.now();
        let client = &mut self.clients[index];
        let (before, mut looks) = (client.checkpoint, false);
        if let StoreAnswer::Loaded(state) | StoreAnswer::Attached(state) = answer {
            client.confirmed = state.confirmed.get();
        }
        if let StoreAnswer::Settled(settled) = answer {
            client.confirmed = settled.state.confirmed.get();
        }
        if let StoreAnswer::Attached(_) = answer {
            let client = &mut self.clients[index];
            client.met = client.meets;
            let greeted = client.up_mut().and_then(|up| up.greeted.take());
            if let (Some(told), Some(up)) = (greeted, client.up_mut()) {
                up.told = Some(told);
                self.told_time(told);
            }
        }
        if let StoreAnswer::Renewed(state) = answer {
            self.renewed(index, state.client)?;
        }
        if let Some(state) = state_of(answer) {
            let resyncs = state.checkpoint.resyncing;
            let client = &mut self.clients[index];
            if resyncs && !std::mem::replace(&mut client.resyncing, resyncs) {
                client.resynced = true;
                self.count_resync(index, before);
            }
            let client = &mut self.clients[index];
            client.resyncing = resyncs;
            client.first_sync = state.checkpoint.fixed_head.is_some();
            if resyncs {
                // It begins at the start.
                client.checkpoint = state.checkpoint.seq.get();
                client.confirmed = state.confirmed.get();
            }
        }
        let client = &mut self.clients[index];
        let before = if client.resyncing { 0 } else { before };
        match answer {
            StoreAnswer::Loaded(state) => {
                let after = state.checkpoint.seq.get();
                if after < before && !client.widened {
                    return broken(
                        "P3",
                        format!("client {index} loaded place {after}, and had read to {before}"),
                    );
                }
                client.widened = false;
                client.checkpoint = after;
            }
            StoreAnswer::Applied(applied) => {
                let after = applied.state.checkpoint.seq.get();
                if after < before {
                    return broken(
                        "P3",
                        format!("client {index} went back from place {before} to {after}"),
                    );
                }
                client.checkpoint = after;
                let fixed = applied.state.checkpoint.fixed_head;
                let head = fixed.map_or(after, pocket_core::Seq::get);
                client.blind.get_or_insert(head);
                self.counts.add(Kind::PageApplied);
                if !applied.state.checkpoint.joining.is_empty() {
                    self.counts.add(Kind::JoinPageApplied);
                }
                self.counts
                    .add_many(Kind::Journaled, applied.journaled.len());
                looks = applied.changes > 0;
            }
            StoreAnswer::Settled(settled) => {
                self.counts
                    .add_many(Kind::Journaled, settled.journaled.len());
                looks = !settled.journaled.is_empty();
            }
            StoreAnswer::Resolved(resolved) => {
                self.counts
                    .add_many(Kind::Journaled, resolved.journaled.len());
                looks = !resolved.journaled.is_empty();
            }
            StoreAnswer::Verified(verified) => match &verified.verdict {
                replica::Verdict::Same => self.counts.add(Kind::DigestsSame),
                replica::Verdict::Differs { collections, .. } => {
                    let what = format!("client {index} holds something else of {collections:?}");
                    return broken("P4", what);
                }
                _ => self.counts.add(Kind::DigestsOpen),
            },
            StoreAnswer::Failed { error, .. } => {
                if error.code() == codes::STALE_PAGE {
                    self.counts.add(Kind::StalePage);
                }
                if error.code() == codes::CORRUPT {
                    return broken("P1", format!("client {index}'s store is damaged: {error}"));
                }
            }
            _ => {}
        }
        self.trace
            .mix(&[now, index as u64, 11, self.clients[index].checkpoint]);
        self.note(Node::Client(index), || describe(answer));
        if looks && self.fault_dice.chance(0.3) {
            return self.check_view(index, false);
        }
        Ok(())
    }

    /// A client took another id; it must have had a reason.
    fn renewed(&mut self, index: usize, id: ClientId) -> Verdict {
        self.counts.add(Kind::Renewed);
        self.count_with_rules(Kind::RulesRenewed, 1);
        self.audit.renewed = true;
        self.knows_id(index, id);
        let kin = (0..self.clients.len()).filter(|other| self.audit.are_kin(index, *other));
        let has_reason = self.audit.clients_forgotten
            || self.audit.forks.count > 0
            || kin.clone().count() > 1
            || kin.clone().any(|other| self.clients[other].restored);
        if has_reason {
            return Ok(());
        }
        broken(
            "P2",
            format!(
                "client {index} took another id: it was neither copied nor restored nor forgotten"
            ),
        )
    }

    fn count_resync(&mut self, index: usize, read_to: u64) {
        self.counts.add(Kind::Resynced);
        let namespace = self.clients[index].shape.namespace;
        let horizon = self.audit.horizons.get(&namespace);
        if self.audit.forks.count > 0 {
            self.counts.add(Kind::ResyncedForked);
        } else if self.audit.rights_changed(index) {
            self.counts.add(Kind::ResyncedRights);
        } else if horizon.is_some_and(|horizon| *horizon > read_to) {
            self.counts.add(Kind::ResyncedForgotten);
        }
    }

    /// Each document a client shows is no older than what it has read, and no older than what it wrote.
    pub(crate) fn check_view(&mut self, index: usize, restarted: bool) -> Verdict {
        self.counts.add(Kind::ViewChecked);
        let keys = self.keys_of(self.clients[index].shape.namespace);
        let view = self.view_of(index, &keys)?;
        let mut journal = None;
        for key in &keys {
            let seen = view.documents.get(key);
            self.check_order(index, key, seen, view.pending)?;
            self.check_own_write(index, key, seen, &mut journal, restarted)?;
        }
        Ok(())
    }

    fn check_order(
        &mut self,
        index: usize,
        key: &DocKey,
        seen: Option<&Seen>,
        outbox: u64,
    ) -> Verdict {
        let client = &mut self.clients[index];
        // What is switched on and off is read anew by and by; so is everything once the server has gone back.
        if client.resyncing
            || client.first_sync
            || client.met != self.audit.forks.count
            || !client.reads(&key.collection)
            || (client.toggled && key.collection.as_str() == "late")
        {
            return Ok(());
        }
        // The feed has one entry per document, so what changed again further on may be skipped until then.
        let newest = self.audit.current(key);
        let told = self
            .audit
            .knows(key.namespace, client.checkpoint, client.head);
        let covered = newest
            .filter(|(seq, _)| *seq <= client.checkpoint && told)
            .map(|(seq, version)| (seq, version.live));
        // Rights that change are heard of by and by, and then everything is read again.
        let reads = newest.is_none_or(|(_, version)| self.audit.may_read(index, key, version));
        if !reads || self.audit.rights_changed(index) {
            let gone = covered.is_none() || self.audit.rights_changed(index);
            if gone || pending_or_gone(seen, outbox) {
                return Ok(());
            }
            return broken(
                "P10",
                format!(
                    "client {index} has read to {} and shows {key}, which his user may not read since {covered:?}",
                    client.checkpoint
                ),
            );
        }
        let place = seen.and_then(|seen| self.audit.place_of(key, seen.rev));
        // Who is restored to a state from before its first welcome, and was forgotten, gives its numbers to other changes.
        let numbers_come_twice = self.audit.doubles && self.audit.clients_forgotten;
        // What its own store has not heard to be applied is pending there, and shown in spite of anything newer.
        let pending = place.is_some_and(|place| {
            let version = &self.audit.history[key][&place];
            let own = client.ids.contains(&version.rev.client);
            own && version.by.is_none_or(|(id, number, _)| {
                if client.id == Some(id) && !numbers_come_twice {
                    number.get() > client.confirmed
                } else {
                    outbox > 0
                }
            })
        });
        let whole = !client.shape.narrow;
        // Once a deletion is forgotten, rules cannot tell who had read the document: an erase of it, or another deletion of
        // what is not there, concerns only who made it. Readers see no difference.
        let of_nothing = |version: &Version| {
            let base = version.by.and_then(|(_, _, base)| base);
            version.erased || !version.live && base.is_none()
        };
        let ended_unread = self.audit.rights.is_some()
            && self.audit.may_have_forgotten
            && seen.is_some_and(|seen| !seen.live)
            && newest.is_some_and(|(_, version)| of_nothing(version));
        match (seen, place, covered) {
            (Some(_), Some(place), _) => {
                let least = covered.map_or(0, |(seq, _)| seq);
                let shown = client.shown.get(key).copied().unwrap_or(0);
                if whole && !pending && place < least && !ended_unread {
                    return broken(
                        "P3",
                        format!(
                            "client {index} has read to {} and shows {key} of place {place}, where {least} is newer",
                            client.checkpoint
                        ),
                    );
                }
                if place < shown {
                    return broken(
                        "P3",
                        format!("client {index} shows {key} of place {place} after {shown}"),
                    );
                }
                // A copy may have had effect with what is pending here. This device has not heard of that, so its own
                // write may lose still, to what stood before: it never showed what the server made of it.
                if !pending {
                    client.shown.insert(key.clone(), place);
                }
            }
            // A deletion that nobody was told of is left out of a first sync; and what was erased here comes back only
            // when everything is read again, should the server refuse that.
            (None, _, Some((seq, true)))
                if whole
                    && !self.audit.may_have_moved(key)
                    && !self.audit.erased_by(index, key) =>
            {
                return broken(
                    "P3",
                    format!(
                        "client {index} has read to {} and misses {key} of place {seq}",
                        client.checkpoint
                    ),
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// A client says that it is up to date.
    pub(crate) fn check_idle(&mut self, index: usize) -> Verdict {
        self.counts.add(Kind::IdleChecked);
        let keys = self.keys_of(self.clients[index].shape.namespace);
        let view = self.view_of(index, &keys)?;
        let client = &self.clients[index];
        let Some(up) = client.up() else { return Ok(()) };
        let unheard = up.working.is_some() || up.at_chores || up.news_due || up.storing;
        if view.pending > up.snapshot.stats.left_out && !unheard {
            return broken(
                "P4",
                format!(
                    "client {index} says idle with {} mutations in its outbox",
                    view.pending
                ),
            );
        }
        if view.pending == 0 && client.reads(&crate::client::name("bank")) {
            self.check_transfers(index, &view)?;
        }
        Ok(())
    }

    /// Nobody who is up to date sees half of a transfer.
    fn check_transfers(&self, index: usize, view: &View) -> Verdict {
        let namespace = self.clients[index].shape.namespace;
        let holds = |id: WriteId| {
            let key = &self.audit.writes[&id].document;
            view.documents
                .get(key)
                .is_some_and(|seen| seen.ids.contains(&id))
        };
        for (id, write) in &self.audit.writes {
            let Some(mate) = write
                .mate
                .filter(|mate| id < mate && write.document.namespace == namespace)
            else {
                continue;
            };
            // What a restored server lost comes back document by document.
            let lost = self.audit.forks.ids.contains(id) || self.audit.forks.ids.contains(&mate);
            if holds(*id) != holds(mate) && !lost {
                return broken(
                    "P8",
                    format!(
                        "client {index} is idle and shows one half of the transfer {id} + {mate} between {} and {}",
                        write.document, self.audit.writes[&mate].document
                    ),
                );
            }
        }
        Ok(())
    }

    /// A command ended.
    pub(crate) fn check_command(
        &mut self,
        index: usize,
        id: u64,
        result: &Result<(), SyncError>,
    ) -> Verdict {
        self.note(Node::Client(index), || {
            format!("command {id} ends with {result:?}")
        });
        self.counts.add(if result.is_ok() {
            Kind::CommandDone
        } else {
            Kind::CommandFailed
        });
        let Some(up) = self.clients[index].up_mut() else {
            return Ok(());
        };
        let Some(command) = up.commands.remove(&id) else {
            return broken(
                "P4",
                format!("client {index} ended command {id}, which nobody gave"),
            );
        };
        let resyncs = up.snapshot.progress.resyncing;
        if result.is_ok() && resyncs {
            return broken(
                "P4",
                format!("client {index} ended a command well and still reads everything again"),
            );
        }
        let read = self.clients[index].checkpoint;
        if result.is_ok() && command.pass != Pass::Push && read < command.head {
            return broken(
                "P4",
                format!(
                    "client {index} ended a command well at place {read}; the head was {} when it was given",
                    command.head
                ),
            );
        }
        Ok(())
    }
}

/// Whether a document that may not be read is not shown, or may be shown for what is pending to it.
fn pending_or_gone(seen: Option<&Seen>, outbox: u64) -> bool {
    outbox > 0 || seen.is_none_or(|seen| !seen.live)
}
