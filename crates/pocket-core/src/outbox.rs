//! The outbox: local changes of synced collections that no server has settled yet.
//!
//! An entry is a mutation with a place. Entries that were never sent merge; one that was sent has a number and never
//! changes again. Order is promised per document and within transactions.

mod merging;
mod slot;

use self::merging::{may_merge, merge, merged_fits};
pub(crate) use self::slot::{Edit, Slot, load_document};
use crate::damage::{self, Lost};
use crate::keys::{self, BodyOf, CollectionId, Target};
use crate::stored::{
    self, ChangeLater, ChangeRow, Doubt, MutationLater, MutationRow, Progress, StoredKind,
};
use crate::tx::Tx;
use crate::{
    Body, Change, ChangeKind, DocumentId, Error, Mutation, MutationContent, MutationNumber, Place,
    Result, Revision, Seq,
};
use pocket_storage::{KeyRange, ScanLimit};

/// A change with the version it was made on.
#[derive(Clone, Debug)]
pub(crate) struct PendingChange {
    pub(crate) collection: CollectionId,
    pub(crate) id: DocumentId,
    pub(crate) kind: ChangeKind,
    pub(crate) rev: Revision,
    pub(crate) base: Option<Revision>,
    pub(crate) base_body: Option<Body>,
    /// A migration made it, and nobody's edit is in it: it gives way to whatever else stands.
    pub(crate) migrated: bool,
}

impl PendingChange {
    pub(crate) fn document(&self) -> (CollectionId, DocumentId) {
        (self.collection, self.id.clone())
    }

    pub(crate) fn row(&self) -> ChangeRow {
        ChangeRow {
            collection: self.collection.0,
            id: self.id.clone(),
            kind: match self.kind {
                ChangeKind::Put(_) => StoredKind::Put,
                ChangeKind::Delete => StoredKind::Delete,
                ChangeKind::Erase => StoredKind::Erase,
            },
            rev: self.rev,
            base: self.base,
            has_base_body: self.base_body.is_some(),
            later: ChangeLater {
                migrated: self.migrated,
            },
        }
    }

    fn size(&self) -> usize {
        self.id.as_str().len() + self.kind.body().map_or(0, Body::len) + CHANGE_OVERHEAD
    }
}

/// What a change adds to a message at the most, beside id and body: collection, revision, base, kind and frames.
const CHANGE_OVERHEAD: usize = 64;

/// A mutation of the outbox with its bodies.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) progress: Progress,
    pub(crate) withdrawn: bool,
    pub(crate) ended: u32,
    pub(crate) doubt: Doubt,
    /// It brings back what a restored server has lost, or may have.
    pub(crate) returns: bool,
    /// The place of the version that was in the way last, where nothing was known that explains it.
    pub(crate) met: Seq,
    /// It met a conflict that is over, and waits for a later mutation that is on its way: see [`MutationLater::freed`].
    pub(crate) freed: bool,
    pub(crate) changes: Vec<PendingChange>,
}

impl Entry {
    /// One change that was never sent.
    pub(crate) fn unsent(place: Place, change: PendingChange) -> Self {
        Self {
            place,
            progress: Progress::Unsent,
            withdrawn: false,
            ended: 0,
            doubt: Doubt::None,
            returns: false,
            met: Seq::ZERO,
            freed: false,
            changes: vec![change],
        }
    }

    pub(crate) fn is_pinned(&self) -> bool {
        matches!(self.progress, Progress::Pinned(_))
    }

    /// The server has looked at it, so it was not what ended the connections.
    pub(crate) fn acquit(&mut self) {
        self.ended = 0;
        self.withdrawn = false;
    }

    pub(crate) fn size(&self) -> usize {
        self.changes.iter().map(PendingChange::size).sum()
    }

    /// The mutation as it travels.
    pub(crate) fn to_mutation(&self, tx: &Tx, number: MutationNumber) -> Result<Mutation> {
        if self.withdrawn {
            return Ok(Mutation {
                number,
                content: MutationContent::Withdrawn,
            });
        }
        // Most have one, for which collecting results would take memory for four.
        let mut changes = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            changes.push(Change {
                collection: tx.registry().name(change.collection)?,
                id: change.id.clone(),
                rev: change.rev,
                base: change.base,
                kind: change.kind.clone(),
            });
        }
        Ok(Mutation {
            number,
            content: MutationContent::Changes(changes),
        })
    }
}

/// Puts edits into the outbox as one mutation: merged into an unsent one where that is allowed.
pub(crate) async fn enqueue(tx: &mut Tx, edits: &mut [Edit]) -> Result<()> {
    let target = Target::DEFAULT;
    tx.outbox_grew();
    let last = edits
        .iter()
        .filter_map(|edit| edit.slot.pending().last())
        .max()
        .copied();
    if let Some(place) = last {
        let entry = load(tx, target, place).await?;
        if may_merge(tx, &entry, edits).await? && merged_fits(tx, &entry, edits) {
            return merge(tx, target, entry, edits).await;
        }
    }
    let place = next_place(tx);
    let changes = edits.iter().map(Edit::change).collect();
    let returns = edits.iter().any(|edit| edit.slot.is_unknown());
    for edit in edits {
        edit.add_place(place);
    }
    let entry = Entry {
        place,
        progress: Progress::Unsent,
        withdrawn: false,
        ended: 0,
        doubt: Doubt::None,
        // Others may have what is damaged here: they are to hear of its end.
        returns,
        met: Seq::ZERO,
        freed: false,
        changes,
    };
    store(tx, target, &entry, 0);
    tx.state().pending += 1;
    Ok(())
}

/// Puts a change that brings back what a restored server has lost into the outbox, as a mutation of its own, behind all
/// others of its document, and names it there.
pub(crate) fn enqueue_return(
    tx: &mut Tx,
    target: Target,
    slot: &mut Slot,
    change: PendingChange,
) -> Place {
    let place = next_place(tx);
    if let Some(document) = &mut slot.after {
        document.head.pending.push(place);
    }
    let entry = Entry {
        returns: true,
        ..Entry::unsent(place, change)
    };
    store(tx, target, &entry, 0);
    tx.state().pending += 1;
    tx.outbox_grew();
    place
}

pub(crate) fn next_place(tx: &mut Tx) -> Place {
    let place = tx.state().last_place.next();
    tx.state().last_place = place;
    place
}

/// Reads a mutation and its bodies.
pub(crate) async fn load(tx: &mut Tx, target: Target, place: Place) -> Result<Entry> {
    let row = load_row(tx, target, place).await?;
    from_row(tx, target, place, row).await
}

/// Reads a mutation without its bodies.
pub(crate) async fn load_row(tx: &mut Tx, target: Target, place: Place) -> Result<MutationRow> {
    let row = damage::row_or_remade(tx, target, place, Lost::Refused).await?;
    row.ok_or_else(|| stored::damaged(format!("place {place} of the outbox is missing")))
}

/// The mutations of a page of the outbox, which moves on behind them; none at its end. What is damaged is made anew. Only for
/// jobs that run alone.
pub(crate) async fn page(
    tx: &mut Tx,
    target: Target,
    range: &mut KeyRange,
    most: usize,
) -> Result<Option<Vec<pocket_storage::Entry>>> {
    page_without(tx, target, range, most, |_| false).await
}

/// As [`page`], for a job that goes on without what nothing readable tells of. That stays as it is, with its bodies.
pub(crate) async fn readable_page(
    tx: &mut Tx,
    target: Target,
    range: &mut KeyRange,
    most: usize,
) -> Result<Option<Vec<pocket_storage::Entry>>> {
    page_without(tx, target, range, most, damage::is_damage).await
}

async fn page_without(
    tx: &mut Tx,
    target: Target,
    range: &mut KeyRange,
    most: usize,
    is_left_out: fn(&Error) -> bool,
) -> Result<Option<Vec<pocket_storage::Entry>>> {
    let sealed = tx
        .scan_sealed(range.clone(), ScanLimit::entries(most))
        .await?;
    let Some((last, _)) = sealed.last() else {
        return Ok(None);
    };
    *range = range.clone().after(last.clone());
    let mut rows = Vec::with_capacity(sealed.len());
    for (key, sealed) in sealed {
        let payload = match tx.core().open(&key, &sealed) {
            Err(error) if damage::is_damage(&error) => {
                let place = keys::trailing_number(&key)
                    .ok_or_else(|| stored::damaged("a key of the outbox is too short"))?;
                match damage::row_or_remade(tx, target, Place::new(place), Lost::Refused).await {
                    Err(error) if is_left_out(&error) => None,
                    remade => {
                        remade?;
                        tx.get(&key).await?
                    }
                }
            }
            opened => Some(opened?),
        };
        rows.extend(payload.map(|payload| (key, payload)));
    }
    Ok(Some(rows))
}

pub(crate) async fn from_row(
    tx: &mut Tx,
    target: Target,
    place: Place,
    row: MutationRow,
) -> Result<Entry> {
    let withdrawn = row.is_withdrawn();
    let mut changes = Vec::with_capacity(row.changes.len());
    for (index, change) in (0..).zip(row.changes) {
        let kind = match change.kind {
            StoredKind::Put => ChangeKind::Put(own_body(tx, target, place, index, &change).await?),
            StoredKind::Delete => ChangeKind::Delete,
            StoredKind::Erase => ChangeKind::Erase,
        };
        let base_body = if change.has_base_body {
            // Without it, a merge knows less of what either side changed.
            damage::unless_damaged(load_body(tx, target, place, index, BodyOf::Base).await)?
        } else {
            None
        };
        changes.push(PendingChange {
            collection: CollectionId(change.collection),
            id: change.id,
            kind,
            rev: change.rev,
            base: change.base,
            base_body,
            migrated: change.later.migrated,
        });
    }
    Ok(Entry {
        place,
        progress: row.progress,
        withdrawn,
        ended: row.ended,
        doubt: row.later.doubt,
        returns: row.later.returns,
        met: row.later.met,
        freed: row.later.freed,
        changes,
    })
}

/// The body that a change brings.
async fn own_body(
    tx: &mut Tx,
    target: Target,
    place: Place,
    index: u32,
    change: &ChangeRow,
) -> Result<Body> {
    let error = match load_body(tx, target, place, index, BodyOf::Local).await {
        Err(error) if damage::is_damage(&error) => error,
        body => return body,
    };
    damage::body_of(tx, target, place, change)
        .await?
        .ok_or_else(|| {
            let name = tx.registry().name(change.collection());
            let name = name.map_or_else(|_| String::new(), |name| format!(" of `{name}`"));
            Error::new(
                error.code(),
                format!(
                    "a change of document {:?}{name} cannot be sent: {error}",
                    change.id
                ),
            )
        })
}

async fn load_body(
    tx: &mut Tx,
    target: Target,
    place: Place,
    index: u32,
    which: BodyOf,
) -> Result<Body> {
    let payload = tx
        .get(&keys::outbox_body(target, place, index, which))
        .await?;
    let missing = || stored::damaged(format!("a body of place {place} of the outbox is missing"));
    Ok(Body::from_trusted(payload.ok_or_else(missing)?))
}

/// Writes a mutation and its bodies over one that had `stored` changes.
pub(crate) fn store(tx: &mut Tx, target: Target, entry: &Entry, stored: usize) {
    store_head(tx, target, entry);
    for (index, change) in (0..).zip(&entry.changes) {
        for (which, body) in [
            (BodyOf::Local, change.kind.body()),
            (BodyOf::Base, change.base_body.as_ref()),
        ] {
            let key = || keys::outbox_body(target, entry.place, index, which);
            match body {
                Some(body) => tx.put(key(), &[body.as_bytes()]),
                // A new mutation has nothing to remove.
                None if stored > 0 => tx.delete(key()),
                None => {}
            }
        }
    }
    delete_bodies(tx, target, entry.place, entry.changes.len(), stored);
}

/// Writes what changes when a mutation moves on; its content stays.
pub(crate) fn store_head(tx: &mut Tx, target: Target, entry: &Entry) {
    let row = MutationRow {
        progress: entry.progress.clone(),
        content: u8::from(entry.withdrawn),
        ended: entry.ended,
        changes: entry.changes.iter().map(PendingChange::row).collect(),
        later: MutationLater {
            doubt: entry.doubt,
            returns: entry.returns,
            met: entry.met,
            freed: entry.freed,
        },
    };
    tx.put_row(keys::outbox(target, entry.place), &row);
}

fn delete_bodies(tx: &mut Tx, target: Target, place: Place, from: usize, to: usize) {
    for index in (0_u32..).take(to).skip(from) {
        tx.delete(keys::outbox_body(target, place, index, BodyOf::Local));
        tx.delete(keys::outbox_body(target, place, index, BodyOf::Base));
    }
}

/// Removes a mutation as it is stored, with exactly the bodies it has.
pub(crate) fn remove_row(tx: &mut Tx, target: Target, place: Place, row: &MutationRow) {
    tx.delete(keys::outbox(target, place));
    for (index, change) in (0_u32..).zip(&row.changes) {
        if change.kind == StoredKind::Put {
            tx.delete(keys::outbox_body(target, place, index, BodyOf::Local));
        }
        if change.has_base_body {
            tx.delete(keys::outbox_body(target, place, index, BodyOf::Base));
        }
    }
    tx.state().pending = tx.state().pending.saturating_sub(1);
}

/// A planted bug: a mutation leaves the outbox before its outcome is known.
pub(crate) async fn drop_sent(tx: &mut Tx, target: Target, entry: &Entry) -> Result<()> {
    for change in &entry.changes {
        let mut slot = Slot::load(tx, change.collection, &change.id).await?;
        slot.forget_place(entry.place);
        slot.store(tx);
    }
    remove(tx, target, entry, entry.changes.len());
    Ok(())
}

/// Removes a mutation that had `stored` changes.
pub(crate) fn remove(tx: &mut Tx, target: Target, entry: &Entry, stored: usize) {
    tx.delete(keys::outbox(target, entry.place));
    delete_bodies(tx, target, entry.place, 0, stored.max(entry.changes.len()));
    tx.state().pending = tx.state().pending.saturating_sub(1);
}

/// A mutation waits until the feed was read up to there. Neither it nor what stands on it is sent meanwhile.
pub(crate) fn wait(tx: &mut Tx, target: Target, entry: &mut Entry, until: Seq) {
    entry.progress = Progress::Conflicted(until);
    store_head(tx, target, entry);
    let waiting = keys::waiting(target, entry.place);
    tx.put(waiting, &[&stored::encode(&until)]);
}

/// A mutation waits for nothing any more: no record and no answer of the application.
pub(crate) fn stop_waiting(tx: &mut Tx, target: Target, place: Place) {
    tx.delete(keys::waiting(target, place));
    tx.delete(keys::question(target, place));
}
