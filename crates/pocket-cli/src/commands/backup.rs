//! `pocket backup`: a whole database in one file, while it is used or not.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use pocket_core::{Env, SystemEnv, Value};
use pocket_storage::blocking::sync_directory;
use tempfile::NamedTempFile;

use crate::archive::{self, About, Archive, Totals};
use crate::args::{BackupArgs, Global};
use crate::failure::{Failure, Result};
use crate::held::{Held, Peer};
use crate::open;
use crate::output::{Output, counted, object};

pub(super) async fn run(global: &Global, args: BackupArgs, out: &mut Output) -> Result {
    let directory = open::any_directory(global)?;
    let about = About {
        role: directory.role(),
        storage: directory.storage(),
        made: SystemEnv.now().to_string(),
    };
    if let Some(held) = &global.held {
        return pass_on(held, &about, out).await;
    }
    if args.file.as_os_str() == "-" {
        let storage = open::store(directory, global.json).await?;
        archive::write(&*storage, &about, io::stdout()).await?;
        return Ok(storage.close().await?);
    }
    let target = Target::new(args.file)?;
    let file = target
        .file
        .reopen()
        .map_err(|error| target.failed(&error))?;
    if let Some(peer) = Peer::of(directory.path())? {
        let words = ["pocket", "--db", ".", "backup", "-"].map(Into::into);
        let nothing = Box::new(|| Box::new(io::empty()) as Box<dyn Read + Send>);
        peer.command(words.to_vec(), nothing, Box::new(file))
            .await?;
    } else {
        let storage = open::store(directory, global.json).await?;
        archive::write(&*storage, &about, file).await?;
        storage.close().await?;
    }
    let name = target.name.display().to_string();
    let totals = target.keep()?;
    let summary = object([
        ("backup", Value::from(name.as_str())),
        ("role", Value::from(about.role.name())),
        ("entries", Value::from(totals.entries)),
        ("bytes", Value::from(totals.bytes)),
    ]);
    let text = format!(
        "{name}: {} of a {}, {} bytes",
        counted(totals.entries, "stored value"),
        about.role,
        totals.bytes
    );
    out.either(&summary, text)
}

/// Sends a backup of what this process holds to the one that asks.
async fn pass_on(held: &Held, about: &About, out: &mut Output) -> Result {
    let failed = |error: io::Error| Failure::io("cannot copy the database", &error);
    let mut copy = tempfile::tempfile().map_err(failed)?;
    // Nobody writes while it is copied; whoever reads the copy may take as long as he likes.
    let gate = held.content.gate();
    let shut = gate.shut().await;
    archive::write(&**gate, about, &copy).await?;
    drop(shut);
    copy.rewind().map_err(failed)?;
    let mut part = vec![0; 64 * 1024];
    loop {
        let read = copy.read(&mut part).map_err(failed)?;
        if read == 0 {
            return out.flush();
        }
        out.bytes(&part[..read])?;
        // A signal of the other process ends it here.
        tokio::task::yield_now().await;
    }
}

/// A file that appears under its name when it is whole.
struct Target {
    name: PathBuf,
    file: NamedTempFile,
}

impl Target {
    fn new(name: PathBuf) -> Result<Self> {
        if name.symlink_metadata().is_ok() {
            return Err(exists(&name));
        }
        let file = tempfile::Builder::new()
            .prefix(".pocket-backup-")
            .tempfile_in(parent(&name));
        let failed = |error| Failure::io(format!("cannot write {}", name.display()), &error);
        Ok(Self {
            file: file.map_err(failed)?,
            name,
        })
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::io(format!("cannot write {}", self.name.display()), error)
    }

    /// Reads the backup as `restore` would, and gives it its name.
    fn keep(self) -> Result<Totals> {
        let read: File = self.file.reopen().map_err(|error| self.failed(&error))?;
        let totals = Archive::check(read, &self.name.display().to_string())?.totals;
        let synced = self.file.as_file().sync_all();
        synced.map_err(|error| self.failed(&error))?;
        let name = self.name;
        let failed = |error: &io::Error| match error.kind() {
            ErrorKind::AlreadyExists => exists(&name),
            _ => Failure::io(format!("cannot write {}", name.display()), error),
        };
        let kept = self.file.persist_noclobber(&name);
        kept.map_err(|error| failed(&error.error))?;
        sync_directory(parent(&name)).map_err(|error| failed(&error))?;
        Ok(totals)
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
