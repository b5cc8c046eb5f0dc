//! Sync of a collection is switched off and on again: what the device wrote meanwhile, and what the server has.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::replica::{
    Applied, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver,
};
use pocket_core::{
    Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy, Database,
    DocumentId, DocumentLimits, Epoch, Hlc, JournalKind, Mutation, MutationNumber, Outcome,
    PushLimit, Record, RecordState, Revision, Seq, Target, Timestamp, Value,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

/// Nothing here is in conflict.
struct Nobody;

impl Resolver for Nobody {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "nobody")
    }
}

struct Device {
    db: Database,
    notes: Collection<Value>,
    replica: Replica,
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

/// The only record of the server.
fn theirs() -> Record {
    let limits = DocumentLimits::default();
    let (_, body) = Body::from_serialize(&value(r#"{"n":1}"#), &limits).unwrap();
    Record {
        collection: CollectionName::new("notes").unwrap(),
        id: DocumentId::new("a").unwrap(),
        rev: Revision::new(
            Hlc::from_time(Timestamp::from_millis(1_000)),
            ClientId::from_bytes([9; 16]),
        ),
        seq: Seq::new(1),
        state: RecordState::Live(body),
    }
}

impl Device {
    async fn new() -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("notes").sync(true))
            .open(MemoryStorage::new())
            .await
            .unwrap();
        Self {
            notes: db.collection("notes").unwrap(),
            replica: Replica::new(&db, Target::DEFAULT),
            db,
        }
    }

    async fn pin(&self) -> Vec<Mutation> {
        let limit = PushLimit {
            changes: 100,
            bytes: 1 << 20,
        };
        self.replica.pin(limit).await.unwrap().mutations
    }

    /// A device that read the record, wrote it while sync was off, and has just offered that.
    async fn that_offers_its_own() -> Self {
        let device = Self::new().await;
        device.apply(PageKind::Feed).await;
        device.switch(false).await;
        device.notes.update("a", &json!({ "n": 2 })).await.unwrap();
        device.switch(true).await;
        let pinned = device.pin().await;
        let bases: Vec<_> = pinned.iter().flat_map(Mutation::changes).collect();
        assert_eq!(bases.len(), 1);
        assert_eq!(bases[0].base, Some(theirs().rev));
        device
    }

    async fn switch(&self, sync: bool) {
        let config = CollectionConfig::new("notes").sync(sync);
        self.db.create_collection(config).await.unwrap();
        self.replica.state().await.unwrap();
    }

    async fn apply(&self, kind: PageKind) -> Applied {
        let page = IncomingPage {
            kind,
            epoch: Epoch::from_bytes([1; 16]),
            start: Seq::ZERO,
            end: Seq::new(1),
            head: Seq::new(1),
            records: vec![theirs()],
            removals: Vec::new(),
        };
        self.replica.apply(page, Arc::new(Nobody)).await.unwrap()
    }

    /// It was read before, so everything is read from the start.
    async fn joins(&self) -> Applied {
        let state = self.replica.load(&pocket_core::replica::Scope::All).await;
        assert!(state.unwrap().checkpoint.resyncing);
        let applied = self.apply(PageKind::Feed).await;
        let swept = self.replica.sweep(Arc::new(Nobody)).await.unwrap();
        assert!(!swept.state.checkpoint.resyncing);
        applied
    }

    async fn is_refused(&self) {
        let refusal = Outcome::Rejected {
            code: "validation".to_owned(),
            reason: "no".to_owned(),
            server_time: None,
        };
        let first = MutationNumber::new(1);
        let settled = self.replica.settle(first, vec![refusal], Arc::new(Nobody));
        assert_eq!(settled.await.unwrap().rejected, 1);
    }

    async fn shows_theirs(&self) {
        let shown = self.notes.get("a").await.unwrap();
        assert_eq!(shown, Some(value(r#"{"_id":"a","n":1}"#)));
        let entries = self.db.journal().list(None, 10).await.unwrap();
        let kinds: Vec<_> = entries.into_iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [JournalKind::Refusal]);
        assert_eq!(self.replica.state().await.unwrap().pending, 0);
    }
}

/// Found by the simulator: what stood on the server was known by its revision alone, and the page that brought its body
/// counted as nothing new. The change was refused, and the document was gone from this device for ever.
#[tokio::test]
async fn a_refused_offer_gives_way_to_the_servers_version_that_was_read_again() {
    let device = Device::that_offers_its_own().await;
    assert_eq!(device.joins().await.changes, 1);
    assert_eq!(
        device.notes.get("a").await.unwrap(),
        Some(value(r#"{"_id":"a","n":2}"#)),
        "what is pending is shown"
    );
    device.is_refused().await;
    device.shows_theirs().await;
}

#[tokio::test]
async fn the_servers_version_comes_back_also_when_it_is_read_after_the_refusal() {
    let device = Device::that_offers_its_own().await;
    device.is_refused().await;
    device.joins().await;
    device.shows_theirs().await;
}

/// What is known to the last byte is not told twice.
#[tokio::test]
async fn reading_again_what_nobody_touched_brings_nothing_new() {
    let device = Device::that_offers_its_own().await;
    device.joins().await;
    device.is_refused().await;
    device.switch(false).await;
    device.switch(true).await;
    assert_eq!(device.joins().await.changes, 0);
    device.shows_theirs().await;
}

/// Found by the simulator: a document was deleted while sync was off and a change of it was on its way, which lost. When
/// sync was on again, that deleted the server's version, which this device had never shown.
#[tokio::test]
async fn what_was_deleted_while_sync_was_off_does_not_delete_what_was_never_shown_here() {
    let device = Device::that_offers_its_own().await;
    device.switch(false).await;
    device.notes.delete("a").await.unwrap();
    device.is_refused().await;
    device.switch(true).await;
    assert_eq!(device.replica.state().await.unwrap().pending, 0);
    device.joins().await;
    device.shows_theirs().await;
}

/// Found by the simulator: everything was read again while sync of the collection was off, as the user's rights were other
/// ones. What he could no longer read stayed, for reading one collection from the start removes nothing.
#[tokio::test]
async fn a_collection_that_missed_a_resync_is_read_again_with_everything() {
    let device = Device::that_offers_its_own().await;
    device.is_refused().await;
    device.joins().await;
    device.switch(false).await;
    device.replica.begin_resync().await.unwrap();
    let nothing = |head| IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::ZERO,
        end: Seq::new(head),
        head: Seq::new(head),
        records: Vec::new(),
        removals: Vec::new(),
    };
    for head in [1, 2] {
        let applied = device.replica.apply(nothing(head), Arc::new(Nobody)).await;
        assert!(applied.unwrap().state.checkpoint.sweeping);
        device.replica.sweep(Arc::new(Nobody)).await.unwrap();
        let is_shown = device.notes.get("a").await.unwrap().is_some();
        assert_eq!(is_shown, head == 1, "it is swept when it is read again");
        device.switch(true).await;
        let scope = pocket_core::replica::Scope::All;
        let state = device.replica.load(&scope).await.unwrap();
        assert_eq!(state.checkpoint.resyncing, head == 1);
    }
}

/// Found by the simulator: sync was switched on for a collection outside of what this device reads. It was read once, and
/// nothing that the server had of it later came.
#[tokio::test]
async fn a_collection_that_is_switched_on_outside_of_the_scope_is_read_when_the_scope_holds_it() {
    let device = Device::that_offers_its_own().await;
    device.is_refused().await;
    device.joins().await;
    let scope = |names: &[&str]| {
        let names = names.iter().map(|name| CollectionName::new(name).unwrap());
        pocket_core::replica::Scope::Only(names.collect())
    };
    let config = CollectionConfig::new("other").sync(false);
    device.db.create_collection(config).await.unwrap();
    device.replica.load(&scope(&["notes"])).await.unwrap();
    let config = CollectionConfig::new("other").sync(true);
    device.db.create_collection(config).await.unwrap();
    let state = device.replica.load(&scope(&["notes"])).await.unwrap();
    assert!(state.checkpoint.joining.is_empty());
    let wider = scope(&["notes", "other"]);
    let state = device.replica.load(&wider).await.unwrap();
    assert_eq!(state.checkpoint.joining.len(), 1);
}

/// Found by the simulator: a change of the collection was on its way, sync of it was switched off, and then everything was
/// read from the start. Where records of a collection are passed over, that one was not shown says nothing; but when the
/// outcome came, it counted as deleted by somebody else.
#[tokio::test]
async fn a_change_whose_outcome_comes_while_sync_is_off_stays_though_its_record_was_passed_unseen()
{
    let device = Device::new().await;
    let mine = value(r#"{"_id":"mine","n":3}"#);
    device.notes.insert(&mine).await.unwrap();
    assert_eq!(device.pin().await.len(), 1);
    device.switch(false).await;
    let page = IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::ZERO,
        end: Seq::new(2),
        head: Seq::new(2),
        records: vec![theirs()],
        removals: Vec::new(),
    };
    device.replica.apply(page, Arc::new(Nobody)).await.unwrap();
    let applied = Outcome::Applied { first: Seq::new(1) };
    let first = MutationNumber::new(1);
    let settled = device
        .replica
        .settle(first, vec![applied], Arc::new(Nobody));
    settled.await.unwrap();
    assert_eq!(device.notes.get("mine").await.unwrap(), Some(mine));
}
