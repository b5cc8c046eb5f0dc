//! Damaged values: what is told of them, and how a device goes on without what they held.
//!
//! A user with one damaged document could neither delete nor replace it, and his device never synced again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::dump::{Existing, LoadOptions};
use pocket_core::replica::{
    Applied, Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope,
    ServerLog,
};
use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_core::{
    Binding, Body, ChangeKind, ClientId, Collection, CollectionConfig, CollectionName,
    ConflictStrategy, Database, DocumentId, DocumentLimits, Epoch, Error, Hlc, IndexConfig,
    Lineage, Mutation, MutationContent, MutationNumber, Order, Outcome, PushLimit, Record,
    RecordState, Revision, Seq, SessionToken, Target, Timestamp, Value, Winner, codes, field,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

#[path = "damaged/outbox.rs"]
mod outbox;
#[path = "damaged/whole.rs"]
mod whole;

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

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

fn record(id: &str, seq: u64, n: i64) -> Record {
    let document = value(&format!(r#"{{"_id":"{id}","n":{n}}}"#));
    let body = Body::from_serialize(&document, &DocumentLimits::default());
    Record {
        collection: CollectionName::new("docs").unwrap(),
        id: DocumentId::new(id).unwrap(),
        rev: Revision::new(
            Hlc::from_time(Timestamp::from_millis(PAST - 100 + n)),
            ClientId::from_bytes([9; 16]),
        ),
        seq: Seq::new(seq),
        state: RecordState::Live(body.unwrap().1),
    }
}

impl World {
    async fn new() -> Self {
        let storage = MemoryStorage::new();
        let db = Database::builder("test")
            .collection(
                CollectionConfig::new("docs")
                    .sync(true)
                    .index(IndexConfig::new("n")),
            )
            .collection(CollectionConfig::new("local").index(IndexConfig::new("n").unique()))
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

    /// One that has read documents `a` to `d` from its server.
    async fn synced() -> Self {
        let world = Self::new().await;
        let attachment = Attachment {
            binding: Binding {
                lineage: Lineage::from_bytes([1; 16]),
                namespace: "n".into(),
                user: "u".into(),
            },
            token: SessionToken::from_bytes([2; 16]),
            server_time: Timestamp::from_millis(PAST),
            since_asked: std::time::Duration::ZERO,
            rights: None,
            log: ServerLog {
                epochs: vec![(Epoch::from_bytes([1; 16]), Seq::new(1))],
                head: Seq::new(4),
                horizon: Seq::ZERO,
                last_number: MutationNumber::ZERO,
            },
        };
        world.replica.attach(&attachment).await.unwrap();
        world.page(0, 4, of_server()).await;
        world
    }

    async fn page(&self, start: u64, end: u64, records: Vec<Record>) -> Applied {
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: Epoch::from_bytes([1; 16]),
            start: Seq::new(start),
            end: Seq::new(end),
            head: Seq::new(end),
            records,
            removals: Vec::new(),
        };
        self.replica.apply(page, Arc::new(Later)).await.unwrap()
    }

    /// Everything is read again, as is due.
    async fn read_again(&self, records: Vec<Record>) {
        let state = self.replica.state().await.unwrap();
        assert!(state.checkpoint.resyncing);
        assert!(self.pin().await.is_empty(), "nothing is sent meanwhile");
        self.page(0, 4, records).await;
        while self.replica.state().await.unwrap().checkpoint.resyncing {
            self.replica.sweep(Arc::new(Later)).await.unwrap();
        }
    }

    async fn pin(&self) -> Vec<Mutation> {
        self.replica.pin(ALL).await.unwrap().mutations
    }

    async fn settle(&self, first: u64, outcomes: Vec<Outcome>) {
        let first = MutationNumber::new(first);
        let settled = self.replica.settle(first, outcomes, Arc::new(Later)).await;
        settled.unwrap();
    }

    async fn put(&self, id: &str, n: i64) {
        let document = value(&format!(r#"{{"_id":"{id}","n":{n}}}"#));
        self.docs.upsert(&document).await.unwrap();
    }

    async fn n(&self, id: &str) -> Option<i64> {
        number(&self.docs.get(id).await.unwrap()?)
    }

    /// The values that the index leads to.
    async fn indexed(&self) -> Vec<i64> {
        let query = self.docs.find().filter(field("n").gte(0));
        let found = query.sort("n", Order::Ascending).all().await.unwrap();
        found.iter().map(|it| number(it).unwrap()).collect()
    }

    async fn winners(&self) -> Vec<Winner> {
        let entries = self.db.journal().list(None, 100).await.unwrap();
        entries.into_iter().map(|entry| entry.winner).collect()
    }

    /// Flips a bit in the values whose keys begin and end so.
    async fn damage(&self, kind: u8, end: &[u8]) {
        let limit = ScanLimit::entries(10_000);
        let entries = self
            .storage
            .scan(KeyRange::prefix([kind]), limit, Direction::Forward);
        let mut batch = Batch::new();
        for (key, value) in entries.await.unwrap() {
            if key.ends_with(end) {
                let mut hurt = value.to_vec();
                *hurt.last_mut().unwrap() ^= 1;
                batch.put(key, hurt);
            }
        }
        assert!(!batch.is_empty(), "nothing is damaged");
        self.storage
            .commit(batch, Durability::PowerLoss)
            .await
            .unwrap();
    }

    /// Whether there is an entry of this kind whose key ends so.
    async fn holds(&self, kind: u8, end: &[u8]) -> bool {
        let limit = ScanLimit::entries(10_000);
        let entries = self
            .storage
            .scan(KeyRange::prefix([kind]), limit, Direction::Forward);
        let mut entries = entries.await.unwrap().into_iter();
        entries.any(|(key, _)| key.ends_with(end))
    }
}

fn of_server() -> Vec<Record> {
    let ids = (1..).zip(["a", "b", "c", "d"]);
    ids.map(|(n, id)| record(id, n, n.cast_signed())).collect()
}

fn number(document: &Value) -> Option<i64> {
    match document.as_map()?.get("n")? {
        Value::Integer(n) => n.as_i64(),
        _ => None,
    }
}

/// What a mutation does: to which document, what it puts there, and on what.
fn told(mutation: &Mutation) -> Vec<(&str, Option<i64>, Option<Revision>)> {
    let MutationContent::Changes(changes) = &mutation.content else {
        return Vec::new();
    };
    let told = changes.iter().map(|change| {
        let n = match &change.kind {
            ChangeKind::Put(body) => number(&Value::Map(body.to_map().unwrap())),
            ChangeKind::Delete | ChangeKind::Erase => None,
        };
        (change.id.as_str(), n, change.base)
    });
    told.collect()
}

fn names(error: &Error, id: &str, collection: &str) {
    assert_eq!(error.code(), codes::CORRUPT, "{error}");
    let named = format!("document {id:?} of `{collection}` is damaged");
    assert!(error.to_string().contains(&named), "{error}");
    assert!(error.is_of_a_document(), "{error:?}");
}

#[tokio::test]
async fn whatever_meets_a_damaged_document_says_which_one_it_is() {
    let world = World::synced().await;
    world.damage(b'd', b"c").await;
    names(&world.docs.get("c").await.unwrap_err(), "c", "docs");
    names(&world.docs.find().all().await.unwrap_err(), "c", "docs");
    let indexed = world.docs.find().filter(field("n").gte(0)).all().await;
    names(&indexed.unwrap_err(), "c", "docs");
    let updated = world.docs.update("c", &json!({ "n": 30 })).await;
    names(&updated.unwrap_err(), "c", "docs");
    let inserted = world.docs.insert(&value(r#"{"_id":"c"}"#)).await;
    names(&inserted.unwrap_err(), "c", "docs");
    let mut dump = world.db.dump().await.unwrap();
    let error = loop {
        match dump.next_line().await {
            Ok(line) => assert!(line.is_some(), "the dump passed over it"),
            Err(error) => break error,
        }
    };
    names(&error, "c", "docs");
    assert_eq!(world.n("b").await, Some(2));
}

/// A query that an index helps left the document out without a word, 49 of 50 came.
#[tokio::test]
async fn a_document_whose_key_is_damaged_is_missed_where_an_index_led_to_it() {
    let world = World::synced().await;
    let limit = ScanLimit::entries(10_000);
    let documents = KeyRange::prefix([b'd']);
    let entries = world.storage.scan(documents, limit, Direction::Forward);
    let mut batch = Batch::new();
    for (key, value) in entries.await.unwrap() {
        if key.ends_with(b"c") {
            let mut hurt = key.clone();
            *hurt.last_mut().unwrap() ^= 0x10;
            batch.delete(key);
            batch.put(hurt, value);
        }
    }
    assert_eq!(batch.writes().len(), 2);
    let committed = world.storage.commit(batch, Durability::PowerLoss).await;
    committed.unwrap();
    let by_index = || world.docs.find().filter(field("n").gte(2));
    let rows = by_index().sort("n", Order::Ascending).all().await;
    names(&rows.unwrap_err(), "s", "docs");
    let limited = by_index().sort("n", Order::Ascending).limit(2);
    names(&limited.all().await.unwrap_err(), "s", "docs");
    let mut streamed = by_index().sort("n", Order::Ascending).stream();
    let error = loop {
        match streamed.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a document is missing"),
        }
    };
    names(&error, "s", "docs");
    // Its own id leads nowhere, and that is all that one entry tells.
    assert_eq!(world.n("c").await, None);
    let by_id = world.docs.find().filter(field("_id").is_in(["a", "c"]));
    assert_eq!(by_id.all().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_local_document_is_replaced_or_deleted_and_its_entries_go() {
    let world = World::new().await;
    let local = world.db.collection::<Value>("local").unwrap();
    for n in 1..=3 {
        local.insert(&json_value("x", n)).await.unwrap();
    }
    for id in ["x1", "x2", "x3"] {
        world.damage(b'd', id.as_bytes()).await;
    }
    let mut live = local.find().sort("n", Order::Ascending).live();
    assert!(live.next().await.unwrap().is_err());
    local.delete("x1").await.unwrap();
    local.hard_delete("x2").await.unwrap();
    let anew = value(r#"{"_id":"x3","n":7}"#);
    local.upsert(&anew).await.unwrap();
    let all = local.find().filter(field("n").gte(0)).all().await.unwrap();
    assert_eq!(all, [anew]);
    // Nobody has their values any more, in a unique index.
    for n in 1..=3 {
        local.insert(&json_value("y", n)).await.unwrap();
    }
    assert_eq!(local.get("x1").await.unwrap(), None);
    assert_eq!(local.find().count().await.unwrap(), 4);
    let gone = local.delete("x1").await.unwrap_err();
    assert_eq!(gone.code(), codes::DOCUMENT_NOT_FOUND);
}

fn json_value(name: &str, n: i64) -> Value {
    value(&format!(r#"{{"_id":"{name}{n}","n":{n}}}"#))
}

#[tokio::test]
async fn a_live_query_that_showed_a_document_hears_that_its_damaged_row_went() {
    let world = World::synced().await;
    let mut live = world.docs.find().filter(field("n").gt(2)).live();
    assert_eq!(live.next().await.unwrap().unwrap().result.len(), 2);
    world.damage(b'd', b"c").await;
    world.docs.delete("c").await.unwrap();
    assert_eq!(live.next().await.unwrap().unwrap().result.len(), 1);
}

#[tokio::test]
async fn what_replaces_a_damaged_document_meets_the_servers_version_and_nothing_is_lost_silently() {
    let world = World::synced().await;
    world.damage(b'd', b"b").await;
    world.damage(b'd', b"c").await;
    world.put("b", 20).await;
    world.docs.delete("c").await.unwrap();
    assert_eq!(world.indexed().await, [1, 4, 20]);
    world.read_again(of_server()).await;
    // Both are later than what the server has, which the journal keeps.
    assert_eq!((world.n("b").await, world.n("c").await), (Some(20), None));
    assert_eq!(world.winners().await, [Winner::Local, Winner::Local]);
    let sent = world.pin().await;
    let of = |n: usize| Some(of_server()[n].rev);
    assert_eq!(told(&sent[0]), [("b", Some(20), of(1))]);
    assert_eq!(told(&sent[1]), [("c", None, of(2))]);
    assert_eq!(world.indexed().await, [1, 4, 20]);
}

#[tokio::test]
async fn what_is_deleted_again_after_it_replaced_a_damaged_document_is_deleted_on_the_server() {
    let world = World::synced().await;
    world.damage(b'd', b"b").await;
    world.put("b", 20).await;
    world.docs.delete("b").await.unwrap();
    world.read_again(of_server()).await;
    assert_eq!(world.n("b").await, None);
    let sent = world.pin().await;
    assert_eq!(told(&sent[0]), [("b", None, Some(of_server()[1].rev))]);
}

#[tokio::test]
async fn an_erase_of_a_damaged_document_is_sent_as_every_other_one() {
    let world = World::synced().await;
    world.damage(b'd', b"b").await;
    world.docs.hard_delete("b").await.unwrap();
    world.read_again(of_server()).await;
    let sent = world.pin().await;
    let MutationContent::Changes(changes) = &sent[0].content else {
        panic!("it is withdrawn");
    };
    assert_eq!(changes[0].kind, ChangeKind::Erase);
    assert_eq!(world.n("b").await, None);
}

#[tokio::test]
async fn the_servers_next_version_takes_the_place_of_a_damaged_document() {
    let world = World::synced().await;
    world.damage(b'd', b"b").await;
    world.page(4, 5, vec![record("b", 5, 22)]).await;
    assert_eq!(world.n("b").await, Some(22));
    assert_eq!(world.indexed().await, [1, 3, 4, 22]);
}

#[tokio::test]
async fn what_is_pending_on_a_damaged_document_outlives_it() {
    let world = World::synced().await;
    world.put("b", 20).await;
    world.damage(b'd', b"b").await;
    world.page(4, 5, vec![record("b", 5, 22)]).await;
    assert_eq!(world.n("b").await, Some(20), "the edit is later");
    assert_eq!(world.indexed().await, [1, 3, 4, 20]);
    // It stands on the version of before, so the server answers a conflict, and it is sent again.
    assert_eq!(told(&world.pin().await[0])[0].1, Some(20));
    let seqs = vec![Seq::new(5)];
    world.settle(1, vec![Outcome::Conflict { seqs }]).await;
    let sent = world.pin().await;
    let stands_on = Some(record("b", 5, 22).rev);
    assert_eq!(told(&sent[0]), [("b", Some(20), stands_on)]);
}

#[tokio::test]
async fn an_outcome_finds_its_damaged_document_again() {
    let world = World::synced().await;
    world.put("b", 20).await;
    world.pin().await;
    world.damage(b'd', b"b").await;
    let first = Seq::new(5);
    world.settle(1, vec![Outcome::Applied { first }]).await;
    assert_eq!(world.n("b").await, Some(20));
    assert_eq!(world.replica.state().await.unwrap().pending, 0);
}

#[tokio::test]
async fn a_resync_goes_over_damaged_documents_and_removes_what_the_server_no_longer_shows() {
    let world = World::synced().await;
    world.replica.begin_resync().await.unwrap();
    world.damage(b'd', b"b").await;
    world.damage(b'd', b"c").await;
    let mut shown = of_server();
    shown.remove(2);
    world.read_again(shown).await;
    assert_eq!((world.n("b").await, world.n("c").await), (Some(2), None));
    assert_eq!(world.indexed().await, [1, 2, 4]);
}

#[tokio::test]
async fn a_dump_that_replaces_puts_a_document_in_the_place_of_a_damaged_one() {
    let world = World::synced().await;
    let mut dump = world.db.dump().await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = dump.next_line().await.unwrap() {
        lines.push(line);
    }
    world.damage(b'd', b"b").await;
    for (existing, loads) in [(Existing::Fail, false), (Existing::Replace, true)] {
        let mut loader = world.db.load(LoadOptions::new().existing(existing));
        let mut failed = None;
        for line in &lines {
            if let Err(error) = loader.line(line).await {
                failed = Some(error);
                break;
            }
        }
        assert_eq!(failed.is_none(), loads, "{failed:?}");
        if let Some(error) = failed {
            assert!([codes::CORRUPT, codes::DOCUMENT_EXISTS].contains(&error.code()));
            continue;
        }
        assert_eq!(loader.finish().await.unwrap().0.stored, 1);
    }
    assert_eq!(world.indexed().await, [1, 2, 3, 4]);
}
