//! Commands, and a status that is true.

mod common;

use common::*;
use pocket_core::replica::Scope;
use pocket_core::{Outcome, Seq};
use pocket_sync_client::{Event, Pass, SessionConfig, Status, StoreRequestKind, SyncError, codes};
use pocket_sync_protocol::codes::{self as wire, close};
use pocket_sync_protocol::{Direction, Outcomes};

async fn idle() -> Bench {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    assert_eq!(bench.status(), Status::Idle);
    bench
}

#[tokio::test]
async fn idle_is_not_said_with_anything_in_the_outbox_or_on_its_way() {
    let mut bench = idle().await;
    bench.slow_store = true;
    bench.event(Event::OutboxGrew).await;
    assert_eq!(bench.status(), Status::Syncing, "nobody has looked yet");
    bench.insert_quietly("a").await;
    bench.slow_store = false;
    let answer = bench.perform().await;
    bench.event(Event::Stored(answer)).await;
    assert_eq!(bench.status(), Status::Syncing, "it is on its way");
    let push = bench.the_push();
    bench.say(applied(&push, 1)).await;
    assert_eq!(
        bench.status(),
        Status::Syncing,
        "the server's head is at least 1 now"
    );
}

#[tokio::test]
async fn idle_is_said_when_the_own_change_is_behind_the_checkpoint() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    let before = bench.statuses().len() - 1;
    bench.insert("a").await;
    let push = bench.the_push();
    bench.say(applied(&push, 1)).await;
    bench.say(page(&pull, 0, 1, 1, &[])).await;
    assert_eq!(bench.status(), Status::Idle);
    assert_eq!(
        bench.statuses()[before..],
        [Status::Idle, Status::Syncing, Status::Idle]
    );
    assert!(bench.last().stats.last_sync_at.is_some());
}

#[tokio::test]
async fn idle_ends_when_the_head_was_told_too_long_ago() {
    let mut bench = idle().await;
    let told = bench.now;
    bench.wait(HEARTBEAT).await;
    assert_eq!(bench.status(), Status::Idle);
    while bench.status() == Status::Idle {
        bench.wait_for_timer().await;
    }
    assert_eq!(bench.now.since(told), 2 * HEARTBEAT + 1);
}

#[tokio::test]
async fn a_lost_connection_is_offline_and_an_error_is_cleared_when_all_is_in_step_again() {
    let mut bench = idle().await;
    bench.close(None).await;
    assert_eq!(
        (bench.status(), bench.error_code()),
        (Status::Offline, codes::CONNECT)
    );
    bench.reconnect(welcome()).await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    assert_eq!(
        (bench.status(), &bench.last().stats.last_error),
        (Status::Idle, &None)
    );
}

#[tokio::test]
async fn writes_while_offline_are_counted() {
    let mut bench = Bench::new().await;
    bench.event(Event::Start).await;
    bench
        .refuse(SyncError::retryable(codes::CONNECT, "nobody there"))
        .await;
    bench.insert("a").await;
    bench.insert("b").await;
    assert_eq!(
        (bench.status(), bench.last().stats.pending),
        (Status::Offline, 2)
    );
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_that_is_tried_again() {
    let mut bench = idle().await;
    bench.slow_store = true;
    bench.insert("a").await;
    bench.asked = None;
    let error = pocket_core::Error::new(pocket_core::codes::STORAGE_FULL, "the disk is full");
    let failed = pocket_sync_client::StoreAnswer::Failed {
        request: StoreRequestKind::Pin,
        error,
    };
    bench.slow_store = false;
    bench.event(Event::Stored(failed)).await;
    assert_eq!(
        (bench.status(), bench.error_code()),
        (Status::Error, "storage-full")
    );
    bench.reconnect(welcome()).await;
    assert_eq!(bench.the_push().first, number(1), "nothing was lost");
}

#[tokio::test]
async fn a_pass_is_complete_with_the_head_and_the_outbox_of_the_call() {
    let mut bench = idle().await;
    bench.insert("a").await;
    let push = bench.the_push();
    bench.command(7, Pass::Both).await;
    bench.say(pong(bench.pings()[0], 3)).await;
    bench.say(applied(&push, 4)).await;
    assert!(bench.finished.is_empty(), "place 3 is not here yet");
    // What is written after the call does not hold it up.
    bench.insert("b").await;
    let pull_id = bench
        .mores()
        .last()
        .map(|(id, _)| *id)
        .expect("a page was acknowledged");
    let pull = pocket_sync_protocol::Pull {
        id: pull_id,
        epoch: None,
        after: Seq::ZERO,
        until: None,
        collections: Vec::new(),
        window: 2,
        batch: 100,
        fixed_head: None,
    };
    bench.say(page(&pull, 0, 4, 4, &[record("r", 3)])).await;
    assert_eq!(bench.finished, [(7, Ok(()))]);
    assert_eq!(bench.pushes().len(), 1);
}

/// A call ended well while a sweep was still to come: what was gone, or might not be read any more, left only a moment later.
#[tokio::test]
async fn a_pass_is_complete_only_when_what_a_resync_did_not_show_has_left() {
    for pass in [Pass::Both, Pass::Pull, Pass::Push] {
        let mut bench = Bench::new().await;
        bench.connect().await;
        let pull = bench.the_pull();
        let both = [record("gone", 3), record("stays", 4)];
        bench.say(page(&pull, 0, 4, 4, &both)).await;
        bench
            .say(error(Some(pull.id), wire::BELOW_HORIZON, false, false))
            .await;
        bench.opened().await;
        bench.command(1, pass).await;
        bench.say(welcome_at(9, 0)).await;
        let ping = bench.pings().last().copied();
        bench.say(pong(ping.expect("it asked"), 9)).await;
        let pull = bench.the_pull();
        bench.slow_store = true;
        bench.say(page(&pull, 0, 9, 9, &[record("stays", 4)])).await;
        let page_stored = bench.perform().await;
        bench.event(Event::Stored(page_stored)).await;
        assert!(bench.text("gone").await.is_some() && bench.finished.is_empty());
        let swept = bench.perform().await;
        assert_eq!(bench.text("gone").await, None);
        bench.slow_store = false;
        bench.event(Event::Stored(swept)).await;
        assert_eq!(bench.finished, [(1, Ok(()))], "{pass:?}");
    }
}

/// What a restored server has lost is in the outbox again once everything was read, and belongs to the pass.
#[tokio::test]
async fn a_pass_is_complete_only_when_a_restored_server_has_what_it_lost() {
    for pass in [Pass::Both, Pass::Push] {
        let mut bench = Bench::new().await;
        bench.connect().await;
        bench.insert("a").await;
        let push = bench.the_push();
        bench.say(applied(&push, 1)).await;
        bench.close(None).await;
        bench.pulls();
        bench.command(1, pass).await;
        bench.opened().await;
        bench.say(welcome_at(0, 0)).await;
        let pull = bench.the_pull();
        bench.say(page(&pull, 0, 0, 0, &[])).await;
        let push = bench.the_push();
        assert_eq!(push.mutations.len(), 1, "it is brought back");
        assert!(bench.finished.is_empty(), "{pass:?}");
        let pull = bench.the_pull();
        bench.say(applied(&push, 1)).await;
        bench.say(page(&pull, 0, 1, 1, &[])).await;
        assert_eq!(bench.finished, [(1, Ok(()))], "{pass:?}");
    }
}

#[tokio::test]
async fn a_push_waits_for_what_a_conflict_put_into_the_outbox_again() {
    let mut bench = Bench::new().await;
    bench.insert_quietly("a").await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    bench.command(1, Pass::Push).await;
    bench.say(pong(bench.pings()[0], 0)).await;
    let push = bench.the_push();
    let conflict = Outcome::Conflict { seqs: vec![seq(1)] };
    bench
        .say(Outcomes {
            id: push.id,
            first: push.first,
            outcomes: vec![conflict],
            gap: None,
        })
        .await;
    assert!(
        bench.finished.is_empty(),
        "the conflict waits for its record"
    );
    // An older revision than the local one: the local version wins and is pushed again.
    let mut older = record("a", 1);
    older.rev.hlc = pocket_core::Hlc::from_bits(1);
    bench.say(page(&pull, 0, 1, 1, &[older])).await;
    assert!(
        bench.finished.is_empty(),
        "the push that follows belongs to the pass"
    );
    let again = bench.the_push();
    assert_eq!(again.first, number(2));
    bench.say(applied(&again, 2)).await;
    assert_eq!(bench.finished, [(1, Ok(()))]);
    assert_eq!(bench.text("a").await.as_deref(), Some("local"));
    assert_eq!(bench.last().stats.conflict_count, 1);
}

#[tokio::test]
async fn a_command_connects_at_once_and_fails_when_that_fails() {
    let mut bench = Bench::new().await;
    bench.event(Event::Start).await;
    for _ in 0..6 {
        bench
            .refuse(SyncError::retryable(codes::CONNECT, "nobody there"))
            .await;
        if bench.finished.is_empty() {
            bench.command(1, Pass::Both).await;
            assert!(bench.connection.is_some(), "at once");
        } else {
            break;
        }
    }
    let (id, result) = &bench.finished[0];
    assert_eq!(
        (*id, result.as_ref().map_err(SyncError::code)),
        (1, Err(codes::CONNECT))
    );
}

#[tokio::test]
async fn a_command_fails_loudly_on_a_refused_token() {
    let mut bench = Bench::new().await;
    bench.event(Event::Start).await;
    bench.command(1, Pass::Both).await;
    bench.opened().await;
    bench
        .say(error(None, wire::UNAUTHORIZED, false, true))
        .await;
    assert_eq!(
        bench.finished[0].1.as_ref().map_err(SyncError::code),
        Err(wire::UNAUTHORIZED)
    );
}

#[tokio::test]
async fn a_command_bears_a_few_lost_connections_and_then_fails() {
    let mut bench = idle().await;
    bench.command(1, Pass::Both).await;
    for _ in 0..5 {
        bench.close(Some(close::GOING_AWAY)).await;
        assert!(bench.finished.is_empty());
        bench.reconnect(welcome_at(8, 0)).await;
    }
    bench.close(None).await;
    assert_eq!(
        bench.finished[0].1.as_ref().map_err(SyncError::code),
        Err(codes::CONNECT)
    );
}

#[tokio::test]
async fn a_command_goes_on_over_a_new_connection() {
    let mut bench = idle().await;
    bench.command(1, Pass::Pull).await;
    bench.close(None).await;
    bench.reconnect(welcome_at(8, 0)).await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 8, 8, &[record("a", 8)])).await;
    assert_eq!(bench.finished, [(1, Ok(()))]);
}

#[tokio::test]
async fn commands_need_a_running_session_and_a_direction_that_allows_them() {
    let mut config = SessionConfig::new(Scope::All);
    config.direction = Direction::Pull;
    let mut bench = Bench::with(config).await;
    bench.command(1, Pass::Both).await;
    bench.event(Event::Start).await;
    bench.command(2, Pass::Push).await;
    bench.command(3, Pass::Pull).await;
    bench.event(Event::Stop).await;
    let codes: Vec<_> = bench
        .finished
        .iter()
        .map(|(id, result)| (*id, result.as_ref().map_err(SyncError::code)))
        .collect();
    assert_eq!(
        codes,
        [
            (1, Err("stopped")),
            (2, Err("direction")),
            (3, Err("stopped"))
        ]
    );
}

#[tokio::test]
async fn a_command_with_nothing_to_do_still_asks_the_server() {
    let mut bench = idle().await;
    bench.command(1, Pass::Both).await;
    assert!(bench.finished.is_empty());
    let ping = bench.pings()[0];
    bench.say(pong(ping, 0)).await;
    assert_eq!(bench.finished, [(1, Ok(()))]);
}

#[tokio::test]
async fn a_timer_that_comes_too_early_is_set_again() {
    let mut bench = idle().await;
    let deadline = bench.timer.take();
    bench.event(Event::Timer).await;
    assert_eq!(bench.timer, deadline);
}

/// Found by the simulator: the server had read its head for the welcome before the call was made.
#[tokio::test]
async fn a_command_given_while_the_hello_is_on_its_way_asks_for_a_head_of_its_own() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.command(1, Pass::Pull).await;
    bench.say(welcome()).await;
    assert!(bench.finished.is_empty());
    let ping = bench.pings()[0];
    let pull = bench.the_pull();
    bench.say(pong(ping, 2)).await;
    assert!(bench.finished.is_empty(), "place 2 is not here yet");
    bench.say(page(&pull, 0, 2, 2, &[record("a", 2)])).await;
    assert_eq!(bench.finished, [(1, Ok(()))]);
}
