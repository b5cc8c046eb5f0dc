//! Leaving a server: with everything, or with nothing that came from it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::{
    Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver,
};
use pocket_core::{
    Binding, Body, ChangeKind, ClientId, Collection, CollectionConfig, CollectionName,
    ConflictStrategy, Database, DocumentId, DocumentLimits, Epoch, Hlc, Lineage, Migrated,
    Migration, Mutation, MutationNumber, Outcome, PushLimit, Record, RecordState, Revision, Seq,
    SessionToken, Target, Timestamp, Value,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

struct RemoteWins;

impl Resolver for RemoteWins {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepRemote, "server-wins")
    }
}

struct Device {
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    storage: MemoryStorage,
}

impl Device {
    async fn on(storage: MemoryStorage) -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
            .collection(CollectionConfig::new("mine"))
            .open(storage.clone())
            .await
            .unwrap();
        Self {
            docs: db.collection("docs").unwrap(),
            replica: Replica::new(&db, Target::DEFAULT),
            db,
            storage,
        }
    }

    /// A device of a server's: `a` and `b` came from there, `b` was edited here and is on its way, `c` was edited twice
    /// (the second edit stands on the first, which is on its way), `d` was made here, `gone` was deleted there, and
    /// `mine/x` never leaves.
    async fn settled_in() -> Self {
        let device = Self::on(MemoryStorage::new()).await;
        device.attach(1).await.unwrap();
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: Epoch::from_bytes([1; 16]),
            start: Seq::ZERO,
            end: Seq::new(9),
            head: Seq::new(9),
            records: vec![
                record("a", 1, true),
                record("b", 2, true),
                record("c", 3, true),
                record("gone", 4, false),
            ],
            removals: Vec::new(),
        };
        device
            .replica
            .apply(page, Arc::new(RemoteWins))
            .await
            .unwrap();
        device.docs.update("b", &json!({"n": 1})).await.unwrap();
        device.docs.update("c", &json!({"n": 1})).await.unwrap();
        assert_eq!(device.pin().await.len(), 2);
        device.docs.update("c", &json!({"n": 2})).await.unwrap();
        device.insert("d").await;
        let mine = device.db.collection::<Value>("mine").unwrap();
        mine.insert(&value(r#"{"_id":"x"}"#)).await.unwrap();
        device
    }

    async fn insert(&self, id: &str) {
        let json = format!(r#"{{"_id":"{id}","n":0}}"#);
        self.docs.insert(&value(&json)).await.unwrap();
    }

    async fn attach(&self, lineage: u8) -> Result<(), pocket_core::Error> {
        let attachment = Attachment {
            binding: Binding {
                lineage: Lineage::from_bytes([lineage; 16]),
                namespace: "default".into(),
                user: "ann".into(),
            },
            token: SessionToken::from_bytes([lineage; 16]),
            server_time: Timestamp::from_millis(1_000),
            rights: None,
            log: pocket_core::replica::ServerLog::default(),
        };
        self.replica.attach(&attachment).await.map(drop)
    }

    async fn pin(&self) -> Vec<Mutation> {
        let limit = PushLimit {
            changes: 100,
            bytes: 1 << 20,
        };
        self.replica.pin(limit).await.unwrap().mutations
    }
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn record(id: &str, seq: u64, live: bool) -> Record {
    let limits = DocumentLimits::default();
    let (_, body) = Body::from_serialize(&json!({"n": 0}), &limits).unwrap();
    let time = Timestamp::from_millis(i64::try_from(seq).unwrap());
    Record {
        collection: CollectionName::new("docs").unwrap(),
        id: DocumentId::new(id).unwrap(),
        rev: Revision::new(Hlc::from_time(time), ClientId::from_bytes([9; 16])),
        seq: Seq::new(seq),
        state: if live {
            RecordState::Live(body)
        } else {
            RecordState::Deleted
        },
    }
}

#[tokio::test]
async fn a_detached_database_offers_all_it_has_to_the_next_server() {
    let device = Device::settled_in().await;
    let before = device.db.client_id();
    let time_of_a = device
        .docs
        .get_document("a")
        .await
        .unwrap()
        .unwrap()
        .rev
        .hlc;
    let refused = device.attach(2).await.unwrap_err();
    assert_eq!(refused.code(), "other-lineage");
    let ways_out = refused.to_string();
    assert!(
        ways_out.contains("`detach`") && ways_out.contains("`wipe`"),
        "{ways_out}"
    );
    let state = device.replica.detach().await.unwrap();
    assert_eq!(
        (&state.binding, state.token, state.pending),
        (&None, None, 5)
    );
    assert_eq!(state.checkpoint.seq, Seq::ZERO);
    assert_ne!(device.db.client_id(), before, "it is another client now");
    device.attach(2).await.unwrap();

    let sent = device.pin().await;
    let changes: Vec<_> = sent.iter().flat_map(Mutation::changes).collect();
    let ids: Vec<&str> = changes.iter().map(|change| change.id.as_str()).collect();
    assert_eq!(
        ids,
        ["b", "c", "c", "d", "a"],
        "pending ones first, in order"
    );
    assert_eq!(sent[0].number, MutationNumber::new(1));
    for change in &changes {
        assert_eq!(change.rev.client, device.db.client_id());
        assert!(matches!(change.kind, ChangeKind::Put(_)));
    }
    let bases: Vec<_> = changes.iter().map(|change| change.base).collect();
    assert_eq!(bases, [None, None, Some(changes[1].rev), None, None]);
    assert_eq!(
        changes[4].rev.hlc, time_of_a,
        "an old write stays an old one"
    );
    let outcomes = (1..=5).map(|seq| Outcome::Applied {
        first: Seq::new(seq),
    });
    let settled = device
        .replica
        .settle(
            MutationNumber::new(1),
            outcomes.collect(),
            Arc::new(RemoteWins),
        )
        .await
        .unwrap();
    assert_eq!((settled.applied, settled.state.pending), (5, 0));
    let c = device.docs.get("c").await.unwrap().unwrap();
    assert_eq!(c.to_json_string().unwrap(), r#"{"_id":"c","n":2}"#);
}

#[tokio::test]
async fn what_a_migration_made_does_not_give_way_to_what_the_next_server_has() {
    let storage = Device::settled_in().await.storage;
    let migration = Migration::to(2).documents("docs", |_, mut document| {
        document.insert("shape", Value::from("new"));
        Ok(Migrated::Changed(document))
    });
    let db = Database::builder("test").migration(migration);
    let db = db.open(storage.clone()).await.unwrap();
    let device = Device {
        docs: db.collection("docs").unwrap(),
        replica: Replica::new(&db, Target::DEFAULT),
        db,
        storage,
    };
    device.replica.detach().await.unwrap();
    device.attach(7).await.unwrap();
    // The next server has another document of this id, and the rule is that the server's stands.
    let page = IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([7; 16]),
        start: Seq::ZERO,
        end: Seq::new(1),
        head: Seq::new(1),
        records: vec![record("a", 1, true)],
        removals: Vec::new(),
    };
    let applied = device.replica.apply(page, Arc::new(RemoteWins)).await;
    applied.unwrap();
    let entries = device.db.journal().list(None, 100).await.unwrap();
    let [entry] = entries.as_slice() else {
        panic!("what was here is lost without a word: {entries:?}");
    };
    assert_eq!(entry.documents[0].id.as_str(), "a");
}

#[tokio::test]
async fn a_deletion_that_was_pending_travels_and_a_settled_one_is_forgotten() {
    let device = Device::settled_in().await;
    device.docs.delete("a").await.unwrap();
    device.replica.detach().await.unwrap();
    let sent = device.pin().await;
    let of_a = sent
        .iter()
        .flat_map(Mutation::changes)
        .find(|change| change.id.as_str() == "a")
        .unwrap();
    assert_eq!((&of_a.kind, of_a.base), (&ChangeKind::Delete, None));
    assert!(device.docs.get_document("gone").await.unwrap().is_none());
}

#[tokio::test]
async fn a_wiped_database_has_nothing_of_the_server_and_keeps_what_is_local() {
    let device = Device::settled_in().await;
    let before = device.db.client_id();
    let mut changes = device.db.changes();
    let wiped = device.replica.wipe().await.unwrap();
    assert_eq!((wiped.documents, wiped.pending), (4, 4));
    assert!(wiped.state.binding.is_none());
    assert_eq!(device.docs.count().await.unwrap(), 0);
    assert!(device.docs.get_document("gone").await.unwrap().is_none());
    let mine = device.db.collection::<Value>("mine").unwrap();
    assert_eq!(mine.count().await.unwrap(), 1);
    assert!(
        changes.next().await.is_some(),
        "whoever watches hears of it"
    );
    // The same holds for a process that opens it later, and the next server is taken as the first one.
    let storage = device.storage.clone();
    drop(device);
    let device = Device::on(storage).await;
    assert_ne!(device.db.client_id(), before);
    assert_eq!(device.db.stats().await.unwrap().pending_changes, 0);
    device.attach(2).await.unwrap();
    device.insert("new").await;
    assert_eq!(device.pin().await[0].number, MutationNumber::new(1));
}
