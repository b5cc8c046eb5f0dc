//! A store that is an earlier one than it was: it lost its last commits with the power, or was restored.

use std::collections::BTreeMap;
use std::sync::Arc;

use pocket_storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;

use super::support::{Handle, handle, items, result};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

async fn entries(store: &Arc<dyn Storage>) -> Entries {
    let limit = ScanLimit::entries(10_000);
    let entries = store.scan(KeyRange::all(), limit, Direction::Forward).await;
    let entries = entries.unwrap().into_iter();
    entries.map(|(key, value)| (key, value.to_vec())).collect()
}

/// The store holds again what it held.
async fn step_back(store: &Arc<dyn Storage>, to: &Entries) {
    let mut batch = Batch::new();
    for key in entries(store).await.into_keys() {
        batch.delete(key);
    }
    for (key, value) in to {
        batch.put(key.clone(), value.clone());
    }
    store.commit(batch, Durability::PowerLoss).await.unwrap();
}

/// A handle that has told of commits 2 to 5, and the store as it was behind commit 2.
async fn ahead() -> (Arc<dyn Storage>, Handle, Entries) {
    let store: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let this = handle(&store).await;
    this.put("a", 1).await;
    let before = entries(&store).await;
    (store, this, before)
}

/// The next commit stood on an earlier one than was told last, and was taken for one that is known: live queries showed what
/// is no more and followed nothing until the store had come as far again, and no stream of changes said a word.
#[tokio::test]
async fn a_commit_on_an_earlier_state_has_live_queries_read_again_and_changes_say_so() {
    let (store, this, before) = ahead().await;
    let mut changes = this.docs.changes();
    let mut live = this.docs.find().live();
    for n in 2..5 {
        this.put("a", n).await;
    }
    live.next().await.unwrap().unwrap();
    assert_eq!(result(&live), "a4");
    assert_eq!(items(&mut changes), ["=a2", "=a3", "=a4"]);
    step_back(&store, &before).await;
    this.put("b", 7).await;
    assert_eq!(items(&mut changes), ["lagged 3-5", "+b7"]);
    live.next().await.unwrap().unwrap();
    assert_eq!(result(&live), "a1 b7");
    // It goes on from there.
    this.put("b", 8).await;
    live.next().await.unwrap().unwrap();
    assert_eq!(result(&live), "a1 b8");
    assert_eq!(items(&mut changes), ["=b8"]);
}

#[tokio::test]
async fn whoever_catches_up_with_an_earlier_state_is_told_so() {
    let (store, this, before) = ahead().await;
    let mut changes = this.docs.changes();
    for n in 2..5 {
        this.put("a", n).await;
    }
    assert_eq!(items(&mut changes).len(), 3);
    step_back(&store, &before).await;
    this.db.catch_up().await.unwrap();
    assert_eq!(items(&mut changes), ["lagged 3-5"]);
    this.put("b", 7).await;
    assert_eq!(items(&mut changes), ["+b7"]);
}

#[tokio::test]
async fn who_has_not_heard_of_what_is_no_more_hears_of_a_gap_only() {
    let (store, this, before) = ahead().await;
    let mut late = this.docs.changes();
    this.put("a", 2).await;
    step_back(&store, &before).await;
    this.put("b", 7).await;
    assert_eq!(items(&mut late), ["=a2", "lagged 3-3", "+b7"]);
}
