//! Resync: everything is read again from the start, then what the server no longer shows is removed.
//!
//! It is due when deletions were forgotten behind the checkpoint, when the server's history is another one than that
//! which was read, and whenever somebody asks for it. Each document that a page shows is marked with the resync's
//! number. Once a page has reached the head, everything the server has was shown; what it had shown before and did not
//! show now is swept away, some documents at a time. The head that the first page saw is fixed: the server leaves out
//! deletions up to there, and tells all later ones.
//!
//! A restored server has another history from some place on. What was read behind that place and is missing or older
//! on the server is sent to it as new edits.

mod sweep;

use pocket_storage::ScanLimit;

pub(super) use self::sweep::{SweepJob, bury};
use super::apply;
use super::state::{ReplicaState, ServerLog, snapshot};
use super::{load_target, store_target};
use crate::commit::Job;
use crate::damage::Server;
use crate::keys::{self, CollectionId, Target};
use crate::mutants::active;
use crate::outbox::{self, PendingChange, Slot};
use crate::parting::{self, Parting};
use crate::stored::{
    self, CheckpointRow, Presence, Progress, Resyncing, ServerVersion, StoredDocument, TargetRow,
};
use crate::tx::Tx;
use crate::{
    Body, ChangeKind, Epoch, Hlc, MutationNumber, Place, Record, RecordState, Result, Revision,
    Seq, random_bytes,
};

/// How a checkpoint relates to a server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The feed can be read on from it.
    Contained,
    /// Deletions behind it are forgotten.
    BelowHorizon,
    /// The histories share places up to this one and no further.
    Parted(Seq),
}

/// Compares what was read with what the server has; begins a resync where they do not fit together.
pub(super) async fn compare(
    tx: &mut Tx,
    target: Target,
    row: &mut TargetRow,
    log: &ServerLog,
) -> Result<()> {
    if log.epochs.is_empty() {
        // Nothing was told: every log has its own opening in the list.
        return Ok(());
    }
    match standing(row, log) {
        Standing::Contained => {}
        Standing::BelowHorizon => begin(tx, target, row, None).await?,
        Standing::Parted(shared) => {
            // What was accepted in the other history says nothing of what this server's clock accepts.
            tx.state().seen = Hlc::from_bits(0);
            if row.checkpoint.epoch.is_some() || row.checkpoint.later.running.is_none() {
                renumber(tx, target, row, log.last_number).await?;
            }
            begin(tx, target, row, Some(shared)).await?;
        }
    }
    if log.last_number < row.confirmed {
        // The server forgot outcomes that are stored here: it was restored, though nothing was read since.
        renumber(tx, target, row, log.last_number).await?;
        begin(tx, target, row, None).await?;
    }
    row.later.epochs.clone_from(&log.epochs);
    Ok(())
}

fn standing(row: &TargetRow, log: &ServerLog) -> Standing {
    let checkpoint = &row.checkpoint;
    let known = row.later.epochs.as_slice();
    let Some(epoch) = checkpoint.epoch else {
        // Read from the start, as far as nothing. What is here has places of the openings that were known: those that come
        // from readings of before, or what was written from here.
        let shared = shared(known, log);
        return if row.later.told > shared {
            Standing::Parted(shared)
        } else {
            Standing::Contained
        };
    };
    let by_name_only = active("pocket-mutant:epoch-by-name-only");
    let mut later = log.epochs.iter().skip_while(|(name, _)| *name != epoch);
    let is_known = later.next().is_some();
    let place = checkpoint.seq.max(row.later.told);
    // A store that never kept the list knows one epoch by name, and not where it began.
    let last = match later.next() {
        Some((_, next)) if known.is_empty() => before(*next),
        None if known.is_empty() => log.head,
        _ => shared(known, log),
    };
    if !is_known && common(known, log).is_none() && is_before_list(place, log) {
        return Standing::BelowHorizon;
    }
    if !is_known || (place > last && !by_name_only) {
        return Standing::Parted(last);
    }
    let place = checkpoint
        .seq
        .max(checkpoint.fixed_head.unwrap_or(Seq::ZERO));
    if place < log.horizon && !active("pocket-mutant:horizon-ignored") {
        return Standing::BelowHorizon;
    }
    Standing::Contained
}

/// The last place that both histories have: that before the first opening in which they differ. Names of openings are
/// random, so whoever knows one of them has the history of that log up to it.
///
/// A server forgets old openings together with the deletions of their time. Where it remembers none of those that were
/// known here, everything before the oldest that it does remember counts as shared: this client was away for too long, or
/// since before the server was restored and for too long. That it cannot tell these two apart costs the second one what the
/// server has lost; taken the other way, each deletion since would be undone.
fn shared(known: &[(Epoch, Seq)], log: &ServerLog) -> Seq {
    let ends = match common(known, log) {
        Some((ours, theirs)) => [known.get(ours + 1), log.epochs.get(theirs + 1)],
        None => [log.epochs.first(), None],
    };
    let ends = ends.into_iter().flatten().map(|(_, first)| before(*first));
    ends.chain([log.head]).min().unwrap_or(Seq::ZERO)
}

/// The newest opening that both know: its places in the two lists.
fn common(known: &[(Epoch, Seq)], log: &ServerLog) -> Option<(usize, usize)> {
    let theirs = |name: Epoch| log.epochs.iter().position(|(epoch, _)| *epoch == name);
    let known = known.iter().enumerate().rev();
    known
        .map(|(at, (name, _))| (at, theirs(*name)))
        .find_map(|(ours, theirs)| Some((ours, theirs?)))
}

/// Whether the server's list of openings begins behind a place.
fn is_before_list(place: Seq, log: &ServerLog) -> bool {
    // The first opening of a log begins at the first place: nothing is before that.
    let oldest = log.epochs.first();
    oldest.is_some_and(|(_, first)| *first > Seq::ZERO.next() && place < *first)
}

fn before(first: Seq) -> Seq {
    Seq::new(first.get().saturating_sub(1))
}

/// Numbers behind the server's last one were never given there: what has one and no outcome gets another one later.
async fn renumber(
    tx: &mut Tx,
    target: Target,
    row: &mut TargetRow,
    last: MutationNumber,
) -> Result<()> {
    let numbers = keys::numbers_from(target, last.next());
    let rows = tx
        .scan(numbers, ScanLimit::entries(usize::MAX).bytes(usize::MAX))
        .await?;
    for (key, payload) in rows {
        let mut entry = outbox::load(tx, target, stored::decode(&payload)?).await?;
        tx.delete(key);
        if entry.is_pinned() {
            entry.progress = Progress::Unsent;
            // It may have taken effect in the history that is lost: who has read it there is to hear of its end.
            entry.returns = true;
            outbox::store_head(tx, target, &entry);
        }
    }
    row.last_number = row.last_number.min(last);
    row.confirmed = row.confirmed.min(last);
    tx.outbox_grew();
    Ok(())
}

/// Begins a resync, or begins it anew.
pub(super) async fn begin(
    tx: &mut Tx,
    target: Target,
    row: &mut TargetRow,
    fork: Option<Seq>,
) -> Result<()> {
    let checkpoint = &mut row.checkpoint;
    // What was read stays here until it is shown again, or swept: should the server lose its place, that is to be noticed.
    let told = row.later.told.max(checkpoint.seq);
    row.later.told = fork.map_or(told, |shared| told.min(shared));
    let later = &mut checkpoint.later;
    later.resync += 1;
    later.unsure = false;
    let mut running = later.running.take().unwrap_or_default();
    running.sweep = None;
    if let Some(shared) = fork {
        running.part((shared, later.resync));
    }
    later.running = Some(running);
    checkpoint.epoch = None;
    checkpoint.seq = Seq::ZERO;
    checkpoint.fixed_head = None;
    checkpoint.joining.clear();
    release_waiting(tx, target).await
}

/// What met a conflict waits for places of the reading that ended: it is unsent again, and meets what is read now.
async fn release_waiting(tx: &mut Tx, target: Target) -> Result<()> {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    for (key, _) in tx.scan(keys::all_waiting(target), limit).await? {
        let place = keys::trailing_number(&key)
            .ok_or_else(|| stored::damaged("a waiting key is too short"))?;
        tx.delete(keys::question(target, Place::new(place)));
        let mut entry = outbox::load(tx, target, Place::new(place)).await?;
        let doubted = entry.doubt != stored::Doubt::None;
        if doubted || is_before_pinned(tx, target, &entry).await? {
            continue;
        }
        entry.progress = Progress::Unsent;
        tx.delete(key);
        outbox::store_head(tx, target, &entry);
    }
    tx.outbox_grew();
    Ok(())
}

/// Whether a later mutation of one of its documents is still on its way: that must not be overtaken.
pub(super) async fn is_before_pinned(
    tx: &mut Tx,
    target: Target,
    entry: &outbox::Entry,
) -> Result<bool> {
    for change in &entry.changes {
        let slot = Slot::recover(tx, change.collection, &change.id, Server::ReadAgain).await?;
        for later in slot.pending().iter().filter(|later| **later > entry.place) {
            let row = outbox::load_row(tx, target, *later).await?;
            if matches!(row.progress, Progress::Pinned(_)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

pub(super) struct BeginJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for BeginJob {
    type Output = ReplicaState;

    fn runs_alone(&self) -> bool {
        true
    }

    fn is_by_sync(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<ReplicaState> {
        let mut row = load_target(tx, self.target).await?;
        begin(tx, self.target, &mut row, None).await?;
        store_target(tx, self.target, &row);
        snapshot(tx, self.target, &row).await
    }
}

/// What a page does to a document beyond what every page does, while a resync runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Places compare as always.
    AsAlways,
    /// The document was read in a history that is lost: the record's place is the one that counts.
    Anew,
    /// It holds what the server lost; this mutation brings it back.
    Kept(Place),
}

/// Marks the document as shown, and keeps what a restored server has lost of it.
pub(super) async fn see(
    tx: &mut Tx,
    target: Target,
    (checkpoint, number): (&CheckpointRow, Option<u64>),
    slot: &mut Slot,
    record: &Record,
) -> Result<Seen> {
    let (Some(number), Some(document)) = (number, &mut slot.after) else {
        return Ok(Seen::AsAlways);
    };
    let mark = std::mem::replace(&mut document.head.resync, number);
    let Some(running) = &checkpoint.later.running else {
        return Ok(Seen::AsAlways);
    };
    let partings = partings(tx, running, slot.collection);
    let Some((lost, shared)) = lost_version(&partings, mark, document) else {
        return Ok(Seen::AsAlways);
    };
    if active("pocket-mutant:places-compared-across-histories") {
        return Ok(Seen::AsAlways);
    }
    let older = record.seq <= shared;
    let live = matches!(record.state, RecordState::Live(_));
    let is_pending = !document.head.pending.is_empty();
    if record.rev == lost.rev && (is_pending || apply::is_shown(document, record)) {
        // With something pending on it, what each holds is compared when that is resolved.
        return Ok(Seen::Anew);
    }
    if let Some(first) = slot.pending().first().copied() {
        keep_as_edit(tx, target, slot, first).await?;
        if older {
            let base = live.then_some(record.rev);
            stand_on(tx, target, slot, first, base, record.state.body().cloned()).await?;
        }
        return Ok(Seen::Anew);
    }
    let Some(ours) = kept_change(tx, slot, lost) else {
        return Ok(Seen::Anew);
    };
    let same = match (ours.kind.body(), record.state.body()) {
        (Some(ours), Some(theirs)) => ours.same_value(theirs),
        (None, None) => {
            !matches!(ours.kind, ChangeKind::Erase) || record.state == RecordState::Erased
        }
        _ => false,
    };
    if same {
        return Ok(Seen::Anew);
    }
    let change = based(ours, older, record, lost.rev);
    let rev = change.rev;
    let place = outbox::enqueue_return(tx, target, slot, change);
    if let Some(document) = &mut slot.after {
        document.head.rev = rev;
    }
    Ok(Seen::Kept(place))
}

/// The change stands on an older version, or meets what was written since the histories parted.
fn based(ours: PendingChange, older: bool, record: &Record, lost: Revision) -> PendingChange {
    let body = record.state.body();
    let (base, base_body) = match (&ours.kind, older) {
        (ChangeKind::Erase, _) => (None, None),
        (_, true) => (body.map(|_| record.rev), body.cloned()),
        // A copy of a store gave that revision to another write: it stands on neither.
        (_, false) if record.rev == lost => (None, None),
        (_, false) => (Some(lost), None),
    };
    PendingChange {
        base,
        base_body,
        ..ours
    }
}

/// What the server has lost of a collection.
fn partings(tx: &Tx, running: &Resyncing, collection: CollectionId) -> Vec<Parting> {
    let mut partings = running.partings();
    if let Some((_, row)) = tx.registry().row(collection) {
        for parting in row.partings() {
            parting::add(&mut partings, parting);
        }
    }
    partings
}

/// The version of a document that was read in a history which the server lost, and the last place that both have.
fn lost_version(
    partings: &[Parting],
    mark: u64,
    document: &StoredDocument,
) -> Option<(ServerVersion, Seq)> {
    let version = document.head.server?;
    let shared = parting::lost_behind(partings, mark, version.seq)?;
    Some((version, shared))
}

/// What is shown of a document, as a change of this client. It keeps its time, so the order of versions stays; what others
/// wrote, with a later reading of the same millisecond, for this client may have brought back another version of that time,
/// or written one itself.
fn kept_change(tx: &mut Tx, slot: &Slot, lost: ServerVersion) -> Option<PendingChange> {
    let document = slot.after.as_ref()?;
    let kind = match (document.head.presence, &document.body) {
        (Presence::Live, Some(body)) => ChangeKind::Put(body.clone()),
        (Presence::Erased, _) => ChangeKind::Erase,
        _ => ChangeKind::Delete,
    };
    let client = tx.client();
    let hlc = if lost.rev.client == client {
        lost.rev.hlc
    } else {
        lost.rev
            .hlc
            .returning(u16::from_le_bytes(random_bytes(&*tx.core().env)))
    };
    tx.state().clock = tx.state().clock.max(hlc);
    Some(PendingChange {
        collection: slot.collection,
        id: slot.id.clone(),
        kind,
        rev: Revision::new(hlc, client),
        base: None,
        base_body: None,
        migrated: false,
    })
}

/// The version that the first pending change of a document was made on is lost. If a migration made that change, it is
/// all that is left of what somebody wrote there: it no longer gives way.
async fn keep_as_edit(tx: &mut Tx, target: Target, slot: &Slot, place: Place) -> Result<()> {
    let mut entry = outbox::load(tx, target, place).await?;
    let mut was_migrated = false;
    for change in &mut entry.changes {
        let is_same = change.collection == slot.collection && change.id == slot.id;
        if is_same && matches!(change.kind, ChangeKind::Put(_)) {
            was_migrated |= std::mem::take(&mut change.migrated);
        }
    }
    if was_migrated {
        outbox::store_head(tx, target, &entry);
    }
    Ok(())
}

/// The first pending change of a document stands on an older version now, unless it was sent.
async fn stand_on(
    tx: &mut Tx,
    target: Target,
    slot: &Slot,
    place: Place,
    base: Option<Revision>,
    base_body: Option<Body>,
) -> Result<()> {
    let mut entry = outbox::load(tx, target, place).await?;
    if entry.is_pinned() {
        return Ok(());
    }
    let count = entry.changes.len();
    for change in &mut entry.changes {
        let is_same = change.collection == slot.collection && change.id == slot.id;
        if is_same && !matches!(change.kind, ChangeKind::Erase) {
            change.base = base;
            change.base_body.clone_from(&base_body);
        }
    }
    // What was lost is in it, and others have that, too: they are to hear of its end.
    entry.returns |= base.is_none();
    outbox::store(tx, target, &entry, count);
    Ok(())
}

/// The page was applied: whether it was the first one, or has reached the head.
pub(super) fn moved_on(checkpoint: &mut CheckpointRow, was_first: bool, end: Seq, head: Seq) {
    if was_first {
        checkpoint.fixed_head = Some(head);
        checkpoint.later.blind = head;
        if checkpoint.later.running.is_none() {
            // A first sync: its number is only for marks.
            checkpoint.later.resync += 1;
        }
    }
    if end < head {
        return;
    }
    let from_the_start = checkpoint.fixed_head.take().is_some();
    let later = &mut checkpoint.later;
    let sweep = Some(serde_bytes::ByteBuf::new());
    match &mut later.running {
        Some(running) if running.sweep.is_none() => {
            later.unsure = false;
            running.sweep = sweep;
        }
        None if std::mem::take(&mut later.unsure) && from_the_start => {
            later.running = Some(Resyncing {
                sweep,
                ..Resyncing::default()
            });
        }
        // A sweep looks after what became unsure meanwhile before it ends.
        Some(_) | None => {}
    }
}
