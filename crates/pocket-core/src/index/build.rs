//! Making indexes and removing them: jobs of bounded size, each of which notes how far it came.
//!
//! From the commit that records an index on, every document that is written gets its entries at once. Building adds
//! those of the documents that were there, in the order of their ids, and it does no harm to add one that is there. So
//! it may stop anywhere, and goes on where it was.

use pocket_storage::ScanLimit;

use super::{Index, IndexConfig, MAX_INDEXES, unique};
use crate::commit::Job;
use crate::stored::{self, IndexPhase, StoredDocument};
use crate::tx::Tx;
use crate::{CollectionName, DocumentId, Error, Result, codes, keys};

/// Documents that one commit of a building reads at the most, and about how many bytes.
const DOCUMENTS: usize = 512;
const DOCUMENT_BYTES: usize = 1024 * 1024;

/// Entries that one commit removes at the most.
const ENTRIES: usize = 2_048;

/// How far a building came in one commit.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// So many documents further.
    Further(u64),
    /// It is ready, behind so many documents.
    Ready(u64),
    /// Documents break the index, which is being removed.
    Broken(Error),
    /// There is no such index any more.
    Gone,
}

/// Records an index and begins to build it; a small one is ready at once. Does nothing if there is the same already.
pub(crate) struct CreateJob {
    pub(crate) collection: CollectionName,
    /// Checked, with its name written out.
    pub(crate) config: IndexConfig,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for CreateJob {
    /// The index's number.
    type Output = u32;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<u32> {
        let collection = tx.registry().existing(&self.collection)?.id();
        let name = self.config.name();
        let live = tx.registry().live_indexes(collection);
        let live = live.map_or(&[][..], |live| live.as_ref());
        if let Some(index) = live.iter().find(|index| index.name() == name) {
            return if index.config == self.config {
                Ok(index.number)
            } else {
                Err(Error::new(
                    codes::CONFIG,
                    format!(
                        "`{}` has an index {name:?} that is another one: it has {}, not {}; drop it first, or take \
                         another name",
                        self.collection,
                        described(&index.config),
                        described(&self.config)
                    ),
                ))
            };
        }
        if live.len() >= MAX_INDEXES {
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
        match build(tx, index).await? {
            Step::Broken(error) => Err(error),
            _ => Ok(number),
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
            IndexPhase::Ready => Ok(Step::Ready(0)),
            IndexPhase::Dropping => Ok(Step::Gone),
            IndexPhase::Building(_) => build(tx, (*index).clone()).await,
        }
    }
}

/// Adds the entries of the next documents.
async fn build(tx: &mut Tx, mut index: Index) -> Result<Step> {
    let mut range = keys::documents(index.collection);
    if let IndexPhase::Building(Some(after)) = &index.phase {
        range = range.after(after.to_vec());
    }
    let limit = ScanLimit::entries(DOCUMENTS).bytes(DOCUMENT_BYTES);
    let documents = tx.scan(range.clone(), limit).await?;
    let count = documents.len() as u64;
    let shared = std::sync::Arc::new(index.clone());
    for (key, payload) in &documents {
        let Some(body) = StoredDocument::decode(payload)?.body else {
            continue;
        };
        let id = keys::document_id(key)
            .ok_or_else(|| stored::damaged("a document's key is too short"))?;
        let id = DocumentId::new(id)?;
        let entries = index.entries(&id, &body)?;
        index = index.with_multi(entries.multi);
        for values in &entries.values {
            tx.put(index.key(values, &id), &[]);
        }
        if !index.config.unique {
            continue;
        }
        if entries.overflow {
            let error = unique::too_many(&index, &id);
            return broken(tx, &index, error);
        }
        for values in &entries.values {
            if let Some(other) = unique::other_with(tx, &shared, values, &id).await? {
                let error = unique::violation(tx, &index, &id, &other)?;
                return broken(tx, &index, error);
            }
        }
    }
    let rest = documents.last().map(|(last, _)| range.after(last.clone()));
    let is_last = match &rest {
        Some(rest) => tx
            .scan(rest.clone(), ScanLimit::entries(1))
            .await?
            .is_empty(),
        None => true,
    };
    index.phase = if is_last {
        IndexPhase::Ready
    } else {
        let last = documents.last().map(|(last, _)| last.clone());
        IndexPhase::Building(last.map(serde_bytes::ByteBuf::from))
    };
    index.store(tx)?;
    Ok(if is_last {
        Step::Ready(count)
    } else {
        Step::Further(count)
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
        let live = tx.registry().live_indexes(collection);
        let index = live
            .into_iter()
            .flat_map(|live| live.iter())
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
        let entries = tx.scan(range, ScanLimit::entries(ENTRIES)).await?;
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

/// Begins all indexes anew, under other numbers: a program that knows no indexes wrote documents.
pub(super) struct RenewJob;

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for RenewJob {
    type Output = ();

    async fn run(&mut self, tx: &mut Tx) -> Result<()> {
        let all: Vec<_> = tx.registry().all_indexes().cloned().collect();
        let last = all.last().map_or(0, |index| index.number);
        if last <= tx.state().later.last_index {
            return Ok(());
        }
        tx.state().later.last_index = last;
        for index in all.iter().filter(|index| index.is_live()) {
            drop_index(tx, index)?;
            tx.state().later.last_index += 1;
            let number = tx.state().later.last_index;
            Index::new(number, index.collection, index.config.clone())?.store(tx)?;
        }
        Ok(())
    }
}
