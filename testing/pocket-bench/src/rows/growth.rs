//! How cost grows with work: four times the inserts must cost four times the time and leave four times the entries.

use std::time::Duration;

use crate::Outcome;
use crate::documents::{self, Task};
use crate::figure::{Row, Samples, Unit};
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{self, Device, Medium, Server};

/// How much more the larger push has.
const TIMES: usize = 4;

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    let few = documents::tasks(plan.documents);
    let many = documents::tasks(plan.documents * TIMES);
    let (mut growth, mut entries) = <(Samples, Samples)>::default();
    for run in 0..plan.runs {
        plan.tell("growth", run);
        let (less, _) = pushed(plan, &few).await?;
        let (more, feed) = pushed(plan, &many).await?;
        growth.push(more.as_secs_f64() / less.as_secs_f64());
        entries.push(feed as f64 / many.len() as f64);
    }
    let time = format!(
        "time of a push of {} against {}, in memory",
        many.len(),
        few.len()
    );
    let feed = format!("places of the feed after {} inserts", many.len());
    Ok(vec![
        Row::new("growth", time, Unit::Times, &growth).limit(
            "a cost that grows as its work does",
            &Samples::exact(TIMES as f64),
            Some(1.25),
        ),
        Row::new("growth", feed, Unit::EntriesPerInsert, &entries).limit(
            "one place for each document",
            &Samples::exact(1.0),
            Some(1.0),
        ),
    ])
}

/// Pushes `tasks`; the time, and the places of the feed that a new device reads afterwards.
async fn pushed(plan: &Plan, tasks: &[Task]) -> Outcome<(Duration, u64)> {
    let medium = Medium::new(plan, false)?;
    let server = Server::start(medium.store("server")?).await?;
    let device = Device::with(medium.store("device")?, tasks).await?;
    let engine = device.engine(&server.url);
    let began = Stopwatch::start();
    pocket::push_all(&device, &engine, tasks.len()).await?;
    let time = began.elapsed();
    engine.destroy().await;

    let reader = Device::open(medium.store("reader")?).await?;
    let engine = reader.engine(&server.url);
    pocket::pull_all(&engine, tasks.len()).await?;
    let places = engine.checkpoint().await?.seq.get();
    engine.destroy().await;
    server.stop().await?;
    Ok((time, places))
}
