#![doc = include_str!("../README.md")]

mod list;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use list::{List, Todo};
use pocket_core::LiveResult;
use pocket_storage_redb::RedbStorage;
use pocket_sync_client::{SyncConfig, SyncEngine};
use tokio::io::{AsyncBufReadExt, BufReader};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A to-do list that works offline and syncs.
#[derive(Parser)]
struct Args {
    /// The file of the list.
    #[arg(long, default_value = "todo.redb")]
    db: PathBuf,
    /// The server to sync with, like `ws://127.0.0.1:7700`.
    #[arg(long)]
    server: Option<String>,
    /// add TITLE, done NUMBER, undo NUMBER, remove NUMBER or list; without one, the list is shown as it changes, and
    /// commands are read line by line.
    command: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Outcome {
    let list = List::open(RedbStorage::open(&args.db)?).await?;
    let engine = args
        .server
        .map(|server| SyncEngine::new(list.database(), SyncConfig::new(server)));
    if let Some(engine) = &engine {
        // Works offline: it does not wait for the server.
        engine.start().await?;
    }
    if args.command.is_empty() {
        watch(&list, engine.as_ref()).await?;
    } else {
        obey(&list, &args.command).await?;
        if let Some(engine) = &engine {
            // The command is done and stored by now, also if this fails.
            engine.force_sync().await?;
        }
    }
    if let Some(engine) = &engine {
        engine.destroy().await;
    }
    list.database().close().await?;
    Ok(())
}

/// Shows the list whenever it changes, here or on another device, and obeys what is typed, until the input ends.
async fn watch(list: &List, engine: Option<&SyncEngine>) -> Outcome {
    let mut shown = list.all().live();
    let mut status = engine.map(SyncEngine::status);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let status_changed = async {
            match &mut status {
                Some(status) => status.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(step) = shown.next() => print(&step?.result)?,
            Some(status) = status_changed => println!("({status})"),
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
                // A wrong line is told and does not end the program.
                if !words.is_empty() && let Err(error) = obey(list, &words).await {
                    println!("{error}");
                }
            }
        }
    }
}

fn print(result: &LiveResult<Todo>) -> Outcome {
    println!("---");
    for (at, todo) in result.all()?.iter().enumerate() {
        println!("{}", line(at, todo));
    }
    Ok(())
}

fn line(at: usize, todo: &Todo) -> String {
    let mark = if todo.done { 'x' } else { ' ' };
    format!("{:3} [{mark}] {}", at + 1, todo.title)
}

async fn obey(list: &List, words: &[String]) -> Outcome {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["add", ref title @ ..] if !title.is_empty() => list.add(&title.join(" ")).await?,
        ["done", number] => list.set_done(number.parse()?, true).await?,
        ["undo", number] => list.set_done(number.parse()?, false).await?,
        ["remove", number] => list.remove(number.parse()?).await?,
        ["list"] => {
            for (at, todo) in list.all().all().await?.iter().enumerate() {
                println!("{}", line(at, todo));
            }
        }
        _ => return Err("add TITLE, done NUMBER, undo NUMBER, remove NUMBER or list".into()),
    }
    Ok(())
}
