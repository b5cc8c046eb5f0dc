//! Connections that have subscribed and do nothing: what a server keeps for each.

use super::{Measured, Peak};
use crate::Outcome;
use crate::child::{self, Child};
use crate::documents;
use crate::figure::{Row, Samples, Unit};
use crate::fill;
use crate::light::Light;
use crate::plan::Plan;
use crate::roles;

/// Connections before the measured ones, so that what a server needs once is there.
const WARM_UP: usize = 10;

/// Documents that each of them has read.
const DOCUMENTS: usize = 100;

/// What one connection may cost, in KiB.
const AIM: f64 = 16.0;

pub(super) async fn measure(plan: &Plan) -> Outcome<Measured> {
    let mut measured = Measured::default();
    if !child::tells_memory("idle") {
        return Ok(measured);
    }
    let (mut pocket, mut bare) = <(Samples, Samples)>::default();
    let mut peak = None;
    for run in 0..plan.runs {
        plan.tell("idle connections", run);
        let (server, url) = child::server(None).await?;
        fill(&url).await?;
        let mut lights = subscribed(&url, 1, WARM_UP).await?;
        let before = server.memory()?.now;
        lights.extend(subscribed(&url, 1 + WARM_UP, plan.idle).await?);
        let memory = server.memory()?;
        pocket.push(each(before, memory.now, plan.idle));
        peak = peak.max(Some(memory.peak));
        drop(lights);
        server.end().await?;

        let mut holder = Child::start(roles::HOLDER)?;
        let url: String = holder.ask(&roles::Serve { store: None }).await?;
        let mut sockets = roles::bare_connections(&url, WARM_UP).await?;
        let before = holder.memory()?.now;
        sockets.extend(roles::bare_connections(&url, plan.idle).await?);
        bare.push(each(before, holder.memory()?.now, plan.idle));
        drop(sockets);
        holder.end().await?;
    }
    let what = format!("memory of a server with {} idle connections", plan.idle);
    measured.rows.push(
        Row::new("idle", what, Unit::KibibytesEach, &pocket)
            .limit("what is aimed at", &Samples::exact(AIM), Some(1.0))
            .limit(
                "a bare WebSocket server that sends nothing, with read buffers of 2 KiB",
                &bare,
                None,
            ),
    );
    let process = format!("server with {} idle connections", plan.idle);
    measured
        .peaks
        .extend(peak.map(|bytes| Peak { process, bytes }));
    Ok(measured)
}

/// Something to read for everybody who subscribes.
async fn fill(url: &str) -> Outcome {
    let mut writer = Light::join(url, 0).await?;
    let bodies = documents::bodies(&documents::tasks(DOCUMENTS))?;
    for (number, body) in bodies.into_iter().enumerate() {
        let push = writer.creation(fill::id(number)?, body)?;
        writer.send(push).await?;
        writer.applied().await?;
    }
    Ok(())
}

async fn subscribed(url: &str, first: usize, count: usize) -> Outcome<Vec<Light>> {
    let mut lights = Vec::with_capacity(count);
    for number in first..first + count {
        let mut light = Light::join(url, number as u64).await?;
        light.subscribe().await?;
        lights.push(light);
    }
    Ok(lights)
}

fn each(before: u64, after: u64, count: usize) -> f64 {
    after.saturating_sub(before) as f64 / 1024.0 / count as f64
}
