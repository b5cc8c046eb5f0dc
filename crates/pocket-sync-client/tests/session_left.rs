//! The store has left its server, or has taken another client id, through another handle while a session runs: such as
//! another tab's, whose engine this one does not see.

mod common;

use common::*;
use pocket_core::replica::Replica;
use pocket_core::replica::Scope;
use pocket_core::{CollectionConfig, Database, Target, Value};
use pocket_sync_client::{Event, Pass, SessionConfig, Status, StoreRequestKind, codes};
use pocket_sync_protocol::codes::close;
use pocket_sync_protocol::{Hello, Pull, Welcome};

/// A session that has read `a` at place 1, and another handle of its store.
async fn with_other() -> (Bench, Hello, Pull, Database) {
    let mut bench = Bench::new().await;
    let hello = bench.greet().await;
    bench.say(welcome_at(1, 0)).await;
    let pull = bench.the_pull();
    bench.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    assert_eq!(bench.status(), Status::Idle);
    let other = Database::builder("test")
        .collection(CollectionConfig::new("todos").sync(true))
        .open(bench.disk.open())
        .await
        .expect("memory opens");
    (bench, hello, pull, other)
}

fn replica(database: &Database) -> Replica {
    Replica::new(database, Target::DEFAULT)
}

async fn count(database: &Database) -> u64 {
    let todos = database.collection::<Value>("todos");
    let todos = todos.expect("it is configured");
    todos.count().await.expect("memory gives it")
}

fn of_bob() -> Welcome {
    Welcome {
        user: "bob".to_owned(),
        ..welcome()
    }
}

#[tokio::test]
async fn after_a_wipe_elsewhere_a_live_page_is_not_stored_and_all_is_synced_anew_as_another_client()
{
    let (mut bench, before, pull, other) = with_other().await;
    let old = bench.connection();
    bench.command(1, Pass::Both).await;
    let wiped = replica(&other).wipe().await.expect("memory takes it");

    // The server goes on to serve the session that it knows. The store would begin to read from the start again, on
    // this very connection, and be bound to nobody.
    bench.sent.clear();
    let live = page(&pull, 1, 2, 2, &[record("b", 2)]);
    bench.say_on(old, live).await;
    assert_eq!(bench.closes, [close::NORMAL]);
    assert_eq!(bench.error_code(), "other-client");
    assert!(bench.pulls().is_empty() && bench.pushes().is_empty());
    assert_eq!(count(&other).await, 0);
    let state = replica(&other).state().await.expect("memory gives it");
    assert_eq!(state, wiped.state, "nothing at all was stored");

    // It comes back at once, as whom the store is now.
    assert_ne!(bench.connection(), old);
    let hello = bench.opened().await;
    assert_eq!(hello.client, other.client_id());
    assert_ne!(hello.client, before.client);
    assert!(hello.session.is_none() && hello.checkpoint.is_none());
    bench.say(welcome_at(2, 0)).await;
    let pull = bench.the_pull();
    assert_eq!(pull.after, seq(0));
    let both = [record("a", 1), record("b", 2)];
    bench.say(page(&pull, 0, 2, 2, &both)).await;
    assert_eq!(bench.status(), Status::Idle);
    assert_eq!(count(&other).await, 2);
    let state = replica(&other).state().await.expect("memory gives it");
    let binding = state.binding.expect("it is bound again");
    assert_eq!(binding.user, "ann");
    assert_eq!(bench.finished, [(1, Ok(()))], "a command survives it");
}

#[tokio::test]
async fn after_a_wipe_and_an_attachment_elsewhere_the_session_of_another_user_is_refused() {
    let (mut bench, _, _, other) = with_other().await;
    replica(&other).wipe().await.expect("memory takes it");
    // Another tab's engine syncs the store for Bob by now.
    let mut elsewhere = Bench::on(bench.disk.clone(), SessionConfig::new(Scope::All)).await;
    elsewhere.greet().await;
    elsewhere.say(of_bob()).await;
    let bound = elsewhere.state().await;
    assert_eq!(
        bound.binding.as_ref().map(|it| it.user.as_str()),
        Some("bob")
    );

    bench.insert("made for Bob").await;
    assert!(bench.pushes().is_empty(), "Ann's server must not get it");
    let hello = bench.opened().await;
    assert_eq!(hello.client, bound.client);
    bench.say(welcome()).await;
    assert_eq!(
        (bench.status(), bench.error_code()),
        (Status::Error, codes::OTHER_USER)
    );
    assert_eq!(bench.timer, None, "it does not go on by itself");
    let now = bench.state().await;
    assert_eq!((now.binding, now.token), (bound.binding, bound.token));
    assert_eq!(now.pending, 1);
}

#[tokio::test]
async fn outcomes_that_arrive_after_a_detach_elsewhere_settle_nothing_and_blame_nobody() {
    let (mut bench, _, _, other) = with_other().await;
    bench.insert("b").await;
    let push = bench.the_push();
    let left = replica(&other).detach().await.expect("memory takes it");
    assert_eq!(left.pending, 2, "all there is goes to the next server");
    bench.say(applied(&push, 2)).await;
    assert_eq!(bench.error_code(), "other-client");
    let state = replica(&other).state().await.expect("memory gives it");
    assert_eq!(state, left);
    bench.stored.clear();
    bench.opened().await;
    bench.say(welcome()).await;
    assert!(!bench.stored.contains(&StoreRequestKind::Blame));
    let push = bench.the_push();
    assert_eq!((push.first, push.mutations.len()), (number(1), 2));
}

#[tokio::test]
async fn a_welcome_for_the_client_of_before_is_not_stored() {
    let mut bench = Bench::new().await;
    let hello = bench.greet().await;
    let other = Database::builder("test")
        .collection(CollectionConfig::new("todos").sync(true))
        .open(bench.disk.open())
        .await
        .expect("memory opens");
    replica(&other).wipe().await.expect("memory takes it");
    bench.say(welcome()).await;
    assert_eq!(bench.stored.last(), Some(&StoreRequestKind::Load));
    let state = replica(&other).state().await.expect("memory gives it");
    assert_eq!((state.binding, state.token), (None, None));
    assert_ne!(bench.opened().await.client, hello.client);
}

#[tokio::test]
async fn a_wipe_elsewhere_while_there_is_no_connection_is_noticed_before_the_next_hello() {
    let (mut bench, before, _, other) = with_other().await;
    bench.close(None).await;
    replica(&other).wipe().await.expect("memory takes it");
    bench.event(Event::OutboxGrew).await;
    let connects_at = bench.wait_for_timer().await;
    assert!(connects_at <= bench.now);
    let hello = bench.opened().await;
    assert_eq!(hello.client, other.client_id());
    assert_ne!(hello.client, before.client);
    assert!(hello.session.is_none());
}
