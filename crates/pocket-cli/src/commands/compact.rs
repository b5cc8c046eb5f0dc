//! `pocket compact`: gives room that is not used any more back to the disk, and forgets before what a server need not
//! remember.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use pocket_core::codes as core_codes;
use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_core::{Map, Sums, SystemEnv, Value};
use pocket_storage::blocking::sync_directory;
use pocket_storage_redb::RedbStorage;
use pocket_sync_server::engine::{EngineError, Retention};
use pocket_sync_server::{EmbeddedEngine, Engine, Limits};

use crate::args::{Global, StorageKind};
use crate::directory::Role;
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, counted, grouped, object};
use crate::retention::CompactArgs;

/// What is moved at once.
const ENTRIES: usize = 1_000;
const BYTES: usize = 1024 * 1024;

pub(super) async fn run(global: &Global, args: CompactArgs, out: &mut Output) -> Result {
    let retention = args.retention()?;
    let directory = open::any_directory(global)?;
    if retention.is_some() && directory.role() != Role::Server {
        return Err(Failure::usage(
            "--keep-deletions and --keep-clients are for the store of a server; a device forgets when its server does",
        ));
    }
    if directory.storage() != StorageKind::Redb {
        if let Some(retention) = retention {
            let store = open::store(directory, global.json).await?;
            let forgotten = forget(&store, &retention).await?;
            store.close().await?;
            return out.either(&forgotten.fields(), forgotten);
        }
        return Err(Failure::new(
            core_codes::CONFIG,
            "sled gives room back by itself; `pocket backup` and `pocket restore` make a new store",
        ));
    }
    let path = directory.store();
    let old = open::store(directory.clone(), global.json).await?;
    let forgotten = match &retention {
        Some(retention) => Some(forget(&old, retention).await?),
        None => None,
    };
    let before = size(&path)?;
    let failed =
        |error: &io::Error| Failure::io(format!("cannot compact {}", path.display()), error);
    // In the same directory, so that it can take the place of the old one.
    let beside = tempfile::Builder::new()
        .prefix("compact-")
        .tempdir_in(directory.path())
        .map_err(|error| failed(&error))?;
    let fresh = beside.path().join("store.redb");
    let opened = {
        let fresh = fresh.clone();
        tokio::task::spawn_blocking(move || RedbStorage::open(fresh)).await
    };
    let new = opened.map_err(|error| Failure::new(core_codes::STORAGE, error))??;
    copy(&*old, &new).await?;
    new.close().await?;
    // The lock is that of the old store, which is open until the new one has its name.
    fs::rename(&fresh, &path).map_err(|error| failed(&error))?;
    sync_directory(directory.path()).map_err(|error| failed(&error))?;
    old.close().await?;
    let after = size(&path)?;
    let mut summary = forgotten.map_or_else(|| object([]), Forgotten::fields);
    summary.insert("before", before);
    summary.insert("after", after);
    let text = format!("{} bytes, {} before", grouped(after), grouped(before));
    let text = forgotten.map_or(text.clone(), |forgotten| format!("{forgotten}\n{text}"));
    out.either(&summary, text)
}

/// What was forgotten in all namespaces.
#[derive(Clone, Copy, Debug, Default)]
struct Forgotten {
    deletions: u64,
    clients: u64,
}

impl Forgotten {
    fn fields(self) -> Map {
        object([
            ("deletions", Value::from(self.deletions)),
            ("clients", Value::from(self.clients)),
        ])
    }
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deletions = counted(self.deletions, "deletion");
        let clients = counted(self.clients, "client");
        write!(f, "{deletions} and {clients} forgotten")
    }
}

/// Forgets in all namespaces of a server what is older.
async fn forget(storage: &Arc<dyn Storage>, retention: &Retention) -> Result<Forgotten> {
    let env = Arc::new(SystemEnv);
    let engine = EmbeddedEngine::new(storage.clone(), env, Limits::default());
    let failed = |error: EngineError| Failure::new(core_codes::STORAGE, error);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut forgotten = Forgotten::default();
    for namespace in engine.namespaces().await.map_err(failed)? {
        loop {
            let batch = engine.compact(&namespace, retention).await;
            let batch = batch.map_err(failed)?;
            forgotten.deletions += count(batch.tombstones);
            forgotten.clients += count(batch.clients);
            if !batch.more {
                break;
            }
        }
    }
    Ok(forgotten)
}

fn size(path: &Path) -> Result<u64> {
    let about = fs::metadata(path);
    let about =
        about.map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    Ok(about.len())
}

/// Copies every entry whose sum is right; any other one ends it.
async fn copy(from: &dyn Storage, to: &dyn Storage) -> Result {
    let mut sums = Sums::new();
    let mut range = KeyRange::all();
    loop {
        let limit = ScanLimit::entries(ENTRIES).bytes(BYTES);
        let entries = from.scan(range.clone(), limit, Direction::Forward).await?;
        let mut batch = Batch::new();
        let durability = match entries.last() {
            Some((last, _)) => {
                range = range.after(last.clone());
                Durability::Relaxed
            }
            None => Durability::PowerLoss,
        };
        for (key, value) in entries {
            sums.check(&key, &value).map_err(|error| {
                Failure::from(error).and("nothing was changed: the store is as large as it was")
            })?;
            batch.put(key, value);
        }
        let is_last = batch.is_empty();
        to.commit(batch, durability).await?;
        if is_last {
            return Ok(());
        }
    }
}
