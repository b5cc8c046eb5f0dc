//! The directory of a database: `pocket.json`, the store, and `LOCK`.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pocket_core::{Value, codes as core_codes};
use pocket_storage::blocking::sync_directory;

use crate::args::StorageKind;
use crate::codes;
use crate::failure::{Failure, Result};
use crate::output::{json, object};

/// The version of the directory's layout.
const FORMAT: u64 = 1;

/// What says what a directory is.
const DESCRIPTION: &str = "pocket.json";

/// What it is called while the store is being made.
const UNFINISHED: &str = "pocket.json.new";

/// What the stores of the backends are called.
const STORES: [&str; 2] = ["store.redb", "store.sled"];

/// Whose database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A device's documents, outbox and journal.
    Client,
    /// A server's logs.
    Server,
}

impl Role {
    /// Its name in `pocket.json`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Client, Self::Server]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A directory whose description was read or is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    role: Role,
    storage: StorageKind,
    described: bool,
}

impl Directory {
    /// Looks at `path` and checks that it is, or may become, a database of this role and backend.
    pub(crate) fn at(path: &Path, role: Role, storage: Option<StorageKind>) -> Result<Self> {
        let description = path.join(DESCRIPTION);
        let text = match fs::read_to_string(&description) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(String::new()),
            Err(error) => {
                return Err(Failure::io(
                    format!("cannot read {}", description.display()),
                    &error,
                ));
            }
        };
        let Some(text) = text else {
            if has_lost_description(path) {
                if description.exists() {
                    // It was made meanwhile.
                    return Self::at(path, role, storage);
                }
                return Err(Failure::new(
                    core_codes::CORRUPT,
                    format!(
                        "{} is missing, and a store lies beside it: whose it is, nobody can tell; restore that file \
                         or the whole directory from a backup, or name another directory with --db",
                        description.display()
                    ),
                ));
            }
            return Ok(Self {
                path: path.to_owned(),
                role,
                storage: storage.unwrap_or(StorageKind::Redb),
                described: false,
            });
        };
        let recorded = read_description(&text, &description)?;
        if recorded.0 != role {
            return Err(other_role(path, role, recorded.0));
        }
        if let Some(storage) = storage.filter(|storage| *storage != recorded.1) {
            return Err(Failure::new(
                codes::OTHER_DIRECTORY,
                format!(
                    "{} is stored with {}, not {}; leave --storage out, or name another directory with --db",
                    path.display(),
                    recorded.1.name(),
                    storage.name()
                ),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            role,
            storage: recorded.1,
            described: true,
        })
    }

    /// Looks at `path`, whosever it is; none where there is no database.
    pub(crate) fn of_any(path: &Path, storage: Option<StorageKind>) -> Result<Option<Self>> {
        for role in [Role::Client, Role::Server] {
            match Self::at(path, role, storage) {
                Ok(directory) => return Ok(directory.described.then_some(directory)),
                Err(failure)
                    if role == Role::Client && failure.code() == codes::OTHER_DIRECTORY => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    /// The directory of a database that this process holds already, by the name that a command gave it.
    pub(crate) fn held(path: &Path, role: Role, storage: StorageKind) -> Self {
        Self {
            path: path.to_owned(),
            role,
            storage,
            described: true,
        }
    }

    /// Why this cannot be what the command needs: it belongs to this role.
    pub(crate) fn other_role(&self, role: Role) -> Failure {
        other_role(&self.path, self.role, role)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn storage(&self) -> StorageKind {
        self.storage
    }

    /// Whether there is a database.
    pub(crate) fn exists(&self) -> bool {
        self.described
    }

    /// Where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join(match self.storage {
            StorageKind::Sled => "store.sled",
            StorageKind::Redb | StorageKind::Memory => "store.redb",
        })
    }

    /// The lock of the whole directory.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.path.join("LOCK")
    }

    /// Makes the directory, if it is missing, and refuses one that has lost its store.
    pub(crate) fn prepare(&self) -> Result {
        if self.described {
            if self.store().exists() {
                return Ok(());
            }
            return Err(Failure::new(
                core_codes::CORRUPT,
                format!(
                    "{} is missing, and {DESCRIPTION} says there is a database; restore it, or name another \
                     directory with --db",
                    self.store().display()
                ),
            ));
        }
        let failed = |error| unwritable(&self.path, &error);
        fs::create_dir_all(&self.path).map_err(failed)?;
        self.write(&self.path.join(UNFINISHED)).map_err(failed)
    }

    /// Refuses a directory that cannot be written, before anything else stumbles over it.
    pub(crate) fn check_writable(&self) -> Result {
        let opened = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.lock_file());
        match opened {
            Err(error) if is_unwritable(&error) => Err(unwritable(&self.path, &error)),
            // Whatever else there is, the store finds it and says so.
            _ => Ok(()),
        }
    }

    /// Writes the description; called with the lock held, once the store is there.
    ///
    /// It gets its name last: a description without its store is damage, and so is a store without one, unless an
    /// unfinished description says that its creation was cut short and goes on at the next try.
    pub(crate) fn describe(&mut self) -> Result {
        if self.described {
            return Ok(());
        }
        let description = self.path.join(DESCRIPTION);
        let unfinished = self.path.join(UNFINISHED);
        self.write(&unfinished)
            .and_then(|()| fs::rename(&unfinished, &description))
            .and_then(|()| sync_directory(&self.path))
            .map_err(|error| {
                Failure::io(format!("cannot write {}", description.display()), &error)
            })?;
        self.described = true;
        Ok(())
    }

    fn write(&self, unfinished: &Path) -> io::Result<()> {
        let text = json(&object([
            ("format", Value::from(FORMAT)),
            ("role", Value::from(self.role.name())),
            ("storage", Value::from(self.storage.name())),
        ]));
        let mut file = fs::File::create(unfinished)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        sync_directory(&self.path)
    }
}

/// Whether there is a store that was described once: one that is being made has an unfinished description.
fn has_lost_description(path: &Path) -> bool {
    let has_store = STORES.iter().any(|store| path.join(store).exists());
    has_store && !path.join(UNFINISHED).exists()
}

fn is_unwritable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

/// What is said where a directory cannot be made or written.
fn unwritable(path: &Path, error: &io::Error) -> Failure {
    if !is_unwritable(error) {
        return Failure::io(format!("cannot make {}", path.display()), error);
    }
    let what = format!(
        "{} cannot be written, and a database must be, also to read from it: it is locked and repaired there; copy the \
         directory to where it can be written, or name another one with --db",
        path.display()
    );
    Failure::io(what, error)
}

fn other_role(path: &Path, needed: Role, found: Role) -> Failure {
    Failure::new(
        codes::OTHER_DIRECTORY,
        format!(
            "{} belongs to a {found}, and this command needs a {needed}'s; name another directory with --db",
            path.display()
        ),
    )
}

fn read_description(text: &str, path: &Path) -> Result<(Role, StorageKind)> {
    let corrupt = |what: &str| {
        Failure::new(
            core_codes::CORRUPT,
            format!(
                "{} {what}; restore it, or name another directory with --db",
                path.display()
            ),
        )
    };
    let value = Value::from_json_str(text).map_err(|_| corrupt("is damaged or foreign"))?;
    let field = |name: &str| value.as_map().and_then(|map| map.get(name));
    match field("format").and_then(Value::as_integer) {
        Some(format) if format.as_u64() == Some(FORMAT) => {}
        Some(format) if format.as_u64().is_some_and(|format| format > FORMAT) => {
            return Err(Failure::new(
                core_codes::NEWER_FORMAT,
                format!(
                    "{} has format {format}, this program knows {FORMAT}; use a newer program",
                    path.display()
                ),
            ));
        }
        _ => return Err(corrupt("is damaged or foreign")),
    }
    let role = field("role").and_then(Value::as_str).and_then(Role::named);
    let storage = field("storage").and_then(Value::as_str);
    let storage = storage.and_then(StorageKind::named);
    Ok((
        role.ok_or_else(|| corrupt("names no role that this program knows"))?,
        storage.ok_or_else(|| corrupt("names no backend that this program knows"))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let failure = read_description(text, Path::new("pocket.json")).expect_err(text);
        failure.code().to_owned()
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_from_other_failures() {
        let told = |kind: io::ErrorKind| {
            unwritable(Path::new("x"), &kind.into())
                .message()
                .to_owned()
        };
        assert!(told(io::ErrorKind::ReadOnlyFilesystem).contains("a database must be"));
        assert!(told(io::ErrorKind::PermissionDenied).contains("a database must be"));
        assert!(told(io::ErrorKind::StorageFull).contains("cannot make x"));
    }

    #[test]
    fn a_description_is_read_as_written_and_unknown_fields_are_left_alone() {
        let text = r#"{"format":1,"role":"server","storage":"sled","later":[1]}"#;
        let read = read_description(text, Path::new("x")).unwrap();
        assert_eq!(read, (Role::Server, StorageKind::Sled));
    }

    #[test]
    fn what_is_no_description_is_corrupt_and_a_later_one_is_newer() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"format":"1"}"#,
            r#"{"format":1,"role":"king","storage":"redb"}"#,
            r#"{"format":1,"role":"client","storage":"memory"}"#,
        ] {
            assert_eq!(code(text), "corrupt", "{text}");
        }
        assert_eq!(code(r#"{"format":2,"role":"client"}"#), "newer-format");
    }
}
