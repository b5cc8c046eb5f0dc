//! Random edits and random queries: the live result is that of a fresh query, after every single commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use pocket_core::replica::{Conflict, Decision, IncomingPage, PageKind, Replica, Resolver};
use pocket_core::{
    Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy, Database,
    DocumentId, DocumentLimits, Epoch, Filter, Hlc, Order, PushLimit, Query, Record, RecordState,
    Revision, Seq, Target, Timestamp, Value, field,
};
use pocket_storage_memory::MemoryStorage;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::support::{Follower, Listed, fresh, value};

const IDS: u8 = 90;
const EPOCH: Epoch = Epoch::from_bytes([1; 16]);

#[derive(Clone, Debug)]
struct Fields {
    n: i64,
    tag: u8,
    other: u8,
}

fn fields() -> impl Strategy<Value = Fields> {
    (-3..12_i64, 0..3_u8, 0..2_u8).prop_map(|(n, tag, other)| Fields { n, tag, other })
}

impl Fields {
    /// Some documents lack `n`, some have several.
    fn json(&self) -> serde_json::Value {
        let mut document = json!({"tag": format!("t{}", self.tag), "other": self.other});
        match self.n {
            ..0 => {}
            11 => document["n"] = json!([2, 9]),
            n => document["n"] = json!(n),
        }
        document
    }

    fn document(&self, id: u8) -> Value {
        let mut document = self.json();
        document["_id"] = json!(name(id));
        value(&document.to_string())
    }
}

fn name(id: u8) -> String {
    format!("d{id:02}")
}

#[derive(Clone, Debug)]
enum Edit {
    Upsert(u8, Fields),
    UpsertMany(Vec<(u8, Fields)>),
    Update(u8, Fields),
    Delete(u8),
    Erase(u8),
    /// Several documents at once; none is deleted.
    Transaction(Vec<(u8, Option<Fields>)>),
    /// What a server sends.
    Page(Vec<(u8, Option<Fields>)>),
    /// All local changes reach the server.
    Push,
    Clear,
    Recreate,
}

fn edit() -> impl Strategy<Value = Edit> {
    let id = || 0..IDS;
    let several = |most| vec((0..IDS, option::weighted(0.6, fields())), 1..most);
    prop_oneof![
        8 => (id(), fields()).prop_map(|(id, fields)| Edit::Upsert(id, fields)),
        2 => vec((id(), fields()), 1..30).prop_map(Edit::UpsertMany),
        8 => (id(), fields()).prop_map(|(id, fields)| Edit::Update(id, fields)),
        10 => id().prop_map(Edit::Delete),
        1 => id().prop_map(Edit::Erase),
        4 => several(12).prop_map(Edit::Transaction),
        4 => several(30).prop_map(Edit::Page),
        2 => Just(Edit::Push),
        1 => Just(Edit::Clear),
        1 => Just(Edit::Recreate),
    ]
}

#[derive(Clone, Debug)]
struct Asked {
    filter: u8,
    sort: u8,
    skip: usize,
    limit: Option<usize>,
    after: Option<u8>,
    before: Option<u8>,
    projection: u8,
}

fn asked() -> impl Strategy<Value = Asked> {
    (
        0..9_u8,
        0..5_u8,
        prop_oneof![2 => Just(0), 1 => 0..5_usize],
        option::weighted(0.7, 0..9_usize),
        option::weighted(0.2, 0..IDS),
        option::weighted(0.3, 0..IDS),
        0..3_u8,
    )
        .prop_map(
            |(filter, sort, skip, limit, after, before, projection)| Asked {
                filter,
                sort,
                skip,
                limit,
                after,
                before,
                projection,
            },
        )
}

impl Asked {
    /// The query. Its cursors are the places of documents that are there now.
    async fn query(&self, docs: &Collection<Value>) -> Query<Value> {
        let mut query = docs.find();
        query = match self.filter {
            0 | 1 => query,
            2 => query.filter(field("tag").eq("t1")),
            3 => query.filter(field("n").gte(3)),
            4 => query.filter(field("n").is_in([1, 2, 3]).and(field("other").eq(1))),
            5 => query.filter(field("tag").eq("t0").or(field("n").eq(9.0))),
            6 => query.filter(field("n").eq(2).and(field("tag").ne("t2"))),
            7 => query.filter(field("n").between(2, 4)),
            _ => query.filter(Filter::from_json_str(r#"{"n":{"$gt":4,"$lt":2}}"#).unwrap()),
        };
        query = match self.sort {
            0 | 1 => query.sort("n", Order::Ascending),
            2 => query
                .sort("n", Order::Descending)
                .sort("tag", Order::Ascending),
            3 => query.sort("_id", Order::Descending),
            _ => query,
        };
        query = query.skip(self.skip);
        if let Some(limit) = self.limit {
            query = query.limit(limit);
        }
        if let Some(after) = self.after {
            let document = docs.get_document(&name(after)).await.unwrap().unwrap();
            let cursor = query.cursor_of(&document).unwrap();
            query = query.after(cursor);
        }
        if let Some(before) = self.before {
            let document = docs.get_document(&name(before)).await.unwrap().unwrap();
            let cursor = query.cursor_of(&document).unwrap();
            query = query.before(cursor);
        }
        match self.projection {
            0 => query,
            1 => query.include(["other"]),
            _ => query.exclude(["n"]),
        }
    }
}

/// The server wins.
struct Theirs;

impl Resolver for Theirs {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepRemote, "server-wins")
    }
}

struct World {
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    /// The server's last place, and how far it was read.
    seq: u64,
    read: u64,
    confirmed: u64,
}

impl World {
    async fn new() -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
            .collection(CollectionConfig::new("others"))
            .open(MemoryStorage::new())
            .await
            .unwrap();
        let docs = db.collection("docs").unwrap();
        let all: Vec<_> = (0..IDS)
            .map(|id| {
                let fields = Fields {
                    n: i64::from(id % 13) - 1,
                    tag: id % 3,
                    other: id / 50,
                };
                fields.document(id)
            })
            .collect();
        docs.insert_many(&all).await.unwrap();
        Self {
            replica: Replica::new(&db, Target::DEFAULT),
            db,
            docs,
            seq: 0,
            read: 0,
            confirmed: 0,
        }
    }

    async fn make(&mut self, edit: &Edit) {
        let docs = &self.docs;
        match edit {
            Edit::Upsert(id, fields) => drop(docs.upsert(&fields.document(*id)).await.unwrap()),
            Edit::UpsertMany(all) => {
                let all: Vec<_> = all
                    .iter()
                    .map(|(id, fields)| fields.document(*id))
                    .collect();
                docs.upsert_many(&all).await.unwrap();
            }
            // A document that is not there answers with an error and changes nothing.
            Edit::Update(id, fields) => drop(docs.update(&name(*id), &fields.json()).await),
            Edit::Delete(id) => drop(docs.delete(&name(*id)).await),
            Edit::Erase(id) => drop(docs.hard_delete(&name(*id)).await),
            Edit::Transaction(all) => {
                let mut transaction = self.db.transaction();
                for (id, fields) in all {
                    match fields {
                        Some(fields) => transaction.upsert(docs, &fields.document(*id)).map(drop),
                        None => transaction.delete(docs, &name(*id)),
                    }
                    .unwrap();
                }
                drop(transaction.commit().await);
            }
            Edit::Page(all) => self.page(all).await,
            Edit::Push => self.push().await,
            Edit::Clear => drop(docs.clear().await.unwrap()),
            Edit::Recreate => {
                self.db.delete_collection("docs").await.unwrap();
                let config = CollectionConfig::new("docs").sync(true);
                self.db.create_collection(config).await.unwrap();
            }
        }
    }

    async fn page(&mut self, all: &[(u8, Option<Fields>)]) {
        let mut newest = BTreeMap::new();
        for (id, fields) in all {
            newest.insert(*id, fields.clone());
        }
        let start = self.read;
        let mut records = Vec::new();
        for (id, fields) in newest {
            self.seq += 1;
            let state = match fields {
                Some(fields) => {
                    let limits = DocumentLimits::default();
                    let (_, body) =
                        Body::from_serialize(&value(&fields.json().to_string()), &limits).unwrap();
                    RecordState::Live(body)
                }
                None => RecordState::Deleted,
            };
            records.push(Record {
                collection: CollectionName::new("docs").unwrap(),
                id: DocumentId::new(&name(id)).unwrap(),
                rev: Revision::new(
                    Hlc::from_time(Timestamp::from_millis(self.seq.cast_signed())),
                    ClientId::from_bytes([9; 16]),
                ),
                seq: Seq::new(self.seq),
                state,
            });
        }
        self.read = self.seq;
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: EPOCH,
            start: Seq::new(start),
            end: Seq::new(self.seq),
            head: Seq::new(self.seq),
            records,
            removals: Vec::new(),
        };
        self.replica.apply(page, Arc::new(Theirs)).await.unwrap();
    }

    async fn push(&mut self) {
        let limit = PushLimit {
            changes: 1_000,
            bytes: 1 << 20,
        };
        let pinned = self.replica.pin(limit).await.unwrap().mutations;
        let Some(first) = pinned.first().map(|mutation| mutation.number) else {
            return;
        };
        // Half of what is sent meets a change of somebody else.
        let outcomes = pinned.iter().map(|mutation| {
            self.confirmed += 1;
            if self.confirmed.is_multiple_of(2) {
                return pocket_core::Outcome::Rejected {
                    code: "forbidden".into(),
                    reason: "no".into(),
                    server_time: None,
                };
            }
            let first = Seq::new(self.seq + 1);
            self.seq += mutation.changes().len() as u64;
            pocket_core::Outcome::Applied { first }
        });
        let outcomes = outcomes.collect();
        self.replica
            .settle(first, outcomes, Arc::new(Theirs))
            .await
            .unwrap();
    }
}

/// Follows queries through edits, in bursts that nobody looks between.
async fn follow(asked: Vec<Asked>, bursts: Vec<Vec<Edit>>) {
    let mut world = World::new().await;
    let mut queries = Vec::new();
    for asked in asked {
        let query = asked.query(&world.docs).await;
        let mut follower = Follower::new(&query);
        follower.step().await;
        assert_eq!(follower.list, fresh(&query).await);
        let mut count = query.count().live();
        assert_eq!(
            count.next().await.unwrap().unwrap(),
            query.count().await.unwrap()
        );
        queries.push((query, follower, count));
    }
    for burst in bursts {
        // What a fresh query finds after each commit of the burst, for each query.
        let mut history: Vec<BTreeMap<u64, Listed>> = vec![BTreeMap::new(); queries.len()];
        for edit in &burst {
            world.make(edit).await;
            let sequence = world.db.stats().await.unwrap().sequence.get();
            for ((query, ..), history) in queries.iter().zip(&mut history) {
                history.insert(sequence, fresh(query).await);
            }
        }
        for ((query, follower, count), history) in queries.iter_mut().zip(&history) {
            while let Some(step) = follower.ready() {
                assert!(!step.changes.is_empty(), "a step that says nothing");
                // One edit of the test may be several commits; then only the last one's state is known.
                if let Some(then) = history.get(&step.sequence.get()) {
                    assert_eq!(follower.list, *then, "not the state after one commit");
                }
            }
            assert_eq!(follower.list, fresh(query).await, "{:?}", query.spec());
            while let Some(counted) = futures_util::FutureExt::now_or_never(count.next()) {
                counted.unwrap().unwrap();
            }
            assert_eq!(count.value(), Some(query.count().await.unwrap()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn a_live_result_is_always_that_of_a_fresh_query(
        asked in vec(asked(), 4),
        bursts in vec(vec(edit(), 1..6), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(follow(asked, bursts));
    }
}
