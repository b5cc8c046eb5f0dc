//! What a live query says of edits, errors and its own end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::{FutureExt, StreamExt};
use pocket_core::storage::StorageError;
use pocket_core::storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_core::{
    Collection, CollectionConfig, Database, Filter, LiveChange, Order, SUBSCRIBER_COMMITS, Value,
    codes, field,
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

/// Counts how often a task would be woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_commit_wakes_only_the_queries_that_it_may_concern() {
    let world = World::new().await;
    let mut queries = Vec::new();
    for room in 0..1_000 {
        let filter = match room % 3 {
            0 => field("room").eq(room),
            1 => field("room").eq(f64::from(room)).and(field("n").gt(0)),
            _ => field("n")
                .gt(0)
                .and(field("room").is_in([room, room + 10_000])),
        };
        let woken = Arc::new(Woken::default());
        let mut live = world.docs.find().filter(filter).live();
        live.next().await.unwrap().unwrap();
        let waker = Waker::from(woken.clone());
        assert!(
            live.poll_next_unpin(&mut Context::from_waker(&waker))
                .is_pending()
        );
        queries.push((live, woken));
    }
    let mut woken = || {
        let mut all = Vec::new();
        for (room, (live, woken)) in queries.iter_mut().enumerate() {
            if woken.0.swap(0, Ordering::SeqCst) > 0 {
                let waker = Waker::from(woken.clone());
                let mut context = Context::from_waker(&waker);
                let mut steps = 0;
                while let Poll::Ready(step) = live.poll_next_unpin(&mut context) {
                    assert_eq!(step.unwrap().unwrap().changes.len(), 1);
                    steps += 1;
                }
                all.push((room, steps));
            }
        }
        all
    };
    let put = |room: &str| {
        let document = value(&format!(r#"{{"_id":"a","n":1,"room":{room}}}"#));
        let docs = world.docs.clone();
        async move { docs.upsert(&document).await.unwrap() }
    };
    put("7").await;
    assert_eq!(woken(), [(7, 1)]);
    // It leaves one and enters others.
    put("[500,12.0,10800]").await;
    assert_eq!(woken(), [(7, 1), (12, 1), (500, 1), (800, 1)]);
    // Woken by the old value, nothing to tell.
    world.docs.update("a", &json!({"n": 1})).await.unwrap();
    assert_eq!(woken(), [(12, 0), (500, 0), (800, 0)]);
    world.docs.delete("a").await.unwrap();
    assert_eq!(woken(), [(12, 1), (500, 1), (800, 1)]);
    put("null").await;
    assert_eq!(woken(), []);
    let others: Collection<Value> = world.db.collection("others").unwrap();
    others.insert(&value(r#"{"room":7}"#)).await.unwrap();
    assert_eq!(woken(), []);
}

#[tokio::test]
async fn a_commit_wakes_only_the_queries_whose_range_it_reaches() {
    let world = World::new().await;
    let filters = [
        r#"{"n":{"$between":[10,20]}}"#,
        r#"{"n":{"$gt":20}}"#,
        r#"{"n":{"$gte":20}}"#,
        r#"{"n":{"$lt":10.5},"m":{"$gt":0}}"#,
        r#"{"n":{"$gt":15,"$lt":5}}"#,
        r#"{"n":{"$lte":null}}"#,
        r#"{"n":{"$gt":[30]}}"#,
        r#"{"n":{"$not":{"$gt":0}}}"#,
        r#"{"n":{"$between":[15,20]},"room":1}"#,
        r#"{"n":{"$gt":"a"}}"#,
    ];
    let mut queries = Vec::new();
    for filter in filters {
        let filter = Filter::from_json_str(filter).unwrap();
        let woken = Arc::new(Woken::default());
        let mut live = world.docs.find().filter(filter).live();
        live.next().await.unwrap().unwrap();
        let waker = Waker::from(woken.clone());
        let pending = live.poll_next_unpin(&mut Context::from_waker(&waker));
        assert!(pending.is_pending());
        queries.push((live, woken));
    }
    // Which were woken, and which of them had something to tell.
    let mut woken = || {
        let mut all = Vec::new();
        for (place, (live, woken)) in queries.iter_mut().enumerate() {
            if woken.0.swap(0, Ordering::SeqCst) > 0 {
                let waker = Waker::from(woken.clone());
                let step = live.poll_next_unpin(&mut Context::from_waker(&waker));
                all.push((place, step.is_ready()));
            }
        }
        all
    };
    let put = async |n: &str| {
        let document = value(&format!(r#"{{"_id":"a","m":1,"n":{n}}}"#));
        world.docs.upsert(&document).await.unwrap();
    };
    // Two say nothing that bounds the field, and are told of all.
    put("10").await;
    assert_eq!(woken(), [(0, true), (3, true), (6, false), (7, false)]);
    put("20").await;
    // An end of a range belongs to what it listens to.
    let left = [
        (0, true),
        (1, false),
        (2, true),
        (3, true),
        (6, false),
        (7, false),
    ];
    assert_eq!(woken(), left);
    // One element is above and one below: that passes, though no element lies between.
    put("[4,16]").await;
    let entered = [
        (0, true),
        (1, false),
        (2, true),
        (3, true),
        (4, true),
        (6, false),
        (7, false),
    ];
    assert_eq!(woken(), entered);
    put("[31,[31]]").await;
    let above = woken();
    assert!(
        above.contains(&(1, true)) && above.contains(&(6, true)),
        "{above:?}"
    );
    world.docs.delete("a").await.unwrap();
    let gone = woken();
    assert!(
        gone.contains(&(1, true)) && !gone.contains(&(5, false)),
        "{gone:?}"
    );
    // In the one order of values null lies below all, so that what has no lower end is asked.
    put("null").await;
    assert_eq!(woken(), [(3, false), (5, true), (6, false), (7, true)]);
    put(r#""b""#).await;
    let text = woken();
    assert!(
        text.contains(&(9, true)) && !text.contains(&(0, false)),
        "{text:?}"
    );
}
