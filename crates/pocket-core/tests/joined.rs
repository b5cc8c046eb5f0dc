//! Writes that come together and share a commit, on a store whose commits take their time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use pocket_core::{ChangeItem, Collection, CollectionConfig, Database, Value, codes};
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage,
    StorageError,
};
use pocket_storage_memory::MemoryStorage;

/// Memory that says it is a disk.
#[derive(Debug, Default)]
struct Disk {
    entries: MemoryStorage,
    commits: AtomicUsize,
    /// The commit that fails; none for 0.
    fails: AtomicUsize,
    /// What the largest commit wrote, in bytes.
    largest: AtomicUsize,
}

#[async_trait]
impl Storage for Disk {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::PowerLoss)
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.entries.get(key).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.entries.get_many(keys).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.entries.scan(range, limit, direction).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let number = 1 + self.commits.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) == number {
            return Err(StorageError::Backend("the cable".to_owned()));
        }
        self.largest
            .fetch_max(batch.write_bytes(), Ordering::Relaxed);
        self.entries.commit(batch, durability).await
    }

    async fn close(&self) -> Result<()> {
        self.entries.close().await
    }
}

async fn open(disk: &Arc<Disk>) -> (Database, Collection<Value>) {
    let database = Database::builder("test")
        .collection(CollectionConfig::new("todos").sync(true))
        .open_shared(disk.clone())
        .await
        .unwrap();
    disk.commits.store(0, Ordering::Relaxed);
    let todos = database.collection("todos").unwrap();
    (database, todos)
}

fn todo(id: &str) -> Value {
    Value::from_json_str(&format!(r#"{{"_id":"{id}"}}"#)).unwrap()
}

/// Eight writers, each of which goes on once it is answered, and finds what it wrote.
async fn eight_writers(todos: &Collection<Value>, each: usize) {
    let writers = (0..8).map(|writer| {
        let todos = todos.clone();
        tokio::spawn(async move {
            for number in 0..each {
                let id = format!("{writer}-{number}");
                todos.insert(&todo(&id)).await.unwrap();
                assert!(todos.get(&id).await.unwrap().is_some());
            }
        })
    });
    for ended in join_all(writers).await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn eight_writers_that_go_on_at_once_share_commits_among_at_least_three() {
    let disk = Arc::<Disk>::default();
    let (database, todos) = open(&disk).await;
    eight_writers(&todos, 50).await;
    assert_eq!(todos.count().await.unwrap(), 400);
    assert_eq!(database.stats().await.unwrap().pending_changes, 400);
    let commits = disk.commits.load(Ordering::Relaxed);
    assert!(commits <= 400 / 3, "{commits} commits of 400 writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_several_threads_each_writer_is_answered_once_its_own_write_is_stored() {
    let disk = Arc::<Disk>::default();
    let (_database, todos) = open(&disk).await;
    eight_writers(&todos, 200).await;
    assert_eq!(todos.count().await.unwrap(), 1_600);
}

#[tokio::test]
async fn one_that_fails_leaves_the_others_of_its_commit_alone() {
    let disk = Arc::<Disk>::default();
    let (_database, todos) = open(&disk).await;
    // The first begins a commit, the others wait for it together.
    let documents: Vec<_> = ["first", "a", "b", "a", "c", "b"].map(todo).into();
    let answers = join_all(documents.iter().map(|todo| todos.insert(todo))).await;
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(pocket_core::Error::code))
        .collect();
    let exists = Some(codes::DOCUMENT_EXISTS);
    assert_eq!(codes, [None, None, None, exists, None, exists]);
    assert_eq!(disk.commits.load(Ordering::Relaxed), 2);
    assert_eq!(todos.count().await.unwrap(), 4);
}

#[tokio::test]
async fn when_a_commit_fails_all_who_wrote_in_it_hear_of_it_and_the_next_one_goes_on() {
    let disk = Arc::<Disk>::default();
    let (_database, todos) = open(&disk).await;
    disk.fails.store(2, Ordering::Relaxed);
    let documents: Vec<_> = ["first", "a", "b", "c"].map(todo).into();
    let answers = join_all(documents.iter().map(|todo| todos.insert(todo))).await;
    assert!(answers[0].is_ok());
    for answer in &answers[1..] {
        assert_eq!(answer.as_ref().unwrap_err().code(), codes::STORAGE);
    }
    assert_eq!(todos.count().await.unwrap(), 1);
    let again = documents[1..].iter().map(|todo| todos.insert(todo));
    assert!(join_all(again).await.iter().all(std::result::Result::is_ok));
    assert_eq!(todos.count().await.unwrap(), 4);
}

#[tokio::test]
async fn writes_of_one_commit_take_effect_and_are_told_in_the_order_they_came() {
    let disk = Arc::<Disk>::default();
    let (_database, todos) = open(&disk).await;
    let mut changes = todos.changes();
    let ids: Vec<_> = (0..20).rev().map(|number| format!("{number:02}")).collect();
    let documents: Vec<_> = ids.iter().map(|id| todo(id)).collect();
    join_all(documents.iter().map(|todo| todos.insert(todo))).await;
    assert_eq!(
        disk.commits.load(Ordering::Relaxed),
        2,
        "one, then all others"
    );
    for id in &ids {
        let Some(ChangeItem::Change(change)) = changes.next().await else {
            panic!("the change of {id} is missing");
        };
        assert_eq!(change.document_id.as_str(), id);
    }
}

#[tokio::test]
async fn small_changes_of_large_documents_do_not_all_wait_for_one_commit() {
    let disk = Arc::<Disk>::default();
    let (_database, todos) = open(&disk).await;
    let text = "x".repeat(400_000);
    let ids: Vec<String> = (0..60).map(|number| format!("{number:02}")).collect();
    for id in &ids {
        let large = format!(r#"{{"_id":"{id}","text":"{text}"}}"#);
        let large = Value::from_json_str(&large).unwrap();
        todos.insert(&large).await.unwrap();
    }
    disk.commits.store(0, Ordering::Relaxed);
    disk.largest.store(0, Ordering::Relaxed);
    let patch = Value::from_json_str(r#"{"done":true}"#).unwrap();
    let patches = ids.iter().map(|id| todos.update(id, &patch));
    for answer in join_all(patches).await {
        answer.unwrap();
    }
    let commits = disk.commits.load(Ordering::Relaxed);
    assert!((3..=20).contains(&commits), "{commits} commits");
    let largest = disk.largest.load(Ordering::Relaxed);
    assert!(largest < 12_000_000, "{largest} bytes in one commit");
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_before_its_commit_begins_is_not_made() {
    let disk = Arc::<Disk>::default();
    let (_database, todos) = open(&disk).await;
    let (first, given_up) = (todo("first"), todo("given up"));
    let mut first = Box::pin(todos.insert(&first));
    // It is being committed.
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut waiting = Box::pin(todos.insert(&given_up));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(waiting);
    first.await.unwrap();
    todos.insert(&todo("next")).await.unwrap();
    assert!(todos.get("given up").await.unwrap().is_none());
    assert_eq!(todos.count().await.unwrap(), 2);
    // One that is given up later is stored, and told with the next.
    let late = todo("late");
    let mut late = Box::pin(todos.insert(&late));
    assert!(futures_util::poll!(&mut late).is_pending());
    drop(late);
    let mut changes = todos.changes();
    todos.insert(&todo("last")).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        match changes.next().await.unwrap() {
            ChangeItem::Change(change) => told.push(change.document_id.to_string()),
            lagged => panic!("{lagged:?}"),
        }
    }
    assert_eq!(told, ["late", "last"]);
}
