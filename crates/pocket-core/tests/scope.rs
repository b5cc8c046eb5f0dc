//! A client with a scope: what it numbers, and what it asks for one by one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::{Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope};
use pocket_core::{
    Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy, Database,
    DocumentId, DocumentLimits, Epoch, Hlc, Mutation, MutationNumber, Outcome, Pinned, PushLimit,
    Record, RecordState, Revision, Seq, Target, Timestamp, Value,
};
use pocket_storage_memory::MemoryStorage;

struct ServerWins;

impl Resolver for ServerWins {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepRemote, "server-wins")
    }
}

const EPOCH: Epoch = Epoch::from_bytes([1; 16]);

struct Device {
    db: Database,
    public: Collection<Value>,
    private: Collection<Value>,
    replica: Replica,
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn only(names: &[&str]) -> Scope {
    let names = names.iter().map(|name| CollectionName::new(name).unwrap());
    Scope::Only(names.collect())
}

fn ids(pinned: &Pinned) -> Vec<Vec<&str>> {
    let changes = pinned.mutations.iter().map(Mutation::changes);
    changes
        .map(|changes| changes.iter().map(|change| change.id.as_str()).collect())
        .collect()
}

impl Device {
    async fn new() -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("public").sync(true))
            .collection(CollectionConfig::new("private").sync(true))
            .open(MemoryStorage::new())
            .await
            .unwrap();
        Self {
            public: db.collection("public").unwrap(),
            private: db.collection("private").unwrap(),
            replica: Replica::new(&db, Target::DEFAULT),
            db,
        }
    }

    async fn pin(&self) -> Pinned {
        let limit = PushLimit {
            changes: 1_000,
            bytes: 1 << 20,
        };
        self.replica.pin(limit).await.unwrap()
    }

    async fn page(&self, kind: PageKind, start: u64, end: u64, records: Vec<Record>) {
        let page = IncomingPage {
            kind,
            epoch: EPOCH,
            start: Seq::new(start),
            end: Seq::new(end),
            head: Seq::new(end),
            records,
            removals: Vec::new(),
        };
        let applied = self.replica.apply(page, Arc::new(ServerWins)).await;
        applied.unwrap();
    }
}

#[tokio::test]
async fn unsent_changes_outside_the_scope_stay_in_the_outbox_unsent() {
    let device = Device::new().await;
    device
        .private
        .insert(&value(r#"{"_id":"p"}"#))
        .await
        .unwrap();
    device
        .public
        .insert(&value(r#"{"_id":"a"}"#))
        .await
        .unwrap();
    let mut both = device.db.transaction();
    both.insert(&device.public, &value(r#"{"_id":"b"}"#))
        .unwrap();
    both.insert(&device.private, &value(r#"{"_id":"q"}"#))
        .unwrap();
    both.commit().await.unwrap();
    device.replica.load(&only(&["public"])).await.unwrap();
    let pinned = device.pin().await;
    assert_eq!((ids(&pinned), pinned.left_out), (vec![vec!["a"]], 2));
    assert_eq!(device.replica.left_out().await.unwrap(), 2);
    let left = device.replica.pending_by_collection().await.unwrap();
    let left: Vec<_> = left
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(left, [("private", 2), ("public", 2)]);
    // A wider scope sends them, the transaction as a whole.
    device.replica.load(&Scope::All).await.unwrap();
    let pinned = device.pin().await;
    assert_eq!(
        (ids(&pinned), pinned.left_out),
        (vec![vec!["p"], vec!["b", "q"]], 0)
    );
}

#[tokio::test]
async fn what_stands_on_a_change_that_stays_here_stays_too() {
    let device = Device::new().await;
    let mut both = device.db.transaction();
    both.insert(&device.public, &value(r#"{"_id":"b"}"#))
        .unwrap();
    both.insert(&device.private, &value(r#"{"_id":"q"}"#))
        .unwrap();
    both.commit().await.unwrap();
    // Another mutation lies between, so that the next edit of `b` cannot merge.
    let mut other = device.db.transaction();
    other
        .insert(&device.public, &value(r#"{"_id":"c"}"#))
        .unwrap();
    other
        .update(&device.public, "b", &serde_json::json!({"n": 1}))
        .unwrap();
    other.commit().await.unwrap();
    device.replica.load(&only(&["public"])).await.unwrap();
    let pinned = device.pin().await;
    assert_eq!(
        (ids(&pinned), pinned.left_out),
        (Vec::<Vec<&str>>::new(), 2)
    );
}

/// A change was sent before the scope was narrowed and met a conflict. The feed brings nothing of its collection any
/// more, which was taken for a record that may not be read: the document vanished from the database.
#[tokio::test]
async fn a_conflict_outside_the_scope_waits_for_its_record_to_be_fetched() {
    let device = Device::new().await;
    device
        .private
        .insert(&value(r#"{"_id":"p","n":1}"#))
        .await
        .unwrap();
    device.replica.load(&Scope::All).await.unwrap();
    assert_eq!(device.pin().await.mutations.len(), 1);
    device.replica.load(&only(&["public"])).await.unwrap();
    let met = vec![Outcome::Conflict {
        seqs: vec![Seq::new(3)],
    }];
    let settled = device
        .replica
        .settle(MutationNumber::new(1), met, Arc::new(ServerWins))
        .await
        .unwrap();
    assert_eq!((settled.state.waiting, settled.state.unread), (1, 1));
    device.page(PageKind::Feed, 0, 5, Vec::new()).await;
    let kept = device.private.get("p").await.unwrap();
    assert!(
        kept.is_some(),
        "the feed has passed it, but says nothing of it"
    );
    let state = device.replica.state().await.unwrap();
    assert_eq!((state.unread, state.open_conflicts), (1, 0));

    let limits = DocumentLimits::default();
    let (_, body) = Body::from_serialize(&value(r#"{"n":7}"#), &limits).unwrap();
    let record = Record {
        collection: CollectionName::new("private").unwrap(),
        id: DocumentId::new("p").unwrap(),
        rev: Revision::new(
            Hlc::from_time(Timestamp::from_millis(1)),
            ClientId::from_bytes([9; 16]),
        ),
        seq: Seq::new(3),
        state: RecordState::Live(body),
    };
    device.page(PageKind::Fetched, 0, 0, vec![record]).await;
    let state = device.replica.state().await.unwrap();
    assert_eq!((state.waiting, state.unread, state.pending), (0, 0, 0));
    let entries = device.db.journal().list(None, 10).await.unwrap();
    assert_eq!(
        (entries.len(), entries[0].rule.as_str()),
        (1, "server-wins")
    );
    let kept = device.private.get("p").await.unwrap().unwrap();
    assert_eq!(kept.to_json_string().unwrap(), r#"{"_id":"p","n":7}"#);
}

#[tokio::test]
async fn the_end_of_a_complete_pass_is_kept() {
    let device = Device::new().await;
    assert_eq!(device.replica.state().await.unwrap().last_sync_at, None);
    device.replica.passed().await.unwrap();
    assert!(device.replica.state().await.unwrap().last_sync_at.is_some());
}
