//! `pocket detach` and `pocket wipe`: leaving the server that the database belongs to.

use std::io::{self, BufRead, IsTerminal, Write};

use pocket_core::replica::{Replica, ReplicaState};
use pocket_core::{Target, Value};

use crate::args::{Global, WipeArgs};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, counted, object};

/// Keeps everything, and offers it to the next server.
pub(super) async fn detach(global: &Global, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let replica = Replica::new(&database, Target::DEFAULT);
    let before = replica.state().await?;
    let after = replica.detach().await?;
    let left = left(&before);
    let text = format!(
        "detached from {left}; {} wait for the next server",
        counted(after.pending, "change")
    );
    out.either(
        &object([
            ("detached", Value::from(before.binding.is_some())),
            ("pending", Value::from(after.pending)),
        ]),
        &text,
    )?;
    Ok(database.close().await?)
}

/// Removes what came from the server, and what was never sent.
pub(super) async fn wipe(global: &Global, args: WipeArgs, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let replica = Replica::new(&database, Target::DEFAULT);
    let before = replica.state().await?;
    if !args.yes {
        confirm(&before)?;
    }
    let wiped = replica.wipe().await?;
    let text = format!(
        "wiped what came from {}: {}, {} never settled, {} of the journal",
        left(&before),
        counted(wiped.documents, "document"),
        counted(wiped.pending, "change"),
        match wiped.journaled {
            1 => "1 entry".to_owned(),
            many => format!("{many} entries"),
        }
    );
    out.either(
        &object([
            ("wiped", Value::from(wiped.documents)),
            ("pending", Value::from(wiped.pending)),
            ("journal", Value::from(wiped.journaled)),
        ]),
        &text,
    )?;
    Ok(database.close().await?)
}

fn left(state: &ReplicaState) -> String {
    state.binding.as_ref().map_or_else(
        || "no server".to_owned(),
        |bound| {
            format!(
                "server {}, namespace {}, user {}",
                bound.lineage, bound.namespace, bound.user
            )
        },
    )
}

/// Asks a person; a program has to say `--yes`.
fn confirm(state: &ReplicaState) -> Result {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(
            "wipe removes the documents of all synced collections and what was never sent; say --yes to do it",
        ));
    }
    eprint!(
        "This removes the documents of all synced collections from this device, {} that no server has settled, and the \
         journal. It cannot be undone. Type `wipe` to go on: ",
        counted(state.pending, "change")
    );
    io::stderr()
        .flush()
        .map_err(|error| Failure::io("the question cannot be asked", &error))?;
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::io("the question cannot be asked", &error))?;
    if line.trim() == "wipe" {
        return Ok(());
    }
    Err(Failure::usage("nothing was removed"))
}
