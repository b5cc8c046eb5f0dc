//! Opening, creating and opening again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use pocket_storage::blocking::{BlockingOpener, LockFile, sync_directory};
use pocket_storage::{Result, StorageError};
use redb::backends::FileBackend;
use redb::{Database, StorageBackend};

use crate::RedbBuilder;
use crate::disk::Disk;
use crate::engine::{self, Engine};
use crate::error::{from_database, from_io};

/// Where the bytes are.
pub(crate) enum Place {
    File(PathBuf),
    Device(Box<Connect>),
}

type Connect = dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync;

pub(crate) struct Opener {
    options: RedbBuilder,
    place: Place,
    /// It was open before: should nothing be there now, it is not a new store but one that has gone.
    was_open: AtomicBool,
    /// Held until the store is closed.
    _lock: Option<LockFile>,
}

impl Opener {
    pub(crate) fn new(options: RedbBuilder, place: Place, lock: Option<LockFile>) -> Self {
        Self {
            options,
            place,
            was_open: AtomicBool::new(false),
            _lock: lock,
        }
    }

    /// Makes the store under another name and renames it when it is complete and durable.
    ///
    /// So a file under the real name always is a whole store: one that is empty or lacks its header was
    /// damaged, and a crash while it was made leaves nothing behind that could be taken for damage.
    fn create(&self, path: &Path) -> Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let unfinished = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)
            .map_err(|error| from_io(&error))?;
        let syncs = file.try_clone().map_err(|error| from_io(&error))?;
        let database = self.database(Box::new(file_backend(file)?), 0)?;
        engine::initialize(&database)?;
        database
            .close()
            .map_err(|error| from_database(error, &path.display().to_string()))?;
        syncs
            .sync_all()
            .and_then(|()| fs::rename(&unfinished, path))
            .and_then(|()| sync_directory(path.parent().unwrap_or(Path::new(""))))
            .map_err(|error| from_io(&error))
    }

    fn open_file(&self, path: &Path) -> Result<Engine> {
        let open = || OpenOptions::new().read(true).write(true).open(path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.may_begin()?;
                self.create(path)?;
                open()
            }
            opened => opened,
        }
        .map_err(|error| {
            StorageError::Backend(format!("cannot open {}: {error}", path.display()))
        })?;
        let bytes = file.metadata().map_err(|error| from_io(&error))?.len();
        if bytes == 0 {
            return Err(StorageError::Corrupt(format!(
                "{} is empty, which a store never is; restore it from a backup, or begin a new store at another path",
                path.display()
            )));
        }
        let database = self.database(Box::new(file_backend(file)?), bytes)?;
        Engine::new(database)
    }

    /// Whether a store may be begun where there is none.
    fn may_begin(&self) -> Result<()> {
        if !self.was_open.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(StorageError::Backend(format!(
            "{} was there and has gone; bring back the disk or the file, and nothing is lost",
            self.name()
        )))
    }

    fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Device(_) => "the device".to_owned(),
        }
    }

    fn database(&self, device: Box<dyn StorageBackend>, bytes: u64) -> Result<Database> {
        let progress = std::sync::Arc::clone(&self.options.on_repair);
        let path = self.name();
        Database::builder()
            .set_cache_size(self.options.cache_bytes)
            .set_check_integrity_on_open(bytes > 0 && bytes <= self.options.check_up_to)
            .set_repair_callback(move |session| progress(session.progress()))
            .create_with_backend(Disk(device))
            .map_err(|error| in_file(from_database(error, &path), &path))
    }
}

impl BlockingOpener for Opener {
    type Store = Engine;

    fn open(&self) -> Result<Engine> {
        let opened = match &self.place {
            Place::File(path) => self.open_file(path),
            Place::Device(connect) => {
                let device = connect().map_err(|error| from_io(&error))?;
                let bytes = device.len().map_err(|error| from_io(&error))?;
                if bytes == 0 {
                    self.may_begin()?;
                }
                let database = self.database(device, bytes)?;
                if bytes == 0 {
                    engine::initialize(&database)?;
                }
                Engine::new(database)
            }
        }?;
        self.was_open.store(true, Ordering::Relaxed);
        Ok(opened)
    }
}

fn file_backend(file: File) -> Result<FileBackend> {
    FileBackend::new(file).map_err(|error| from_database(error, "the file"))
}

fn in_file(error: StorageError, path: &str) -> StorageError {
    match error {
        StorageError::Corrupt(what) => StorageError::Corrupt(format!("{path}: {what}")),
        other => other,
    }
}
