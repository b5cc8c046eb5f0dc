//! `pocket load`: what `pocket dump` wrote, into a database that is empty or not.
//!
//! The file is read twice: first to its end, without a write, so that one that is cut or damaged changes nothing.

use std::sync::Arc;

use pocket_core::dump::{DumpItem, DumpReader, LoadOptions, Loaded};
use pocket_core::{Database, DocumentLimits, Value, codes as core_codes};
use tokio::sync::mpsc;

use crate::args::{Global, LoadArgs};
use crate::failure::{Failure, Result};
use crate::held::Held;
use crate::lines::Source;
use crate::output::{Output, counted, grouped, object};
use crate::{documents, open, progress};

/// Lines and bytes that are handed over at once, and how often that is done ahead.
const LINES: usize = 512;
const BYTES: usize = 2 * 1024 * 1024;
const AHEAD: usize = 2;

pub(super) async fn run(global: &Global, args: LoadArgs, out: &mut Output) -> Result {
    let path = args.file.clone();
    let content = global.held.as_ref().map(Held::input);
    let source = tokio::task::spawn_blocking(move || Source::open_with(&path, content)).await;
    let source = Arc::new(source.map_err(|error| broke_off(&error))??);
    let options = LoadOptions::new()
        .existing(args.existing.into())
        .limits(DocumentLimits::WIDEST);
    let directory = open::client_directory(global)?;
    // A database is made only for a dump that will be loaded, and with its version.
    let database = if directory.exists() {
        let database = open::open_in(global, directory).await?;
        let dry = load(&database, &source, options.dry_run(true));
        let checked = shown("checking", &source, global, dry).await;
        checked.map_err(with_way_out)?;
        database
    } else {
        let checked = shown("checking", &source, global, check(&source)).await;
        let version = checked.map_err(with_way_out)?;
        open::new(global, version).await?
    };
    let loading = load(&database, &source, options);
    let loaded = shown("loading", &source, global, loading).await;
    let loaded = loaded.map_err(with_way_out)?;
    database.close().await?;
    let broken = loaded.broken_indexes.iter().map(|index| {
        object([
            ("collection", Value::from(index.collection.as_str())),
            ("index", Value::from(index.index.as_str())),
            ("pairs", Value::from(index.pairs)),
        ])
    });
    let summary = object([
        ("loaded", Value::from(loaded.stored)),
        ("skipped", Value::from(loaded.skipped)),
        ("collections_made", Value::from(loaded.collections_made)),
        ("unknown_lines", Value::from(loaded.unknown_lines)),
        ("broken_indexes", broken.collect()),
    ]);
    for index in &loaded.broken_indexes {
        out.note(format_args!(
            "the unique index {:?} of `{}` has {} of documents with the same values, as where the dump is from; `pocket \
             conflicts` shows them",
            index.index,
            index.collection,
            counted(index.pairs, "pair")
        ));
    }
    if loaded.unknown_lines > 0 {
        out.note(format_args!(
            "{} of a newer version left out",
            counted(loaded.unknown_lines, "line")
        ));
    }
    let text = format!(
        "{} loaded, {} skipped",
        counted(loaded.stored, "document"),
        grouped(loaded.skipped)
    );
    out.either(&summary, text)
}

/// Names what gets by documents and indexes that are there.
fn with_way_out(failure: Failure) -> Failure {
    let way_out = match failure.code() {
        core_codes::DOCUMENT_EXISTS => {
            "--existing skip keeps what is there, --existing replace takes what is in the file"
        }
        core_codes::INDEX_UNIQUE_VIOLATION => {
            "`pocket index drop` takes the index away, and a dump that has it makes it again behind its documents: the \
             journal then tells what breaks it"
        }
        // The first line is the head, which documents by themselves lack.
        core_codes::CORRUPT if failure.message().starts_with("line 1: ") => {
            "documents by themselves, one in each line, are for `pocket import COLLECTION FILE`"
        }
        _ => return failure,
    };
    let message = failure.message();
    Failure::new(failure.code().to_owned(), format!("{message}; {way_out}"))
}

async fn shown<T>(
    label: &'static str,
    source: &Source,
    global: &Global,
    work: impl Future<Output = T>,
) -> T {
    progress::of_bytes(label, source.bytes(), source.read_so_far(), global, work).await
}

/// Reads a whole dump without a database; returns the schema version of its documents.
async fn check(source: &Arc<Source>) -> Result<u32> {
    let mut reader = DumpReader::new(DocumentLimits::WIDEST);
    let mut version = 1;
    let mut batches = read(source);
    while let Some(lines) = batches.recv().await {
        for line in lines? {
            if let DumpItem::Head(head) = reader.read(&line)? {
                version = head.schema_version;
            }
        }
    }
    reader.finish()?;
    Ok(version)
}

async fn load(database: &Database, source: &Arc<Source>, options: LoadOptions) -> Result<Loaded> {
    let mut loader = database.load(options);
    let mut batches = read(source);
    while let Some(lines) = batches.recv().await {
        for line in lines? {
            loader.line(&line).await?;
        }
    }
    let (loaded, _) = loader.finish().await?;
    Ok(loaded)
}

/// Reads the lines on a thread of its own.
fn read(source: &Arc<Source>) -> mpsc::Receiver<Result<Vec<String>>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let source = source.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(failure) = send(&source, &sender) {
            // Whoever has stopped listening has told why.
            let _ = sender.blocking_send(Err(failure));
        }
    });
    receiver
}

fn send(source: &Source, sender: &mpsc::Sender<Result<Vec<String>>>) -> Result {
    let mut lines = source.lines()?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some((number, line)) = lines.next()? {
        let line = line.and_then(|line| {
            bytes += line.len();
            documents::utf8(&line).map(str::to_owned)
        });
        batch.push(line.map_err(|failure| failure.at(format!("line {number}")))?);
        if batch.len() >= LINES || bytes >= BYTES {
            bytes = 0;
            if sender
                .blocking_send(Ok(std::mem::take(&mut batch)))
                .is_err()
            {
                return Ok(());
            }
        }
    }
    let _ = sender.blocking_send(Ok(batch));
    Ok(())
}

fn broke_off(error: &tokio::task::JoinError) -> Failure {
    Failure::new(crate::codes::IO, format!("reading broke off: {error}"))
}
