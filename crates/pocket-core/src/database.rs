//! The database: a store, its collections and its writes.

use std::sync::Arc;

use pocket_storage::{Direction, Durability, MaybeSend, MaybeSync, ScanLimit, Storage};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commit::{CommitCore, Committer, Job};
use crate::configure::ConfigureJob;
use crate::migrate::{self, Migrations, Progress};
use crate::registry::not_found;
use crate::replica::Engaged;
use crate::stored::{self, CollectionRow, DatabaseHead, HeadLater};
use crate::write::ClearJob;
use crate::{
    ChangeItem, ClientId, Collection, CollectionConfig, CollectionName, CommitSequence, Env, Error,
    Journal, Limits, Migration, MigrationProgress, Result, Subscription, Transaction, codes,
    envelope, keys, random_bytes,
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

/// What a database is opened with.
#[derive(Debug)]
#[must_use]
pub struct DatabaseBuilder {
    name: String,
    collections: Vec<CollectionConfig>,
    durability: Durability,
    limits: Limits,
    schema_version: Option<u32>,
    migrations: Vec<Migration>,
    on_migration: Listener,
    any_schema_version: bool,
    accept_unknown_collections: bool,
    build_indexes: bool,
    env: Option<Arc<dyn Env>>,
}

/// Who hears of a migration.
#[derive(Default)]
struct Listener(Option<Box<dyn Progress>>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.0.is_some()).finish()
    }
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

impl DatabaseBuilder {
    /// Adds a collection, or sets its settings if it is there already.
    pub fn collection(mut self, config: CollectionConfig) -> Self {
        self.collections.push(config);
        self
    }

    /// What an acknowledged write survives; default: loss of power.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How large documents and messages may be.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The version of the application's schema; default: that of the last [migration](Self::migration), else 1. A
    /// database of a newer one is refused, one of an older one is raised.
    pub fn schema_version(mut self, version: u32) -> Self {
        self.schema_version = Some(version);
        self
    }

    /// Opens a database of whatever schema version, and leaves it at that: for tools that know documents as plain values
    /// and nothing of the application. A new database gets the version that was set.
    pub fn any_schema_version(mut self) -> Self {
        self.any_schema_version = true;
        self
    }

    /// How documents of the version before become those of a version. There is one migration for each version, up to
    /// the one of the program; old ones may be left out from the beginning on, and then databases that old are refused.
    ///
    /// [`open`](Self::open) runs what is needed and returns when it is done, so nobody reads, writes or syncs before.
    pub fn migration(mut self, migration: Migration) -> Self {
        self.migrations.push(migration);
        self
    }

    /// Hears how far a migration has come, after each batch of documents.
    pub fn on_migration(
        mut self,
        listener: impl Fn(&MigrationProgress) + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        self.on_migration = Listener(Some(Box::new(listener)));
        self
    }

    /// Whether a document that arrives for an unknown collection makes it, synced; default yes.
    pub fn accept_unknown_collections(mut self, accept: bool) -> Self {
        self.accept_unknown_collections = accept;
        self
    }

    /// Whether opening waits until all indexes are built; default yes. Otherwise queries do without those that are not
    /// ready until somebody drives [`Database::build_indexes`].
    pub fn build_indexes(mut self, build: bool) -> Self {
        self.build_indexes = build;
        self
    }

    /// Another source of time and randomness.
    pub fn env(mut self, env: impl Env) -> Self {
        self.env = Some(Arc::new(env));
        self
    }

    /// Opens the database, and makes it if the store is empty.
    ///
    /// # Errors
    /// `corrupt` when the store holds something else, `newer-format` when a newer program or schema wrote it,
    /// `config` when settings contradict each other, `migration` when a document cannot be brought to the schema version
    /// of the program, `bad-collection-name`, `index-unique-violation` when documents break a unique index that is new,
    /// and what the store says.
    pub async fn open(self, storage: impl Storage) -> Result<Database> {
        self.open_shared(Arc::new(storage)).await
    }

    /// As [`open`](Self::open), on a store that is shared.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_shared(self, storage: Arc<dyn Storage>) -> Result<Database> {
        self.limits.check()?;
        for config in &self.collections {
            let schema = config.schema.as_ref();
            schema
                .map(|schema| schema.compiled(&config.name))
                .transpose()?;
        }
        let env = self.env.map_or_else(default_env, Ok)?;
        let (migrations, version) = Migrations::checked(self.migrations, self.schema_version)?;
        let migrations = Arc::new(migrations);
        let head = open_head(&*storage, &*env, &self.name, version).await?;
        let any = self.any_schema_version;
        if head.schema_version > version && !any {
            return Err(migrate::newer(head.schema_version, version));
        }
        let half_done = head.later.migration.is_some();
        if any && half_done {
            return Err(migrate::half_done());
        }
        // An older database is raised when its documents can be migrated.
        let raises = !any && (head.schema_version < version || half_done);
        let version = if any { head.schema_version } else { version };
        let core = CommitCore::new(
            storage,
            env,
            head.client,
            self.limits,
            self.accept_unknown_collections,
        );
        core.refresh().await?;
        core.notifier
            .begin(core.state().unwrap_or_default().sequence);
        let committer = Committer::new(Arc::new(core));
        let database = Database {
            inner: Arc::new(Inner {
                head,
                durability: self.durability,
                committer,
                engaged: Arc::default(),
                schema_version: version,
                migrations: migrations.clone(),
                any_schema_version: any,
            }),
        };
        database.renew_indexes().await?;
        if raises {
            let listener = self.on_migration.0.as_deref();
            migrate::run(&database, &migrations, version, listener).await?;
        }
        for config in self.collections {
            database.configure(config).await?;
        }
        if self.build_indexes {
            database.finish_indexes().await?;
        }
        Ok(database)
    }
}

#[cfg(feature = "system-env")]
#[expect(
    clippy::unnecessary_wraps,
    reason = "without the feature there is no default"
)]
fn default_env() -> Result<Arc<dyn Env>> {
    Ok(Arc::new(crate::SystemEnv))
}

#[cfg(not(feature = "system-env"))]
fn default_env() -> Result<Arc<dyn Env>> {
    Err(Error::new(
        codes::CONFIG,
        "no source of time and randomness; give one with `.env(…)`",
    ))
}

async fn open_head(
    storage: &dyn Storage,
    env: &dyn Env,
    name: &str,
    schema_version: u32,
) -> Result<DatabaseHead> {
    loop {
        if let Some(sealed) = storage.get(keys::DATABASE).await? {
            return stored::decode(&envelope::open(keys::DATABASE, &sealed)?);
        }
        if !storage
            .scan(
                pocket_storage::KeyRange::all(),
                ScanLimit::entries(1),
                Direction::Forward,
            )
            .await?
            .is_empty()
        {
            return Err(Error::new(
                codes::CORRUPT,
                "the store holds data, but no Pocket database",
            ));
        }
        let head = DatabaseHead {
            name: name.to_owned(),
            client: ClientId::from_bytes(random_bytes(env)),
            schema_version,
            later: HeadLater::default(),
        };
        let mut batch = pocket_storage::Batch::new();
        batch.check_absent(keys::DATABASE);
        if store_head(storage, batch, &head).await? {
            return Ok(head);
        }
    }
}

/// Stores the head under the checks of `batch`; false when another handle was faster.
async fn store_head(
    storage: &dyn Storage,
    mut batch: pocket_storage::Batch,
    head: &DatabaseHead,
) -> Result<bool> {
    batch.put(
        keys::DATABASE,
        envelope::seal(keys::DATABASE, &[&stored::encode(head)]),
    );
    match storage.commit(batch, Durability::PowerLoss).await {
        Ok(()) => Ok(true),
        Err(pocket_storage::StorageError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Database {
    /// Begins the opening of a database of this name.
    pub fn builder(name: impl Into<String>) -> DatabaseBuilder {
        DatabaseBuilder {
            name: name.into(),
            collections: Vec::new(),
            durability: Durability::PowerLoss,
            limits: Limits::default(),
            schema_version: None,
            migrations: Vec::new(),
            on_migration: Listener::default(),
            any_schema_version: false,
            accept_unknown_collections: true,
            build_indexes: true,
            env: None,
        }
    }

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
    /// Switching sync on puts its documents into the outbox; switching it off drops what was never sent. Waits until its
    /// indexes are built, as [`Collection::create_index`] does.
    ///
    /// # Errors
    /// `bad-collection-name`, `config` when its schema cannot be used, those of [`Collection::create_index`], and what
    /// the store says.
    pub async fn create_collection(&self, config: CollectionConfig) -> Result<()> {
        let has_indexes = !config.indexes.is_empty();
        self.configure(config).await?;
        if has_indexes {
            self.finish_indexes().await?;
        }
        Ok(())
    }

    /// As [`create_collection`](Self::create_collection), but large indexes are recorded only.
    async fn configure(&self, config: CollectionConfig) -> Result<()> {
        let name = config.checked_name()?;
        if let Some(schema) = &config.schema {
            schema.compiled(name.as_str())?;
        }
        let registry = self.core().registry();
        if registry
            .get(&name)
            .is_none_or(|row| row.sync != config.sync || row.strategy != config.conflict_strategy)
        {
            self.submit(ConfigureJob {
                name: name.clone(),
                sync: config.sync,
                strategy: config.conflict_strategy,
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

    /// The changes of all collections from now on.
    pub fn changes(&self) -> Subscription<ChangeItem> {
        self.changes_of(None)
    }

    pub(crate) fn changes_of(&self, only: Option<CollectionName>) -> Subscription<ChangeItem> {
        let last = self.core().state().unwrap_or_default().sequence;
        self.core().notifier.changes(only, last)
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

    /// Finishes what is under way and closes the store. Later calls answer `closed`, and live queries end.
    ///
    /// # Errors
    /// What the store says.
    pub async fn close(&self) -> Result<()> {
        let closed = self.core().storage.close().await;
        self.core().notifier.live.close();
        Ok(closed?)
    }

    /// Waits until what is being committed is committed and told.
    pub(crate) async fn settled(&self) {
        self.inner.committer.settled().await;
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
            .submit(job, self.inner.durability)
            .await
    }

    /// As [`submit`](Self::submit), at the strongest level the store has.
    pub(crate) async fn submit_durably<J: Job>(&self, job: J) -> Result<J::Output> {
        self.inner
            .committer
            .submit(job, Durability::PowerLoss)
            .await
    }
}
