//! A database that is held: by a `sync --watch`, a `watch` or a `serve` that runs.
//!
//! One process at a time has a database open. One that stays listens on a socket in the directory, for its owner
//! only; another `pocket` on the same directory passes its command line on, and its input, and prints what comes
//! back. The holder runs the very code that would have run there, on the database it has open, so output, exit
//! status and error codes are the same, and whoever syncs or watches hears of each write.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pocket_core::Database;

use crate::args::{Command, StorageKind};
use crate::directory::Role;
use crate::gate::Gate;
use crate::output::Ends;

#[cfg(unix)]
mod frame;
#[cfg(unix)]
mod holder;
#[cfg(unix)]
mod peer;
#[cfg(unix)]
mod socket;

#[cfg(unix)]
pub(crate) use holder::Holding;
#[cfg(unix)]
pub(crate) use peer::Peer;

/// What is held.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A device's database.
    Client(Database, Arc<Gate>),
    /// A server's store.
    Server(Arc<Gate>),
}

impl Content {
    /// Whose it is.
    pub(crate) fn role(&self) -> Role {
        match self {
            Self::Client(..) => Role::Client,
            Self::Server(_) => Role::Server,
        }
    }

    /// The store below.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        match self {
            Self::Client(_, gate) | Self::Server(gate) => gate,
        }
    }
}

/// What a command works with that was passed on to this process.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) content: Content,
    pub(crate) storage: StorageKind,
    pub(crate) ends: Ends,
    /// The directory of the database.
    pub(crate) home: Arc<Path>,
    input: Arc<Mutex<Option<Box<dyn Read + Send>>>>,
}

impl Held {
    pub(crate) fn new(
        content: Content,
        storage: StorageKind,
        ends: Ends,
        home: Arc<Path>,
        input: Box<dyn Read + Send>,
    ) -> Self {
        Self {
            content,
            storage,
            ends,
            home,
            input: Arc::new(Mutex::new(Some(input))),
        }
    }

    /// What the peer reads; empty when it was taken before.
    pub(crate) fn input(&self) -> Box<dyn Read + Send> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.take().unwrap_or_else(|| Box::new(io::empty()))
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("content", &self.content)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// Whether a command is passed on to the process that holds the database, if there is one.
///
/// Those that start an engine of their own, open another directory or change what the holder relies on are not;
/// they are told who holds it.
pub(crate) fn is_passed_on(command: &Command) -> bool {
    match command {
        Command::Insert(_)
        | Command::Get(_)
        | Command::Update(_)
        | Command::Delete(_)
        | Command::Find(_)
        | Command::Count(_)
        | Command::Index(_)
        | Command::Import(_)
        | Command::Expire
        | Command::Export(_)
        | Command::Load(_)
        | Command::Status
        | Command::Collections(_)
        | Command::Conflicts(_) => true,
        // To a file it writes by itself what it is sent.
        Command::Backup(backup) => backup.file.as_os_str() == "-",
        Command::Dump(dump) => dump.file.as_os_str() == "-",
        Command::Watch(watch) => !watch.server.names_server(),
        Command::Serve(_)
        | Command::Shell(_)
        | Command::Sync(_)
        | Command::Restore(_)
        | Command::Compact(_)
        | Command::Clients(_)
        | Command::BenchLoad(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Detach
        | Command::Wipe(_)
        | Command::Demo(_) => false,
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::path::Path;

    use super::Content;
    use crate::args::StorageKind;
    use crate::failure::Result;
    use crate::output::Output;
    use crate::signals::Stop;

    /// Without Unix sockets a held database is in use, and that is all.
    #[derive(Debug)]
    pub(crate) struct Holding;

    impl Holding {
        pub(crate) fn begin(_: &Path, _: StorageKind, _: Content, _: &Output) -> Self {
            Self
        }

        pub(crate) async fn end(self) {}
    }

    /// The way to a holder, of which there is none.
    #[derive(Debug)]
    pub(crate) enum Peer {}

    impl Peer {
        pub(crate) fn of(_: &Path) -> Result<Option<Self>> {
            Ok(None)
        }

        pub(crate) async fn run(self, _: Option<&Path>, _: &Stop) -> Option<Result> {
            match self {}
        }
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::{Holding, Peer};
