//! What the application hears of its conflicts, and who may sync a database.

mod common;

use std::sync::{Arc, Mutex};

use common::peer::{Peer, code, database, insert, listen, quick, until};
use common::{applied, error, page, record, seq, welcome, welcome_at};
use pocket_core::{IndexConfig, JournalEntry, JournalKind, Outcome, Value, codes as core_codes};
use pocket_sync_client::{Status, SyncEngine};
use pocket_sync_protocol::{Outcomes, codes as wire};

/// What the resync's end decided about a pending edit came into the journal, and no listener heard of it.
#[tokio::test]
async fn a_conflict_that_a_resync_finds_is_told() {
    let (listener, url) = listen().await;
    let database = database().await;
    insert(&database, "a").await;
    let sync = SyncEngine::new(&database, quick(&url));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    sync.on_conflict(move |entry| {
        let _ = tell.send(entry.clone());
    });
    let mut conflicts = sync.conflicts();
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome()).await;
    let (push, pull) = peer.push_and_pull().await;
    peer.say(page(&pull, 0, 0, 0, &[])).await;
    peer.say(applied(&push, 1)).await;
    peer.say(page(&pull, 0, 1, 1, &[])).await;
    until(&mut sync.status(), Status::Idle).await;
    sync.stop().await.expect("it stops");
    drop(peer);

    // Long after, and `a` was deleted meanwhile, which the server does not remember any more.
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome_at(9, 1)).await;
    let pull = peer.pull().await;
    peer.say(error(Some(pull.id), wire::BELOW_HORIZON, false, false))
        .await;
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome_at(9, 1)).await;
    let pull = peer.pull().await;
    assert_eq!(pull.epoch, None, "it reads from the start");
    insert(&database, "a").await;
    peer.say(page(&pull, 0, 9, 9, &[record("b", 9)])).await;
    let entry = told.recv().await.expect("it is told");
    assert_eq!(entry.documents[0].id.as_str(), "a");
    assert_eq!(conflicts.next().await.as_ref(), Some(&entry));
}

/// Entries about unique indexes are written behind the page that brings the documents. Listeners would have heard of them
/// with the next conflict only.
#[tokio::test]
async fn documents_that_sync_leaves_with_the_same_unique_values_are_told() {
    let (listener, url) = listen().await;
    let database = database().await;
    let todos = database
        .collection::<Value>("todos")
        .expect("it is configured");
    todos
        .create_index(IndexConfig::new("missing").unique())
        .await
        .expect("it is built");
    let sync = SyncEngine::new(&database, quick(&url));
    let mut conflicts = sync.conflicts();
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome()).await;
    let pull = peer.pull().await;
    peer.say(page(&pull, 0, 2, 2, &[record("a", 1), record("b", 2)]))
        .await;
    let entry = conflicts.next().await.expect("it is told");
    assert_eq!(entry.kind, JournalKind::UniqueViolation);
    until(&mut sync.status(), Status::Idle).await;
    let stats = sync.stats().next().await.expect("it is known");
    assert_eq!((stats.open_conflicts, stats.conflict_count), (1, 0));
}

/// Answers a push of `count` documents with as many conflicts, and sends what they met.
async fn many_conflicts(peer: &mut Peer, count: u64) {
    let (push, pull) = peer.push_and_pull().await;
    let outcomes = (1..=count).map(|place| Outcome::Conflict {
        seqs: vec![seq(place)],
    });
    peer.say(Outcomes {
        id: push.id,
        first: push.first,
        outcomes: outcomes.collect(),
        gap: None,
    })
    .await;
    let records: Vec<_> = (1..=count)
        .map(|place| record(&format!("d{place:03}"), place))
        .collect();
    peer.say(page(&pull, 0, count, count, &records)).await;
}

/// One task for each batch: they overtook each other, a panic kept the rest of a batch from everybody, and after the end
/// of the engine its listeners were still called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_hear_of_everything_in_order_and_of_nothing_after_the_end() {
    const COUNT: u64 = 150;
    let (listener, url) = listen().await;
    let database = database().await;
    for place in 1..=COUNT {
        insert(&database, &format!("d{place:03}")).await;
    }
    let mut config = quick(&url);
    config.batch_size = 1_000.try_into().expect("it is not zero");
    let sync = SyncEngine::new(&database, config);
    let heard: Arc<Mutex<Vec<u64>>> = Arc::default();
    sync.on_conflict(|_: &JournalEntry| panic!("a listener of the test panics"));
    let (begin, begun) = std::sync::mpsc::channel();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (into, gate) = (Arc::clone(&heard), Mutex::new(gate));
    sync.on_conflict(move |entry| {
        // The first one waits until the engine is being destroyed.
        if entry.number == 1 {
            let _ = begin.send(());
            let _ = gate.lock().expect("nobody panics").recv();
        }
        into.lock().expect("nobody panics").push(entry.number);
    });
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome()).await;
    many_conflicts(&mut peer, COUNT).await;
    tokio::task::spawn_blocking(move || begun.recv())
        .await
        .expect("it runs")
        .expect("the first one is told");
    let ending = sync.clone();
    let ended = tokio::spawn(async move { ending.destroy().await });
    go.send(()).expect("the listener waits");
    ended.await.expect("it ends");
    let at_the_end = heard.lock().expect("nobody panics").clone();
    let stored = database.journal().last_number();
    assert_eq!(at_the_end, (1..=stored).collect::<Vec<_>>());
    assert!(stored > 0);
    assert_eq!(*heard.lock().expect("nobody panics"), at_the_end);
    drop(peer);
}

/// They would have taken each other's connection without end, with `replaced` in the status of both.
#[tokio::test]
async fn a_second_engine_on_one_database_is_told_at_its_start() {
    let (listener, url) = listen().await;
    let database = database().await;
    let first = SyncEngine::new(&database, quick(&url));
    let second = SyncEngine::new(&database, quick(&url));
    first.start().await.expect("it starts");
    first.start().await.expect("it runs already");
    let refused = second.start().await;
    assert_eq!(code(&refused), Err(core_codes::ALREADY_SYNCING));
    assert_eq!(
        code(&second.detach().await.map(drop)),
        Err(core_codes::ALREADY_SYNCING)
    );
    assert_eq!(
        code(&second.wipe().await.map(drop)),
        Err(core_codes::ALREADY_SYNCING)
    );
    // A copy of the handle is the same engine.
    first.clone().start().await.expect("it runs already");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome()).await;

    first.stop().await.expect("it stops");
    second.start().await.expect("the other one has stopped");
    let refused = first.start().await;
    assert_eq!(code(&refused), Err(core_codes::ALREADY_SYNCING));
    second.destroy().await;
    first.start().await.expect("the other one is no more");
    drop(first);
    let third = SyncEngine::new(&database, quick(&url));
    third.start().await.expect("nobody holds the other one");
    // Another database is another matter.
    let elsewhere = common::peer::database().await;
    let other = SyncEngine::new(&elsewhere, quick(&url));
    other.start().await.expect("it starts");
}
