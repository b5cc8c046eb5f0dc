//! How a store is opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pocket_storage::Result;
use pocket_storage::blocking::{BlockingOptions, LockFile};
use redb::StorageBackend;

use crate::RedbStorage;
use crate::opener::{Opener, Place};

/// Options of a [`RedbStorage`], then [`open`](Self::open).
#[derive(Clone)]
pub struct RedbBuilder {
    pub(crate) cache_bytes: usize,
    pub(crate) lock_file: Option<PathBuf>,
    pub(crate) check_up_to: u64,
    pub(crate) on_repair: Arc<dyn Fn(f64) + Send + Sync>,
}

impl RedbBuilder {
    pub(crate) fn new() -> Self {
        Self {
            cache_bytes: 32 * 1024 * 1024,
            lock_file: None,
            check_up_to: 16 * 1024 * 1024,
            on_repair: Arc::new(|_| {}),
        }
    }

    /// Memory for cached pages, in bytes. Default 32 MiB.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// The lock file. Default: the path of the store with `.lock` behind it.
    #[must_use]
    pub fn lock_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock_file = Some(path.into());
        self
    }

    /// Verifies every page at open if the file has at most this many bytes. Default 16 MiB.
    ///
    /// 0 never verifies, `u64::MAX` always. Damage that is not found at open may show as missing entries.
    #[must_use]
    pub fn check_up_to(mut self, bytes: u64) -> Self {
        self.check_up_to = bytes;
        self
    }

    /// Called with the progress, 0.0 to 1.0, while a store that was not closed is repaired at open.
    #[must_use]
    pub fn on_repair(mut self, progress: impl Fn(f64) + Send + Sync + 'static) -> Self {
        self.on_repair = Arc::new(progress);
        self
    }

    /// Opens the store in the file `path`, made if it is missing. Its directory must exist.
    ///
    /// Blocks while it repairs a store that was not closed: call it where that is allowed.
    ///
    /// # Errors
    /// [`InUse`](pocket_storage::StorageError::InUse) if another handle holds it,
    /// [`Corrupt`](pocket_storage::StorageError::Corrupt) if the file is damaged or something else,
    /// [`Full`](pocket_storage::StorageError::Full) or
    /// [`Backend`](pocket_storage::StorageError::Backend).
    pub fn open(self, path: impl AsRef<Path>) -> Result<RedbStorage> {
        let path = path.as_ref();
        let lock_file = self
            .lock_file
            .clone()
            .unwrap_or_else(|| LockFile::beside(path));
        let lock = LockFile::acquire(&lock_file, path)?;
        self.start(Place::File(path.to_owned()), Some(lock))
    }

    /// Opens the store on a device that `connect` connects to, at first and after each failure.
    ///
    /// An empty device becomes a new store. For tests that fail, tear or lose writes, and for devices that are
    /// no files. There is no lock file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on<B: StorageBackend>(
        self,
        connect: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) -> Result<RedbStorage> {
        let connect = move || Ok(Box::new(connect()?) as Box<dyn StorageBackend>);
        self.start(Place::Device(Box::new(connect)), None)
    }

    fn start(self, place: Place, lock: Option<LockFile>) -> Result<RedbStorage> {
        let mut options = BlockingOptions::default();
        "pocket-redb".clone_into(&mut options.name);
        RedbStorage::start(Opener::new(self, place, lock), &options)
    }
}

impl fmt::Debug for RedbBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbBuilder")
            .field("cache_bytes", &self.cache_bytes)
            .field("lock_file", &self.lock_file)
            .field("check_up_to", &self.check_up_to)
            .finish_non_exhaustive()
    }
}
