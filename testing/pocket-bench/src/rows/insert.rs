//! Local inserts in batches, on redb.

use std::sync::Arc;
use std::time::Duration;

use crate::Outcome;
use crate::bare;
use crate::documents::{self, BATCH, Task};
use crate::figure::{Row, Samples, Unit};
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{Device, Medium};
use crate::recorder::{Recorder, Writes};

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    let tasks = documents::tasks(plan.inserts);
    let bodies: Vec<Vec<u8>> = documents::bodies(&tasks)?
        .chunks(BATCH)
        .map(|batch| {
            batch
                .iter()
                .flat_map(pocket_core::Body::as_bytes)
                .copied()
                .collect()
        })
        .collect();
    let writes = recorded(&tasks).await?;
    let (mut pocket, mut redb, mut append) = <(Samples, Samples, Samples)>::default();
    for run in 0..plan.runs {
        plan.tell("local insert", run);
        pocket.push_rate(tasks.len(), inserted(plan, &tasks).await?);
        let scratch = plan.scratch()?;
        redb.push_rate(
            tasks.len(),
            bare::put_all(&scratch.path().join("redb"), &writes)?,
        );
        append.push_rate(
            tasks.len(),
            bare::append_all(&scratch.path().join("log"), &bodies)?,
        );
    }
    let what = format!("local insert, {BATCH} at once, durable");
    Ok(vec![
        Row::new("insert", what, Unit::DocumentsPerSecond, &pocket)
            .limit(
                "bare redb: the very keys and values, the same batches",
                &redb,
                Some(1.5),
            )
            .limit(
                "a file: the bodies appended, one fdatasync a batch",
                &append,
                None,
            ),
    ])
}

/// What Pocket writes for these documents, commit by commit.
async fn recorded(tasks: &[Task]) -> Outcome<Vec<Writes>> {
    let recorder = Recorder::new();
    let device = Device::open(Arc::new(recorder.clone())).await?;
    recorder.take();
    for batch in tasks.chunks(BATCH) {
        device.tasks.insert_many(batch).await?;
    }
    Ok(recorder.take())
}

async fn inserted(plan: &Plan, tasks: &[Task]) -> Outcome<Duration> {
    let medium = Medium::new(plan, true)?;
    let device = Device::open(medium.store("device")?).await?;
    let began = Stopwatch::start();
    for batch in tasks.chunks(BATCH) {
        device.tasks.insert_many(batch).await?;
    }
    let time = began.elapsed();
    device.database.close().await?;
    Ok(time)
}
