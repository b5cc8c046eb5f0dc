//! A document on its way through a write.

use super::{CHANGE_OVERHEAD, PendingChange};
use crate::keys::{self, CollectionId};
use crate::stored::{Presence, ServerVersion, StoredDocument};
use crate::tx::Tx;
use crate::{Body, ChangeKind, DocumentId, Place, Result, Revision};

/// A document on its way through a write: what was there and what will be.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) collection: CollectionId,
    pub(crate) id: DocumentId,
    pub(crate) before: Option<StoredDocument>,
    pub(crate) after: Option<StoredDocument>,
    /// What was stored is damaged: others may have a version that nobody knows here.
    unknown: bool,
    /// The server's version that is stored with it now.
    known: Option<ServerVersion>,
    /// The version that is stored now, if it has a body; `before` may be made to say something else.
    version: Option<(Revision, Body)>,
}

impl Slot {
    /// A document as it is stored.
    pub(crate) fn of(
        collection: CollectionId,
        id: DocumentId,
        stored: Option<StoredDocument>,
    ) -> Self {
        Self {
            collection,
            id,
            unknown: false,
            known: stored.as_ref().and_then(|stored| stored.head.server),
            version: stored
                .as_ref()
                .and_then(|stored| Some((stored.head.rev, stored.body.clone()?))),
            before: stored.clone(),
            after: stored,
        }
    }

    /// What came in the place of a document that is damaged.
    pub(crate) fn of_unknown(
        collection: CollectionId,
        id: DocumentId,
        stored: Option<StoredDocument>,
    ) -> Self {
        Self {
            unknown: true,
            ..Self::of(collection, id, stored)
        }
    }

    /// Whether what was stored is damaged.
    pub(crate) fn is_unknown(&self) -> bool {
        self.unknown
    }

    pub(crate) async fn load(
        tx: &mut Tx,
        collection: CollectionId,
        id: &DocumentId,
    ) -> Result<Self> {
        let stored = load_document(tx, collection, id).await?;
        Ok(Self::of(collection, id.clone(), stored))
    }

    /// Writes what will be, unless nothing changed.
    pub(crate) fn store(&self, tx: &mut Tx) {
        if self.before == self.after {
            return;
        }
        let server = self.after.as_ref().and_then(|after| after.head.server);
        tx.server_version_moved(self.collection, &self.id, self.known, server);
        let before = self.version.as_ref().map(|(rev, body)| (*rev, body));
        let after = self.after.as_ref();
        tx.store_document(self.collection, &self.id, before, after);
    }

    pub(crate) fn pending(&self) -> &[Place] {
        self.after
            .as_ref()
            .map_or(&[], |document| &document.head.pending)
    }

    pub(super) fn is_live_on_server(&self) -> bool {
        let document = self.after.as_ref();
        let server = document.and_then(|document| document.head.server);
        server.is_some_and(|server| server.presence == Presence::Live)
    }

    pub(crate) fn forget_place(&mut self, place: Place) {
        if let Some(document) = &mut self.after {
            document.head.pending.retain(|pending| *pending != place);
        }
    }
}

pub(crate) async fn load_document(
    tx: &mut Tx,
    collection: CollectionId,
    id: &DocumentId,
) -> Result<Option<StoredDocument>> {
    let payload = tx.get(&keys::document(collection, id)).await?;
    payload
        .map(|payload| StoredDocument::decode(&payload))
        .transpose()
}

/// A document and the change that is being made of it.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// Boxed: it is large, and handed from one to the next.
    pub(crate) slot: Box<Slot>,
    pub(crate) kind: ChangeKind,
    pub(crate) rev: Revision,
    /// It is that of a migration.
    pub(crate) migrated: bool,
}

impl Edit {
    pub(super) fn change(&self) -> PendingChange {
        let erase = matches!(self.kind, ChangeKind::Erase);
        let before = self
            .slot
            .before
            .as_ref()
            .filter(|document| document.is_live() && !erase);
        PendingChange {
            collection: self.slot.collection,
            id: self.slot.id.clone(),
            kind: self.kind.clone(),
            rev: self.rev,
            base: before.map(|document| document.head.rev),
            base_body: before.and_then(|document| document.body.clone()),
            migrated: self.migrated,
        }
    }

    /// What the change adds to a message at the most, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.slot.id.as_str().len() + self.kind.body().map_or(0, Body::len) + CHANGE_OVERHEAD
    }

    pub(super) fn add_place(&mut self, place: Place) {
        if let Some(document) = &mut self.slot.after {
            document.head.pending.push(place);
        }
    }
}
