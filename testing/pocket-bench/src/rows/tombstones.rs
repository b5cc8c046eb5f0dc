//! A first sync of few documents among many deletions: it must cost what the documents cost.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pocket_storage_redb::RedbStorage;
use tempfile::TempDir;

use crate::Outcome;
use crate::documents;
use crate::figure::{Row, Samples, Unit};
use crate::fill::Filler;
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{self, Device, Medium, Server};
use crate::tap::Tap;

/// Documents that are alive.
const LIVE: usize = 3;

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    eprintln!("bench: making {} deletions", plan.tombstones);
    let many = Log::new(plan, plan.tombstones).await?;
    let none = Log::new(plan, 0).await?;
    let (bytes, least) = (many.bytes().await?, none.bytes().await?);
    let (mut times, mut limits) = <(Samples, Samples)>::default();
    for run in 0..plan.runs {
        plan.tell("first sync among deletions", run);
        times.push(many.time().await?);
        limits.push(none.time().await?);
    }
    let what = format!(
        "first sync of {LIVE} documents among {} deletions",
        plan.tombstones
    );
    let limit = "Pocket: the same where nothing was deleted";
    Ok(vec![
        Row::new(
            "tombstones",
            format!("{what}: bytes from the server"),
            Unit::BytesPerDocument,
            &bytes,
        )
        .limit(limit, &least, Some(1.1)),
        Row::new(
            "tombstones",
            format!("{what}: time, server on redb"),
            Unit::Milliseconds,
            &times,
        )
        .limit(limit, &limits, Some(2.0)),
    ])
}

/// A server's store.
struct Log {
    directory: TempDir,
}

impl Log {
    /// `deleted` documents are created and deleted; between the deletions, others are created.
    async fn new(plan: &Plan, deleted: usize) -> Outcome<Self> {
        let directory = plan.scratch()?;
        let store = Arc::new(RedbStorage::open(file(directory.path()))?);
        let mut filler = Filler::new(store.clone()).await?;
        filler.put(0, &documents::tasks(deleted)).await?;
        let part = deleted / LIVE;
        let live = documents::tasks(LIVE);
        for (number, task) in live.iter().enumerate() {
            filler.delete(number * part, part).await?;
            filler
                .put(deleted + number, std::slice::from_ref(task))
                .await?;
        }
        filler.delete(LIVE * part, deleted - LIVE * part).await?;
        drop(filler);
        pocket_storage::Storage::close(&*store).await?;
        Ok(Self { directory })
    }

    /// A server that has just been started, so that nothing is in its memory.
    async fn server(&self) -> Outcome<Server> {
        Server::start(Arc::new(RedbStorage::open(file(self.directory.path()))?)).await
    }

    async fn bytes(&self) -> Outcome<Samples> {
        let server = self.server().await?;
        let tap = Tap::start(&server.url).await?;
        first_sync(&tap.url).await?;
        let traffic = tap.finish().await?;
        server.stop().await?;
        let bytes = traffic.down_bytes.load(Ordering::Relaxed);
        Ok(Samples::exact(bytes as f64 / LIVE as f64))
    }

    async fn time(&self) -> Outcome<f64> {
        let server = self.server().await?;
        let time = first_sync(&server.url).await?;
        server.stop().await?;
        Ok(time)
    }
}

fn file(directory: &Path) -> std::path::PathBuf {
    directory.join("server")
}

/// Reads everything into memory; the milliseconds.
async fn first_sync(url: &str) -> Outcome<f64> {
    let device = Device::open(Medium::Memory.store("reader")?).await?;
    let engine = device.engine(url);
    let began = Stopwatch::start();
    pocket::pull_all(&engine, LIVE).await?;
    let time = began.elapsed().as_secs_f64() * 1_000.0;
    engine.destroy().await;
    Ok(time)
}
