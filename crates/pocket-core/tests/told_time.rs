//! What a server tells of the time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pocket_core::replica::{Attachment, Conflict, Decision, Replica, Resolver, ServerLog};
use pocket_core::{
    Binding, CollectionConfig, ConflictStrategy, Database, Env, Lineage, Outcome, PushLimit, Seq,
    SessionToken, Target, Timestamp, Ttl, Value,
};
use pocket_storage_memory::MemoryStorage;

const HOUR: Duration = Duration::from_secs(3_600);
const NOW: i64 = 1_700_000_000_000;
const PUSH: PushLimit = PushLimit {
    changes: 10,
    bytes: 1 << 20,
};

#[derive(Debug)]
struct Stands;

impl Env for Stands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}

struct Local;

impl Resolver for Local {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "client-wins")
    }
}

fn welcome() -> Attachment {
    Attachment {
        binding: Binding {
            lineage: Lineage::from_bytes([1; 16]),
            namespace: "n".into(),
            user: "u".into(),
        },
        token: SessionToken::from_bytes([2; 16]),
        server_time: Timestamp::from_millis(NOW),
        since_asked: Duration::ZERO,
        rights: None,
        log: ServerLog::default(),
    }
}

/// A refusal for the clock tells the hybrid clock of the server, which may be hours ahead of its time of day since that was
/// wrong once. Devices took it for the time, and hid what expires hours later.
#[tokio::test]
async fn a_refusal_for_the_clock_makes_it_no_later_than_the_welcome_told() {
    let config = CollectionConfig::new("docs").sync(true);
    let db = Database::builder("test")
        .collection(config.ttl(Ttl::after_update(HOUR)))
        .env(Stands)
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let replica = Replica::new(&db, Target::DEFAULT);
    let attachment = welcome();
    replica.attach(&attachment).await.unwrap();
    let docs = db.collection::<Value>("docs").unwrap();
    let refused = |time| Outcome::Rejected {
        code: "clock".to_owned(),
        reason: String::new(),
        server_time: Some(Timestamp::from_millis(time)),
    };
    let hours = |hours: i64| NOW + hours * 3_600_000;
    for (id, outcome) in [
        ("a", Outcome::Applied { first: Seq::new(1) }),
        ("b", refused(hours(10))),
    ] {
        let document = Value::from_json_str(&format!(r#"{{"_id":"{id}"}}"#)).unwrap();
        docs.insert(&document).await.unwrap();
        let first = replica.pin(PUSH).await.unwrap().mutations[0].number;
        let settled = replica.settle(first, vec![outcome], Arc::new(Local));
        settled.await.unwrap();
    }
    assert_eq!(docs.count().await.unwrap(), 2, "an hour has not passed");

    // But a device that is ahead of that clock is ahead of the time as well, and sets itself right by it.
    let later = Attachment {
        server_time: Timestamp::from_millis(hours(2)),
        ..attachment
    };
    replica.attach(&later).await.unwrap();
    assert_eq!(docs.count().await.unwrap(), 0);
    let first = replica.pin(PUSH).await.unwrap().mutations[0].number;
    let settled = replica.settle(first, vec![refused(NOW)], Arc::new(Local));
    settled.await.unwrap();
    assert_eq!(docs.count().await.unwrap(), 2);
}

/// Time as a test sets it, in milliseconds.
#[derive(Clone, Debug)]
struct Clock(Arc<AtomicI64>);

impl Env for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}

/// The server read its clock somewhere on the way. On a slow line a device whose clock was right took the answer for the time
/// of its arrival: what it wrote looked seconds older than it was, and lost to what others had written before.
#[tokio::test]
async fn a_slow_line_makes_no_clock_wrong() {
    let clock = Clock(Arc::new(AtomicI64::new(NOW)));
    let config = CollectionConfig::new("docs").sync(true);
    let builder = Database::builder("test").collection(config);
    let builder = builder.env(clock.clone());
    let db = builder.open(MemoryStorage::new()).await.unwrap();
    let replica = Replica::new(&db, Target::DEFAULT);
    let docs = db.collection::<Value>("docs").unwrap();
    // By how much this device's clock is ahead, how long the question and the answer took, and how wrong it is in the end.
    for (round, (ahead, there, back, wrong)) in [
        (0, 0, 3_000, 0),
        (0, 3_000, 0, 0),
        (60_000, 1_000, 2_000, 1_000),
        (60_000, 10, 5, 10),
        (60_000, 3_000, 3_000, 10),
        (0, 2_000, 1_000, -1_000),
        (0, 0, 0, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let server_time = clock.0.load(Ordering::Relaxed) + 1_000_000;
        let now = server_time + back;
        clock.0.store(now + ahead, Ordering::Relaxed);
        let told = Attachment {
            server_time: Timestamp::from_millis(server_time),
            since_asked: Duration::from_millis(there + back.unsigned_abs()),
            ..welcome()
        };
        replica.attach(&told).await.unwrap();
        let document = Value::from_json_str(&format!(r#"{{"_id":"{round}"}}"#)).unwrap();
        let id = docs.insert(&document).await.unwrap();
        let written = docs.get_document(id.as_str()).await.unwrap().unwrap();
        let wrong_by = written.updated_at().millis() - now;
        assert_eq!(wrong_by, wrong, "round {round}");
    }
}

/// Found by the simulator: a refusal set the clock back below what was pending, then a later change of before took effect, as
/// the server's clock had moved on. From there the clock gave the next edit the revision that the change before it bore.
#[tokio::test]
async fn what_is_pending_keeps_its_revision_to_itself_when_the_clock_gets_there_again() {
    let db = Database::builder("test")
        .collection(CollectionConfig::new("docs").sync(true))
        .env(Stands)
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let replica = Replica::new(&db, Target::DEFAULT);
    let docs = db.collection::<Value>("docs").unwrap();
    for id in ["refused", "taken", "pending"] {
        let document = Value::from_json_str(&format!(r#"{{"_id":"{id}"}}"#)).unwrap();
        docs.insert(&document).await.unwrap();
    }
    let sent = replica.pin(PUSH).await.unwrap().mutations;
    let first = sent[0].number;
    let outcomes = vec![
        Outcome::Rejected {
            code: "clock".to_owned(),
            reason: String::new(),
            server_time: Some(Timestamp::from_millis(NOW - 600_000)),
        },
        Outcome::Applied { first: Seq::new(1) },
    ];
    let settled = replica.settle(first, outcomes, Arc::new(Local));
    settled.await.unwrap();
    docs.update("pending", &serde_json::json!({ "n": 1 }))
        .await
        .unwrap();
    let edited = docs.get_document("pending").await.unwrap().unwrap().rev;
    let pending = sent[2].changes()[0].rev;
    assert!(edited > pending, "{edited} behind {pending}");
}
