//! A push of many documents, until the last is acknowledged and the device has stored that.

use std::fs::File;
use std::time::Duration;

use super::traffic::Passes;
use crate::Outcome;
use crate::bare;
use crate::documents::{self, Task};
use crate::figure::{Row, Samples, Unit};
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{self, Device, Medium, Server};

pub(super) async fn rows(plan: &Plan, passes: &Passes) -> Outcome<Vec<Row>> {
    let tasks = documents::tasks(plan.documents);
    let frames = passes.push.frames.len();
    let mut rows = Vec::new();
    for (durable, name) in [(false, "in memory"), (true, "durable")] {
        let (mut pocket, mut bare, mut stored) = <(Samples, Samples, Samples)>::default();
        for run in 0..plan.runs {
            plan.tell(&format!("push, {name}"), run);
            pocket.push_rate(tasks.len(), pushed(plan, &tasks, durable).await?);
            let scratch = plan.scratch()?;
            let log = || File::create_new(scratch.path().join("log"));
            let disk = durable.then(log).transpose()?;
            let time = bare::send_all(&passes.push.frames, &passes.push.answers, disk).await?;
            bare.push_rate(tasks.len(), time);
            if !durable {
                let time = time + bare::put_in_memory(&passes.push.writes);
                stored.push_rate(tasks.len(), time);
            }
        }
        let what = format!("push of {} until acknowledged, {name}", tasks.len());
        let limit = if durable {
            format!(
                "a bare WebSocket pair: the same {frames} frames, each appended with one fdatasync and answered"
            )
        } else {
            format!("a bare WebSocket pair: the same {frames} frames, each answered")
        };
        let aim = (!durable).then_some(3.0);
        let row = Row::new("push", what, Unit::DocumentsPerSecond, &pocket);
        let row = row.limit(limit, &bare, aim);
        rows.push(if durable {
            row
        } else {
            let limit = "the same, and the very keys and values of both sides put into a map";
            row.limit(limit, &stored, None)
        });
    }
    Ok(rows)
}

async fn pushed(plan: &Plan, tasks: &[Task], durable: bool) -> Outcome<Duration> {
    let medium = Medium::new(plan, durable)?;
    let server = Server::start(medium.store("server")?).await?;
    let device = Device::with(medium.store("device")?, tasks).await?;
    let engine = device.engine(&server.url);
    let began = Stopwatch::start();
    pocket::push_all(&device, &engine, tasks.len()).await?;
    let time = began.elapsed();
    engine.destroy().await;
    server.stop().await?;
    Ok(time)
}
