//! A file that appears under its name when it is whole.

use std::fs::File;
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
        let file = tempfile::Builder::new()
            .prefix(".pocket-")
            .tempfile_in(parent(&name));
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
