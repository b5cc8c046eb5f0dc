//! One edit from the call on one device to the change event on another, one after the other.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use pocket_core::{ChangeItem, Subscription};
use pocket_sync_client::SyncEngine;
use pocket_sync_protocol::{ClientMessage, ServerMessage};
use serde_json::json;

use crate::Outcome;
use crate::bare::{self, Disks};
use crate::documents;
use crate::figure::{Row, Samples, Unit};
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{self, Device, Medium, Server};
use crate::tap::Tap;

/// Edits before the measured ones.
const WARM_UP: usize = 20;

/// The medians and the 99th percentiles of all runs.
#[derive(Default)]
struct Both {
    p50: Samples,
    p99: Samples,
}

impl Both {
    fn push(&mut self, times: &Samples) {
        self.p50.push(times.quantile(0.5));
        self.p99.push(times.quantile(0.99));
    }
}

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    let (up, down) = recorded(plan).await?;
    let mut rows = Vec::new();
    rows.extend(in_memory(plan, &up, &down).await?);
    rows.extend(durable(plan, &up, &down).await?);
    Ok(rows)
}

async fn in_memory(plan: &Plan, up: &Bytes, down: &Bytes) -> Outcome<[Row; 2]> {
    let (mut pocket, mut relay) = <(Both, Both)>::default();
    for run in 0..plan.runs {
        plan.tell("propagation, in memory", run);
        pocket.push(&propagated(plan, false).await?);
        relay.push(&bare::relay(up, down, plan.edits, Disks::default()).await?);
    }
    let what = "a bare WebSocket relay: the same two frames";
    let row = |name: &str, pocket: &Samples| {
        let what = format!("one edit A → server → B, in memory, {name}");
        Row::new("propagation", what, Unit::Milliseconds, pocket)
    };
    Ok([
        row("p50", &pocket.p50).limit(what, &relay.p50, Some(2.0)),
        row("p99", &pocket.p99).limit(what, &relay.p99, None),
    ])
}

async fn durable(plan: &Plan, up: &Bytes, down: &Bytes) -> Outcome<[Row; 2]> {
    let (mut pocket, mut three, mut one) = <(Both, Both, Both)>::default();
    for run in 0..plan.runs {
        plan.tell("propagation, durable", run);
        pocket.push(&propagated(plan, true).await?);
        let scratch = plan.scratch()?;
        let file = |name: &str| log(scratch.path(), name);
        let disks = Disks {
            writer: Some(file("writer")?),
            server: Some(file("server")?),
            reader: Some(file("reader")?),
        };
        three.push(&bare::relay(up, down, plan.edits, disks).await?);
        let disks = Disks {
            server: Some(file("only")?),
            ..Disks::default()
        };
        one.push(&bare::relay(up, down, plan.edits, disks).await?);
    }
    let all = "the relay and the three fdatasyncs of the promises: A's write, the server's, B's";
    let single = "the relay and the server's fdatasync alone";
    let row = |name: &str, pocket: &Samples| {
        let what = format!("one edit A → server → B, durable, {name}");
        Row::new("propagation", what, Unit::Milliseconds, pocket)
    };
    Ok([
        row("p50", &pocket.p50)
            .limit(all, &three.p50, Some(2.0))
            .limit(single, &one.p50, None),
        row("p99", &pocket.p99)
            .limit(all, &three.p99, None)
            .limit(single, &one.p99, None),
    ])
}

fn log(directory: &Path, name: &str) -> Outcome<File> {
    Ok(File::create_new(directory.join(name))?)
}

/// Two devices on a server, both in step, with one document.
struct Pair {
    writer: Device,
    writing: SyncEngine,
    _reader: Device,
    reading: SyncEngine,
    seen: Subscription<ChangeItem>,
    id: String,
}

impl Pair {
    async fn connect(medium: &Medium, writer_url: &str, reader_url: &str) -> Outcome<Self> {
        let tasks = documents::tasks(1);
        let writer = Device::open(medium.store("writer")?).await?;
        let id = writer.tasks.insert(&tasks[0]).await?.to_string();
        let writing = writer.engine(writer_url);
        pocket::push_all(&writer, &writing, 1).await?;
        let reader = Device::open(medium.store("reader")?).await?;
        let reading = reader.engine(reader_url);
        pocket::pull_all(&reading, 1).await?;
        let seen = reader.tasks.changes();
        Ok(Self {
            writer,
            writing,
            _reader: reader,
            reading,
            seen,
            id,
        })
    }

    /// Edits the document and waits until the other device tells of it. The time in milliseconds.
    async fn edit(&mut self, number: usize) -> Outcome<f64> {
        let began = Stopwatch::start();
        let patch = json!({ "due": 1_700_000_000_000_u64 + number as u64 });
        self.writer.tasks.update(&self.id, &patch).await?;
        match self.seen.next().await {
            Some(ChangeItem::Change(change)) if change.is_from_sync => {}
            other => return Err(format!("instead of the edit came {other:?}").into()),
        }
        let time = began.elapsed().as_secs_f64() * 1_000.0;
        // The next edit begins when nothing of this one is under way.
        self.writing.push().await?;
        Ok(time)
    }

    async fn end(self) {
        self.writing.destroy().await;
        self.reading.destroy().await;
    }
}

async fn propagated(plan: &Plan, durable: bool) -> Outcome<Samples> {
    let medium = Medium::new(plan, durable)?;
    let server = Server::start(medium.store("server")?).await?;
    let mut pair = Pair::connect(&medium, &server.url, &server.url).await?;
    let mut times = Samples::default();
    for number in 0..WARM_UP + plan.edits {
        let time = pair.edit(number).await?;
        if number >= WARM_UP {
            times.push(time);
        }
    }
    pair.end().await;
    server.stop().await?;
    Ok(times)
}

/// The frames of one edit: the push that brings it to the server, the page that takes it on.
async fn recorded(plan: &Plan) -> Outcome<(Bytes, Bytes)> {
    let medium = Medium::new(plan, false)?;
    let server = Server::start(medium.store("server")?).await?;
    let (up, down) = (
        Tap::start(&server.url).await?,
        Tap::start(&server.url).await?,
    );
    let mut pair = Pair::connect(&medium, &up.url, &down.url).await?;
    pair.edit(0).await?;
    up.traffic.clear();
    down.traffic.clear();
    pair.edit(1).await?;
    let pushes = up
        .traffic
        .up(|message| matches!(message, ClientMessage::Push(_)));
    let pages = down
        .traffic
        .down(|message| matches!(message, ServerMessage::Page(_)));
    pair.end().await;
    up.finish().await?;
    down.finish().await?;
    server.stop().await?;
    match (pushes.into_iter().next(), pages.into_iter().next()) {
        (Some(push), Some(page)) => Ok((push, page)),
        _ => Err("the frames of an edit were not seen".into()),
    }
}
