//! What a verdict comes to: a mutation is sent again on the server's versions, or loses, and its documents follow.

use super::super::{rebase, resync};
use super::{Decision, Loss, NOT_READABLE, Resolution, Verdict, server_document};
use crate::journal::{self, JournalKind, Note, RemoteVersion, Winner};
use crate::keys;
use crate::mutants::active;
use crate::outbox::{self, Entry, PendingChange, Slot};
use crate::stored::{Doubt, Presence, Progress, Shadow, StoredDocument};
use crate::tx::Tx;
use crate::{Body, ChangeEvent, ChangeKind, Document, Place, Result, Revision, Seq};
use pocket_storage::ordered::BTreeSet;

impl Resolution<'_> {
    /// The whole mutation is sent again, on the server's versions.
    pub(super) async fn win(
        &mut self,
        entry: &mut Entry,
        mut slots: Vec<Slot>,
        remotes: Vec<Option<RemoteVersion>>,
        verdicts: Vec<Verdict>,
    ) -> Result<Vec<Place>> {
        let mut halved = Vec::new();
        for (((change, slot), remote), verdict) in entry
            .changes
            .iter_mut()
            .zip(&mut slots)
            .zip(remotes)
            .zip(verdicts)
        {
            let Some(remote) = remote.filter(|_| verdict != Verdict::Current) else {
                if active("pocket-mutant:half-transaction-repushed") {
                    halved.push(change.document());
                    slot.forget_place(entry.place);
                    self.store_slot(slot)?;
                }
                continue;
            };
            change.base = (remote.version.presence == Presence::Live).then_some(remote.version.rev);
            change.base_body = remote.body;
            self.tx
                .delete(keys::shadow(self.target, slot.collection, &slot.id));
            if let Verdict::Decided(Decision::Write(body)) = verdict {
                let old = change.clone();
                change.rev = self.tx.next_revision();
                change.kind = body.map_or(ChangeKind::Delete, ChangeKind::Put);
                let new = (change.rev, change.kind.body().cloned());
                self.rebase_behind(entry.place, slot, &old, Some(new))
                    .await?;
                if slot.pending().last() == Some(&entry.place)
                    && !self.is_the_devices(slot, old.rev)
                {
                    rebase::show(slot, change);
                }
            }
            self.store_slot(slot)?;
        }
        let stored = entry.changes.len();
        entry
            .changes
            .retain(|change| !halved.contains(&change.document()));
        entry.progress = Progress::Unsent;
        entry.freed = false;
        outbox::stop_waiting(self.tx, self.target, entry.place);
        outbox::store(self.tx, self.target, entry, stored);
        self.tx.outbox_grew();
        self.requeue_behind(entry.place, &slots).await?;
        Ok(Vec::new())
    }

    /// Later mutations that met a conflict only since the one at `place` was not there become unsent again.
    pub(super) async fn requeue_behind(&mut self, place: Place, slots: &[Slot]) -> Result<()> {
        let behind: BTreeSet<Place> = slots
            .iter()
            .flat_map(Slot::pending)
            .filter(|behind| **behind > place)
            .copied()
            .collect();
        for place in behind {
            let entry = outbox::load(self.tx, self.target, place).await?;
            if matches!(entry.progress, Progress::Conflicted(_)) {
                self.requeue(entry).await?;
            }
        }
        Ok(())
    }

    /// A mutation that waited, or was answered, is unsent again, unless a later one of its documents is still on its way:
    /// that must not be overtaken, and its outcome brings us here again.
    pub(in crate::replica) async fn requeue(&mut self, mut entry: Entry) -> Result<()> {
        if resync::is_before_pinned(self.tx, self.target, &entry).await? {
            entry.freed = true;
            let until = match entry.progress {
                Progress::Conflicted(until) => until,
                // For no record.
                Progress::Unsent | Progress::Pinned(_) => Seq::ZERO,
            };
            outbox::wait(self.tx, self.target, &mut entry, until);
            return Ok(());
        }
        if entry.doubt != Doubt::None {
            // What it was made on did not take effect under the old id; so it did not either.
            return self.make_own(&mut entry).await;
        }
        entry.progress = Progress::Unsent;
        entry.freed = false;
        outbox::stop_waiting(self.tx, self.target, entry.place);
        outbox::store_head(self.tx, self.target, &entry);
        self.tx.outbox_grew();
        Ok(())
    }

    /// The server saw a conflict and the feed shows none: the record in the way may not be read by this user, or the
    /// document is gone and forgotten. Either way the change cannot stand.
    pub(super) async fn unexplained(
        &mut self,
        mut entry: Entry,
        slots: Vec<Slot>,
        remotes: Vec<Option<RemoteVersion>>,
        until: Seq,
    ) -> Result<Vec<Place>> {
        let stands_on_pending = slots
            .iter()
            .any(|slot| slot.pending().first() != Some(&entry.place));
        let seen = until > Seq::ZERO
            && until != entry.met
            && remotes
                .iter()
                .flatten()
                .any(|remote| remote.version.seq >= until);
        if stands_on_pending || entry.freed || seen {
            // What it was made on is unsettled, or came to the server behind it, or never came there: it is sent again. If
            // the same version is in the way once more, that was not why.
            let place = entry.place;
            let is_known = stands_on_pending || entry.freed;
            entry.met = if is_known { Seq::ZERO } else { until };
            self.requeue(entry).await?;
            self.requeue_behind(place, &slots).await?;
            return Ok(Vec::new());
        }
        let loss = Loss {
            kind: JournalKind::Conflict,
            rule: NOT_READABLE,
            code: Some("forbidden".to_owned()),
            reason: Some(
                "the server's version of the document cannot be read or is gone".to_owned(),
            ),
        };
        self.lose(entry, slots, remotes, loss).await
    }

    /// The whole mutation loses: into the journal, and its documents back to the server's versions.
    pub(in crate::replica) async fn lose(
        &mut self,
        entry: Entry,
        mut slots: Vec<Slot>,
        remotes: Vec<Option<RemoteVersion>>,
        loss: Loss<'_>,
    ) -> Result<Vec<Place>> {
        let only_shape =
            !entry.changes.is_empty() && entry.changes.iter().all(|change| change.migrated);
        if !only_shape && !active("pocket-mutant:loser-not-journaled") {
            self.note(&entry, &remotes, Winner::Remote, &loss);
        }
        let stays = self.keep_erases(&entry).await?;
        if !stays {
            self.drop_entry(&entry);
        }
        let mut next = Vec::new();
        for ((change, slot), remote) in entry.changes.iter().zip(&mut slots).zip(remotes) {
            if stays && matches!(change.kind, ChangeKind::Erase) {
                if let Some(document) = &mut slot.after
                    && document.head.rev == change.rev
                {
                    document.head.rev = own(self.tx, change.rev);
                }
                slot.store(self.tx);
                continue;
            }
            if matches!(change.kind, ChangeKind::Erase) {
                self.unerased.add(slot);
            }
            let before = slot
                .pending()
                .iter()
                .copied()
                .rfind(|place| *place < entry.place);
            slot.forget_place(entry.place);
            if let Some(before) = before {
                // The version it was made on is pending itself.
                let earlier = outbox::load(self.tx, self.target, before).await?;
                let earlier = earlier
                    .changes
                    .into_iter()
                    .find(|earlier| earlier.document() == change.document());
                if let Some(earlier) = earlier {
                    if slot.pending().last() == Some(&before)
                        && !self.is_the_devices(slot, change.rev)
                    {
                        rebase::show(slot, &earlier);
                    }
                    let stand = earlier
                        .kind
                        .body()
                        .map(|body| (earlier.rev, Some(body.clone())));
                    self.rebase_behind(entry.place, slot, change, stand).await?;
                }
            } else if slot.pending().is_empty() {
                self.adopt(slot, change.rev, remote);
            } else {
                let deleted = remote
                    .as_ref()
                    .is_some_and(|remote| remote.version.presence != Presence::Live);
                // Moved onto nothing, those behind would bring back what was deleted: each meets a conflict of its own.
                if let Some(remote) = remote
                    .as_ref()
                    .filter(|remote| !rebase::is_bodiless(remote))
                {
                    // What was dropped may have been the only place that kept the server's body.
                    let body = remote.body.clone();
                    self.tx.put(
                        keys::shadow(self.target, slot.collection, &slot.id),
                        &[&Shadow { body }.encode()],
                    );
                }
                // What lost without an entry in the journal leaves an edit behind it that never met this version: moved onto
                // it, that would replace it as if somebody had read it.
                let is_base = |remote: &RemoteVersion| Some(remote.version.rev) == change.base;
                let is_told = !only_shape || remote.as_ref().is_none_or(is_base);
                if !deleted && is_told {
                    let server = remote.map(|remote| (remote.version.rev, remote.body));
                    self.rebase_behind(entry.place, slot, change, server)
                        .await?;
                }
            }
            next.extend(slot.pending().first().copied());
            self.store_slot(slot)?;
        }
        Ok(next)
    }

    /// Erases in a mutation that loses stay in the outbox by themselves: nothing is left here to go back to, and an
    /// erase beats every strategy. Says whether there are any beside what loses.
    async fn keep_erases(&mut self, entry: &Entry) -> Result<bool> {
        let (erases, others): (Vec<_>, Vec<_>) = entry
            .changes
            .iter()
            .cloned()
            .partition(|change| matches!(change.kind, ChangeKind::Erase));
        if erases.is_empty() || others.is_empty() {
            return Ok(false);
        }
        let own = |change: PendingChange| PendingChange {
            rev: own(self.tx, change.rev),
            ..change
        };
        let rest = Entry {
            progress: Progress::Unsent,
            withdrawn: false,
            ended: 0,
            doubt: Doubt::None,
            returns: false,
            met: Seq::ZERO,
            freed: false,
            changes: erases.into_iter().map(own).collect(),
            ..entry.clone()
        };
        outbox::stop_waiting(self.tx, self.target, entry.place);
        outbox::store(self.tx, self.target, &rest, entry.changes.len());
        self.requeue(rest).await?;
        Ok(true)
    }

    /// The document, of which `settled` was the last pending version, becomes what the server is known to have.
    pub(in crate::replica) fn adopt(
        &mut self,
        slot: &mut Slot,
        settled: Revision,
        remote: Option<RemoteVersion>,
    ) {
        self.tx
            .delete(keys::shadow(self.target, slot.collection, &slot.id));
        if self.is_the_devices(slot, settled) {
            return;
        }
        let shows = |remote: &RemoteVersion| {
            remote.version.presence != Presence::Hidden && !rebase::is_bodiless(remote)
        };
        let shown = remote.filter(shows);
        let head = slot.after.as_ref().map(|document| &document.head);
        let own = self.tx.client();
        slot.after = shown.map(|remote| {
            let left = head.map_or_else(Default::default, |head| {
                (head.resync, head.replaced(remote.version.rev, own))
            });
            server_document(remote.version, remote.body, left)
        });
    }

    /// Whether a document was written since sync of its collection was switched off, behind the pending version
    /// `settled`: then no outcome of what is still on its way may touch it.
    pub(in crate::replica) fn is_the_devices(&self, slot: &Slot, settled: Revision) -> bool {
        let shown = slot.after.as_ref().map(|document| document.head.rev);
        shown != Some(settled) && !self.tx.registry().syncs(slot.collection)
    }

    pub(super) fn note(
        &mut self,
        entry: &Entry,
        remotes: &[Option<RemoteVersion>],
        winner: Winner,
        loss: &Loss<'_>,
    ) {
        if self.is_hushed(entry, remotes, winner, loss) {
            return;
        }
        let note = Note {
            kind: loss.kind,
            target: self.target,
            entry,
            remote: remotes.to_vec(),
            winner,
            rule: loss.rule,
            code: loss.code.clone(),
            reason: loss.reason.clone(),
        };
        let number = journal::write(self.tx, note);
        self.journaled.push(number);
    }

    /// Whether a planted bug keeps an entry out of the journal; in a product none does.
    fn is_hushed(
        &self,
        entry: &Entry,
        remotes: &[Option<RemoteVersion>],
        winner: Winner,
        loss: &Loss<'_>,
    ) -> bool {
        let met =
            |is_meant: &dyn Fn(&RemoteVersion) -> bool| remotes.iter().flatten().any(is_meant);
        let is_dead = |remote: &RemoteVersion| remote.version.presence.is_deletion();
        let is_own = |remote: &RemoteVersion| remote.version.rev.client == self.tx.client();
        let deletes = || {
            let mut changes = entry.changes.iter();
            changes.all(|change| matches!(change.kind, ChangeKind::Delete))
        };
        let ends = || {
            let rows = entry
                .changes
                .iter()
                .map(|it| self.tx.registry().row(it.collection));
            rows.flatten().any(|(_, row)| row.later.ttl.is_some())
        };
        if winner != Winner::Remote {
            return active("pocket-mutant:tombstone-loses-in-silence") && met(&is_dead);
        }
        active("pocket-mutant:lost-delete-not-journaled") && deletes()
            || active("pocket-mutant:unseen-loss-not-journaled")
                && met(&|remote| is_dead(remote) && is_own(remote))
            || active("pocket-mutant:expired-loss-not-journaled") && ends() && met(&is_dead)
            || active("pocket-mutant:refusal-not-journaled") && loss.kind == JournalKind::Refusal
            || active("pocket-mutant:revoked-loss-not-journaled") && loss.rule == "access-revoked"
            || active("pocket-mutant:doubt-lost-in-silence") && loss.rule == "outcome-unknown"
            || active("pocket-mutant:erased-loss-not-journaled") && loss.rule == "erased"
    }

    /// Removes a mutation and all that points to it, but the places in its documents.
    pub(in crate::replica) fn drop_entry(&mut self, entry: &Entry) {
        outbox::stop_waiting(self.tx, self.target, entry.place);
        outbox::remove(self.tx, self.target, entry, entry.changes.len());
    }

    /// Stores a document that sync changed, and tells it.
    pub(in crate::replica) fn store_slot(&mut self, slot: &Slot) -> Result<()> {
        store_slot(self.tx, slot)
    }
}

/// A revision of the same time that is this client's: it may have had another id when it gave `rev`.
fn own(tx: &Tx, rev: Revision) -> Revision {
    Revision::new(rev.hlc, tx.client())
}

pub(in crate::replica) fn store_slot(tx: &mut Tx, slot: &Slot) -> Result<()> {
    slot.store(tx);
    let version = |stored: &'_ Option<StoredDocument>| {
        let stored = stored.as_ref()?;
        Some((stored.head.rev, stored.body.clone()))
    };
    let (before, after) = (version(&slot.before), version(&slot.after));
    if before == after {
        return Ok(());
    }
    let document = |version: Option<(Revision, Option<Body>)>| {
        version.map(|(rev, body)| Document::new(slot.id.clone(), rev, body))
    };
    let (before, after) = (document(before), document(after));
    let name = tx.registry().name(slot.collection)?;
    if let Some(event) = ChangeEvent::between(name, before, after, true) {
        tx.event(event);
    }
    Ok(())
}
