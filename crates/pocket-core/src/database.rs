//! The database: a store, its collections and its writes.

mod open;

use std::sync::Arc;

pub use open::DatabaseBuilder;
use pocket_storage::Durability;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clear::ClearJob;
use crate::commit::{CommitCore, Committer, Job, LeftRounds};
use crate::configure::ConfigureJob;
use crate::expire::Expiry;
use crate::index;
use crate::migrate::Migrations;
use crate::registry::not_found;
use crate::replica::Engaged;
use crate::stored::{CollectionRow, DatabaseHead};
use crate::{
    ChangeItem, ClientId, Collection, CollectionConfig, CollectionName, CommitSequence, Journal,
    Limits, Result, Subscription, Transaction, Ttl,
};

/// A document database on one store. Cloning it is cheap; all clones are one database.
///
/// Every write is durable when its call returns (see [`DatabaseBuilder::durability`]), whether or not a sync engine
/// runs. A second handle on the same store is safe: each commit checks that nobody else came in between.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    head: DatabaseHead,
    durability: Durability,
    committer: Committer,
    /// The servers it is synced with now.
    engaged: Arc<Engaged>,
    /// The schema version of the program, which is the stored one since it is open.
    schema_version: u32,
    migrations: Arc<Migrations>,
    any_schema_version: bool,
}

/// Figures about a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseStats {
    /// The last local commit.
    pub sequence: CommitSequence,
    /// Mutations that no server has settled yet.
    pub pending_changes: u64,
    /// Journal entries that nobody has looked after.
    pub open_conflicts: u64,
    /// Collections that are there.
    pub collections: usize,
    /// Live queries and observed documents that were not dropped.
    pub live_queries: usize,
}

impl Database {
    /// Its name, as it was made with.
    pub fn name(&self) -> &str {
        &self.inner.head.name
    }

    /// The version of the application's schema that is stored.
    pub fn schema_version(&self) -> u32 {
        self.inner.schema_version
    }

    /// Who this database is to a server: the second half of its revisions. One that turns out to be a copy takes
    /// another id.
    pub fn client_id(&self) -> ClientId {
        self.core().client()
    }

    /// The limits it was opened with.
    pub fn limits(&self) -> Limits {
        self.core().limits
    }

    /// A collection, read and written as `T`: any serde type, or [`Value`](crate::Value) for plain documents.
    ///
    /// # Errors
    /// `bad-collection-name`, or `collection-not-found` when it was neither configured nor created.
    pub fn collection<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<Collection<T>> {
        let name = CollectionName::new(name)?;
        if self.core().registry().get(&name).is_none() {
            return Err(not_found(&name));
        }
        Ok(Collection::new(self.clone(), name))
    }

    /// Makes a collection, or sets the settings of one that is there.
    ///
    /// Switching sync on puts its documents into the outbox; switching it off drops what was never sent. Both work in
    /// commits of bounded size and are ended as [`Collection::clear`] is; nothing of the collection is sent before. Waits until its
    /// indexes are built, as [`Collection::create_index`] does; but documents that break a unique one stay, as they do when
    /// a database is opened, and the [journal](Self::journal) tells of them.
    ///
    /// # Errors
    /// `bad-collection-name`, `config` when its schema cannot be used, those of [`Collection::create_index`], and what
    /// the store says.
    pub async fn create_collection(&self, config: CollectionConfig) -> Result<()> {
        let has_indexes = !config.indexes.is_empty();
        let had_ttl = self.has_ttl();
        let name = config.checked_name()?;
        self.configure(config).await?;
        if has_indexes || had_ttl || self.has_ttl() {
            self.finish_indexes(Some(&name)).await?;
        }
        Ok(())
    }

    /// As [`create_collection`](Self::create_collection), but large indexes are recorded only.
    async fn configure(&self, config: CollectionConfig) -> Result<()> {
        let name = config.checked_name()?;
        if let Some(schema) = &config.schema {
            schema.compiled(name.as_str())?;
        }
        index::check_names(&config.indexes)?;
        let ttl = config.ttl.map(Expiry::new).transpose()?;
        let registry = self.core().registry();
        if registry.get(&name).is_none_or(|row| {
            let other_ttl = row.later.ttl != ttl.as_ref().map(|expiry| expiry.ttl().to_row());
            row.sync != config.sync || row.strategy != config.conflict_strategy || other_ttl
        }) {
            self.submit(ConfigureJob {
                name: name.clone(),
                sync: config.sync,
                strategy: config.conflict_strategy,
                ttl,
            })
            .await?;
        }
        self.core().schemas.set(name.clone(), config.schema);
        for index in config.indexes {
            self.record_index(&name, index).await?;
        }
        Ok(())
    }

    /// Whether the collection is there.
    pub fn has_collection(&self, name: &str) -> bool {
        CollectionName::new(name).is_ok_and(|name| self.core().registry().get(&name).is_some())
    }

    /// The settings of all collections, by name.
    pub fn list_collections(&self) -> Vec<CollectionConfig> {
        let registry = self.core().registry();
        let config = |(name, row): (&CollectionName, &CollectionRow)| CollectionConfig {
            name: name.to_string(),
            sync: row.sync,
            conflict_strategy: row.strategy,
            schema: self.core().schemas.get(name),
            ttl: row.later.ttl.as_ref().map(Ttl::of_row),
            indexes: self
                .indexes_of(name)
                .into_iter()
                .map(|index| index.config)
                .collect(),
        };
        registry.iter().map(config).collect()
    }

    /// Deletes every document of a collection, as [`Collection::clear`] does, and forgets its settings and indexes.
    ///
    /// # Errors
    /// `collection-not-found`, and what the store says.
    pub async fn delete_collection(&self, name: &str) -> Result<u64> {
        let collection = CollectionName::new(name)?;
        let job = ClearJob {
            collection: collection.clone(),
            forget: true,
        };
        let count = self.submit(job).await?;
        self.core().schemas.set(collection, None);
        self.remove_dropped_indexes().await?;
        Ok(count)
    }

    /// Begins a transaction: writes that take effect together, on this device and on all others.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// The journal of conflicts and refusals.
    pub fn journal(&self) -> Journal {
        Journal::new(self.clone())
    }

    /// The changes of all collections from now on, until the database is closed.
    pub fn changes(&self) -> Subscription<ChangeItem> {
        self.changes_of(None)
    }

    pub(crate) fn changes_of(&self, only: Option<CollectionName>) -> Subscription<ChangeItem> {
        self.core().notifier.changes(only, self.left_rounds())
    }

    /// Figures about it.
    ///
    /// # Errors
    /// What the store says.
    pub async fn stats(&self) -> Result<DatabaseStats> {
        if self.core().state().is_none() {
            self.core().refresh().await?;
        }
        let state = self.core().state().unwrap_or_default();
        Ok(DatabaseStats {
            sequence: state.sequence,
            pending_changes: state.pending,
            open_conflicts: state.open_journal,
            collections: self.core().registry().iter().count(),
            live_queries: self.core().notifier.live.live(),
        })
    }

    /// Finishes what is under way and closes the store. Later calls answer `closed`; live queries
    /// and streams of changes end behind what was committed.
    ///
    /// # Errors
    /// What the store says.
    pub async fn close(&self) -> Result<()> {
        let closed = self.core().storage.close().await;
        // What was committed is told before anybody hears of the end.
        self.settled().await;
        self.core().notifier.close();
        Ok(closed?)
    }

    /// Waits until what is being committed is committed and told.
    pub(crate) async fn settled(&self) {
        self.inner.committer.settled().await;
    }

    /// For those who listen, and drive what others have left.
    pub(crate) fn left_rounds(&self) -> LeftRounds {
        self.inner.committer.left_rounds()
    }

    pub(crate) fn core(&self) -> &Arc<CommitCore> {
        self.inner.committer.core()
    }

    /// The head as it was when the database was opened.
    pub(crate) fn head(&self) -> &DatabaseHead {
        &self.inner.head
    }

    /// Whether the program knows nothing of the schema.
    pub(crate) fn is_a_tools(&self) -> bool {
        self.inner.any_schema_version
    }

    pub(crate) fn migrations(&self) -> &Migrations {
        &self.inner.migrations
    }

    pub(crate) fn engaged(&self) -> &Arc<Engaged> {
        &self.inner.engaged
    }

    pub(crate) async fn submit<J: Job>(&self, job: J) -> Result<J::Output> {
        self.inner
            .committer
            .submit(job, self.inner.durability, None)
            .await
    }

    /// As [`submit`](Self::submit), only while the store is this client.
    pub(crate) async fn submit_as<J: Job>(
        &self,
        client: Option<ClientId>,
        job: J,
    ) -> Result<J::Output> {
        self.inner
            .committer
            .submit(job, self.inner.durability, client)
            .await
    }

    /// As [`submit_as`](Self::submit_as), at the strongest level the store has.
    pub(crate) async fn submit_durably_as<J: Job>(
        &self,
        client: Option<ClientId>,
        job: J,
    ) -> Result<J::Output> {
        self.inner
            .committer
            .submit(job, Durability::PowerLoss, client)
            .await
    }

    /// As [`submit`](Self::submit), at the strongest level the store has.
    pub(crate) async fn submit_durably<J: Job>(&self, job: J) -> Result<J::Output> {
        self.inner
            .committer
            .submit(job, Durability::PowerLoss, None)
            .await
    }
}
