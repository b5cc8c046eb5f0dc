//! Outcomes: what a mutation's answer does to outbox, documents and journal.

mod refusal;

use std::sync::Arc;

pub(super) use self::refusal::catch_up;
use self::refusal::{rejected, restamp, withdrawn};
use super::conflict::Resolver;
use super::resolve::Resolution;
use super::state::{ReplicaState, left_out, snapshot};
use super::unerased::Unerased;
use super::{load_target, store_target};
use crate::commit::Job;
use crate::damage::Server;
use crate::erase::{self, Erased, Forget};
use crate::journal::RemoteVersion;
use crate::keys::{self, BodyOf, CollectionId, Target};
use crate::outbox::{self, Entry, Slot};
use crate::stored::{
    self, ChangeRow, CheckpointRow, MutationRow, ServerVersion, Shadow, StoredKind, TargetRow,
};
use crate::tx::Tx;
use crate::{Body, DocumentId, MutationNumber, Outcome, Place, Result, Revision, Seq};

/// The code of a refusal that a corrected clock mends.
const CLOCK: &str = "clock";

/// The code of what no server may answer.
const UNEXPECTED: &str = "unexpected-message";

/// What outcomes did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// The state afterwards.
    pub state: ReplicaState,
    /// Mutations that took effect.
    pub applied: usize,
    /// Mutations that were refused.
    pub rejected: usize,
    /// Mutations that met a conflict.
    pub conflicts: usize,
    /// Entries that were written into the journal.
    pub journaled: Vec<u64>,
    /// Entries that were written into it besides, about documents that have the same values in a unique index.
    pub violations: Vec<u64>,
}

pub(super) struct SettleJob {
    pub(super) target: Target,
    pub(super) first: MutationNumber,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) resolver: Arc<dyn Resolver>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for SettleJob {
    type Output = Settled;

    fn runs_alone(&self) -> bool {
        true
    }

    fn is_by_sync(&self) -> bool {
        true
    }

    fn add_violations(output: &mut Self::Output, entries: &[u64]) {
        output.violations.extend(entries);
        output.state.open_conflicts += entries.len() as u64;
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Settled> {
        let mut row = load_target(tx, self.target).await?;
        let numbers: Vec<_> = (0..self.outcomes.len() as u64)
            .map(|index| self.first.plus(index))
            .collect();
        let pinned = self.pinned(tx, &numbers).await?;
        let mut settled = Settled {
            state: super::state::snapshot_with(tx, &row, 0),
            applied: 0,
            rejected: 0,
            conflicts: 0,
            journaled: Vec::new(),
            violations: Vec::new(),
        };
        let mut free: Vec<Place> = Vec::new();
        let mut erased = Erased::new();
        let left_out = left_out(tx, &row);
        let mut told = row.later.told;
        let mut resolution = Resolution {
            left_out,
            tx,
            target: self.target,
            resolver: self.resolver.clone(),
            read_to: row.checkpoint.seq,
            journaled: Vec::new(),
            answers: Vec::new(),
            questions: Vec::new(),
            unerased: Unerased::default(),
        };
        for ((number, pinned), outcome) in numbers.into_iter().zip(pinned).zip(&self.outcomes) {
            // Not pending: an answer that was given before.
            let Some((place, place_row)) = pinned else {
                continue;
            };
            resolution.tx.delete(keys::number(self.target, number));
            match outcome {
                // Only its number arrived. With a place, the change itself had arrived before it was taken back.
                Outcome::Applied { first: Seq::ZERO }
                    if place_row.is_withdrawn()
                        && !crate::mutants::active("pocket-mutant:withdrawn-counts-as-done") =>
                {
                    settled.rejected += 1;
                    let entry =
                        outbox::from_row(resolution.tx, self.target, place, place_row).await?;
                    free.extend(withdrawn(&mut resolution, entry).await?);
                }
                // The usual outcome, and the only one that needs no bodies.
                Outcome::Applied { first } => {
                    settled.applied += 1;
                    erased.extend(erases(&place_row.changes));
                    let changes = place_row.changes.len() as u64;
                    let last = first.plus(changes.saturating_sub(1));
                    told = told.max(last);
                    let checkpoint = &mut row.checkpoint;
                    let reads = checkpoint.reads_from_the_start();
                    // Of what comes behind the head that its first page saw, deletions are told.
                    let is_blind = checkpoint.epoch.is_none() || *first <= checkpoint.later.blind;
                    checkpoint.later.unsure |= reads && is_blind;
                    let clock = resolution.tx.state().clock;
                    let mut changes = place_row.changes.iter();
                    let was_set_back = changes.any(|change| change.rev.hlc > clock);
                    free.extend(
                        applied(&mut resolution, place, &place_row, (*first, checkpoint)).await?,
                    );
                    if was_set_back {
                        catch_up(resolution.tx, self.target).await?;
                    }
                }
                Outcome::Conflict { .. } if is_an_erase(&place_row) => {
                    settled.rejected += 1;
                    let entry =
                        outbox::from_row(resolution.tx, self.target, place, place_row).await?;
                    let reason = "the server answered an erase with a conflict, and an erase stands on everything";
                    free.extend(rejected(&mut resolution, entry, UNEXPECTED, reason).await?);
                }
                Outcome::Conflict { seqs } => {
                    settled.conflicts += 1;
                    let entry =
                        outbox::from_row(resolution.tx, self.target, place, place_row).await?;
                    // What it was made on may have waited for this very outcome.
                    free.extend(made_on(resolution.tx, &entry).await?);
                    wait(&mut resolution, entry, seqs);
                    free.push(place);
                }
                Outcome::Rejected {
                    code,
                    server_time: Some(server_time),
                    ..
                } if code == CLOCK => {
                    let entry =
                        outbox::from_row(resolution.tx, self.target, place, place_row).await?;
                    free.extend(made_on(resolution.tx, &entry).await?);
                    restamp(&mut resolution, entry, *server_time).await?;
                }
                Outcome::Rejected { code, reason, .. } => {
                    settled.rejected += 1;
                    let entry =
                        outbox::from_row(resolution.tx, self.target, place, place_row).await?;
                    free.extend(rejected(&mut resolution, entry, code, reason).await?);
                }
            }
        }
        for place in free {
            resolution.try_resolve(place).await?;
        }
        settled.journaled = std::mem::take(&mut resolution.journaled);
        let unerased = resolution.unerased;
        erase::forget_content(tx, self.target, &erased, Forget::Everything).await?;
        row.later.told = told;
        unerased.read_again(tx, self.target, &mut row).await?;
        self.confirm(tx, &mut row).await?;
        store_target(tx, self.target, &row);
        settled.state = snapshot(tx, self.target, &row).await?;
        Ok(settled)
    }
}

impl SettleJob {
    /// The mutation of each number, none where it is not pending. One that has a number never changes, so all are
    /// read before the first outcome is looked at, in a few calls to the store.
    async fn pinned(
        &self,
        tx: &mut Tx,
        numbers: &[MutationNumber],
    ) -> Result<Vec<Option<(Place, MutationRow)>>> {
        let keys: Vec<_> = numbers
            .iter()
            .map(|number| keys::number(self.target, *number))
            .collect();
        let mut places = Vec::with_capacity(keys.len());
        for payload in tx.get_many(&keys).await? {
            places.push(
                payload?
                    .map(|payload| stored::decode::<Place>(&payload))
                    .transpose()?,
            );
        }
        let pending = places.iter().flatten();
        let keys: Vec<_> = pending
            .map(|place| keys::outbox(self.target, *place))
            .collect();
        let mut rows = tx.get_many(&keys).await?.into_iter();
        let mut pinned = Vec::with_capacity(places.len());
        for place in places {
            pinned.push(match place {
                Some(place) => {
                    let payload = rows.next().and_then(|read| read.ok().flatten());
                    let row = payload.and_then(|payload| stored::decode(&payload).ok());
                    Some((
                        place,
                        match row {
                            Some(row) => row,
                            // What is damaged is made anew.
                            None => outbox::load_row(tx, self.target, place).await?,
                        },
                    ))
                }
                None => None,
            });
        }
        let changes = pinned.iter().flatten().flat_map(|(_, row)| &row.changes);
        let documents = changes.map(|change| keys::document(change.collection(), &change.id));
        tx.read_ahead(documents.collect()).await?;
        Ok(pinned)
    }

    /// The mark moves to just before the first number whose outcome is unknown.
    async fn confirm(&self, tx: &mut Tx, row: &mut TargetRow) -> Result<()> {
        // None of those that were just answered is pending any more.
        let answered = self.first..self.first.plus(self.outcomes.len() as u64);
        let mut next = row.confirmed.next();
        while next <= row.last_number {
            let is_pending = !answered.contains(&next)
                && tx.get(&keys::number(self.target, next)).await?.is_some();
            if is_pending {
                break;
            }
            row.confirmed = next;
            next = next.next();
        }
        Ok(())
    }
}

/// Whether a mutation does nothing but erase, so that no version can be in its way.
fn is_an_erase(row: &MutationRow) -> bool {
    !row.changes.is_empty() && erases(&row.changes).count() == row.changes.len()
}

/// The documents that a mutation erases.
fn erases(changes: &[ChangeRow]) -> impl Iterator<Item = (CollectionId, DocumentId)> {
    let erases = changes.iter().filter(|row| row.kind == StoredKind::Erase);
    erases.map(|row| (row.collection(), row.id.clone()))
}

/// All changes took effect, the first at `first`.
async fn applied(
    resolution: &mut Resolution<'_>,
    place: Place,
    row: &MutationRow,
    (first, checkpoint): (Seq, &CheckpointRow),
) -> Result<Vec<Place>> {
    let target = resolution.target;
    let mut free = Vec::new();
    for (index, change) in (0_u32..).zip(&row.changes) {
        let seq = first.plus(u64::from(index));
        let mut slot = Slot::recover(
            resolution.tx,
            change.collection(),
            &change.id,
            Server::ReadAgain,
        )
        .await?;
        slot.forget_place(place);
        free.extend(overtake(resolution, &mut slot, place).await?);
        resolution.tx.has_seen(change.rev.hlc);
        if is_gone(resolution.tx, checkpoint, &slot, seq)? {
            resolution.bury(&mut slot, checkpoint);
        }
        let newer = slot
            .after
            .as_ref()
            .and_then(|document| document.head.server)
            .is_some_and(|server| {
                // Another version at the same place says that the place was passed and this one not shown.
                server.seq > seq || (server.seq == seq && server.rev != change.rev)
            });
        free.extend(slot.pending().first().copied());
        if newer {
            if slot.pending().is_empty() {
                // Somebody was faster than the answer: theirs is the document, and no conflict.
                let remote = resolution.remote_of(&slot).await?;
                resolution.adopt(&mut slot, change.rev, remote);
            }
        } else if let Some(document) = &mut slot.after {
            let version = ServerVersion {
                rev: change.rev,
                seq,
                presence: change.kind.presence(),
            };
            document.head.server = Some(version);
            // Its place is of the history that was read last, whatever an earlier one had there.
            let mark = &mut document.head.resync;
            *mark = (*mark).max(checkpoint.settled_since());
            let follows = document.head.pending.is_empty() && document.head.rev != change.rev;
            let shadow = keys::shadow(target, slot.collection, &slot.id);
            let kept = is_kept(resolution.tx, target, &slot, change.rev).await?;
            if kept && !follows {
                resolution.tx.delete(shadow);
            } else {
                // The mutation goes, and with it the only copy of what the server has.
                let body = keys::outbox_body(target, place, index, BodyOf::Local);
                let body = resolution.tx.get(&body).await?.map(Body::from_trusted);
                if follows {
                    // What was made anew behind an erase on its way was taken back before it was sent.
                    resolution.adopt(&mut slot, change.rev, Some(RemoteVersion { version, body }));
                } else {
                    resolution.tx.put(shadow, &[&Shadow { body }.encode()]);
                }
            }
        }
        resolution.store_slot(&slot)?;
    }
    // It never met a conflict, so it waits for nothing.
    outbox::remove_row(resolution.tx, target, place, row);
    Ok(free)
}

/// Whether a version that took effect at `seq` must have been deleted since: a reading from the start has passed that
/// place, left out deletions, and shown nothing of the document.
fn is_gone(tx: &Tx, checkpoint: &CheckpointRow, slot: &Slot, seq: Seq) -> Result<bool> {
    let passed = seq <= checkpoint.later.blind && seq < checkpoint.seq;
    if !passed || checkpoint.reads_from_the_start() {
        return Ok(false);
    }
    let name = tx.registry().name(slot.collection)?;
    let joins = checkpoint
        .joining
        .iter()
        .any(|(joining, _)| *joining == name);
    let scope = checkpoint.scope.as_ref();
    // While sync of it was switched off, or since, its records passed unseen.
    let collection = tx.registry().get_even_dropped(&name);
    let syncs = collection.is_some_and(|row| row.sync && !row.joins);
    let read = syncs && !joins && scope.is_none_or(|names| names.contains(&name));
    let server = slot
        .after
        .as_ref()
        .and_then(|document| document.head.server);
    Ok(read && server.is_none_or(|server| server.seq < seq))
}

/// Whether a version that the server has now is what readers see, or the base of the next pending change.
pub(super) async fn is_kept(
    tx: &mut Tx,
    target: Target,
    slot: &Slot,
    rev: Revision,
) -> Result<bool> {
    let Some(next) = slot.pending().first() else {
        return Ok(true);
    };
    let row = outbox::load_row(tx, target, *next).await?;
    Ok(row.changes.iter().any(|change| {
        let is_same = change.collection() == slot.collection && change.id == slot.id;
        is_same && change.base == Some(rev) && change.has_base_body
    }))
}

/// Takes a document out of earlier mutations that met a conflict: whoever made the later one, which took effect, had
/// seen what they did to it.
async fn overtake(
    resolution: &mut Resolution<'_>,
    slot: &mut Slot,
    place: Place,
) -> Result<Vec<Place>> {
    let target = resolution.target;
    let mut overtaken = Vec::new();
    let earlier = slot.pending().iter().copied();
    for earlier in earlier
        .filter(|earlier| *earlier < place)
        .collect::<Vec<_>>()
    {
        let mut entry = outbox::load(resolution.tx, target, earlier).await?;
        if entry.is_pinned() {
            continue;
        }
        let stored = entry.changes.len();
        entry
            .changes
            .retain(|change| change.document() != (slot.collection, slot.id.clone()));
        slot.forget_place(earlier);
        if entry.changes.is_empty() {
            outbox::stop_waiting(resolution.tx, target, earlier);
            outbox::remove(resolution.tx, target, &entry, stored);
        } else {
            outbox::store(resolution.tx, target, &entry, stored);
            overtaken.push(earlier);
        }
    }
    Ok(overtaken)
}

/// The first pending mutation of each document of `entry`: all later ones stand on it.
async fn made_on(tx: &mut Tx, entry: &Entry) -> Result<Vec<Place>> {
    let mut places = Vec::with_capacity(entry.changes.len());
    for change in &entry.changes {
        let slot = Slot::recover(tx, change.collection, &change.id, Server::ReadAgain).await?;
        places.extend(slot.pending().first().copied());
    }
    Ok(places)
}

/// Some bases are not current: the mutation waits until the feed was read up to the records in its way.
fn wait(resolution: &mut Resolution<'_>, mut entry: Entry, seqs: &[Seq]) {
    let until = seqs.iter().max().copied().unwrap_or(Seq::ZERO);
    entry.freed = false;
    entry.acquit();
    outbox::wait(resolution.tx, resolution.target, &mut entry, until);
}
