//! Digests compared: whether what is here is what the server says the client should hold.

use pocket_storage::ScanLimit;
use pocket_storage::ordered::BTreeMap;

use super::resync;
use super::state::{ReplicaState, snapshot};
use super::{load_target, store_target};
use crate::commit::Job;
use crate::config::REPAIR_PAUSE_MS;
use crate::configure::put_collection;
use crate::damage;
use crate::keys::{self, CollectionId, Target};
use crate::stored::{self, CollectionRow, StoredDocument, TargetRow};
use crate::tx::Tx;
use crate::{CollectionName, Digest, DocumentId, Epoch, Result, Seq};

/// Documents read at once when a collection is counted.
const CHUNK: usize = 1_000;

/// What a server says a client holds that has read its feed up to a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The opening of the log that tells the place.
    pub epoch: Epoch,
    /// The place.
    pub at: Seq,
    /// The digest of the live documents of each collection the client may read. None are left out but empty ones.
    pub digests: BTreeMap<CollectionName, Digest>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The state afterwards.
    pub state: ReplicaState,
    /// What the comparison said.
    pub verdict: Verdict,
}

/// What a comparison of digests said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Both hold the same.
    Same,
    /// Something is on its way, or the store stands elsewhere by now: nothing can be said.
    Open,
    /// These collections differ. Everything is read again if that was not done for the same reason a short while ago.
    Differs {
        /// The collections.
        collections: Vec<CollectionName>,
        /// A resync began.
        resyncs: bool,
    },
}

/// Compares a claim with what is here.
pub(super) struct VerifyJob {
    pub(super) target: Target,
    pub(super) claim: Claim,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for VerifyJob {
    type Output = Verified;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Verified> {
        let mut row = load_target(tx, self.target).await?;
        let verdict = if self.can_be_told(&row) {
            self.compare(tx, &mut row).await?
        } else {
            Verdict::Open
        };
        Ok(Verified {
            state: snapshot(tx, self.target, &row).await?,
            verdict,
        })
    }
}

impl VerifyJob {
    /// Whether the store holds the server's versions of just that place: no page, outcome or single record was stored
    /// that belongs to another one, or is still to come.
    fn can_be_told(&self, row: &TargetRow) -> bool {
        let checkpoint = &row.checkpoint;
        let reads = checkpoint.reads_from_the_start() || !checkpoint.joining.is_empty();
        let stands = checkpoint.epoch == Some(self.claim.epoch) && checkpoint.seq == self.claim.at;
        let is_answered = row.confirmed == row.last_number && row.later.told <= self.claim.at;
        !reads && stands && is_answered
    }

    async fn compare(&self, tx: &mut Tx, row: &mut TargetRow) -> Result<Verdict> {
        let now = tx.now().millis();
        let since = row.later.repaired.map(|last| now.saturating_sub(last));
        // A clock that went back says nothing of the time since.
        let resyncs = since.is_none_or(|since| !(0..REPAIR_PAUSE_MS).contains(&since));
        let collections = collections(tx, row);
        let mut differing = self.unknown(tx, row);
        for (name, collection) in collections {
            let told = self.claim.digests.get(&name).copied().unwrap_or_default();
            if collection.later.held == told {
                continue;
            }
            if !resyncs {
                // It was counted a short while ago, before everything was read again.
                differing.push(name);
                continue;
            }
            // The sum may have gone wrong, and not the documents.
            let held = count(tx, collection.id()).await?;
            if held != collection.later.held {
                let mut counted = collection;
                counted.later.held = held;
                put_collection(tx, &name, counted);
            }
            if held != told {
                differing.push(name);
            }
        }
        if differing.is_empty() {
            return Ok(Verdict::Same);
        }
        if resyncs {
            row.later.repaired = Some(now);
            resync::begin(tx, self.target, row, None).await?;
            store_target(tx, self.target, row);
        }
        Ok(Verdict::Differs {
            collections: differing,
            resyncs,
        })
    }

    /// Collections that have documents there, and nothing was ever stored of here though it would have been.
    fn unknown(&self, tx: &Tx, row: &TargetRow) -> Vec<CollectionName> {
        if !tx.core().accept_unknown_collections {
            return Vec::new();
        }
        let told = self.claim.digests.iter();
        told.filter(|(_, digest)| **digest != Digest::EMPTY)
            .map(|(name, _)| name)
            .filter(|name| is_read(row, name) && tx.registry().get_even_dropped(name).is_none())
            .cloned()
            .collect()
    }
}

/// The collections that the feed brings, and of which nothing is still to be read from the start.
fn collections(tx: &Tx, row: &TargetRow) -> Vec<(CollectionName, CollectionRow)> {
    tx.registry()
        .iter_even_dropped()
        .filter(|(name, collection)| collection.sync && !collection.joins && is_read(row, name))
        .map(|(name, collection)| (name.clone(), collection.clone()))
        .collect()
}

fn is_read(row: &TargetRow, name: &CollectionName) -> bool {
    let scope = row.checkpoint.scope.as_ref();
    scope.is_none_or(|names| names.contains(name))
}

/// The digest of what is stored, read document by document.
async fn count(tx: &mut Tx, collection: CollectionId) -> Result<Digest> {
    let mut digest = Digest::EMPTY;
    let mut range = keys::documents(collection);
    loop {
        let limit = ScanLimit::entries(CHUNK);
        let rows = tx.scan_sealed(range.clone(), limit).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(digest);
        };
        range = range.after(last.clone());
        for (key, sealed) in &rows {
            let opened = tx.core().open(key, sealed);
            let stored = opened.and_then(|payload| StoredDocument::decode(&payload));
            let Some(stored) = damage::unless_damaged(stored)? else {
                // It is not held: should the server have it, it is read again.
                continue;
            };
            if let Some(rev) = stored.head.server.and_then(|server| server.counted()) {
                let id = keys::document_id(key)
                    .ok_or_else(|| stored::damaged("a document's key is too short"))?;
                digest = digest.plus(Digest::of(&DocumentId::new(id)?, rev));
            }
        }
    }
}
