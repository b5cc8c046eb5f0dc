//! Edits of what was not sent yet join the mutation that waits.

use pocket_storage::ordered::BTreeSet;

use super::{Edit, Entry, PendingChange, Slot, load_document, load_row, remove, store};
use crate::config::MAX_TRANSACTION_CHANGES;
use crate::keys::{self, Target};
use crate::stored::{DocumentHead, Presence, Progress, Shadow, StoredDocument, StoredKind};
use crate::tx::Tx;
use crate::{ChangeKind, Place, Result};

/// Unsent mutations merge only if the documents of one contain those of the other and none between them touches
/// these documents.
pub(super) async fn may_merge(tx: &mut Tx, entry: &Entry, edits: &[Edit]) -> Result<bool> {
    if entry.progress != Progress::Unsent || entry.withdrawn {
        return Ok(false);
    }
    let new: BTreeSet<_> = edits
        .iter()
        .map(|edit| (edit.slot.collection, edit.slot.id.clone()))
        .collect();
    // What follows an erase is a document of its own: merged, the erase would be lost.
    if entry
        .changes
        .iter()
        .any(|change| matches!(change.kind, ChangeKind::Erase) && new.contains(&change.document()))
    {
        return Ok(false);
    }
    let old: BTreeSet<_> = entry.changes.iter().map(PendingChange::document).collect();
    if old.is_subset(&new) {
        // The places of the edited documents end here, so nothing of theirs lies behind.
        return Ok(true);
    }
    if !new.is_subset(&old) {
        return Ok(false);
    }
    for (collection, id) in old.difference(&new) {
        let document = load_document(tx, *collection, id).await?;
        if document.is_none_or(|document| document.head.pending.last() != Some(&entry.place)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the merged mutation could still be sent: of several documents, it is bounded as a transaction is.
pub(super) fn merged_fits(tx: &Tx, entry: &Entry, edits: &[Edit]) -> bool {
    let replaced = |change: &&PendingChange| {
        edits
            .iter()
            .all(|edit| (edit.slot.collection, &edit.slot.id) != (change.collection, &change.id))
    };
    let (mut changes, mut bytes) = (0, 0);
    for change in entry.changes.iter().filter(replaced) {
        changes += 1;
        bytes += change.size();
    }
    for edit in edits {
        changes += 1;
        bytes += edit.size();
    }
    changes == 1
        || (changes <= MAX_TRANSACTION_CHANGES && bytes <= tx.core().limits.transaction_bytes())
}

/// The merged mutation keeps the first base and the earlier place; create and delete cancel, unless an earlier deletion
/// that may still lose is all that the later one would stand on.
pub(super) async fn merge(
    tx: &mut Tx,
    target: Target,
    mut entry: Entry,
    edits: &mut [Edit],
) -> Result<()> {
    let stored = entry.changes.len();
    entry.returns |= edits.iter().any(|edit| edit.slot.is_unknown());
    for edit in edits {
        let fresh = edit.change();
        let Some(at) = entry
            .changes
            .iter()
            .position(|change| change.document() == fresh.document())
        else {
            edit.add_place(entry.place);
            entry.changes.push(fresh);
            continue;
        };
        let change = &entry.changes[at];
        // What was not made here, others have too: they are to hear of its end.
        let created_here =
            change.base.is_none() && matches!(change.kind, ChangeKind::Put(_)) && !entry.returns;
        let cancels = created_here
            && match fresh.kind {
                ChangeKind::Put(_) => false,
                ChangeKind::Delete => true,
                // What the server has beside it is to be erased, too.
                ChangeKind::Erase => !edit.slot.is_live_on_server(),
            };
        if cancels && !is_behind_deletion(tx, target, edit, entry.place).await? {
            entry.changes.remove(at);
            edit.slot.forget_place(entry.place);
            uncover(tx, target, &mut edit.slot).await?;
            // Behind an earlier erase or delete on its way, the document stays what that makes of it.
            if matches!(fresh.kind, ChangeKind::Erase) && edit.slot.pending().is_empty() {
                edit.slot.after = edit.slot.after.take().and_then(as_the_server_has_it);
            }
            continue;
        }
        let change = &mut entry.changes[at];
        change.kind = fresh.kind;
        change.rev = fresh.rev;
        let gives_way = crate::mutants::active("pocket-mutant:edit-gives-way-as-a-migration");
        change.migrated &= fresh.migrated || gives_way;
        if matches!(change.kind, ChangeKind::Erase) {
            change.base = None;
            change.base_body = None;
        }
    }
    if entry.changes.is_empty() {
        remove(tx, target, &entry, stored);
    } else {
        store(tx, target, &entry, stored);
    }
    Ok(())
}

/// Whether the change before `place` of a document deletes it. Should that lose, the document is back.
async fn is_behind_deletion(
    tx: &mut Tx,
    target: Target,
    edit: &Edit,
    place: Place,
) -> Result<bool> {
    let mut earlier = edit.slot.pending().iter().rev();
    let Some(earlier) = earlier.find(|earlier| **earlier < place) else {
        return Ok(false);
    };
    let row = load_row(tx, target, *earlier).await?;
    Ok(row.changes.iter().any(|change| {
        let is_same = change.collection() == edit.slot.collection && change.id == edit.slot.id;
        is_same && change.kind == StoredKind::Delete
    }))
}

/// Where nothing is pending any more on a document, what the server has beside it is shown: this device only took back what
/// was its own. The shadow must not stay: it would be taken for the content of what the server has next.
async fn uncover(tx: &mut Tx, target: Target, slot: &mut Slot) -> Result<()> {
    let key = keys::shadow(target, slot.collection, &slot.id);
    let Some(document) = slot.after.as_mut().filter(|it| it.head.pending.is_empty()) else {
        return Ok(());
    };
    let Some(server) = document.head.server else {
        return Ok(());
    };
    if server.presence == Presence::Live
        && let Some(payload) = tx.get(&key).await?
        && let Some(body) = Shadow::decode(&payload)?.body
    {
        document.head.rev = server.rev;
        document.head.presence = Presence::Live;
        document.body = Some(body);
    }
    tx.delete(key);
    Ok(())
}

/// A document that never left is erased: gone, or the tombstone that the server has.
fn as_the_server_has_it(document: StoredDocument) -> Option<StoredDocument> {
    let server = document
        .head
        .server
        .filter(|server| server.presence != Presence::Live)?;
    let head = DocumentHead {
        rev: server.rev,
        presence: server.presence,
        ..document.head
    };
    Some(StoredDocument { head, body: None })
}
