//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::held::Held;
use crate::output::Ends;
use crate::retention::{CompactArgs, RetentionArgs};
use crate::rights::RightsArgs;
use crate::settings;

/// Pocket, the local-first document database: its reference client and server in one program.
#[derive(Debug, Parser)]
#[command(name = "pocket", version, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes, before or after its name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(crate) struct Global {
    /// The directory of the database [default: ./pocket-data, of `serve`: ./pocket-server]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) db: Option<PathBuf>,
    /// The backend of a new database; one that exists remembers its own [default: redb]
    #[arg(long, global = true, value_enum, value_name = "BACKEND")]
    pub(crate) storage: Option<StorageKind>,
    /// Print one JSON object a line, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Let a token travel over ws:// to a host that is not this machine
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// Say more on stderr; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// What the command works on when another process has passed it on to this one.
    #[arg(skip)]
    pub(crate) held: Option<Held>,
}

impl Global {
    /// Where the command's stdout and stderr are.
    pub(crate) fn ends(&self) -> Ends {
        self.held
            .as_ref()
            .map_or_else(Ends::default, |held| held.ends.clone())
    }
}

/// A storage backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageKind {
    /// One redb file; the default
    Redb,
    /// A sled directory
    Sled,
    /// Memory that ends with the process; only for `serve`
    Memory,
}

impl StorageKind {
    /// Its name, as on the command line and in `pocket.json`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Sled => "sled",
            Self::Memory => "memory",
        }
    }

    /// The backend that keeps something of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Redb, Self::Sled]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a sync server on the database
    Serve(ServeArgs),
    /// Insert documents; prints their ids
    Insert(InsertArgs),
    /// Print a document
    Get(GetArgs),
    /// Set fields of a document; prints what it is then
    Update(UpdateArgs),
    /// Delete documents, all or none
    Delete(DeleteArgs),
    /// Print the documents that match
    Find(FindArgs),
    /// Print how many documents there are
    Count(CountArgs),
    /// Read documents from a file of JSON lines, plain or gzip
    Import(ImportArgs),
    /// Print all documents as JSON lines, by id
    Export(ExportArgs),
    /// Bring the database in step with a server
    Sync(SyncArgs),
    /// Print each change of a collection, local or remote, while it syncs
    ///
    /// Without --server it shows what other commands do on this device, and what a `sync --watch` receives that runs
    /// on the same database.
    Watch(WatchArgs),
    /// Print what is pending, how far sync is, and what there is
    Status,
    /// Print the collections, whether they sync and what of them waits, or switch their sync on or off
    Collections(CollectionsArgs),
    /// Print the journal of conflicts and refusals, explain an entry, or act on it
    Conflicts(ConflictsArgs),
    /// Write a whole database, of a device or a server, into one file
    ///
    /// It needs nothing to be stopped: when a `serve`, `sync --watch` or `watch` runs on the directory, that process makes
    /// the backup, of one moment, while writes go on; on sled they wait while it copies. Otherwise this command opens the
    /// directory itself. The file appears under its name when it was written and checked. It holds everything, documents and
    /// tokens of sync sessions alike: keep it as safe as the database.
    Backup(BackupArgs),
    /// Make a database from the file of a backup
    ///
    /// Nothing may be in the directory: stop the server or the sync, move the old directory away, restore, start again. A
    /// restored server begins a new epoch when it starts, by which clients notice that it is older than they are.
    Restore(RestoreArgs),
    /// Give room that a database does not use any more back to the disk
    ///
    /// It needs a stopped database: end the `serve`, `sync --watch` or `watch` on the directory first. For a while it takes
    /// as much room again as is used. With --keep-deletions or --keep-clients the store of a server forgets before what is
    /// older, as `serve` does by itself while it runs.
    Compact(CompactArgs),
    /// Print who is connected to a server
    Clients(ClientsArgs),
    /// Let many light clients write and read at once, to try a server; prints rates and latencies
    ///
    /// The documents go into a collection of their own, and are deleted at the end. Use a namespace made for trying.
    BenchLoad(BenchLoadArgs),
    /// Print a script by which a shell completes commands and options
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(ManArgs),
    /// Leave the server the database belongs to, and keep everything
    ///
    /// The next server gets all of it: pending changes, and every other document of a synced collection as a new one.
    /// The database must not be in use.
    Detach,
    /// Leave the server the database belongs to, and remove what came from it
    ///
    /// Removes the documents of all synced collections, also those that were never sent, and the journal. Local-only
    /// collections stay. The database must not be in use.
    Wipe(WipeArgs),
    /// Two devices, one server, a conflict and a killed server: watch nothing get lost
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    pub(crate) listen: String,
    /// Let in who has this token; without a user, as one named after a hash of it
    #[arg(long, value_name = "TOKEN[=USER[:NAMESPACE,…]]")]
    pub(crate) token: Vec<String>,
    /// A file with a line `TOKEN USER [NAMESPACE,…]` each
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) rights: RightsArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    /// The certificate for wss:// and https://: a PEM file, with those between it and a known authority. Read again when it
    /// changes, or at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The key of the certificate: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Show the page at / and the figures at /metrics to who has this token; without one, only from this machine
    #[arg(long, value_name = "TOKEN")]
    pub(crate) admin_token: Option<String>,
    /// Have no page at /
    #[arg(long)]
    pub(crate) no_admin: bool,
    /// How lines on stderr look
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Read settings from this file (TOML): a key for each option, with its name
    ///
    /// What stands on the command line comes first, then the environment (POCKET_ and the option's name in capitals), then the
    /// file. Paths in it begin where it lies.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the settings in force, and where each comes from, instead of serving
    #[arg(long)]
    pub(crate) print_config: bool,
    /// What `--print-config` prints.
    #[arg(skip)]
    pub(crate) printed: String,
    /// End when stdin ends, for a program that starts a server and must not leave it behind
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WipeArgs {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// An object a line
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ClientsArgs {
    /// The server: ws(s):// or http(s)://
    #[arg(long, value_name = "URL")]
    pub(crate) server: String,
    /// The server's admin token; a server on this machine needs none
    #[arg(
        long,
        env = "POCKET_ADMIN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) admin_token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchLoadArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Clients at once
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) clients: u64,
    /// Documents that each inserts, one after the other
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) documents: u64,
    /// Bytes of a document, about
    #[arg(long, value_name = "BYTES", default_value = "200", value_parser = clap::value_parser!(u32).range(0..=500_000))]
    pub(crate) size: u32,
    /// Fail when not everything has arrived everywhere after so many seconds
    #[arg(long, value_name = "S", default_value = "120", value_parser = seconds)]
    pub(crate) timeout: std::time::Duration,
}

#[derive(Debug, Args)]
pub(crate) struct InsertArgs {
    pub(crate) collection: String,
    /// Documents; without any, JSON lines are read from stdin
    #[arg(value_name = "JSON")]
    pub(crate) documents: Vec<String>,
    #[command(flatten)]
    pub(crate) place: LocalOnly,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LocalOnly {
    /// If this makes the collection: keep it on this device
    #[arg(long)]
    pub(crate) local_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    pub(crate) collection: String,
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    pub(crate) collection: String,
    pub(crate) id: String,
    /// An object; its fields are set, all others stay
    #[arg(value_name = "JSON")]
    pub(crate) patch: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    pub(crate) collection: String,
    #[arg(required = true)]
    pub(crate) id: Vec<String>,
    /// Erase the documents everywhere, whatever others wrote meanwhile
    #[arg(long)]
    pub(crate) hard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    pub(crate) collection: String,
    /// Only documents whose field equals this value; several must all hold
    #[arg(long = "where", value_name = "FIELD=JSON")]
    pub(crate) conditions: Vec<String>,
    /// Sort by this field; further ones break ties
    #[arg(long, value_name = "FIELD[:asc|:desc]")]
    pub(crate) sort: Vec<String>,
    /// Print at most so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct CountArgs {
    pub(crate) collection: String,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    pub(crate) collection: String,
    /// The file; `-` is stdin
    pub(crate) file: PathBuf,
    /// Leave out lines that cannot be imported; the exit status is 1 if there were any
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Replace documents that exist instead of refusing them
    #[arg(long)]
    pub(crate) upsert: bool,
    /// Leave out `_rev`, `_updatedAt` and `_deleted`, as `export --meta` prints them
    #[arg(long)]
    pub(crate) meta: bool,
    #[command(flatten)]
    pub(crate) place: LocalOnly,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    pub(crate) collection: String,
    /// Print `_rev`, `_updatedAt` and `_deleted` too
    #[arg(long)]
    pub(crate) meta: bool,
}

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
    /// With `--once`: fail after so many seconds without getting on
    #[arg(long, value_name = "S", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: std::time::Duration,
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

fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    std::time::Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| time.as_secs() <= 1_000_000)
        .ok_or_else(|| "0 to 1000000 seconds".to_owned())
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
pub(crate) struct CollectionsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<CollectionsAction>,
}

/// What to do with the collections; `list` unless named.
#[derive(Debug, Subcommand)]
pub(crate) enum CollectionsAction {
    /// Print each collection, with its documents and the changes of it that the server has not settled
    List,
    /// Say whether a collection syncs; one that is not there yet is made
    Set(CollectionsSetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CollectionsSetArgs {
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) way: CollectionWay,
}

#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CollectionWay {
    /// It syncs from now on; what is there is sent
    #[arg(long)]
    pub(crate) sync: bool,
    /// It stays on this device from now on; changes not sent yet never are
    #[arg(long)]
    pub(crate) local_only: bool,
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

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to make; it must not be there yet. `-` is stdout
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The file of the backup; `-` is stdin
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory instead
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Use this new directory and keep it, to look inside afterwards
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// Reads the command line. Help and versions are printed here; the answer is then the exit status.
pub(crate) fn read() -> Result<Arguments, u8> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let error = match try_read(&words) {
        Ok(Ok(arguments)) => return Ok(arguments),
        Ok(Err(failure)) => {
            failure.tell(&Ends::Process, words.iter().any(|word| word == "--json"));
            return Err(failure.status());
        }
        Err(error) => error,
    };
    let asked = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if asked {
        // Nobody may be reading on; then there is nothing more to do.
        let _ = error.print();
        return Err(0);
    }
    let as_json = words.iter().any(|word| word == "--json");
    let failure = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        if !as_json {
            // As above.
            let _ = error.print();
        }
        Failure::usage("a command is missing; `pocket --help` lists them")
    } else {
        usage(&error)
    };
    failure.tell(&Ends::Process, as_json);
    Err(failure.status())
}

/// The command line as it is defined, with a variable for each option of `serve`.
pub(crate) fn command() -> clap::Command {
    settings::with_variables(Arguments::command())
}

/// Reads the command line and, of `serve`, the file it names.
fn try_read(words: &[OsString]) -> Result<Result<Arguments, Failure>, clap::Error> {
    let mut matches = command().try_get_matches_from(words)?;
    let mut built = command();
    built.build();
    let from_file = match settings::words(&built, &matches) {
        Ok(from_file) => from_file,
        Err(failure) => return Ok(Err(failure)),
    };
    if !from_file.is_empty() {
        let all = words.iter().chain(&from_file);
        matches = command().try_get_matches_from(all)?;
    }
    let mut arguments = Arguments::from_arg_matches(&matches)?;
    if let Command::Serve(serve) = &mut arguments.command {
        serve.printed = settings::printed(&built, &matches, &from_file);
    }
    Ok(Ok(arguments))
}

/// Reads a command line that another process has read before and passed on.
pub(crate) fn parse(words: &[OsString]) -> Result<Arguments, Failure> {
    Arguments::try_parse_from(words).map_err(|error| usage(&error))
}

fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_command() {
        for words in [
            ["pocket", "--json", "--db", "x", "count", "c"],
            ["pocket", "count", "c", "--json", "--db", "x"],
        ] {
            let arguments = Arguments::try_parse_from(words).unwrap();
            assert!(arguments.global.json);
            assert_eq!(arguments.global.db, Some(PathBuf::from("x")));
        }
    }

    #[test]
    fn a_timeout_is_a_bounded_number_of_seconds() {
        assert_eq!(seconds("0.5").unwrap().as_millis(), 500);
        for bad in ["", "x", "-1", "nan", "inf", "1e9"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
