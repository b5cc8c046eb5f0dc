//! Subscribers that take nothing any more must not hold up the others.

use pocket_core::{Body, DocumentLimits, Map};

use crate::Outcome;
use crate::audience::Audience;
use crate::figure::{Row, Samples, Unit};
use crate::fill;
use crate::light::Light;
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{Medium, Server};

/// Of how many subscribers one is stalled.
const ONE_OF: usize = 10;

/// The text in each document: together they are more than sockets hold.
const TEXT_BYTES: usize = 16 * 1024;

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    let [count, _] = plan.subscribers;
    let stalled = count / ONE_OF;
    let (mut with, mut without) = <(Samples, Samples)>::default();
    for run in 0..plan.runs {
        plan.tell("stalled subscribers", run);
        with.push(delivered(plan, count, stalled).await?);
        without.push(delivered(plan, count, 0).await?);
    }
    let what = format!(
        "one document → the healthy of {count} subscribers, {stalled} of them stalled, in memory, p99"
    );
    Ok(vec![
        Row::new("stalled", what, Unit::Milliseconds, &with).limit(
            "Pocket: the same with none stalled",
            &without,
            Some(2.0),
        ),
    ])
}

/// The 99th percentile of the times from the writer's socket to each healthy subscriber, in milliseconds.
async fn delivered(plan: &Plan, count: usize, stalled: usize) -> Outcome<f64> {
    let server = Server::start(Medium::Memory.store("server")?).await?;
    let mut map = Map::new();
    map.insert("text", "x".repeat(TEXT_BYTES));
    let body = Body::from_map(&map, &DocumentLimits::default())?;
    let mut writer = Light::join(&server.url, 0).await?;
    let origin = Stopwatch::start();
    let audience = Audience::subscribe(&server.url, count, stalled, origin, plan.fan_outs).await?;
    let mut sent = Vec::with_capacity(plan.fan_outs);
    for number in 0..plan.fan_outs {
        let push = writer.creation(fill::id(number)?, body.clone())?;
        sent.push(origin.elapsed().as_secs_f64());
        writer.send(push).await?;
        writer.applied().await?;
        audience.all_heard().await?;
    }
    let mut times = Samples::default();
    for heard in audience.times().await? {
        for (heard, sent) in heard.iter().zip(&sent) {
            times.push((heard - sent) * 1_000.0);
        }
    }
    drop(writer);
    server.stop().await?;
    Ok(times.quantile(0.99))
}
