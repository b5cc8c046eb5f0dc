//! Random edits by every way there is; after each the entries in the store are those of the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pocket_storage::{Direction, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;
use proptest::prelude::*;

use super::id;
use crate::index::{Index, IndexConfig};
use crate::replica::{Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope};
use crate::stored::{CollectionRow, StoredDocument};
use crate::{
    Body, ChangeKind, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy,
    Database, DocumentId, DocumentLimits, Epoch, Hlc, Map, MutationNumber, Order, Outcome,
    PushLimit, Record, RecordState, Revision, Seq, Target, Timestamp, Value, codes, envelope,
    field, keys,
};

/// What an index holds, as keys: computed and found.
type Keys = BTreeSet<Vec<u8>>;

/// The live documents of a collection, as they are stored.
pub(super) async fn documents(db: &Database, collection: &str) -> BTreeMap<DocumentId, Body> {
    let name = CollectionName::new(collection).unwrap();
    let Some(number) = db.core().registry().get(&name).map(CollectionRow::id) else {
        return BTreeMap::new();
    };
    let storage = &db.core().storage;
    let rows = scan(&**storage, keys::documents(number)).await;
    let documents = rows.into_iter().filter_map(|(key, value)| {
        let stored = StoredDocument::decode(&envelope::open(&key, &value).unwrap()).unwrap();
        Some((id(keys::document_id(&key).unwrap()), stored.body?))
    });
    documents.collect()
}

async fn scan(storage: &dyn Storage, range: KeyRange) -> Vec<pocket_storage::Entry> {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    storage
        .scan(range, limit, Direction::Forward)
        .await
        .unwrap()
}

/// Fails unless every index of the database holds exactly what its documents say, and nothing else lies there.
pub(super) async fn check(db: &Database) {
    let mut expected = Keys::new();
    let registry = db.core().registry();
    for (name, row) in registry.iter() {
        let documents = documents(db, name.as_str()).await;
        for index in registry.ready_indexes(row.id()) {
            for (id, body) in &documents {
                let entries = index.entries(id, body).unwrap();
                for field in 0..index.fields.len() {
                    assert!(
                        entries.multi >> field & 1 == 0 || index.is_multi(field),
                        "{} knows of no array in {id:?}",
                        index.name()
                    );
                }
                expected.extend(entries.values.iter().map(|values| index.key(values, id)));
            }
            assert!(index.is_current(&*db.core().storage).await.unwrap());
        }
    }
    let found = scan(&*db.core().storage, KeyRange::prefix([b'i'])).await;
    let found: Keys = found
        .into_iter()
        .inspect(|(key, value)| assert!(envelope::open(key, value).unwrap().is_empty()))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(found, expected);
}

/// What a test plays as the server.
struct Server {
    seq: u64,
    documents: BTreeMap<String, Record>,
    /// How far the device has read.
    read: u64,
}

struct Later;

impl Resolver for Later {
    fn resolve(
        &self,
        conflict: &Conflict,
        _: Option<ConflictStrategy>,
    ) -> (Decision, &'static str) {
        let decision = if conflict.local.rev > conflict.remote.rev {
            Decision::KeepLocal
        } else {
            Decision::KeepRemote
        };
        (decision, "last-write-wins")
    }
}

const EPOCH: Epoch = Epoch::from_bytes([1; 16]);
const ALL: PushLimit = PushLimit {
    changes: 1_000,
    bytes: 1 << 20,
};

impl Server {
    fn write(&mut self, id: &str, rev: Revision, state: RecordState) -> u64 {
        self.seq += 1;
        let record = Record {
            collection: CollectionName::new("docs").unwrap(),
            id: super::id(id),
            rev,
            seq: Seq::new(self.seq),
            state,
        };
        self.documents.insert(id.to_owned(), record);
        self.seq
    }

    async fn page(&mut self, replica: &Replica) {
        // It may have begun to read everything again by itself.
        let state = replica.state().await.unwrap();
        self.read = state.checkpoint.seq.get();
        let mut records: Vec<Record> = self.documents.values().cloned().collect();
        records.retain(|record| record.seq.get() > self.read);
        records.sort_by_key(|record| record.seq);
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: EPOCH,
            start: Seq::new(self.read),
            end: Seq::new(self.seq),
            head: Seq::new(self.seq),
            records,
            removals: Vec::new(),
        };
        let mut state = replica.apply(page, Arc::new(Later)).await.unwrap().state;
        self.read = self.seq;
        while state.checkpoint.sweeping {
            state = replica.sweep(Arc::new(Later)).await.unwrap().state;
        }
    }

    /// Sends what is pending; every third mutation is refused.
    async fn push(&mut self, replica: &Replica) {
        let pinned = replica.pin(ALL).await.unwrap().mutations;
        let Some(first) = pinned.first().map(|mutation| mutation.number) else {
            return;
        };
        let mut outcomes = Vec::new();
        for mutation in &pinned {
            let stands = |id: &str, base: Option<Revision>| {
                let record = self.documents.get(id);
                let live = record.filter(|record| record.state.body().is_some());
                live.map(|record| record.rev) == base
            };
            let changes = mutation.changes();
            let met: Vec<Seq> = changes
                .iter()
                // An erase beats everything.
                .filter(|change| !matches!(change.kind, ChangeKind::Erase))
                .filter(|change| !stands(change.id.as_str(), change.base))
                .filter_map(|change| self.documents.get(change.id.as_str()))
                .map(|record| record.seq)
                .collect();
            outcomes.push(if !met.is_empty() {
                Outcome::Conflict { seqs: met }
            } else if mutation.number.get().is_multiple_of(3) {
                Outcome::Rejected {
                    code: codes::VALIDATION.to_owned(),
                    reason: "no".to_owned(),
                    server_time: None,
                }
            } else {
                let places: Vec<u64> = changes
                    .iter()
                    .map(|change| {
                        let state = match &change.kind {
                            ChangeKind::Put(body) => RecordState::Live(body.clone()),
                            ChangeKind::Delete => RecordState::Deleted,
                            ChangeKind::Erase => RecordState::Erased,
                        };
                        self.write(change.id.as_str(), change.rev, state)
                    })
                    .collect();
                Outcome::Applied {
                    first: Seq::new(places[0]),
                }
            });
        }
        replica
            .settle(MutationNumber::new(first.get()), outcomes, Arc::new(Later))
            .await
            .unwrap();
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Act {
    /// Local writes; a body of none deletes.
    Write {
        writes: Vec<(String, Option<Map>)>,
        together: bool,
    },
    Erase(String),
    Clear,
    /// Somebody else writes on the server.
    Remote(Vec<(String, bool, Option<Map>)>),
    Page,
    Push,
    Sync(bool),
    Resync,
    Detach,
    Wipe,
    Drop(usize),
    Create(usize),
    Reopen,
}

fn configs() -> Vec<IndexConfig> {
    vec![
        IndexConfig::new("a"),
        IndexConfig::ordered("a", Order::Descending)
            .then("b.c", Order::Ascending)
            .sparse(),
        IndexConfig::new("u").unique().sparse(),
        IndexConfig::new("t")
            .then("u", Order::Descending)
            .unique()
            .sparse(),
        IndexConfig::new("u")
            .only(field("a").gt(1))
            .unique()
            .named("partial"),
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-f]"
}

fn fields() -> impl Strategy<Value = Map> {
    let long = "x".repeat(800);
    let a = prop_oneof![
        (0..4_i64).prop_map(Value::from),
        Just(Value::from(2.0)),
        Just(Value::Null),
        "[pq]{0,2}".prop_map(Value::from),
        Just(Value::from(long.clone())),
        Just(Value::from(long + "y")),
        proptest::collection::vec(0..4_i64, 0..3).prop_map(|values| values.into_iter().collect()),
    ];
    let c = proptest::collection::vec(0..3_i64, 0..3).prop_map(|values| {
        let maps = values
            .into_iter()
            .map(|value| Map::from_iter([("c", value)]));
        maps.collect::<Value>()
    });
    let t = proptest::collection::vec(0..30_i64, 0..3).prop_map(Value::from_iter);
    let some = |value: BoxedStrategy<Value>| proptest::option::of(value);
    let u = (0..9_i64).prop_map(Value::from);
    let fields = (
        some(a.boxed()),
        some(c.boxed()),
        some(u.boxed()),
        some(t.boxed()),
    );
    fields.prop_map(|(a, b, u, t)| {
        [("a", a), ("b", b), ("u", u), ("t", t)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    })
}

fn act() -> impl Strategy<Value = Act> {
    let write = (name(), proptest::option::weighted(0.8, fields()));
    let remote = (
        name(),
        any::<bool>(),
        proptest::option::weighted(0.8, fields()),
    );
    prop_oneof![
        8 => (proptest::collection::vec(write, 1..5), any::<bool>())
            .prop_map(|(writes, together)| Act::Write { writes, together }),
        1 => name().prop_map(Act::Erase),
        1 => Just(Act::Clear),
        4 => proptest::collection::vec(remote, 1..5).prop_map(Act::Remote),
        4 => Just(Act::Page),
        3 => Just(Act::Push),
        1 => any::<bool>().prop_map(Act::Sync),
        1 => Just(Act::Resync),
        1 => Just(Act::Detach),
        1 => Just(Act::Wipe),
        1 => (0..5_usize).prop_map(Act::Drop),
        2 => (0..5_usize).prop_map(Act::Create),
        1 => Just(Act::Reopen),
    ]
}

struct World {
    storage: MemoryStorage,
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    server: Server,
    sync: bool,
}

async fn open(storage: MemoryStorage, sync: bool) -> Database {
    let collection = CollectionConfig::new("docs").sync(sync);
    Database::builder("model")
        .collection(collection)
        .open(storage)
        .await
        .unwrap()
}

impl World {
    async fn new() -> Self {
        let storage = MemoryStorage::new();
        let db = open(storage.clone(), true).await;
        let replica = Replica::new(&db, Target::DEFAULT);
        replica.load(&Scope::All).await.unwrap();
        let this = Self {
            docs: db.collection("docs").unwrap(),
            storage,
            db,
            replica,
            server: Server {
                seq: 0,
                documents: BTreeMap::new(),
                read: 0,
            },
            sync: true,
        };
        for config in configs() {
            this.docs.create_index(config).await.unwrap();
        }
        this
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Write { writes, together } => self.write(writes, together).await,
            Act::Erase(id) => {
                let _ = self.docs.hard_delete(&id).await;
            }
            Act::Clear => drop(self.docs.clear().await.unwrap()),
            Act::Remote(writes) => {
                for (id, later, map) in writes {
                    let millis = if later { 4_000_000_000_000 } else { 1_000 };
                    let time = Timestamp::from_millis(millis + self.server.seq.cast_signed());
                    let client = ClientId::from_bytes([9; 16]);
                    let rev = Revision::new(Hlc::from_time(time), client);
                    let limits = DocumentLimits::default();
                    let state = match map {
                        Some(map) => RecordState::Live(Body::from_map(&map, &limits).unwrap()),
                        None => RecordState::Deleted,
                    };
                    self.server.write(&id, rev, state);
                }
            }
            Act::Page => self.server.page(&self.replica).await,
            Act::Push => self.server.push(&self.replica).await,
            Act::Sync(sync) => {
                self.sync = sync;
                let config = CollectionConfig::new("docs").sync(sync);
                self.db.create_collection(config).await.unwrap();
            }
            Act::Resync => {
                self.replica.begin_resync().await.unwrap();
                self.server.read = 0;
                self.server.page(&self.replica).await;
            }
            Act::Detach | Act::Wipe => {
                if matches!(act, Act::Detach) {
                    self.replica.detach().await.unwrap();
                } else {
                    self.replica.wipe().await.unwrap();
                }
                self.server.documents.clear();
                (self.server.seq, self.server.read) = (0, 0);
                self.replica.load(&Scope::All).await.unwrap();
            }
            Act::Drop(at) => {
                let _ = self.docs.drop_index(&configs()[at].name()).await;
            }
            Act::Create(at) => {
                // A unique one meets what sync brought.
                let made = self.docs.create_index(configs().swap_remove(at)).await;
                if let Err(error) = made {
                    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION, "{error}");
                }
            }
            Act::Reopen => {
                self.db = open(self.storage.clone(), self.sync).await;
                self.docs = self.db.collection("docs").unwrap();
                self.replica = Replica::new(&self.db, Target::DEFAULT);
                self.replica.load(&Scope::All).await.unwrap();
            }
        }
    }

    /// Writes, and demands that unique indexes refuse exactly what they should.
    async fn write(&self, writes: Vec<(String, Option<Map>)>, together: bool) {
        let before = documents(&self.db, "docs").await;
        let mut after = before.clone();
        let mut tx = self.db.transaction();
        let mut upserts = Vec::new();
        for (name, map) in writes {
            let key = id(&name);
            match map {
                Some(map) => {
                    let limits = DocumentLimits::default();
                    let body = Body::from_map(&map, &limits).unwrap();
                    let mut whole = Map::from_iter([("_id", name.as_str())]);
                    whole.extend(map);
                    tx.upsert(&self.docs, &Value::Map(whole.clone())).unwrap();
                    upserts.push(Value::Map(whole));
                    after.insert(key, body);
                }
                None if together && after.remove(&key).is_some() => {
                    tx.delete(&self.docs, &name).unwrap();
                }
                None => {}
            }
        }
        let registry = self.db.core().registry();
        let row = registry.existing(self.docs.name()).unwrap();
        let broken = registry
            .ready_indexes(row.id())
            .filter(|index| index.config.unique)
            .any(|index| breaks(index, &before, &after));
        let done = if together {
            tx.commit().await
        } else {
            self.docs.upsert_many(&upserts).await.map(drop)
        };
        match done {
            Ok(()) => {
                assert!(!broken, "duplicates were stored");
                assert_eq!(documents(&self.db, "docs").await, after);
            }
            Err(error) => {
                assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION, "{error}");
                assert!(broken, "{error}");
                assert_eq!(documents(&self.db, "docs").await, before);
            }
        }
    }
}

/// Whether a write gives a document values that another one has in the end.
fn breaks(
    index: &Index,
    before: &BTreeMap<DocumentId, Body>,
    after: &BTreeMap<DocumentId, Body>,
) -> bool {
    let values = |documents: &BTreeMap<DocumentId, Body>, id: &DocumentId| {
        let body = documents.get(id);
        body.map_or_else(BTreeSet::new, |body| {
            index.entries(id, body).unwrap().values
        })
    };
    after.keys().any(|id| {
        let (old, new) = (values(before, id), values(after, id));
        let added: BTreeSet<_> = new.difference(&old).cloned().collect();
        let mut others = after.keys().filter(|other| *other != id);
        others.any(|other| !values(after, other).is_disjoint(&added))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn after_any_edits_an_index_holds_what_its_documents_say(acts in proptest::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for act in acts {
                world.act(act).await;
                check(&world.db).await;
            }
        });
    }
}
