//! The command line.

mod documents;
mod operate;
mod query;
mod serve;
mod sync;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::held::Held;
use crate::output::Ends;
use crate::retention::CompactArgs;
use crate::settings;

pub(crate) use self::documents::{
    CollectionsAction, CollectionsArgs, CollectionsSetArgs, CountArgs, DeleteArgs, DumpArgs,
    ExportArgs, GetArgs, ImportArgs, InsertArgs, LoadArgs, UpdateArgs,
};
pub(crate) use self::operate::{
    BackupArgs, BenchLoadArgs, ClientsArgs, CompletionsArgs, DemoArgs, ManArgs, RestoreArgs,
    SiteArgs, WipeArgs, YesNo,
};
pub(crate) use self::query::{
    Chosen, FindArgs, IndexAction, IndexArgs, IndexCreateArgs, IndexDropArgs, IndexListArgs,
    ShellArgs,
};
pub(crate) use self::serve::{LogFormat, ServeArgs};
pub(crate) use self::sync::seconds;
pub(crate) use self::sync::{
    ConflictsAction, ConflictsArgs, ConflictsListArgs, ServerArgs, Strategy, SyncArgs, WatchArgs,
    Way,
};

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
    Serve(Box<ServeArgs>),
    /// Insert documents; prints their ids
    Insert(InsertArgs),
    /// Print a document
    Get(GetArgs),
    /// Set fields of a document; prints what it is then
    Update(UpdateArgs),
    /// Delete documents: by id all or none, or those that match
    ///
    /// With --filter or --where all documents that pass are deleted, in transactions of at most 500 each. One that is
    /// changed meanwhile so that it passes no more stays.
    Delete(DeleteArgs),
    /// Print the documents that match, how they are found, or how they change
    Find(Box<FindArgs>),
    /// Make, list and drop indexes
    Index(IndexArgs),
    /// Print how many documents there are, or how many match
    Count(CountArgs),
    /// Read documents from a file of JSON lines, plain or gzip
    Import(ImportArgs),
    /// Print all documents as JSON lines, by id
    Export(ExportArgs),
    /// Delete for good what is over by the time to live of its collection
    ///
    /// Readers have not seen it since. Of a collection that syncs, `sync` deletes what a server has heard of.
    Expire,
    /// Write all collections with their documents and settings as lines of JSON, which any later version reads
    ///
    /// The documents as people and programs see them, not the whole store: without pending changes, journal and deletions, so
    /// it does not replace a `backup`. A running `sync --watch` or `watch` makes it of one moment, while writes go on; on
    /// sled they wait. The file appears under its name when it was written and checked.
    Dump(DumpArgs),
    /// Read what `dump` wrote, plain or gzip, into a database that is empty or not
    ///
    /// The file is checked to its end before anything is stored. Documents of collections that sync are sent as changes of
    /// this device.
    Load(LoadArgs),
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
    /// Run commands on the device's database line by line, from a prompt or a script
    Shell(ShellArgs),
    /// Two devices, one server, a conflict and a killed server: watch nothing get lost
    ///
    /// With --web, a to-do application to try in browsers, beside a sync server: it is built from the checkout this runs in,
    /// which needs npm and the Rust target wasm32-unknown-unknown, and served until a signal comes.
    Demo(DemoArgs),
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
        return match error.print().and_then(|()| io::stdout().flush()) {
            // Nobody may be reading on; then there is nothing more to do.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                let as_json = words.iter().any(|word| word == "--json");
                let failure = Failure::io("cannot write to stdout", &error);
                failure.tell(&Ends::Process, as_json);
                Err(failure.status())
            }
            _ => Err(0),
        };
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

/// The same command line once more; it was read before.
pub(crate) fn again() -> Option<Arguments> {
    let words: Vec<OsString> = std::env::args_os().collect();
    try_read(&words).ok()?.ok()
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
        serve.in_force = settings::in_force(&built, &matches, &from_file);
    }
    Ok(Ok(arguments))
}

/// Reads a command line that another process has read before and passed on.
pub(crate) fn parse(words: &[OsString]) -> Result<Arguments, Failure> {
    Arguments::try_parse_from(words).map_err(|error| usage(&error))
}

/// Reads a line of the shell; the error is a text that was asked for, or a failure.
pub(crate) fn parse_line(words: &[String]) -> Result<Arguments, Result<String, Failure>> {
    Arguments::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(error.render().to_string()),
        _ => Err(usage(&error)),
    })
}

fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    Failure::usage(with_short_words(text))
}

/// Letters of a word that a message repeats.
const WORD: usize = 120;

/// The text with what is longer than any word cut, such as a document where none is awaited.
fn with_short_words(text: &str) -> String {
    let cut = |word: &str| match word.char_indices().nth(WORD) {
        Some((end, _)) => format!("{}…", &word[..end]),
        None => word.to_owned(),
    };
    let words: Vec<String> = text.split(' ').map(cut).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_repeats_no_more_than_the_beginning_of_a_long_word() {
        let long = "ü".repeat(2_000);
        let told = with_short_words(&format!("unexpected '{long}' found\n\nUsage: pocket"));
        assert!(told.len() < 300, "{told}");
        assert!(told.starts_with("unexpected 'üü"), "{told}");
        assert_eq!(with_short_words("a b\nc"), "a b\nc");
    }

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        command().debug_assert();
    }

    /// What a line of words that begins so goes on with.
    fn line<'a>(file: &'a str, beginning: &str) -> &'a str {
        let line = file.lines().find_map(|line| line.strip_prefix(beginning));
        line.unwrap_or_else(|| panic!("no line {beginning}"))
    }

    #[test]
    fn the_files_in_deploy_use_what_is_there() {
        let unit = include_str!("../../../../deploy/pocket.service");
        let words = line(unit, "ExecStart=/usr/local/bin/").split_whitespace();
        command().try_get_matches_from(words).unwrap();
        let image = include_str!("../../../../deploy/Dockerfile");
        let words = line(image, "CMD [").trim_end_matches(']').split(", ");
        let words = words.map(|word| word.trim_matches('"'));
        command()
            .try_get_matches_from(["pocket"].into_iter().chain(words))
            .unwrap();
        let mut all = command();
        all.build();
        let serve = all.find_subcommand("serve").unwrap();
        let known: Vec<&str> = serve
            .get_arguments()
            .filter_map(|argument| argument.get_env()?.to_str())
            .collect();
        let mut named = 0;
        for file in [unit, image] {
            let words = file.split(|c: char| !c.is_ascii_uppercase() && c != '_');
            for variable in words.filter(|word| word.starts_with("POCKET_")) {
                assert!(known.contains(&variable), "{variable}");
                named += 1;
            }
        }
        assert!(named >= 4, "{named}");
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
}
