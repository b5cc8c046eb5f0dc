//! Rights that end: documents the user may no longer read leave the device.

use super::apply::ApplyJob;
use super::resolve::{self, Loss, Resolution};
use super::resync;
use crate::damage::Server;
use crate::erase::{self, Erased, Forget};
use crate::journal::JournalKind;
use crate::keys::{CollectionId, Target};
use crate::outbox::{self, Slot};
use crate::stored::{Presence, Progress};
use crate::tx::Tx;
use crate::{DocumentId, Result};

impl ApplyJob {
    /// Removes the documents that the page withdraws, with what others wrote of them. Returns those with pending changes
    /// and those without.
    pub(super) async fn revoke(&self, tx: &mut Tx, resync: u64) -> Result<Erased> {
        let (mut revoked, mut withdrawn) = (Erased::new(), Erased::new());
        for (name, id, seq) in &self.page.removals {
            let Some(row) = tx.registry().get_even_dropped(name).cloned() else {
                continue;
            };
            let mut slot = Slot::recover(tx, row.id(), id, Server::ReadAgain).await?;
            let known = slot
                .after
                .as_ref()
                .and_then(|document| document.head.server);
            let is_shown_since = known.is_some_and(|server| server.seq > *seq);
            if !row.sync || is_shown_since {
                continue;
            }
            withdrawn.insert((row.id(), id.clone()));
            let on_its_way = is_on_its_way(tx, self.target, &slot).await?;
            if known.is_none() && !on_its_way {
                // What is here, if anything, is this user's own. What others wrote may be in the journal.
                continue;
            }
            if slot.pending().is_empty() {
                slot.after = None;
            } else if on_its_way {
                // It may have taken effect before the document was hidden, or be what hid it, and is told so later.
                resync::bury(tx, self.target, &mut slot, (*seq, Presence::Hidden));
                if let Some(document) = &mut slot.after {
                    document.head.resync = resync;
                }
            } else if let Some(document) = &mut slot.after {
                document.head.server = None;
            }
            resolve::store_slot(tx, &slot)?;
            revoked.insert((row.id(), id.clone()));
        }
        erase::forget_beside(tx, self.target, &revoked, Forget::TheirParts).await?;
        erase::forget_in_journal(tx, &withdrawn, Forget::TheirParts).await?;
        Ok(revoked)
    }
}

/// Pending changes to a document that was withdrawn go into the journal, with what this user wrote himself.
///
/// One that is on its way is answered first: the server refuses it, and those behind it.
pub(super) async fn lose_changes(
    resolution: &mut Resolution<'_>,
    (collection, id): &(CollectionId, DocumentId),
) -> Result<()> {
    loop {
        let slot = Slot::recover(resolution.tx, *collection, id, Server::ReadAgain).await?;
        let Some(place) = slot.pending().first().copied() else {
            return Ok(());
        };
        if is_on_its_way(resolution.tx, resolution.target, &slot).await? {
            return Ok(());
        }
        let entry = outbox::load(resolution.tx, resolution.target, place).await?;
        let (slots, remotes) = resolution.sides_of(&entry).await?;
        let loss = Loss {
            kind: JournalKind::Refusal,
            rule: "access-revoked",
            code: Some("forbidden".to_owned()),
            reason: Some("the user may no longer read the document".to_owned()),
        };
        let next = resolution.lose(entry, slots, remotes, loss).await?;
        for place in next {
            resolution.try_resolve(place).await?;
        }
    }
}

/// Whether a change of the document was sent, and its outcome is unknown.
async fn is_on_its_way(tx: &mut Tx, target: Target, slot: &Slot) -> Result<bool> {
    for place in slot.pending() {
        let row = outbox::load_row(tx, target, *place).await?;
        if matches!(row.progress, Progress::Pinned(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}
