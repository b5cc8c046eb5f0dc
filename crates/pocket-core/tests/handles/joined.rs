//! Writes that come while another one is committed share reads and a commit.

use std::sync::Arc;

use futures_util::future::join_all;
use pocket_core::{Error, Value, codes};
use pocket_storage::faulty::{CallKind, Moment};
use pocket_storage::{Storage, StorageError};
use pocket_storage_memory::MemoryStorage;

use super::storage::{Script, Scripted};
use super::support::{Handle, document, handle};

/// Two handles of a store that commits when the test lets it.
async fn scripted() -> (Script, [Handle; 2]) {
    let script = Script::default();
    let store: Arc<dyn Storage> = Arc::new(Scripted {
        inner: MemoryStorage::new(),
        script: script.clone(),
    });
    (script, [handle(&store).await, handle(&store).await])
}

/// Inserts documents at once: the first is committed alone, and meanwhile the others come.
async fn insert(
    script: &Script,
    handle: &Handle,
    documents: &[Value],
) -> Vec<Option<&'static str>> {
    let gate = script.hold_commits();
    let writes = join_all(documents.iter().map(|one| handle.docs.insert(one)));
    let open = async { gate.add_permits(64) };
    let (written, ()) = tokio::join!(writes, open);
    let outcomes = written.into_iter();
    let codes = outcomes.map(|outcome| outcome.err().as_ref().map(Error::code));
    codes.collect()
}

#[tokio::test]
async fn joined_writes_read_what_they_begin_with_in_one_call() {
    let (script, [a, b]) = scripted().await;
    b.put("d7", 70).await;
    a.db.catch_up().await.unwrap();
    let before = a.calls();
    let documents: Vec<_> = (0..300).map(|n| document(&format!("d{n}"), n)).collect();
    let outcomes = insert(&script, &a, &documents).await;
    let (reads, commits) = a.calls();
    assert_eq!(commits - before.1, 2, "the first, and all others");
    // The first, and the others 16, 32, 64, 128 and the rest at once.
    assert!(reads - before.0 <= 6, "{} reads", reads - before.0);
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let expected = (n == 7).then_some(codes::DOCUMENT_EXISTS);
        assert_eq!(outcome, expected, "d{n}");
    }
    assert_eq!(a.docs.find().count().await.unwrap(), 300);
    assert_eq!(a.docs.get("d7").await.unwrap(), Some(document("d7", 70)));
}

/// Each is made on what those before it leave, not on what was read for all.
#[tokio::test]
async fn joined_writes_of_one_document_are_made_one_on_top_of_the_other() {
    let (script, [a, _]) = scripted().await;
    a.put("d", 1).await;
    let ids = ["first", "d", "e", "d", "e"];
    let documents: Vec<_> = (2..).zip(ids).map(|(n, id)| document(id, n)).collect();
    let exists = Some(codes::DOCUMENT_EXISTS);
    let outcomes = insert(&script, &a, &documents).await;
    assert_eq!(outcomes, [None, exists, None, exists, exists]);
    assert_eq!(a.docs.get("e").await.unwrap(), Some(document("e", 4)));
}

#[tokio::test]
async fn a_commit_of_another_handle_behind_the_reads_makes_joined_writes_run_again() {
    let (script, [a, b]) = scripted().await;
    let documents = ["first", "d0", "d1", "d2"].map(|id| document(id, 1));
    // When the others are about to be committed, `b` has written one of them, and `a` does not know.
    let before = a.calls().1;
    let reads = a.faults.calls().get_many;
    let other = b.docs.clone();
    script.at_read(1, true, move || {
        let other = other.clone();
        Box::pin(async move {
            other.insert(&document("d1", 10)).await.unwrap();
        })
    });
    let outcomes = insert(&script, &a, &documents).await;
    assert!(!script.waits());
    assert_eq!(a.calls().1 - before, 3, "the second commit was made again");
    assert!(a.faults.calls().get_many >= reads + 2, "and read again");
    assert_eq!(outcomes, [None, None, Some(codes::DOCUMENT_EXISTS), None]);
    assert_eq!(b.docs.get("d1").await.unwrap(), Some(document("d1", 10)));
}

#[tokio::test]
async fn a_read_for_all_that_fails_is_made_again_by_each() {
    let (script, [a, _]) = scripted().await;
    let call = a.faults.calls().get_many + 1;
    let error = StorageError::Backend("once".into());
    a.faults
        .fail_at_kind(CallKind::GetMany, call, Moment::Before, error);
    let documents = ["first", "d0", "d1", "d2"].map(|id| document(id, 1));
    let outcomes = insert(&script, &a, &documents).await;
    assert_eq!(outcomes, [None; 4]);
    assert_eq!(a.faults.calls().get_many, call, "it was tried");
}
