//! A session that asks instead of being told, as over HTTP.

mod common;

use common::*;
use pocket_core::replica::Scope;
use pocket_sync_client::{Pass, SessionConfig, Status};
use pocket_sync_protocol::ClientMessage;
use pocket_sync_protocol::codes::{self as wire, close};

const HOUR: u64 = 60 * 60 * 1_000;

async fn idle(poll_millis: u64) -> Bench {
    let mut config = SessionConfig::new(Scope::All);
    config.poll_millis = Some(poll_millis);
    let mut bench = Bench::with(config).await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    assert_eq!(bench.status(), Status::Idle);
    bench
}

fn pings(bench: &mut Bench) -> Vec<u32> {
    let mut pings = Vec::new();
    bench.sent.retain(|message| match message {
        ClientMessage::Ping(ping) => {
            pings.push(ping.id);
            false
        }
        _ => true,
    });
    pings
}

#[tokio::test]
async fn it_asks_after_its_own_interval_and_idle_holds_as_of_the_last_answer() {
    let mut bench = idle(10 * HEARTBEAT).await;
    bench.wait(9 * HEARTBEAT).await;
    assert!(
        pings(&mut bench).is_empty(),
        "the server's heartbeat is not its own"
    );
    assert_eq!(bench.status(), Status::Idle);
    bench.wait(HEARTBEAT).await;
    let asked = pings(&mut bench);
    assert_eq!(asked.len(), 1);
    bench.say(pong(asked[0], 0)).await;
    assert_eq!(bench.status(), Status::Idle);
    bench.wait(10 * HEARTBEAT).await;
    let asked = pings(&mut bench);
    bench.say(pong(asked[0], 1)).await;
    assert_eq!(
        bench.status(),
        Status::Syncing,
        "the answer told of something new"
    );
}

#[tokio::test]
async fn with_an_interval_of_zero_only_a_call_asks() {
    let mut bench = idle(0).await;
    for _ in 0..48 {
        bench.wait(HOUR).await;
    }
    assert!(pings(&mut bench).is_empty() && bench.closes.is_empty());
    assert_eq!(bench.status(), Status::Idle);
    bench.command(1, Pass::Pull).await;
    let asked = pings(&mut bench);
    bench.say(pong(asked[0], 0)).await;
    assert_eq!(bench.finished, [(1, Ok(()))]);
}

#[tokio::test]
async fn who_asks_often_does_not_lose_patience_sooner() {
    let mut bench = idle(1_000).await;
    bench.insert("a").await;
    bench.the_push();
    for _ in 0..55 {
        bench.wait(1_000).await;
    }
    assert!(
        bench.closes.is_empty(),
        "less than two heartbeats of the server went by"
    );
    for _ in 0..10 {
        bench.wait(1_000).await;
    }
    assert_eq!(bench.closes, [close::TIMEOUT]);
}

#[tokio::test]
async fn a_connection_that_the_server_forgot_is_opened_again_at_once_but_not_in_a_loop() {
    let mut bench = idle(0).await;
    bench.close(Some(close::GONE)).await;
    assert!(
        bench.connection.is_some(),
        "nothing is wrong, so nothing waits"
    );
    bench.opened().await;
    bench.say(welcome()).await;
    bench.close(Some(close::GONE)).await;
    assert!(bench.connection.is_none(), "this time it waits");
    bench.wait_for_timer().await;
    assert!(bench.connection.is_some());
}

#[tokio::test]
async fn a_late_hello_of_its_own_does_not_keep_it_away() {
    let mut bench = idle(30_000).await;
    bench.insert("a").await;
    bench.command(1, Pass::Both).await;
    bench.say(error(None, wire::REPLACED, false, true)).await;
    assert_eq!(
        bench.status(),
        Status::Offline,
        "no error: it comes back soon"
    );
    let wait = bench.timer.expect("it comes back").since(bench.now);
    assert!(wait <= 1_000, "{wait}");
    assert!(bench.finished.is_empty(), "the call bears it");
}
