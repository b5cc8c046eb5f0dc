//! A first sync of very many documents, each side a process of its own: the memory it takes must not grow with them.

use std::path::Path;
use std::sync::Arc;

use pocket_storage::Storage;
use pocket_storage_redb::RedbStorage;

use super::{Measured, Peak};
use crate::Outcome;
use crate::child::{self, Child};
use crate::documents::{self, BATCH};
use crate::figure::{Row, Samples, Unit};
use crate::fill::Filler;
use crate::machine::{Memory, mebibytes};
use crate::plan::Plan;
use crate::roles;

/// How much more memory either side may take, in MiB.
const AIM: f64 = 64.0;

/// Entries that a bare store writes in one commit: about as many as a page leaves on the device.
const ENTRIES_AT_ONCE: usize = 100;

pub(super) async fn measure(plan: &Plan) -> Outcome<Measured> {
    if !child::tells_memory("first-sync") {
        return Ok(Measured::default());
    }
    let (directory, count) = (plan.scratch()?, plan.first_sync);
    let [from, to, copy] = ["server", "device", "copy"].map(|name| directory.path().join(name));
    fill(&from, count).await?;

    eprintln!("bench: first sync of {count}, once");
    let (server, url) = child::server(Some(&from)).await?;
    let mut device = Child::start(roles::DEVICE)?;
    let order = roles::Open { store: to.clone() };
    let _: bool = device.ask(&order).await?;
    let before = (server.memory()?, device.memory()?);
    let seconds: f64 = device.ask(&roles::ReadAll { url, count }).await?;
    let after = (server.memory()?, device.memory()?);
    device.end().await?;
    server.end().await?;

    let mut reader = Child::start(roles::READER)?;
    let order = roles::Open { store: from };
    let _: bool = reader.ask(&order).await?;
    let bare_before = reader.memory()?;
    let _: f64 = reader.ask(&order).await?;
    let read = grown(bare_before, reader.memory()?);
    reader.end().await?;

    let mut writer = Child::start(roles::WRITER)?;
    let _: bool = writer.ask(&roles::Open { store: copy }).await?;
    let bare_before = writer.memory()?;
    let at_once = ENTRIES_AT_ONCE;
    let order = roles::Copy { from: to, at_once };
    let bare_seconds: f64 = writer.ask(&order).await?;
    let written = grown(bare_before, writer.memory()?);
    writer.end().await?;

    let what = format!("first sync of {count}");
    let rate = |seconds: f64| Samples::exact(count as f64 / seconds);
    let row = |side: &str, before, after, bare, limit| {
        let what = format!("{what}: more memory of the {side}");
        Row::new("first-sync", what, Unit::Mebibytes, &grown(before, after))
            .limit("what is aimed at", &Samples::exact(AIM), Some(1.0))
            .limit(limit, bare, None)
    };
    Ok(Measured {
        rows: vec![
            row(
                "server, on redb",
                before.0,
                after.0,
                &read,
                "bare redb that reads every entry of the file",
            ),
            row(
                "device, on redb",
                before.1,
                after.1,
                &written,
                "bare redb: the very keys and values, 100 a commit",
            ),
            Row::new(
                "first-sync",
                format!("{what}, durable on both sides"),
                Unit::DocumentsPerSecond,
                &rate(seconds),
            )
            .limit(
                "bare redb: the device's keys and values, 100 a commit",
                &rate(bare_seconds),
                None,
            ),
        ],
        peaks: vec![
            Peak::new(format!("server of a {what}"), after.0),
            Peak::new(format!("device of a {what}"), after.1),
        ],
    })
}

fn grown(before: Memory, after: Memory) -> Samples {
    Samples::exact(mebibytes(after.peak.saturating_sub(before.now)))
}

async fn fill(path: &Path, count: usize) -> Outcome {
    eprintln!("bench: filling a server with {count} documents");
    let store = Arc::new(RedbStorage::open(path)?);
    let mut filler = Filler::new(store.clone()).await?;
    let mut first = 0;
    while first < count {
        let tasks = documents::tasks((count - first).min(10 * BATCH));
        filler.put(first, &tasks).await?;
        first += tasks.len();
    }
    drop(filler);
    Ok(store.close().await?)
}
