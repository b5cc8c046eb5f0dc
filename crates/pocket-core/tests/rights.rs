//! Rights that end: what a user may no longer read leaves the device, and what he wrote himself stays in the journal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use bytes::Bytes;
use pocket_core::replica::{
    Applied, Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver,
};
use pocket_core::{
    Binding, Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy,
    Database, DocumentId, DocumentLimits, Epoch, Hlc, JournalKind, Lineage, MutationNumber,
    Outcome, PushLimit, Record, RecordState, Revision, Seq, SessionToken, Target, Timestamp, Value,
};
use pocket_storage::{Direction, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

struct LocalWins;

impl Resolver for LocalWins {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "client-wins")
    }
}

struct Device {
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    storage: MemoryStorage,
}

const LIMIT: PushLimit = PushLimit {
    changes: 100,
    bytes: 1 << 20,
};

impl Device {
    /// A device that read documents `a` and `b` of the server, with a secret in each.
    async fn new() -> Self {
        let storage = MemoryStorage::new();
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
            .open(storage.clone())
            .await
            .unwrap();
        let device = Self {
            docs: db.collection("docs").unwrap(),
            replica: Replica::new(&db, Target::DEFAULT),
            db,
            storage,
        };
        device.attach(None).await;
        let page = page(0, 2, vec![record("a", 1), record("b", 2)], Vec::new());
        device.apply(page).await;
        device
    }

    async fn attach(&self, rights: Option<&'static [u8]>) -> pocket_core::replica::ReplicaState {
        let attachment = Attachment {
            binding: Binding {
                lineage: Lineage::from_bytes([1; 16]),
                namespace: "default".into(),
                user: "ann".into(),
            },
            token: SessionToken::from_bytes([1; 16]),
            server_time: Timestamp::from_millis(1_000),
            since_asked: std::time::Duration::ZERO,
            log: pocket_core::replica::ServerLog::default(),
            rights: rights.map(Bytes::from_static),
        };
        self.replica.attach(&attachment).await.unwrap()
    }

    async fn apply(&self, page: IncomingPage) -> Applied {
        self.replica.apply(page, Arc::new(LocalWins)).await.unwrap()
    }

    async fn edit(&self, id: &str, text: &str) {
        self.docs
            .update(id, &json!({ "mine": text }))
            .await
            .unwrap();
    }

    async fn holds(&self, text: &str) -> bool {
        let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
        let all = self
            .storage
            .scan(KeyRange::all(), limit, Direction::Forward)
            .await
            .unwrap();
        let text = text.as_bytes();
        all.iter()
            .any(|(_, value)| value.windows(text.len()).any(|window| window == text))
    }
}

fn name() -> CollectionName {
    CollectionName::new("docs").unwrap()
}

fn record(id: &str, seq: u64) -> Record {
    let body = json!({ "secret": format!("secret-of-{id}") });
    let (_, body) = Body::from_serialize(&body, &DocumentLimits::default()).unwrap();
    let time = Timestamp::from_millis(i64::try_from(seq).unwrap());
    Record {
        collection: name(),
        id: DocumentId::new(id).unwrap(),
        rev: Revision::new(Hlc::from_time(time), ClientId::from_bytes([9; 16])),
        seq: Seq::new(seq),
        state: RecordState::Live(body),
    }
}

fn page(start: u64, end: u64, records: Vec<Record>, removed: Vec<(&str, u64)>) -> IncomingPage {
    let removal = |(id, seq)| (name(), DocumentId::new(id).unwrap(), Seq::new(seq));
    IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::new(start),
        end: Seq::new(end),
        head: Seq::new(end),
        records,
        removals: removed.into_iter().map(removal).collect(),
    }
}

#[tokio::test]
async fn a_document_that_may_no_longer_be_read_leaves_the_device() {
    let device = Device::new().await;
    let mut changes = device.db.changes();
    let applied = device.apply(page(2, 3, Vec::new(), vec![("a", 3)])).await;
    assert_eq!(
        (applied.changes, applied.state.checkpoint.seq),
        (1, Seq::new(3))
    );
    assert!(device.docs.get("a").await.unwrap().is_none());
    assert!(!device.holds("secret-of-a").await);
    assert!(device.docs.get("b").await.unwrap().is_some());
    assert!(
        changes.next().await.is_some(),
        "whoever watches hears of it"
    );
    // Given back, it is a document like any other.
    device
        .apply(page(3, 4, vec![record("a", 4)], Vec::new()))
        .await;
    assert!(device.docs.get("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_removal_that_is_older_than_what_was_read_changes_nothing() {
    let device = Device::new().await;
    device
        .apply(page(2, 5, vec![record("a", 5)], Vec::new()))
        .await;
    device.apply(page(5, 6, Vec::new(), vec![("a", 4)])).await;
    assert!(device.docs.get("a").await.unwrap().is_some());
}

#[tokio::test]
async fn of_pending_changes_the_journal_keeps_what_the_user_wrote_himself() {
    let device = Device::new().await;
    device.edit("a", "my-words").await;
    let applied = device.apply(page(2, 3, Vec::new(), vec![("a", 3)])).await;
    assert_eq!((applied.state.pending, applied.journaled.len()), (0, 1));
    assert!(device.docs.get("a").await.unwrap().is_none());
    let journal = device.db.journal().list(None, 10).await.unwrap();
    let entry = &journal[0];
    assert_eq!(
        (entry.kind, entry.rule.as_str()),
        (JournalKind::Refusal, "access-revoked")
    );
    assert_eq!(entry.code.as_deref(), Some("forbidden"));
    let document = &entry.documents[0];
    assert!(document.local.body.is_some() && !document.erased);
    assert!(
        document
            .base
            .as_ref()
            .is_none_or(|base| base.body.is_none())
    );
    assert!(document.remote.is_none());
}

#[tokio::test]
async fn what_is_on_its_way_is_answered_first() {
    let device = Device::new().await;
    device.edit("a", "my-words").await;
    assert_eq!(device.replica.pin(LIMIT).await.unwrap().mutations.len(), 1);
    let applied = device.apply(page(2, 3, Vec::new(), vec![("a", 3)])).await;
    assert_eq!(applied.state.pending, 1, "it may have to be sent again");
    let refused = Outcome::Rejected {
        code: "forbidden".into(),
        reason: "no".into(),
        server_time: None,
    };
    let settled = device
        .replica
        .settle(MutationNumber::new(1), vec![refused], Arc::new(LocalWins))
        .await
        .unwrap();
    assert_eq!((settled.state.pending, settled.journaled.len()), (0, 1));
    assert!(device.docs.get_document("a").await.unwrap().is_none());
}

#[tokio::test]
async fn what_others_wrote_leaves_the_journal_too() {
    let device = Device::new().await;
    device.edit("a", "my-words").await;
    let newer = Record {
        state: record("newer", 3).state,
        ..record("a", 3)
    };
    device.apply(page(2, 3, vec![newer], Vec::new())).await;
    assert_eq!(device.replica.pin(LIMIT).await.unwrap().mutations.len(), 1);
    let first = Seq::new(4);
    device
        .replica
        .settle(
            MutationNumber::new(1),
            vec![Outcome::Applied { first }],
            Arc::new(LocalWins),
        )
        .await
        .unwrap();
    assert!(device.holds("secret-of-newer").await);
    device.apply(page(3, 5, Vec::new(), vec![("a", 5)])).await;
    assert!(!device.holds("secret-of-newer").await);
    let journal = device.db.journal().list(None, 10).await.unwrap();
    let document = &journal[0].documents[0];
    assert!(document.local.body.is_some());
    assert!(document.remote.as_ref().unwrap().body.is_none());
    assert!(document.base.as_ref().unwrap().body.is_none());
}

#[tokio::test]
async fn other_rights_than_the_checkpoint_speaks_for_have_everything_read_again() {
    let device = Device::new().await;
    let same = device.attach(None).await;
    assert_eq!(same.checkpoint.seq, Seq::new(2));
    let changed = device.attach(Some(b"12345678")).await;
    assert_eq!(
        (changed.checkpoint.seq, changed.checkpoint.epoch),
        (Seq::ZERO, None)
    );
    assert_eq!(changed.checkpoint.rights.as_deref(), Some(&b"12345678"[..]));
    device
        .apply(page(0, 2, vec![record("a", 1)], Vec::new()))
        .await;
    let same = device.attach(Some(b"12345678")).await;
    assert_eq!(same.checkpoint.seq, Seq::new(2));
}

/// A user made a document that he gave away at once: the word that he may not read it overtook the answer to his push,
/// as it does over HTTP when an answer gets lost. The document stayed on his device for ever.
#[tokio::test]
async fn a_removal_that_comes_before_the_answer_to_what_was_given_away_counts() {
    let device = Device::new().await;
    let given = Value::from_json_str(r#"{"_id":"given","mine":"my-words"}"#).unwrap();
    device.docs.insert(&given).await.unwrap();
    assert_eq!(device.replica.pin(LIMIT).await.unwrap().mutations.len(), 1);
    device
        .apply(page(2, 3, Vec::new(), vec![("given", 3)]))
        .await;
    let first = Seq::new(3);
    let applied = vec![Outcome::Applied { first }];
    device
        .replica
        .settle(MutationNumber::new(1), applied, Arc::new(LocalWins))
        .await
        .unwrap();
    assert!(device.docs.get_document("given").await.unwrap().is_none());
    // Given back, it is a document like any other.
    device
        .apply(page(3, 4, vec![record("given", 4)], Vec::new()))
        .await;
    assert!(device.docs.get("given").await.unwrap().is_some());
}

/// A delete of a document that a device lost the right to read was dropped as if both sides had deleted it.
#[tokio::test]
async fn a_delete_of_what_may_not_be_read_any_more_is_journaled() {
    let device = Device::new().await;
    device.docs.delete("a").await.unwrap();
    assert_eq!(device.replica.pin(LIMIT).await.unwrap().mutations.len(), 1);
    device.apply(page(2, 3, Vec::new(), vec![("a", 3)])).await;
    let conflict = vec![Outcome::Conflict {
        seqs: vec![Seq::new(3)],
    }];
    let settled = device
        .replica
        .settle(MutationNumber::new(1), conflict, Arc::new(LocalWins))
        .await
        .unwrap();
    assert_eq!((settled.state.pending, settled.journaled.len()), (0, 1));
}

/// Found by the simulator: a change was answered when a reading from the start had passed its place and not shown it. It
/// counted as deleted since, where it was only hidden; so when the right came back, the document did not.
#[tokio::test]
async fn a_document_that_a_first_reading_hid_comes_back_with_the_right_to_read_it() {
    let device = Device::new().await;
    device.attach(Some(b"few")).await;
    let mine = Value::from_json_str(r#"{"_id":"c","mine":"words"}"#).unwrap();
    device.docs.insert(&mine).await.unwrap();
    let everything = || vec![record("a", 1), record("b", 2)];
    device.apply(page(0, 4, everything(), Vec::new())).await;
    device.replica.sweep(Arc::new(LocalWins)).await.unwrap();
    let pinned = device.replica.pin(LIMIT).await.unwrap().mutations;
    let outcome = vec![Outcome::Applied { first: Seq::new(3) }];
    let first = MutationNumber::new(1);
    let settled = device.replica.settle(first, outcome, Arc::new(LocalWins));
    assert_eq!(settled.await.unwrap().state.pending, 0);
    assert!(
        device.docs.get("c").await.unwrap().is_none(),
        "it is hidden"
    );

    device.attach(Some(b"more")).await;
    let change = &pinned[0].changes()[0];
    let shown = Record {
        rev: change.rev,
        state: RecordState::Live(change.kind.body().unwrap().clone()),
        ..record("c", 3)
    };
    let records = [everything(), vec![shown]].concat();
    device.apply(page(0, 4, records, Vec::new())).await;
    assert_eq!(device.docs.get("c").await.unwrap(), Some(mine));
}

/// Found by the simulator: nothing of the document was here when it was withdrawn, so it counted as the user's own, and
/// the journal kept what another user had written there.
#[tokio::test]
async fn what_others_wrote_leaves_the_journal_of_a_document_that_is_not_here_any_more() {
    let device = Device::new().await;
    device.edit("a", "my-words").await;
    let newer = Record {
        state: record("newer", 3).state,
        ..record("a", 3)
    };
    device.apply(page(2, 3, vec![newer], Vec::new())).await;
    assert_eq!(device.replica.pin(LIMIT).await.unwrap().mutations.len(), 1);
    let applied = Outcome::Applied { first: Seq::new(4) };
    let (number, resolver) = (MutationNumber::new(1), Arc::new(LocalWins));
    let settled = device.replica.settle(number, vec![applied], resolver);
    settled.await.unwrap();
    assert!(device.holds("secret-of-newer").await);
    device.replica.begin_resync().await.unwrap();
    device.apply(page(0, 4, Vec::new(), Vec::new())).await;
    device.replica.sweep(Arc::new(LocalWins)).await.unwrap();
    assert!(device.docs.get_document("a").await.unwrap().is_none());

    device.apply(page(4, 5, Vec::new(), vec![("a", 5)])).await;
    assert!(!device.holds("secret-of-newer").await);
    let journal = device.db.journal().list(None, 10).await.unwrap();
    assert!(journal[0].documents[0].local.body.is_some());
}

/// Found by the simulator: two erases were one mutation, and the right to read the first document ended before it was sent.
/// The whole was lost, as it should be, and of the second document nothing was left here and nothing came again: the device
/// said that it held what the server has.
#[tokio::test]
async fn what_was_erased_beside_a_document_that_may_no_longer_be_read_is_read_again() {
    for makes_anew in [false, true] {
        let device = Device::new().await;
        let mut tx = device.db.transaction();
        tx.hard_delete(&device.docs, "a").unwrap();
        tx.hard_delete(&device.docs, "b").unwrap();
        if makes_anew {
            let made = Value::from_json_str(r#"{"_id":"c","mine":"words"}"#).unwrap();
            tx.insert(&device.docs, &made).unwrap();
        }
        tx.commit().await.unwrap();
        let applied = device.apply(page(2, 3, Vec::new(), vec![("a", 3)])).await;
        let state = applied.state;
        assert_eq!((state.pending, state.checkpoint.joining.len()), (0, 1));
        assert!(!applied.journaled.is_empty());
        let joining = IncomingPage {
            kind: PageKind::Joining(name()),
            ..page(0, 3, vec![record("b", 2)], Vec::new())
        };
        let read = device.apply(joining).await;
        assert!(read.state.checkpoint.joining.is_empty());
        assert!(device.docs.get("b").await.unwrap().is_some());
        for gone in ["a", "c"] {
            assert!(device.docs.get_document(gone).await.unwrap().is_none());
        }
    }
}

/// Nobody but this user hears of what may not be read any more: its erase is given up, and costs no reading.
#[tokio::test]
async fn an_erase_of_what_may_no_longer_be_read_ends_without_a_reading() {
    let device = Device::new().await;
    device.docs.hard_delete("a").await.unwrap();
    let applied = device.apply(page(2, 3, Vec::new(), vec![("a", 3)])).await;
    let state = applied.state;
    assert_eq!((state.pending, applied.journaled.len()), (0, 1));
    assert!(state.checkpoint.joining.is_empty() && !state.checkpoint.resyncing);
}
