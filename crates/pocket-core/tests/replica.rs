//! The replica against a server that is played by the test: outcomes and pages by hand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "replica/behind.rs"]
mod behind;
#[path = "replica/conflicts.rs"]
mod conflicts;
#[path = "replica/merging.rs"]
mod merging;

use std::sync::Arc;

use pocket_core::replica::{
    Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope, ServerLog,
};
use pocket_core::{
    Binding, Body, ChangeKind, ClientId, Collection, CollectionConfig, CollectionName,
    ConflictStrategy, Database, DocumentId, DocumentLimits, Epoch, Hlc, JournalKind, Lineage,
    Mutation, MutationNumber, Outcome, PushLimit, Record, RecordState, Revision, Seq, SessionToken,
    Target, Timestamp, Value, Winner, codes,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

/// The greater revision wins.
struct Later;

impl Resolver for Later {
    fn resolve(
        &self,
        conflict: &Conflict,
        _: Option<ConflictStrategy>,
    ) -> (Decision, &'static str) {
        let local = conflict.local.rev > conflict.remote.rev;
        (
            if local {
                Decision::KeepLocal
            } else {
                Decision::KeepRemote
            },
            "last-write-wins",
        )
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
const EPOCH: Epoch = Epoch::from_bytes([1; 16]);

fn incoming(start: u64, end: u64, records: Vec<Record>) -> IncomingPage {
    IncomingPage {
        kind: PageKind::Feed,
        epoch: EPOCH,
        start: Seq::new(start),
        end: Seq::new(end),
        head: Seq::new(end),
        records,
        removals: Vec::new(),
    }
}

impl World {
    async fn new() -> Self {
        Self::on(MemoryStorage::new()).await
    }

    async fn on(storage: MemoryStorage) -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
            .collection(CollectionConfig::new("cache"))
            .open(storage.clone())
            .await
            .unwrap();
        let docs = db.collection("docs").unwrap();
        let replica = Replica::new(&db, Target::DEFAULT);
        Self {
            db,
            docs,
            replica,
            storage,
        }
    }

    async fn insert(&self, id: &str, n: i64) {
        self.docs
            .insert(&value(&format!(r#"{{"_id":"{id}","n":{n}}}"#)))
            .await
            .unwrap();
    }

    async fn pin(&self) -> Vec<Mutation> {
        self.replica.pin(ALL).await.unwrap().mutations
    }

    async fn settle(&self, first: u64, outcomes: Vec<Outcome>) -> pocket_core::replica::Settled {
        self.replica
            .settle(MutationNumber::new(first), outcomes, Arc::new(Later))
            .await
            .unwrap()
    }

    async fn page(
        &self,
        start: u64,
        end: u64,
        records: Vec<Record>,
    ) -> Result<pocket_core::replica::Applied, pocket_core::Error> {
        let page = incoming(start, end, records);
        self.replica.apply(page, Arc::new(Later)).await
    }

    async fn json(&self, id: &str) -> Option<String> {
        self.docs
            .get(id)
            .await
            .unwrap()
            .map(|value| value.to_json_string().unwrap())
    }

    async fn pending(&self) -> u64 {
        self.db.stats().await.unwrap().pending_changes
    }

    async fn seq_of_base(&self, id: &str) -> Revision {
        self.docs.get_document(id).await.unwrap().unwrap().rev
    }
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn applied(seq: u64) -> Outcome {
    Outcome::Applied {
        first: Seq::new(seq),
    }
}

fn conflict(seq: u64) -> Outcome {
    Outcome::Conflict {
        seqs: vec![Seq::new(seq)],
    }
}

fn rejected(code: &str) -> Outcome {
    Outcome::Rejected {
        code: code.into(),
        reason: "no".into(),
        server_time: None,
    }
}

/// A record of another client; `millis` decides conflicts.
fn record(id: &str, seq: u64, millis: i64, json: Option<&str>) -> Record {
    let state = match json {
        Some(json) => {
            let limits = DocumentLimits::default();
            let (_, body) = Body::from_serialize(&value(json), &limits).unwrap();
            RecordState::Live(body)
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

const PAST: i64 = 1_000;
const FUTURE: i64 = 4_000_000_000_000;

#[tokio::test]
async fn a_mutation_keeps_its_number_and_content_until_it_is_settled() {
    let world = World::new().await;
    world.insert("a", 1).await;
    world.insert("b", 1).await;
    let pinned = world.pin().await;
    assert_eq!(
        pinned.iter().map(|m| m.number.get()).collect::<Vec<_>>(),
        [1, 2]
    );
    world.docs.update("a", &json!({"n": 2})).await.unwrap();
    let again = world
        .replica
        .resend(MutationNumber::new(1), ALL)
        .await
        .unwrap()
        .mutations;
    assert_eq!(again, pinned);
    let next = world.pin().await;
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].number.get(), 3);
    assert_eq!(next[0].changes()[0].base, Some(pinned[0].changes()[0].rev));

    let settled = world
        .settle(1, vec![applied(1), applied(2), applied(3)])
        .await;
    assert_eq!(
        (
            settled.applied,
            settled.state.confirmed.get(),
            world.pending().await
        ),
        (3, 3, 0)
    );
    assert!(
        world
            .replica
            .resend(MutationNumber::new(1), ALL)
            .await
            .unwrap()
            .mutations
            .is_empty()
    );
    // Asked again, the answer changes nothing.
    assert_eq!(
        world.settle(1, vec![rejected("forbidden")]).await.applied,
        0
    );
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":2}"#);
}

#[tokio::test]
async fn a_stale_page_changes_nothing() {
    let world = World::new().await;
    world
        .page(0, 2, vec![record("a", 2, PAST, Some(r#"{"n":1}"#))])
        .await
        .unwrap();
    let stale = world
        .page(0, 5, vec![record("a", 5, PAST, Some(r#"{"n":2}"#))])
        .await;
    assert_eq!(stale.unwrap_err().code(), codes::STALE_PAGE);
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":1}"#);
    let state = world.replica.load(&Scope::All).await.unwrap();
    assert_eq!(
        (state.checkpoint.seq.get(), state.checkpoint.epoch),
        (2, Some(EPOCH))
    );
}

#[tokio::test]
async fn everything_survives_a_new_start() {
    let world = World::new().await;
    world.insert("a", 1).await;
    let pinned = world.pin().await;
    world.insert("b", 1).await;
    world
        .page(0, 1, vec![record("c", 1, PAST, Some("{}"))])
        .await
        .unwrap();
    let world = World::on(world.storage.clone()).await;
    assert_eq!(
        world
            .replica
            .resend(MutationNumber::new(1), ALL)
            .await
            .unwrap()
            .mutations,
        pinned
    );
    assert_eq!(world.pin().await[0].number.get(), 2);
    assert_eq!(
        world
            .replica
            .load(&Scope::All)
            .await
            .unwrap()
            .checkpoint
            .seq
            .get(),
        1
    );
}

#[tokio::test]
async fn a_database_is_bound_to_the_first_server_namespace_and_user() {
    let world = World::new().await;
    let binding = |lineage, namespace: &str, user: &str| Attachment {
        binding: Binding {
            lineage: Lineage::from_bytes([lineage; 16]),
            namespace: namespace.into(),
            user: user.into(),
        },
        token: SessionToken::from_bytes([1; 16]),
        server_time: Timestamp::from_millis(PAST),
        since_asked: std::time::Duration::ZERO,
        rights: None,
        log: ServerLog::default(),
    };
    let state = world.replica.attach(&binding(1, "n", "u")).await.unwrap();
    assert!(state.token.is_some());
    for (attachment, code) in [
        (binding(2, "n", "u"), codes::OTHER_LINEAGE),
        (binding(1, "m", "u"), codes::OTHER_NAMESPACE),
        (binding(1, "n", "v"), codes::OTHER_USER),
    ] {
        assert_eq!(
            world.replica.attach(&attachment).await.unwrap_err().code(),
            code
        );
    }
    assert_eq!(world.replica.load(&Scope::All).await.unwrap(), state);
}

#[tokio::test]
async fn a_collection_that_joins_later_is_read_from_the_start() {
    let world = World::new().await;
    let only = |names: &[&str]| {
        Scope::Only(
            names
                .iter()
                .map(|name| CollectionName::new(name).unwrap())
                .collect(),
        )
    };
    world.replica.load(&only(&["other"])).await.unwrap();
    world.page(0, 10, Vec::new()).await.unwrap();
    let state = world.replica.load(&only(&["other", "docs"])).await.unwrap();
    assert_eq!(state.checkpoint.joining.len(), 1);
    let page = IncomingPage {
        kind: PageKind::Joining(CollectionName::new("docs").unwrap()),
        epoch: EPOCH,
        start: Seq::ZERO,
        end: Seq::new(10),
        head: Seq::new(10),
        records: vec![record("a", 4, PAST, Some("{}"))],
        removals: Vec::new(),
    };
    let state = world
        .replica
        .apply(page, Arc::new(Later))
        .await
        .unwrap()
        .state;
    assert!(state.checkpoint.joining.is_empty());
    assert_eq!(state.checkpoint.seq.get(), 10);
    assert!(world.json("a").await.is_some());
}

#[tokio::test]
async fn records_of_local_collections_stay_out_and_unknown_ones_are_made() {
    let world = World::new().await;
    let of = |name: &str, seq| Record {
        collection: CollectionName::new(name).unwrap(),
        ..record("a", seq, PAST, Some("{}"))
    };
    world
        .page(0, 2, vec![of("cache", 1), of("fresh", 2)])
        .await
        .unwrap();
    assert_eq!(
        world
            .db
            .collection::<Value>("cache")
            .unwrap()
            .count()
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        world
            .db
            .collection::<Value>("fresh")
            .unwrap()
            .count()
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn an_erase_names_no_base_and_beats_a_pending_edit_elsewhere() {
    let world = World::new().await;
    world
        .page(0, 1, vec![record("a", 1, PAST, Some(r#"{"n":0}"#))])
        .await
        .unwrap();
    world.docs.hard_delete("a").await.unwrap();
    let pinned = world.pin().await;
    assert_eq!(
        (pinned[0].changes()[0].base, &pinned[0].changes()[0].kind),
        (None, &ChangeKind::Erase)
    );

    let other = World::new().await;
    other
        .page(0, 1, vec![record("a", 1, PAST, Some(r#"{"n":0}"#))])
        .await
        .unwrap();
    other.docs.update("a", &json!({"n": 5})).await.unwrap();
    let erased = Record {
        state: RecordState::Erased,
        ..record("a", 2, PAST + 1, None)
    };
    other.page(1, 2, vec![erased]).await.unwrap();
    assert_eq!(other.json("a").await, None);
    assert_eq!(
        other.db.journal().list(None, 10).await.unwrap()[0].rule,
        "erased"
    );
}

/// The shadow of the deletion was left behind when insert and delete cancelled, and the refused delete took it for the
/// content of the server's next version: a live document of no bytes, which nobody could read.
#[tokio::test]
async fn a_deletion_on_the_server_is_not_taken_for_the_content_of_what_it_has_next() {
    let world = World::new().await;
    world.insert("a", 1).await;
    world
        .page(0, 1, vec![record("a", 1, FUTURE, None)])
        .await
        .unwrap();
    world.docs.delete("a").await.unwrap();
    assert_eq!(world.pending().await, 0);
    let made_again = record("a", 2, FUTURE + 1, Some(r#"{"n":5}"#));
    world.page(1, 2, vec![made_again]).await.unwrap();
    world.docs.delete("a").await.unwrap();
    let pinned = world.pin().await;
    world
        .settle(pinned[0].number.get(), vec![rejected("forbidden")])
        .await;
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":5}"#);
}
