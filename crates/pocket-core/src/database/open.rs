//! Opening a database: what it is opened with, and what is done before anybody gets it.

use std::sync::Arc;

use pocket_storage::{Direction, Durability, MaybeSend, MaybeSync, ScanLimit, Storage};

use super::{Database, Inner};
use crate::commit::{CommitCore, Committer};
use crate::migrate::{self, Migrations, Progress, SchemaVersion};
use crate::stored::{self, DatabaseHead, HeadLater};
use crate::{
    ClientId, CollectionConfig, Env, Error, Limits, Migration, MigrationProgress, Result, codes,
    envelope, keys, random_bytes,
};

/// What a database is opened with.
#[derive(Debug)]
#[must_use]
pub struct DatabaseBuilder {
    name: String,
    takes: Takes,
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

/// Which databases are opened where a store holds one already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Any,
    OfItsName,
}

/// Who hears of a migration.
#[derive(Default)]
struct Listener(Option<Box<dyn Progress>>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.0.is_some()).finish()
    }
}

impl DatabaseBuilder {
    /// Refuses a store whose database was made with another name (`other-name`), before anything is written to it. Otherwise
    /// a database keeps the name it was made with, and whoever has its store may open it.
    pub fn exact_name(mut self) -> Self {
        self.takes = Takes::OfItsName;
        self
    }

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
    /// database of a newer one is refused. One of an older one is raised by the migrations that lead there; without them it
    /// is refused, too.
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
    /// of the program, or a migration on the way there is missing, `bad-collection-name`, `other-name` where the
    /// [name must fit](Self::exact_name), and what the store says.
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
        if self.takes == Takes::OfItsName && head.name != self.name {
            let (stored, wanted) = (&head.name, &self.name);
            let message = format!("the store holds the database {stored:?}, not {wanted:?}");
            return Err(Error::new(codes::OTHER_NAME, message));
        }
        let any = self.any_schema_version;
        if head.schema_version > version && !any {
            return Err(migrate::newer(head.schema_version, version));
        }
        let half_done = head.later.migration.is_some();
        if any && half_done {
            return Err(migrate::half_done());
        }
        // An older database is raised when its documents can be migrated.
        let resumes = half_done && !crate::mutants::active("pocket-mutant:migration-not-resumed");
        let raises = !any && (head.schema_version < version || resumes);
        let version = if any { head.schema_version } else { version };
        let core = CommitCore::new(
            storage,
            env,
            head.client,
            self.limits,
            self.accept_unknown_collections,
            if any {
                SchemaVersion::Any
            } else {
                SchemaVersion::Known(version)
            },
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
            match database.finish_indexes(None).await {
                // One damaged document keeps its collection from an index, and nobody from the rest of the data: queries do
                // without it, and the next opening tries again.
                Err(error) if error.code() == codes::CORRUPT => {}
                finished => finished?,
            }
            if !any {
                // Only space is at stake, and no error here may keep anybody from the data: a store that is full, one
                // damaged document. The next sweep tries again.
                let _ = database.expire().await;
            }
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
            // Another handle may have made it just now.
            if storage.get(keys::DATABASE).await?.is_some() {
                continue;
            }
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

impl Database {
    /// The name of the database in a store, as it was made with; none where no database was made yet. Changes nothing.
    ///
    /// # Errors
    /// `corrupt` when what is there cannot be read, and what the store says.
    pub async fn name_in(storage: &dyn Storage) -> Result<Option<String>> {
        let Some(sealed) = storage.get(keys::DATABASE).await? else {
            return Ok(None);
        };
        let head: DatabaseHead = stored::decode(&envelope::open(keys::DATABASE, &sealed)?)?;
        Ok(Some(head.name))
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
            takes: Takes::Any,
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
}
