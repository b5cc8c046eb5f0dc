//! Another client id: what a copied or restored store takes, and what becomes of its pending changes.
//!
//! A copy of this store may have sent what is pending here, under the old id. So each pending mutation is in doubt: it
//! keeps its old revisions and waits until the feed was read to the head of the next handshake. If the server shows one
//! of its versions by then, it took effect. If it stands on what the server shows, it is sent anew, under revisions of
//! the new id that keep their time. Else somebody wrote later, maybe after it took effect: the server's version stands,
//! and the journal keeps the local one. Only what was never sent from here, and met nothing of the old id, is resolved
//! by the collection's strategy.

use pocket_storage::ScanLimit;

use super::resolve::{self, Loss, Resolution};
use super::state::{ReplicaState, snapshot};
use super::{load_target, rebase, resync, store_target};
use crate::commit::Job;
use crate::damage::Server;
use crate::journal::{JournalKind, RemoteVersion};
use crate::keys::{self, Target};
use crate::mutants::active;
use crate::outbox::{self, Entry, PendingChange, Slot};
use crate::stored::{self, DatabaseHead, Doubt, Presence, Progress};
use crate::tx::Tx;
use crate::{ChangeKind, ClientId, MutationNumber, Place, Result, Revision, Seq, random_bytes};

/// Until the next handshake tells the head, doubts last for ever.
const NOT_YET: Seq = Seq::new(u64::MAX);

/// Mutations read at once.
const CHUNK: usize = 256;

pub(super) struct RenewJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for RenewJob {
    type Output = ReplicaState;

    fn runs_alone(&self) -> bool {
        true
    }

    fn is_by_sync(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<ReplicaState> {
        let mut row = load_target(tx, self.target).await?;
        let payload = tx.get(keys::DATABASE).await?;
        let payload = payload.ok_or_else(|| stored::damaged("the database has no head"))?;
        let head: DatabaseHead = stored::decode(&payload)?;
        let client = ClientId::from_bytes(random_bytes(&*tx.core().env));
        tx.become_client(client);
        let head = DatabaseHead { client, ..head };
        tx.put(keys::DATABASE.to_vec(), &[&stored::encode(&head)]);
        row.token = None;
        row.confirmed = MutationNumber::ZERO;
        row.last_number = MutationNumber::ZERO;
        let was_sent = self.doubt_all(tx).await?;
        if was_sent || row.checkpoint.rights.is_some() {
            // What took effect from here was not sent back here, and its answer may be lost. Of a document that the user
            // may not read, only the client that wrote it is told to let go; and that this one is no longer.
            resync::begin(tx, self.target, &mut row, None).await?;
        }
        store_target(tx, self.target, &row);
        snapshot(tx, self.target, &row).await
    }
}

impl RenewJob {
    /// Says whether anything of it was sent.
    async fn doubt_all(&self, tx: &mut Tx) -> Result<bool> {
        let target = self.target;
        let mut was_sent = false;
        let mut range = keys::outbox_from(target, Place::ZERO);
        loop {
            let Some(rows) = outbox::page(tx, target, &mut range, CHUNK).await? else {
                return Ok(was_sent);
            };
            for (key, payload) in &rows {
                let place = keys::trailing_number(key)
                    .ok_or_else(|| stored::damaged("a key of the outbox is too short"))?;
                let place = Place::new(place);
                let mut row: stored::MutationRow = stored::decode(payload)?;
                let doubt = match row.progress {
                    Progress::Pinned(number) => {
                        tx.delete(keys::number(target, number));
                        Doubt::Sent
                    }
                    Progress::Unsent | Progress::Conflicted(_) => Doubt::Unsent,
                };
                was_sent |= doubt == Doubt::Sent;
                row.later.doubt = row.later.doubt.max(doubt);
                row.progress = Progress::Conflicted(NOT_YET);
                tx.put(keys::outbox(target, place), &[&stored::encode(&row)]);
                tx.delete(keys::question(target, place));
                tx.put(keys::waiting(target, place), &[&stored::encode(&NOT_YET)]);
            }
        }
    }
}

/// A handshake under the new id told the head: what took effect under the old one stands at or before it.
pub(super) async fn doubts_until(tx: &mut Tx, target: Target, head: Seq) -> Result<()> {
    wait_until(tx, target, head, |until| until == NOT_YET).await
}

/// A page that does not reach the head leaves out what changed again behind it: of a transaction one half may be shown,
/// and the other not yet.
pub(super) async fn doubts_wait_on(tx: &mut Tx, target: Target, head: Seq) -> Result<()> {
    wait_until(tx, target, head, |until| until < head).await
}

/// Those doubts that waited for a place of this kind wait for that of the head.
async fn wait_until(
    tx: &mut Tx,
    target: Target,
    head: Seq,
    is_meant: impl Fn(Seq) -> bool,
) -> Result<()> {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    for (key, payload) in tx.scan(keys::all_waiting(target), limit).await? {
        let until: Seq = stored::decode(&payload)?;
        if !is_meant(until) {
            continue;
        }
        let place = keys::trailing_number(&key)
            .ok_or_else(|| stored::damaged("a waiting key is too short"))?;
        let place = Place::new(place);
        let mut row = outbox::load_row(tx, target, place).await?;
        if row.later.doubt == Doubt::None {
            continue;
        }
        row.progress = Progress::Conflicted(head);
        tx.put_row(keys::outbox(target, place), &row);
        tx.put(key, &[&stored::encode(&head)]);
    }
    Ok(())
}

/// What is known about a mutation in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// It took effect.
    Done,
    /// What it was made on stands.
    Stands,
    /// Somebody wrote later.
    Overtaken,
}

impl Resolution<'_> {
    /// Ends the doubt about a mutation. Returns the mutations to look at next.
    pub(super) async fn end_doubt(
        &mut self,
        mut entry: Entry,
        mut slots: Vec<Slot>,
    ) -> Result<Vec<Place>> {
        if slots
            .iter()
            .any(|slot| slot.pending().first() != Some(&entry.place))
        {
            // What it was made on comes first, and takes this along.
            return Ok(Vec::new());
        }
        let mut remotes = Vec::with_capacity(slots.len());
        for slot in &slots {
            remotes.push(self.remote_of(slot).await?);
        }
        let done: Vec<bool> = entry.changes.iter().zip(&remotes).map(is_this).collect();
        if done.contains(&true) && done.contains(&false) {
            return self.settle_in_part(entry, slots, remotes, &done).await;
        }
        let pairs = || entry.changes.iter().zip(&remotes);
        let is_dropped = active("pocket-mutant:deletes-in-doubt-dropped")
            && entry.doubt == Doubt::Unsent
            && pairs().all(|(change, _)| matches!(change.kind, ChangeKind::Delete));
        let is_done = is_dropped || active("pocket-mutant:doubt-is-done");
        let finding = if is_done || pairs().any(is_this) {
            Finding::Done
        } else if pairs().all(stands) {
            Finding::Stands
        } else if pairs().all(says_the_same) {
            Finding::Done
        } else {
            Finding::Overtaken
        };
        let of_the_old_id = |(change, remote): (&PendingChange, &Option<RemoteVersion>)| {
            let client = remote.as_ref().map(|remote| remote.version.rev.client);
            client == Some(change.rev.client)
        };
        let may_be_done = entry.doubt == Doubt::Sent || pairs().any(of_the_old_id);
        match finding {
            Finding::Done => {
                self.drop_entry(&entry);
                let mut next = Vec::new();
                let changes = entry.changes.iter();
                for ((slot, remote), change) in slots.iter_mut().zip(remotes).zip(changes) {
                    slot.forget_place(entry.place);
                    match slot.pending().first() {
                        Some(first) => next.push(*first),
                        None => self.adopt(slot, change.rev, remote),
                    }
                    self.store_slot(slot)?;
                }
                Ok(next)
            }
            Finding::Overtaken if may_be_done && !entry.withdrawn => {
                self.lose(entry, slots, remotes, outcome_unknown()).await
            }
            Finding::Stands | Finding::Overtaken => {
                self.make_own(&mut entry).await?;
                Ok(vec![entry.place])
            }
        }
    }

    /// A copy sent the mutation before a later change was merged with it here, or all of it took effect and somebody
    /// wrote over a part of it since. What the server shows is settled; the rest is a mutation of its own, and stays in
    /// doubt. If it was sent from here, and what it was made on does not show that it took no effect, it loses: sent anew
    /// it might undo a deletion. What is not in doubt at all is sent.
    pub(super) async fn settle_in_part(
        &mut self,
        entry: Entry,
        slots: Vec<Slot>,
        remotes: Vec<Option<RemoteVersion>>,
        done: &[bool],
    ) -> Result<Vec<Place>> {
        let mut next = Vec::new();
        let mut rest = Entry {
            changes: Vec::new(),
            ..entry.clone()
        };
        let (mut rest_slots, mut rest_remotes) = (Vec::new(), Vec::new());
        let stored = entry.changes.len();
        let parts = entry.changes.into_iter().zip(slots).zip(remotes).zip(done);
        for (((change, mut slot), remote), done) in parts {
            if !done {
                rest.changes.push(change);
                rest_slots.push(slot);
                rest_remotes.push(remote);
                continue;
            }
            slot.forget_place(entry.place);
            match slot.pending().first() {
                Some(first) => next.push(*first),
                None => self.adopt(&mut slot, change.rev, remote),
            }
            self.store_slot(&slot)?;
        }
        if rest.changes.is_empty() {
            outbox::stop_waiting(self.tx, self.target, rest.place);
            outbox::remove(self.tx, self.target, &rest, stored);
            return Ok(next);
        }
        outbox::store(self.tx, self.target, &rest, stored);
        if rest.doubt == Doubt::None {
            next.push(rest.place);
            self.requeue(rest).await?;
            return Ok(next);
        }
        let pairs = rest.changes.iter().zip(&rest_remotes);
        let mut untouched = pairs.map(|pair| pair.0.base.is_some() && stands(pair));
        if rest.doubt == Doubt::Sent && !untouched.all(|untouched| untouched) {
            let lost = self.lose(rest, rest_slots, rest_remotes, outcome_unknown());
            next.extend(lost.await?);
        } else {
            next.push(entry.place);
        }
        Ok(next)
    }

    /// The mutation is unsent, and of this client: its revisions keep their time.
    pub(super) async fn make_own(&mut self, entry: &mut Entry) -> Result<()> {
        let client = self.tx.client();
        for change in &mut entry.changes {
            let old = change.rev;
            change.rev = Revision::new(old.hlc, client);
            let mut slot =
                Slot::recover(self.tx, change.collection, &change.id, Server::ReadAgain).await?;
            let revs = (old, change.rev);
            self.restand_behind(entry.place, &slot, &change.document(), revs)
                .await?;
            if let Some(document) = &mut slot.after {
                document.head.rename(old, change.rev);
            }
            slot.store(self.tx);
        }
        entry.progress = Progress::Unsent;
        // A server that was restored since may have lost it, and others have it.
        entry.returns |= entry.doubt == Doubt::Sent;
        entry.doubt = Doubt::None;
        outbox::stop_waiting(self.tx, self.target, entry.place);
        outbox::store_head(self.tx, self.target, entry);
        self.tx.outbox_grew();
        Ok(())
    }
}

fn outcome_unknown() -> Loss<'static> {
    let reason = "whether the change took effect before the client got another id cannot be known";
    Loss {
        kind: JournalKind::Conflict,
        rule: "outcome-unknown",
        code: None,
        reason: Some(reason.to_owned()),
    }
}

/// Whether the server shows the very version that a change made. Two copies of a store may give the same revision to
/// different writes, so what they hold is compared too.
fn is_this((change, remote): (&PendingChange, &Option<RemoteVersion>)) -> bool {
    let Some(remote) = remote
        .as_ref()
        .filter(|remote| remote.version.rev == change.rev)
    else {
        return false;
    };
    match (change.kind.body(), &remote.body) {
        (Some(local), Some(remote)) => local.same_value(remote),
        // It may stand there and not be known here by more than its revision.
        (Some(_), None) => !remote.version.presence.is_deletion(),
        (None, Some(_)) => false,
        (None, None) => true,
    }
}

/// Whether what the server shows is what a change was made on.
fn stands((change, remote): (&PendingChange, &Option<RemoteVersion>)) -> bool {
    let Some(remote) = remote else {
        return change.base.is_none();
    };
    let version = remote.version;
    let live = version.presence == Presence::Live;
    match (&change.kind, change.base) {
        // Whoever wrote after it, or deleted what it made, had seen it; so his clock was ahead of it.
        (ChangeKind::Erase, _) => version.rev.hlc < change.rev.hlc,
        (_, None) => !live && version.rev.hlc < change.rev.hlc,
        (_, Some(_)) => live && resolve::is_base(change, remote),
    }
}

/// Whether the server shows the same content.
fn says_the_same((change, remote): (&PendingChange, &Option<RemoteVersion>)) -> bool {
    let bodiless = remote.as_ref().is_some_and(rebase::is_bodiless);
    let remote = remote.as_ref().and_then(|remote| remote.body.as_ref());
    match (change.kind.body(), remote) {
        (Some(local), Some(remote)) => local.same_value(remote),
        (None, None) => !bodiless,
        _ => false,
    }
}
