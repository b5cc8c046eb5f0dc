//! A file that appears under its name when it is whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use pocket_storage::blocking::sync_directory;
use tempfile::NamedTempFile;

use crate::failure::{Failure, Result};

/// A file on its way. Dropped before it is kept, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct NewFile {
    name: PathBuf,
    file: NamedTempFile,
}

impl NewFile {
    /// Begins a file beside the place it will have.
    ///
    /// # Errors
    /// `io`, also when there is something of this name.
    pub(crate) fn new(name: PathBuf) -> Result<Self> {
        if name.symlink_metadata().is_ok() {
            return Err(exists(&name));
        }
        remove_left_over(parent(&name));
        let file = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempfile_in(parent(&name));
        if let Ok(file) = &file {
            hold(file.as_file());
        }
        // The error itself speaks of the name that the file has until it is whole.
        let failed = |error: io::Error| {
            let what = format!(
                "cannot write {}: the directory {}",
                name.display(),
                parent(&name).display()
            );
            Failure::io(what, &error.kind().into())
        };
        Ok(Self {
            file: file.map_err(failed)?,
            name,
        })
    }

    /// The name it will have.
    pub(crate) fn name(&self) -> String {
        self.name.display().to_string()
    }

    /// Another handle on it, at its start.
    pub(crate) fn reopen(&self) -> Result<File> {
        self.file.reopen().map_err(|error| self.failed(&error))
    }

    /// Why it cannot be written.
    pub(crate) fn failed(&self, error: &io::Error) -> Failure {
        Failure::io(format!("cannot write {}", self.name.display()), error)
    }

    /// Makes it durable and gives it its name.
    pub(crate) fn keep(self) -> Result {
        let synced = self.file.as_file().sync_all();
        synced.map_err(|error| self.failed(&error))?;
        let name = self.name;
        let failed = |error: &io::Error| match error.kind() {
            ErrorKind::AlreadyExists => exists(&name),
            _ => Failure::io(format!("cannot write {}", name.display()), error),
        };
        let kept = self.file.persist_noclobber(&name);
        kept.map_err(|error| failed(&error.error))?;
        sync_directory(parent(&name)).map_err(|error| failed(&error))
    }
}

/// What the name of a file begins with that is not whole.
const PREFIX: &str = ".pocket-";

/// How many characters chance puts behind that.
const CHANCE: usize = 6;

/// Says for as long as the process lives that somebody is at work on a file. Where that cannot be said, nobody removes it either.
#[cfg(unix)]
fn hold(file: &File) {
    let _ = file.try_lock();
}

/// A lock would keep other handles of this process from it, too.
#[cfg(not(unix))]
fn hold(_: &File) {}

/// Removes what processes left in a directory that were killed while they wrote a file. Whoever writes one holds its lock.
/// Whatever cannot be looked at stays.
fn remove_left_over(directory: &Path) {
    if cfg!(not(unix)) {
        return;
    }
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let chance = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_ours = chance.is_some_and(|it| {
            it.len() == CHANCE && it.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            remove_unheld(&entry.path());
        }
    }
}

fn remove_unheld(path: &Path) {
    // A file begins with nothing, and is locked a moment later: an empty one may be somebody's.
    let file = File::options().write(true).open(path);
    let Ok(file) = file else { return };
    let is_begun = file.metadata().is_ok_and(|about| about.len() > 0);
    if is_begun && file.try_lock().is_ok() {
        let _ = fs::remove_file(path);
    }
}

fn parent(name: &Path) -> &Path {
    let parent = name.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

fn exists(name: &Path) -> Failure {
    Failure::io(
        format!("cannot write {}, give another name", name.display()),
        &ErrorKind::AlreadyExists.into(),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_and_what_somebody_writes_stays() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let others = [
            ".pocket-abc",
            ".pocket-abcdef.txt",
            ".pocket-abc_ef",
            "notes",
        ];
        for name in others.iter().chain(&[".pocket-aBc123"]) {
            fs::write(at(name), "x").unwrap();
        }
        let mut held = NewFile::new(at("held")).unwrap();
        held.file.write_all(b"half").unwrap();
        let fresh = NewFile::new(at("fresh")).unwrap();
        let third = NewFile::new(at("third")).unwrap();
        assert!(!at(".pocket-aBc123").exists());
        for name in others {
            assert!(at(name).exists(), "{name}");
        }
        for file in [held, fresh, third] {
            file.keep().unwrap();
        }
        assert_eq!(fs::read(at("held")).unwrap(), b"half");
        assert!(at("fresh").exists() && at("third").exists());
    }
}
