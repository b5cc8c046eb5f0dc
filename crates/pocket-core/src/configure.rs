//! Making collections and changing their settings.

use pocket_storage::ScanLimit;

use crate::commit::Job;
use crate::damage::{self, Server};
use crate::expire::Expiry;
use crate::index;
use crate::keys::{self, CollectionId, Target};
use crate::outbox::{self, Edit, Entry, Slot};
use crate::stored::{
    self, CollectionLater, CollectionRow, DocumentHead, MutationRow, Presence, Progress,
    StoredDocument, TargetRow,
};
use crate::tx::Tx;
use crate::{ChangeKind, CollectionName, ConflictStrategy, DocumentId, Place, Result, Revision};

/// Rows read at once.
pub(crate) const CHUNK: usize = 1_000;

/// Stores the settings of a collection.
pub(crate) fn put_collection(tx: &mut Tx, name: &CollectionName, row: CollectionRow) {
    tx.put(keys::collection(name), &[&stored::encode(&row)]);
    tx.registry_mut().insert(name.clone(), row);
}

/// Makes a collection with these settings, whether it was there or not.
pub(crate) fn new_collection(tx: &mut Tx, name: &CollectionName, sync: bool) -> CollectionRow {
    let (number, later) = if let Some(row) = tx.registry().get_even_dropped(name) {
        let later = CollectionLater {
            ttl: None,
            ..row.later.clone()
        };
        (row.number, later)
    } else {
        tx.state().last_collection += 1;
        (tx.state().last_collection, CollectionLater::default())
    };
    let row = CollectionRow {
        number,
        sync,
        strategy: None,
        dropped: false,
        joins: false,
        later,
    };
    put_collection(tx, name, row.clone());
    row
}

/// Makes a collection or changes its settings.
pub(crate) struct ConfigureJob {
    pub(crate) name: CollectionName,
    pub(crate) sync: bool,
    pub(crate) strategy: Option<ConflictStrategy>,
    pub(crate) ttl: Option<Expiry>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ConfigureJob {
    type Output = ();

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<()> {
        let is_new = tx.registry().get(&self.name).is_none();
        let old = match tx.registry().get(&self.name).cloned() {
            Some(row) => row,
            None => new_collection(tx, &self.name, self.sync),
        };
        let switched = !is_new && old.sync != self.sync;
        // A database that has read a feed must read what that feed had for this collection so far.
        let joins = self.sync && (old.joins || switched || (is_new && has_read_a_feed(tx).await?));
        let ttl = self.ttl.as_ref().map(|expiry| expiry.ttl().to_row());
        if ttl != old.later.ttl {
            index::set_expiry(tx, old.id(), self.ttl.clone())?;
        }
        let mut row = CollectionRow {
            sync: self.sync,
            strategy: self.strategy,
            joins,
            later: CollectionLater { ttl, ..old.later },
            ..old
        };
        if switched && !self.sync {
            row.later.away = resyncs_done(tx).await?;
        }
        put_collection(tx, &self.name, row.clone());
        if joins {
            // Nothing may have been written, but a session that runs must begin to read the collection.
            tx.outbox_grew();
        }
        match (switched, self.sync) {
            (true, true) => offer_all(tx, &row).await,
            (true, false) => drop_unsent(tx, &row).await,
            (false, _) => Ok(()),
        }
    }
}

async fn target(tx: &mut Tx) -> Result<Option<TargetRow>> {
    let payload = tx.get(&keys::target(Target::DEFAULT)).await?;
    payload.map(|payload| stored::decode(&payload)).transpose()
}

async fn has_read_a_feed(tx: &mut Tx) -> Result<bool> {
    let row = target(tx).await?;
    Ok(row.is_some_and(|row| row.has_read()))
}

async fn resyncs_done(tx: &mut Tx) -> Result<Option<u64>> {
    let row = target(tx).await?;
    Ok(row.and_then(|row| row.checkpoint.resyncs_done()))
}

/// Sync was switched on: what is there becomes pending, on whatever version of the server is known. A damaged document
/// cannot be sent, and keeps nobody from the others; whatever takes its place is sent as it is written.
async fn offer_all(tx: &mut Tx, row: &CollectionRow) -> Result<()> {
    let mut range = keys::documents(row.id());
    loop {
        let limit = ScanLimit::entries(CHUNK);
        let entries = tx.scan_each(range.clone(), limit).await?;
        let Some((last, _)) = entries.last() else {
            return Ok(());
        };
        range = range.after(last.clone());
        for (key, payload) in entries {
            let id = keys::document_id(&key)
                .ok_or_else(|| stored::damaged("a document's key is too short"))?;
            let id = DocumentId::new(id)?;
            let stored = payload.and_then(|payload| StoredDocument::decode(&payload));
            if let Some(stored) = damage::unless_damaged(stored)? {
                offer(tx, row, id, stored).await?;
            }
        }
    }
}

/// What a document that has not synced so far sends.
async fn offer(
    tx: &mut Tx,
    row: &CollectionRow,
    id: DocumentId,
    stored: StoredDocument,
) -> Result<()> {
    let Some(before) = known_version(tx, row, &id, &stored).await? else {
        return Ok(());
    };
    let kind = match &stored.body {
        Some(body) => ChangeKind::Put(body.clone()),
        // What came to stand meanwhile was never shown here: it is read from the start.
        None if before.is_live() && is_unseen(tx, &stored) => {
            let mut slot = Slot::of(row.id(), id, Some(stored));
            slot.after = None;
            slot.store(tx);
            return Ok(());
        }
        // Deleted while a change of it was on its way.
        None if before.is_live() => ChangeKind::Delete,
        None => return Ok(()),
    };
    // The version may be that of another client, or of an id this one had: what is sent bears the id of now.
    let rev = Revision::new(stored.head.rev.hlc, tx.client());
    // What only got another shape meanwhile is nobody's edit, as it would not be had sync been on.
    let migrated = before.is_live() && stored.head.later.reshaped == Some(before.head.rev);
    let mut slot = Slot::of(row.id(), id, Some(stored));
    if let Some(document) = &mut slot.after {
        document.head.rev = rev;
        document.head.later = document.head.later.kept();
    }
    slot.before = Some(before).filter(StoredDocument::is_live);
    let mut edit = Edit {
        slot: Box::new(slot),
        kind,
        rev,
        migrated,
    };
    outbox::enqueue(tx, std::slice::from_mut(&mut edit)).await?;
    edit.slot.store(tx);
    Ok(())
}

/// Whether the server's version of a document that was deleted here is one of somebody else.
fn is_unseen(tx: &Tx, stored: &StoredDocument) -> bool {
    let server = stored.head.server.map(|server| server.rev.client);
    stored.head.pending.is_empty() && server.is_some_and(|client| client != tx.client())
}

/// The version of a document that its next change stands on: that of its last pending change, or the server's, or a
/// tombstone where there is neither. None when the document is that version.
async fn known_version(
    tx: &mut Tx,
    row: &CollectionRow,
    id: &DocumentId,
    stored: &StoredDocument,
) -> Result<Option<StoredDocument>> {
    let (rev, body, presence) = if let Some(place) = stored.head.pending.last() {
        let entry = outbox::load(tx, Target::DEFAULT, *place).await?;
        let changes = &mut entry.changes.into_iter();
        let Some(change) = changes.find(|change| change.document() == (row.id(), id.clone()))
        else {
            return Err(stored::damaged("a pending place without its change"));
        };
        let body = change.kind.body().cloned();
        let presence = if body.is_some() {
            Presence::Live
        } else {
            Presence::Deleted
        };
        (Some(change.rev), body, presence)
    } else if let Some(server) = stored.head.server {
        // Its body is not kept; what others did to it since is read from the start.
        (Some(server.rev), None, server.presence)
    } else {
        (None, None, Presence::Deleted)
    };
    if rev == Some(stored.head.rev) {
        return Ok(None);
    }
    let head = DocumentHead {
        rev: rev.unwrap_or(stored.head.rev),
        presence,
        ..stored.head.clone()
    };
    Ok(Some(StoredDocument { head, body }))
}

/// Sync was switched off: what was never sent is dropped from the outbox; what was sent is settled first.
async fn drop_unsent(tx: &mut Tx, collection: &CollectionRow) -> Result<()> {
    let target = Target::DEFAULT;
    let mut range = keys::outbox_from(target, Place::ZERO);
    while let Some(rows) = outbox::page(tx, target, &mut range, CHUNK).await? {
        for (key, payload) in rows {
            let place = keys::trailing_number(&key)
                .ok_or_else(|| stored::damaged("a key of the outbox is too short"))?;
            let row: MutationRow = stored::decode(&payload)?;
            let mut changes = row.changes.iter();
            let touches = changes.any(|change| change.collection() == collection.id());
            if row.progress == Progress::Unsent && touches {
                let entry = outbox::from_row(tx, target, Place::new(place), row).await?;
                drop_changes(tx, collection.id(), entry).await?;
            }
        }
    }
    Ok(())
}

/// Drops what a mutation that was never sent does to a collection.
async fn drop_changes(tx: &mut Tx, collection: CollectionId, mut entry: Entry) -> Result<()> {
    let target = Target::DEFAULT;
    let stored = entry.changes.len();
    let (gone, kept): (Vec<_>, Vec<_>) = entry
        .changes
        .into_iter()
        .partition(|change| change.collection == collection);
    for change in &gone {
        let mut slot = Slot::recover(tx, change.collection, &change.id, Server::ReadAgain).await?;
        slot.forget_place(entry.place);
        if let Some(document) = slot.after.as_mut().filter(|it| it.head.rev == change.rev) {
            document.head.later.reshaped = change.base.filter(|_| change.migrated);
        }
        // A local-only collection has no use for a tombstone, but for what is still on its way.
        slot.after = slot.after.filter(|document| {
            document.head.presence == Presence::Live || !document.head.pending.is_empty()
        });
        slot.store(tx);
    }
    entry.changes = kept;
    if entry.changes.is_empty() {
        outbox::remove(tx, target, &entry, stored);
    } else {
        outbox::store(tx, target, &entry, stored);
    }
    Ok(())
}
