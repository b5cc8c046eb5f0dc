//! A session with a scope: what it sends, when it is in step, and how it gets at records that its feed leaves out.

mod common;

use common::{Bench, applied, page, record_in, records, seq, welcome, welcome_at};
use pocket_core::replica::Scope;
use pocket_core::{CollectionName, Outcome, Value};
use pocket_sync_client::{Event, Pass, SessionConfig, Status};
use pocket_sync_protocol::Outcomes;

fn todos() -> SessionConfig {
    let name = CollectionName::new("todos").expect("a good name");
    SessionConfig::new(Scope::Only([name].into()))
}

async fn note(bench: &Bench, id: &str) {
    let notes = bench
        .database
        .collection::<Value>("notes")
        .expect("it is configured");
    let written = notes.upsert(&common::document(id, "local")).await;
    written.expect("memory takes it");
}

/// A change of a synced collection that the option `collections` left out went to the server all the same.
#[tokio::test]
async fn what_the_scope_leaves_out_is_not_sent_and_does_not_keep_it_from_idle() {
    let mut bench = Bench::with(todos()).await;
    note(&bench, "n").await;
    bench.insert_quietly("a").await;
    bench.connect().await;
    let pull = bench.the_pull();
    let push = bench.the_push();
    assert_eq!(push.mutations.len(), 1);
    bench.command(1, Pass::Both).await;
    bench.say(common::pong(bench.pings()[0], 0)).await;
    bench.say(applied(&push, 1)).await;
    assert!(
        bench.finished.is_empty(),
        "what was pushed is not read back yet"
    );
    assert_eq!(bench.status(), Status::Syncing);
    bench.say(page(&pull, 0, 1, 1, &[])).await;
    assert_eq!(bench.finished, [(1, Ok(()))]);
    assert_eq!(bench.status(), Status::Idle);
    let stats = &bench.last().stats;
    assert_eq!((stats.pending, stats.left_out), (0, 1));
    assert_eq!(bench.last().progress.push_left, 0);
    // Written later, it stays as well, and idle comes back.
    note(&bench, "m").await;
    bench.event(Event::OutboxGrew).await;
    assert!(bench.pushes().is_empty());
    assert_eq!(
        (bench.status(), bench.last().stats.left_out),
        (Status::Idle, 2)
    );
    bench.insert("b").await;
    assert_eq!(bench.the_push().mutations.len(), 1);
    assert_eq!(bench.status(), Status::Syncing);
}

/// The answer to a change that was sent before the scope was narrowed. Its document vanished from the database, and the
/// journal said `forbidden`.
#[tokio::test]
async fn a_conflict_outside_the_scope_is_decided_by_the_record_that_is_asked_for() {
    let mut wide = Bench::new().await;
    note(&wide, "n").await;
    wide.connect().await;
    assert_eq!(wide.the_push().mutations.len(), 1);
    wide.close(None).await;

    let disk = wide.disk.clone();
    drop(wide);
    let mut bench = Bench::on(disk, todos()).await;
    bench.greet().await;
    bench.say(welcome_at(5, 0)).await;
    let pull = bench.the_pull();
    let push = bench.the_push();
    bench.say(page(&pull, 0, 5, 5, &[])).await;
    bench
        .say(Outcomes {
            id: push.id,
            first: push.first,
            outcomes: vec![Outcome::Conflict { seqs: vec![seq(3)] }],
            gap: None,
        })
        .await;
    assert_eq!(bench.status(), Status::Syncing);
    let fetch = bench.the_fetch();
    bench
        .say(records(&fetch, 5, &[record_in("notes", "n", 3)]))
        .await;
    let notes = bench
        .database
        .collection::<Value>("notes")
        .expect("it is configured");
    let kept = notes
        .get("n")
        .await
        .expect("memory gives it")
        .expect("it is kept");
    assert_eq!(
        kept.as_map().and_then(|map| map.get("text")),
        Some(&Value::from("remote"))
    );
    let entries = bench
        .database
        .journal()
        .list(None, 9)
        .await
        .expect("memory gives it");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].rule, "last-write-wins");
    assert_eq!(
        (bench.state().await.pending, bench.status()),
        (0, Status::Idle)
    );
}

#[tokio::test]
async fn a_pass_ends_when_only_what_the_scope_leaves_out_is_pending() {
    let mut bench = Bench::with(todos()).await;
    note(&bench, "n").await;
    bench.event(Event::Start).await;
    bench.command(7, Pass::Push).await;
    bench.opened().await;
    bench.say(welcome()).await;
    assert_eq!(bench.finished, [(7, Ok(()))]);
}
