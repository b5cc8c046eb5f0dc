//! A cold pull: a new device reads all there is.

use std::fs::File;
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

    let writes = &passes.pull.writes;
    let durable = Medium::new(plan, true)?;
    let (mut pocket, mut bare, mut stored) = <(Samples, Samples, Samples)>::default();
    let (mut on_redb, mut redb, mut appended) = <(Samples, Samples, Samples)>::default();
    for run in 0..plan.runs {
        plan.tell("cold pull", run);
        let count = tasks.len();
        pocket.push_rate(count, pulled(&medium, "reader", &server, count).await?);
        let request = || passes.request.clone();
        let (frames, answers) = (&passes.pull.frames, &passes.pull.answers);
        let time = bare::receive_all(request(), frames, answers, None).await?;
        bare.push_rate(count, time);
        stored.push_rate(count, time + bare::put_in_memory(writes));
        let name = format!("reader-{run}");
        on_redb.push_rate(count, pulled(&durable, &name, &server, count).await?);
        let scratch = plan.scratch()?;
        redb.push_rate(count, bare::put_all(&scratch.path().join("redb"), writes)?);
        let disk = File::create_new(scratch.path().join("log"))?;
        appended.push_rate(
            count,
            bare::receive_all(request(), frames, answers, Some(disk)).await?,
        );
    }
    server.stop().await?;
    let what = format!("cold pull of {} into", tasks.len());
    let frames = format!(
        "a bare WebSocket pair: the same {} frames, each",
        passes.pull.frames.len()
    );
    let row = |into: &str, samples: &Samples| {
        let what = format!("{what} {into}");
        Row::new("pull", what, Unit::DocumentsPerSecond, samples)
    };
    Ok(vec![
        row("memory", &pocket)
            .limit(format!("{frames} answered"), &bare, Some(3.0))
            .limit(
                "the same, and the very keys and values put into a map",
                &stored,
                None,
            ),
        row("redb, durable", &on_redb)
            .limit(
                "bare redb: the very keys and values, the same commits",
                &redb,
                None,
            )
            .limit(
                format!("{frames} appended with one fdatasync and answered"),
                &appended,
                None,
            ),
    ])
}

async fn pulled(medium: &Medium, name: &str, server: &Server, count: usize) -> Outcome<Duration> {
    let device = Device::open(medium.store(name)?).await?;
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
