//! Documents that expire in collections that sync: nobody's edit is lost to it, and all devices agree.

mod conflicts;

use pocket_core::replica::{
    Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope, ServerLog,
};
use pocket_core::{
    Binding, Body, Change, ChangeKind, ClientId, CollectionName, ConflictStrategy, DocumentId,
    DocumentLimits, Epoch, Hlc, Lineage, MutationContent, MutationNumber, Outcome, PushLimit,
    Record, RecordState, Revision, Seq, SessionToken, Target,
};

use super::*;

/// A rule by which every conflict would be lost to the local side.
struct Local;

impl Resolver for Local {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "client-wins")
    }
}

struct Device {
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    clock: Clock,
}

const NOW: i64 = 1_000;
const EPOCH: Epoch = Epoch::from_bytes([3; 16]);

impl Device {
    /// A device that is attached, with the server's version 1 of document "a", which expires at 2,000 seconds.
    async fn new() -> Self {
        let device = Self::on(Arc::new(MemoryStorage::new()), Clock::at(NOW)).await;
        device.attach(device.clock.now()).await;
        device.arrive(1, Some(until("a", 2_000)), NOW).await;
        device
    }

    /// A device that met no server since it was started.
    async fn on(storage: Arc<dyn Storage>, clock: Clock) -> Self {
        let config = CollectionConfig::new("docs")
            .sync(true)
            .conflict_strategy(ConflictStrategy::ClientWins)
            .ttl(Ttl::at_field("until"));
        let db = open_on(storage, &clock, config).await;
        let replica = Replica::new(&db, Target::DEFAULT);
        replica.load(&Scope::All).await.unwrap();
        Self {
            docs: db.collection("docs").unwrap(),
            db,
            replica,
            clock,
        }
    }

    async fn attach(&self, server_time: Timestamp) {
        self.attach_to(server_time, ServerLog::default()).await;
    }

    async fn attach_to(&self, server_time: Timestamp, log: ServerLog) {
        let attachment = Attachment {
            binding: Binding {
                lineage: Lineage::from_bytes([1; 16]),
                namespace: "n".into(),
                user: "u".into(),
            },
            token: SessionToken::from_bytes([2; 16]),
            server_time,
            since_asked: std::time::Duration::ZERO,
            rights: None,
            log,
        };
        self.replica.attach(&attachment).await.unwrap();
    }

    /// A version of document "a" by another device arrives.
    async fn arrive(&self, seq: u64, document: Option<Value>, written: i64) {
        self.arrive_at(seq, document, Hlc::from_time(seconds(written)))
            .await;
    }

    async fn arrive_at(&self, seq: u64, document: Option<Value>, hlc: Hlc) {
        let limits = DocumentLimits::default();
        let state = document.map_or(RecordState::Deleted, |document| {
            RecordState::Live(Body::from_serialize(&document, &limits).unwrap().1)
        });
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: EPOCH,
            start: Seq::new(seq - 1),
            end: Seq::new(seq),
            head: Seq::new(seq),
            records: vec![Record {
                collection: CollectionName::new("docs").unwrap(),
                id: DocumentId::new("a").unwrap(),
                rev: Revision::new(hlc, ClientId::from_bytes([9; 16])),
                seq: Seq::new(seq),
                state,
            }],
            removals: Vec::new(),
        };
        self.replica.apply(page, Arc::new(Local)).await.unwrap();
    }

    /// What is sent, as changes, with the number of the first mutation.
    async fn sent(&self) -> (Option<MutationNumber>, Vec<Change>) {
        let limit = PushLimit {
            changes: 100,
            bytes: 1 << 20,
        };
        let mutations = self.replica.pin(limit).await.unwrap().mutations;
        let first = mutations.first().map(|mutation| mutation.number);
        let changes = mutations.into_iter().flat_map(|it| match it.content {
            MutationContent::Changes(changes) => changes,
            MutationContent::Withdrawn => panic!("nothing was withdrawn"),
        });
        (first, changes.collect())
    }

    async fn answer(&self, first: MutationNumber, outcome: Outcome) {
        let settled = self.replica.settle(first, vec![outcome], Arc::new(Local));
        settled.await.unwrap();
    }

    /// Pending mutations and entries of the journal.
    async fn left(&self) -> (u64, usize) {
        let pending = self.db.stats().await.unwrap().pending_changes;
        let journal = self.db.journal().list(None, 100).await.unwrap();
        (pending, journal.len())
    }

    /// The sweep of a sync client whose server has the time of this device.
    async fn expire(&self) -> u64 {
        self.expire_at(self.clock.now()).await
    }

    async fn expire_at(&self, server_time: Timestamp) -> u64 {
        self.replica.expire(server_time).await.unwrap()
    }
}

/// A document that expires at a second, with something beside.
fn numbered(id: &str, seconds: i64) -> Value {
    let Value::Map(mut map) = until(id, seconds) else {
        unreachable!("it is a map")
    };
    map.insert("n", 1);
    Value::Map(map)
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

#[tokio::test]
async fn an_expired_document_is_deleted_on_the_version_that_expired() {
    let device = Device::new().await;
    device.clock.set(1_999);
    assert_eq!(device.expire().await, 0);
    device.clock.set(2_000);
    assert_eq!(device.expire().await, 1);
    let (_, changes) = device.sent().await;
    let [change] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    let base = change.base.unwrap();
    assert_eq!(base.hlc, Hlc::from_time(seconds(NOW)));
    // The smallest step in time: whoever edited that version did so later.
    assert_eq!(change.rev.hlc.bits(), base.hlc.bits() + 1);
    assert_eq!(change.kind, ChangeKind::Delete);
}

#[tokio::test]
async fn what_has_a_pending_edit_waits_for_it_and_what_was_never_sent_just_goes() {
    let device = Device::new().await;
    device.docs.upsert(&until("a", 2_100)).await.unwrap();
    device.docs.insert(&until("b", 2_100)).await.unwrap();
    device.clock.set(2_100);
    assert_eq!(device.left().await.0, 2);
    assert_eq!(device.expire().await, 1, "one was never sent");
    assert_eq!(device.left().await.0, 1);
    assert!(ids(&device.docs).await.is_empty());
    let (first, changes) = device.sent().await;
    assert!(
        matches!(changes[0].kind, ChangeKind::Put(_)),
        "the edit is sent"
    );
    assert_eq!(device.expire().await, 0);
    let applied = Outcome::Applied { first: Seq::new(2) };
    device.answer(first.unwrap(), applied).await;
    assert_eq!(device.expire().await, 1);
    let (_, changes) = device.sent().await;
    assert_eq!(changes[0].kind, ChangeKind::Delete);
}

#[tokio::test]
async fn a_deletion_that_the_server_refuses_leaves_the_document_hidden_and_is_not_sent_again() {
    let device = Device::new().await;
    device.clock.set(2_000);
    assert_eq!(device.expire().await, 1);
    let (first, _) = device.sent().await;
    let refused = Outcome::Rejected {
        code: "forbidden".into(),
        reason: "this user may only read".into(),
        server_time: None,
    };
    device.answer(first.unwrap(), refused).await;
    assert_eq!(device.left().await, (0, 0));
    assert!(ids(&device.docs).await.is_empty());
    assert_eq!(device.expire().await, 0, "it would be refused for ever");
    // What somebody writes is looked at again.
    device.arrive(2, Some(until("a", 3_000)), 2_500).await;
    assert_eq!(ids(&device.docs).await, ["a"]);
    device.clock.set(3_000);
    assert_eq!(device.expire().await, 1);
}

#[tokio::test]
async fn an_edit_that_leaves_the_time_alone_has_a_document_looked_at_again_that_was_given_up() {
    let device = Device::new().await;
    device.clock.set(2_000);
    assert_eq!(device.expire().await, 1);
    let (first, _) = device.sent().await;
    let refused = Outcome::Rejected {
        code: "forbidden".into(),
        reason: "this user may only read".into(),
        server_time: None,
    };
    device.answer(first.unwrap(), refused).await;
    assert_eq!(device.expire().await, 0);
    device.arrive(2, Some(numbered("a", 2_000)), 2_500).await;
    assert_eq!(device.expire().await, 1);
    assert_eq!(device.sent().await.1.len(), 1);
}

#[tokio::test]
async fn a_document_that_comes_back_by_sync_with_a_value_that_was_taken_is_told_by_the_journal() {
    let device = Device::new().await;
    let index = IndexConfig::new("n").unique();
    device.docs.create_index(index).await.unwrap();
    device.arrive(2, Some(numbered("a", 2_000)), 1_100).await;
    device.clock.set(2_000);
    device.docs.insert(&numbered("b", 9_000)).await.unwrap();
    // Another version that is over still.
    device.arrive(3, Some(numbered("a", 1_999)), 1_200).await;
    assert_eq!(device.left().await, (1, 0));
    device.arrive(4, Some(numbered("a", 3_000)), 1_300).await;
    assert_eq!(ids(&device.docs).await, ["a", "b"]);
    assert_eq!(device.left().await, (1, 1));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_corrected_by_that_of_the_server() {
    let device = Device::new().await;
    // The server's clock is 1,500 s ahead of this one's.
    assert_eq!(ids(&device.docs).await, ["a"]);
    device.attach(seconds(NOW + 1_500)).await;
    assert!(ids(&device.docs).await.is_empty());
    assert_eq!(device.expire_at(seconds(NOW + 1_500)).await, 1);
}

#[tokio::test]
async fn a_clock_that_was_set_wrong_between_two_starts_deletes_nothing_that_others_have() {
    let storage = Arc::new(MemoryStorage::new());
    let device = Device::on(storage.clone(), Clock::at(NOW)).await;
    device.attach(seconds(NOW)).await;
    device.arrive(1, Some(until("a", 2_000)), NOW).await;
    device.docs.insert(&until("b", 2_000)).await.unwrap();
    drop(device);
    // Years ahead, and nobody was asked what time it is.
    let device = Device::on(storage, Clock::at(1_000_000)).await;
    assert_eq!(
        device.left().await,
        (0, 0),
        "what was only here went at once"
    );
    assert!(ids(&device.docs).await.is_empty(), "it is hidden");
    assert_eq!(device.db.expire().await.unwrap(), 0);
    assert!(device.sent().await.1.is_empty());
    // The server tells the time.
    device.attach(seconds(NOW + 1)).await;
    assert_eq!(ids(&device.docs).await, ["a"]);
    assert_eq!(device.expire_at(seconds(NOW + 1)).await, 0);
    // While the process runs, the clock is set again.
    device.clock.set(9_000_000);
    assert_eq!(device.expire_at(seconds(NOW + 2)).await, 0);
    assert_eq!(device.db.expire().await.unwrap(), 0);
    assert_eq!(device.left().await, (0, 0));
    assert_eq!(device.expire_at(seconds(2_000)).await, 1);
    assert_eq!(device.sent().await.1[0].kind, ChangeKind::Delete);
}

#[tokio::test]
async fn what_brings_back_what_a_restored_server_lost_waits_until_it_is_settled() {
    let device = Device::new().await;
    device.arrive(2, Some(until("a", 2_000)), NOW + 1).await;
    // The backup was made before that, and the document was deleted since.
    let restored = Epoch::from_bytes([4; 16]);
    let log = ServerLog {
        epochs: vec![(EPOCH, Seq::new(1)), (restored, Seq::new(2))],
        head: Seq::new(2),
        ..ServerLog::default()
    };
    device.attach_to(seconds(NOW), log).await;
    let page = IncomingPage {
        kind: PageKind::Feed,
        epoch: restored,
        start: Seq::ZERO,
        end: Seq::new(2),
        head: Seq::new(2),
        records: Vec::new(),
        removals: Vec::new(),
    };
    device.replica.apply(page, Arc::new(Local)).await.unwrap();
    device.replica.sweep(Arc::new(Local)).await.unwrap();
    assert_eq!(device.left().await, (1, 0), "it is brought back");
    device.clock.set(2_000);
    assert_eq!(device.db.expire().await.unwrap(), 0);
    assert_eq!(device.expire().await, 0);
    let (_, changes) = device.sent().await;
    assert!(matches!(changes[0].kind, ChangeKind::Put(_)));
}
