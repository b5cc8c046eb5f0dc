//! `pocket find --live`: the result, then each change of it.

use pocket_core::{LiveChange, LiveStep, Value};

use crate::args::{FindArgs, Global};
use crate::failure::{Failure, Result};
use crate::hang_up;
use crate::open;
use crate::output::{Ends, Output, json, object};
use crate::signals::Stop;

pub(crate) async fn run(global: &Global, args: FindArgs, out: &mut Output, stop: &Stop) -> Result {
    let spec = super::spec(global, &args).await?;
    let opened = tokio::select! {
        opened = open::existing(global) => opened,
        () = stop.requested() => return Ok(()),
    };
    let database = opened?;
    let collection = database.collection::<Value>(&args.collection)?;
    let holding = match &global.held {
        Some(_) => None,
        None => Some(open::hold(global, &database, out)?),
    };
    let mut live = collection.query(spec).live();
    let mut unread = std::pin::pin!(unread(global));
    let (mut is_first, mut failed) = (true, None);
    let result = loop {
        let step = tokio::select! {
            step = live.next() => step,
            () = stop.requested() => break Ok(()),
            () = &mut unread => break Ok(()),
        };
        let told = match step {
            Some(Ok(step)) => {
                failed = None;
                tell(&step, std::mem::take(&mut is_first), out)
            }
            Some(Err(error)) => {
                // It goes on, and reads again, unless the next answer is that it does not.
                if let Some(before) = failed.replace(Failure::from(error)) {
                    before.tell(&global.ends(), global.json);
                }
                Ok(())
            }
            None => break failed.map_or(Ok(()), |failure| Err(super::of_query(failure))),
        };
        if let Err(failure) = told {
            break Err(failure);
        }
    };
    drop(live);
    if let Some(holding) = holding {
        holding.end().await;
    }
    let closed = database.close().await;
    result?;
    Ok(closed?)
}

/// Ends when nobody reads any more what this process prints. Another one looks for itself.
async fn unread(global: &Global) {
    match global.ends() {
        Ends::Process => hang_up::of_stdout().await,
        Ends::Remote(_) => std::future::pending().await,
    }
}

fn tell(step: &LiveStep<Value>, is_first: bool, out: &mut Output) -> Result {
    if out.is_json() {
        let changes: Vec<Value> = step.changes.iter().map(report).collect::<Result<_>>()?;
        out.line(json(&object([
            ("sequence", Value::from(step.sequence.get())),
            ("count", Value::from(step.result.len() as u64)),
            ("changes", Value::from(changes)),
        ])))?;
    } else if is_first {
        for document in step.result.documents() {
            out.line(json(&document.to_map()?))?;
        }
    } else {
        for change in &step.changes {
            out.line(line(change)?)?;
        }
    }
    out.flush()
}

fn line(change: &LiveChange) -> Result<String> {
    let document = json(&change.document().to_map()?);
    Ok(match change {
        LiveChange::Removed { at, .. } => format!("- {at}  {document}"),
        LiveChange::Moved { from, to, .. } => format!("→ {from} to {to}  {document}"),
        LiveChange::Updated { at, .. } => format!("~ {at}  {document}"),
        LiveChange::Inserted { at, .. } => format!("+ {at}  {document}"),
        _ => format!("?  {document}"),
    })
}

fn report(change: &LiveChange) -> Result<Value> {
    let place = |at: usize| Value::from(at as u64);
    let document = Value::Map(change.document().to_map()?);
    let report = match change {
        LiveChange::Moved { from, to, .. } => object([
            ("change", Value::from("moved")),
            ("from", place(*from)),
            ("to", place(*to)),
            ("document", document),
        ]),
        LiveChange::Removed { at, .. } => at_one_place("removed", *at, document),
        LiveChange::Updated { at, .. } => at_one_place("updated", *at, document),
        LiveChange::Inserted { at, .. } => at_one_place("inserted", *at, document),
        _ => object([("change", Value::from("other")), ("document", document)]),
    };
    Ok(Value::Map(report))
}

fn at_one_place(change: &str, at: usize, document: Value) -> pocket_core::Map {
    object([
        ("change", Value::from(change)),
        ("at", Value::from(at as u64)),
        ("document", document),
    ])
}
