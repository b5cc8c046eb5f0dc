//! Opening, creating and opening again.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use pocket_storage::blocking::{BlockingOpener, LockFile, sync_directory};
use pocket_storage::{Result, StorageError};

use crate::SledBuilder;
use crate::engine::Engine;
use crate::error::{from_io, from_sled};
use crate::layout::{MARK, MARK_VALUE, SUMS};
use crate::witness::{Sums, Witness};

pub(crate) struct Opener {
    options: SledBuilder,
    path: PathBuf,
    /// It was open before: should nothing be there now, it is not a new store but one that has gone.
    was_open: AtomicBool,
    /// Held until the store is closed.
    _lock: LockFile,
}

impl Opener {
    pub(crate) fn new(options: SledBuilder, path: PathBuf, lock: LockFile) -> Self {
        Self {
            options,
            path,
            was_open: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// Makes the store under another name and renames it when it is complete and durable.
    ///
    /// So a directory under the real name always has the mark: one without it was damaged or is no store.
    fn create(&self) -> Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let unfinished = PathBuf::from(name);
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(|error| from_io(&error))?;
        }
        let database = self.database(&unfinished)?;
        database.insert(MARK, MARK_VALUE).map_err(from_sled)?;
        let sums = Sums::default().encode();
        database.insert(SUMS, &sums).map_err(from_sled)?;
        database.flush().map_err(from_sled)?;
        drop(database);
        wait_until_released(&unfinished);
        Witness::create(&unfinished)
            .and_then(|()| sync_everything(&unfinished))
            .and_then(|()| fs::rename(&unfinished, &self.path))
            .and_then(|()| sync_directory(self.path.parent().unwrap_or(Path::new(""))))
            .map_err(|error| from_io(&error))
    }

    fn database(&self, path: &Path) -> Result<sled::Db> {
        sled::Config::new()
            .path(path)
            .cache_capacity(self.options.cache_bytes)
            .open()
            .map_err(from_sled)
    }

    /// A database that sled opened, if it is a whole store of ours.
    fn engine(&self, database: sled::Db) -> Result<Engine> {
        match database.get(MARK).map_err(from_sled)? {
            Some(mark) if mark == MARK_VALUE => {}
            Some(_) => return Err(self.corrupt("written by a later version of Pocket")),
            None => return Err(self.corrupt("a sled database, but not a Pocket store")),
        }
        // sled syncs neither its settings nor the names of its files; without this, a store that lost power
        // early may not open again.
        sync_everything(&self.path).map_err(|error| from_io(&error))?;
        let log = fs::metadata(self.path.join("db")).map_err(|error| from_io(&error))?;
        let verify = log.len() <= self.options.check_up_to;
        Engine::new(database, &self.path, verify).map_err(|error| match error {
            StorageError::Corrupt(what) => self.corrupt(&what),
            other => other,
        })
    }

    fn corrupt(&self, what: &str) -> StorageError {
        StorageError::Corrupt(format!("{}: {what}", self.path.display()))
    }
}

impl BlockingOpener for Opener {
    type Store = Engine;

    fn open(&self) -> Result<Engine> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.was_open.load(Ordering::Relaxed) {
                    return Err(StorageError::Backend(format!(
                        "{} was there and has gone; bring back the disk or the directory, and nothing is lost",
                        self.path.display()
                    )));
                }
                self.create()?;
            }
            Err(error) => return Err(from_io(&error)),
            Ok(found) if !found.is_dir() => {
                return Err(self.corrupt("a file, but sled keeps a directory"));
            }
            Ok(_) => {}
        }
        if !self.path.join("db").exists() {
            return Err(self.corrupt("not a sled database"));
        }
        remove_unfinished_snapshots(&self.path).map_err(|error| from_io(&error))?;
        let database = match self.database(&self.path) {
            Ok(database) => database,
            Err(StorageError::Corrupt(what)) => return Err(self.corrupt(&what)),
            Err(error) => return Err(error),
        };
        // So that the next try does not meet the lock of one that failed.
        let engine = self
            .engine(database)
            .inspect_err(|_| wait_until_released(&self.path))?;
        self.was_open.store(true, Ordering::Relaxed);
        Ok(engine)
    }
}

/// A snapshot that was not renamed yet is not part of the store, but sled may stumble over it.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Syncs every file below `path`, then the directories that name them.
fn sync_everything(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_everything(&entry.path())?;
        } else {
            sync_file(&entry.path())?;
        }
    }
    sync_directory(path)
}

fn sync_file(path: &Path) -> io::Result<()> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file.sync_all(),
        // sled removes files in the background.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits until sled's threads have let go of the database, after it was dropped.
///
/// Its own lock is on the log file; a lock of ours on the same file is granted when theirs is gone.
pub(crate) fn wait_until_released(path: &Path) {
    if let Ok(file) = File::open(path.join("db")) {
        let _ = file.lock();
    }
}

/// The files that sled makes for pages that do not fit into its log.
///
/// Entries are split so that there are none; index pages of very long keys can still become one.
pub(crate) struct Blobs {
    directory: PathBuf,
    synced: BTreeSet<OsString>,
}

impl Blobs {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            directory: path.join("blobs"),
            synced: BTreeSet::new(),
        }
    }

    /// Syncs the files that were not synced before.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let mut present = BTreeSet::new();
        let mut any_new = false;
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            if !self.synced.contains(&name) {
                sync_file(&self.directory.join(&name))?;
                any_new = true;
            }
            present.insert(name);
        }
        if any_new {
            sync_directory(&self.directory)?;
        }
        self.synced = present;
        Ok(())
    }
}
