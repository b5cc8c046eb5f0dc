//! Sending the outbox: several pushes in flight, outcomes in order, nothing lost and nothing sent too early.

mod common;
#[path = "session_push/one_way.rs"]
mod one_way;
#[path = "session_push/turned_back.rs"]
mod turned_back;

use std::num::NonZeroUsize;

use common::*;
use pocket_core::replica::Scope;
use pocket_core::{Outcome, Value};
use pocket_sync_client::{Event, SessionConfig, Status, StoreRequestKind, SyncConfig, codes};
use pocket_sync_protocol::codes::{self as wire};
use pocket_sync_protocol::{Direction, Outcomes, PushContent, ServerLimits, Welcome};

fn in_batches_of(batch: usize) -> SessionConfig {
    let mut config = SessionConfig::new(Scope::All);
    config.batch_size = batch;
    config
}

async fn with_documents(batch: usize, count: usize) -> Bench {
    let mut bench = Bench::with(in_batches_of(batch)).await;
    for place in 0..count {
        bench.insert_quietly(&format!("d{place:03}")).await;
    }
    bench.connect().await;
    bench
}

#[tokio::test]
async fn the_outbox_is_sent_once_in_number_order_within_the_window() {
    let mut bench = with_documents(3, 20).await;
    let pushes = bench.pushes();
    let firsts: Vec<u64> = pushes.iter().map(|push| push.first.get()).collect();
    assert_eq!(firsts, [1, 4, 7, 10], "four in flight, three changes each");
    let mut place = 1;
    let mut waiting = std::collections::VecDeque::from(pushes);
    let mut numbers = Vec::new();
    while let Some(push) = waiting.pop_front() {
        numbers.extend((0..push.mutations.len() as u64).map(|at| push.first.get() + at));
        bench.say(applied(&push, place)).await;
        place += push.mutations.len() as u64;
        waiting.extend(bench.pushes());
    }
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "each once");
    assert_eq!(bench.state().await.pending, 0);
    assert_eq!(bench.last().stats.push_count, 20);
}

#[tokio::test]
async fn the_server_may_allow_fewer_pushes_in_flight() {
    let mut bench = Bench::with(in_batches_of(1)).await;
    for id in ["a", "b", "c"] {
        bench.insert_quietly(id).await;
    }
    bench.greet().await;
    bench
        .say(Welcome {
            limits: ServerLimits {
                pushes: 1,
                ..ServerLimits::default()
            },
            ..welcome()
        })
        .await;
    assert_eq!(bench.the_push().first, number(1));
}

#[tokio::test]
async fn limits_beyond_all_reason_are_no_limits() {
    let mut bench = Bench::with(in_batches_of(1)).await;
    for id in ["a", "b", "c"] {
        bench.insert_quietly(id).await;
    }
    bench.greet().await;
    bench
        .say(Welcome {
            limits: ServerLimits {
                document_bytes: usize::MAX,
                message_bytes: usize::MAX,
                nodes: usize::MAX,
                levels: usize::MAX,
                changes: usize::MAX,
                pushes: usize::MAX,
            },
            ..welcome()
        })
        .await;
    assert_eq!(bench.pushes().len(), 3);
}

#[tokio::test]
async fn numbering_is_asked_for_several_pushes_at_once() {
    let bench = with_documents(2, 16).await;
    let pins = bench
        .stored
        .iter()
        .filter(|kind| **kind == StoreRequestKind::Pin)
        .count();
    assert_eq!(pins, 1, "eight pushes of two, made durable once");
}

#[tokio::test]
async fn a_transaction_is_never_split() {
    let mut bench = Bench::with(in_batches_of(2)).await;
    let mut transaction = bench.database.transaction();
    for id in ["a", "b", "c", "d", "e"] {
        let todos = bench
            .database
            .collection::<Value>("todos")
            .expect("it is configured");
        transaction
            .upsert(&todos, &document(id, "together"))
            .expect("it fits");
    }
    transaction.commit().await.expect("memory takes it");
    bench.insert_quietly("f").await;
    bench.connect().await;
    let sizes: Vec<Vec<usize>> = bench
        .pushes()
        .iter()
        .map(|push| {
            let size = |content: &PushContent| match content {
                PushContent::Changes(changes) => changes.len(),
                PushContent::Withdrawn => 0,
            };
            push.mutations.iter().map(size).collect()
        })
        .collect();
    assert_eq!(sizes, [vec![5], vec![1]]);
}

#[tokio::test]
async fn a_write_while_connected_is_pushed_at_once() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    assert!(bench.pushes().is_empty());
    bench.insert("a").await;
    assert_eq!(bench.the_push().mutations.len(), 1);
}

#[tokio::test]
async fn a_write_that_arrives_while_the_outbox_is_being_read_is_not_forgotten() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    bench.slow_store = true;
    bench.event(Event::OutboxGrew).await;
    let empty = bench.perform().await;
    // Between "the outbox was read" and "it was empty", a write comes in.
    bench.insert_quietly("a").await;
    bench.event(Event::OutboxGrew).await;
    bench.slow_store = false;
    bench.event(Event::Stored(empty)).await;
    assert_eq!(bench.the_push().mutations.len(), 1);
}

#[tokio::test]
async fn what_was_numbered_before_a_lost_connection_is_sent_again_with_the_same_numbers() {
    let mut bench = with_documents(2, 6).await;
    let before = bench.pushes();
    bench.say(applied(&before[0], 1)).await;
    bench.close(None).await;
    bench.insert_quietly("later").await;
    bench.reconnect(welcome_at(4, 4)).await;
    let after = bench.pushes();
    assert_eq!(after[0].confirmed, number(2));
    assert_eq!(after[0].mutations, before[1].mutations);
    assert_eq!(after[1].mutations, before[2].mutations);
    let firsts: Vec<u64> = after.iter().map(|push| push.first.get()).collect();
    assert_eq!(firsts, [3, 5, 7]);
    assert_eq!(bench.last().stats.resent_count, 4);
}

#[tokio::test]
async fn what_was_numbered_before_a_crash_is_sent_again_with_the_same_numbers() {
    let mut bench = with_documents(2, 4).await;
    let before = bench.pushes();
    let disk = bench.disk.copy();
    drop(bench);
    let mut bench = Bench::on(disk, in_batches_of(2)).await;
    bench.greet().await;
    bench.say(welcome_at(2, 2)).await;
    let after = bench.pushes();
    assert_eq!(
        after.iter().map(|push| &push.mutations).collect::<Vec<_>>(),
        [&before[0].mutations, &before[1].mutations]
    );
}

#[tokio::test]
async fn an_outcome_is_confirmed_only_after_it_is_stored() {
    let mut bench = with_documents(1, 6).await;
    let pushes = bench.pushes();
    bench.slow_store = true;
    bench.say(applied(&pushes[0], 1)).await;
    let next = bench.the_push();
    assert_eq!(
        (next.first, next.confirmed),
        (number(5), number(0)),
        "the outcome is not stored yet"
    );
    bench.slow_store = false;
    let answer = bench.perform().await;
    bench.event(Event::Stored(answer)).await;
    bench.say(applied(&pushes[1], 2)).await;
    assert_eq!(bench.the_push().confirmed, number(1));
}

#[tokio::test]
async fn outcomes_that_come_out_of_order_are_stored_in_order() {
    let mut bench = with_documents(1, 3).await;
    let pushes = bench.pushes();
    bench.say(applied(&pushes[2], 3)).await;
    bench.say(applied(&pushes[1], 2)).await;
    assert_eq!(bench.state().await.confirmed, number(0));
    bench.say(applied(&pushes[0], 1)).await;
    assert_eq!(bench.state().await.confirmed, number(3));
    let settles = bench
        .stored
        .iter()
        .filter(|kind| **kind == StoreRequestKind::Settle)
        .count();
    assert_eq!(settles, 1, "what waited is stored at once");
}

#[tokio::test]
async fn outcomes_of_unknown_pushes_and_doubled_ones_are_ignored() {
    let mut bench = with_documents(1, 2).await;
    let pushes = bench.pushes();
    let stored = bench.stored.len();
    bench
        .say(Outcomes {
            id: 999,
            ..applied(&pushes[0], 1)
        })
        .await;
    assert_eq!(bench.stored.len(), stored);
    bench.say(applied(&pushes[0], 1)).await;
    bench.say(applied(&pushes[0], 1)).await;
    assert_eq!(bench.state().await.confirmed, number(1));
    assert!(bench.connection.is_some());
}

#[tokio::test]
async fn outcomes_that_do_not_fit_their_push_end_the_connection() {
    let mut bench = with_documents(2, 2).await;
    let push = bench.the_push();
    let mut answer = applied(&push, 1);
    answer.outcomes.push(Outcome::Applied { first: seq(3) });
    bench.say(answer).await;
    assert_eq!(bench.error_code(), wire::BAD_FRAME);
    assert_eq!(bench.state().await.confirmed, number(0));
}

#[tokio::test]
async fn a_gap_is_filled_from_the_first_unsettled_number_on() {
    let mut bench = with_documents(1, 3).await;
    let pushes = bench.pushes();
    bench.say(applied(&pushes[0], 1)).await;
    bench
        .say(Outcomes {
            id: pushes[2].id,
            first: number(3),
            outcomes: Vec::new(),
            gap: Some(number(2)),
        })
        .await;
    bench.wait_for_timer().await;
    let again = bench.pushes();
    assert_eq!(
        again
            .iter()
            .map(|push| push.first.get())
            .collect::<Vec<_>>(),
        [2, 3]
    );
    assert!(
        again
            .iter()
            .all(|push| pushes.iter().all(|old| old.id != push.id))
    );
}

#[tokio::test]
async fn a_busy_server_is_given_the_time_it_asks_for() {
    let mut bench = with_documents(1, 1).await;
    let push = bench.the_push();
    let mut busy = error(Some(push.id), wire::RETRY_LATER, true, false);
    busy.retry_after = Some(std::time::Duration::from_secs(5));
    bench.say(busy).await;
    bench.wait(4_999).await;
    assert!(bench.pushes().is_empty() && bench.connection.is_some());
    bench.wait(1).await;
    assert_eq!(bench.the_push().mutations, push.mutations);
}

#[tokio::test]
async fn a_part_of_the_outcomes_counts_even_when_the_rest_is_refused() {
    let mut bench = with_documents(3, 3).await;
    let push = bench.the_push();
    let mut part = applied(&push, 1);
    part.outcomes.truncate(2);
    bench.say(part).await;
    bench
        .say(error(Some(push.id), wire::RETRY_LATER, true, false))
        .await;
    assert_eq!(bench.state().await.confirmed, number(2));
    bench.wait_for_timer().await;
    assert_eq!(bench.the_push().first, number(3));
}

#[tokio::test]
async fn a_push_without_an_answer_ends_the_connection_and_is_sent_again() {
    let mut bench = with_documents(1, 1).await;
    let push = bench.the_push();
    for _ in 0..2 {
        bench.wait(HEARTBEAT).await;
        for id in bench.pings() {
            if bench.connection.is_some() {
                bench.say(pong(id, 0)).await;
            }
        }
    }
    assert_eq!(
        (bench.connection, bench.error_code()),
        (None, codes::TIMEOUT)
    );
    bench.reconnect(welcome()).await;
    assert_eq!(bench.the_push().mutations, push.mutations);
}

#[tokio::test]
async fn one_refused_mutation_does_not_stop_the_queue() {
    let mut bench = with_documents(1, 3).await;
    let pushes = bench.pushes();
    let refused = Outcome::Rejected {
        code: "validation".to_owned(),
        reason: "no".to_owned(),
        server_time: None,
    };
    bench.say(applied(&pushes[0], 1)).await;
    bench
        .say(Outcomes {
            id: pushes[1].id,
            first: number(2),
            outcomes: vec![refused],
            gap: None,
        })
        .await;
    bench.say(applied(&pushes[2], 2)).await;
    assert_eq!(
        (
            bench.state().await.pending,
            bench.last().stats.rejected_count
        ),
        (0, 1)
    );
    assert_eq!(
        bench
            .database
            .journal()
            .list(None, 10)
            .await
            .expect("memory gives it")
            .len(),
        1
    );
}

#[tokio::test]
async fn a_change_that_fits_no_message_is_withdrawn_and_journaled_and_the_queue_goes_on() {
    let mut bench = Bench::with(in_batches_of(10)).await;
    bench.put("large", &"x".repeat(5_000)).await;
    bench.insert_quietly("small").await;
    bench.greet().await;
    bench
        .say(Welcome {
            limits: ServerLimits {
                message_bytes: 4_096,
                ..ServerLimits::default()
            },
            ..welcome()
        })
        .await;
    let pushes = bench.pushes();
    assert_eq!(pushes[0].mutations, [PushContent::Withdrawn]);
    let withdrawn = Outcomes {
        outcomes: vec![Outcome::Applied { first: seq(0) }],
        ..applied(&pushes[0], 0)
    };
    bench.say(withdrawn).await;
    bench.say(applied(&pushes[1], 1)).await;
    assert_eq!(
        (
            bench.state().await.pending,
            bench.last().stats.rejected_count
        ),
        (0, 1)
    );
    let journal = bench
        .database
        .journal()
        .list(None, 10)
        .await
        .expect("memory gives it");
    assert_eq!(journal[0].code.as_deref(), Some("document-too-large"));
}

#[tokio::test]
async fn batches_come_from_the_configuration() {
    let config = SyncConfig::new("ws://127.0.0.1").batch_size(NonZeroUsize::new(7).expect("seven"));
    assert_eq!(config.session(1).expect("it is fine").batch_size, 7);
}

/// Found by the simulator: a gap told before the missing push came, and overtaken by that push's outcomes, was taken for
/// the word of a server that had lost them.
#[tokio::test]
async fn a_gap_that_was_overtaken_by_outcomes_is_no_sign_of_a_restored_server() {
    let mut bench = with_documents(1, 2).await;
    let pushes = bench.pushes();
    bench.say(applied(&pushes[0], 1)).await;
    assert_eq!(bench.state().await.confirmed, number(1));
    bench
        .say(Outcomes {
            id: pushes[1].id,
            first: number(2),
            outcomes: Vec::new(),
            gap: Some(number(1)),
        })
        .await;
    bench.wait_for_timer().await;
    assert_eq!(bench.the_push().first, number(2));
    assert_ne!(bench.status(), Status::Error);
}
