//! Pages: the server's newest versions, applied with the checkpoint that follows them.

use std::sync::Arc;

use super::conflict::Resolver;
use super::renew;
use super::resolve::{self, Resolution};
use super::resync::{self, Seen};
use super::revoke;
use super::settle::{self, is_kept};
use super::state::{ReplicaState, left_out, snapshot};
use super::unerased::Unerased;
use super::{load_target, store_target};
use crate::commit::Job;
use crate::damage::Server;
use crate::erase::{self, Erased, Forget};
use crate::journal::RemoteVersion;
use crate::keys::{self, Target};
use crate::outbox::Slot;
use crate::stored::{
    self, CheckpointRow, CollectionRow, Presence, ServerVersion, Shadow, StoredDocument, TargetRow,
};
use crate::tx::Tx;
use crate::{
    Body, CollectionName, DocumentId, Epoch, Error, Place, Record, RecordState, Result, Seq, codes,
    configure,
};

/// Where the records of a page come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageKind {
    /// The feed, behind the checkpoint.
    Feed,
    /// The feed of one collection, read from the start up to the checkpoint.
    Joining(CollectionName),
    /// Single records that were asked for; no position moves.
    Fetched,
}

/// Records on their way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncomingPage {
    /// Where they come from.
    pub kind: PageKind,
    /// The opening of the log that tells the places.
    pub epoch: Epoch,
    /// The place behind which the page begins.
    pub start: Seq,
    /// The place up to which nothing is missing afterwards.
    pub end: Seq,
    /// The last place there was when the page was read.
    pub head: Seq,
    /// The records, in order of their places.
    pub records: Vec<Record>,
    /// Documents that the user may no longer read, each with the place at which that became so.
    pub removals: Vec<(CollectionName, DocumentId, Seq)>,
}

/// What a page did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// The state afterwards.
    pub state: ReplicaState,
    /// Records that were new here.
    pub changes: usize,
    /// Entries that were written into the journal.
    pub journaled: Vec<u64>,
    /// Entries that were written into it besides, about documents that have the same values in a unique index.
    pub violations: Vec<u64>,
}

pub(super) struct ApplyJob {
    pub(super) target: Target,
    pub(super) page: IncomingPage,
    pub(super) resolver: Arc<dyn Resolver>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ApplyJob {
    type Output = Applied;

    fn runs_alone(&self) -> bool {
        true
    }

    fn weight(&self) -> usize {
        self.page
            .records
            .iter()
            .map(|record| record.state.body().map_or(0, Body::len))
            .sum()
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
        let before = row.clone();
        move_position(&mut row.checkpoint, &self.page)?;
        // What a reading from the start shows is marked with its number.
        let marks = before.checkpoint.reads_from_the_start();
        let mark = marks.then_some(row.checkpoint.later.resync);
        let checkpoint = row.checkpoint.clone();
        let collections = self.collections(tx);
        let documents =
            self.page
                .records
                .iter()
                .zip(&collections)
                .filter_map(|(record, collection)| {
                    collection
                        .as_ref()
                        .map(|collection| keys::document(collection.id(), &record.id))
                });
        tx.read_ahead(documents.collect()).await?;
        let mut changes = 0;
        let mut met: Vec<Place> = Vec::new();
        let mut erased = Erased::new();
        // No clock gave what it is behind.
        let (own, clock) = (tx.client(), tx.state().clock);
        let mut records = self.page.records.iter();
        let was_set_back = records.any(|it| it.rev.client == own && it.rev.hlc > clock);
        for (record, collection) in self.page.records.iter().zip(collections) {
            let Some(collection) = collection else {
                continue;
            };
            let Some(pending) = self
                .record(tx, (&checkpoint, mark), record, &collection)
                .await?
            else {
                continue;
            };
            changes += 1;
            met.extend(pending);
            if record.state == RecordState::Erased {
                erased.insert((collection.id(), record.id.clone()));
            }
        }
        if was_set_back {
            settle::catch_up(tx, self.target).await?;
        }
        erase::forget_content(tx, self.target, &erased, Forget::Everything).await?;
        let revoked = self.revoke(tx, row.checkpoint.later.resync).await?;
        if self.page.kind == PageKind::Feed && self.page.end < self.page.head {
            renew::doubts_wait_on(tx, self.target, self.page.head).await?;
        }
        if checkpoint.later.running.is_none() {
            met.extend(waiting(tx, self.target, row.checkpoint.seq, &self.page.kind).await?);
        }
        let left_out = left_out(tx, &row);
        let mut resolution = Resolution {
            left_out,
            tx,
            target: self.target,
            resolver: self.resolver.clone(),
            read_to: if self.page.kind == PageKind::Fetched {
                resolve::ALL_READ
            } else {
                row.checkpoint.seq
            },
            journaled: Vec::new(),
            answers: Vec::new(),
            questions: Vec::new(),
            unerased: Unerased::default(),
        };
        changes += revoked.len();
        for document in &revoked {
            revoke::lose_changes(&mut resolution, document).await?;
        }
        resolution.unerased.pass_over(&revoked);
        for place in met {
            resolution.try_resolve(place).await?;
        }
        let (journaled, unerased) = (resolution.journaled, resolution.unerased);
        unerased.read_again(tx, self.target, &mut row).await?;
        if self.page.kind == PageKind::Fetched {
            // These are places that were told, too: nothing is complete before the feed was read up to them.
            let told = self.page.records.iter().map(|record| record.seq).max();
            row.later.told = row.later.told.max(told.unwrap_or_default());
        } else if self.page.end >= self.page.head {
            row.last_sync_at = Some(tx.now().millis());
        } else {
            // What changed again behind the page was left out of it: should the server lose that, it is missing here.
            row.later.told = row.later.told.max(self.page.head);
        }
        if row != before && !crate::mutants::active("pocket-mutant:checkpoint-not-stored") {
            store_target(tx, self.target, &row);
        }
        Ok(Applied {
            state: snapshot(tx, self.target, &row).await?,
            changes,
            journaled,
            violations: Vec::new(),
        })
    }
}

/// The checkpoint behind the page, if the page starts where the store stands.
fn move_position(checkpoint: &mut CheckpointRow, page: &IncomingPage) -> Result<()> {
    let stands = match &page.kind {
        PageKind::Fetched => return Ok(()),
        PageKind::Feed => Some(checkpoint.seq),
        PageKind::Joining(name) => checkpoint
            .joining
            .iter()
            .find(|(joining, _)| joining == name)
            .map(|(_, position)| *position),
    };
    let accepted = crate::mutants::active("pocket-mutant:stale-page-accepted");
    if (stands != Some(page.start) || page.end < page.start) && !accepted {
        return Err(Error::new(
            codes::STALE_PAGE,
            format!(
                "a page starts behind {}, but the store stands at {stands:?}; ask again from there",
                page.start
            ),
        ));
    }
    if let PageKind::Joining(name) = &page.kind {
        for (joining, position) in &mut checkpoint.joining {
            if joining == name {
                *position = page.end;
            }
        }
        // The page's end covers all places, so the collection was read up to the checkpoint.
        let read_to = checkpoint.seq;
        checkpoint
            .joining
            .retain(|(joining, position)| joining != name || *position < read_to);
    } else {
        let is_first = checkpoint.epoch.is_none();
        checkpoint.seq = page.end;
        checkpoint.epoch = Some(page.epoch);
        resync::moved_on(checkpoint, is_first, page.end, page.head);
    }
    Ok(())
}

/// Mutations whose wait ends now.
async fn waiting(tx: &mut Tx, target: Target, read_to: Seq, kind: &PageKind) -> Result<Vec<Place>> {
    let rows = tx
        .scan(
            keys::all_waiting(target),
            pocket_storage::ScanLimit::entries(usize::MAX).bytes(usize::MAX),
        )
        .await?;
    let mut places = Vec::new();
    for (key, payload) in rows {
        let until: Seq = stored::decode(&payload)?;
        if until <= read_to || *kind == PageKind::Fetched {
            let place = keys::trailing_number(&key)
                .ok_or_else(|| stored::damaged("a waiting key is too short"))?;
            places.push(Place::new(place));
        }
    }
    Ok(places)
}

impl ApplyJob {
    /// The collection of each record; none where it does not sync here. Unknown ones are made.
    fn collections(&self, tx: &mut Tx) -> Vec<Option<CollectionRow>> {
        let mut rows = Vec::with_capacity(self.page.records.len());
        for record in &self.page.records {
            let row = match tx.registry().get_even_dropped(&record.collection).cloned() {
                Some(row) => Some(row).filter(|row| row.sync),
                None if tx.core().accept_unknown_collections => {
                    Some(configure::new_collection(tx, &record.collection, true))
                }
                None => None,
            };
            rows.push(row);
        }
        rows
    }

    /// Applies one record. Returns none when it brings nothing new, else the mutation it may stand in the way of.
    async fn record(
        &self,
        tx: &mut Tx,
        (checkpoint, mark): (&CheckpointRow, Option<u64>),
        record: &Record,
        collection: &CollectionRow,
    ) -> Result<Option<Option<Place>>> {
        let mut slot = Slot::recover(tx, collection.id(), &record.id, Server::Told).await?;
        let seen = resync::see(tx, self.target, (checkpoint, mark), &mut slot, record).await?;
        let server = slot
            .after
            .as_ref()
            .and_then(|document| document.head.server);
        // A lower place never replaces a higher one, but where the feed shows again what it did not for a while.
        let fetched = self.page.kind == PageKind::Fetched;
        let is_newer = |server: ServerVersion| {
            server.seq < record.seq
                || (server.presence == Presence::Hidden && !fetched)
                || crate::mutants::active("pocket-mutant:older-record-replaces-newer")
        };
        let brings_body = lacks_body(tx, self.target, &slot, record).await?;
        if seen == Seen::AsAlways && !server.is_none_or(is_newer) && !brings_body {
            // Only the mark of a resync, if there is one.
            slot.store(tx);
            return Ok(None);
        }
        if matches!(record.state, RecordState::Deleted)
            && crate::mutants::active("pocket-mutant:tombstone-ignored")
        {
            return Ok(None);
        }
        tx.has_seen(record.rev.hlc);
        let version = ServerVersion {
            rev: record.rev,
            seq: record.seq,
            presence: match record.state {
                RecordState::Live(_) => Presence::Live,
                RecordState::Deleted => Presence::Deleted,
                RecordState::Erased => Presence::Erased,
            },
        };
        let body = record.state.body().cloned();
        let overwritten = crate::mutants::active("pocket-mutant:pull-overwrites-pending");
        let first = slot.pending().first().copied().filter(|_| !overwritten);
        let left = slot.after.as_ref().map(|document| {
            let head = &document.head;
            (head.resync, head.replaced(record.rev, tx.client()))
        });
        let (marked, later) = left.unwrap_or_default();
        match (first, &mut slot.after) {
            // Readers see the local version; the server's waits in the shadow until the change is settled.
            (Some(_), Some(document)) => {
                document.head.server = Some(version);
                document.head.later.stepped = later.stepped;
                tx.put(
                    keys::shadow(self.target, slot.collection, &slot.id),
                    &[&Shadow { body }.encode()],
                );
            }
            (_, Some(document)) if !brings_body && is_shown(document, record) => {
                document.head.server = Some(version);
                document.head.later.stepped = later.stepped;
            }
            (_, after) => {
                let resync = mark.unwrap_or(marked);
                let remote = RemoteVersion { version, body };
                *after = Some(resolve::server_document(
                    remote.version,
                    remote.body,
                    (resync, later),
                ));
            }
        }
        resolve::store_slot(tx, &slot)?;
        Ok(Some(first))
    }
}

/// Whether a record is what a document shows already. Two copies of a store may give one revision to two writes, so what
/// they hold is compared too.
pub(super) fn is_shown(document: &StoredDocument, record: &Record) -> bool {
    document.head.rev == record.rev && document.body.as_ref() == record.state.body()
}

/// Whether a record is the version that is known to stand, whose body is nowhere here: a collection that did not sync
/// for a while keeps what the device wrote meanwhile, and of the server's version only which it is.
async fn lacks_body(tx: &mut Tx, target: Target, slot: &Slot, record: &Record) -> Result<bool> {
    let Some(document) = &slot.after else {
        return Ok(false);
    };
    let stands = document.head.server.is_some_and(|server| {
        server.presence == Presence::Live && (server.seq, server.rev) == (record.seq, record.rev)
    });
    if !stands || record.state.body().is_none() {
        return Ok(false);
    }
    if document.head.pending.is_empty() {
        return Ok(document.body.is_none());
    }
    let shadow = keys::shadow(target, slot.collection, &slot.id);
    Ok(tx.get(&shadow).await?.is_none() && !is_kept(tx, target, slot, record.rev).await?)
}

impl TargetRow {
    /// Whether a feed was ever read.
    pub(crate) fn has_read(&self) -> bool {
        self.checkpoint.epoch.is_some()
    }
}
