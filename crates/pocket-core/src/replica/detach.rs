//! Leaving a server: with everything that is here, or with nothing that came from there.
//!
//! Both take another client id: the server that is left knows the numbers of the old one, and to another user it would
//! be somebody else's.

use pocket_storage::ordered::BTreeMap;
use pocket_storage::{KeyRange, ScanLimit};

use super::resolve;
use super::state::{ReplicaState, snapshot};
use super::store_target;
use crate::commit::Job;
use crate::configure::put_collection;
use crate::damage::{self, Server};
use crate::keys::{self, BodyOf, CollectionId, Target};
use crate::outbox::{self, Entry, PendingChange, Slot};
use crate::stored::{
    self, CollectionRow, DatabaseHead, MutationLater, MutationRow, Progress, StoredDocument,
    StoredKind, TargetRow,
};
use crate::tx::Tx;
use crate::{ChangeKind, ClientId, DocumentId, Place, Result, Revision, random_bytes};

/// Rows read at once.
const CHUNK: usize = 1_000;

/// What a wipe removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wiped {
    /// The state afterwards.
    pub state: ReplicaState,
    /// Documents of synced collections that were there.
    pub documents: u64,
    /// Mutations that no server had settled.
    pub pending: u64,
    /// Entries of the journal.
    pub journaled: u64,
}

pub(super) struct DetachJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for DetachJob {
    type Output = ReplicaState;

    fn runs_alone(&self) -> bool {
        true
    }

    fn is_by_sync(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<ReplicaState> {
        forget_server(tx, self.target).await?;
        let stamps = self.release_outbox(tx).await?;
        self.offer_documents(tx, &stamps).await?;
        tx.outbox_grew();
        snapshot(tx, self.target, &TargetRow::default()).await
    }
}

/// The new revision of each pending change, by the document and the old one.
type Stamps = BTreeMap<(CollectionId, DocumentId, Revision), Revision>;

impl DetachJob {
    /// Every pending mutation becomes unsent, and stands on pending changes or on nothing. One that is damaged, as is all that
    /// it may be about, keeps nobody from leaving: it waits as it is until somebody says what the document is to be.
    async fn release_outbox(&self, tx: &mut Tx) -> Result<Stamps> {
        let (target, client) = (self.target, tx.client());
        let mut stamps = Stamps::new();
        let mut range = keys::outbox_from(target, Place::ZERO);
        loop {
            let Some(rows) = outbox::readable_page(tx, target, &mut range, CHUNK).await? else {
                return Ok(stamps);
            };
            for (key, payload) in rows {
                let place = Place::new(number_in(&key)?);
                let mut row: MutationRow = stored::decode(&payload)?;
                for (index, change) in (0..).zip(&mut row.changes) {
                    let document = (change.collection(), change.id.clone());
                    let stamp = |rev| (document.0, document.1.clone(), rev);
                    let base = change
                        .base
                        .and_then(|base| stamps.get(&stamp(base)).copied());
                    if base.is_none() && std::mem::take(&mut change.has_base_body) {
                        tx.delete(keys::outbox_body(target, place, index, BodyOf::Base));
                    }
                    if base.is_none() && change.kind == StoredKind::Put {
                        // The version that a migration made it of stays behind, and this is all that is left of it: it
                        // must not give way without a word.
                        change.later.migrated = false;
                    }
                    // It keeps its time, so that the later of two writes stays the later one.
                    let rev = Revision::new(change.rev.hlc, client);
                    stamps.insert(stamp(change.rev), rev);
                    change.base = base;
                    change.rev = rev;
                }
                row.progress = Progress::Unsent;
                row.content = 0;
                row.ended = 0;
                row.later = MutationLater::default();
                tx.put(key, &[&stored::encode(&row)]);
            }
        }
    }

    /// Documents forget the server; those that sync and have no pending change get one that makes them.
    async fn offer_documents(&self, tx: &mut Tx, stamps: &Stamps) -> Result<()> {
        let collections: Vec<CollectionRow> = tx
            .registry()
            .iter_even_dropped()
            .map(|(_, row)| row.clone())
            .collect();
        for collection in collections {
            let mut range = keys::documents(collection.id());
            loop {
                let limit = ScanLimit::entries(CHUNK);
                let rows = tx.scan_each(range.clone(), limit).await?;
                let Some((last, _)) = rows.last() else { break };
                range = range.after(last.clone());
                for (key, payload) in rows {
                    let slot = payload.and_then(|payload| slot(collection.id(), &key, &payload));
                    // A damaged one cannot be offered, and keeps nobody from the others; whatever takes its place is
                    // sent as it is written.
                    let Some(mut slot) = damage::unless_damaged(slot)? else {
                        continue;
                    };
                    self.offer(tx, &collection, &mut slot, stamps);
                    slot.store(tx);
                }
            }
        }
        Ok(())
    }

    fn offer(&self, tx: &mut Tx, collection: &CollectionRow, slot: &mut Slot, stamps: &Stamps) {
        let client = tx.client();
        let Some(document) = &mut slot.after else {
            return;
        };
        document.head.server = None;
        document.head.resync = 0;
        if !document.head.pending.is_empty() {
            let stamp = (slot.collection, slot.id.clone(), document.head.rev);
            if let Some(rev) = stamps.get(&stamp) {
                document.head.rev = *rev;
            }
            return;
        }
        let Some(body) = document.body.clone() else {
            // A deletion that the old server knows means nothing to the next one.
            slot.after = None;
            return;
        };
        if !collection.sync || collection.dropped {
            return;
        }
        let rev = Revision::new(document.head.rev.hlc, client);
        document.head.rev = rev;
        let place = outbox::next_place(tx);
        let entry = Entry::unsent(
            place,
            PendingChange {
                collection: slot.collection,
                id: slot.id.clone(),
                kind: ChangeKind::Put(body),
                rev,
                base: None,
                base_body: None,
                migrated: false,
            },
        );
        document.head.pending.push(place);
        outbox::store(tx, self.target, &entry, 0);
        tx.state().pending += 1;
    }
}

pub(super) struct WipeJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for WipeJob {
    type Output = Wiped;

    fn runs_alone(&self) -> bool {
        true
    }

    fn is_by_sync(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Wiped> {
        let target = self.target;
        let pending = tx.state().pending;
        forget_server(tx, target).await?;
        remove_all(tx, keys::outbox_from(target, Place::ZERO)).await?;
        remove_all(tx, keys::outbox_bodies_from(target, Place::ZERO)).await?;
        let journaled = remove_all(tx, keys::journal_after(None)).await?;
        remove_all(tx, keys::journal_bodies()).await?;
        tx.state().pending = 0;
        tx.state().open_journal = 0;
        let collections: Vec<CollectionRow> = tx
            .registry()
            .iter_even_dropped()
            .map(|(_, row)| row.clone())
            .collect();
        let mut documents = 0;
        for collection in collections {
            let mut range = keys::documents(collection.id());
            loop {
                let limit = ScanLimit::entries(CHUNK);
                let rows = tx.scan_each(range.clone(), limit).await?;
                let Some((last, _)) = rows.last() else { break };
                range = range.after(last.clone());
                for (key, payload) in rows {
                    let slot = payload.and_then(|payload| slot(collection.id(), &key, &payload));
                    let Some(mut slot) = damage::unless_damaged(slot)? else {
                        if collection.sync {
                            documents += 1;
                            remove_damaged(tx, collection.id(), &key).await?;
                        }
                        continue;
                    };
                    let live = slot.after.as_ref().is_some_and(StoredDocument::is_live);
                    documents += u64::from(collection.sync && live);
                    match &mut slot.after {
                        Some(document) if !collection.sync && live => {
                            document.head.server = None;
                            document.head.resync = 0;
                            document.head.pending.clear();
                        }
                        after => *after = None,
                    }
                    resolve::store_slot(tx, &slot)?;
                }
            }
        }
        Ok(Wiped {
            state: snapshot(tx, target, &TargetRow::default()).await?,
            documents,
            pending,
            journaled,
        })
    }
}

/// Nothing is left of the binding, of what was agreed with the server, and of what it has.
async fn forget_server(tx: &mut Tx, target: Target) -> Result<()> {
    let payload = tx.get(keys::DATABASE).await?;
    let payload = payload.ok_or_else(|| stored::damaged("the database has no head"))?;
    let head: DatabaseHead = stored::decode(&payload)?;
    let client = ClientId::from_bytes(random_bytes(&*tx.core().env));
    tx.become_client(client);
    let head = DatabaseHead { client, ..head };
    tx.put(keys::DATABASE.to_vec(), &[&stored::encode(&head)]);
    store_target(tx, target, &TargetRow::default());
    for range in [
        keys::numbers_from(target, crate::MutationNumber::ZERO),
        keys::all_waiting(target),
        keys::all_questions(target),
        keys::all_shadows(target),
    ] {
        remove_all(tx, range).await?;
    }
    let rows = tx.registry().iter_even_dropped();
    let rows: Vec<_> = rows
        .map(|(name, row)| (name.clone(), row.clone()))
        .collect();
    for (name, before) in rows {
        let mut row = before.clone();
        // All of it is read from the start anyway.
        row.joins = false;
        // What the one server was not read for, or has lost, says nothing of the next one.
        row.later.away = None;
        row.set_partings(Vec::new());
        if row != before {
            put_collection(tx, &name, row);
        }
    }
    Ok(())
}

/// Removes what lies in a range, and says how much that was.
async fn remove_all(tx: &mut Tx, mut range: KeyRange) -> Result<u64> {
    let mut count = 0;
    loop {
        // What is damaged goes, too.
        let rows = tx
            .scan_sealed(range.clone(), ScanLimit::entries(CHUNK))
            .await?;
        let Some((last, _)) = rows.last() else {
            return Ok(count);
        };
        range = range.after(last.clone());
        for (key, _) in rows {
            tx.delete(key);
            count += 1;
        }
    }
}

/// Removes a damaged document, and its entries in indexes.
async fn remove_damaged(tx: &mut Tx, collection: CollectionId, key: &[u8]) -> Result<()> {
    let slot = Slot::recover(tx, collection, &id_in(key)?, Server::Told).await?;
    debug_assert!(slot.after.is_none(), "nothing is pending any more");
    Ok(())
}

fn id_in(key: &[u8]) -> Result<DocumentId> {
    let id =
        keys::document_id(key).ok_or_else(|| stored::damaged("a document's key is too short"))?;
    DocumentId::new(id)
}

fn number_in(key: &[u8]) -> Result<u64> {
    keys::trailing_number(key).ok_or_else(|| stored::damaged("a key of the outbox is too short"))
}

fn slot(collection: CollectionId, key: &[u8], payload: &bytes::Bytes) -> Result<Slot> {
    let stored = StoredDocument::decode(payload)?;
    Ok(Slot::of(collection, id_in(key)?, Some(stored)))
}
