//! `pocket restore`: a database from the file of a backup.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use pocket_core::{Value, codes as core_codes};
use pocket_storage::blocking::sync_directory;

use crate::archive::Archive;
use crate::args::{Global, RestoreArgs, StorageKind};
use crate::directory::{Directory, Role};
use crate::failure::{Failure, Result};
use crate::lines::Source;
use crate::open;
use crate::output::{Output, counted, object};

pub(super) async fn run(global: &Global, args: RestoreArgs, out: &mut Output) -> Result {
    if global.storage == Some(StorageKind::Memory) {
        return Err(Failure::usage(
            "--storage memory is only for `serve`: everything would be gone when this command ends",
        ));
    }
    let name = args.file.display().to_string();
    let checked = tokio::task::spawn_blocking(move || {
        Archive::check(Source::open(&args.file)?.into_file()?, &name)
    });
    let broke_off = |error| Failure::new(crate::codes::IO, format!("reading broke off: {error}"));
    let archive = checked.await.map_err(broke_off)??;
    let role = archive.about.role;
    let place = open::place(global, role);
    check_empty(&place)?;
    let parent = parent(&place);
    let failed = |error: &io::Error| Failure::io(format!("cannot make {}", place.display()), error);
    fs::create_dir_all(&parent).map_err(|error| failed(&error))?;
    // It gets its name when it is whole: half a database must not be taken for one.
    let unfinished = tempfile::Builder::new()
        .prefix(".pocket-restore-")
        .tempdir_in(&parent)
        .map_err(|error| failed(&error))?;
    let storage = global.storage.unwrap_or(archive.about.storage);
    let directory = Directory::at(unfinished.path(), role, Some(storage))?;
    let store = open::store(directory, global.json).await?;
    archive.restore(&*store).await?;
    store.close().await?;
    fs::rename(unfinished.path(), &place).map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => not_empty(&place),
        _ => failed(&error),
    })?;
    // Under its new name it is nobody's to remove.
    let _ = unfinished.keep();
    sync_directory(&parent).map_err(|error| failed(&error))?;
    let summary = object([
        ("restored", Value::from(place.display().to_string())),
        ("role", Value::from(role.name())),
        ("storage", Value::from(storage.name())),
        ("made", Value::from(archive.about.made.as_str())),
        ("entries", Value::from(archive.totals.entries)),
        ("bytes", Value::from(archive.totals.bytes)),
    ]);
    let text = format!(
        "{}: {} of a {role}, as it was at {}",
        place.display(),
        counted(archive.totals.entries, "stored value"),
        archive.about.made
    );
    out.either(&summary, text)?;
    match role {
        Role::Server => out.note(
            "`pocket serve` begins a new epoch on it: clients notice that it is older than they are",
        ),
        Role::Client => out.note(
            "if the device that was backed up still syncs, this is a copy of it, and the server treats it as one",
        ),
    }
    Ok(())
}

/// A database is restored where there is none.
fn check_empty(place: &Path) -> Result {
    let mut entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Failure::io(
                format!("cannot read {}", place.display()),
                &error,
            ));
        }
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(not_empty(place)),
    }
}

fn not_empty(place: &Path) -> Failure {
    Failure::new(
        core_codes::IN_USE,
        format!(
            "{} is not empty; move away what is there, or name another directory with --db",
            place.display()
        ),
    )
}

fn parent(place: &Path) -> PathBuf {
    match place.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
