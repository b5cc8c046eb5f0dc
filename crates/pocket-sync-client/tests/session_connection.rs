//! Connecting, being refused, losing the connection and coming back.

mod common;
#[path = "session_connection/histories.rs"]
mod histories;

use std::time::Duration;

use common::*;
use pocket_core::replica::Scope;
use pocket_sync_client::{
    Event, SessionConfig, Status, StoreAnswer, StoreRequest, StoreRequestKind, SyncError, codes,
};
use pocket_sync_protocol::codes::{self as wire, close};
use pocket_sync_protocol::{ClientMessage, EpochStart, Lineage, SessionToken, Welcome};

/// A server may choose any version of a range; one that this side never offered is no welcome.
#[tokio::test]
async fn a_welcome_in_a_protocol_version_that_was_not_offered_is_refused() {
    let mut bench = Bench::new().await;
    bench.insert_quietly("a").await;
    bench.greet().await;
    bench
        .say(Welcome {
            version: 2,
            ..welcome()
        })
        .await;
    assert_eq!(bench.error_code(), wire::VERSION_MISMATCH);
    assert_eq!(bench.status(), Status::Error);
    let error = bench.last().stats.last_error.clone().expect("it is told");
    assert!(error.message().contains("version 2"), "{error}");
    assert!(bench.pushes().is_empty() && bench.pulls().is_empty());
    assert_eq!(bench.state().await.pending, 1);
}

#[tokio::test]
async fn a_fresh_client_says_hello_and_stores_the_welcome_before_anything_travels() {
    let mut bench = Bench::new().await;
    bench.insert_quietly("a").await;
    let hello = bench.greet().await;
    assert_eq!(hello.client, bench.database.client_id());
    assert!(hello.session.is_none() && hello.checkpoint.is_none() && hello.collections.is_empty());

    bench.slow_store = true;
    bench.now = bench.now.plus(250);
    bench.say(welcome()).await;
    assert_eq!(bench.stored.last(), Some(&StoreRequestKind::Attach));
    let Some(StoreRequest::Attach(told)) = &bench.asked else {
        panic!("{:?}", bench.asked);
    };
    assert_eq!(told.since_asked, Duration::from_millis(250));
    assert!(
        bench.sent.is_empty(),
        "nothing may travel before the session token is durable"
    );

    bench.slow_store = false;
    let answer = bench.perform().await;
    bench.event(Event::Stored(answer)).await;
    assert_eq!(bench.the_pull().after, seq(0));
    assert_eq!(bench.the_push().first, number(1));
}

#[tokio::test]
async fn the_session_token_of_the_last_welcome_is_presented_at_the_next_hello() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.close(None).await;
    bench.wait_for_timer().await;
    assert_eq!(
        bench.opened().await.session,
        Some(SessionToken::from_bytes([9; 16]))
    );
}

#[tokio::test]
async fn starting_while_offline_works_and_goes_on_trying_within_the_jitter_bounds() {
    let mut bench = Bench::new().await;
    bench.event(Event::Start).await;
    for most in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000] {
        bench
            .refuse(SyncError::retryable(codes::CONNECT, "nobody there"))
            .await;
        assert_eq!(
            (bench.status(), bench.error_code()),
            (Status::Offline, codes::CONNECT)
        );
        let at = bench.timer.expect("it tries again");
        assert!(
            at.since(bench.now) <= most,
            "{at:?} is more than {most} ms from now"
        );
        bench.wait_for_timer().await;
        assert!(bench.connection.is_some());
    }
}

#[tokio::test]
async fn without_auto_retry_a_lost_connection_stays_lost() {
    let mut config = SessionConfig::new(Scope::All);
    config.auto_retry = false;
    let mut bench = Bench::with(config).await;
    bench.connect().await;
    bench.close(None).await;
    assert_eq!((bench.status(), bench.timer), (Status::Offline, None));
}

#[tokio::test]
async fn another_user_is_told_apart_and_another_token_helps() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.close(None).await;
    bench.wait_for_timer().await;
    bench.opened().await;
    bench
        .say(Welcome {
            user: "bob".to_owned(),
            ..welcome()
        })
        .await;
    assert_eq!(
        (bench.status(), bench.error_code()),
        (Status::Error, codes::OTHER_USER)
    );
    bench
        .event(Event::TokenChanged(Some("anns".to_owned())))
        .await;
    assert_eq!(bench.opened().await.token.as_deref(), Some("anns"));
}

#[tokio::test]
async fn a_refused_handshake_leaves_no_mark() {
    let mut bench = Bench::new().await;
    let before = bench.state().await;
    bench.greet().await;
    bench
        .say(error(None, wire::UNAUTHORIZED, false, true))
        .await;
    assert_eq!(bench.state().await, before);
}

#[tokio::test]
async fn a_refused_token_waits_for_another_one_and_tries_slowly_meanwhile() {
    let mut bench = Bench::new().await;
    bench.insert_quietly("a").await;
    bench.greet().await;
    bench
        .say(error(None, wire::TOKEN_EXPIRED, false, true))
        .await;
    assert_eq!(
        (bench.status(), bench.error_code()),
        (Status::Error, wire::TOKEN_EXPIRED)
    );
    let wait = bench.timer.expect("it tries again").since(bench.now);
    assert!((15_000..=30_000).contains(&wait), "{wait}");

    bench
        .event(Event::TokenChanged(Some("fresh".to_owned())))
        .await;
    assert_eq!(bench.opened().await.token.as_deref(), Some("fresh"));
    bench.say(welcome()).await;
    assert_eq!(bench.the_push().first, number(1), "pending work stays");
    assert_eq!(bench.status(), Status::Syncing);
}

#[tokio::test]
async fn a_server_of_other_versions_is_an_error_that_names_both_and_the_outbox_waits() {
    let mut bench = Bench::new().await;
    bench.insert_quietly("a").await;
    bench.greet().await;
    let told = "this server speaks protocol versions 41 to 43, the client 1; update the client";
    let mut refusal = error(None, wire::VERSION_MISMATCH, false, true);
    told.clone_into(&mut refusal.message);
    bench.say(refusal).await;
    assert_eq!(
        (bench.status(), bench.error_code()),
        (Status::Error, wire::VERSION_MISMATCH)
    );
    let stats = &bench.last().stats;
    assert_eq!(
        stats.last_error.as_ref().map(SyncError::message),
        Some(told)
    );
    assert_eq!(stats.pending, 1);
    assert!(bench.pushes().is_empty());

    // One that welcomes in a version that was not offered is no better.
    let mut bench = Bench::new().await;
    bench.insert_quietly("a").await;
    bench.greet().await;
    bench
        .say(Welcome {
            version: 43,
            ..welcome()
        })
        .await;
    assert_eq!(bench.error_code(), wire::VERSION_MISMATCH);
    let error = bench.last().stats.last_error.clone().unwrap();
    assert!(error.message().contains("43"), "{error}");
    assert!(bench.pushes().is_empty());

    // Once that one was updated or the other way round, the same outbox goes out by itself.
    bench.wait_for_timer().await;
    bench.opened().await;
    bench.say(welcome()).await;
    assert_eq!(bench.the_push().first, number(1));
}

#[tokio::test]
async fn a_close_code_says_what_a_lost_error_message_would_have_said() {
    for (code, error, status) in [
        (close::UNAUTHORIZED, wire::UNAUTHORIZED, Status::Error),
        (close::FORBIDDEN, wire::FORBIDDEN, Status::Error),
        (close::VERSION, wire::VERSION_MISMATCH, Status::Error),
        (close::REPLACED, wire::REPLACED, Status::Error),
        (close::GOING_AWAY, codes::CONNECT, Status::Offline),
        (close::TOO_MANY, codes::CONNECT, Status::Offline),
    ] {
        let mut bench = Bench::new().await;
        bench.greet().await;
        bench.close(Some(code)).await;
        assert_eq!((bench.status(), bench.error_code()), (status, error));
        assert!(bench.timer.is_some(), "{error}: it comes back");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_every_phase() {
    let mut bench = Bench::new().await;
    bench.event(Event::Start).await;
    let first = bench.connection();
    bench.wait_for_timer().await;
    assert_eq!(
        (bench.connection, bench.error_code()),
        (None, codes::TIMEOUT),
        "while opening"
    );
    bench.wait_for_timer().await;
    assert_ne!(bench.connection(), first);
    bench.opened().await;
    bench.wait_for_timer().await;
    assert_eq!(
        (bench.connection, bench.error_code()),
        (None, codes::TIMEOUT),
        "while greeting"
    );
}

#[tokio::test]
async fn heartbeats_find_a_dead_connection_and_a_pong_keeps_a_live_one() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    for beat in 1..=5 {
        bench.wait(HEARTBEAT).await;
        let pings = bench.pings();
        assert_eq!(pings.len(), beat);
        bench.say(pong(pings[beat - 1], 0)).await;
        assert_eq!(bench.status(), Status::Idle);
    }
    bench.wait(HEARTBEAT).await;
    bench.wait(HEARTBEAT).await;
    assert_eq!(bench.pings().len(), 7);
    assert!(bench.connection.is_some());
    bench.wait(HEARTBEAT).await;
    assert_eq!(
        (bench.connection, bench.error_code()),
        (None, codes::TIMEOUT)
    );
    assert!(bench.timer.is_some(), "it comes back");
}

#[tokio::test]
async fn what_an_earlier_connection_says_is_ignored() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let old = bench.connection();
    bench.close(None).await;
    bench.reconnect(welcome()).await;
    let (published, timer) = (bench.published.len(), bench.timer);
    bench.say_on(old, welcome()).await;
    bench
        .say_on(old, error(None, wire::UNAUTHORIZED, false, true))
        .await;
    bench
        .event(Event::Frame {
            connection: old,
            bytes: garbage(),
        })
        .await;
    bench
        .event(Event::Closed {
            connection: old,
            code: Some(4401),
            reason: String::new(),
        })
        .await;
    bench.event(Event::Opened { connection: old }).await;
    assert_eq!((bench.published.len(), bench.timer), (published, timer));
}

#[tokio::test]
async fn garbage_ends_the_connection_and_a_new_one_goes_on() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let connection = bench.connection();
    bench
        .event(Event::Frame {
            connection,
            bytes: garbage(),
        })
        .await;
    assert_eq!(
        (bench.closes.as_slice(), bench.error_code()),
        (&[close::BAD_FRAME][..], wire::BAD_FRAME)
    );
    bench.reconnect(welcome()).await;
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn a_server_that_speaks_before_its_welcome_is_left() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(pong(1, 7)).await;
    assert_eq!(bench.error_code(), wire::UNEXPECTED_MESSAGE);
    assert!(bench.connection.is_none());
}

#[tokio::test]
async fn stop_ends_the_connection_and_start_goes_on_where_it_was() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.event(Event::Stop).await;
    assert_eq!(
        (bench.status(), bench.closes.as_slice()),
        (Status::Offline, &[close::NORMAL][..])
    );
    assert_eq!(bench.timer, None);
    bench.insert("written while stopped").await;
    assert!(bench.connection.is_none());

    bench.event(Event::Start).await;
    bench.opened().await;
    bench.say(welcome()).await;
    let push = bench.the_push();
    bench.say(applied(&push, 1)).await;
    assert_eq!(bench.state().await.pending, 0);
}

#[tokio::test]
async fn stop_during_a_store_request_takes_its_answer_and_asks_nothing_more() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.slow_store = true;
    bench.say(welcome()).await;
    let answer = bench.perform().await;
    bench.event(Event::Stop).await;
    bench.event(Event::Stored(answer)).await;
    assert!(bench.asked.is_none() && bench.connection.is_none());
    assert!(
        bench
            .sent
            .iter()
            .all(|message| !matches!(message, ClientMessage::Pull(_)))
    );
}

#[tokio::test]
async fn the_same_events_give_the_same_effects() {
    let mut logs = Vec::new();
    for _ in 0..2 {
        let mut bench = Bench::new().await;
        let mut log = Vec::new();
        for event in [Event::Start, Event::Timer, Event::OutboxGrew, Event::Timer] {
            log.extend(bench.session.handle(bench.now, event));
        }
        let state = StoreAnswer::Loaded(bench.state().await);
        log.extend(bench.session.handle(bench.now, Event::Stored(state)));
        log.extend(
            bench
                .session
                .handle(bench.now, Event::Opened { connection: 1 }),
        );
        let log = format!("{log:?}");
        logs.push(log);
    }
    assert_eq!(logs[0], logs[1]);
    assert!(logs[0].contains("Open"), "{}", logs[0]);
}

/// Found by the simulator: with the token of before in the hello, the server forgot the one that was just being stored,
/// and took the client that presented it later for a copy.
#[tokio::test]
async fn a_hello_waits_for_the_session_token_that_is_being_stored() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.slow_store = true;
    bench.say(welcome()).await;
    assert_eq!(bench.stored.last(), Some(&StoreRequestKind::Attach));
    bench.close(None).await;
    bench.wait(60_000).await;
    assert!(bench.connection.is_none());
    let answer = bench.perform().await;
    bench.slow_store = false;
    bench.event(Event::Stored(answer)).await;
    assert_eq!(
        bench.opened().await.session,
        Some(SessionToken::from_bytes([9; 16]))
    );
}
