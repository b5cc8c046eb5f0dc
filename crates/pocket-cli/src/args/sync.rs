//! Options of the commands that sync, and of the journal.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::failure::Failure;

/// Which server, and what to sync with it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// ws(s):// or http(s)://, which decides how to talk; `/sync` is added when there is no path
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Who this is
    #[arg(
        long,
        env = "POCKET_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
    /// Read the options of sync from a file, *.toml or *.json; what is given here goes before it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to open on the server [default: default]
    #[arg(long, value_name = "N")]
    pub(crate) namespace: Option<String>,
    /// Which way changes flow [default: both]
    #[arg(long, value_enum, value_name = "WAY")]
    pub(crate) direction: Option<Way>,
    /// Over HTTP: milliseconds between two looks at the server, 0 for none; 30000 unless set
    #[arg(long, value_name = "MS")]
    pub(crate) pull_interval: Option<u64>,
    /// Sync only this collection, and others named so, both ways
    #[arg(long, value_name = "C")]
    pub(crate) collection: Vec<String>,
    /// Record a collection that is not there yet as local before anything is sent
    #[arg(long, value_name = "C")]
    pub(crate) local_only: Vec<String>,
    /// Who wins a conflict, in collections that have no strategy of their own [default: last-write-wins]
    #[arg(long, value_enum, value_name = "STRATEGY")]
    pub(crate) strategy: Option<Strategy>,
}

/// Who wins a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// The later write
    LastWriteWins,
    /// The server's version
    ServerWins,
    /// The version of this device
    ClientWins,
    /// Both, field by field; the later write where both changed the same
    Merge,
}

/// Which way changes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Both ways
    Both,
    /// Only to the server
    Push,
    /// Only from the server
    Pull,
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// End when everything is sent and everything there was is here
    #[arg(long, conflicts_with = "watch")]
    pub(crate) once: bool,
    /// Stay, and print each change of the status; the default
    #[arg(long)]
    pub(crate) watch: bool,
    /// With `--once`: fail after so many seconds without getting on [default: 30]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
}

impl ServerArgs {
    /// Whether there is a server to talk to, or a file that may name one.
    pub(crate) fn names_server(&self) -> bool {
        self.server.is_some() || self.config.is_some()
    }

    /// The server's address, where there must be one.
    pub(crate) fn url(&self) -> Result<&str, Failure> {
        let url = self.server.as_deref().filter(|url| !url.is_empty());
        url.ok_or_else(|| {
            Failure::usage("--server URL is missing: the address of a `pocket serve`, like ws://127.0.0.1:7700/sync")
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The collection whose changes are printed
    #[arg(value_name = "COLLECTION")]
    pub(crate) watched: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConflictsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<ConflictsAction>,
}

/// What to do with the journal; `list` unless named.
#[derive(Debug, Subcommand)]
pub(crate) enum ConflictsAction {
    /// Print the entries, the oldest first, with all versions in full
    List(ConflictsListArgs),
    /// Explain an entry: what met what, who decided, by which rule
    Show {
        /// The number of the entry, as `list` prints it
        #[arg(value_name = "ID")]
        entry: u64,
    },
    /// Write the version that lost again, as a new edit
    Restore {
        /// The number of the entry, as `list` prints it
        #[arg(value_name = "ID")]
        entry: u64,
    },
    /// Mark entries as looked at; both versions stay in the journal
    Dismiss {
        /// The numbers of the entries, as `list` prints them
        #[arg(value_name = "ID", required = true)]
        entries: Vec<u64>,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct ConflictsListArgs {
    /// Only entries that were neither restored nor dismissed
    #[arg(long)]
    pub(crate) open: bool,
    /// Only entries with a document of this collection
    #[arg(long, value_name = "C")]
    pub(crate) collection: Option<String>,
}

/// Reads a bounded number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| time.as_secs() <= 1_000_000)
        .ok_or_else(|| "0 to 1000000 seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_bounded_number_of_seconds() {
        assert_eq!(seconds("0.5").unwrap().as_millis(), 500);
        for bad in ["", "x", "-1", "nan", "inf", "1e9"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
