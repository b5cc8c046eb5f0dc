//! A cold pull: a new device reads all there is.

use std::time::Duration;

use super::traffic::Passes;
use crate::Outcome;
use crate::bare;
use crate::documents;
use crate::figure::{Row, Samples, Unit};
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{self, Device, Medium, Server};

pub(super) async fn rows(plan: &Plan, passes: &Passes) -> Outcome<Vec<Row>> {
    let tasks = documents::tasks(plan.documents);
    let medium = Medium::new(plan, false)?;
    let server = Server::start(medium.store("server")?).await?;
    let writer = Device::with(medium.store("writer")?, &tasks).await?;
    let engine = writer.engine(&server.url);
    pocket::push_all(&writer, &engine, tasks.len()).await?;
    engine.destroy().await;

    let (mut pocket, mut bare) = <(Samples, Samples)>::default();
    for run in 0..plan.runs {
        plan.tell("cold pull", run);
        pocket.push_rate(tasks.len(), pulled(&medium, &server, tasks.len()).await?);
        let request = passes.request.clone();
        let time = bare::receive_all(request, &passes.pull.frames, &passes.pull.answers).await?;
        bare.push_rate(tasks.len(), time);
    }
    server.stop().await?;
    let what = format!("cold pull of {} into memory", tasks.len());
    let limit = format!(
        "a bare WebSocket pair: the same {} frames, each answered",
        passes.pull.frames.len()
    );
    let row = Row::new("pull", what, Unit::DocumentsPerSecond, &pocket);
    Ok(vec![row.limit(limit, &bare, Some(3.0))])
}

async fn pulled(medium: &Medium, server: &Server, count: usize) -> Outcome<Duration> {
    let device = Device::open(medium.store("reader")?).await?;
    let engine = device.engine(&server.url);
    let began = Stopwatch::start();
    pocket::pull_all(&engine, count).await?;
    let time = began.elapsed();
    let stored = device.tasks.count().await?;
    engine.destroy().await;
    if stored == count as u64 {
        Ok(time)
    } else {
        Err(format!("{stored} documents are stored instead of {count}").into())
    }
}
