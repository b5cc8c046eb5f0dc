//! What happens to the changes behind one that lost, and where the server's version of a document lies.

use super::resolve::Resolution;
use crate::damage::Server;
use crate::journal::RemoteVersion;
use crate::keys::{self, CollectionId};
use crate::merge::{self, Prefer};
use crate::outbox::{self, Entry, PendingChange, Slot};
use crate::stored::{Doubt, Presence, Progress, Shadow};
use crate::{Body, ChangeKind, DocumentId, Place, Result, Revision};

impl Resolution<'_> {
    /// Later pending edits of a document move from the version `old` to `new`, by three-way merge.
    pub(super) async fn rebase_behind(
        &mut self,
        place: Place,
        slot: &mut Slot,
        old: &PendingChange,
        new: Option<(Revision, Option<Body>)>,
    ) -> Result<()> {
        let mut old_body = old.kind.body().cloned();
        let mut stand = new;
        for behind in slot
            .pending()
            .iter()
            .copied()
            .filter(|behind| *behind > place)
            .collect::<Vec<_>>()
        {
            let mut entry = outbox::load(self.tx, self.target, behind).await?;
            if entry.is_pinned() || entry.doubt != Doubt::None {
                // It never changes again, or may have taken effect; it meets a conflict of its own.
                return Ok(());
            }
            let Some(change) = entry
                .changes
                .iter_mut()
                .find(|change| change.document() == old.document())
            else {
                continue;
            };
            if matches!(change.kind, ChangeKind::Erase) {
                return Ok(());
            }
            if change.migrated && matches!(change.kind, ChangeKind::Delete) {
                // The time of what is lost is over, not that of another version: it meets a conflict, and gives way.
                return Ok(());
            }
            let was = change.kind.body().cloned();
            let shown = change.rev;
            change.base = stand.as_ref().map(|(rev, _)| *rev);
            change.base_body = stand.as_ref().and_then(|(_, body)| body.clone());
            if let (Some(base), Some(local), Some(server)) = (&old_body, &was, &change.base_body) {
                let prefer = if stand.as_ref().is_some_and(|(rev, _)| *rev > change.rev) {
                    Prefer::Remote
                } else {
                    Prefer::Local
                };
                let merged =
                    merge::three_way(&base.to_map()?, &local.to_map()?, &server.to_map()?, prefer);
                // Both together may be over a limit: then the later edit stands as it was written.
                if let Ok(body) = Body::from_map(&merged, &self.tx.core().limits.document) {
                    change.kind = ChangeKind::Put(body);
                }
                change.rev = match &stand {
                    // Nobody made it just now: it stays the smallest step in time.
                    Some((stand, _)) if change.migrated => self.step_behind(slot, *stand, old.rev),
                    _ => self.tx.next_revision(),
                };
            }
            stand = matches!(change.kind, ChangeKind::Put(_))
                .then(|| (change.rev, change.kind.body().cloned()));
            old_body = was;
            if slot.pending().last() == Some(&behind) && !self.is_the_devices(slot, shown) {
                show(slot, change);
            }
            if matches!(entry.progress, Progress::Conflicted(_)) {
                // What it stood on was in its way.
                entry.freed = true;
            }
            outbox::store(self.tx, self.target, &entry, entry.changes.len());
            if entry.freed {
                self.requeue(entry).await?;
            }
        }
        self.tx.outbox_grew();
        Ok(())
    }

    /// The change of `entry` that has the place `at` there stands on the same version as before, should that have got a later
    /// revision.
    pub(super) async fn follow_base(
        &mut self,
        entry: &mut Entry,
        at: usize,
        slot: &mut Slot,
        remote: &RemoteVersion,
    ) -> Result<()> {
        let (place, now) = (entry.place, remote.version.rev);
        let change = &mut entry.changes[at];
        if !is_restamped(change, remote) {
            return Ok(());
        }
        if !change.migrated {
            change.base = Some(now);
            return Ok(());
        }
        if matches!(change.kind, ChangeKind::Delete) || change.base == Some(now) {
            // What counts from the last write is not over where that has another time: it meets a conflict, and gives way.
            return Ok(());
        }
        let old = change.rev;
        change.base = Some(now);
        change.rev = self.step_behind(slot, now, old);
        let new = change.rev;
        let document = change.document();
        self.restand_behind(place, slot, &document, (old, new))
            .await?;
        outbox::store_head(self.tx, self.target, entry);
        if let Some(document) = &mut slot.after {
            document.head.rename(old, new);
        }
        slot.store(self.tx);
        Ok(())
    }

    /// What was made on a pending version stands on it by its new revision.
    pub(super) async fn restand_behind(
        &mut self,
        place: Place,
        slot: &Slot,
        document: &(CollectionId, DocumentId),
        (old, new): (Revision, Revision),
    ) -> Result<()> {
        let behind = slot.pending().iter().copied();
        for place in behind.filter(|behind| *behind > place).collect::<Vec<_>>() {
            let mut later = outbox::load(self.tx, self.target, place).await?;
            if later.is_pinned() {
                continue;
            }
            for follower in &mut later.changes {
                if follower.document() == *document && follower.base == Some(old) {
                    follower.base = Some(new);
                }
            }
            outbox::store_head(self.tx, self.target, &later);
        }
        Ok(())
    }

    /// The smallest step in time behind a version, of this device, and not the one that was lost.
    fn step_behind(&mut self, slot: &Slot, stand: Revision, lost: Revision) -> Revision {
        let later = slot.after.as_ref().map(|document| &document.head.later);
        let step = |rev: Revision| {
            let hlc = later.map_or_else(|| rev.hlc.aside(), |later| later.step_aside(rev.hlc));
            Revision::new(hlc, self.tx.client())
        };
        let rev = step(stand);
        let rev = if rev == lost { step(rev) } else { rev };
        let clock = self.tx.state().clock.max(rev.hlc);
        self.tx.state().clock = clock;
        rev
    }

    /// What is stored of the documents of a mutation, and the server's version of each.
    pub(super) async fn sides_of(
        &mut self,
        entry: &Entry,
    ) -> Result<(Vec<Slot>, Vec<Option<RemoteVersion>>)> {
        let mut slots = Vec::with_capacity(entry.changes.len());
        let mut remotes = Vec::with_capacity(entry.changes.len());
        for change in &entry.changes {
            let slot =
                Slot::recover(self.tx, change.collection, &change.id, Server::ReadAgain).await?;
            remotes.push(self.remote_of(&slot).await?);
            slots.push(slot);
        }
        Ok((slots, remotes))
    }

    /// The server's version of a document: from the shadow, what readers see, or the base of its first pending change.
    /// One that lives and has no body is of a document that was erased here: see [`is_bodiless`].
    pub(super) async fn remote_of(&mut self, slot: &Slot) -> Result<Option<RemoteVersion>> {
        let Some(version) = slot
            .after
            .as_ref()
            .and_then(|document| document.head.server)
        else {
            return Ok(None);
        };
        let shadow = self
            .tx
            .get(&keys::shadow(self.target, slot.collection, &slot.id))
            .await?;
        if let Some(payload) = shadow {
            return Ok(Some(RemoteVersion {
                version,
                body: Shadow::decode(&payload)?.body,
            }));
        }
        if version.presence != Presence::Live {
            return Ok(Some(RemoteVersion {
                version,
                body: None,
            }));
        }
        let shown = slot
            .after
            .as_ref()
            .filter(|document| document.head.rev == version.rev);
        let Some(first) = slot.pending().first().filter(|_| shown.is_none()) else {
            let body = slot
                .after
                .as_ref()
                .and_then(|document| document.body.clone());
            return Ok(Some(RemoteVersion { version, body }));
        };
        let entry = outbox::load(self.tx, self.target, *first).await?;
        let change = entry
            .changes
            .into_iter()
            .find(|change| change.document() == (slot.collection, slot.id.clone()));
        // An erase that waits here has taken the body, not the version.
        let body = change
            .filter(|change| change.base == Some(version.rev))
            .and_then(|change| change.base_body);
        Ok(Some(RemoteVersion { version, body }))
    }
}

/// Whether the server's version is the base of a change under a later revision: a corrected clock gave it one while
/// the change was on its way, or the answer to a conflict did, which came to the same.
fn is_restamped(change: &PendingChange, remote: &RemoteVersion) -> bool {
    let (Some(base), Some(base_body), Some(body)) = (change.base, &change.base_body, &remote.body)
    else {
        return false;
    };
    base.client == remote.version.rev.client && base_body == body
}

/// Whether the server's version lives and its body is nowhere here: the document was erased here, behind what is pending.
pub(super) fn is_bodiless(remote: &RemoteVersion) -> bool {
    remote.version.presence == Presence::Live && remote.body.is_none()
}

/// Readers see the version that a pending change makes.
pub(super) fn show(slot: &mut Slot, change: &PendingChange) {
    if let Some(document) = &mut slot.after {
        document.head.rev = change.rev;
        document.head.presence = Presence::after(&change.kind);
        document.head.later = document.head.later.kept();
        document.body = change.kind.body().cloned();
    }
}
