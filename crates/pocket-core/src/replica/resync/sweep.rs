//! The end of a resync: what the server had shown before and did not show again is removed.

use std::sync::Arc;

use pocket_storage::ScanLimit;
use pocket_storage::ordered::BTreeMap;

use super::{keep_as_edit, kept_change, lost_version, partings, stand_on};
use crate::commit::Job;
use crate::configure;
use crate::damage::{self, Server};
use crate::keys::{self, CollectionId, Target};
use crate::mutants::active;
use crate::outbox::{self, Slot};
use crate::parting::{self, Parting};
use crate::replica::apply::Applied;
use crate::replica::conflict::Resolver;
use crate::replica::resolve::{self, Resolution};
use crate::replica::state::{self, snapshot};
use crate::replica::unerased::Unerased;
use crate::replica::{load_target, store_target};
use crate::stored::{
    self, CheckpointRow, CollectionRow, Presence, Progress, ServerVersion, Shadow, StoredDocument,
    TargetRow,
};
use crate::tx::Tx;
use crate::{CollectionName, DocumentId, Place, Result, Seq};

/// Documents looked at in one commit of a sweep.
const SWEPT: usize = 500;

/// And how many bytes they have together, about.
const SWEPT_BYTES: usize = 4 * 1024 * 1024;

pub(in crate::replica) struct SweepJob {
    pub(in crate::replica) target: Target,
    pub(in crate::replica) resolver: Arc<dyn Resolver>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for SweepJob {
    type Output = Applied;

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

    async fn run(&mut self, tx: &mut Tx) -> Result<Applied> {
        let mut row = load_target(tx, self.target).await?;
        let resync = row.checkpoint.later.resync;
        let Some(running) = row.checkpoint.later.running.clone() else {
            return self.done(tx, &row, 0, Vec::new()).await;
        };
        let Some(cursor) = &running.sweep else {
            return self.done(tx, &row, 0, Vec::new()).await;
        };
        let swept = collections(tx, &row.checkpoint);
        let mut range = keys::all_documents();
        if !cursor.is_empty() {
            range = range.after(cursor.to_vec());
        }
        let limit = ScanLimit::entries(SWEPT);
        let entries = tx.scan_sealed(range, limit.bytes(SWEPT_BYTES)).await?;
        // Fewer than were asked for may also mean that they are large. The store counts the envelopes, too.
        let is_last = !limit.bytes(SWEPT_BYTES / 2).is_reached_by(&entries);
        let (mut changes, mut met) = (0, Vec::new());
        let mut lost_behind = BTreeMap::new();
        for (key, sealed) in &entries {
            let collection = keys::document_collection(key)
                .ok_or_else(|| stored::damaged("a document's key is too short"))?;
            let opened = tx.core().open(key, sealed);
            let stored = match opened.and_then(|payload| StoredDocument::decode(&payload)) {
                Err(error) if damage::is_damage(&error) => {
                    if swept.contains(&collection) {
                        // A record of it would have taken its place: what is left is what is pending.
                        let id = document_id(key)?;
                        Slot::recover(tx, collection, &id, Server::Told).await?;
                        changes += 1;
                    }
                    continue;
                }
                stored => stored?,
            };
            let parted = lost_behind.entry(collection);
            let parted = parted.or_insert_with(|| partings(tx, &running, collection));
            let lost = lost_version(parted, stored.head.resync, &stored).map(|(lost, _)| lost);
            // Deletions behind the fixed head are always told.
            let behind = |version: ServerVersion| version.seq > row.checkpoint.later.blind;
            let seen = stored.head.resync == resync || stored.head.server.is_none_or(behind);
            let seen = seen && lost.is_none();
            if seen || !swept.contains(&collection) {
                continue;
            }
            let slot = Slot::of(collection, document_id(key)?, Some(stored));
            met.extend(self.unseen(tx, &row, lost, slot).await?);
            changes += 1;
        }
        if let Some(running) = &mut row.checkpoint.later.running {
            running.sweep = entries
                .last()
                .map(|(key, _)| serde_bytes::ByteBuf::from(key.clone()));
        }
        let again = is_last && std::mem::take(&mut row.checkpoint.later.unsure);
        if again && let Some(running) = &mut row.checkpoint.later.running {
            // An outcome that came meanwhile told of a place that was read over: what it is about may have been looked at.
            running.sweep = Some(serde_bytes::ByteBuf::new());
        }
        if is_last && !again {
            note_partings(tx, &swept, &running.partings());
            row.checkpoint.later.running = None;
            met.extend(self.waiting(tx, row.checkpoint.seq).await?);
        }
        let read_to = Seq::new(u64::MAX);
        let left_out = state::left_out(tx, &row);
        let mut resolution = Resolution {
            left_out,
            tx,
            target: self.target,
            resolver: self.resolver.clone(),
            read_to,
            journaled: Vec::new(),
            answers: Vec::new(),
            questions: Vec::new(),
            unerased: Unerased::default(),
        };
        for place in met {
            resolution.try_resolve(place).await?;
        }
        let (journaled, unerased) = (resolution.journaled, resolution.unerased);
        unerased.read_again(tx, self.target, &mut row).await?;
        store_target(tx, self.target, &row);
        tx.outbox_grew();
        self.done(tx, &row, changes, journaled).await
    }
}

impl SweepJob {
    async fn done(
        &self,
        tx: &mut Tx,
        row: &TargetRow,
        changes: usize,
        journaled: Vec<u64>,
    ) -> Result<Applied> {
        Ok(Applied {
            state: snapshot(tx, self.target, row).await?,
            changes,
            journaled,
            violations: Vec::new(),
        })
    }

    /// The server no longer shows a document that it once had. Returns the mutations that this stands in the way of.
    async fn unseen(
        &self,
        tx: &mut Tx,
        row: &TargetRow,
        lost: Option<ServerVersion>,
        mut slot: Slot,
    ) -> Result<Option<Place>> {
        let Some(document) = &slot.after else {
            return Ok(None);
        };
        let shadow = keys::shadow(self.target, slot.collection, &slot.id);
        let first = slot.pending().first().copied();
        // A deletion that was read stays one for what had not seen it, though the server has lost it.
        let lost = lost.filter(|lost| first.is_none() || lost.presence == Presence::Live);
        if let Some(lost) = lost {
            // It came after the place where the histories part: the server has lost it.
            let live = document.is_live();
            let returns = live && !active("pocket-mutant:lost-by-server-dropped");
            match (first, kept_change(tx, &slot, lost).filter(|_| returns)) {
                (Some(first), _) => {
                    keep_as_edit(tx, self.target, &slot, first).await?;
                    stand_on(tx, self.target, &slot, first, None, None).await?;
                    tx.delete(shadow);
                    forget_server(&mut slot);
                }
                (None, Some(change)) => {
                    forget_server(&mut slot);
                    let rev = change.rev;
                    outbox::enqueue_return(tx, self.target, &mut slot, change);
                    if let Some(document) = &mut slot.after {
                        document.head.rev = rev;
                    }
                }
                (None, None) => {
                    slot.after = None;
                    resolve::store_slot(tx, &slot)?;
                    return Ok(None);
                }
            }
            slot.store(tx);
            return Ok(None);
        }
        if first.is_none() {
            slot.after = None;
            resolve::store_slot(tx, &slot)?;
            return Ok(None);
        }
        if let Some(first) = first.filter(|_| active("pocket-mutant:unseen-edit-comes-back")) {
            stand_on(tx, self.target, &slot, first, None, None).await?;
            tx.delete(shadow);
            forget_server(&mut slot);
            slot.store(tx);
            return Ok(None);
        }
        let checkpoint = &row.checkpoint;
        bury(
            tx,
            self.target,
            &mut slot,
            (checkpoint.seq, unshown(checkpoint)),
        );
        if let Some(document) = &mut slot.after {
            document.head.resync = row.checkpoint.later.resync;
        }
        slot.store(tx);
        Ok(first)
    }

    /// Everything was read: what waits for a place, maybe of a lost history, waits no longer.
    async fn waiting(&self, tx: &mut Tx, read_to: Seq) -> Result<Vec<Place>> {
        let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
        let mut places = Vec::new();
        for (key, _) in tx.scan(keys::all_waiting(self.target), limit).await? {
            let place = keys::trailing_number(&key)
                .ok_or_else(|| stored::damaged("a waiting key is too short"))?;
            let place = Place::new(place);
            places.push(place);
            let mut entry = outbox::load(tx, self.target, place).await?;
            if matches!(entry.progress, Progress::Conflicted(until) if until > read_to) {
                outbox::wait(tx, self.target, &mut entry, read_to);
            }
        }
        Ok(places)
    }
}

/// The server no longer shows the document; for what is pending here that is a deletion, later than any of it. Where it
/// may only be hidden, whatever the server shows of it some time takes the place of this.
pub(in crate::replica) fn bury(
    tx: &mut Tx,
    target: Target,
    slot: &mut Slot,
    (seq, presence): (Seq, Presence),
) {
    let version = ServerVersion {
        rev: tx.next_revision(),
        seq,
        presence,
    };
    if let Some(document) = &mut slot.after {
        document.head.server = Some(version);
        let shadow = keys::shadow(target, slot.collection, &slot.id);
        tx.put(shadow, &[&Shadow { body: None }.encode()]);
    }
}

/// What a document is that was read over and not shown: where there are rules, it may as well have been hidden.
fn unshown(checkpoint: &CheckpointRow) -> Presence {
    match checkpoint.rights {
        Some(_) => Presence::Hidden,
        None => Presence::Deleted,
    }
}

impl Resolution<'_> {
    /// The reading passed the document and was not shown it.
    pub(in crate::replica) fn bury(&mut self, slot: &mut Slot, checkpoint: &CheckpointRow) {
        let unshown = (checkpoint.seq, unshown(checkpoint));
        bury(self.tx, self.target, slot, unshown);
    }
}

fn document_id(key: &[u8]) -> Result<DocumentId> {
    let id =
        keys::document_id(key).ok_or_else(|| stored::damaged("a document's key is too short"))?;
    DocumentId::new(id)
}

fn forget_server(slot: &mut Slot) {
    if let Some(document) = &mut slot.after {
        document.head.server = None;
    }
}

/// Collections that are not read for now learn of what the server has lost when they are read again; those that were
/// read know.
fn note_partings(tx: &mut Tx, read: &[CollectionId], partings: &[Parting]) {
    let rows = tx.registry().iter_even_dropped();
    let rows: Vec<(CollectionName, CollectionRow)> = rows
        .map(|(name, row)| (name.clone(), row.clone()))
        .collect();
    for (name, mut row) in rows {
        let before = row.partings();
        let mut after = before.clone();
        if read.contains(&row.id()) {
            after.clear();
        } else if row.later.away.is_some() {
            for parting in partings {
                parting::add(&mut after, *parting);
            }
        }
        if after != before {
            row.set_partings(after);
            configure::put_collection(tx, &name, row);
        }
    }
}

/// The collections of which everything was read. One that joins since is read from the start first.
fn collections(tx: &Tx, checkpoint: &CheckpointRow) -> Vec<CollectionId> {
    let read = |name: &CollectionName| {
        let joins = checkpoint
            .joining
            .iter()
            .any(|(joining, _)| joining == name);
        let scope = checkpoint.scope.as_ref();
        !joins && scope.is_none_or(|names| names.contains(name))
    };
    tx.registry()
        .iter_even_dropped()
        .filter(|(name, row)| row.sync && !row.joins && read(name))
        .map(|(_, row)| row.id())
        .collect()
}
