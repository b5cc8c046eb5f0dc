//! The fault wrapper and the memory disk together: what a simulator does with them.

use std::sync::Arc;

use futures_util::FutureExt;
use pocket_storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_storage::{Batch, Durability, Result, Storage, StorageError};
use pocket_storage_memory::MemoryDisk;

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing here ever waits")
}

fn put(store: &dyn Storage, key: &str, durability: Durability) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(key, "value");
    now(store.commit(batch, durability))
}

fn has(store: &dyn Storage, key: &str) -> bool {
    now(store.get(key.as_bytes())).expect("a read").is_some()
}

fn wrapped(disk: &MemoryDisk) -> (FaultyStorage, Faults) {
    let faults = Faults::new();
    (FaultyStorage::new(Arc::new(disk.open()), &faults), faults)
}

#[test]
fn the_nth_call_fails_without_effect_and_the_next_goes_on() {
    let (store, faults) = wrapped(&MemoryDisk::new());
    faults.fail_at(2, StorageError::Full("the disk".to_owned()));
    put(&store, "1", Durability::PowerLoss).expect("the first call");
    let answer = put(&store, "2", Durability::PowerLoss);
    assert!(matches!(answer, Err(StorageError::Full(_))), "{answer:?}");
    put(&store, "3", Durability::PowerLoss).expect("the third call");
    assert!(has(&store, "1") && !has(&store, "2") && has(&store, "3"));
    let calls = faults.calls();
    assert_eq!((calls.commit, calls.get, calls.total()), (3, 3, 6));
}

#[test]
fn a_failed_answer_may_hide_an_effect() {
    let (store, faults) = wrapped(&MemoryDisk::new());
    let error = StorageError::Backend("the cable".to_owned());
    faults.fail_at_kind(CallKind::Commit, 1, Moment::After, error);
    let answer = put(&store, "1", Durability::PowerLoss);
    assert!(
        matches!(answer, Err(StorageError::Backend(_))),
        "{answer:?}"
    );
    assert!(has(&store, "1"));
}

#[test]
fn a_crash_before_the_effect_loses_the_commit_and_one_after_it_does_not() {
    for (moment, stored) in [(Moment::Before, false), (Moment::After, true)] {
        let disk = MemoryDisk::new();
        let (store, faults) = wrapped(&disk);
        put(&store, "1", Durability::PowerLoss).expect("the first call");
        faults.crash_at(2, moment);
        for _ in 0..3 {
            let answer = put(&store, "2", Durability::PowerLoss);
            assert!(matches!(answer, Err(StorageError::Closed)), "{answer:?}");
        }
        assert!(faults.crashed());
        assert_eq!(faults.calls().total(), 2, "a dead process makes no calls");
        disk.lose_power(usize::MAX);
        faults.restart();
        let store = FaultyStorage::new(Arc::new(disk.open()), &faults);
        assert!(has(&store, "1"));
        assert_eq!(has(&store, "2"), stored);
        assert_eq!(faults.calls().total(), 4, "the numbers go on");
    }
}

#[test]
fn refused_commits_leave_reads_alone() {
    let (store, faults) = wrapped(&MemoryDisk::new());
    put(&store, "1", Durability::PowerLoss).expect("a commit");
    faults.refuse_commits(Some(StorageError::Full("the disk".to_owned())));
    assert!(put(&store, "2", Durability::PowerLoss).is_err());
    assert!(has(&store, "1") && !has(&store, "2"));
    faults.refuse_commits(None);
    put(&store, "2", Durability::PowerLoss).expect("a commit");
}

#[test]
fn a_loss_of_power_takes_a_suffix_of_what_was_promised_less() {
    for lost in 0..=3 {
        let disk = MemoryDisk::new();
        let store = disk.open();
        put(&store, "relaxed before", Durability::Relaxed).expect("a commit");
        put(&store, "durable", Durability::PowerLoss).expect("a commit");
        put(&store, "a", Durability::Relaxed).expect("a commit");
        put(&store, "b", Durability::ProcessCrash).expect("a commit");
        put(&store, "c", Durability::Relaxed).expect("a commit");
        assert_eq!((disk.lost_by_crash(), disk.lost_by_power_loss()), (1, 3));
        disk.lose_power(lost);
        assert!(matches!(now(store.get(b"a")), Err(StorageError::Closed)));
        let store = disk.open();
        assert!(has(&store, "relaxed before") && has(&store, "durable"));
        let left = ["a", "b", "c"].map(|key| has(&store, key));
        assert_eq!(left, [lost < 3, lost < 2, lost < 1]);
        assert_eq!(disk.lost_by_power_loss(), 0);
    }
}

#[test]
fn the_end_of_a_process_takes_only_relaxed_commits() {
    let disk = MemoryDisk::new();
    let store = disk.open();
    put(&store, "a", Durability::Relaxed).expect("a commit");
    put(&store, "b", Durability::ProcessCrash).expect("a commit");
    put(&store, "c", Durability::Relaxed).expect("a commit");
    disk.crash(usize::MAX);
    let store = disk.open();
    assert_eq!(
        ["a", "b", "c"].map(|key| has(&store, key)),
        [true, true, false]
    );
    assert_eq!(disk.lost_by_power_loss(), 2, "the power may still go");
}

#[test]
fn taking_back_restores_what_was_overwritten_and_deleted() {
    let disk = MemoryDisk::new();
    let store = disk.open();
    let mut batch = Batch::new();
    batch.put("kept", "old").put("deleted", "old");
    now(store.commit(batch, Durability::PowerLoss)).expect("a commit");
    let mut batch = Batch::new();
    batch
        .put("kept", "new")
        .put("kept", "newer")
        .delete("deleted");
    batch.put("made", "new").delete("made");
    now(store.commit(batch, Durability::Relaxed)).expect("a commit");
    let before = disk.copy();
    disk.lose_power(1);
    let store = disk.open();
    for (key, value) in [
        ("kept", Some("old")),
        ("deleted", Some("old")),
        ("made", None),
    ] {
        let found = now(store.get(key.as_bytes())).expect("a read");
        assert_eq!(found.as_deref(), value.map(str::as_bytes), "{key}");
    }
    // The copy was another disk.
    let copied = now(before.open().get(b"kept")).expect("a read");
    assert_eq!(copied.as_deref(), Some(&b"newer"[..]));
}

#[test]
fn a_clone_is_another_handle_and_stays_open() {
    let disk = MemoryDisk::new();
    let (one, other) = (disk.open(), disk.open());
    let clone = one.clone();
    put(&one, "1", Durability::Relaxed).expect("a commit");
    now(one.close()).expect("closes");
    assert!(matches!(now(one.get(b"1")), Err(StorageError::Closed)));
    assert!(has(&other, "1") && has(&clone, "1"));
}
