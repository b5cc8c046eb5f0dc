//! I/O errors below redb: what callers hear, and how the store brings itself back.

mod common;

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use common::{Device, Fault};
use pocket_storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_storage::{
    Batch, Direction, Durability, KeyRange, Result, ScanLimit, Storage, StorageError, View,
};
use pocket_storage_redb::RedbStorage;

const COMMITS: u32 = 12;

fn open(device: &Device) -> Result<RedbStorage> {
    let device = device.clone();
    RedbStorage::builder().open_on(move || device.connect())
}

async fn commit(store: &dyn Storage, number: u32) -> Result<()> {
    let mut batch = Batch::new();
    batch.put("newest", number.to_be_bytes().to_vec());
    // Large enough that the file grows on the way.
    batch.put(number.to_be_bytes(), vec![7; 30_000]);
    store.commit(batch, Durability::PowerLoss).await
}

async fn is_whole(store: &dyn Storage, number: u32) -> bool {
    let found = store.get(&number.to_be_bytes()).await.expect("a read");
    found.is_some_and(|found| found.len() == 30_000 && found.iter().all(|byte| *byte == 7))
}

/// Calls that change the device while it is opened, and altogether.
async fn calls_of_a_run() -> (u64, u64) {
    let device = Device::default();
    let store = open(&device).expect("opens");
    let opening = device.calls().all();
    for number in 0..COMMITS {
        commit(&store, number).await.expect("a commit");
    }
    (opening, device.calls().all())
}

/// One call in the whole run fails, each in its turn.
#[tokio::test]
async fn after_any_single_error_the_next_commit_finds_the_store_reopened() {
    let (opening, all) = calls_of_a_run().await;
    assert!(all - opening > u64::from(COMMITS) * 2);
    let (mut full, mut unknown, mut stored) = (0, 0, 0);
    for error in [ErrorKind::StorageFull, ErrorKind::Other] {
        for call in opening..all {
            let device = Device::default();
            let store = open(&device).expect("opens");
            device.set_fault(Some(Fault::Fail {
                from: call,
                times: 1,
                error,
            }));
            let mut written = Vec::new();
            for number in 0..COMMITS {
                let answer = commit(&store, number).await;
                let whole = is_whole(&store, number).await;
                match answer {
                    Ok(()) => {}
                    Err(StorageError::Full(_)) => {
                        assert_eq!(error, ErrorKind::StorageFull);
                        assert!(!whole, "call {call}: full, and written all the same");
                        full += 1;
                        continue;
                    }
                    Err(StorageError::Backend(reason)) => {
                        assert!(reason.contains("reopens itself"), "{reason}");
                        unknown += 1;
                        stored += u64::from(whole);
                    }
                    Err(other) => panic!("call {call} answered {other}"),
                }
                if whole {
                    written.push(number);
                }
            }
            assert!(device.faulted() <= 1);
            drop(store);
            let store = open(&device).expect("opens again");
            for number in &written {
                assert!(
                    is_whole(&store, *number).await,
                    "call {call}: {number} is lost"
                );
            }
            let newest = store.get(b"newest").await.expect("a read");
            let expected = written.last().map(|number| number.to_be_bytes());
            assert_eq!(newest.as_deref(), expected.as_ref().map(|n| &n[..]));
        }
    }
    assert!(
        full > 0 && unknown > 0,
        "{full} full, {unknown} unknown, {stored} of them stored"
    );
}

#[tokio::test]
async fn a_broken_device_refuses_writes_until_it_is_whole_again() {
    let device = Device::default();
    let store = open(&device).expect("opens");
    commit(&store, 1).await.expect("a commit");
    device.set_fault(Some(Fault::Fail {
        from: 0,
        times: u64::MAX,
        error: ErrorKind::Other,
    }));
    for attempt in 0..3 {
        match commit(&store, 2).await {
            Err(StorageError::Backend(reason)) if attempt == 0 => {
                assert!(
                    reason.contains("reopens itself at the next call"),
                    "{reason}"
                );
            }
            Err(StorageError::Backend(reason)) => {
                assert!(reason.contains("could not be reopened"), "{reason}");
                assert!(reason.contains("nothing was written"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    let read = store.get(&1_u32.to_be_bytes()).await;
    assert!(matches!(read, Err(StorageError::Backend(_))), "{read:?}");
    device.set_fault(None);
    // A read brings it back as well as a write.
    assert!(is_whole(&store, 1).await);
    commit(&store, 3).await.expect("a commit");
    assert!(is_whole(&store, 1).await && !is_whole(&store, 2).await && is_whole(&store, 3).await);
    store.close().await.expect("closes");
}

#[tokio::test]
async fn closing_a_broken_store_says_that_the_newest_commits_may_be_lost() {
    let device = Device::default();
    let store = open(&device).expect("opens");
    let mut batch = Batch::new();
    batch.put("relaxed", "");
    store
        .commit(batch, Durability::Relaxed)
        .await
        .expect("a commit");
    device.set_fault(Some(Fault::Fail {
        from: 0,
        times: u64::MAX,
        error: ErrorKind::Other,
    }));
    let answer = store.close().await;
    assert!(
        matches!(answer, Err(StorageError::Backend(_))),
        "{answer:?}"
    );
    assert!(matches!(
        store.get(b"relaxed").await,
        Err(StorageError::Closed)
    ));
    store.close().await.expect("closing twice is allowed");
}

/// An open read transaction holds redb's file; it must not keep the store from coming back.
#[tokio::test]
async fn a_store_that_is_being_backed_up_reopens_itself_all_the_same() {
    let device = Device::default();
    let store = open(&device).expect("opens");
    commit(&store, 0).await.expect("a commit");
    let snapshot = store.snapshot().await.expect("one").expect("redb has them");
    device.set_fault(Some(Fault::Fail {
        from: device.calls().all(),
        times: 1,
        error: ErrorKind::Other,
    }));
    commit(&store, 1).await.expect_err("the device fails");
    device.set_fault(None);
    commit(&store, 2).await.expect("reopened");
    assert!(is_whole(&store, 0).await && is_whole(&store, 2).await);
    let limit = ScanLimit::entries(1);
    let read = snapshot.scan(KeyRange::all(), limit, Direction::Forward);
    assert!(matches!(read.await, Err(StorageError::Closed)));
    store.close().await.expect("closes");
}

/// Whether a visit was answered, and whether its visitor was called.
async fn visit(store: &dyn Storage) -> (Result<bool>, bool) {
    let called = Arc::new(AtomicBool::new(false));
    let seen = called.clone();
    let visitor = move |_: Box<dyn View>| seen.store(true, Ordering::Relaxed);
    let answer = store.visit(Box::new(visitor)).await;
    (answer, called.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_visit_fails_when_it_is_told_to() {
    let store = Arc::new(open(&Device::default()).expect("opens"));
    let faults = Faults::new();
    let faulty = FaultyStorage::new(store, &faults);
    assert!(matches!(visit(&faulty).await, (Ok(true), true)));
    let cable = || StorageError::Backend("the cable".to_owned());
    faults.fail_at_kind(CallKind::Visit, 2, Moment::Before, cable());
    faults.fail_at_kind(CallKind::Visit, 3, Moment::After, cable());
    for called in [false, true] {
        let (answer, was_called) = visit(&faulty).await;
        assert!(
            matches!(answer, Err(StorageError::Backend(_))),
            "{answer:?}"
        );
        assert_eq!(was_called, called);
    }
    assert!(matches!(visit(&faulty).await, (Ok(true), true)));
    assert_eq!(faults.calls().visit, 4);
    faults.crash();
    assert!(matches!(
        visit(&faulty).await,
        (Err(StorageError::Closed), false)
    ));
}

/// A mount that went away leaves an empty directory behind, or another disk.
#[tokio::test]
async fn a_store_that_has_gone_is_not_begun_anew() {
    let device = Device::default();
    let there = Arc::new(Mutex::new(device.clone()));
    let seen = there.clone();
    let store = RedbStorage::builder()
        .open_on(move || seen.lock().expect("nobody panics").connect())
        .expect("opens");
    commit(&store, 0).await.expect("a commit");
    device.set_fault(Some(Fault::Fail {
        from: device.calls().all(),
        times: 1,
        error: ErrorKind::Other,
    }));
    *there.lock().expect("nobody panics") = Device::default();
    commit(&store, 1).await.expect_err("the device fails");
    for _ in 0..2 {
        let read = store.get(b"newest").await;
        let Err(StorageError::Backend(why)) = &read else {
            panic!("{read:?}");
        };
        assert!(why.contains("has gone"), "{why}");
    }
    *there.lock().expect("nobody panics") = device;
    assert!(is_whole(&store, 0).await);
    commit(&store, 2).await.expect("it is back");
    store.close().await.expect("closes");
}
