//! Loading a dump into a database.

use super::{DumpItem, DumpReader, DumpTotals};
use crate::commit::Job;
use crate::damage;
use crate::keys::CollectionId;
use crate::migrate::Reshaped;
use crate::outbox::{Slot, load_document};
use crate::stored::StoredDocument;
use crate::tx::Tx;
use crate::write::{self, Operation, Write};
use crate::{
    Body, CollectionName, Database, DocumentId, DocumentLimits, Error, IndexConfig, Result, codes,
    keys,
};

/// Documents and bytes of one commit.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 2 * 1024 * 1024;

/// What happens to a document of a dump whose id is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Existing {
    /// The loading ends with `document-exists`.
    #[default]
    Fail,
    /// The stored document stays.
    Skip,
    /// The document of the dump replaces it, unless both are equal.
    Replace,
}

/// How a dump is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct LoadOptions {
    /// What happens to documents whose id is taken.
    pub existing: Existing,
    /// Whether everything is done but to store.
    pub dry_run: bool,
    /// How large documents may be; without, as the database was opened.
    pub limits: Option<DocumentLimits>,
}

impl LoadOptions {
    /// Into a database that has none of the documents.
    pub fn new() -> Self {
        Self::default()
    }

    /// What happens to documents whose id is taken.
    pub fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Whether everything is done but to store: to see that a dump can be loaded before the first write.
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// How large documents may be, whatever the database allows those who write: for a dump of one that allowed more.
    pub fn limits(mut self, limits: DocumentLimits) -> Self {
        self.limits = Some(limits);
        self
    }
}

/// What was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Documents that were stored, or would be.
    pub stored: u64,
    /// Documents whose id was taken and that were skipped, or were there already.
    pub skipped: u64,
    /// Documents that a migration of this program deleted on the way.
    pub migrated_away: u64,
    /// Lines of a later version that mean nothing here.
    pub unknown_lines: u64,
    /// Collections that were made.
    pub collections_made: u64,
    /// Indexes that were made, or would be.
    pub indexes_made: u64,
    /// Unique ones of those that documents break: they were made all the same. A dry run builds none, so it finds none.
    pub broken_indexes: Vec<BrokenIndex>,
}

/// A unique index of a dump that documents break. They stay, as on the device that the dump is of, where sync had
/// brought them; the [journal](crate::Journal) tells of each pair.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokenIndex {
    /// The name of the collection.
    pub collection: String,
    /// The name of the index.
    pub index: String,
    /// Pairs of documents with the same values.
    pub pairs: u64,
}

/// A dump on its way into a database: it is given one line after the other.
///
/// Documents are stored a batch at a time. Those of synced collections become changes of this device. They are not
/// held against a schema, as what sync brings is not; [`Collection::invalid`](crate::Collection::invalid) lists them.
/// A dump of an older schema version goes through the migrations of this program.
#[derive(Debug)]
pub struct Loader {
    database: Database,
    options: LoadOptions,
    limits: DocumentLimits,
    reader: DumpReader,
    /// The schema version of the documents.
    version: u32,
    collection: Option<CollectionName>,
    batch: Vec<(DocumentId, Body)>,
    bytes: usize,
    loaded: Loaded,
}

impl Database {
    /// Begins to load a dump.
    pub fn load(&self, options: LoadOptions) -> Loader {
        let limits = options.limits.unwrap_or(self.limits().document);
        Loader {
            database: self.clone(),
            options,
            limits,
            reader: DumpReader::new(limits),
            version: self.schema_version(),
            collection: None,
            batch: Vec::new(),
            bytes: 0,
            loaded: Loaded::default(),
        }
    }
}

impl Loader {
    /// Takes the next line.
    ///
    /// # Errors
    /// As [`DumpReader::read`]; `newer-format` also for documents of a newer schema version; `document-exists`,
    /// `migration`, `index-unique-violation` when documents break a unique index that the database has already, and what
    /// the store says. What was stored before stays.
    pub async fn line(&mut self, line: &str) -> Result<()> {
        match self.reader.read(line)? {
            DumpItem::Head(head) => {
                self.version = head.schema_version;
                if self.version > self.database.schema_version() {
                    let known = self.database.schema_version();
                    return Err(Error::new(
                        codes::NEWER_FORMAT,
                        format!(
                            "line 1: the documents have schema version {}, this program knows {known}; use a newer program",
                            self.version
                        ),
                    ));
                }
                let version = self.database.schema_version();
                if self.version < version && self.database.is_a_tools() {
                    return Err(Error::new(
                        codes::MIGRATION,
                        format!(
                            "line 1: the documents have schema version {}, the database {version}; load them with the \
                             application, which has the migrations",
                            self.version
                        ),
                    ));
                }
                let migrations = self.database.migrations();
                migrations.check_from(self.version, version)?;
            }
            DumpItem::Collection(config) => {
                self.store().await?;
                if !self.database.has_collection(&config.name) {
                    self.loaded.collections_made += 1;
                    if !self.options.dry_run {
                        self.database.create_collection(config.clone()).await?;
                    }
                }
                self.collection = Some(config.checked_name()?);
            }
            DumpItem::Document(id, body) => {
                self.bytes += body.len();
                self.batch.push((id, body));
                if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
                    self.store().await?;
                }
            }
            DumpItem::Index(config) => {
                self.store().await?;
                self.index(config).await?;
            }
            DumpItem::Unknown => self.loaded.unknown_lines += 1,
            DumpItem::End(_) => self.store().await?,
        }
        Ok(())
    }

    /// What was loaded so far. Documents of the batch at work are not in it.
    pub fn loaded(&self) -> Loaded {
        self.loaded.clone()
    }

    /// Ends the loading, behind the last line.
    ///
    /// # Errors
    /// `corrupt` when the dump was cut: what came before the cut is stored.
    pub async fn finish(mut self) -> Result<(Loaded, DumpTotals)> {
        let whole = self.reader.finish();
        self.store().await?;
        Ok((self.loaded, whole?))
    }

    /// Makes an index behind the documents of its collection, unless there is one of its name.
    async fn index(&mut self, config: IndexConfig) -> Result<()> {
        let Some(name) = self.collection.clone() else {
            return Ok(());
        };
        let there = self.database.indexes_of(&name);
        if there
            .iter()
            .any(|index| index.config.name() == config.name())
        {
            return Ok(());
        }
        if !self.options.dry_run {
            let index = config.name();
            let made = self.database.make_index(&name, config).await;
            let pairs = made.map_err(|error| {
                let line = self.reader.line();
                let left = "the documents before it are stored, this index is not made";
                Error::new(error.code(), format!("line {line}: {error}; {left}"))
            })?;
            if pairs > 0 {
                self.loaded.broken_indexes.push(BrokenIndex {
                    collection: name.to_string(),
                    index,
                    pairs,
                });
            }
        }
        self.loaded.indexes_made += 1;
        Ok(())
    }

    async fn store(&mut self) -> Result<()> {
        let documents = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let Some(name) = self.collection.clone().filter(|_| !documents.is_empty()) else {
            return Ok(());
        };
        let behind = self.reader.line();
        let job = LoadJob {
            database: self.database.clone(),
            name,
            documents,
            options: self.options,
            limits: self.limits,
            version: self.version,
        };
        let loaded = self
            .database
            .submit(job)
            .await
            .map_err(|error| match error.code() {
                codes::DOCUMENT_EXISTS | codes::MIGRATION | codes::INDEX_UNIQUE_VIOLATION => {
                    Error::new(error.code(), format!("before line {}: {error}", behind + 1))
                }
                _ => error,
            })?;
        self.loaded.stored += loaded.stored;
        self.loaded.skipped += loaded.skipped;
        self.loaded.migrated_away += loaded.migrated_away;
        Ok(())
    }
}

struct LoadJob {
    database: Database,
    name: CollectionName,
    documents: Vec<(DocumentId, Body)>,
    options: LoadOptions,
    limits: DocumentLimits,
    version: u32,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for LoadJob {
    type Output = Loaded;

    fn weight(&self) -> usize {
        self.documents.iter().map(|(_, body)| body.len()).sum()
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let row = match tx.registry().get(&self.name).cloned() {
            Some(row) => Some(row),
            // A dry run makes no collection.
            None if self.options.dry_run => None,
            None => Some(tx.registry().existing(&self.name)?),
        };
        let number = row.as_ref().map(crate::stored::CollectionRow::id);
        if let Some(number) = number {
            let keys = self
                .documents
                .iter()
                .map(|(id, _)| keys::document(number, id));
            tx.read_ahead(keys.collect()).await?;
        }
        for (id, body) in &self.documents {
            let versions = (self.version, self.database.schema_version());
            let migrations = self.database.migrations();
            let body = match migrations.reshape(versions, &self.name, id, body, &self.limits)? {
                Reshaped::Unchanged => body.clone(),
                Reshaped::Changed(body) => body,
                Reshaped::Deleted => {
                    loaded.migrated_away += 1;
                    continue;
                }
            };
            let stored = match stored_body(tx, number, id).await {
                // What is damaged is another document than that of the dump.
                Err(error) if damage::is_damage(&error) && self.replaces() => None,
                stored => stored?,
            };
            match self.options.existing {
                Existing::Fail if stored.is_some() => return Err(self.exists(id)),
                Existing::Skip if stored.is_some() => {
                    loaded.skipped += 1;
                    continue;
                }
                _ => {}
            }
            if stored.is_some_and(|stored| stored.same_value(&body)) {
                loaded.skipped += 1;
                continue;
            }
            loaded.stored += 1;
            if let Some(row) = row.as_ref().filter(|_| !self.options.dry_run) {
                let write = Write {
                    collection: self.name.clone(),
                    id: id.clone(),
                    operation: Operation::Upsert(body),
                };
                let slot = Slot::load_over(tx, row.id(), id, false).await?;
                let edit = write::apply(tx, row, Box::new(slot), &write)?;
                write::finish(tx, &self.name, row, edit).await?;
            }
        }
        Ok(loaded)
    }
}

impl LoadJob {
    fn replaces(&self) -> bool {
        self.options.existing == Existing::Replace
    }

    fn exists(&self, id: &DocumentId) -> Error {
        Error::new(
            codes::DOCUMENT_EXISTS,
            format!(
                "there is a document {id:?} in `{}` already; skip or replace those that exist",
                self.name
            ),
        )
    }
}

async fn stored_body(
    tx: &mut Tx,
    collection: Option<CollectionId>,
    id: &DocumentId,
) -> Result<Option<Body>> {
    let Some(collection) = collection else {
        return Ok(None);
    };
    let stored: Option<StoredDocument> = load_document(tx, collection, id).await?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let is_over = tx.sight(collection).is_over(id, &stored)?;
    Ok(stored.body.filter(|_| !is_over))
}
