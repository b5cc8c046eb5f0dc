//! Damaged and foreign directories. What is found at open, and what sled cannot see.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use pocket_storage::{
    Batch, Direction, Durability, KeyRange, MAX_VALUE_BYTES, Result, ScanLimit, Storage,
    StorageError,
};
use pocket_storage_sled::SledStorage;

type Entries = BTreeMap<Vec<u8>, Bytes>;

const BATCHES: u32 = 30;

async fn entries_of(store: &dyn Storage) -> Result<Entries> {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    let found = store
        .scan(KeyRange::all(), limit, Direction::Forward)
        .await?;
    Ok(found.into_iter().collect())
}

/// A closed store, and what it holds.
async fn make(path: &Path) -> Entries {
    let store = SledStorage::open(path).expect("opens");
    for batch_number in 0..BATCHES {
        let mut batch = Batch::new();
        batch.put("large", vec![batch_number.to_le_bytes()[0]; 20_000]);
        for number in 0..20_u32 {
            let key = format!("document {}", batch_number * 20 + number);
            batch.put(key, vec![batch_number.to_le_bytes()[0]; 150]);
        }
        store
            .commit(batch, Durability::PowerLoss)
            .await
            .expect("a commit");
    }
    let entries = entries_of(&store).await.expect("a scan");
    store.close().await.expect("closes");
    entries
}

async fn open_and_read(path: &Path) -> Result<Entries> {
    let store = SledStorage::open(path)?;
    entries_of(&store).await
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copies");
        }
    }
}

/// Damages a copy of the log, opens it, and says what came of it.
async fn with_log(whole: &Path, name: &str, log: &[u8]) -> Result<Entries> {
    let damaged = whole.with_file_name(name);
    copy(whole, &damaged);
    fs::write(damaged.join("db"), log).expect("writes");
    open_and_read(&damaged).await
}

#[tokio::test]
async fn a_flipped_bit_is_found_or_harmless() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let entries = make(&path).await;
    let whole = fs::read(path.join("db")).expect("the log");
    let (mut found, mut harmless) = (0, 0);
    for position in (0..whole.len()).step_by(whole.len() / 40) {
        let mut log = whole.clone();
        log[position] ^= 1 << (position % 8);
        match with_log(&path, &format!("flip {position}"), &log).await {
            Err(StorageError::Corrupt(_)) => found += 1,
            Err(other) => panic!("byte {position}: {other}"),
            Ok(read) => {
                assert!(
                    read == entries,
                    "byte {position}: opens and shows something else"
                );
                harmless += 1;
            }
        }
    }
    assert!(
        found > 5 && harmless > 5,
        "{found} found, {harmless} harmless"
    );
}

/// sled itself takes a log that ends early for one that was never written.
#[tokio::test]
async fn a_cut_log_is_corrupt_or_lost_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let entries = make(&path).await;
    let whole = fs::read(path.join("db")).expect("the log");
    let mut found = 0;
    for length in [
        0,
        1,
        4096,
        whole.len() / 3,
        whole.len() / 2,
        whole.len() - 512,
    ] {
        match with_log(&path, &format!("cut {length}"), &whole[..length]).await {
            Err(StorageError::Corrupt(_)) => found += 1,
            Err(other) => panic!("{length} bytes: {other}"),
            Ok(read) => assert!(read == entries, "{length} bytes: shows something else"),
        }
    }
    assert!(found >= 5, "{found} found");
}

/// Between two notes of the witness a cut goes unseen; the README says so. An empty store it never is.
#[tokio::test]
async fn a_cut_log_of_a_store_that_was_not_closed_is_never_an_empty_store() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let store = SledStorage::open(&path).expect("opens");
    let mut batch = Batch::new();
    batch.put("first", "commit");
    store
        .commit(batch, Durability::PowerLoss)
        .await
        .expect("a commit");
    let copied = directory.path().join("copied");
    copy(&path, &copied);
    let whole = fs::read(copied.join("db")).expect("the log");
    let mut found = 0;
    for length in (0..whole.len().min(8192)).step_by(256) {
        match with_log(&copied, &format!("cut {length}"), &whole[..length]).await {
            Err(StorageError::Corrupt(_)) => found += 1,
            Err(other) => panic!("{length} bytes: {other}"),
            Ok(read) => assert_eq!(read.len(), 1, "{length} bytes: lost the only entry"),
        }
    }
    assert!(found > 0);
}

#[tokio::test]
async fn foreign_files_and_directories_are_corrupt() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("file");
    fs::write(&file, "shopping list").expect("writes");
    let folder = directory.path().join("folder");
    fs::create_dir(&folder).expect("a directory");
    fs::write(folder.join("photo.jpg"), "photo").expect("writes");
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    let another = directory.path().join("another");
    let database = sled::open(&another).expect("another program's database");
    database.insert("key", "value").expect("a write");
    drop(database);
    // sled's threads may keep its lock for a moment; one of ours is granted when theirs is gone.
    let log = fs::File::open(another.join("db")).expect("its log");
    log.lock().expect("its lock");
    drop(log);
    for foreign in [&file, &folder, &empty, &another, &another] {
        let answer = open_and_read(foreign).await;
        assert!(
            matches!(answer, Err(StorageError::Corrupt(_))),
            "{answer:?}"
        );
    }
    assert_eq!(fs::read_dir(&folder).expect("a directory").count(), 1);
}

#[tokio::test]
async fn a_creation_that_was_killed_leaves_nothing_in_the_way() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unfinished = directory.path().join("store.new");
    fs::create_dir(&unfinished).expect("a directory");
    fs::write(unfinished.join("conf"), "half").expect("writes");
    let path = directory.path().join("store");
    let entries = open_and_read(&path).await.expect("opens");
    assert!(entries.is_empty() && !unfinished.exists());
}

#[tokio::test]
async fn a_snapshot_that_was_not_finished_is_not_in_the_way() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let made = make(&path).await;
    fs::write(path.join("snap.0000000000000FFF.generating"), "half").expect("writes");
    let entries = open_and_read(&path).await.expect("opens");
    assert!(entries == made);
}

/// sled never syncs the files that it makes for large pages, so there must be none.
#[tokio::test]
async fn large_values_and_long_keys_make_no_files_that_sled_does_not_sync() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let store = SledStorage::open(&path).expect("opens");
    for round in 0..3_usize {
        for size in [4096, 4097, 60_000, 130_000, MAX_VALUE_BYTES] {
            let mut batch = Batch::new();
            batch.put(format!("size {size}"), vec![1; size - round]);
            for number in 0..40 {
                batch.put(format!("{number:01000}"), vec![2; 4096 - round]);
            }
            store
                .commit(batch, Durability::PowerLoss)
                .await
                .expect("a commit");
        }
    }
    let blobs = fs::read_dir(path.join("blobs")).expect("sled's directory");
    assert_eq!(blobs.count(), 0);
}
