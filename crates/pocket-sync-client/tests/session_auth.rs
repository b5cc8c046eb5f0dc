//! Tokens that are refused or end: the application is asked, once for each refusal, and never in a loop.

mod common;

use common::*;
use pocket_core::replica::Scope;
use pocket_sync_client::{AuthReason, Event, Pass, SessionConfig, Status, SyncError};
use pocket_sync_protocol::codes::{self as wire, close};

/// A session with somebody who gives tokens.
async fn bench() -> Bench {
    let mut config = SessionConfig::new(Scope::All);
    config.renews = true;
    config.token = Some("first".to_owned());
    Bench::with(config).await
}

fn refusal() -> SyncError {
    SyncError::new(wire::UNAUTHORIZED, "who is that?")
}

async fn give(bench: &mut Bench, token: &str) {
    bench.event(Event::Renewed(Ok(token.to_owned()))).await;
}

#[tokio::test]
async fn a_refused_token_is_asked_for_once_and_the_new_one_tried_at_once() {
    let mut bench = bench().await;
    bench.event(Event::Start).await;
    bench.refuse(refusal()).await;
    assert_eq!(bench.renewals, [AuthReason::Refused(refusal())]);
    assert_eq!(
        (bench.status(), bench.error_code()),
        (Status::Error, "unauthorized")
    );
    assert_eq!(
        (bench.connection, bench.timer),
        (None, None),
        "nothing happens without it"
    );
    bench.wait(3_600_000).await;
    assert_eq!(bench.renewals.len(), 1);

    give(&mut bench, "second").await;
    let hello = bench.opened().await;
    assert_eq!(hello.token.as_deref(), Some("second"));
    bench.say(welcome()).await;
    assert_ne!(bench.status(), Status::Error);
}

#[tokio::test]
async fn after_a_second_refusal_the_next_question_waits() {
    let mut bench = bench().await;
    bench.event(Event::Start).await;
    for round in 1..=4 {
        bench.refuse(refusal()).await;
        if round > 1 {
            assert_eq!(bench.renewals.len(), round - 1, "not asked at once");
            let before = bench.now;
            let at = bench.wait_for_timer().await;
            assert!(
                at >= before.plus(15_000) && at <= before.plus(30_000),
                "{at:?}"
            );
        }
        assert_eq!(
            (bench.renewals.len(), bench.status()),
            (round, Status::Error)
        );
        give(&mut bench, "no better").await;
        assert!(bench.connection.is_some(), "each answer is tried");
    }
    // One that is taken ends the row.
    bench.opened().await;
    bench.say(welcome()).await;
    bench.close(Some(close::UNAUTHORIZED)).await;
    assert_eq!(bench.renewals.len(), 5, "asked at once again");
}

#[tokio::test]
async fn without_an_answer_it_is_asked_again_later_and_commands_fail_with_both_reasons() {
    let mut bench = bench().await;
    bench.event(Event::Start).await;
    bench.command(7, Pass::Both).await;
    bench.refuse(refusal()).await;
    assert!(bench.finished.is_empty(), "there may be another token yet");
    bench
        .event(Event::Renewed(Err("logged out".to_owned())))
        .await;
    let (id, result) = bench.finished.pop().expect("it failed");
    let error = result.expect_err("there is no token");
    assert_eq!((id, error.code()), (7, "unauthorized"));
    assert!(error.message().contains("who is that?") && error.message().contains("logged out"));
    assert_eq!((bench.status(), bench.renewals.len()), (Status::Error, 1));
    bench.wait_for_timer().await;
    assert_eq!(bench.renewals.len(), 2);
    give(&mut bench, "second").await;
    assert!(bench.connection.is_some());
}

#[tokio::test]
async fn a_token_set_by_hand_goes_first_and_a_late_answer_counts_for_nothing() {
    let mut bench = bench().await;
    bench.event(Event::Start).await;
    bench.refuse(refusal()).await;
    bench
        .event(Event::TokenChanged(Some("by hand".to_owned())))
        .await;
    let hello = bench.opened().await;
    assert_eq!(hello.token.as_deref(), Some("by hand"));
    give(&mut bench, "late").await;
    bench.say(welcome()).await;
    bench.close(None).await;
    let hello = bench.reconnect(welcome()).await;
    assert_eq!(hello.token.as_deref(), Some("by hand"));
}

#[tokio::test]
async fn a_token_that_says_when_it_ends_is_renewed_before() {
    // The server's clock begins at 1,700,000,000 s; the claims are `{"exp":1700000100}`.
    let token = "e30.eyJleHAiOjE3MDAwMDAxMDB9.c2ln";
    let mut config = SessionConfig::new(Scope::All);
    config.renews = true;
    config.token = Some(token.to_owned());
    let mut bench = Bench::with(config).await;
    bench.connect().await;
    let connected = bench.now;
    bench.wait(79_000).await;
    assert!(bench.renewals.is_empty());
    while bench.renewals.is_empty() {
        let asked = bench.pings().len();
        for id in bench.pings().into_iter().skip(asked.saturating_sub(1)) {
            bench.say(pong(id, 0)).await;
        }
        bench.wait_for_timer().await;
    }
    assert_eq!(bench.renewals, [AuthReason::Expiring]);
    let after = bench.now.millis() - connected.millis();
    assert_eq!(after, 80_000, "the last fifth, since it lives only 100 s");
    give(&mut bench, "second").await;
    assert!(bench.closes.is_empty(), "the connection goes on");

    // When the server ends it, the new one is there already: no question, no error.
    bench.close(Some(close::TOKEN_EXPIRED)).await;
    assert_eq!(bench.renewals.len(), 1);
    assert_ne!(bench.status(), Status::Error);
    let hello = bench.opened().await;
    assert_eq!(hello.token.as_deref(), Some("second"));
}

#[tokio::test]
async fn a_source_that_gives_the_same_token_again_is_not_asked_without_a_pause() {
    let token = "e30.eyJleHAiOjE3MDAwMDAxMDB9.c2ln";
    let mut config = SessionConfig::new(Scope::All);
    config.renews = true;
    config.token = Some(token.to_owned());
    let mut bench = Bench::with(config).await;
    bench.connect().await;
    let mut asked_at = Vec::new();
    for questions in 1..=12 {
        while bench.renewals.len() < questions {
            let asked = bench.pings().len();
            for id in bench.pings().into_iter().skip(asked.saturating_sub(1)) {
                bench.say(pong(id, 0)).await;
            }
            bench.wait_for_timer().await;
        }
        asked_at.push(bench.now.millis());
        give(&mut bench, token).await;
    }
    let pauses = asked_at.windows(2).map(|pair| pair[1] - pair[0]);
    let shortest = pauses.min().unwrap_or_default();
    assert!(shortest >= 1_000, "{asked_at:?}");
}

#[tokio::test]
async fn a_stop_ends_the_asking_and_a_start_begins_anew() {
    let mut bench = bench().await;
    bench.event(Event::Start).await;
    bench.refuse(refusal()).await;
    bench.event(Event::Stop).await;
    give(&mut bench, "late").await;
    assert_eq!((bench.status(), bench.connection), (Status::Offline, None));
    bench.event(Event::Start).await;
    bench.refuse(refusal()).await;
    assert_eq!(bench.renewals.len(), 2, "a new refusal, a new question");
}
