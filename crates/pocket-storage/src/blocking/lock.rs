//! One process per store.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::{Result, StorageError};

/// A lock on a file that holds the process id of its holder.
///
/// The operating system releases it when the holder ends, however it ends. The file stays, emptied: removing
/// it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct LockFile {
    file: File,
}

impl LockFile {
    /// Locks the file `lock`, made if it is missing, for the store at `store`. Never waits.
    ///
    /// # Errors
    /// [`InUse`](StorageError::InUse) with the path of the store and the process id found in the file if
    /// another handle holds it; [`Full`](StorageError::Full) or [`Backend`](StorageError::Backend) if the file
    /// cannot be made or written.
    pub fn acquire(lock: &Path, store: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            let what = format!("cannot lock {}: {error}", lock.display());
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    StorageError::Full(what)
                }
                _ => StorageError::Backend(what),
            }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(lock)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StorageError::InUse {
                    path: store.display().to_string(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
            .map_err(failed)?;
        Ok(Self { file })
    }

    /// The usual place of the lock: the path of the store with `.lock` behind it.
    pub fn beside(store: &Path) -> PathBuf {
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        PathBuf::from(name)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Emptied, so that the next holder is not mistaken for this process while it writes its own id.
        // Closing the file releases the lock even if this fails.
        let _ = self.file.set_len(0);
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes the names in `directory` durable: files made, renamed or removed in it.
///
/// # Errors
/// What the operating system answers. Always `Ok` where directories cannot be synced.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let directory = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
