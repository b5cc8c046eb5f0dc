//! Damaged and foreign files. What is found at open, and what is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use pocket_storage::{
    Batch, Direction, Durability, KeyRange, Result, ScanLimit, Storage, StorageError,
};
use pocket_storage_redb::RedbStorage;
use redb::{Database, TableDefinition};

type Entries = BTreeMap<Vec<u8>, Bytes>;

async fn entries_of(store: &dyn Storage) -> Result<Entries> {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    let found = store
        .scan(KeyRange::all(), limit, Direction::Forward)
        .await?;
    Ok(found.into_iter().collect())
}

/// A closed store of some hundred entries, and what it holds.
async fn make(path: &Path) -> Entries {
    let store = RedbStorage::open(path).expect("opens");
    for batch_number in 0..20_u32 {
        let mut batch = Batch::new();
        for number in 0..40_u32 {
            let key = format!("document {}", batch_number * 40 + number);
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
    let store = RedbStorage::open(path)?;
    entries_of(&store).await
}

#[tokio::test]
async fn a_flipped_bit_is_found_or_harmless() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.redb");
    let entries = make(&path).await;
    let whole = fs::read(&path).expect("the file");
    let (mut found, mut harmless) = (0, 0);
    // A stride without a factor in common with page and sector sizes; the header more closely.
    let positions = (0..512).step_by(7).chain((512..whole.len()).step_by(6151));
    for position in positions {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (position % 8);
        fs::write(&path, &damaged).expect("writes");
        match open_and_read(&path).await {
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
        found > 20 && harmless > 20,
        "{found} found, {harmless} harmless"
    );
}

#[tokio::test]
async fn a_cut_file_is_corrupt() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.redb");
    make(&path).await;
    let whole = fs::read(&path).expect("the file");
    let lengths = [
        0,
        1,
        9,
        300,
        4096,
        whole.len() / 2,
        whole.len() - 4096,
        whole.len() - 1,
    ];
    for length in lengths {
        fs::write(&path, &whole[..length]).expect("writes");
        let answer = open_and_read(&path).await;
        assert!(
            matches!(answer, Err(StorageError::Corrupt(_))),
            "{length} bytes: {answer:?}"
        );
    }
}

#[tokio::test]
async fn foreign_files_are_corrupt_and_stay_as_they_are() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.redb");
    let another = directory.path().join("another.redb");
    let table: TableDefinition<'_, u64, u64> = TableDefinition::new("pocket money");
    let database = Database::create(&another).expect("another program's database");
    let write = database.begin_write().expect("a transaction");
    write.open_table(table).expect("a table");
    write.commit().expect("a commit");
    drop(database);
    let another = fs::read(&another).expect("the file");
    for foreign in [b"shopping list".to_vec(), vec![0; 100_000], another] {
        fs::write(&path, &foreign).expect("writes");
        let answer = open_and_read(&path).await;
        assert!(
            matches!(answer, Err(StorageError::Corrupt(_))),
            "{answer:?}"
        );
        // redb may note in its header that it was opened; everything else is as it was.
        let left = fs::read(&path).expect("the file");
        assert_eq!(left.len(), foreign.len());
        assert!(foreign.starts_with(b"redb") || left == foreign);
    }
}

#[tokio::test]
async fn a_creation_that_was_killed_leaves_nothing_in_the_way() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.redb");
    fs::write(directory.path().join("store.redb.new"), b"half a stor").expect("writes");
    let entries = open_and_read(&path).await.expect("opens");
    assert!(entries.is_empty());
    assert!(!directory.path().join("store.redb.new").exists());
}

#[tokio::test]
async fn a_store_that_was_not_closed_reports_its_repair() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store.redb");
    let copy = directory.path().join("copy.redb");
    make(&path).await;
    let store = RedbStorage::open(&path).expect("opens");
    let mut batch = Batch::new();
    batch.put("after", "");
    store
        .commit(batch, Durability::PowerLoss)
        .await
        .expect("a commit");
    // What a kill leaves: the file as it is while the store is open.
    fs::copy(&path, &copy).expect("copies");
    let (sender, progress) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let store = RedbStorage::builder()
        .on_repair(move |done| drop(sender.lock().map(|sender| sender.send(done))))
        .open(&copy)
        .expect("opens");
    assert!(store.get(b"after").await.expect("a read").is_some());
    let told: Vec<f64> = progress.try_iter().collect();
    assert!(
        !told.is_empty() && told.iter().all(|done| (0.0..=1.0).contains(done)),
        "{told:?}"
    );
}
