//! What fails its sum: how it is told, and what takes its place.
//!
//! A damaged document is treated as unknown. Whoever puts another in its place, deletes it, or brings the server's version
//! of it goes on without what was stored: what the outbox holds of it stands, and what the server has is read again. A
//! damaged mutation of the outbox is made anew of the documents that name it. Its place stays, so nothing overtakes
//! anything; only the versions that it stood on may be unknown, and then it meets a conflict as two creations do.

use bytes::Bytes;
use pocket_storage::KeyRange;

use crate::commit::CommitCore;
use crate::keys::{self, BodyOf, CollectionId, Target};
use crate::outbox::{self, Entry, PendingChange, Slot};
use crate::replica;
use crate::stored::{
    self, ChangeRow, DocumentHead, DocumentLater, Doubt, MutationRow, Presence, Progress,
    StoredDocument, StoredKind,
};
use crate::tx::Tx;
use crate::{
    Body, ChangeKind, DocumentId, DocumentLimits, Error, Map, MutationNumber, Place, Result,
    Revision, Seq, codes, envelope,
};

/// Entries looked at at once.
const CHUNK: usize = 1_000;

/// Whether a stored value itself is damaged, and not what the store keeps it in.
pub(crate) fn is_damage(error: &Error) -> bool {
    error.code() == codes::CORRUPT && error.storage().is_none()
}

/// What was read; none where that is damaged, for those who step over it.
pub(crate) fn unless_damaged<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if is_damage(&error) => Ok(None),
        read => read.map(Some),
    }
}

impl CommitCore {
    /// As [`envelope::open`]; the error says what the value is.
    pub(crate) fn open(&self, key: &[u8], value: &Bytes) -> Result<Bytes> {
        envelope::open(key, value).map_err(|error| self.named(error))
    }

    /// The same error; that of a damaged value says what the value is and what to do about it.
    pub(crate) fn named(&self, error: Error) -> Error {
        let registry = self.registry();
        if let Some(keys::Kind::IndexEntry(number)) = error.damaged_key().map(keys::kind_of)
            && let Some(index) = registry.index(number)
        {
            let name = registry.row(index.collection).map(|(name, _)| name);
            let of = name.map(|name| format!(" of `{name}`"));
            return Error::new(
                codes::CORRUPT,
                format!(
                    "an entry of the index {:?}{} is damaged; drop the index and make it again",
                    index.name(),
                    of.unwrap_or_default()
                ),
            );
        }
        named(error, |number| {
            let (name, _) = registry.row(number)?;
            Some(name.to_string())
        })
    }
}

/// As [`CommitCore::named`], where collections have these names.
pub(crate) fn named(error: Error, name: impl Fn(CollectionId) -> Option<String>) -> Error {
    let what = match error.damaged_key().map(keys::kind_of) {
        Some(keys::Kind::Document(number, id)) => format!(
            "document {id:?} of {} is damaged: its value fails its checksum. Delete it, put another in its place (an \
             upsert, or a dump that replaces what exists), or restore a backup; all others stay readable",
            name(number).map_or_else(
                || format!("collection number {}", number.0),
                |name| format!("`{name}`")
            )
        ),
        Some(keys::Kind::Outbox(place)) => format!(
            "the change at place {place} of the outbox is damaged; sync makes it anew of the documents it is about"
        ),
        Some(keys::Kind::IndexEntry(_)) => {
            "an entry of an index is damaged; drop the index and make it again".to_owned()
        }
        Some(keys::Kind::Other) | None => return error,
    };
    let is_of_a_document = matches!(
        error.damaged_key().map(keys::kind_of),
        Some(keys::Kind::Document(..))
    );
    let named = Error::new(codes::CORRUPT, what);
    if is_of_a_document {
        named.of_a_document()
    } else {
        named
    }
}

/// What is done about the server's version of a document whose row was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Server {
    /// It is at hand, or there is none.
    Told,
    /// Everything is read again.
    ReadAgain,
}

impl Slot {
    /// As [`load`](Self::load). In the place of a row that is damaged comes what else is known of the document: what is
    /// pending on it, or nothing.
    pub(crate) async fn recover(
        tx: &mut Tx,
        collection: CollectionId,
        id: &DocumentId,
        server: Server,
    ) -> Result<Self> {
        match Self::load(tx, collection, id).await {
            Err(error) if is_damage(&error) => replace(tx, collection, id, server).await,
            loaded => loaded,
        }
    }

    /// As [`recover`](Self::recover), for a write that does not need what was there. What is to be deleted stands for
    /// a live document, so that its deletion is told.
    pub(crate) async fn load_over(
        tx: &mut Tx,
        collection: CollectionId,
        id: &DocumentId,
        deletes: bool,
    ) -> Result<Self> {
        let mut slot = Self::recover(tx, collection, id, Server::ReadAgain).await?;
        if slot.is_unknown() && deletes && slot.after.is_none() {
            let head = head(tx.next_revision(), Presence::Live, Vec::new());
            let body = Body::from_map(&Map::new(), &DocumentLimits::default())?;
            slot.after = Some(StoredDocument {
                head,
                body: Some(body),
            });
        }
        Ok(slot)
    }
}

fn head(rev: Revision, presence: Presence, pending: Vec<Place>) -> DocumentHead {
    DocumentHead {
        rev,
        presence,
        server: None,
        resync: 0,
        pending,
        later: DocumentLater::default(),
    }
}

/// Puts what is pending on a document in the place of its damaged row, in its indexes too.
async fn replace(
    tx: &mut Tx,
    collection: CollectionId,
    id: &DocumentId,
    server: Server,
) -> Result<Slot> {
    let target = Target::DEFAULT;
    let pending = places_of(tx, target, collection, id).await?;
    remove_entries(tx, collection, id).await?;
    let mut stored = None;
    if let Some(last) = pending.last() {
        let entry = outbox::load(tx, target, *last).await?;
        let mut changes = entry.changes.into_iter();
        let last = changes.find(|it| it.collection == collection && it.id == *id);
        stored = last.map(|last| StoredDocument {
            head: head(last.rev, Presence::after(&last.kind), pending),
            body: last.kind.body().cloned(),
        });
    }
    // It would be taken for the content of the server's next version.
    tx.delete(keys::shadow(target, collection, id));
    tx.store_document(collection, id, None, stored.as_ref());
    tx.lost_a_document(server);
    Ok(Slot::of_unknown(collection, id.clone(), stored))
}

/// The mutations that touch a document, found in the outbox itself.
async fn places_of(
    tx: &mut Tx,
    target: Target,
    collection: CollectionId,
    id: &DocumentId,
) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    let mut next = Some(keys::outbox_from(target, Place::ZERO));
    while let Some(range) = next {
        let (entries, rest) = tx.sealed_page(range, CHUNK).await?;
        next = rest;
        for key in entries.into_keys() {
            let place = place_in(&key)?;
            // The document is one of those that may have named it, and is given up.
            let Some(row) = row_or_remade(tx, target, place, Lost::Given).await? else {
                continue;
            };
            let mut changes = row.changes.iter();
            if changes.any(|it| it.collection() == collection && it.id == *id) {
                places.push(place);
            }
        }
    }
    Ok(places)
}

/// Removes the entries of a document from the indexes of its collection, whatever values they have.
async fn remove_entries(tx: &mut Tx, collection: CollectionId, id: &DocumentId) -> Result<()> {
    let Some(indexes) = tx.registry().live_indexes(collection).cloned() else {
        return Ok(());
    };
    for index in indexes.iter() {
        let mut next = Some(keys::index_entries(index.number));
        while let Some(range) = next {
            let (entries, rest) = tx.sealed_page(range, CHUNK).await?;
            next = rest;
            for key in entries.into_keys() {
                // A key that makes no sense is of no document.
                if index.entry(&key).is_ok_and(|entry| entry.id == *id) {
                    tx.delete(key);
                }
            }
        }
    }
    Ok(())
}

/// What became of a document that a damaged mutation may be about, and that is damaged itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Somebody has to say so first.
    Refused,
    /// It is given up, and with it what the mutation would have done to it.
    Given,
}

/// The mutation at a place. One that is damaged is made anew, and none is left of one that is about nothing.
pub(crate) async fn row_or_remade(
    tx: &mut Tx,
    target: Target,
    place: Place,
    lost: Lost,
) -> Result<Option<MutationRow>> {
    match stored_row(tx, target, place).await {
        Err(error) if is_damage(&error) => {}
        known => return known,
    }
    remake(tx, target, place, lost).await?;
    stored_row(tx, target, place).await
}

async fn stored_row(tx: &mut Tx, target: Target, place: Place) -> Result<Option<MutationRow>> {
    let payload = tx.get(&keys::outbox(target, place)).await?;
    payload.map(|payload| stored::decode(&payload)).transpose()
}

/// Stores a mutation anew, as the documents tell it that name its place.
async fn remake(tx: &mut Tx, target: Target, place: Place, lost: Lost) -> Result<()> {
    let progress = progress_of(tx, target, place).await?;
    let changes = changes_of(tx, target, place, lost).await?;
    remove_bodies(tx, target, place).await?;
    let is_pinned = matches!(progress, Progress::Pinned(_));
    if changes.is_empty() && !is_pinned {
        outbox::stop_waiting(tx, target, place);
        tx.delete(keys::outbox(target, place));
        tx.state().pending = tx.state().pending.saturating_sub(1);
        return Ok(());
    }
    let entry = Entry {
        place,
        progress,
        // Numbers have no gaps: where nothing is left of it, only its number travels.
        withdrawn: changes.is_empty(),
        ended: 0,
        doubt: Doubt::None,
        // Others may have what it stood on: they are to hear of its end.
        returns: true,
        met: Seq::ZERO,
        freed: false,
        changes,
    };
    outbox::store(tx, target, &entry, 0);
    Ok(())
}

/// How far a damaged mutation had come, as what points to it tells.
async fn progress_of(tx: &mut Tx, target: Target, place: Place) -> Result<Progress> {
    let mut next = Some(keys::numbers_from(target, MutationNumber::ZERO));
    while let Some(range) = next {
        let (entries, rest) = tx.sealed_page(range, CHUNK).await?;
        next = rest;
        for (key, sealed) in entries {
            let named = envelope::open(&key, &sealed).and_then(|it| stored::decode::<Place>(&it));
            if named.is_ok_and(|named| named == place)
                && let Some(number) = keys::trailing_number(&key)
            {
                return Ok(Progress::Pinned(MutationNumber::new(number)));
            }
        }
    }
    Ok(match tx.get(&keys::waiting(target, place)).await? {
        Some(until) => Progress::Conflicted(stored::decode(&until)?),
        None => Progress::Unsent,
    })
}

async fn changes_of(
    tx: &mut Tx,
    target: Target,
    place: Place,
    lost: Lost,
) -> Result<Vec<PendingChange>> {
    let (mut changes, mut unread) = (Vec::new(), None);
    let mut next: Option<KeyRange> = Some(keys::all_documents());
    while let Some(range) = next {
        let (entries, rest) = tx.sealed_page(range, CHUNK).await?;
        next = rest;
        for (key, sealed) in entries {
            let (Some(collection), Some(id)) =
                (keys::document_collection(&key), keys::document_id(&key))
            else {
                continue;
            };
            let opened = tx.core().open(&key, &sealed);
            let document = match opened.and_then(|it| StoredDocument::decode(&it)) {
                Ok(document) => document,
                Err(error) if is_damage(&error) && tx.registry().syncs(collection) => {
                    unread = Some(error);
                    continue;
                }
                Err(_) => continue,
            };
            let at = document.head.pending.iter().position(|it| *it == place);
            if let Some(at) = at {
                let id = DocumentId::new(id)?;
                changes.extend(change_of(tx, target, (collection, id), &document, at).await?);
            }
        }
    }
    match unread {
        Some(error) if changes.is_empty() && lost == Lost::Refused => Err(Error::new(
            codes::CORRUPT,
            format!(
                "the change at place {place} of the outbox is damaged, and what it may be about: {error}"
            ),
        )),
        _ => Ok(changes),
    }
}

/// What a mutation does to a document in which it is the pending one at `at`.
async fn change_of(
    tx: &mut Tx,
    target: Target,
    (collection, id): (CollectionId, DocumentId),
    document: &StoredDocument,
    at: usize,
) -> Result<Option<PendingChange>> {
    let pending = &document.head.pending;
    let (kind, rev) = if let Some(later) = pending.get(at + 1) {
        // What it made of the document is what the next one was made on.
        match stood_on(tx, target, *later, collection, &id).await? {
            Some((rev, body)) => (ChangeKind::Put(body), rev),
            None => return Ok(None),
        }
    } else {
        let kind = match (document.head.presence, &document.body) {
            (Presence::Live, Some(body)) => ChangeKind::Put(body.clone()),
            (Presence::Erased, _) => ChangeKind::Erase,
            _ => ChangeKind::Delete,
        };
        (kind, document.head.rev)
    };
    let base = if matches!(kind, ChangeKind::Erase) {
        None
    } else if let Some(before) = at.checked_sub(1).and_then(|at| pending.get(at)) {
        let earlier = readable_change(tx, target, *before, collection, &id).await?;
        earlier.and_then(|(_, it)| (it.kind == StoredKind::Put).then_some(it.rev))
    } else {
        // As long as nothing came from there since, the server's version is what the change was made on.
        let shadow = tx.get(&keys::shadow(target, collection, &id)).await;
        let is_untouched = shadow.is_ok_and(|shadow| shadow.is_none());
        let server = document.head.server.filter(|_| is_untouched);
        server.and_then(|server| server.counted())
    };
    Ok(Some(PendingChange {
        collection,
        id,
        kind,
        rev,
        base,
        base_body: None,
        migrated: false,
    }))
}

/// The change of a mutation to a document, with its place in it; none where it cannot be read.
async fn readable_change(
    tx: &mut Tx,
    target: Target,
    place: Place,
    collection: CollectionId,
    id: &DocumentId,
) -> Result<Option<(u32, ChangeRow)>> {
    let row = unless_damaged(stored_row(tx, target, place).await)?;
    let changes = row.flatten().into_iter().flat_map(|row| row.changes);
    let mut changes = (0..).zip(changes);
    Ok(changes.find(|(_, it)| it.collection() == collection && it.id == *id))
}

/// The version that a mutation's change of a document was made on, if it keeps it.
async fn stood_on(
    tx: &mut Tx,
    target: Target,
    place: Place,
    collection: CollectionId,
    id: &DocumentId,
) -> Result<Option<(Revision, Body)>> {
    let Some((index, change)) = readable_change(tx, target, place, collection, id).await? else {
        return Ok(None);
    };
    let Some(rev) = change.base.filter(|_| change.has_base_body) else {
        return Ok(None);
    };
    let key = keys::outbox_body(target, place, index, BodyOf::Base);
    let body = unless_damaged(tx.get(&key).await)?.flatten();
    Ok(body.map(|body| (rev, Body::from_trusted(body))))
}

async fn remove_bodies(tx: &mut Tx, target: Target, place: Place) -> Result<()> {
    let mut next = Some(keys::outbox_bodies_of(target, place));
    while let Some(range) = next {
        let (entries, rest) = tx.sealed_page(range, CHUNK).await?;
        next = rest;
        for key in entries.into_keys() {
            tx.delete(key);
        }
    }
    Ok(())
}

/// The body of a change whose own is damaged: that of the document, or the one that the next change was made on.
pub(crate) async fn body_of(
    tx: &mut Tx,
    target: Target,
    place: Place,
    change: &ChangeRow,
) -> Result<Option<Body>> {
    let collection = change.collection();
    let document = outbox::load_document(tx, collection, &change.id).await;
    let Some(document) = unless_damaged(document)?.flatten() else {
        return Ok(None);
    };
    if document.head.rev == change.rev {
        return Ok(document.body);
    }
    let mut pending = document.head.pending.iter();
    let Some(later) = pending.find(|later| **later > place) else {
        return Ok(None);
    };
    let stood = stood_on(tx, target, *later, collection, &change.id).await?;
    Ok(stood
        .filter(|(rev, _)| *rev == change.rev)
        .map(|(_, body)| body))
}

/// Ends what a job began that put something in the place of a damaged document: what the server has of it is read again,
/// unless it is at hand.
///
/// It runs behind the job, whose own state of the replica is stored by then.
pub(crate) async fn finish(tx: &mut Tx) -> Result<()> {
    match tx.lost() {
        Some(server) => replica::lost(tx, Target::DEFAULT, server == Server::ReadAgain).await,
        None => Ok(()),
    }
}

fn place_in(key: &[u8]) -> Result<Place> {
    let number = keys::trailing_number(key)
        .ok_or_else(|| stored::damaged("a key of the outbox is too short"))?;
    Ok(Place::new(number))
}
