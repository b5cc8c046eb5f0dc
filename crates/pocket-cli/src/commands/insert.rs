//! `pocket insert`: new documents, from the command line or from stdin.

use std::io::{self, BufRead, BufReader, Read};

use pocket_core::{Collection, DocumentId, Value};
use tokio::sync::mpsc;

use crate::args::{Global, InsertArgs};
use crate::failure::{Failure, Result};
use crate::output::{Output, object};
use crate::{documents, open};

/// Lines of stdin that wait to be stored; so many are stored in one commit at the most.
const WAITING_LINES: usize = 1_000;

pub(super) async fn run(global: &Global, args: InsertArgs, out: &mut Output) -> Result {
    let parse = |(place, text): (usize, &String)| {
        let document = documents::parse(text);
        document.map_err(|failure| failure.at(format!("document {}", place + 1)))
    };
    let given: Vec<Value> = args
        .documents
        .iter()
        .enumerate()
        .map(|text| parse(text).map(Value::Map))
        .collect::<Result<_>>()?;
    let database = open::database(global).await?;
    let collection = open::writable(&database, &args.collection, args.place.local_only).await?;
    if given.is_empty() {
        from_stdin(global, &collection, out).await?;
    } else {
        let ids = collection.insert_many(&given).await?;
        print(&ids, out)?;
    }
    Ok(database.close().await?)
}

/// Stores each line as it comes, many at once when they come faster than they can be stored.
async fn from_stdin(global: &Global, collection: &Collection<Value>, out: &mut Output) -> Result {
    let stdin: Box<dyn Read + Send> = match &global.held {
        Some(held) => held.input(),
        None => Box::new(io::stdin()),
    };
    let mut lines = lines(BufReader::new(stdin));
    let mut batch = Vec::new();
    let mut number = 0_u64;
    while lines.recv_many(&mut batch, WAITING_LINES).await > 0 {
        let mut documents = Vec::with_capacity(batch.len());
        let mut bad = None;
        let first = number + 1;
        for line in batch.drain(..) {
            number += 1;
            let line = line.map_err(|error| Failure::io("cannot read stdin", &error))?;
            match document(&line) {
                Ok(document) => documents.extend(document),
                Err(failure) => {
                    bad = Some(failure.of_one_line().at(format!("line {number}")));
                    break;
                }
            }
        }
        // What came before a bad line is stored, and its ids are printed.
        let ids = collection.insert_many(&documents).await.map_err(|error| {
            let lines = format!("lines {first} to {number}, none of which is stored");
            Failure::from(error).at(lines)
        })?;
        print(&ids, out).map_err(cut_short)?;
        out.flush().map_err(cut_short)?;
        if let Some(failure) = bad {
            return Err(failure);
        }
    }
    Ok(())
}

fn document(line: &[u8]) -> Result<Option<Value>> {
    let text = documents::utf8(line)?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    match documents::parse(text) {
        Ok(map) => Ok(Some(Value::Map(map))),
        Err(failure) => Err(documents::of_a_line(failure, text)),
    }
}

/// The lines of the input, read by a thread of their own: waiting for one cannot be given up.
fn lines(stdin: impl BufRead + Send + 'static) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(WAITING_LINES);
    tokio::task::spawn_blocking(move || {
        for line in stdin.split(b'\n') {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

fn print(ids: &[DocumentId], out: &mut Output) -> Result {
    for id in ids {
        out.either(&object([("_id", Value::from(id.as_str()))]), id)?;
    }
    Ok(())
}

/// Nobody reads the ids any more, and lines may be left: quiet, but not done.
fn cut_short(failure: Failure) -> Failure {
    if failure.status() == 0 {
        Failure::silent(1)
    } else {
        failure
    }
}
