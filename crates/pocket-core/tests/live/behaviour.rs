//! What a live query says of edits, errors and its own end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use pocket_core::storage::StorageError;
use pocket_core::storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_core::{
    Collection, CollectionConfig, Database, LiveChange, Order, SUBSCRIBER_COMMITS, Value, codes,
    field,
};
use pocket_storage_memory::MemoryStorage;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

use super::support::{Follower, fresh, value};

struct World {
    db: Database,
    docs: Collection<Value>,
    faults: Faults,
}

impl World {
    async fn new() -> Self {
        let faults = Faults::new();
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()), &faults);
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs"))
            .collection(CollectionConfig::new("others"))
            .open(storage)
            .await
            .unwrap();
        let docs = db.collection("docs").unwrap();
        Self { db, docs, faults }
    }

    async fn put(&self, id: &str, n: i64) {
        let document = value(&format!(r#"{{"_id":"{id}","n":{n},"note":"x"}}"#));
        self.docs.upsert(&document).await.unwrap();
    }

    async fn live(&self) -> usize {
        self.db.stats().await.unwrap().live_queries
    }

    fn reads(&self) -> u64 {
        let calls = self.faults.calls();
        calls.get + calls.get_many + calls.scan
    }
}

#[tokio::test]
async fn the_current_result_comes_at_once_and_then_one_step_for_each_commit() {
    let world = World::new().await;
    world.put("a", 1).await;
    world.put("b", 2).await;
    let mut follower = Follower::new(&world.docs.find().sort("n", Order::Ascending));
    assert!(follower.live.result().is_empty());
    assert_eq!(follower.step().await.changes.len(), 2);
    assert!(follower.ready().is_none());

    world.put("c", 0).await;
    world.put("c", 9).await;
    world.docs.delete("a").await.unwrap();
    let kinds = [
        follower.step().await,
        follower.step().await,
        follower.step().await,
    ];
    let kinds = kinds.map(|step| match &step.changes[..] {
        [LiveChange::Inserted { at, .. }] => ("inserted", *at, 0),
        [LiveChange::Moved { from, to, .. }] => ("moved", *from, *to),
        [LiveChange::Removed { at, document }] => {
            assert!(document.body.is_some(), "what it was is told");
            ("removed", *at, 0)
        }
        changes => panic!("{changes:?}"),
    });
    assert_eq!(
        kinds,
        [("inserted", 0, 0), ("moved", 0, 2), ("removed", 0, 0)]
    );
    assert!(follower.ready().is_none());
}

#[tokio::test]
async fn what_cannot_be_seen_in_the_result_is_no_change() {
    let world = World::new().await;
    world.put("a", 1).await;
    world.put("b", 2).await;
    let mut whole = Follower::new(&world.docs.find());
    let mut part = Follower::new(&world.docs.find().include(["n"]).sort("n", Order::Ascending));
    let mut sorted = Follower::new(
        &world
            .docs
            .find()
            .include(["n"])
            .sort("note", Order::Ascending),
    );
    for follower in [&mut whole, &mut part, &mut sorted] {
        follower.step().await;
    }
    // Another revision of the same content.
    world.put("a", 1).await;
    for follower in [&mut whole, &mut part, &mut sorted] {
        assert!(follower.ready().is_none());
    }
    // A field that is not given out, but sorted by in one of them.
    world.docs.update("a", &json!({"note": "z"})).await.unwrap();
    assert_eq!(whole.step().await.changes.len(), 1);
    assert!(part.ready().is_none());
    let step = sorted.step().await;
    assert!(matches!(
        step.changes[..],
        [LiveChange::Moved { from: 0, to: 1, .. }]
    ));
}

#[tokio::test]
async fn a_window_is_filled_up_from_its_reserve_and_reads_only_when_that_is_used_up() {
    let world = World::new().await;
    for n in 0..100 {
        world.put(&format!("{n:03}"), n).await;
    }
    let query = world
        .docs
        .find()
        .sort("n", Order::Ascending)
        .skip(2)
        .limit(3);
    let mut follower = Follower::new(&query);
    follower.step().await;
    let mut reading = 0;
    for n in 0..60 {
        if n % 5 == 0 {
            // Far behind the window, and behind what is held.
            world.put(&format!("{:03}", 99 - n / 5), 90).await;
            assert!(follower.ready().is_none());
        }
        world.docs.delete(&format!("{n:03}")).await.unwrap();
        let before = world.reads();
        let step = follower.step().await;
        reading += usize::from(world.reads() > before);
        assert_eq!(step.changes.len(), 2, "{:?}", step.changes);
        assert_eq!(follower.list, fresh(&query).await);
    }
    assert!(
        (1..=4).contains(&reading),
        "{reading} steps of 60 read the store"
    );
    // Far behind what is held nothing is looked at.
    let before = world.reads();
    world.put("999", 999).await;
    let after_write = world.reads();
    assert!(follower.ready().is_none());
    assert_eq!(world.reads(), after_write);
    assert!(after_write >= before);
}

#[tokio::test]
async fn one_that_falls_behind_tells_the_difference_in_one_step() {
    let world = World::new().await;
    world.put("gone", 0).await;
    let query = world.docs.find().sort("n", Order::Descending);
    let mut follower = Follower::new(&query);
    follower.step().await;
    world.docs.delete("gone").await.unwrap();
    for (_, n) in (0..SUBSCRIBER_COMMITS + 10).zip(0..) {
        world.put(&format!("d{}", n % 20), n).await;
    }
    let step = follower.step().await;
    assert_eq!(step.changes.len(), 21);
    assert_eq!(follower.list, fresh(&query).await);
    assert!(follower.ready().is_none());
}

#[tokio::test]
async fn an_error_of_the_store_is_told_once_and_the_next_commit_has_it_read_again() {
    let world = World::new().await;
    world.put("a", 1).await;
    let mut follower = Follower::new(&world.docs.find());
    let failure = StorageError::Backend("no".into());
    world
        .faults
        .fail_at(world.faults.calls().total() + 1, failure.clone());
    let error = follower.live.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), codes::STORAGE);
    assert!(follower.live.next().now_or_never().is_none());
    world.put("b", 2).await;
    assert_eq!(follower.step().await.changes.len(), 2);

    // Or it is asked to.
    world.faults.fail_at_kind(
        CallKind::Scan,
        world.faults.calls().scan + 1,
        Moment::Before,
        failure,
    );
    follower.live.refresh();
    assert!(follower.live.next().await.unwrap().is_err());
    assert_eq!(follower.live.result().len(), 2, "the last result stays");
    follower.live.refresh();
    assert!(follower.ready().is_none(), "nothing is different");
    world.docs.delete("a").await.unwrap();
    assert_eq!(follower.step().await.changes.len(), 1);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Numbered {
    n: i64,
}

#[tokio::test]
async fn a_document_of_another_shape_is_an_error_of_its_own_and_not_of_the_query() {
    let world = World::new().await;
    world.put("a", 1).await;
    let numbers: Collection<Numbered> = world.db.collection("docs").unwrap();
    let mut live = numbers.find().live();
    let step = live.next().await.unwrap().unwrap();
    assert_eq!(step.result.all().unwrap(), [Numbered { n: 1 }]);

    world
        .docs
        .insert(&value(r#"{"_id":"b","n":"two"}"#))
        .await
        .unwrap();
    let step = live.next().await.unwrap().unwrap();
    let result = step.result;
    assert_eq!(result.all().unwrap_err().code(), codes::TYPE_MISMATCH);
    assert_eq!(result.get(0).unwrap(), Some(Numbered { n: 1 }));
    assert_eq!(result.get(1).unwrap_err().code(), codes::TYPE_MISMATCH);
    assert_eq!(result.get(2).unwrap(), None);
    assert_eq!(result.documents().len(), 2);

    world.docs.update("b", &json!({"n": 2})).await.unwrap();
    live.next().await.unwrap().unwrap();
    assert_eq!(live.result().all().unwrap().len(), 2);
    // What was given out before stays as it was.
    assert!(result.get(1).is_err());
}

#[tokio::test]
async fn a_bad_query_is_told_once_and_ends() {
    let world = World::new().await;
    let mut live = world.docs.find().sort("a..b", Order::Ascending).live();
    assert_eq!(
        live.next().await.unwrap().unwrap_err().code(),
        codes::BAD_QUERY
    );
    assert!(live.next().await.is_none());
    let mut count = world.docs.find().filter(field("$x").eq(1)).count().live();
    assert_eq!(
        count.next().await.unwrap().unwrap_err().code(),
        codes::BAD_QUERY
    );
    assert!(count.next().await.is_none());
    assert_eq!(world.live().await, 0);
}

#[tokio::test]
async fn dropping_ends_it_and_leaves_nothing_behind() {
    let world = World::new().await;
    let mut live = world.docs.find().live();
    let mut other = world.docs.find().filter(field("n").is_in([1, 2])).live();
    let count = world.docs.find().count().live();
    let mut observed = world.docs.observe_by_id("a").unwrap();
    live.next().await.unwrap().unwrap();
    other.next().await.unwrap().unwrap();
    observed.next().await.unwrap().unwrap();
    assert_eq!(world.live().await, 4);
    drop((live, observed));
    assert_eq!(world.live().await, 2);
    // One that is dropped while it reads.
    assert!(world.docs.find().live().next().now_or_never().is_some());
    drop((other, count));
    assert_eq!(world.live().await, 0);
    world.put("a", 1).await;
}

#[tokio::test]
async fn changes_in_quick_succession_become_one_step_when_debounced() {
    let world = World::new().await;
    let (asleep, awake) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let query = world.docs.find().sort("n", Order::Ascending);
    let mut follower = Follower::new(&query);
    let sleep = (asleep.clone(), awake.clone());
    follower.live = query.live().debounce(move || {
        let (asleep, awake) = sleep.clone();
        asleep.fetch_add(1, Ordering::SeqCst);
        async move { awake.notified().await }
    });
    follower.step().await;
    assert_eq!(
        asleep.load(Ordering::SeqCst),
        0,
        "the first step comes at once"
    );
    for n in 0..10 {
        world.put("a", n).await;
        world.put("b", -n).await;
        assert!(follower.ready().is_none());
    }
    assert_eq!(
        follower.live.result().len(),
        0,
        "what was told, not what is held back"
    );
    awake.notify_one();
    let step = follower.step().await;
    assert_eq!((step.changes.len(), asleep.load(Ordering::SeqCst)), (2, 1));
    assert_eq!(follower.list, fresh(&query).await);
    // What comes and goes while it sleeps is not told.
    world.put("c", 1).await;
    assert!(follower.ready().is_none());
    world.docs.delete("c").await.unwrap();
    awake.notify_one();
    assert!(follower.ready().is_none());
}

#[tokio::test]
async fn a_deleted_collection_is_empty_and_one_made_again_is_followed() {
    let world = World::new().await;
    world.put("a", 1).await;
    let query = world.docs.find();
    let mut follower = Follower::new(&query);
    let mut count = query.count().live();
    follower.step().await;
    assert_eq!(count.next().await.unwrap().unwrap(), 1);
    world.db.delete_collection("docs").await.unwrap();
    assert_eq!(follower.step().await.changes.len(), 1);
    assert_eq!(count.next().await.unwrap().unwrap(), 0);
    world
        .db
        .create_collection(CollectionConfig::new("docs"))
        .await
        .unwrap();
    world.put("b", 1).await;
    while follower.ready().is_some() {}
    assert_eq!(follower.list, fresh(&query).await);
    assert_eq!(count.next().await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_count_tells_only_other_counts() {
    let world = World::new().await;
    let query = world.docs.find().filter(field("n").gt(0)).limit(2);
    assert_eq!(query.count().await.unwrap(), 0);
    let mut count = query.count().live();
    assert_eq!(count.value(), None);
    assert_eq!(count.next().await.unwrap().unwrap(), 0);
    world.put("a", 1).await;
    assert_eq!(count.next().await.unwrap().unwrap(), 1);
    world.put("a", 2).await;
    world.put("b", -1).await;
    assert!(count.next().now_or_never().is_none());
    world.put("b", 1).await;
    world.put("c", 1).await;
    assert_eq!(count.next().await.unwrap().unwrap(), 2);
    assert!(count.next().now_or_never().is_none());
    world.docs.delete("a").await.unwrap();
    assert!(
        count.next().now_or_never().is_none(),
        "two are left of three"
    );
    world.docs.delete("b").await.unwrap();
    assert_eq!(count.next().await.unwrap().unwrap(), 1);
    assert_eq!(count.value(), Some(1));
}

#[tokio::test]
async fn an_observed_document_reads_the_store_once_whatever_else_changes() {
    let world = World::new().await;
    world.put("a", 1).await;
    let mut observed = world.docs.observe_by_id("a").unwrap();
    let n = |document: Option<Value>| {
        document.map(|it| {
            it.as_map()
                .unwrap()
                .get("n")
                .unwrap()
                .as_integer()
                .unwrap()
                .as_i64()
                .unwrap()
        })
    };
    assert_eq!(n(observed.next().await.unwrap().unwrap()), Some(1));
    for number in 0..20 {
        world.put("b", number).await;
    }
    let before = world.reads();
    assert!(observed.next().now_or_never().is_none());
    assert_eq!(world.reads(), before);

    world.put("a", 2).await;
    world.put("a", 3).await;
    let before = world.reads();
    assert_eq!(
        n(observed.next().await.unwrap().unwrap()),
        Some(3),
        "only the newest"
    );
    world.docs.delete("a").await.unwrap();
    assert_eq!(n(observed.next().await.unwrap().unwrap()), None);
    assert!(world.reads() > before, "the delete itself reads");
    assert!(observed.next().now_or_never().is_none());
    assert_eq!(
        world.docs.observe_by_id("").unwrap_err().code(),
        codes::BAD_ID
    );
}
