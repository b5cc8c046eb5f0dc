//! The adapter for blocking engines, on an engine that the tests hold still, break and count.

mod engine;
mod threads;

use std::sync::Mutex;

use bytes::Bytes;
use engine::{Opener, Trouble, World};
use pocket_storage::blocking::{BlockingOptions, BlockingStorage};
use pocket_storage::{
    Batch, BoxFuture, Direction, Durability, KeyRange, Result, ScanLimit, Snapshot, Storage,
    StorageError, View,
};

fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value.to_owned());
    batch
}

/// Polls once: from then on the commit waits in the queue.
async fn submit(commit: &mut BoxFuture<'_, Result<()>>) {
    let polled = futures_util::poll!(commit);
    assert!(polled.is_pending(), "the engine is held");
}

/// A store whose engine is busy with one write, so that further commits wait and form a group.
async fn busy<'a>(world: &World, store: &'a BlockingStorage<Opener>) -> BoxFuture<'a, Result<()>> {
    world.hold();
    let mut first = store.commit(put("first", ""), Durability::Relaxed);
    submit(&mut first).await;
    world.wait_for_a_write();
    first
}

#[tokio::test]
async fn waiting_commits_become_one_write_with_the_strongest_durability() {
    let world = World::default();
    let store = world.open();
    let first = busy(&world, &store).await;
    let mut waiting = Vec::new();
    for number in 0..50 {
        let durability = match number {
            20 => Durability::PowerLoss,
            30 => Durability::ProcessCrash,
            _ => Durability::Relaxed,
        };
        let mut commit = store.commit(put(&format!("key {}", number % 40), "x"), durability);
        submit(&mut commit).await;
        waiting.push(commit);
    }
    world.release();
    first.await.expect("the first");
    for commit in waiting {
        commit.await.expect("the others");
    }
    let expected = [(1, Durability::Relaxed), (40, Durability::PowerLoss)];
    assert_eq!(world.state().writes, expected);
}

#[tokio::test]
async fn a_group_is_bounded_by_batches_and_by_bytes() {
    for by_bytes in [false, true] {
        let world = World::default();
        let mut options = BlockingOptions::default();
        if by_bytes {
            options.group_bytes = 3 * (1000 + 5);
        } else {
            options.group_batches = 3.try_into().expect("not zero");
        }
        let store = world.open_with(&options);
        let first = busy(&world, &store).await;
        let mut waiting = Vec::new();
        for number in 0..7 {
            let batch = put(&format!("key {number}"), &"x".repeat(1000));
            let mut commit = store.commit(batch, Durability::Relaxed);
            submit(&mut commit).await;
            waiting.push(commit);
        }
        world.release();
        first.await.expect("the first");
        for commit in waiting {
            commit.await.expect("the others");
        }
        let sizes: Vec<usize> = world.state().writes.iter().map(|(size, _)| *size).collect();
        assert_eq!(sizes, [1, 3, 3, 1], "by bytes: {by_bytes}");
    }
}

#[tokio::test]
async fn checks_see_the_batches_before_them_in_the_group_and_no_failed_one() {
    let world = World::default();
    let store = world.open();
    let first = busy(&world, &store).await;
    let mut batches = Vec::new();
    let mut batch = put("a", "1");
    batch.check_absent("a");
    batches.push((batch, true));
    let mut batch = put("a", "2");
    batch.check_absent("a");
    batches.push((batch, false));
    let mut batch = put("b", "1");
    batch.check_equals("a", "1");
    batches.push((batch, true));
    // Rests on the failed one.
    let mut batch = put("c", "1");
    batch.check_equals("a", "2");
    batches.push((batch, false));
    let mut batch = Batch::new();
    batch.check_equals("b", "1").delete("a");
    batches.push((batch, true));
    let mut batch = put("d", "1");
    batch.check_absent("a");
    batches.push((batch, true));
    let mut waiting = Vec::new();
    for (batch, succeeds) in batches {
        let mut commit = store.commit(batch, Durability::PowerLoss);
        submit(&mut commit).await;
        waiting.push((commit, succeeds));
    }
    world.release();
    first.await.expect("the first");
    for (number, (commit, succeeds)) in waiting.into_iter().enumerate() {
        match commit.await {
            Ok(()) => assert!(succeeds, "batch {number}"),
            Err(StorageError::Conflict) => assert!(!succeeds, "batch {number}"),
            Err(other) => panic!("{other}"),
        }
    }
    let keys: Vec<Vec<u8>> = world.state().map.keys().cloned().collect();
    assert_eq!(keys, [b"b".to_vec(), b"d".to_vec(), b"first".to_vec()]);
    assert_eq!(world.state().writes.len(), 2);
}

#[tokio::test]
async fn of_all_writes_to_one_key_in_a_group_the_last_stands() {
    let world = World::default();
    let store = world.open();
    let first = busy(&world, &store).await;
    let mut batches = vec![Batch::new(), Batch::new()];
    batches[0].put("b", "1").put("c", "1").put("a", "1");
    batches[0].put("b", "2").delete("c").put("d", "1");
    batches[1].put("d", "2").put("c", "3").delete("a");
    let mut waiting = Vec::new();
    for batch in batches {
        let mut commit = store.commit(batch, Durability::PowerLoss);
        submit(&mut commit).await;
        waiting.push(commit);
    }
    world.release();
    first.await.expect("the first");
    for commit in waiting {
        commit.await.expect("nothing was checked");
    }
    let state = world.state();
    assert_eq!(state.writes.last(), Some(&(4, Durability::PowerLoss)));
    let held = ["a", "b", "c", "d"].map(|key| state.map.get(key.as_bytes()).cloned());
    let expected = [None, Some("2"), Some("3"), Some("2")];
    assert_eq!(held, expected.map(|value| value.map(Bytes::from)));
}

#[tokio::test]
async fn a_group_of_conflicts_and_relaxed_empty_batches_writes_nothing() {
    let world = World::default();
    let store = world.open();
    let mut batch = put("a", "1");
    batch.check_equals("a", "0");
    let answer = store.commit(batch, Durability::PowerLoss).await;
    assert!(matches!(answer, Err(StorageError::Conflict)));
    store
        .commit(Batch::new(), Durability::Relaxed)
        .await
        .expect("nothing to do");
    assert!(world.state().writes.is_empty());
    store
        .commit(Batch::new(), Durability::PowerLoss)
        .await
        .expect("a sync");
    assert_eq!(world.state().writes, [(0, Durability::PowerLoss)]);
}

#[tokio::test]
async fn commits_behind_a_failed_one_are_refused_and_the_next_reopens_the_engine() {
    let world = World::default();
    let store = world.open();
    let error = StorageError::Backend("the cable".to_owned());
    world.state().next_writes.push(Trouble::Fail(error));
    let first = busy(&world, &store).await;
    let mut behind = store.commit(put("behind", ""), Durability::Relaxed);
    submit(&mut behind).await;
    world.release();
    let failed = first.await.expect_err("it failed").to_string();
    assert!(
        failed.contains("the cable") && failed.contains("unknown"),
        "{failed}"
    );
    let refused = behind.await.expect_err("it was refused").to_string();
    assert!(
        refused.contains("not tried") && refused.contains("the cable"),
        "{refused}"
    );
    assert_eq!(world.state().opened, 1);

    store
        .commit(put("next", ""), Durability::Relaxed)
        .await
        .expect("reopened");
    assert_eq!(world.state().opened, 2);
    let keys: Vec<Vec<u8>> = world.state().map.keys().cloned().collect();
    assert_eq!(keys, [b"next".to_vec()]);
}

#[tokio::test]
async fn an_engine_that_does_not_open_again_is_tried_at_each_call() {
    let world = World::default();
    let store = world.open();
    let failure = |what: &str| StorageError::Backend(what.to_owned());
    world
        .state()
        .next_writes
        .push(Trouble::Fail(failure("the cable")));
    world.state().next_opens = vec![failure("no cable"), failure("no cable")];
    store
        .commit(put("a", ""), Durability::Relaxed)
        .await
        .expect_err("it failed");
    let refused = store.commit(put("b", ""), Durability::Relaxed).await;
    let refused = refused.expect_err("it does not open").to_string();
    assert!(
        refused.contains("the cable") && refused.contains("no cable"),
        "{refused}"
    );
    assert!(refused.contains("nothing was written"), "{refused}");
    store.get(b"a").await.expect_err("it does not open");
    store.get(b"a").await.expect("it opens");
    store
        .commit(put("c", ""), Durability::Relaxed)
        .await
        .expect("a commit");
}

#[tokio::test]
async fn damage_found_at_reopening_is_told_as_damage() {
    let world = World::default();
    let store = world.open();
    let failure = StorageError::Backend("the cable".to_owned());
    world.state().next_writes.push(Trouble::Fail(failure));
    world
        .state()
        .next_opens
        .push(StorageError::Corrupt("page 7".to_owned()));
    store
        .commit(put("a", ""), Durability::Relaxed)
        .await
        .expect_err("it failed");
    let answer = store.commit(put("b", ""), Durability::Relaxed).await;
    assert!(
        matches!(answer, Err(StorageError::Corrupt(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_failed_read_reopens_the_engine_and_reads_again() {
    let world = World::default();
    let store = world.open();
    store
        .commit(put("a", "1"), Durability::Relaxed)
        .await
        .expect("a commit");
    let failure = |what: &str| StorageError::Backend(what.to_owned());
    // The read in place fails, and the one on the reader thread.
    world.state().next_reads = vec![failure("2"), failure("1")];
    let found = store.get(b"a").await.expect("the third read");
    assert_eq!(found.as_deref(), Some(&b"1"[..]));
    assert_eq!(world.state().opened, 2);
    // Several keys are read on the reader thread at once.
    world.state().next_reads = vec![failure("1")];
    let found = store
        .get_many(&[b"a".to_vec(), b"b".to_vec()])
        .await
        .expect("the second read");
    assert_eq!(found[0].as_deref(), Some(&b"1"[..]));
    assert_eq!(world.state().opened, 3);
}

#[tokio::test]
async fn damage_met_by_a_read_is_told_and_leaves_the_rest_readable() {
    let world = World::default();
    let store = world.open();
    world
        .state()
        .next_reads
        .push(StorageError::Corrupt("page 7".to_owned()));
    let answer = store.get(b"a").await;
    assert!(
        matches!(answer, Err(StorageError::Corrupt(_))),
        "{answer:?}"
    );
    assert_eq!(store.get(b"b").await.expect("a read"), None);
    assert_eq!(world.state().opened, 1);
}

#[tokio::test]
async fn a_panic_of_the_engine_is_damage_and_the_engine_is_reopened() {
    let world = World::default();
    let store = world.open();
    world.state().next_writes.push(Trouble::Panic);
    match store.commit(put("a", ""), Durability::Relaxed).await {
        Err(StorageError::Corrupt(what)) => assert!(what.contains("a page is not"), "{what}"),
        other => panic!("{other:?}"),
    }
    store
        .commit(put("b", ""), Durability::Relaxed)
        .await
        .expect("reopened");
    assert_eq!(world.state().opened, 2);
}

/// A program whose hook asks prints nothing of what is told as an error.
#[tokio::test]
async fn a_panic_hook_can_tell_what_becomes_an_error() {
    static HEARD: Mutex<Vec<(String, bool)>> = Mutex::new(Vec::new());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let contained = pocket_storage::blocking::contains_panics();
        let heard = (panic.to_string(), contained);
        HEARD.lock().expect("nobody panics under it").push(heard);
        before(panic);
    }));
    let store = World::default().open();
    let trips = |_: Box<dyn View>| panic!("inside of the engine");
    let visited = store.visit(Box::new(trips)).await;
    assert!(matches!(visited, Err(StorageError::Corrupt(_))));
    let own = std::panic::catch_unwind(|| panic!("outside of the engine"));
    assert!(own.is_err());
    for (text, contained) in [
        ("inside of the engine", true),
        ("outside of the engine", false),
    ] {
        let heard = HEARD.lock().expect("nobody panics under it");
        let mut of_it = heard.iter().filter(|(told, _)| told.contains(text));
        assert_eq!(of_it.next().map(|it| it.1), Some(contained), "{text}");
    }
}

#[tokio::test]
async fn closing_waits_for_what_was_submitted_and_refuses_what_comes_after() {
    let world = World::default();
    let store = world.open();
    let before = busy(&world, &store).await;
    let mut close = store.close();
    submit(&mut close).await;
    let mut after = store.commit(put("after", ""), Durability::Relaxed);
    submit(&mut after).await;
    let mut again = store.close();
    submit(&mut again).await;
    // Reads go on until it is closed.
    assert_eq!(store.get(b"before").await.expect("a read"), None);
    world.release();
    before.await.expect("what came before");
    close.await.expect("closes");
    again.await.expect("closing twice is allowed");
    assert!(matches!(after.await, Err(StorageError::Closed)));
    assert!(matches!(
        store.get(b"first").await,
        Err(StorageError::Closed)
    ));
    assert_eq!(
        world.state().closed,
        101,
        "the engine is closed, then the opener dropped"
    );
}

#[tokio::test]
async fn dropping_the_store_finishes_and_closes() {
    let world = World::default();
    let store = world.open();
    let mut commit = store.commit(put("a", ""), Durability::Relaxed);
    let _ = futures_util::poll!(&mut commit);
    drop(commit);
    drop(store);
    assert_eq!(world.state().closed, 101);
    assert!(world.state().map.contains_key(&b"a"[..]));
}

#[tokio::test]
async fn a_commit_that_is_too_large_is_refused_before_it_waits() {
    let world = World::default();
    let store = world.open();
    let first = busy(&world, &store).await;
    let answer = store
        .commit(put(&"k".repeat(1025), ""), Durability::Relaxed)
        .await;
    assert!(
        matches!(answer, Err(StorageError::TooLarge { what: "key", .. })),
        "{answer:?}"
    );
    world.release();
    first.await.expect("the first");
}

#[tokio::test]
async fn a_snapshot_goes_before_its_engine_does() {
    for closes in [false, true] {
        let world = World::default();
        let store = world.open();
        let scan = async |snapshot: &dyn Snapshot| {
            let limit = ScanLimit::entries(10);
            let range = KeyRange::all();
            snapshot.scan(range, limit, Direction::Forward).await
        };
        let commit = async |value| store.commit(put("key", value), Durability::PowerLoss).await;
        commit("1").await.expect("a commit");
        let kept = store.snapshot().await.expect("one").expect("it has them");
        let dropped = store.snapshot().await.expect("one").expect("it has them");
        commit("2").await.expect("a commit");
        assert_eq!(scan(&*kept).await.expect("a scan")[0].1, "1");
        drop(dropped);
        assert_eq!(world.state().snapshots, 1);
        if closes {
            store.close().await.expect("closes");
        } else {
            let failure = StorageError::Backend("broken".to_owned());
            world.state().next_writes.push(Trouble::Fail(failure));
            commit("3").await.expect_err("it is broken");
            commit("3").await.expect("opened anew");
            assert_eq!(world.state().opened, 2);
        }
        assert_eq!(
            world.state().snapshots_left,
            0,
            "an engine was left with one"
        );
        let ended = scan(&*kept).await;
        assert!(
            matches!(ended, Err(StorageError::Closed)),
            "the state is gone"
        );
        drop(kept);
    }
}

#[tokio::test]
async fn a_visit_that_panics_is_told_and_a_failed_engine_is_opened_anew_for_the_next() {
    let world = World::default();
    let store = world.open();
    let commit = async |value| store.commit(put("key", value), Durability::PowerLoss).await;
    commit("1").await.expect("a commit");
    let broken = store
        .visit(Box::new(|_: Box<dyn View>| panic!("a visitor trips")))
        .await;
    assert!(
        matches!(&broken, Err(StorageError::Corrupt(what)) if what.contains("trips")),
        "{broken:?}"
    );
    let failure = StorageError::Backend("broken".to_owned());
    world.state().next_writes.push(Trouble::Fail(failure));
    commit("2").await.expect_err("it is broken");
    let (tell, told) = tokio::sync::oneshot::channel();
    let read = move |view: Box<dyn View>| {
        let found = view.scan(&KeyRange::all(), ScanLimit::entries(10), Direction::Forward);
        tell.send(found).expect("somebody waits");
    };
    assert!(matches!(store.visit(Box::new(read)).await, Ok(true)));
    let found = told.await.expect("it was called").expect("a scan");
    assert_eq!(found[0].1, "1");
    assert_eq!(world.state().opened, 2);
    assert_eq!(world.state().snapshots, 0, "none is left of a visit");
    store.close().await.expect("closes");
    let closed = store.visit(Box::new(|_: Box<dyn View>| ())).await;
    assert!(matches!(closed, Err(StorageError::Closed)), "{closed:?}");
}
