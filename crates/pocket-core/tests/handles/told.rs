//! Messages that arrive in time: as if the commit had been made here.

use std::sync::Arc;

use futures_util::FutureExt;
use pocket_core::replica::Replica;
use pocket_core::storage::Storage;
use pocket_core::{ChangeItem, CollectionConfig, IndexConfig, Order, PlanAccess, Target, Value};
use pocket_storage_memory::MemoryStorage;

use super::storage::{Script, Scripted};
use super::support::{config, document, handle, handles, items, ready, result};

#[tokio::test]
async fn a_commit_is_told_at_another_handle_without_a_read() {
    let [mut a, b] = handles().await;
    let (mut changes, mut all) = (b.docs.changes(), b.db.changes());
    let mut live = b.docs.find().where_field("n").gt(0).live();
    let mut observed = b.docs.observe_by_id("a").unwrap();
    let mut count = b.docs.find().count().live();
    live.next().await.unwrap().unwrap();
    observed.next().await.unwrap().unwrap();
    count.next().await.unwrap().unwrap();
    let before = b.calls();

    a.put("a", 1).await;
    b.hear(&a.told_once()).await;
    assert_eq!(items(&mut changes), ["+a1"]);
    assert_eq!(items(&mut all), ["+a1"]);
    assert_eq!(ready(&mut live).unwrap().changes.len(), 1);
    let seen = observed.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(seen, Some(document("a", 1)));
    assert_eq!(count.next().now_or_never().unwrap().unwrap().unwrap(), 1);

    a.put("a", 2).await;
    a.docs.delete("a").await.unwrap();
    for message in a.told() {
        b.hear(&message).await;
    }
    assert_eq!(items(&mut changes), ["=a2", "-a"]);
    assert_eq!(ready(&mut live).unwrap().changes.len(), 1);
    ready(&mut live).unwrap();
    assert_eq!(result(&live), "");
    assert_eq!(b.calls(), before, "nothing was read for it");
}

#[tokio::test]
async fn a_commit_of_several_writes_is_told_as_several() {
    let script = Script::default();
    let store: Arc<dyn Storage> = Arc::new(Scripted {
        inner: MemoryStorage::new(),
        script: script.clone(),
    });
    let (mut a, b) = (handle(&store).await, handle(&store).await);
    let mut changes = b.docs.changes();
    let gate = script.hold_commits();
    let documents = ["a", "b", "c"].map(|id| document(id, 1));
    let writes = documents.iter().map(|document| a.docs.insert(document));
    let writes = futures_util::future::join_all(writes);
    let open = async { gate.add_permits(8) };
    let (written, ()) = tokio::join!(writes, open);
    assert!(written.iter().all(Result::is_ok));
    let told = a.told();
    assert_eq!(
        told.len(),
        2,
        "the second and the third came while the first was committed"
    );
    for message in told {
        b.hear(&message).await;
    }
    let mut sequences = Vec::new();
    while let Some(Some(ChangeItem::Change(change))) = changes.next().now_or_never() {
        assert!(!change.is_from_sync && change.timestamp.millis() > 0);
        sequences.push(change.sequence);
    }
    assert_eq!(sequences.len(), 3);
    assert_eq!(sequences[1].next(), sequences[2]);
    assert_eq!(a.db.stats().await.unwrap(), b.db.stats().await.unwrap());
}

#[tokio::test]
async fn whoever_heard_of_a_commit_writes_on_top_of_it_at_the_first_attempt() {
    let [mut a, b] = handles().await;
    b.put("b", 1).await;
    a.db.catch_up().await.unwrap();
    a.put("a", 1).await;
    let before = b.calls().1;
    b.put("b", 2).await;
    assert_eq!(
        b.calls().1 - before,
        2,
        "nobody had told of the commit before"
    );
    a.db.catch_up().await.unwrap();
    a.told();
    a.put("a", 2).await;
    b.hear(&a.told_once()).await;
    let before = b.calls().1;
    b.put("b", 3).await;
    assert_eq!(b.calls().1 - before, 1);
}

#[tokio::test]
async fn collections_and_indexes_come_and_go_at_other_handles() {
    let [mut a, b] = handles().await;
    let before = b.calls();
    a.db.create_collection(CollectionConfig::new("more"))
        .await
        .unwrap();
    for message in a.told() {
        b.hear(&message).await;
    }
    assert!(b.db.has_collection("more"));
    let more = a.db.collection::<Value>("more").unwrap();
    more.insert(&document("x", 1)).await.unwrap();
    more.create_index(IndexConfig::new("n")).await.unwrap();
    for message in a.told() {
        b.hear(&message).await;
    }
    assert_eq!(b.calls(), before, "the settings came with the messages");
    let there = b.db.collection::<Value>("more").unwrap();
    assert_eq!(there.indexes(), more.indexes());
    let query = there
        .find()
        .where_field("n")
        .eq(1)
        .sort("n", Order::Ascending);
    let plan = query.explain().await.unwrap();
    assert!(matches!(plan.access, PlanAccess::Index { .. }), "{plan:?}");

    let mut live = there.find().live();
    live.next().await.unwrap().unwrap();
    assert_eq!(result(&live), "x1");
    let mut changes = there.changes();
    a.db.delete_collection("more").await.unwrap();
    for message in a.told() {
        b.hear(&message).await;
    }
    assert!(!b.db.has_collection("more"));
    assert_eq!(items(&mut changes), ["-x"]);
    live.next().await.unwrap().unwrap();
    assert_eq!(result(&live), "");
    assert_eq!(a.db.list_collections(), b.db.list_collections());
}

#[tokio::test]
async fn a_sync_engine_elsewhere_hears_of_what_there_is_to_send() {
    let [mut a, b] = handles().await;
    let replica = Replica::new(&b.db, Target::DEFAULT);
    let mut outbox = replica.outbox_signal();
    outbox.borrow_and_update();
    a.db.create_collection(CollectionConfig::new("own"))
        .await
        .unwrap();
    let own = a.db.collection::<Value>("own").unwrap();
    own.insert(&document("x", 1)).await.unwrap();
    for message in a.told() {
        b.hear(&message).await;
    }
    assert!(!outbox.has_changed().unwrap(), "it is not synced");
    a.put("a", 1).await;
    b.hear(&a.told_once()).await;
    assert!(outbox.has_changed().unwrap());
    outbox.borrow_and_update();
    assert_eq!(replica.state().await.unwrap().pending, 1);

    a.db.create_collection(CollectionConfig::new("own").sync(true))
        .await
        .unwrap();
    for message in a.told() {
        b.hear(&message).await;
    }
    assert!(outbox.has_changed().unwrap(), "sync was switched on");
    assert_eq!(replica.state().await.unwrap().pending, 2);
    let configs = b.db.list_collections();
    assert!(configs.iter().all(|config| config.sync), "{configs:?}");
    assert!(configs.iter().any(|there| there.name == config().name));
}
