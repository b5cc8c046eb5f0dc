//! Reading the feed: pages in order, within the window, from where the store stands.

mod common;

use std::collections::BTreeSet;

use common::*;
use pocket_core::CollectionName;
use pocket_core::replica::Scope;
use pocket_sync_client::{Event, SessionConfig, Status, StoreRequestKind, codes};
use pocket_sync_protocol::codes::{self as wire};
use pocket_sync_protocol::{Direction, Page};

fn scope(names: &[&str]) -> SessionConfig {
    let names: BTreeSet<_> = names
        .iter()
        .map(|name| CollectionName::new(name).expect("a good name"))
        .collect();
    SessionConfig::new(Scope::Only(names))
}

#[tokio::test]
async fn pages_are_applied_in_order_and_each_is_acknowledged_once_it_is_stored() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(4, 0)).await;
    let pull = bench.the_pull();
    assert_eq!((pull.after, pull.window, pull.batch), (seq(0), 2, 100));
    bench.slow_store = true;
    bench
        .say(page(&pull, 0, 2, 4, &[record("a", 1), record("b", 2)]))
        .await;
    bench.say(page(&pull, 2, 4, 4, &[record("c", 4)])).await;
    assert!(bench.mores().is_empty(), "nothing is stored yet");
    let answer = bench.perform().await;
    bench.event(Event::Stored(answer)).await;
    assert_eq!(bench.mores(), [(pull.id, 2)]);
    bench.slow_store = false;
    let answer = bench.perform().await;
    bench.event(Event::Stored(answer)).await;
    assert_eq!(bench.mores(), [(pull.id, 2), (pull.id, 4)]);
    assert_eq!(bench.text("c").await.as_deref(), Some("remote"));
    assert_eq!(
        (bench.status(), bench.last().stats.pull_count),
        (Status::Idle, 3)
    );
    assert!(bench.last().progress.first_sync_complete);
}

#[tokio::test]
async fn syncing_is_said_before_the_first_part_of_a_catch_up_is_stored() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    assert_eq!(bench.status(), Status::Idle);
    bench.slow_store = true;
    bench.say(page(&pull, 0, 1, 9, &[record("a", 1)])).await;
    assert_eq!(bench.stored.last(), Some(&StoreRequestKind::Apply));
    assert_eq!(bench.status(), Status::Syncing);
    assert_eq!(bench.last().progress.pull_left, 9);
}

#[tokio::test]
async fn a_live_change_arrives_without_being_asked_for() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 0, 0, &[])).await;
    bench.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("remote"));
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn a_page_with_a_hole_before_it_is_not_applied_and_the_hole_is_read() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(4, 0)).await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 2, 4, 4, &[record("c", 4)])).await;
    assert_eq!(bench.text("c").await, None);
    let again = bench.the_pull();
    assert_eq!(again.after, seq(0));
    bench.say(page(&pull, 0, 2, 4, &[record("a", 1)])).await;
    assert_eq!(bench.text("a").await, None, "the earlier pull is over");
    bench
        .say(page(&again, 0, 4, 4, &[record("a", 1), record("c", 4)]))
        .await;
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn a_doubled_page_changes_nothing() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    for _ in 0..2 {
        bench.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    }
    let applies = bench
        .stored
        .iter()
        .filter(|kind| **kind == StoreRequestKind::Apply)
        .count();
    assert_eq!(
        (applies, bench.pulls().len(), bench.status()),
        (1, 0, Status::Idle)
    );
}

#[tokio::test]
async fn a_page_the_store_finds_stale_leads_to_a_pull_from_where_it_stands() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(2, 0)).await;
    let pull = bench.the_pull();
    bench.slow_store = true;
    bench.say(page(&pull, 0, 1, 2, &[record("a", 1)])).await;
    // The answer was lost between store and session, though the page is stored.
    bench.perform().await;
    let error = pocket_core::Error::new(pocket_core::codes::STALE_PAGE, "not there");
    let failed = pocket_sync_client::StoreAnswer::Failed {
        request: StoreRequestKind::Apply,
        error,
    };
    bench.slow_store = false;
    bench.event(Event::Stored(failed)).await;
    assert_eq!(bench.the_pull().after, seq(1));
    assert!(bench.connection.is_some());
}

#[tokio::test]
async fn after_a_lost_connection_reading_goes_on_at_the_stored_place() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 7, 7, &[record("a", 3)])).await;
    bench.close(None).await;
    let hello = bench.reconnect(welcome_at(9, 0)).await;
    assert_eq!(
        hello
            .checkpoint
            .map(|checkpoint| (checkpoint.epoch, checkpoint.seq)),
        Some((epoch(1), seq(7)))
    );
    let pull = bench.the_pull();
    assert_eq!((pull.epoch, pull.after), (Some(epoch(1)), seq(7)));
    assert_eq!(bench.status(), Status::Syncing);
}

#[tokio::test]
async fn a_page_stored_after_its_connection_was_lost_still_counts() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.slow_store = true;
    bench.say(page(&pull, 0, 7, 7, &[record("a", 3)])).await;
    bench.close(None).await;
    let answer = bench.perform().await;
    bench.slow_store = false;
    bench.event(Event::Stored(answer)).await;
    let hello = bench.reconnect(welcome_at(7, 0)).await;
    assert_eq!(hello.checkpoint.expect("it has read").seq, seq(7));
}

#[tokio::test]
async fn a_server_that_floods_pages_is_left() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(9, 0)).await;
    let pull = bench.the_pull();
    bench.slow_store = true;
    for place in 0..3 {
        bench.say(page(&pull, place, place + 1, 9, &[])).await;
    }
    assert_eq!(
        (bench.connection, bench.error_code()),
        (None, wire::BAD_FRAME)
    );
}

#[tokio::test]
async fn a_server_that_tells_a_head_but_no_page_is_asked_again() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let first = bench.the_pull();
    bench.say(page(&first, 0, 0, 0, &[])).await;
    for beat in 0..2 {
        bench.wait(HEARTBEAT).await;
        let ping = bench.pings()[beat];
        bench.say(pong(ping, 5)).await;
    }
    bench.wait_for_timer().await;
    let again = bench.the_pull();
    assert_eq!(again.after, seq(0));
    bench.say(page(&again, 0, 5, 5, &[record("a", 5)])).await;
    assert_eq!(bench.status(), Status::Idle);
}

/// Found by the simulator: the pull got lost, on its way to a log that is empty. Nothing was owed by the head that the server
/// told, so it was not asked again; and nothing is sent before everything was read, so that head never moved.
#[tokio::test]
async fn reading_everything_again_is_asked_for_again_even_where_there_is_nothing() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let first = bench.the_pull();
    bench.say(page(&first, 0, 0, 0, &[])).await;
    bench.insert_quietly("a").await;
    bench.close(None).await;
    let rights = Some(bytes::Bytes::from_static(b"12345678"));
    bench
        .reconnect(pocket_sync_protocol::Welcome {
            rights,
            ..welcome_at(0, 0)
        })
        .await;
    let lost = bench.the_pull();
    assert_eq!(bench.status(), Status::Syncing);
    for beat in 0..2 {
        bench.wait(HEARTBEAT).await;
        let ping = bench.pings()[beat];
        bench.say(pong(ping, 0)).await;
    }
    bench.wait_for_timer().await;
    let again = bench.the_pull();
    assert_eq!((again.after, again.epoch), (lost.after, lost.epoch));
    bench.say(page(&again, 0, 0, 0, &[])).await;
    let push = bench.the_push();
    let follows = bench.the_pull();
    bench.say(applied(&push, 1)).await;
    bench.say(page(&follows, 0, 1, 1, &[])).await;
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn a_server_that_wants_a_resync_gets_a_reader_from_the_start() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench
        .say(Page {
            resync: true,
            ..page(&pull, 0, 5, 5, &[record("a", 5)])
        })
        .await;
    assert_eq!(bench.error_code(), codes::RESYNC_REQUIRED);
    assert_eq!(bench.text("a").await, None);
    bench.opened().await;
    bench.say(welcome_at(5, 0)).await;
    let pull = bench.the_pull();
    assert_eq!((pull.epoch, pull.after), (None, seq(0)));
}

#[tokio::test]
async fn a_refused_pull_is_asked_again_after_a_while() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench
        .say(error(Some(pull.id), wire::RETRY_LATER, true, false))
        .await;
    assert!(bench.pulls().is_empty());
    bench.wait_for_timer().await;
    assert_eq!(bench.the_pull().after, seq(0));
}

#[tokio::test]
async fn a_reader_below_the_horizon_reads_again_and_drops_what_it_does_not_see() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    let both = [record("gone", 3), record("stays", 4)];
    bench.say(page(&pull, 0, 4, 4, &both)).await;
    bench
        .say(error(Some(pull.id), wire::BELOW_HORIZON, false, false))
        .await;
    assert_eq!(bench.error_code(), wire::BELOW_HORIZON);
    bench.opened().await;
    bench.say(welcome_at(9, 0)).await;
    let pull = bench.the_pull();
    assert_eq!((pull.epoch, pull.fixed_head), (None, None));
    bench.say(page(&pull, 0, 5, 9, &[record("stays", 4)])).await;
    assert!(
        bench.text("gone").await.is_some(),
        "not before all was read"
    );
    bench.say(page(&pull, 5, 9, 9, &[])).await;
    assert_eq!(bench.text("gone").await, None);
    assert!(bench.text("stays").await.is_some());
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn a_collection_that_joins_is_read_from_the_start_before_idle() {
    let mut bench = Bench::with(scope(&["todos"])).await;
    let hello = bench.connect().await;
    assert_eq!(
        hello.collections,
        [CollectionName::new("todos").expect("a good name")]
    );
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 6, 6, &[record("a", 6)])).await;
    let disk = bench.disk.copy();
    drop(bench);

    let mut bench = Bench::on(disk, scope(&["notes", "todos"])).await;
    bench.greet().await;
    bench.say(welcome_at(6, 0)).await;
    let joining = bench.the_pull();
    assert_eq!(
        joining.collections,
        [CollectionName::new("notes").expect("a good name")]
    );
    assert_eq!((joining.after, joining.until), (seq(0), Some(seq(6))));
    assert_eq!(bench.status(), Status::Syncing);
    let left = |bench: &Bench| bench.last().progress.pull_left;
    assert_eq!(left(&bench), 6, "it is read from the start");
    bench
        .say(page(&joining, 0, 3, 6, &[record_in("notes", "n", 3)]))
        .await;
    assert_eq!(bench.status(), Status::Syncing, "half of it is read");
    assert_eq!(left(&bench), 3);
    bench.say(page(&joining, 3, 6, 6, &[])).await;
    let main = bench.the_pull();
    assert_eq!(
        (main.after, main.until, main.collections.len()),
        (seq(6), None, 0)
    );
    assert_eq!(bench.status(), Status::Idle);
    assert_eq!(left(&bench), 0);
}

#[tokio::test]
async fn a_joining_read_goes_on_where_it_was_after_a_lost_connection() {
    let mut bench = Bench::with(scope(&["todos"])).await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 6, 6, &[record("a", 6)])).await;
    let disk = bench.disk.copy();
    drop(bench);
    let mut bench = Bench::on(disk, scope(&["notes", "todos"])).await;
    bench.greet().await;
    bench.say(welcome_at(6, 0)).await;
    let joining = bench.the_pull();
    bench
        .say(page(&joining, 0, 3, 6, &[record_in("notes", "n", 3)]))
        .await;
    bench.close(None).await;
    bench.reconnect(welcome_at(6, 0)).await;
    let again = bench.the_pull();
    assert_eq!((again.after, again.until), (seq(3), Some(seq(6))));
}

#[tokio::test]
async fn a_client_that_only_pushes_reads_nothing_and_can_be_idle() {
    let mut config = SessionConfig::new(Scope::All);
    config.direction = Direction::Push;
    let mut bench = Bench::with(config).await;
    bench.insert_quietly("a").await;
    bench.greet().await;
    bench.say(welcome_at(50, 0)).await;
    assert!(bench.pulls().is_empty());
    assert_eq!(bench.status(), Status::Syncing);
    let push = bench.the_push();
    bench.say(applied(&push, 51)).await;
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn an_empty_page_that_says_what_is_known_costs_no_commit() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    bench.close(None).await;
    bench.reconnect(welcome_at(1, 0)).await;
    let (pull, stored) = (bench.the_pull(), bench.stored.len());
    bench.say(page(&pull, 1, 1, 1, &[])).await;
    assert_eq!((bench.stored.len(), bench.status()), (stored, Status::Idle));
    assert_eq!(bench.mores().last(), Some(&(pull.id, 1)));
}

/// Found by the simulator: sync was switched on while the session ran, and what the feed had held of the collection
/// until then never came.
#[tokio::test]
async fn a_collection_switched_on_while_connected_is_read_from_the_start_at_once() {
    let mut bench = Bench::new().await;
    bench.configure("late", false).await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench
        .say(page(&pull, 0, 6, 6, &[record_in("late", "n", 6)]))
        .await;
    assert_eq!(bench.status(), Status::Idle);
    let late = bench
        .database
        .collection::<pocket_core::Value>("late")
        .expect("it is configured");
    assert!(
        late.get("n").await.expect("memory gives it").is_none(),
        "it does not sync"
    );

    bench.configure("late", true).await;
    bench.event(Event::OutboxGrew).await;
    let joining = bench.the_pull();
    assert_eq!(
        joining.collections,
        [CollectionName::new("late").expect("a good name")]
    );
    assert_eq!(
        (joining.after, joining.until, bench.status()),
        (seq(0), Some(seq(6)), Status::Syncing)
    );
    bench
        .say(page(&joining, 0, 6, 6, &[record_in("late", "n", 6)]))
        .await;
    assert!(late.get("n").await.expect("memory gives it").is_some());
    assert_eq!(
        (bench.the_pull().after, bench.status()),
        (seq(6), Status::Idle)
    );
}

#[tokio::test]
async fn a_document_the_server_withdraws_leaves_and_the_reading_goes_on() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(2, 0)).await;
    let pull = bench.the_pull();
    bench
        .say(page(&pull, 0, 2, 2, &[record("a", 1), record("b", 2)]))
        .await;
    let mut builder = pocket_sync_protocol::PageBuilder::new(1 << 20);
    let withdrawn = record("a", 3);
    assert!(builder.remove(&withdrawn.collection, &withdrawn.id, seq(3)));
    let removals = builder.take_removals();
    bench
        .say(pocket_sync_protocol::Page {
            set: builder.finish(),
            removals,
            ..page(&pull, 2, 3, 3, &[])
        })
        .await;
    assert_eq!(bench.text("a").await, None);
    assert_eq!(bench.text("b").await.as_deref(), Some("remote"));
    assert_eq!(bench.state().await.checkpoint.seq, seq(3));
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn other_rights_than_before_have_everything_read_again() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(1, 0)).await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    bench.close(None).await;
    let rights = Some(bytes::Bytes::from_static(b"12345678"));
    let hello = bench
        .reconnect(pocket_sync_protocol::Welcome {
            rights: rights.clone(),
            ..welcome_at(1, 0)
        })
        .await;
    assert_eq!(hello.checkpoint.unwrap().rights, None);
    let pull = bench.the_pull();
    assert_eq!((pull.after, pull.epoch), (seq(0), None));
    assert_eq!(bench.status(), Status::Syncing);
    bench.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    assert_eq!(bench.status(), Status::Idle);
    bench.close(None).await;
    let hello = bench.reconnect(welcome_at(1, 0)).await;
    assert_eq!(
        hello.checkpoint.unwrap().rights,
        rights,
        "presented from now on"
    );
}

/// Its pages speak for another reading by now. None may come for a long time, and meanwhile nothing would be read.
#[tokio::test]
async fn a_pull_is_given_up_when_the_store_begins_to_read_everything_again() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(1, 0)).await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    assert_eq!(bench.status(), Status::Idle);
    for sync in [false, true] {
        bench.configure("todos", sync).await;
    }
    bench.event(Event::OutboxGrew).await;
    let again = bench.the_pull();
    assert_eq!((again.after, again.epoch), (seq(0), None));
    bench.say(page(&again, 0, 1, 1, &[record("a", 1)])).await;
    bench.event(Event::Timer).await;
    assert_eq!(bench.status(), Status::Idle);
}
