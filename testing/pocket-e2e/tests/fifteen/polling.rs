//! HTTP with a server that holds no answer back: devices ask now and then.

use std::sync::Arc;
use std::time::Duration;

use pocket_sync_client::Status;
use pocket_sync_server::{Config, TokenTable};

use crate::world::{Device, Transport, World, until, within};

async fn world() -> World {
    let mut config = Config::default();
    config.poll_wait = Duration::ZERO;
    World::with(Transport::Http, config, Arc::new(TokenTable::open())).await
}

async fn asking_every(world: &World, millis: u64) -> Device {
    Device::new(world.config().pull_interval(Duration::from_millis(millis))).await
}

async fn idle(device: &Device) {
    until("it is idle", || async {
        device.engine.snapshot().status == Status::Idle
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_arrive_by_polling_alone_with_each_interval() {
    within(async {
        let world = world().await;
        let (reader, writer) = (asking_every(&world, 100).await, world.device().await);
        reader.sync().await;
        for n in 0..3 {
            writer.put(&format!("d{n}"), "polled").await;
            writer.sync().await;
            until("it arrives", || async {
                reader.documents().await.len() == n + 1
            })
            .await;
        }
        idle(&reader).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_interval_of_zero_changes_arrive_with_a_call_and_pushes_go_out_by_themselves() {
    within(async {
        let world = world().await;
        let (reader, writer) = (asking_every(&world, 0).await, asking_every(&world, 0).await);
        reader.sync().await;
        writer.engine.start().await.unwrap();
        for n in 0..1_500 {
            writer.put(&format!("d{n}"), "by itself").await;
        }
        // Nobody calls: what is written goes out, and its own places come back with the outcomes.
        until("all of it went out", || async {
            writer.pending().await == 0
        })
        .await;
        idle(&writer).await;
        // A reader's answer to its last page is a question, too, and may have found the first of them.
        let found = reader.documents().await.len();
        writer.put("last", "by itself").await;
        until("it went out", || async { writer.pending().await == 0 }).await;
        assert_eq!(
            reader.documents().await.len(),
            found,
            "nobody has asked since"
        );
        assert_eq!(
            reader.engine.snapshot().status,
            Status::Idle,
            "as of the last answer"
        );
        reader.engine.pull().await.unwrap();
        assert_eq!(reader.documents().await.len(), 1_501);
        idle(&reader).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_the_server_has_forgotten_goes_on_when_it_has_something_to_say() {
    within(async {
        let mut config = Config::default();
        config.poll_wait = Duration::ZERO;
        config.client_timeout = Duration::from_millis(100);
        // The TCP connection it came by is closed after this silence, and counted until then.
        config.handshake_timeout = Duration::from_secs(1);
        let world = World::with(Transport::Http, config, Arc::new(TokenTable::open())).await;
        let device = asking_every(&world, 0).await;
        device.put("1", "known").await;
        device.sync().await;
        // What the device confirms late on a busy machine may open a connection once more.
        until("the server forgets it, and nobody has told it", || async {
            world.connections() == 0 && device.engine.snapshot().status == Status::Idle
        })
        .await;
        device.put("2", "later").await;
        until("it went out", || async { device.pending().await == 0 }).await;
        idle(&device).await;
        assert_eq!(world.documents().await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_small_messages_gets_no_larger_requests() {
    within(async {
        let mut config = Config::default();
        config.limits.wire.message_bytes = 512 * 1024;
        config.limits.wire.document_bytes = 128 * 1024;
        let world = World::with(Transport::Http, config, Arc::new(TokenTable::open())).await;
        let device = world.device().await;
        device.sync().await;
        device.go_offline().await;
        // More than the usual message takes.
        let text = "x".repeat(100_000);
        for n in 0..60 {
            device.put(&format!("d{n}"), &text).await;
        }
        device.sync().await;
        assert_eq!(device.pending().await, 0);
        assert_eq!(world.documents().await.len(), 60);
    })
    .await;
}
