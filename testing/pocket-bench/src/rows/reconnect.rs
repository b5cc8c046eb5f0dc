//! A device that comes back when nothing has happened.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_storage::Storage;
use pocket_sync_client::Status;

use crate::Outcome;
use crate::bare;
use crate::documents;
use crate::figure::{Row, Samples, Unit};
use crate::machine::Stopwatch;
use crate::plan::Plan;
use crate::pocket::{self, Device, Medium, Server};
use crate::tap::{Tap, Traffic};

/// Documents that are there on both sides.
const DOCUMENTS: usize = 1_000;

/// Answers that a reconnection takes at the most.
const MOST_TURNS: usize = 4;

/// How long a device may take with the answers it has, until one more is passed on.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reconnections of a run; their median counts.
const TIMES: usize = 10;

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    let medium = Medium::new(plan, false)?;
    let server = Server::start(medium.store("server")?).await?;
    let store = medium.store("device")?;
    let device = Device::with(Arc::clone(&store), &documents::tasks(DOCUMENTS)).await?;
    let engine = device.engine(&server.url);
    pocket::push_all(&device, &engine, DOCUMENTS).await?;
    engine.pull().await?;
    engine.destroy().await;
    drop(device);

    let (turns, traffic) = turns(&store, &server.url).await?;
    let (up, down) = (traffic.up(|_| true), traffic.down(|_| true));
    let (Some(asked), Some(answered)) = (up.first(), down.first()) else {
        return Err("a reconnection sent nothing".into());
    };

    let (mut pocket, mut bare) = <(Samples, Samples)>::default();
    for run in 0..plan.runs {
        plan.tell("reconnect", run);
        let (mut times, mut limits) = <(Samples, Samples)>::default();
        for _ in 0..TIMES {
            times.push(reconnected(&store, &server.url).await?.1);
            limits.push(round_trip(asked, answered).await?);
        }
        pocket.push(times.median());
        bare.push(limits.median());
    }
    server.stop().await?;
    let turns = Samples::exact(turns as f64);
    Ok(vec![
        Row::new(
            "reconnect",
            "reconnect with nothing new, until idle: round trips behind the WebSocket's own",
            Unit::RoundTrips,
            &turns,
        )
        .limit("one question, one answer", &Samples::exact(1.0), Some(1.0)),
        Row::new(
            "reconnect",
            "reconnect with nothing new, until idle: time, in memory",
            Unit::Milliseconds,
            &pocket,
        )
        .limit(
            "a bare WebSocket pair: connect, the first frame and its answer",
            &bare,
            None,
        ),
    ])
}

/// How many answers of the server it takes until the device is idle, at the least, and what was said.
///
/// Found by withholding the others, so that no race between two of them decides.
async fn turns(store: &Arc<dyn Storage>, url: &str) -> Outcome<(usize, Arc<Traffic>)> {
    for most in 1..=MOST_TURNS {
        let tap = Tap::withholding(url, Some(most)).await?;
        let done = tokio::time::timeout(PATIENCE, reconnected(store, &tap.url)).await;
        if let Ok(done) = done {
            drop(done?);
            return Ok((most, tap.finish().await?));
        }
    }
    Err(format!("a device was not idle after {MOST_TURNS} answers").into())
}

/// Opens the database and syncs until it is idle; the device, gone again from the network, and the milliseconds.
async fn reconnected(store: &Arc<dyn Storage>, url: &str) -> Outcome<(Device, f64)> {
    let device = Device::open(Arc::clone(store)).await?;
    let engine = device.engine(url);
    let mut status = engine.status();
    let began = Stopwatch::start();
    engine.start().await?;
    loop {
        match status.next().await {
            Some(Status::Idle) => break,
            Some(Status::Error) | None => {
                return Err(format!("no reconnection: {:?}", engine.snapshot()).into());
            }
            Some(_) => {}
        }
    }
    let time = began.elapsed().as_secs_f64() * 1_000.0;
    engine.destroy().await;
    Ok((device, time))
}

async fn round_trip(asked: &Bytes, answered: &Bytes) -> Outcome<f64> {
    let (asked, answered) = (std::slice::from_ref(asked), std::slice::from_ref(answered));
    let time = bare::send_all(asked, answered, None).await?;
    Ok(time.as_secs_f64() * 1_000.0)
}
