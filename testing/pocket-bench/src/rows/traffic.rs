//! One push and one cold pull through a proxy: the frames that limits move, and the bytes on the wire.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use pocket_sync_protocol::{ClientMessage, ServerMessage};

use crate::Outcome;
use crate::documents;
use crate::plan::Plan;
use crate::pocket::{self, Device, Server};
use crate::recorder::{Recorder, Writes};
use crate::tap::{Tap, Traffic};

/// One direction of work: what carried it, what answered, and the bytes at the socket.
pub(super) struct Recorded {
    pub(super) frames: Vec<Bytes>,
    pub(super) answers: Vec<Bytes>,
    pub(super) frame_bytes: u64,
    pub(super) answer_bytes: u64,
    /// What was written meanwhile, commit by commit: of a push on both sides, of a pull on the device.
    pub(super) writes: Vec<Writes>,
}

pub(super) struct Passes {
    /// Pushes and their outcomes.
    pub(super) push: Recorded,
    /// The request that began the pull.
    pub(super) request: Bytes,
    /// Pages and what asked for more.
    pub(super) pull: Recorded,
}

/// Pushes all documents of the plan and reads them again, in memory.
pub(super) async fn record(plan: &Plan) -> Outcome<Passes> {
    eprintln!("bench: recording the frames of a push and a pull");
    let count = plan.documents;
    let stores = [Recorder::new(), Recorder::new(), Recorder::new()];
    let [on_server, on_writer, on_reader] = stores.clone();
    let server = Server::start(Arc::new(on_server)).await?;
    let writer = Device::with(Arc::new(on_writer), &documents::tasks(count)).await?;
    for store in &stores {
        store.take();
    }
    let tap = Tap::start(&server.url).await?;
    let engine = writer.engine(&tap.url);
    pocket::push_all(&writer, &engine, count).await?;
    engine.destroy().await;
    let sent = tap.finish().await?;

    let mut push_writes = stores[0].take();
    push_writes.extend(stores[1].take());

    let reader = Device::open(Arc::new(on_reader)).await?;
    let tap = Tap::start(&server.url).await?;
    let engine = reader.engine(&tap.url);
    pocket::pull_all(&engine, count).await?;
    engine.destroy().await;
    let read = tap.finish().await?;
    server.stop().await?;

    let bytes = |traffic: &Arc<Traffic>| {
        (
            traffic.up_bytes.load(Ordering::Relaxed),
            traffic.down_bytes.load(Ordering::Relaxed),
        )
    };
    let (push_up, push_down) = bytes(&sent);
    let (pull_up, pull_down) = bytes(&read);
    let request = read.up(|message| matches!(message, ClientMessage::Pull(_)));
    let passes = Passes {
        push: Recorded {
            frames: sent.up(|message| matches!(message, ClientMessage::Push(_))),
            answers: sent.down(|message| matches!(message, ServerMessage::Outcomes(_))),
            frame_bytes: push_up,
            answer_bytes: push_down,
            writes: push_writes,
        },
        request: request.into_iter().next().ok_or("no pull was seen")?,
        pull: Recorded {
            frames: read.down(|message| matches!(message, ServerMessage::Page(_))),
            answers: read.up(|message| matches!(message, ClientMessage::More(_))),
            frame_bytes: pull_down,
            answer_bytes: pull_up,
            writes: stores[2].take(),
        },
    };
    if passes.push.frames.len() != passes.push.answers.len() || passes.pull.frames.is_empty() {
        return Err("the recorded pushes and outcomes do not fit each other".into());
    }
    Ok(passes)
}
