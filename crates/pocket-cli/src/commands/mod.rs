//! The commands, one file each.

mod backup;
mod bench_load;
mod chosen;
mod clients;
pub(crate) mod collections;
mod compact;
mod completions;
mod conflicts;
mod count;
mod delete;
mod demo;
mod dump;
mod expire;
mod export;
mod find;
mod get;
mod import;
mod index;
mod insert;
mod leave;
mod load;
mod restore;
mod serve;
mod shell;
mod status;
mod sync;
mod update;
mod watch;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use pocket_core::codes as core_codes;
use tokio::time::Instant;

use crate::args::{
    self, Arguments, Command, ConflictsAction, Global, ImportArgs, IndexAction, IndexArgs, LoadArgs,
};
use crate::failure::{Failure, Result};
use crate::hang_up;
use crate::held::{self, Peer};
use crate::lines::Source;
use crate::open;
use crate::output::Output;
use crate::signals::Stop;

/// How long a database may be in use before that is told: whoever has it open may be about to listen for commands, or done
/// in a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is tried meanwhile.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// Runs a command until it is done, or until a signal ends it: here, or in the process that holds its database.
pub(crate) async fn run(arguments: Arguments, stop: Stop) -> Result {
    let deadline = Instant::now() + PATIENCE;
    let has_patience = is_begun_again(&arguments.command);
    let mut result = run_once(arguments, &stop).await;
    while has_patience
        && let Err(failure) = &result
        && failure.code() == core_codes::IN_USE
        && Instant::now() < deadline
    {
        tracing::debug!(target: "pocket::held", "the database is in use; trying again");
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.requested() => break,
        }
        let Some(arguments) = args::again() else {
            break;
        };
        result = run_once(arguments, &stop).await;
    }
    result
}

/// Whether a command that found its database in use has done nothing yet that cannot be done again.
fn is_begun_again(command: &Command) -> bool {
    let reads_stdin = read_file(command).is_some_and(|file| file.as_os_str() == "-");
    held::is_passed_on(command) && !reads_stdin
}

/// Whether a command runs until it is told to end, and has done its work then.
pub(crate) fn is_endless(command: &Command) -> bool {
    match command {
        Command::Serve(_) | Command::Watch(_) => true,
        Command::Sync(sync) => !sync.once,
        Command::Find(find) => find.live,
        Command::Demo(demo) => demo.web,
        _ => false,
    }
}

/// Whether a command changes nothing.
fn only_reads(command: &Command) -> bool {
    match command {
        Command::Get(_)
        | Command::Find(_)
        | Command::Count(_)
        | Command::Export(_)
        | Command::Dump(_)
        | Command::Backup(_)
        | Command::Status
        | Command::Watch(_) => true,
        Command::Conflicts(conflicts) => matches!(
            conflicts.action,
            None | Some(ConflictsAction::List(_) | ConflictsAction::Show { .. })
        ),
        _ => false,
    }
}

async fn run_once(arguments: Arguments, stop: &Stop) -> Result {
    if let Some((peer, file)) = holder(&arguments)? {
        let left = left_undone(&arguments.command);
        let endless = is_endless(&arguments.command);
        let only_reads = only_reads(&arguments.command);
        return tokio::select! {
            result = peer.run(file, only_reads) => result,
            () = hang_up::of_stdout(), if endless => Ok(()),
            () = stop.requested() => if endless { Ok(()) } else { Err(Failure::interrupted(left)) },
        };
    }
    run_here(arguments, stop.clone()).await
}

/// The process that holds the database of a command that can be passed on, and the file to read for it.
fn holder(arguments: &Arguments) -> Result<Option<(Peer, Option<File>)>> {
    let Arguments { global, command } = arguments;
    if !held::is_passed_on(command) {
        return Ok(None);
    }
    let directory = match command {
        Command::Backup(_) => open::any_directory(global)?,
        _ => open::client_directory(global)?,
    };
    if !directory.exists() {
        return Ok(None);
    }
    let Some(peer) = Peer::of(directory.path())? else {
        return Ok(None);
    };
    Ok(Some((peer, input_file(command)?)))
}

/// The file that a command reads, opened for whoever runs it.
pub(crate) fn input_file(command: &Command) -> Result<Option<File>> {
    match read_file(command) {
        Some(file) if file.as_os_str() != "-" => Ok(Some(Source::open(file)?.into_file()?)),
        _ => Ok(None),
    }
}

/// The name of the file that a command reads; `-` is stdin.
fn read_file(command: &Command) -> Option<&Path> {
    match command {
        Command::Import(ImportArgs { file, .. }) | Command::Load(LoadArgs { file, .. }) => {
            Some(file)
        }
        Command::Find(args) => args.chosen.file(),
        Command::Count(args) => args.chosen.file(),
        Command::Delete(args) => args.chosen.file(),
        _ => None,
    }
}

/// Runs a command in this process, for itself or for another one.
pub(crate) async fn run_here(arguments: Arguments, stop: Stop) -> Result {
    let Arguments { global, command } = arguments;
    let mut out = Output::new(global.json, global.ends());
    match command {
        // What these do when a signal comes is a part of their work.
        Command::Serve(args) => serve::run(&global, *args, &mut out, &stop).await,
        Command::Sync(args) if args.once => sync::once(&global, args, &mut out, &stop).await,
        Command::Sync(args) => sync::watch(&global, args, &mut out, &stop).await,
        Command::Watch(args) => watch::run(&global, args, &mut out, &stop).await,
        Command::Find(args) if args.live => find::live(&global, *args, &mut out, &stop).await,
        Command::Shell(args) => shell::run(&global, args, &stop).await,
        Command::Demo(args) if args.web => demo::web(&global, &args, &mut out, &stop).await,
        Command::Demo(args) => demo::run(&global, &args, &mut out, &stop).await,
        command => {
            let left = left_undone(&command);
            tokio::select! {
                result = finish(&global, command, &mut out) => result,
                () = stop.requested() => Err(Failure::interrupted(left)),
            }
        }
    }
}

/// Runs a command that has an end. Dropped half-way, it leaves what it has stored.
async fn finish(global: &Global, command: Command, out: &mut Output) -> Result {
    match command {
        Command::Insert(args) => insert::run(global, args, out).await?,
        Command::Get(args) => get::run(global, args, out).await?,
        Command::Update(args) => update::run(global, args, out).await?,
        Command::Delete(args) => delete::run(global, args, out).await?,
        Command::Find(args) => find::run(global, *args, out).await?,
        Command::Count(args) => count::run(global, args, out).await?,
        Command::Index(args) => index::run(global, args, out).await?,
        Command::Import(args) => import::run(global, args, out).await?,
        Command::Expire => expire::run(global, out).await?,
        Command::Export(args) => export::run(global, args, out).await?,
        Command::Dump(args) => dump::run(global, args, out).await?,
        Command::Load(args) => load::run(global, args, out).await?,
        Command::Collections(args) => collections::run(global, args, out).await?,
        Command::Status => status::run(global, out).await?,
        Command::Conflicts(args) => conflicts::run(global, args, out).await?,
        Command::Backup(args) => backup::run(global, args, out).await?,
        Command::Restore(args) => restore::run(global, args, out).await?,
        Command::Compact(args) => compact::run(global, args, out).await?,
        Command::Clients(args) => clients::run(global, args, out).await?,
        Command::BenchLoad(args) => bench_load::run(global, args, out).await?,
        Command::Completions(args) => completions::run(&args, out)?,
        Command::Man(args) => completions::man(&args, out)?,
        Command::Detach => leave::detach(global, out).await?,
        Command::Wipe(args) => leave::wipe(global, args, out).await?,
        Command::Demo(_)
        | Command::Serve(_)
        | Command::Shell(_)
        | Command::Sync(_)
        | Command::Watch(_) => {}
    }
    out.flush()
}

fn left_undone(command: &Command) -> &'static str {
    match command {
        Command::Import(_) => {
            "a signal came before everything was imported; the same command with --upsert finishes it"
        }
        Command::Load(_) => {
            "a signal came before everything was loaded; the same command with --existing replace finishes it"
        }
        Command::Delete(_) => {
            "a signal came; of documents that match, those deleted so far stay deleted, and the same command deletes the rest"
        }
        Command::Expire => {
            "a signal came; what was deleted stays deleted, and the same command deletes the rest"
        }
        Command::Insert(_) => "a signal came; documents whose ids were printed are stored",
        Command::Index(IndexArgs {
            action: IndexAction::Create(_),
        }) => {
            "a signal came before the index was built; what is built stays, and the same command goes on with it"
        }
        _ => "a signal came before the work was done",
    }
}
