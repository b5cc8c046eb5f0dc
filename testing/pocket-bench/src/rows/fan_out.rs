//! One writer, many subscribers: the time from the writer's socket to the last of them.

use bytes::Bytes;

use crate::Outcome;
use crate::audience::{self, Audience};
use crate::bare;
use crate::documents;
use crate::figure::{Row, Samples, Unit};
use crate::fill;
use crate::light::{self, Light};
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{Medium, Server};

/// Documents before the measured ones.
const WARM_UP: usize = 5;

/// The frames of one document.
struct Frames {
    push: Bytes,
    outcome: Bytes,
    page: Bytes,
}

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    let frames = recorded().await?;
    let mut rows = Vec::new();
    for count in plan.subscribers {
        let (mut pocket, mut limit) = <(Samples, Samples)>::default();
        for run in 0..plan.runs {
            plan.tell(&format!("fan-out to {count}"), run);
            pocket.push(fanned_out(plan, count).await?);
            limit.push(fanned_out_bare(plan, count, &frames).await?);
        }
        let what =
            format!("one document → {count} subscribers, until the last has it, in memory, p50");
        rows.push(
            Row::new("fan-out", what, Unit::Milliseconds, &pocket).limit(
                "a bare WebSocket fan-out: the same frames, each answered",
                &limit,
                None,
            ),
        );
    }
    Ok(rows)
}

/// Waits until everybody has heard what `send` sends, time after time; the median in milliseconds.
async fn median(plan: &Plan, audience: Audience, sent: Vec<f64>) -> Outcome<f64> {
    let heard = audience.times().await?;
    let mut times = Samples::default();
    for (place, sent) in sent.iter().enumerate().skip(WARM_UP) {
        let last = heard
            .iter()
            .filter_map(|times| times.get(place))
            .fold(0.0_f64, |last, time| last.max(*time));
        times.push((last - sent) * 1_000.0);
    }
    debug_assert_eq!(sent.len(), plan.fan_outs + WARM_UP);
    Ok(times.median())
}

async fn fanned_out(plan: &Plan, count: usize) -> Outcome<f64> {
    let server = Server::start(Medium::Memory.store("server")?).await?;
    let times = plan.fan_outs + WARM_UP;
    let bodies = documents::bodies(&documents::tasks(times))?;
    let mut writer = Light::join(&server.url, 0).await?;
    let origin = Stopwatch::start();
    let audience = Audience::subscribe(&server.url, count, 0, origin, times).await?;
    let mut sent = Vec::with_capacity(times);
    for (number, body) in bodies.into_iter().enumerate() {
        let push = writer.creation(fill::id(number)?, body)?;
        sent.push(origin.elapsed().as_secs_f64());
        writer.send(push).await?;
        writer.applied().await?;
        audience.all_heard().await?;
    }
    let median = median(plan, audience, sent).await?;
    drop(writer);
    server.stop().await?;
    Ok(median)
}

async fn fanned_out_bare(plan: &Plan, count: usize, frames: &Frames) -> Outcome<f64> {
    let (listener, url) = bare::listen().await?;
    let (outcome, page) = (frames.outcome.clone(), frames.page.clone());
    let server = tokio::spawn(bare::fan_out(listener, count, outcome, page));
    let mut writer = light::dial(&url, None).await?;
    let origin = Stopwatch::start();
    let times = plan.fan_outs + WARM_UP;
    let answer = audience::answer_to(&frames.page)?;
    let audience = Audience::connect(&url, count, &answer, origin, times).await?;
    let mut sent = Vec::with_capacity(times);
    for _ in 0..times {
        sent.push(origin.elapsed().as_secs_f64());
        light::send(&mut writer, frames.push.clone()).await?;
        light::next_frame(&mut writer).await?;
        audience.all_heard().await?;
    }
    let median = median(plan, audience, sent).await?;
    drop(writer);
    server.await??;
    Ok(median)
}

async fn recorded() -> Outcome<Frames> {
    let server = Server::start(Medium::Memory.store("server")?).await?;
    let body = documents::bodies(&documents::tasks(1))?.remove(0);
    let mut writer = Light::join(&server.url, 0).await?;
    let mut subscriber = Light::join(&server.url, 1).await?;
    subscriber.subscribe().await?;
    let push = writer.creation(fill::id(0)?, body)?;
    writer.send(push.clone()).await?;
    let frames = Frames {
        push,
        outcome: writer.frame().await?,
        page: subscriber.frame().await?,
    };
    drop((writer, subscriber));
    server.stop().await?;
    Ok(frames)
}
