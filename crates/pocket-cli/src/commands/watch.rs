//! `pocket watch`: each change of a collection, while it syncs.

use pocket_core::{
    ChangeEvent, ChangeItem, CollectionName, Database, Map, Operation, Shown, Value,
};
use pocket_sync_client::Snapshot;

use super::sync::{self, Reports};
use crate::args::{Global, ServerArgs, WatchArgs};
use crate::failure::{Failure, Result};
use crate::held::Holding;
use crate::link::Link;
use crate::open::{self, Opened};
use crate::output::{Output, json, object};
use crate::signals::Stop;

pub(super) async fn run(global: &Global, args: WatchArgs, out: &mut Output, stop: &Stop) -> Result {
    let name = CollectionName::new(&args.watched)?;
    let watched = tokio::select! {
        watched = Watched::open(global, &args.server, out) => watched?,
        () = stop.requested() => return Ok(()),
    };
    let mut changes = watched.database().changes();
    let mut reports = watched.start().await?;
    let result = loop {
        let printed = tokio::select! {
            () = stop.requested() => break Ok(()),
            snapshot = next(reports.as_mut()) => {
                if let Watched::Syncing(link) = &watched {
                    out.note(sync::sentence(link, &snapshot));
                }
                sync::check(&snapshot)
            }
            change = changes.next() => match change {
                Some(ChangeItem::Change(event)) if event.collection == name => print(&event, out),
                Some(ChangeItem::Lagged { from, to }) => {
                    lagged(from.get(), to.get(), out)
                }
                Some(_) => Ok(()),
                None => break Ok(()),
            },
        };
        if let Err(failure) = printed {
            break Err(failure);
        }
    };
    drop(changes);
    let closed = watched.close().await;
    result.and(closed)
}

/// A database, and who writes to it.
enum Watched {
    /// This command's engine, and other commands.
    Syncing(Box<Link>),
    /// Other commands.
    Alone(Opened, Holding),
    /// The process that holds it.
    Elsewhere(Opened),
}

impl Watched {
    async fn open(global: &Global, server: &ServerArgs, out: &Output) -> Result<Self> {
        if server.names_server() {
            return Ok(Self::Syncing(Box::new(
                Link::hold(global, server, out).await?,
            )));
        }
        let database = open::database(global).await?;
        if global.held.is_some() {
            return Ok(Self::Elsewhere(database));
        }
        out.note("without --server: this shows what other commands do on this device");
        let holding = open::hold(global, &database, out)?;
        Ok(Self::Alone(database, holding))
    }

    fn database(&self) -> &Database {
        match self {
            Self::Syncing(link) => &link.database,
            Self::Alone(database, _) | Self::Elsewhere(database) => database,
        }
    }

    /// Starts the engine, if there is one.
    async fn start(&self) -> Result<Option<Reports>> {
        let Self::Syncing(link) = self else {
            return Ok(None);
        };
        link.engine.start().await?;
        Ok(Some(Reports::new(&link.engine)))
    }

    async fn close(self) -> Result {
        match self {
            Self::Syncing(link) => link.close().await,
            Self::Alone(database, holding) => {
                holding.end().await;
                Ok(database.close().await?)
            }
            Self::Elsewhere(_) => Ok(()),
        }
    }
}

async fn next(reports: Option<&mut Reports>) -> Snapshot {
    match reports {
        Some(reports) => reports.next().await,
        None => std::future::pending().await,
    }
}

fn print(event: &ChangeEvent, out: &mut Output) -> Result {
    let operation = match event.operation {
        Operation::Insert => "insert",
        Operation::Update => "update",
        Operation::Delete => "delete",
        _ => "change",
    };
    let document: Option<Map> = event
        .document
        .as_ref()
        .map(pocket_core::Document::to_map)
        .transpose()
        .map_err(Failure::from)?;
    let origin = if event.is_from_sync {
        "remote"
    } else {
        "local"
    };
    if out.is_json() {
        out.line(json(&object([
            ("operation", Value::from(operation)),
            ("collection", Value::from(event.collection.as_str())),
            ("_id", Value::from(event.document_id.as_str())),
            ("origin", Value::from(origin)),
            ("time", Value::from(event.timestamp.to_string())),
            ("sequence", Value::from(event.sequence.get())),
            ("document", document.into()),
        ])))?;
    } else {
        let document =
            document.map_or_else(String::new, |document| format!("  {}", json(&document)));
        out.line(format_args!(
            "{}  {origin:<6}  {operation}  {}{document}",
            event.timestamp,
            Shown(event.document_id.as_str())
        ))?;
    }
    out.flush()
}

/// Changes came faster than they could be printed.
fn lagged(from: u64, to: u64, out: &mut Output) -> Result {
    let text = format!(
        "commits {from} to {to} were not told in time; `pocket find` shows what is there now"
    );
    if out.is_json() {
        let object = object([
            ("operation", Value::from("lagged")),
            ("from", Value::from(from)),
            ("to", Value::from(to)),
        ]);
        out.line(json(&object))?;
        out.flush()
    } else {
        out.note(text);
        Ok(())
    }
}
