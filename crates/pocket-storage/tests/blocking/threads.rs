//! On which threads a store is read, and when they are started.

use std::num::NonZeroUsize;

use pocket_storage::blocking::BlockingOptions;
use pocket_storage::{Direction, Durability, KeyRange, ScanLimit, Storage, StorageError};

use crate::engine::World;
use crate::put;

#[tokio::test]
async fn a_short_scan_runs_where_it_is_called_and_a_long_one_on_a_thread_that_was_started_for_it() {
    let world = World::default();
    let store = world.open();
    store
        .commit(put("a", "1"), Durability::Relaxed)
        .await
        .expect("a commit");
    let scan = |limit| store.scan(KeyRange::all(), limit, Direction::Forward);
    let (short, long) = (ScanLimit::SHORT, ScanLimit::entries(9).bytes(100));
    for limit in [short, long, long, short.bytes(short.bytes + 1)] {
        let found = scan(limit).await.expect("a scan");
        assert_eq!(found.len(), 1);
    }
    let here = std::thread::current().id();
    let on = std::mem::take(&mut world.state().read_on);
    let is_here = on.iter().map(|thread| *thread == here);
    assert_eq!(is_here.collect::<Vec<_>>(), [true, false, false, false]);
    // One that fails is tried again where opening the engine anew keeps nobody.
    world.state().next_reads = vec![StorageError::Backend("broken".to_owned())];
    assert_eq!(scan(short).await.expect("the second scan").len(), 1);
    let on = std::mem::take(&mut world.state().read_on);
    assert_eq!(on.len(), 2);
    assert!(on[0] == here && on[1] != here);
    let none = scan(ScanLimit::entries(0).bytes(0)).await;
    assert_eq!(none.expect("a scan").len(), 0);
    assert!(world.state().read_on.is_empty());
}

#[tokio::test]
async fn one_key_is_looked_up_where_it_is_asked_for_and_several_on_a_thread() {
    let world = World::default();
    let store = world.open();
    store
        .commit(put("a", "1"), Durability::Relaxed)
        .await
        .expect("a commit");
    let value = store.get(b"a").await.expect("a value");
    assert!(value.is_some());
    for keys in [&["a"][..], &["a", "b"]] {
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let found = store.get_many(&keys).await.expect("values");
        assert_eq!(found.len(), keys.len());
        assert_eq!(found[0], value);
    }
    let here = std::thread::current().id();
    let on = std::mem::take(&mut world.state().read_on);
    let is_here = on.iter().map(|thread| *thread == here);
    assert_eq!(is_here.collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test]
async fn no_more_threads_read_at_once_than_are_allowed_and_those_that_are_idle_are_used_again() {
    let world = World::default();
    let mut options = BlockingOptions::default();
    options.readers = NonZeroUsize::MIN;
    let store = world.open_with(&options);
    let scan = || store.scan(KeyRange::all(), ScanLimit::entries(99), Direction::Forward);
    for found in futures_util::future::join_all((0..20).map(|_| scan())).await {
        found.expect("a scan");
    }
    scan().await.expect("a scan");
    let on = std::mem::take(&mut world.state().read_on);
    assert_eq!(on.len(), 21);
    assert!(on.iter().all(|thread| *thread == on[0]));
}

#[tokio::test]
async fn a_store_that_was_only_read_is_closed_like_any_other() {
    for closes in [false, true] {
        let world = World::default();
        let store = world.open();
        assert!(matches!(store.get(b"a").await, Ok(None)));
        if closes {
            store.close().await.expect("closes");
            let answer = store.get_many(&[b"a".to_vec()]).await;
            assert!(matches!(answer, Err(StorageError::Closed)), "{answer:?}");
            let answer = store.commit(put("a", ""), Durability::Relaxed).await;
            assert!(matches!(answer, Err(StorageError::Closed)), "{answer:?}");
        }
        drop(store);
        assert_eq!(world.state().closed, 101);
    }
}
