//! Where the socket of a held database is.
//!
//! It lies in the directory, as `SOCKET`. A path of a Unix socket holds about 100 bytes; where the directory's is
//! longer, the socket lies in a directory of its own below `$XDG_RUNTIME_DIR` or the temporary directory, that only
//! its owner may enter, and `SOCKET` is a link to it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::{UnixListener, unix::UCred};

/// The socket's name in the directory of the database.
const NAME: &str = "SOCKET";

/// A socket that takes connections. Its file is removed at the end.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    name: PathBuf,
    owner: u32,
    elsewhere: Option<TempDir>,
}

impl Socket {
    /// Listens in this directory, whose lock this process holds: a socket that lies there is nobody's.
    pub(super) fn bind(directory: &Path) -> io::Result<Self> {
        let name = directory.join(NAME);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (listener, place, elsewhere) = match UnixListener::bind(&name) {
            Ok(listener) => (listener, name.clone(), None),
            // The only thing that is wrong with a path before anything is asked of the system: its length.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let own = private_directory()?;
                let place = own.path().join(NAME);
                let listener = UnixListener::bind(&place)?;
                symlink(&place, &name)?;
                (listener, place, Some(own))
            }
            Err(error) => return Err(error),
        };
        let socket = Self {
            listener,
            name,
            owner: fs::symlink_metadata(&place)?.uid(),
            elsewhere,
        };
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    }

    /// Whether who connects is the owner of the socket, or may do everything anyway.
    ///
    /// The file's mode says the same, but not in the moment between its making and the setting of the mode, and not
    /// on every system.
    pub(super) fn admits(&self, peer: io::Result<UCred>) -> bool {
        peer.is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What stays behind is removed by the next holder.
        let _ = fs::remove_file(&self.name);
        if let Some(own) = self.elsewhere.take() {
            let _ = own.close();
        }
    }
}

/// A new directory with a short name that only its owner may enter.
fn private_directory() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("pocket-")
        .permissions(fs::Permissions::from_mode(0o700));
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|place| !place.is_empty()) {
        Some(place) => builder.tempdir_in(place).or_else(|_| builder.tempdir()),
        None => builder.tempdir(),
    }
}

/// Connects to the holder of this directory, if there is one that listens.
pub(super) fn connect(directory: &Path) -> Option<UnixStream> {
    let name = directory.join(NAME);
    let place = fs::read_link(&name).unwrap_or(name);
    // Missing, left behind by a process that was killed, or not allowed: then the lock has the last word.
    UnixStream::connect(place).ok()
}
