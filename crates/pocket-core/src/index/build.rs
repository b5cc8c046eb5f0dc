//! Making indexes and removing them: jobs of bounded size, each of which notes how far it came.
//!
//! From the commit that records an index on, every document that is written gets its entries at once. Building adds
//! those of the documents that were there, in the order of their ids, and it does no harm to add one that is there. So
//! it may stop anywhere, and goes on where it was.

use pocket_storage::ScanLimit;
use pocket_storage::ordered::BTreeSet;

use super::{Index, IndexConfig, MAX_INDEXES, unique};
use crate::commit::Job;
use crate::damage;
use crate::expire::Expiry;
use crate::stored::{self, IndexPhase, StoredDocument};
use crate::tx::Tx;
use crate::{CollectionName, DocumentId, Error, Result, codes, journal, keys};

/// Documents that one commit of a building reads at the most, and about how many bytes.
const DOCUMENTS: usize = 512;
const DOCUMENT_BYTES: usize = 1024 * 1024;

/// Entries that one commit of a building adds at the most, or more by those of one document: of an array a document has
/// many.
const ADDED_ENTRIES: usize = 16_384;

/// Entries that one commit removes at the most.
const ENTRIES: usize = 2_048;

/// How far a building came in one commit.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// So much further.
    Further(Built),
    /// It is ready, behind so much.
    Ready(Built),
    /// Documents break the index, which is being removed.
    Broken(Error),
    /// There is no such index any more.
    Gone,
}

/// What one commit of a building, or all of them, did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Built {
    /// Documents that were read.
    pub(crate) documents: u64,
    /// Pairs of documents that break it, of which the journal tells.
    pub(crate) told: u64,
}

impl std::ops::AddAssign for Built {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.told += other.told;
    }
}

/// What becomes of documents that break a unique index while it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// The building fails, and there is no index: somebody is there who asked for it.
    Refused,
    /// They stay, the journal tells of them, and the index becomes ready: the database must open, and sync may have
    /// brought them.
    Told,
}

/// Records an index and begins to build it; a small one is ready at once. Does nothing if there is the same already.
pub(super) struct CreateJob {
    pub(super) collection: CollectionName,
    /// Checked, with its name written out.
    pub(super) config: IndexConfig,
    pub(super) duplicates: Duplicates,
    /// Whether it begins to build, or only records.
    pub(super) begins: bool,
    /// Whether another one of its name gives way, or has this fail.
    pub(super) replaces: bool,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for CreateJob {
    /// The index's number, and what was done at once.
    type Output = (u32, Built);

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<(u32, Built)> {
        let collection = tx.registry().existing(&self.collection)?.id();
        let name = self.config.name();
        let shown = tx.registry().shown_indexes(collection).cloned();
        let (same, others): (Vec<_>, Vec<_>) = shown.partition(|index| index.name() == name);
        if let Some(index) = same.first() {
            if index.config == self.config {
                return Ok((index.number, Built::default()));
            }
            if !self.replaces {
                return Err(Error::new(
                    codes::CONFIG,
                    format!(
                        "`{}` has an index {name:?} that is another one: it has {}, not {}; drop it first, or take \
                         another name",
                        self.collection,
                        described(&index.config),
                        described(&self.config)
                    ),
                ));
            }
            drop_index(tx, index)?;
        }
        if others.len() >= MAX_INDEXES {
            return Err(Error::new(
                codes::CONFIG,
                format!(
                    "`{}` has {MAX_INDEXES} indexes already; drop one first",
                    self.collection
                ),
            ));
        }
        tx.state().later.last_index += 1;
        let number = tx.state().later.last_index;
        let index = Index::new(number, collection, self.config.clone())?;
        index.clone().store(tx)?;
        if !self.begins {
            return Ok((number, Built::default()));
        }
        match build(tx, index, self.duplicates).await? {
            Step::Broken(error) => Err(error),
            Step::Further(built) | Step::Ready(built) => Ok((number, built)),
            Step::Gone => Ok((number, Built::default())),
        }
    }
}

fn described(config: &IndexConfig) -> String {
    let fields = config.fields.iter();
    let fields = fields.map(|(field, order)| format!("{field} {order:?}").to_lowercase());
    let mut text = fields.collect::<Vec<_>>().join(", ");
    for (is_so, what) in [(config.unique, ", unique"), (config.sparse, ", sparse")] {
        if is_so {
            text.push_str(what);
        }
    }
    if let Some(only) = &config.only {
        let only = only.to_json_string();
        text.push_str(", only ");
        text.push_str(only.as_deref().unwrap_or("what a filter lets in"));
    }
    text
}

/// Builds an index some documents further.
pub(super) struct BuildJob {
    pub(super) number: u32,
    pub(super) duplicates: Duplicates,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for BuildJob {
    type Output = Step;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Step> {
        let Some(index) = tx.registry().index(self.number).cloned() else {
            return Ok(Step::Gone);
        };
        match index.phase {
            IndexPhase::Ready => Ok(Step::Ready(Built::default())),
            IndexPhase::Dropping => Ok(Step::Gone),
            IndexPhase::Building(_) => build(tx, (*index).clone(), self.duplicates).await,
        }
    }
}

/// Adds the entries of the next documents.
async fn build(tx: &mut Tx, mut index: Index, duplicates: Duplicates) -> Result<Step> {
    let mut range = keys::documents(index.collection);
    if let IndexPhase::Building(Some(after)) = &index.phase {
        range = range.after(after.to_vec());
    }
    let limit = ScanLimit::entries(DOCUMENTS).bytes(DOCUMENT_BYTES);
    let documents = tx.scan_each(range.clone(), limit).await?;
    let (mut handled, mut added) = (0, 0);
    let shared = std::sync::Arc::new(index.clone());
    let sight = tx.sight(index.collection);
    let mut told = BTreeSet::new();
    let mut last = None;
    for (key, payload) in documents {
        if added >= ADDED_ENTRIES {
            break;
        }
        handled += 1;
        let key = last.insert(key);
        let stored = payload.and_then(|payload| StoredDocument::decode(&payload));
        let stored = if index.is_hidden() {
            // Sweeps, which alone read it, can do nothing about a damaged document.
            damage::unless_damaged(stored)?
        } else {
            Some(stored?)
        };
        let Some(stored) = stored else { continue };
        let Some(body) = stored.body else {
            continue;
        };
        let id = keys::document_id(key)
            .ok_or_else(|| stored::damaged("a document's key is too short"))?;
        let id = DocumentId::new(id)?;
        let entries = index.entries_of(&id, stored.head.rev, &body)?;
        index = index.with_multi(entries.multi);
        added += entries.values.len();
        for values in &entries.values {
            tx.put(index.key(values, &id), &[]);
        }
        // What is over breaks nothing; it is judged if it comes back.
        if !index.config.unique || !sight.lives(&id, stored.head.rev, &body)? {
            continue;
        }
        if entries.overflow {
            if duplicates == Duplicates::Told {
                continue;
            }
            let error = unique::too_many(&index, &id);
            return broken(tx, &index, error);
        }
        for values in &entries.values {
            // An entry that is there already was judged when it was written.
            let is_told = duplicates == Duplicates::Told;
            if is_told && tx.was_there(&index.key(values, &id)).await? {
                continue;
            }
            let Some(other) = unique::other_with(tx, &shared, values, &id).await? else {
                continue;
            };
            if !is_told {
                let error = unique::violation(tx, &index, &id, &other)?;
                return broken(tx, &index, error);
            }
            if told.insert((id.clone(), other.clone())) {
                journal::write_violation(tx, &index, &[other, id.clone()]).await?;
            }
        }
    }
    let is_last = match &last {
        Some(last) => {
            let rest = range.after(last.clone());
            let rest = tx.scan_each(rest, ScanLimit::entries(1));
            rest.await?.is_empty()
        }
        None => true,
    };
    index.phase = if is_last {
        IndexPhase::Ready
    } else {
        IndexPhase::Building(last.map(serde_bytes::ByteBuf::from))
    };
    index.store(tx)?;
    let built = Built {
        documents: handled,
        told: told.len() as u64,
    };
    Ok(if is_last {
        Step::Ready(built)
    } else {
        Step::Further(built)
    })
}

/// What documents break is no index any more.
fn broken(tx: &mut Tx, index: &Index, error: Error) -> Result<Step> {
    drop_index(tx, index)?;
    Ok(Step::Broken(error))
}

fn drop_index(tx: &mut Tx, index: &Index) -> Result<()> {
    let gone = Index {
        phase: IndexPhase::Dropping,
        ..index.clone()
    };
    gone.store(tx)
}

/// Gives a collection the hidden index of its time to live, or takes it away: another one if the time is another.
pub(crate) fn set_expiry(
    tx: &mut Tx,
    collection: keys::CollectionId,
    expiry: Option<Expiry>,
) -> Result<()> {
    if let Some(index) = tx.registry().expiry_index(collection).cloned() {
        drop_index(tx, &index)?;
    }
    if let Some(expiry) = expiry {
        tx.state().later.last_index += 1;
        let number = tx.state().later.last_index;
        Index::expiring(number, collection, expiry)?.store(tx)?;
    }
    Ok(())
}

/// Takes all indexes of a collection away from readers; their entries are removed by [`RemoveJob`]s.
pub(crate) fn drop_all(tx: &mut Tx, collection: keys::CollectionId) -> Result<()> {
    let live = tx.registry().live_indexes(collection).cloned();
    for index in live.iter().flat_map(|live| live.iter()) {
        drop_index(tx, index)?;
    }
    Ok(())
}

/// Takes an index away from readers.
pub(super) struct DropJob {
    pub(super) collection: CollectionName,
    pub(super) name: String,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for DropJob {
    /// The index's number.
    type Output = u32;

    async fn run(&mut self, tx: &mut Tx) -> Result<u32> {
        let collection = tx.registry().existing(&self.collection)?.id();
        let index = tx
            .registry()
            .shown_indexes(collection)
            .find(|index| index.name() == self.name)
            .cloned();
        let index = index.ok_or_else(|| {
            Error::new(
                codes::INDEX_NOT_FOUND,
                format!(
                    "`{}` has no index {:?}; list its indexes to see their names",
                    self.collection, self.name
                ),
            )
        })?;
        drop_index(tx, &index)?;
        Ok(index.number)
    }
}

/// Removes some entries of an index that was dropped, and at last its definition.
pub(super) struct RemoveJob {
    pub(super) number: u32,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for RemoveJob {
    /// Whether all of it is gone.
    type Output = bool;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<bool> {
        let index = tx.registry().index(self.number);
        if index.is_none_or(|index| index.is_live()) {
            return Ok(true);
        }
        let range = keys::index_entries(self.number);
        // Whatever they hold, they go.
        let entries = tx.scan_each(range, ScanLimit::entries(ENTRIES)).await?;
        let is_all = entries.len() < ENTRIES;
        for (key, _) in entries {
            tx.delete(key);
        }
        if is_all {
            tx.delete(keys::index(self.number));
            tx.registry_mut().remove_index(self.number);
        }
        Ok(is_all)
    }
}

/// Begins all indexes anew, under other numbers, if a program that knows no indexes wrote documents; and those of times to
/// live that are lost.
pub(super) struct RenewJob;

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for RenewJob {
    type Output = ();

    async fn run(&mut self, tx: &mut Tx) -> Result<()> {
        let all: Vec<_> = tx.registry().all_indexes().cloned().collect();
        let last = all.last().map_or(0, |index| index.number);
        if last > tx.state().later.last_index {
            tx.state().later.last_index = last;
            for index in all.iter().filter(|index| index.is_live()) {
                drop_index(tx, index)?;
                tx.state().later.last_index += 1;
                let number = tx.state().later.last_index;
                index.anew(number).store(tx)?;
            }
        }
        let registry = tx.registry().clone();
        for (collection, expiry) in registry.expiring_without_index() {
            set_expiry(tx, collection, Some(expiry.clone()))?;
        }
        Ok(())
    }
}
