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
    /// cannot be made or written. A disk without room for the process id alone is no error.
    pub fn acquire(lock: &Path, store: &Path) -> Result<Self> {
        let is_full = |error: &io::Error| {
            let kind = error.kind();
            matches!(
                kind,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        };
        let failed = |error: io::Error| {
            let what = format!("cannot lock {}: {error}", lock.display());
            if is_full(&error) {
                StorageError::Full(what)
            } else {
                StorageError::Backend(what)
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
        match sign(&mut file) {
            // It is locked all the same; the id only helps whoever is turned away. Reading what is stored needs no room.
            Err(error) if is_full(&error) => {}
            signed => signed.map_err(failed)?,
        }
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

/// Writes the id of this process into its lock, in place of what one that was killed has left.
fn sign(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() > 0 {
        file.set_len(0)?;
    }
    file.rewind()?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Who wanted to read what he has, so as to make room, was told that there is none.
    #[test]
    fn a_full_disk_keeps_nobody_out() {
        // A device that is always full. Another run of this test may have it for a moment.
        let lock = loop {
            match LockFile::acquire(Path::new("/dev/full"), Path::new("store")) {
                Err(StorageError::InUse { .. }) => std::thread::yield_now(),
                lock => break lock,
            }
        };
        assert!(lock.is_ok(), "{lock:?}");
    }
}
