//! Resync, restored servers and copied stores, against a server that is played by the test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::{
    Applied, Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, ReplicaState,
    Resolver, Scope, ServerLog,
};
use pocket_core::{
    Binding, Body, ChangeKind, ClientId, Collection, CollectionConfig, CollectionName,
    ConflictStrategy, Database, DocumentId, DocumentLimits, Epoch, Hlc, Lineage, Migrated,
    Migration, Mutation, MutationNumber, Outcome, PushLimit, Record, RecordState, Revision, Seq,
    SessionToken, Target, Timestamp, Value, Winner,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

#[path = "resync/copies.rs"]
mod copies;
#[path = "resync/partings.rs"]
mod partings;
#[path = "resync/restored.rs"]
mod restored;
#[path = "resync/twins.rs"]
mod twins;

/// The greater revision wins.
struct Later;

impl Resolver for Later {
    fn resolve(
        &self,
        conflict: &Conflict,
        _: Option<ConflictStrategy>,
    ) -> (Decision, &'static str) {
        let local = conflict.local.rev > conflict.remote.rev;
        let decision = if local {
            Decision::KeepLocal
        } else {
            Decision::KeepRemote
        };
        (decision, "last-write-wins")
    }
}

struct World {
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    storage: MemoryStorage,
}

const ALL: PushLimit = PushLimit {
    changes: 1_000,
    bytes: 1 << 20,
};
const PAST: i64 = 1_000;
const FUTURE: i64 = 4_000_000_000_000;

fn epoch(number: u8) -> Epoch {
    Epoch::from_bytes([number; 16])
}

/// A log of these openings.
fn log(epochs: &[(u8, u64)], head: u64, horizon: u64, last: u64) -> ServerLog {
    ServerLog {
        epochs: epochs
            .iter()
            .map(|(name, first)| (epoch(*name), Seq::new(*first)))
            .collect(),
        head: Seq::new(head),
        horizon: Seq::new(horizon),
        last_number: MutationNumber::new(last),
    }
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn record(id: &str, seq: u64, millis: i64, json: Option<&str>) -> Record {
    let state = match json {
        Some(json) => {
            let limits = DocumentLimits::default();
            RecordState::Live(Body::from_serialize(&value(json), &limits).unwrap().1)
        }
        None => RecordState::Deleted,
    };
    Record {
        collection: CollectionName::new("docs").unwrap(),
        id: DocumentId::new(id).unwrap(),
        rev: Revision::new(
            Hlc::from_time(Timestamp::from_millis(millis)),
            ClientId::from_bytes([9; 16]),
        ),
        seq: Seq::new(seq),
        state,
    }
}

fn attachment(log: ServerLog) -> Attachment {
    Attachment {
        binding: Binding {
            lineage: Lineage::from_bytes([1; 16]),
            namespace: "n".into(),
            user: "u".into(),
        },
        token: SessionToken::from_bytes([2; 16]),
        server_time: Timestamp::from_millis(PAST),
        since_asked: std::time::Duration::ZERO,
        rights: None,
        log,
    }
}

impl World {
    async fn new() -> Self {
        Self::on(MemoryStorage::new()).await
    }

    async fn on(storage: MemoryStorage) -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
            .open(storage.clone())
            .await
            .unwrap();
        let docs = db.collection("docs").unwrap();
        let replica = Replica::new(&db, Target::DEFAULT);
        replica.load(&Scope::All).await.unwrap();
        Self {
            db,
            docs,
            replica,
            storage,
        }
    }

    async fn attach(&self, log: ServerLog) -> ReplicaState {
        self.replica.attach(&attachment(log)).await.unwrap()
    }

    async fn page(&self, in_epoch: u8, places: (u64, u64, u64), records: Vec<Record>) -> Applied {
        let (start, end, head) = places;
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: epoch(in_epoch),
            start: Seq::new(start),
            end: Seq::new(end),
            head: Seq::new(head),
            records,
            removals: Vec::new(),
        };
        self.replica.apply(page, Arc::new(Later)).await.unwrap()
    }

    async fn sweep(&self) -> ReplicaState {
        loop {
            let swept = self.replica.sweep(Arc::new(Later)).await.unwrap();
            if !swept.state.checkpoint.resyncing {
                return swept.state;
            }
        }
    }

    async fn insert(&self, id: &str, n: i64) {
        let document = value(&format!(r#"{{"_id":"{id}","n":{n}}}"#));
        self.docs.insert(&document).await.unwrap();
    }

    async fn update(&self, id: &str, n: i64) {
        self.docs.update(id, &json!({ "n": n })).await.unwrap();
    }

    async fn n(&self, id: &str) -> Option<i64> {
        let document = self.docs.get(id).await.unwrap()?;
        match document.as_map()?.get("n")? {
            Value::Integer(n) => n.as_i64(),
            _ => None,
        }
    }

    async fn pin(&self) -> Vec<Mutation> {
        self.replica.pin(ALL).await.unwrap().mutations
    }

    async fn settle(&self, first: u64, seqs: &[u64]) {
        let outcomes = seqs.iter().map(|seq| Outcome::Applied {
            first: Seq::new(*seq),
        });
        self.replica
            .settle(
                MutationNumber::new(first),
                outcomes.collect(),
                Arc::new(Later),
            )
            .await
            .unwrap();
    }

    async fn journal(&self) -> Vec<(Winner, String)> {
        let entries = self.db.journal().list(None, 100).await.unwrap();
        entries
            .into_iter()
            .map(|entry| (entry.winner, entry.rule))
            .collect()
    }
}

#[tokio::test]
async fn below_the_horizon_everything_is_read_again_and_what_is_gone_is_removed() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let doc = |id, seq| record(id, seq, PAST, Some(r#"{"n":1}"#));
    world
        .page(
            1,
            (0, 4, 4),
            vec![
                doc("stays", 1),
                doc("gone", 2),
                doc("edited", 3),
                doc("changed", 4),
            ],
        )
        .await;
    world.update("edited", 2).await;
    world.insert("never-left", 7).await;

    let state = world.attach(log(&[(1, 1)], 30, 20, 0)).await;
    assert!(state.checkpoint.resyncing && state.checkpoint.epoch.is_none());
    assert_eq!(world.n("gone").await, Some(1), "reads are served meanwhile");
    assert!(
        world.pin().await.is_empty(),
        "nothing is numbered meanwhile"
    );

    let applied = world.page(1, (0, 10, 30), vec![doc("stays", 1)]).await;
    assert_eq!(applied.state.checkpoint.fixed_head, Some(Seq::new(30)));
    assert!(!applied.state.checkpoint.sweeping);
    let changed = record("changed", 29, PAST + 1, Some(r#"{"n":9}"#));
    let applied = world.page(1, (10, 31, 31), vec![changed]).await;
    assert!(applied.state.checkpoint.sweeping && applied.state.checkpoint.fixed_head.is_none());

    world.sweep().await;
    assert_eq!(world.n("stays").await, Some(1));
    assert_eq!(world.n("changed").await, Some(9));
    assert_eq!(world.n("gone").await, None);
    assert_eq!(
        world.n("edited").await,
        None,
        "deleted later than any pending change"
    );
    assert_eq!(world.n("never-left").await, Some(7));
    assert_eq!(
        world.journal().await,
        [(Winner::Remote, "last-write-wins".to_owned())]
    );
    let pushed = world.pin().await;
    assert_eq!(pushed.len(), 1);
    assert_eq!(pushed[0].changes()[0].id.as_str(), "never-left");
}

/// Found by the simulator: each opening of the log that came while nothing was read yet counted as a restored server. What
/// an interrupted reading had shown since was taken for lost by the server, and came back although somebody had deleted it.
#[tokio::test]
async fn an_opening_that_comes_while_everything_is_read_again_is_no_restored_server() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.replica.begin_resync().await.unwrap();
    world.attach(log(&[(1, 1), (2, 1)], 4, 0, 0)).await;
    let both = [("a", 1), ("b", 2)].map(|(id, seq)| record(id, seq, PAST, Some("{}")));
    let [_, b] = both.clone();
    world.page(2, (0, 2, 4), both.to_vec()).await;
    world.replica.begin_resync().await.unwrap();
    let grown = log(&[(1, 1), (2, 1), (3, 5)], 5, 0, 0);
    world.attach(grown).await;
    world.page(3, (0, 5, 5), vec![b]).await;
    let state = world.sweep().await;
    assert_eq!(state.pending, 0, "nothing is brought back");
    assert!(world.docs.get("a").await.unwrap().is_none());
    assert!(world.docs.get("b").await.unwrap().is_some());
}

/// Found by the simulator: an outcome came during a sweep, and had the next page begin another one. By then a collection had
/// joined, whose documents no resync had marked as shown: all of them were removed.
#[tokio::test]
async fn an_outcome_that_comes_during_a_sweep_is_looked_after_before_the_resync_ends() {
    for (place, stays) in [(1, false), (3, true)] {
        let world = World::new().await;
        world.attach(log(&[(1, 1)], 0, 0, 0)).await;
        world.page(1, (0, 0, 0), Vec::new()).await;
        world.insert("mine", 1).await;
        assert_eq!(world.pin().await.len(), 1);
        world.replica.begin_resync().await.unwrap();
        // What took effect up to the head that this page saw, and is not on it, was deleted again.
        let there = record("a", 2, PAST, Some("{}"));
        let applied = world.page(1, (0, 2, 2), vec![there]).await;
        assert!(applied.state.checkpoint.sweeping);
        world.settle(1, &[place]).await;
        world.sweep().await;
        assert_eq!(world.n("mine").await.is_some(), stays, "place {place}");
        let applied = world.page(1, (2, 3, 3), Vec::new()).await;
        assert!(!applied.state.checkpoint.resyncing, "place {place}");
    }
}

/// A scan that ended at its bound on bytes was taken for the last one.
#[tokio::test]
async fn a_sweep_of_large_documents_comes_to_the_last_of_them() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000));
    let large = |n| record(&format!("d{n}"), n, PAST, Some(&body));
    world
        .page(1, (0, 450, 450), (1..=450).map(large).collect())
        .await;
    world.replica.begin_resync().await.unwrap();
    world.page(1, (0, 450, 450), vec![large(450)]).await;
    world.sweep().await;
    assert_eq!(world.docs.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_resync_goes_on_where_a_crash_left_it() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let doc = |id: &str, seq| record(id, seq, PAST, Some(r#"{"n":1}"#));
    let many: Vec<Record> = (1..=1_200).map(|n| doc(&format!("d{n}"), n)).collect();
    world.page(1, (0, 1_200, 1_200), many).await;
    world.replica.begin_resync().await.unwrap();
    world.page(1, (0, 600, 1_300), vec![doc("d600", 600)]).await;

    let world = World::on(world.storage.clone()).await;
    let state = world
        .attach(log(&[(1, 1), (2, 1_301)], 1_300, 600, 0))
        .await;
    assert_eq!(
        (state.checkpoint.seq, state.checkpoint.fixed_head),
        (Seq::new(600), Some(Seq::new(1_300))),
        "the horizon is before the fixed head, so the reading goes on"
    );
    world
        .page(2, (600, 1_300, 1_300), vec![doc("d700", 700)])
        .await;
    let first = world.replica.sweep(Arc::new(Later)).await.unwrap();
    assert!(first.state.checkpoint.resyncing, "one commit is not enough");

    let world = World::on(world.storage.clone()).await;
    let state = world.sweep().await;
    assert_eq!(state.checkpoint.seq, Seq::new(1_300));
    assert_eq!(world.docs.count().await.unwrap(), 2);
}

/// Sync was switched on for a collection that had been written to under an id which the client gave up since: what was
/// offered bore the old id, and the server refused every push.
#[tokio::test]
async fn what_is_offered_when_sync_is_switched_on_bears_the_id_of_now() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let local = CollectionConfig::new("local").sync(false);
    world.db.create_collection(local).await.unwrap();
    let local: Collection<Value> = world.db.collection("local").unwrap();
    local.insert(&value(r#"{"_id":"a","n":1}"#)).await.unwrap();
    let state = world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let synced = CollectionConfig::new("local").sync(true);
    world.db.create_collection(synced).await.unwrap();
    let pushed = world.pin().await;
    let changes: Vec<_> = pushed.iter().flat_map(Mutation::changes).collect();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].rev.client, state.client);
}
