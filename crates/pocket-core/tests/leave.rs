//! Leaving a server: with everything, or with nothing that came from it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::{
    Attachment, Claim, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope,
};
use pocket_core::{
    Binding, Body, ChangeKind, ClientId, Collection, CollectionConfig, CollectionName,
    ConflictStrategy, Database, DocumentId, DocumentLimits, Epoch, Hlc, Lineage, Migrated,
    Migration, Mutation, MutationNumber, Outcome, PushLimit, Record, RecordState, Revision, Seq,
    SessionToken, Target, Timestamp, Ttl, Value,
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
            .collection(
                CollectionConfig::new("brief")
                    .sync(true)
                    .ttl(Ttl::at_field("until")),
            )
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
        self.replica.attach(&attachment(lineage)).await.map(drop)
    }

    async fn pin(&self) -> Vec<Mutation> {
        let limit = PushLimit {
            changes: 100,
            bytes: 1 << 20,
        };
        self.replica.pin(limit).await.unwrap().mutations
    }
}

fn attachment(lineage: u8) -> Attachment {
    Attachment {
        binding: Binding {
            lineage: Lineage::from_bytes([lineage; 16]),
            namespace: "default".into(),
            user: "ann".into(),
        },
        token: SessionToken::from_bytes([lineage; 16]),
        server_time: Timestamp::from_millis(1_000),
        since_asked: std::time::Duration::ZERO,
        rights: None,
        log: pocket_core::replica::ServerLog::default(),
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

/// What a session brings: each in its own way would store something that was agreed with the server of before.
async fn bring_all(replica: &Replica) -> Vec<Result<(), pocket_core::Error>> {
    let resolver = || Arc::new(RemoteWins);
    let limit = PushLimit {
        changes: 100,
        bytes: 1 << 20,
    };
    let first = MutationNumber::new(1);
    let applied = Outcome::Applied { first: Seq::new(1) };
    let claim = Claim {
        epoch: Epoch::from_bytes([1; 16]),
        at: Seq::new(9),
        digests: std::collections::BTreeMap::new(),
    };
    vec![
        replica.load(&Scope::All).await.map(drop),
        replica.attach(&attachment(1)).await.map(drop),
        replica.pin(limit).await.map(drop),
        replica.resend(first, limit).await.map(drop),
        replica.blame(first, first).await.map(drop),
        replica
            .settle(first, vec![applied], resolver())
            .await
            .map(drop),
        replica.resolve(Vec::new(), 10, resolver()).await.map(drop),
        replica.renew().await.map(drop),
        replica.begin_resync().await.map(drop),
        replica.sweep(resolver()).await.map(drop),
        replica.verify(claim).await.map(drop),
        replica.waiting().await.map(drop),
        replica
            .expire(Timestamp::from_millis(1_000))
            .await
            .map(drop),
        replica.passed().await,
        replica.apply(first_page(), resolver()).await.map(drop),
    ]
}

fn first_page() -> IncomingPage {
    IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::ZERO,
        end: Seq::new(1),
        head: Seq::new(1),
        records: vec![record("a", 1, true)],
        removals: Vec::new(),
    }
}

fn assert_all_refused(answers: &[Result<(), pocket_core::Error>]) {
    for (at, answer) in answers.iter().enumerate() {
        let code = answer.as_ref().map_err(pocket_core::Error::code);
        assert_eq!(code, Err("other-client"), "request {at}");
    }
}

#[tokio::test]
async fn after_a_wipe_by_another_handle_nothing_that_a_session_brings_is_stored() {
    let device = Device::settled_in().await;
    let session = device.replica.acting_as(device.db.client_id());
    session.state().await.unwrap();
    let other = Device::on(device.storage.clone()).await;
    other.replica.wipe().await.unwrap();
    // This would be numbered for a server that nobody has greeted since.
    other.insert("new").await;

    assert_all_refused(&bring_all(&session).await);
    let state = device.replica.load(&Scope::All).await.unwrap();
    assert_eq!((&state.binding, state.token), (&None, None));
    assert_eq!(state.client, other.db.client_id());
    assert_eq!(
        (state.checkpoint.epoch, state.checkpoint.seq),
        (None, Seq::ZERO)
    );
    assert_eq!(
        (state.last_number, state.pending),
        (MutationNumber::ZERO, 1)
    );
    assert_eq!(other.docs.count().await.unwrap(), 1, "only what is new");

    // As the client of now, all goes on.
    let session = device.replica.acting_as(state.client);
    session.attach(&attachment(2)).await.unwrap();
    session
        .apply(first_page(), Arc::new(RemoteWins))
        .await
        .unwrap();
    assert_eq!(device.pin().await.len(), 1);
}

#[tokio::test]
async fn after_a_wipe_and_another_attachment_the_session_of_before_is_refused_all_the_same() {
    let device = Device::settled_in().await;
    let session = device.replica.acting_as(device.db.client_id());
    let other = Device::on(device.storage.clone()).await;
    other.replica.wipe().await.unwrap();
    other.attach(2).await.unwrap();
    let before = other.replica.state().await.unwrap();
    assert_all_refused(&bring_all(&session).await);
    assert_eq!(other.replica.state().await.unwrap(), before);
    assert_eq!(other.docs.count().await.unwrap(), 0);
}

#[tokio::test]
async fn after_a_detach_by_another_handle_the_session_of_before_is_refused() {
    let device = Device::settled_in().await;
    let session = device.replica.acting_as(device.db.client_id());
    let other = Device::on(device.storage.clone()).await;
    let before = other.replica.detach().await.unwrap();
    assert_all_refused(&bring_all(&session).await);
    assert_eq!(other.replica.state().await.unwrap(), before);
}

#[tokio::test]
async fn a_write_of_the_application_is_not_a_sessions_and_goes_on_after_a_wipe_elsewhere() {
    let device = Device::settled_in().await;
    let session = device.replica.acting_as(device.db.client_id());
    let other = Device::on(device.storage.clone()).await;
    other.replica.wipe().await.unwrap();
    session.waiting().await.unwrap_err();
    device.insert("after").await;
    assert_eq!(device.db.client_id(), other.db.client_id());
    assert_eq!(other.docs.count().await.unwrap(), 1);
}
