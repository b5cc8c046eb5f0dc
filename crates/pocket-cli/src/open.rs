//! Opening the store of a directory, and the database in it.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::time::Duration;

use pocket_core::Collection;
use pocket_core::storage::{Storage, StorageError};
use pocket_core::{
    CollectionConfig, CollectionName, Database, DatabaseBuilder, Value, codes as core_codes,
};
use pocket_storage_redb::RedbStorage;
use pocket_storage_sled::SledStorage;
use tokio::time::Instant;

use crate::args::{Global, StorageKind};
use crate::codes;
use crate::directory::{Directory, Role};
use crate::failure::{Failure, Result, SALVAGE};
use crate::gate::Gate;
use crate::held::{Content, Holding};
use crate::output::{Output, note};

/// Where a device's database is unless `--db` says otherwise.
const CLIENT_DIRECTORY: &str = "./pocket-data";

/// Where a server's logs are unless `--db` says otherwise.
const SERVER_DIRECTORY: &str = "./pocket-server";

/// What is said when it takes longer.
const CHECKING: &str = "the store is being checked before it opens; this takes a while";

/// How long the opening of a store may take without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// A database that is open, by this command or by the process that holds it.
#[derive(Debug)]
pub(crate) struct Opened {
    database: Database,
    gate: Arc<Gate>,
    is_held: bool,
}

impl Opened {
    /// What commands work with that run in this process while it is open.
    pub(crate) fn content(&self) -> Content {
        Content::Client(self.database.clone(), self.gate.clone())
    }

    /// The store below.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Closes the database, if this command opened it.
    pub(crate) async fn close(&self) -> Result<(), pocket_core::Error> {
        if self.is_held {
            return Ok(());
        }
        self.database.close().await
    }
}

impl Deref for Opened {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// Opens the device's database, made if it is missing.
pub(crate) async fn database(global: &Global) -> Result<Opened> {
    let directory = client_directory(global)?;
    open_in(global, directory).await
}

/// Opens the device's database for reading what is there; a missing one is an error.
pub(crate) async fn existing(global: &Global) -> Result<Opened> {
    let directory = existing_directory(global)?;
    open_in(global, directory).await
}

/// The same for a command about indexes, which has its own way with those that are not built.
pub(crate) async fn existing_without_indexes(global: &Global) -> Result<Opened> {
    let directory = existing_directory(global)?;
    open_with(global, directory, builder().build_indexes(false)).await
}

/// As [`existing`]; `salvages`: a small file is not looked at as a whole first, so that what can still be read of a damaged
/// one is, and no index is built.
pub(crate) async fn to_read_from(global: &Global, salvages: bool) -> Result<Opened> {
    if !salvages || global.held.is_some() {
        return existing(global).await;
    }
    let directory = existing_directory(global)?;
    let store = store_with(directory, global.json, false).await;
    // Whoever salvages already is not told to.
    let gate = Gate::new(store.map_err(|failure| failure.without(SALVAGE))?);
    Ok(Opened {
        database: builder()
            .build_indexes(false)
            .open_shared(gate.clone())
            .await?,
        gate,
        is_held: false,
    })
}

fn existing_directory(global: &Global) -> Result<Directory> {
    let directory = client_directory(global)?;
    if !directory.exists() {
        return Err(Failure::new(
            codes::NOT_FOUND,
            format!(
                "there is no database in {}; `pocket insert`, `pocket import` and `pocket sync` make one, --db DIR \
                 names another place",
                directory.path().display()
            ),
        ));
    }
    Ok(directory)
}

/// Lets other commands on the same directory reach the database for as long as this one has it open.
pub(crate) fn hold(global: &Global, database: &Opened, out: &Output) -> Result<Holding> {
    let directory = client_directory(global)?;
    Ok(Holding::begin(
        directory.path(),
        directory.storage(),
        database.content(),
        out,
    ))
}

/// Where the database of this role is: as `--db` says, or in the usual place.
pub(crate) fn place(global: &Global, role: Role) -> PathBuf {
    let usual = match role {
        Role::Client => CLIENT_DIRECTORY,
        Role::Server => SERVER_DIRECTORY,
    };
    global.db.clone().unwrap_or_else(|| usual.into())
}

/// The directory of a command that works on devices' databases and on servers' ones, where there is one.
pub(crate) fn any_directory(global: &Global) -> Result<Directory> {
    let path = place(global, Role::Client);
    if let Some(held) = &global.held {
        return Ok(Directory::held(&path, held.content.role(), held.storage));
    }
    Directory::of_any(&path, global.storage)?.ok_or_else(|| {
        Failure::new(
            codes::NOT_FOUND,
            format!(
                "there is no database in {}; --db DIR names another place, of a server mostly {SERVER_DIRECTORY}",
                path.display()
            ),
        )
    })
}

/// The directory a device's command works on.
pub(crate) fn client_directory(global: &Global) -> Result<Directory> {
    if global.storage == Some(StorageKind::Memory) {
        return Err(Failure::usage(
            "--storage memory is only for `serve`: everything would be gone when this command ends",
        ));
    }
    let path = place(global, Role::Client);
    if let Some(held) = &global.held {
        return Ok(Directory::held(&path, Role::Client, held.storage));
    }
    Directory::at(&path, Role::Client, global.storage)
}

/// Opens the database of a device's directory, or takes the one that this process holds.
pub(crate) async fn open_in(global: &Global, directory: Directory) -> Result<Opened> {
    open_with(global, directory, builder()).await
}

async fn open_with(
    global: &Global,
    directory: Directory,
    builder: DatabaseBuilder,
) -> Result<Opened> {
    match global.held.as_ref().map(|held| &held.content) {
        Some(Content::Client(database, gate)) => Ok(Opened {
            database: database.clone(),
            gate: gate.clone(),
            is_held: true,
        }),
        Some(Content::Server(_)) => Err(directory.other_role(Role::Server)),
        None => {
            let gate = Gate::new(store(directory, global.json).await?);
            Ok(Opened {
                database: builder.open_shared(gate.clone()).await?,
                gate,
                is_held: false,
            })
        }
    }
}

/// Opens the database of a device's directory.
pub(crate) async fn open_database(directory: Directory, json: bool) -> Result<Database> {
    let storage = store(directory, json).await?;
    Ok(builder().open_shared(storage).await?)
}

fn builder() -> DatabaseBuilder {
    // Documents are plain values here, of whatever version their application gave them.
    Database::builder("pocket").any_schema_version()
}

/// Makes the device's database, for documents of this schema version.
pub(crate) async fn new(global: &Global, schema_version: u32) -> Result<Opened> {
    let directory = client_directory(global)?;
    let gate = Gate::new(store(directory, global.json).await?);
    let builder = builder().schema_version(schema_version);
    Ok(Opened {
        database: builder.open_shared(gate.clone()).await?,
        gate,
        is_held: false,
    })
}

/// Opens the store of a directory and describes the directory, if it is new.
pub(crate) async fn store(directory: Directory, json: bool) -> Result<Arc<dyn Storage>> {
    store_with(directory, json, true).await
}

async fn store_with(
    mut directory: Directory,
    json: bool,
    checks: bool,
) -> Result<Arc<dyn Storage>> {
    // Opening may repair for a while, and blocks.
    let opening = tokio::task::spawn_blocking(move || {
        directory.prepare()?;
        directory.check_writable()?;
        let new = !directory.exists();
        let storage = open(&directory, json, checks)?;
        if new {
            // Somebody else may have made it, with other settings, before this process got the lock.
            let other = Directory::at(
                directory.path(),
                directory.role(),
                Some(directory.storage()),
            )?;
            if !other.exists() {
                directory.describe()?;
            }
        }
        Ok(storage)
    });
    opening.await.map_err(|error| {
        Failure::new(
            core_codes::STORAGE,
            format!("the store could not be opened: {error}"),
        )
    })?
}

fn open(directory: &Directory, json: bool, checks: bool) -> Result<Arc<dyn Storage>, StorageError> {
    match directory.storage() {
        StorageKind::Sled => {
            let mut builder = SledStorage::builder().lock_file(directory.lock_file());
            if !checks {
                builder = builder.check_up_to(0);
            }
            let opened = builder.open(directory.store());
            opened.map(|storage| Arc::new(storage) as Arc<dyn Storage>)
        }
        StorageKind::Redb | StorageKind::Memory => {
            let mut builder = RedbStorage::builder()
                .lock_file(directory.lock_file())
                .on_repair(repair_note(json));
            if !checks {
                builder = builder.check_up_to(0);
            }
            let opened = builder.open(directory.store());
            opened.map(|storage| Arc::new(storage) as Arc<dyn Storage>)
        }
    }
}

/// Says once, when it takes long, that the store is checked or repaired.
fn repair_note(json: bool) -> impl Fn(f64) + Send + Sync + 'static {
    let began = Instant::now();
    let said = Once::new();
    move |_| {
        if began.elapsed() > PATIENCE {
            said.call_once(|| note(json, CHECKING));
        }
    }
}

/// A collection to read; none when nobody has written it yet: then it is empty.
pub(crate) fn collection(database: &Database, name: &str) -> Result<Option<Collection<Value>>> {
    CollectionName::new(name)?;
    if !database.has_collection(name) {
        return Ok(None);
    }
    Ok(Some(database.collection(name)?))
}

/// A collection to write, made if it is missing: synced, unless `local_only`.
pub(crate) async fn writable(
    database: &Database,
    name: &str,
    local_only: bool,
) -> Result<Collection<Value>> {
    CollectionName::new(name)?;
    match settings(database, name) {
        None => {
            let config = CollectionConfig::new(name).sync(!local_only);
            database.create_collection(config).await?;
        }
        Some(config) if config.sync && local_only => {
            return Err(Failure::new(
                core_codes::CONFIG,
                format!(
                    "`{name}` is there and syncs, so --local-only cannot hold; leave it out, use another collection, \
                     or make this one local with `pocket collections set {name} --local-only`"
                ),
            ));
        }
        Some(_) => {}
    }
    Ok(database.collection(name)?)
}

/// The settings of a collection, if it is there.
pub(crate) fn settings(database: &Database, name: &str) -> Option<CollectionConfig> {
    let mut all = database.list_collections().into_iter();
    all.find(|config| config.name == name)
}
