//! A call waits on a connection on which nothing comes any more.

mod common;

use common::*;
use pocket_core::replica::Scope;
use pocket_sync_client::{Pass, SessionConfig, Status, SyncError, codes};
use pocket_sync_protocol::ClientMessage;

/// What a server has to give a sign.
const ANSWER: u64 = 10_000;

/// Lets time pass as it does: the session is called at each of its deadlines.
async fn pass(bench: &mut Bench, millis: u64) {
    let end = bench.now.plus(millis);
    while bench.timer.is_some_and(|at| at <= end) {
        bench.wait_for_timer().await;
    }
    bench.now = end;
}

/// How the calls ended.
fn ends(bench: &Bench) -> Vec<(u64, String)> {
    let finished = bench.finished.iter();
    let ends = finished.map(|(id, result)| {
        let code = result.as_ref().map_or_else(SyncError::code, |()| "ok");
        (*id, code.to_owned())
    });
    ends.collect()
}

fn end(id: u64, code: &str) -> (u64, String) {
    (id, code.to_owned())
}

/// A laptop's connection was cut without a word, or the server stands still: a call waited for more than a minute.
#[tokio::test]
async fn a_call_gives_a_silent_connection_up_and_fails_when_another_one_says_nothing_either() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let first = bench.connection();
    bench.command(1, Pass::Both).await;
    assert_eq!(bench.pings().len(), 1, "the server is asked at once");
    pass(&mut bench, ANSWER - 1).await;
    assert_eq!(bench.connection, Some(first));
    pass(&mut bench, 1).await;
    assert_eq!(bench.error_code(), codes::TIMEOUT);
    assert_ne!(
        bench.connection,
        Some(first),
        "another one is tried at once"
    );
    assert_eq!(ends(&bench), []);
    bench.opened().await;
    pass(&mut bench, ANSWER - 1).await;
    assert_eq!(ends(&bench), []);
    pass(&mut bench, 1).await;
    assert_eq!(ends(&bench), [end(1, codes::TIMEOUT)]);
}

#[tokio::test]
async fn a_call_that_outlives_its_connection_ends_well_on_the_next_one() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.insert("a").await;
    bench.command(1, Pass::Push).await;
    pass(&mut bench, ANSWER + 100).await;
    bench.opened().await;
    bench.say(welcome()).await;
    let push = bench.pushes().pop().unwrap();
    bench.say(applied(&push, 1)).await;
    assert_eq!(ends(&bench), [end(1, "ok")]);
    assert_eq!(bench.closes.len(), 1);
}

#[tokio::test]
async fn a_server_that_says_something_has_its_time_again_and_is_asked_when_half_of_it_is_over() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.insert("a").await;
    bench.command(1, Pass::Push).await;
    let asked = bench.pings();
    bench.say(pong(asked[0], 0)).await;
    // It owes the outcome of a push, which may take its time for a reason of its own.
    for round in 1..=3 {
        pass(&mut bench, ANSWER / 2).await;
        let asked = bench.pings();
        assert_eq!(asked.len(), 1 + round);
        pass(&mut bench, ANSWER - 1).await;
        bench.say(pong(asked[round], 0)).await;
        assert_eq!(bench.closes.len(), 0);
    }
    assert_eq!(ends(&bench), []);
}

#[tokio::test]
async fn what_is_on_its_way_on_a_slow_line_gives_more_time() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.put("a", &"x".repeat(300 * 1024)).await;
    bench.event(pocket_sync_client::Event::OutboxGrew).await;
    bench.command(1, Pass::Push).await;
    let push = bench.pushes().pop().unwrap();
    // They leave at 8 KiB a second, and the pong comes behind them.
    pass(&mut bench, 300 * 1_000 / 8).await;
    assert_eq!(bench.closes.len(), 0);
    let asked = bench.pings();
    bench.say(applied(&push, 1)).await;
    bench.say(pong(asked[0], 1)).await;
    assert_eq!(ends(&bench), [end(1, "ok")]);
}

#[tokio::test]
async fn a_second_for_each_kib_that_is_on_its_way_and_no_more_than_a_push_may_take() {
    for (kib, least, most) in [
        (4, ANSWER + 4_000, ANSWER + 5_000),
        (300, 2 * HEARTBEAT - 1, 2 * HEARTBEAT),
    ] {
        let mut bench = Bench::new().await;
        bench.connect().await;
        bench.put("a", &"x".repeat(kib * 1024)).await;
        bench.event(pocket_sync_client::Event::OutboxGrew).await;
        bench.command(1, Pass::Push).await;
        pass(&mut bench, least).await;
        assert_eq!(bench.closes.len(), 0, "{kib} KiB");
        pass(&mut bench, most - least).await;
        assert_eq!(bench.closes.len(), 1, "{kib} KiB");
        assert_eq!(bench.error_code(), codes::TIMEOUT);
    }
}

#[tokio::test]
async fn documents_that_the_server_owes_are_waited_for_as_long_as_heartbeats_allow() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.command(1, Pass::Pull).await;
    let asked = bench.pings();
    bench.say(pong(asked[0], 7)).await;
    pass(&mut bench, 4 * ANSWER).await;
    assert_eq!(bench.closes.len(), 0);
    pass(&mut bench, 4 * HEARTBEAT).await;
    assert!(!bench.closes.is_empty());
}

#[tokio::test]
async fn a_device_that_slept_asks_again_before_it_gives_up() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.command(1, Pass::Both).await;
    // Not even the timer came.
    bench.wait(60 * ANSWER).await;
    assert_eq!(bench.closes.len(), 0);
    let asked = bench.pings();
    assert!(asked.len() > 1);
    bench.say(pong(asked[asked.len() - 1], 0)).await;
    assert_eq!(ends(&bench), [end(1, "ok")]);
    bench.command(2, Pass::Both).await;
    bench.wait(60 * ANSWER).await;
    pass(&mut bench, ANSWER).await;
    assert_eq!(bench.closes.len(), 1, "it is no excuse for ever");
}

#[tokio::test]
async fn calls_that_follow_each_other_do_not_keep_a_dead_connection() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    for id in 0..10 {
        bench.command(id, Pass::Both).await;
        pass(&mut bench, ANSWER / 10).await;
    }
    assert_eq!(bench.closes.len(), 1);
}

#[tokio::test]
async fn without_a_call_only_heartbeats_count_and_the_time_is_a_setting() {
    let mut config = SessionConfig::new(Scope::All);
    config.answer_millis = 500;
    let mut bench = Bench::with(config).await;
    bench.connect().await;
    pass(&mut bench, HEARTBEAT + ANSWER).await;
    assert_eq!(bench.closes.len(), 0);
    assert_eq!(bench.status(), Status::Idle);
    bench.command(1, Pass::Both).await;
    pass(&mut bench, 500).await;
    assert_eq!(bench.closes.len(), 1);
    assert!(
        !bench
            .sent
            .iter()
            .any(|sent| matches!(sent, ClientMessage::Push(_)))
    );
}
