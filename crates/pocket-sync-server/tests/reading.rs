//! What a read costs the server: the bytes it has in memory at once, and what it asks of the application's rules.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::{TestEnv, Writer, client, engine, key, ns};
use futures_util::FutureExt;
use pocket_core::{
    Body, Change, ChangeKind, DocumentLimits, Map, Mutation, MutationContent, MutationNumber, Seq,
};
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Snapshot,
    Storage,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_server::auth::Access;
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::{EngineError, ReadRequest};
use pocket_sync_server::rules::{Attempt, Audience, Authority, Document, Operation};
use pocket_sync_server::{Authorizer, EmbeddedEngine, Engine, Limits, Rules};

fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("nothing waits on a store in memory")
}

/// A store that tells how many bytes were read at once, and in all.
#[derive(Debug, Default)]
struct Weighed {
    inner: MemoryStorage,
    at_once: AtomicUsize,
    total: AtomicUsize,
}

#[async_trait]
impl Storage for Weighed {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let values = self.inner.get_many(keys).await?;
        let bytes = values.iter().flatten().map(Bytes::len).sum();
        self.at_once.fetch_max(bytes, Ordering::Relaxed);
        self.total.fetch_add(bytes, Ordering::Relaxed);
        Ok(values)
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.inner.scan(range, limit, direction).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.inner.commit(batch, durability).await
    }

    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        self.inner.snapshot().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

const LARGE: usize = 256 * 1024;
const DOCUMENTS: usize = 100;

/// Documents of [`LARGE`] bytes that stand in the store and not in memory.
fn large_documents(rules: &Rules) -> (Arc<Weighed>, EmbeddedEngine) {
    let storage = Arc::new(Weighed::default());
    let before = engine(storage.clone());
    let writer = Writer::attach(&before, 1);
    let mut map = Map::new();
    map.insert("text", "x".repeat(LARGE));
    let body = Body::from_map(&map, &DocumentLimits::default()).unwrap();
    let change = |number: u64| Change {
        collection: key("a").collection,
        id: key(&format!("d{number}")).id,
        rev: common::rev(number, 1),
        base: None,
        kind: ChangeKind::Put(body.clone()),
    };
    let mutation = |number: u64| {
        let content = MutationContent::Changes(vec![change(number)]);
        let number = MutationNumber::new(number);
        Ok(Mutation { number, content })
    };
    let push = PushRequest {
        user: "ann".into(),
        client: client(1),
        session: writer.session,
        confirmed: MutationNumber::ZERO,
        first: MutationNumber::new(1),
        mutations: (1..=DOCUMENTS as u64).map(mutation).collect(),
        bytes: 0,
        authority: Authority::new(ns(), Access::all("ann"), client(1), rules),
    };
    let answer = now(before.commit(&ns(), &[push])).unwrap();
    assert_eq!(answer.head, Seq::new(DOCUMENTS as u64));
    let mut limits = Limits::default();
    limits.tail_bytes = 0;
    let after = EmbeddedEngine::new(storage.clone(), TestEnv::new(77), limits);
    now(after.prepare(&ns())).unwrap();
    storage.at_once.store(0, Ordering::Relaxed);
    storage.total.store(0, Ordering::Relaxed);
    (storage, after)
}

fn everything(authority: Authority) -> ReadRequest {
    ReadRequest {
        after: Seq::ZERO,
        until: None,
        live_until: None,
        told: Seq::ZERO,
        collections: Arc::default(),
        records: 1_000,
        bytes: 1024 * 1024,
        authority,
        digests: false,
    }
}

/// Shows each document to who wrote it, and to nobody else.
#[derive(Debug)]
struct Private;

impl Authorizer for Private {
    fn authorize(&self, _: &Attempt<'_>) -> bool {
        true
    }

    fn audience(&self, _: &Document<'_>) -> Audience {
        Audience::labels(["user:ann"])
    }
}

/// What was not shown weighed nothing: 512 documents were read at once, however large.
#[test]
fn documents_that_the_reader_may_not_see_are_read_few_at_once() {
    let rules = Rules::default().authorizer(Arc::new(Private));
    let (storage, engine) = large_documents(&rules);
    let bob = Authority::new(ns(), Access::all("bob"), client(2), &rules);
    let page = now(engine.changes(&ns(), &everything(bob))).unwrap();
    assert_eq!((page.records.len(), page.end), (0, page.head));
    let at_once = storage.at_once.load(Ordering::Relaxed);
    assert!(at_once < 17 * LARGE, "{at_once}");
    let total = storage.total.load(Ordering::Relaxed);
    assert!(total > DOCUMENTS * LARGE, "each is looked at");
}

#[test]
fn a_fetch_reads_no_more_than_fits_into_a_message() {
    let (storage, engine) = large_documents(&Rules::default());
    let keys: Vec<_> = (1..=DOCUMENTS).map(|n| key(&format!("d{n}"))).collect();
    let open = Authority::open();
    let failed = now(engine.fetch(&ns(), &keys, &open)).unwrap_err();
    assert!(matches!(failed, EngineError::TooLarge(_)), "{failed:?}");
    let total = storage.total.load(Ordering::Relaxed);
    assert!(total < 2 * Limits::default().wire.message_bytes, "{total}");
    let fetched = now(engine.fetch(&ns(), &keys[..10], &open)).unwrap();
    assert_eq!(fetched.records.len(), 10);
}

/// Counts what it is asked, and finds out whether the namespace can be used meanwhile.
#[derive(Debug, Default)]
struct Curious {
    asked: AtomicUsize,
    blocked: AtomicUsize,
    engine: OnceLock<EmbeddedEngine>,
}

impl Authorizer for Curious {
    fn authorize(&self, attempt: &Attempt<'_>) -> bool {
        if attempt.operation != Operation::Read {
            return true;
        }
        let Some(engine) = self.engine.get().cloned() else {
            return true;
        };
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (told, head) = mpsc::channel();
        std::thread::spawn(move || drop(told.send(engine.head(&ns()).now_or_never())));
        if head.recv_timeout(Duration::from_secs(10)).is_err() {
            self.blocked.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn audience(&self, _: &Document<'_>) -> Audience {
        Audience::everyone()
    }
}

/// The rules were asked for each record while everybody else in the namespace waited: one slow rule stopped all commits.
#[test]
fn rules_are_asked_once_for_a_collection_and_nobody_waits_for_their_answer() {
    for tail_bytes in [Limits::default().tail_bytes, 0] {
        let rule = Arc::new(Curious::default());
        let rules = Rules::default().authorizer(rule.clone());
        let mut limits = Limits::default();
        limits.tail_bytes = tail_bytes;
        let storage = Arc::new(MemoryStorage::new());
        let engine = EmbeddedEngine::new(storage, TestEnv::new(5), limits);
        let mut writer = Writer::attach(&engine, 1);
        let names = ["a", "b", "notes/c", "d"];
        let mut push = writer.push(&names.map(|name| (name, None)));
        push.authority = Authority::new(ns(), Access::all("ann"), client(1), &rules);
        now(engine.commit(&ns(), &[push])).unwrap();
        rule.engine.set(engine.clone()).unwrap();

        let bob = Authority::new(ns(), Access::all("bob"), client(2), &rules);
        let page = now(engine.changes(&ns(), &everything(bob.clone()))).unwrap();
        assert_eq!(page.records.len(), 4);
        assert_eq!(rule.asked.swap(0, Ordering::Relaxed), 2, "two collections");
        let fetched = now(engine.fetch(&ns(), &names.map(key), &bob)).unwrap();
        assert_eq!(fetched.records.len(), 4);
        assert_eq!(rule.asked.load(Ordering::Relaxed), 2);
        assert_eq!(rule.blocked.load(Ordering::Relaxed), 0);
    }
}
