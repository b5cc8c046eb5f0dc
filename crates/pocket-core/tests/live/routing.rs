//! Which live queries a commit wakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt;
use pocket_core::{Collection, CollectionConfig, Database, Filter, Value, field};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

use super::support::value;

struct World {
    db: Database,
    docs: Collection<Value>,
}

impl World {
    async fn new() -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs"))
            .collection(CollectionConfig::new("others"))
            .open(MemoryStorage::new())
            .await
            .unwrap();
        let docs = db.collection("docs").unwrap();
        Self { db, docs }
    }
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
