//! Digests compared, against a server that is played by the test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use pocket_core::replica::{
    Attachment, Claim, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope,
    ServerLog, Verdict,
};
use pocket_core::storage::{Batch, Durability, Storage};
use pocket_core::{
    Binding, Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy,
    Database, Digest, DocumentId, DocumentLimits, Env, Epoch, Hlc, Lineage, MutationNumber,
    Outcome, PushLimit, Record, RecordState, Revision, Seq, SessionToken, Target, Timestamp, Value,
    envelope,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

struct Local;

impl Resolver for Local {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "client-wins")
    }
}

/// A clock that is set, and a random source that counts.
#[derive(Clone, Debug, Default)]
struct Clock(Arc<Ticks>);

#[derive(Debug, Default)]
struct Ticks {
    now: AtomicI64,
    random: AtomicI64,
}

impl Env for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.now.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        let count = self.0.random.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, count) in bytes.iter_mut().zip(count.iter().cycle()) {
            *byte = *count;
        }
    }
}

const EPOCH: Epoch = Epoch::from_bytes([3; 16]);
const ALL: PushLimit = PushLimit {
    changes: 1_000,
    bytes: 1 << 20,
};
const HOUR: i64 = 60 * 60 * 1_000;

struct World {
    docs: Collection<Value>,
    replica: Replica,
    storage: MemoryStorage,
    clock: Clock,
}

fn name(name: &str) -> CollectionName {
    CollectionName::new(name).unwrap()
}

fn body(json: &str) -> Body {
    let value = Value::from_json_str(json).unwrap();
    let limits = DocumentLimits::default();
    Body::from_serialize(&value, &limits).unwrap().1
}

fn rev(clock: u64) -> Revision {
    Revision::new(Hlc::from_bits(clock), ClientId::from_bytes([9; 16]))
}

fn record(id: &str, seq: u64, json: Option<&str>) -> Record {
    Record {
        collection: name("docs"),
        id: DocumentId::new(id).unwrap(),
        rev: rev(seq),
        seq: Seq::new(seq),
        state: json.map_or(RecordState::Deleted, |json| RecordState::Live(body(json))),
    }
}

fn of(id: &str, rev: Revision) -> Digest {
    Digest::of(&DocumentId::new(id).unwrap(), rev)
}

impl World {
    async fn new() -> Self {
        Self::on(MemoryStorage::new(), Clock::default()).await
    }

    async fn on(storage: MemoryStorage, clock: Clock) -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
            .collection(CollectionConfig::new("local"))
            .env(clock.clone())
            .open(storage.clone())
            .await
            .unwrap();
        let replica = Replica::new(&db, Target::DEFAULT);
        replica.load(&Scope::All).await.unwrap();
        let attachment = Attachment {
            binding: Binding {
                lineage: Lineage::from_bytes([1; 16]),
                namespace: "n".into(),
                user: "u".into(),
            },
            token: SessionToken::from_bytes([2; 16]),
            server_time: Timestamp::from_millis(1_000),
            since_asked: std::time::Duration::ZERO,
            rights: None,
            log: ServerLog::default(),
        };
        replica.attach(&attachment).await.unwrap();
        Self {
            docs: db.collection("docs").unwrap(),
            replica,
            storage,
            clock,
        }
    }

    async fn page(&self, start: u64, end: u64, records: Vec<Record>) {
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: EPOCH,
            start: Seq::new(start),
            end: Seq::new(end),
            head: Seq::new(end),
            records,
            removals: Vec::new(),
        };
        self.replica.apply(page, Arc::new(Local)).await.unwrap();
    }

    async fn claim(&self, at: u64, digests: &[(&str, Digest)]) -> Verdict {
        let digests = digests.iter().map(|(of, digest)| (name(of), *digest));
        let claim = Claim {
            epoch: EPOCH,
            at: Seq::new(at),
            digests: digests.collect::<BTreeMap<_, _>>(),
        };
        self.replica.verify(claim).await.unwrap().verdict
    }

    /// Three documents, of which one was deleted.
    async fn with_three() -> (Self, Digest) {
        let world = Self::new().await;
        let records = vec![
            record("a", 1, Some(r#"{"n":1}"#)),
            record("b", 2, Some(r#"{"n":2}"#)),
            record("c", 3, None),
        ];
        world.page(0, 3, records).await;
        (world, of("a", rev(1)).plus(of("b", rev(2))))
    }
}

fn differs(collections: &[&str], resyncs: bool) -> Verdict {
    Verdict::Differs {
        collections: collections.iter().map(|of| name(of)).collect(),
        resyncs,
    }
}

#[tokio::test]
async fn live_versions_of_the_server_count_and_nothing_else() {
    let (world, both) = World::with_three().await;
    assert_eq!(world.claim(3, &[("docs", both)]).await, Verdict::Same);
    // What is pending here changes nothing: the server does not have it.
    world.docs.update("a", &json!({"n": 7})).await.unwrap();
    let new = Value::from_json_str(r#"{"_id":"d"}"#).unwrap();
    world.docs.insert(&new).await.unwrap();
    assert_eq!(world.claim(3, &[("docs", both)]).await, Verdict::Same);
    // A version that waits in a shadow behind a pending edit is one like any other.
    world
        .page(3, 4, vec![record("a", 4, Some(r#"{"n":4}"#))])
        .await;
    let both = of("a", rev(4)).plus(of("b", rev(2)));
    assert_eq!(world.claim(4, &[("docs", both)]).await, Verdict::Same);
}

#[tokio::test]
async fn what_took_effect_counts_once_its_outcome_is_stored_and_its_place_was_read() {
    let (world, both) = World::with_three().await;
    world.docs.delete("b").await.unwrap();
    let pinned = world.replica.pin(ALL).await.unwrap();
    assert_eq!(pinned.mutations.len(), 1);
    // It may be in what the server says, or not yet.
    assert_eq!(world.claim(3, &[("docs", both)]).await, Verdict::Open);
    let outcomes = vec![Outcome::Applied { first: Seq::new(4) }];
    world
        .replica
        .settle(MutationNumber::new(1), outcomes, Arc::new(Local))
        .await
        .unwrap();
    assert_eq!(world.claim(3, &[("docs", both)]).await, Verdict::Open);
    world.page(3, 4, Vec::new()).await;
    let one = of("a", rev(1));
    assert_eq!(world.claim(4, &[("docs", one)]).await, Verdict::Same);
}

#[tokio::test]
async fn a_claim_of_another_place_or_opening_says_nothing() {
    let (world, _) = World::with_three().await;
    assert_eq!(world.claim(2, &[]).await, Verdict::Open);
    let claim = Claim {
        epoch: Epoch::from_bytes([4; 16]),
        at: Seq::new(3),
        digests: BTreeMap::new(),
    };
    let verified = world.replica.verify(claim).await.unwrap();
    assert_eq!(verified.verdict, Verdict::Open);
    assert!(!verified.state.checkpoint.resyncing);
}

#[tokio::test]
async fn documents_that_were_missed_are_found_and_read_again() {
    let (world, both) = World::with_three().await;
    let three = both.plus(of("missed", rev(2)));
    let verdict = world.claim(3, &[("docs", three)]).await;
    assert_eq!(verdict, differs(&["docs"], true));
    let records = vec![
        record("a", 1, Some(r#"{"n":1}"#)),
        record("missed", 2, Some(r#"{"n":0}"#)),
        record("b", 3, Some(r#"{"n":2}"#)),
    ];
    world.page(0, 3, records).await;
    let swept = world.replica.sweep(Arc::new(Local)).await.unwrap();
    assert!(!swept.state.checkpoint.resyncing);
    assert!(world.docs.get("missed").await.unwrap().is_some());
    let all = of("a", rev(1))
        .plus(of("missed", rev(2)))
        .plus(of("b", rev(3)));
    assert_eq!(world.claim(3, &[("docs", all)]).await, Verdict::Same);
}

#[tokio::test]
async fn a_document_that_is_too_many_leaves() {
    let (world, _) = World::with_three().await;
    let verdict = world.claim(3, &[("docs", of("a", rev(1)))]).await;
    assert_eq!(verdict, differs(&["docs"], true));
    world
        .page(0, 3, vec![record("a", 1, Some(r#"{"n":1}"#))])
        .await;
    world.replica.sweep(Arc::new(Local)).await.unwrap();
    assert_eq!(world.docs.get("b").await.unwrap(), None);
    let one = of("a", rev(1));
    assert_eq!(world.claim(3, &[("docs", one)]).await, Verdict::Same);
}

#[tokio::test]
async fn a_collection_of_which_nothing_came_differs() {
    let (world, both) = World::with_three().await;
    let told = [("docs", both), ("other", of("x", rev(2)))];
    let verdict = world.claim(3, &told).await;
    assert_eq!(verdict, differs(&["other"], true));
}

#[tokio::test]
async fn what_does_not_sync_here_is_not_compared() {
    let (world, both) = World::with_three().await;
    let told = [("docs", both), ("local", of("x", rev(2)))];
    assert_eq!(world.claim(3, &told).await, Verdict::Same);
}

/// Found by the simulator: sync was switched on between a page and what it said of the store, and that cost a resync.
#[tokio::test]
async fn a_collection_that_has_just_begun_to_sync_is_not_compared() {
    let (world, both) = World::with_three().await;
    let told = [("docs", both), ("local", of("x", rev(2)))];
    let syncs = CollectionConfig::new("local").sync(true);
    let db = world.replica.database();
    db.create_collection(syncs).await.unwrap();
    assert_eq!(world.claim(3, &told).await, Verdict::Same);
}

#[tokio::test]
async fn what_a_resync_did_not_mend_is_told_and_left_for_an_hour() {
    let (world, both) = World::with_three().await;
    let told = [("docs", both.plus(of("never", rev(1))))];
    let records = || {
        vec![
            record("a", 1, Some(r#"{"n":1}"#)),
            record("b", 2, Some(r#"{"n":2}"#)),
        ]
    };
    assert_eq!(world.claim(3, &told).await, differs(&["docs"], true));
    world.page(0, 3, records()).await;
    world.replica.sweep(Arc::new(Local)).await.unwrap();
    world.clock.0.now.store(HOUR - 1, Ordering::Relaxed);
    assert_eq!(world.claim(3, &told).await, differs(&["docs"], false));
    world.clock.0.now.store(HOUR, Ordering::Relaxed);
    assert_eq!(world.claim(3, &told).await, differs(&["docs"], true));
}

#[tokio::test]
async fn a_store_from_before_digests_counts_its_documents_once() {
    let (world, both) = World::with_three().await;
    // The row of a collection as it was written then, without later fields.
    let key = b"cdocs".to_vec();
    let row = envelope::encode(&(1_u32, true, None::<String>, false, false, None::<()>));
    let mut batch = Batch::new();
    batch.put(key.clone(), envelope::seal(&key, &[&row]));
    world
        .storage
        .commit(batch, Durability::PowerLoss)
        .await
        .unwrap();
    let world = World::on(world.storage, world.clock).await;
    assert_eq!(world.claim(3, &[("docs", both)]).await, Verdict::Same);
    world
        .page(3, 4, vec![record("e", 4, Some(r#"{"n":5}"#))])
        .await;
    let three = both.plus(of("e", rev(4)));
    assert_eq!(world.claim(4, &[("docs", three)]).await, Verdict::Same);
}
