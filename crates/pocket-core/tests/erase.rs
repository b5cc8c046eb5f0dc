//! An erase leaves nothing of the content on a device: not in shadows, bases, outbox or journal.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::{
    Applied, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope, Settled,
};
use pocket_core::{
    Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy, Database,
    DocumentId, DocumentLimits, Epoch, Hlc, Mutation, MutationNumber, Outcome, PushLimit, Record,
    RecordState, Revision, Seq, Target, Timestamp, Value,
};
use pocket_storage::{Direction, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

/// The local version always wins, but for what beats every strategy.
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

impl Device {
    async fn new() -> Self {
        let storage = MemoryStorage::new();
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
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

    /// A device that knows document `a` of the server, with this text at place 1.
    async fn knowing(text: &str) -> Self {
        let device = Self::new().await;
        device.page(0, vec![record(1, text)]).await;
        device
    }

    async fn edit(&self, text: &str) {
        self.docs.update("a", &json!({"text": text})).await.unwrap();
    }

    async fn pin(&self) -> Vec<Mutation> {
        let limit = PushLimit {
            changes: 100,
            bytes: 1 << 20,
        };
        self.replica.pin(limit).await.unwrap().mutations
    }

    async fn page(&self, start: u64, records: Vec<Record>) -> Applied {
        let end = records.last().unwrap().seq;
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: Epoch::from_bytes([1; 16]),
            start: Seq::new(start),
            end,
            head: end,
            records,
            removals: Vec::new(),
        };
        self.replica.apply(page, Arc::new(LocalWins)).await.unwrap()
    }

    async fn settle(&self, first: u64, outcome: Outcome) -> Settled {
        self.replica
            .settle(
                MutationNumber::new(first),
                vec![outcome],
                Arc::new(LocalWins),
            )
            .await
            .unwrap()
    }

    /// Whether a text lies anywhere in the store.
    async fn holds(&self, text: &str) -> bool {
        let all = self
            .storage
            .scan(
                KeyRange::all(),
                ScanLimit::entries(usize::MAX).bytes(usize::MAX),
                Direction::Forward,
            )
            .await
            .unwrap();
        let text = text.as_bytes();
        all.iter()
            .any(|(_, value)| value.windows(text.len()).any(|window| window == text))
    }

    async fn journaled(&self) -> usize {
        self.db.journal().list(None, 100).await.unwrap().len()
    }
}

fn record(seq: u64, text: &str) -> Record {
    let (_, body) =
        Body::from_serialize(&json!({ "text": text }), &DocumentLimits::default()).unwrap();
    Record {
        state: RecordState::Live(body),
        ..erased(seq)
    }
}

fn erased(seq: u64) -> Record {
    let time = Timestamp::from_millis(1_000 + i64::try_from(seq).unwrap());
    Record {
        collection: CollectionName::new("docs").unwrap(),
        id: DocumentId::new("a").unwrap(),
        rev: Revision::new(Hlc::from_time(time), ClientId::from_bytes([9; 16])),
        seq: Seq::new(seq),
        state: RecordState::Erased,
    }
}

fn applied(seq: u64) -> Outcome {
    Outcome::Applied {
        first: Seq::new(seq),
    }
}

fn rejected() -> Outcome {
    Outcome::Rejected {
        code: "forbidden".into(),
        reason: "no".into(),
        server_time: None,
    }
}

#[tokio::test]
async fn a_pending_change_to_an_erased_document_loses_and_is_journaled_without_bodies() {
    let device = Device::knowing("their-secret").await;
    device.edit("my-secret").await;
    assert!(device.holds("their-secret").await && device.holds("my-secret").await);
    device.page(1, vec![erased(2)]).await;
    let journal = device.db.journal().list(None, 10).await.unwrap();
    assert_eq!((journal.len(), journal[0].rule.as_str()), (1, "erased"));
    let document = &journal[0].documents[0];
    assert_eq!(document.local.body, None);
    assert!(document.base.as_ref().unwrap().body.is_none());
    assert!(!device.holds("their-secret").await && !device.holds("my-secret").await);
    assert_eq!(device.db.stats().await.unwrap().pending_changes, 0);
}

#[tokio::test]
async fn what_is_on_its_way_keeps_its_own_body_until_it_is_answered() {
    let device = Device::knowing("their-secret").await;
    device.edit("my-secret").await;
    assert_eq!(device.pin().await.len(), 1);
    device.page(1, vec![erased(2)]).await;
    assert!(
        !device.holds("their-secret").await,
        "base and shadow are gone"
    );
    assert!(
        device.holds("my-secret").await,
        "it may have to be sent again"
    );
    let conflict = Outcome::Conflict {
        seqs: vec![Seq::new(2)],
    };
    device.settle(1, conflict).await;
    assert!(!device.holds("my-secret").await);
    assert_eq!(device.journaled().await, 1);
}

#[tokio::test]
async fn entries_of_the_journal_stay_without_bodies() {
    let device = Device::knowing("their-secret").await;
    device.edit("my-secret").await;
    // A conflict that the local version wins: base, local and remote are in the journal.
    device.page(1, vec![record(2, "newer-secret")]).await;
    assert_eq!(device.pin().await.len(), 1);
    device.settle(1, applied(3)).await;
    for text in ["their-secret", "my-secret", "newer-secret"] {
        assert!(device.holds(text).await, "{text}");
    }
    device.page(2, vec![erased(4)]).await;
    for text in ["their-secret", "my-secret", "newer-secret"] {
        assert!(!device.holds(text).await, "{text}");
    }
    assert_eq!(device.journaled().await, 1);
}

#[tokio::test]
async fn a_hard_delete_here_forgets_the_same_at_once() {
    let device = Device::knowing("their-secret").await;
    device.edit("my-secret").await;
    device.page(1, vec![record(2, "newer-secret")]).await;
    device.docs.hard_delete("a").await.unwrap();
    for text in ["their-secret", "my-secret", "newer-secret"] {
        assert!(!device.holds(text).await, "{text}");
    }
    assert_eq!(device.journaled().await, 1);
    assert_eq!(device.pin().await.len(), 1, "the erase travels");
}

#[tokio::test]
async fn an_entry_written_between_a_hard_delete_and_its_outcome_loses_its_bodies_too() {
    let device = Device::knowing("their-secret").await;
    device.edit("my-secret").await;
    assert_eq!(device.pin().await.len(), 1);
    device.docs.hard_delete("a").await.unwrap();
    device.settle(1, rejected()).await;
    assert_eq!(device.pin().await.len(), 1);
    device.settle(2, applied(2)).await;
    assert_eq!(device.journaled().await, 1);
    for text in ["their-secret", "my-secret"] {
        assert!(!device.holds(text).await, "{text}");
    }
}

#[tokio::test]
async fn a_refused_erase_has_its_collection_read_again() {
    let device = Device::knowing("theirs").await;
    device.docs.hard_delete("a").await.unwrap();
    device.pin().await;
    let state = device.settle(1, rejected()).await.state;
    assert_eq!(state.checkpoint.joining.len(), 1);
    let name = CollectionName::new("docs").unwrap();
    let page = IncomingPage {
        kind: PageKind::Joining(name),
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::ZERO,
        end: Seq::new(1),
        head: Seq::new(1),
        records: vec![record(1, "theirs")],
        removals: Vec::new(),
    };
    let resolver = Arc::new(LocalWins);
    device.replica.apply(page, resolver).await.unwrap();
    assert!(device.docs.get("a").await.unwrap().is_some());
    let state = device.replica.load(&Scope::All).await.unwrap();
    assert!(state.checkpoint.joining.is_empty());
}

/// Found by digests, in the simulator: what the device had made took effect behind its checkpoint, and was erased there
/// before it was read. A reading of the collection up to the checkpoint did not show it, and no server sends a session back
/// what it pushed: the document was missing.
#[tokio::test]
async fn what_a_refused_erase_leaves_behind_the_checkpoint_is_shown_by_reading_everything_again() {
    for makes_anew in [false, true] {
        let device = Device::new().await;
        let start = Seq::ZERO;
        let nothing = IncomingPage {
            kind: PageKind::Feed,
            epoch: Epoch::from_bytes([1; 16]),
            start,
            end: start,
            head: start,
            records: Vec::new(),
            removals: Vec::new(),
        };
        let resolver = Arc::new(LocalWins);
        device.replica.apply(nothing, resolver).await.unwrap();
        let document = json!({"_id": "a", "text": "mine"});
        let document = Value::from_json_str(&document.to_string()).unwrap();
        device.docs.insert(&document).await.unwrap();
        device.pin().await;
        device.settle(1, applied(1)).await;
        device.docs.hard_delete("a").await.unwrap();
        if makes_anew {
            device.docs.insert(&document).await.unwrap();
        }
        device.pin().await;
        let state = device.settle(2, rejected()).await.state;
        assert!(state.checkpoint.resyncing);
    }
}

/// An erase was made while an edit was on its way: the edit took effect, the erase was refused, and the document was back
/// with its body. It was stored as if the server had never had it, so its removal was passed over.
#[tokio::test]
async fn a_document_that_a_refused_erase_brought_back_leaves_when_it_may_no_longer_be_read() {
    let device = Device::knowing("theirs").await;
    device.edit("mine").await;
    assert_eq!(device.pin().await.len(), 1);
    device.docs.hard_delete("a").await.unwrap();
    device.settle(1, applied(2)).await;
    assert_eq!(device.pin().await.len(), 1);
    device.settle(2, rejected()).await;
    assert!(device.docs.get("a").await.unwrap().is_some());

    let name = CollectionName::new("docs").unwrap();
    let joining = IncomingPage {
        kind: PageKind::Joining(name.clone()),
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::ZERO,
        end: Seq::new(1),
        head: Seq::new(3),
        records: Vec::new(),
        removals: Vec::new(),
    };
    let hidden = IncomingPage {
        kind: PageKind::Feed,
        start: Seq::new(1),
        end: Seq::new(3),
        removals: vec![(name, DocumentId::new("a").unwrap(), Seq::new(3))],
        ..joining.clone()
    };
    for page in [joining, hidden] {
        let resolver = Arc::new(LocalWins);
        device.replica.apply(page, resolver).await.unwrap();
    }
    assert!(device.docs.get("a").await.unwrap().is_none());
}

/// Found by digests, in the simulator: a document was erased and made anew, and both outcomes came together. The base of a
/// later edit was the only copy of what had been made, and was forgotten with what was erased; so when the edit was refused
/// the document was gone.
#[tokio::test]
async fn what_is_made_anew_after_an_erase_survives_the_refusal_of_a_later_edit() {
    let device = Device::knowing("old").await;
    device.docs.hard_delete("a").await.unwrap();
    let anew = Value::from_json_str(r#"{"_id":"a","text":"anew"}"#).unwrap();
    device.docs.insert(&anew).await.unwrap();
    assert_eq!(device.pin().await.len(), 2);
    device.edit("later").await;
    assert_eq!(device.pin().await.len(), 1);
    let outcomes = [2, 3].map(|place| Outcome::Applied {
        first: Seq::new(place),
    });
    device
        .replica
        .settle(MutationNumber::new(1), outcomes.into(), Arc::new(LocalWins))
        .await
        .unwrap();
    let refused = Outcome::Rejected {
        code: "forbidden".into(),
        reason: "no".into(),
        server_time: None,
    };
    device.settle(3, refused).await;
    let stands = device.docs.get("a").await.unwrap().unwrap();
    assert_eq!(stands, anew);
    assert!(!device.holds("old").await);
}

/// Found by the simulator: the hard delete took the server's body along, and with it all that was known of the server's
/// version. So the conflict of an earlier change seemed to have no reason, and the change was sent again for ever.
#[tokio::test]
async fn a_conflict_of_a_document_that_was_hard_deleted_here_meanwhile_is_settled() {
    let device = Device::new().await;
    let mut tx = device.db.transaction();
    for document in [
        r#"{"_id":"a","text":"mine"}"#,
        r#"{"_id":"b","text":"other"}"#,
    ] {
        let document = Value::from_json_str(document).unwrap();
        tx.insert(&device.docs, &document).unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(device.pin().await.len(), 1);
    device.page(0, vec![record(1, "theirs")]).await;
    device.docs.hard_delete("a").await.unwrap();
    let conflict = Outcome::Conflict {
        seqs: vec![Seq::new(1)],
    };
    device.settle(1, conflict).await;
    assert_eq!(device.journaled().await, 1);
    assert!(
        device.docs.get("b").await.unwrap().is_none(),
        "it lost whole"
    );
    let pushed = device.pin().await;
    assert_eq!(pushed.len(), 1, "the erase");
    device.settle(2, applied(2)).await;
    assert!(!device.holds("mine").await && !device.holds("theirs").await);
    assert_eq!(device.db.stats().await.unwrap().pending_changes, 0);
}

/// Found by the simulator: the outcomes of an erase and of what was made anew behind it came together, and the bodies of
/// the conflict that the latter met went with what was erased. What lost it was nowhere any more.
#[tokio::test]
async fn a_conflict_of_what_was_made_anew_behind_an_erase_keeps_its_bodies() {
    let device = Device::knowing("old").await;
    device.docs.hard_delete("a").await.unwrap();
    let anew = Value::from_json_str(r#"{"_id":"a","text":"mine"}"#).unwrap();
    device.docs.insert(&anew).await.unwrap();
    assert_eq!(device.pin().await.len(), 2);
    device.page(1, vec![record(3, "theirs")]).await;
    let conflict = Outcome::Conflict {
        seqs: vec![Seq::new(3)],
    };
    device
        .replica
        .settle(
            MutationNumber::new(1),
            vec![applied(2), conflict],
            Arc::new(LocalWins),
        )
        .await
        .unwrap();
    let journal = device.db.journal().list(None, 10).await.unwrap();
    let lost = journal[0].documents[0].remote.as_ref().unwrap();
    assert!(lost.body.is_some());
    assert!(device.holds("theirs").await && !device.holds("old").await);
}

/// An erase stands on everything, so no server of ours answers it so.
#[tokio::test]
async fn an_erase_that_is_answered_with_a_conflict_is_refused_and_makes_no_document_up() {
    let device = Device::knowing("their-secret").await;
    device.docs.hard_delete("a").await.unwrap();
    assert_eq!(device.pin().await.len(), 1);
    let conflict = Outcome::Conflict {
        seqs: vec![Seq::new(2)],
    };
    let settled = device.settle(1, conflict).await;
    assert_eq!((settled.rejected, settled.conflicts), (1, 0));
    device.page(1, vec![record(2, "newer")]).await;
    let journal = device.db.journal().list(None, 10).await.unwrap();
    assert_eq!(journal.len(), 1);
    assert_eq!(journal[0].code.as_deref(), Some("unexpected-message"));
    assert_eq!(device.db.stats().await.unwrap().pending_changes, 0);
    // What is there is what the server shows, with its body.
    let there = device.docs.get("a").await.unwrap().unwrap();
    assert_eq!(
        there.to_json_string().unwrap(),
        r#"{"_id":"a","text":"newer"}"#
    );
}

fn clock_refusal() -> Outcome {
    Outcome::Rejected {
        code: "clock".to_owned(),
        reason: String::new(),
        server_time: Some(Timestamp::from_millis(1_000)),
    }
}

/// A device that erased a document and made it anew, both on their way; the erase was refused for its clock, and waits for
/// what becomes of the other. Sent behind that, it would take it away.
async fn whose_erase_is_refused() -> Device {
    let device = Device::knowing("old").await;
    device.docs.hard_delete("a").await.unwrap();
    let anew = Value::from_json_str(r#"{"_id":"a","text":"mine"}"#).unwrap();
    device.docs.insert(&anew).await.unwrap();
    assert_eq!(device.pin().await.len(), 2);
    device.settle(1, clock_refusal()).await;
    assert!(device.pin().await.is_empty());
    device
}

/// Found by the simulator, in another order: what was made anew was refused before the erase took effect, and the entry about
/// it kept what the server had had.
#[tokio::test]
async fn an_erase_that_was_sent_again_takes_the_servers_version_out_of_earlier_entries() {
    let device = whose_erase_is_refused().await;
    device.page(1, vec![record(3, "theirs")]).await;
    let settled = device.settle(2, rejected()).await;
    assert_eq!(settled.journaled.len(), 1);
    assert_eq!(device.pin().await.len(), 1, "the erase again");
    device.settle(3, applied(4)).await;
    assert!(!device.holds("theirs").await && !device.holds("old").await);
    assert!(device.docs.get("a").await.unwrap().is_none());
}

/// Whoever made it anew had erased what was there before.
#[tokio::test]
async fn an_erase_that_was_refused_does_not_take_what_was_made_anew_and_took_effect() {
    let device = whose_erase_is_refused().await;
    device.settle(2, applied(2)).await;
    assert!(device.pin().await.is_empty());
    assert!(device.holds("mine").await && !device.holds("old").await);
    assert!(device.docs.get("a").await.unwrap().is_some());
    assert_eq!(device.db.stats().await.unwrap().pending_changes, 0);
}
