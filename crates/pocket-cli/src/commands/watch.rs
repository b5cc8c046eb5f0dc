//! `pocket watch`: each change of a collection, while it syncs.

use pocket_core::{ChangeEvent, ChangeItem, CollectionName, Map, Operation, Value};

use super::sync::{self, Reports};
use crate::args::{Global, WatchArgs};
use crate::failure::{Failure, Result};
use crate::link::Link;
use crate::output::{Output, json, object};
use crate::signals::Stop;

pub(super) async fn run(global: &Global, args: WatchArgs, out: &mut Output, stop: &Stop) -> Result {
    let name = CollectionName::new(&args.watched)?;
    let link = tokio::select! {
        link = Link::open(global, &args.server) => link?,
        () = stop.requested() => return Ok(()),
    };
    let mut changes = link.database.changes();
    link.engine.start().await?;
    let mut reports = Reports::new(&link.engine);
    let result = loop {
        let printed = tokio::select! {
            () = stop.requested() => break Ok(()),
            snapshot = reports.next() => {
                out.note(sync::sentence(&link.server, &snapshot));
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
    let closed = link.close().await;
    result.and(closed)
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
            event.timestamp, event.document_id
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
