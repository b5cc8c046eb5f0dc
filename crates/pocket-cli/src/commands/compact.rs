//! `pocket compact`: gives room that is not used any more back to the disk.

use std::fs;
use std::io;
use std::path::Path;

use pocket_core::Value;
use pocket_core::codes as core_codes;
use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage::blocking::sync_directory;
use pocket_storage_redb::RedbStorage;

use crate::args::{Global, StorageKind};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, grouped, object};

/// What is moved at once.
const ENTRIES: usize = 1_000;
const BYTES: usize = 1024 * 1024;

pub(super) async fn run(global: &Global, out: &mut Output) -> Result {
    let directory = open::any_directory(global)?;
    if directory.storage() != StorageKind::Redb {
        return Err(Failure::new(
            core_codes::CONFIG,
            "sled gives room back by itself; `pocket backup` and `pocket restore` make a new store",
        ));
    }
    let path = directory.store();
    let old = open::store(directory.clone(), global.json).await?;
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
    let summary = object([
        ("before", Value::from(before)),
        ("after", Value::from(after)),
    ]);
    let text = format!("{} bytes, {} before", grouped(after), grouped(before));
    out.either(&summary, text)
}

fn size(path: &Path) -> Result<u64> {
    let about = fs::metadata(path);
    let about =
        about.map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    Ok(about.len())
}

async fn copy(from: &dyn Storage, to: &dyn Storage) -> Result {
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
            batch.put(key, value);
        }
        let is_last = batch.is_empty();
        to.commit(batch, durability).await?;
        if is_last {
            return Ok(());
        }
    }
}
