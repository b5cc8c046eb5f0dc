//! How a store is opened.

use std::path::{Path, PathBuf};

use pocket_storage::Result;
use pocket_storage::blocking::{BlockingOptions, LockFile};

use crate::SledStorage;
use crate::opener::Opener;

/// Options of a [`SledStorage`], then [`open`](Self::open).
#[derive(Clone, Debug)]
pub struct SledBuilder {
    pub(crate) cache_bytes: u64,
    pub(crate) lock_file: Option<PathBuf>,
    pub(crate) check_up_to: u64,
}

impl SledBuilder {
    pub(crate) fn new() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            lock_file: None,
            check_up_to: 16 * 1024 * 1024,
        }
    }

    /// What sled may cache, in bytes as they are on disk. Default 64 MiB; the memory used is larger.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// The lock file. Default: the path of the store with `.lock` behind it.
    #[must_use]
    pub fn lock_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock_file = Some(path.into());
        self
    }

    /// Reads and verifies every entry at open if sled's log has at most this many bytes. Default 16 MiB.
    ///
    /// 0 never verifies, `u64::MAX` always. Without it, entries that a damaged log has lost are not missed; an
    /// entry that is there is verified whenever it is read.
    #[must_use]
    pub fn check_up_to(mut self, bytes: u64) -> Self {
        self.check_up_to = bytes;
        self
    }

    /// Opens the store in the directory `path`, made if it is missing. Its parent must exist.
    ///
    /// Blocks while sled reads its log: call it where that is allowed.
    ///
    /// # Errors
    /// [`InUse`](pocket_storage::StorageError::InUse) if another handle holds it,
    /// [`Corrupt`](pocket_storage::StorageError::Corrupt) if the directory is damaged or something else, or
    /// [`Backend`](pocket_storage::StorageError::Backend).
    pub fn open(self, path: impl AsRef<Path>) -> Result<SledStorage> {
        let path = path.as_ref();
        let lock_file = self
            .lock_file
            .clone()
            .unwrap_or_else(|| LockFile::beside(path));
        let lock = LockFile::acquire(&lock_file, path)?;
        let mut options = BlockingOptions::default();
        "pocket-sled".clone_into(&mut options.name);
        SledStorage::start(Opener::new(self, path.to_owned(), lock), &options)
    }
}
