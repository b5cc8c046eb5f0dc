//! Durable inserts one at a time, by one writer and by eight at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::Outcome;
use crate::bare;
use crate::documents::{self, Task};
use crate::figure::{Row, Samples, Unit};
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{Device, Medium};
use crate::recorder::{Recorder, Writes};

const WRITERS: usize = 8;

/// What eight writers reach at the least, in rates of one.
const GAIN: f64 = 4.0;

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    let tasks = documents::tasks(plan.singles);
    let one = recorded(&tasks).await?;
    let eight: Vec<Writes> = one.chunks(WRITERS).map(<[Writes]>::concat).collect();
    let (mut alone, mut together, mut gain) = <(Samples, Samples, Samples)>::default();
    let (mut bare_alone, mut bare_together) = <(Samples, Samples)>::default();
    for run in 0..plan.runs {
        plan.tell("single inserts", run);
        let time = inserted(plan, &tasks, 1).await?;
        alone.push_rate(tasks.len(), time);
        gain.push(GAIN * tasks.len() as f64 / time.as_secs_f64());
        let scratch = plan.scratch()?;
        let put = |name, writes| bare::put_all(&scratch.path().join(name), writes);
        bare_alone.push_rate(tasks.len(), put("one", &one)?);
        together.push_rate(tasks.len(), inserted(plan, &tasks, WRITERS).await?);
        bare_together.push_rate(tasks.len(), put("eight", &eight)?);
    }
    let row = |writers: &str, samples: &Samples| {
        let what = format!("durable inserts one at a time, {writers}");
        Row::new("single", what, Unit::DocumentsPerSecond, samples)
    };
    Ok(vec![
        row("1 writer", &alone).limit(
            "bare redb: the very keys and values, a commit each",
            &bare_alone,
            Some(1.2),
        ),
        row("8 writers", &together)
            .limit("four times the rate of one writer", &gain, Some(1.0))
            .limit(
                "bare redb: the very keys and values, 8 documents a commit",
                &bare_together,
                None,
            ),
    ])
}

/// What Pocket writes for each document.
async fn recorded(tasks: &[Task]) -> Outcome<Vec<Writes>> {
    let recorder = Recorder::new();
    let device = Device::open(Arc::new(recorder.clone())).await?;
    recorder.take();
    for task in tasks {
        device.tasks.insert(task).await?;
    }
    Ok(recorder.take())
}

async fn inserted(plan: &Plan, tasks: &[Task], writers: usize) -> Outcome<Duration> {
    let medium = Medium::new(plan, true)?;
    let device = Device::open(medium.store("device")?).await?;
    let began = Stopwatch::start();
    let writing = tasks.chunks(tasks.len().div_ceil(writers)).map(|tasks| {
        let (collection, tasks) = (device.tasks.clone(), tasks.to_vec());
        tokio::spawn(async move {
            for task in &tasks {
                collection.insert(task).await?;
            }
            Outcome::Ok(())
        })
    });
    for ended in try_join_all(writing.collect::<Vec<_>>()).await? {
        ended?;
    }
    let time = began.elapsed();
    device.database.close().await?;
    Ok(time)
}
