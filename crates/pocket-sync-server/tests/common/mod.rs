//! What the tests share: an environment of their own, an engine, and a client that writes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "helpers of tests; each test file uses a part of them"
)]

pub mod peer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, DocumentLimits, Env, Hlc, Map,
    Mutation, MutationContent, MutationNumber, Outcome, Revision, SessionToken, Timestamp,
};
use pocket_storage::Storage;
use pocket_sync_server::decide::{DocumentKey, PushRequest};
use pocket_sync_server::engine::{AttachRequest, Attached};
use pocket_sync_server::{EmbeddedEngine, Engine, Limits, Namespace};

/// A clock that stands until it is moved, and random bytes that are none.
#[derive(Debug)]
pub struct TestEnv(AtomicU64, AtomicI64);

impl TestEnv {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(
            AtomicU64::new(seed << 32),
            AtomicI64::new(1_700_000_000_000),
        ))
    }

    /// Time passes.
    pub fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.1.fetch_add(millis, Ordering::Relaxed);
    }

    /// The clock is set.
    pub fn set(&self, time: Timestamp) {
        self.1.store(time.millis(), Ordering::Relaxed);
    }
}

impl Env for TestEnv {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.1.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        bytes
            .iter_mut()
            .zip(number.iter().cycle())
            .for_each(|(byte, from)| *byte = *from);
    }
}

pub fn engine(storage: Arc<dyn Storage>) -> EmbeddedEngine {
    static ENGINES: AtomicU64 = AtomicU64::new(1);
    engine_with(
        storage,
        ENGINES.fetch_add(1, Ordering::Relaxed),
        Limits::default(),
    )
}

pub fn engine_with(storage: Arc<dyn Storage>, seed: u64, limits: Limits) -> EmbeddedEngine {
    EmbeddedEngine::new(storage, TestEnv::new(seed), limits)
}

pub fn ns() -> Namespace {
    Namespace::new("default").unwrap()
}

pub fn client(byte: u8) -> ClientId {
    ClientId::from_bytes([byte; 16])
}

pub fn rev(counter: u64, by: u8) -> Revision {
    Revision::new(Hlc::from_bits(counter), client(by))
}

/// `id` in `todos`, or `collection/id`.
pub fn key(name: &str) -> DocumentKey {
    let (collection, id) = name.split_once('/').unwrap_or(("todos", name));
    DocumentKey {
        collection: CollectionName::new(collection).unwrap(),
        id: DocumentId::new(id).unwrap(),
    }
}

pub fn body(name: &str) -> Body {
    let mut map = Map::new();
    map.insert("name", name);
    Body::from_map(&map, &DocumentLimits::default()).unwrap()
}

/// A client that writes through an engine.
pub struct Writer {
    pub number: u8,
    pub attached: Attached,
    pub session: SessionToken,
    next: u64,
    counter: u64,
    revs: BTreeMap<String, Revision>,
}

impl Writer {
    pub fn attach(engine: &dyn Engine, number: u8) -> Self {
        Self::join(engine, number).now_or_never().unwrap()
    }

    /// As [`attach`](Self::attach), on a store that takes its time.
    pub async fn join(engine: &dyn Engine, number: u8) -> Self {
        let attached = attach(engine, number, None).await;
        let session = attached.session;
        Self {
            number,
            attached,
            session,
            next: 1,
            counter: 0,
            revs: BTreeMap::new(),
        }
    }

    pub fn attach_again(&mut self, engine: &dyn Engine) -> SessionToken {
        let attached = attach(engine, self.number, Some(self.session));
        self.attached = attached.now_or_never().unwrap();
        self.session = self.attached.session;
        self.session
    }

    /// As [`attach_again`](Self::attach_again); none when the store fails meanwhile.
    pub fn try_attach_again(&mut self, engine: &dyn Engine) -> Option<()> {
        let request = AttachRequest {
            user: "ann".into(),
            client: client(self.number),
            presented: Some(self.session),
            unless_new: None,
        };
        self.attached = engine
            .attach(&ns(), &request)
            .now_or_never()
            .unwrap()
            .ok()?;
        self.session = self.attached.session;
        Some(())
    }

    pub fn rev_of(&self, name: &str) -> Option<Revision> {
        self.revs.get(name).copied()
    }

    /// A push of one mutation for each document and base.
    pub fn push(&mut self, documents: &[(&str, Option<Revision>)]) -> PushRequest {
        self.push_each(documents, |name| ChangeKind::Put(body(name)))
    }

    /// A push that deletes each of these documents.
    pub fn push_deletions(&mut self, documents: &[&str]) -> PushRequest {
        let bases: Vec<_> = documents
            .iter()
            .map(|name| (*name, self.rev_of(name)))
            .collect();
        self.push_each(&bases, |_| ChangeKind::Delete)
    }

    fn push_each(
        &mut self,
        documents: &[(&str, Option<Revision>)],
        kind: impl Fn(&str) -> ChangeKind,
    ) -> PushRequest {
        let first = MutationNumber::new(self.next);
        let mutations = documents
            .iter()
            .map(|(name, base)| {
                let number = MutationNumber::new(self.next);
                self.next += 1;
                self.counter += 1;
                let rev = rev(self.counter, self.number);
                self.revs.insert((*name).to_owned(), rev);
                let DocumentKey { collection, id } = key(name);
                let change = Change {
                    collection,
                    id,
                    rev,
                    base: *base,
                    kind: kind(name),
                };
                Ok(Mutation {
                    number,
                    content: MutationContent::Changes(vec![change]),
                })
            })
            .collect();
        PushRequest {
            user: "ann".into(),
            client: client(self.number),
            session: self.session,
            confirmed: MutationNumber::ZERO,
            first,
            mutations,
            bytes: 0,
            authority: pocket_sync_server::rules::Authority::open(),
        }
    }

    pub fn commit(
        &mut self,
        engine: &dyn Engine,
        documents: &[(&str, Option<Revision>)],
    ) -> Vec<Outcome> {
        let push = self.push(documents);
        let committed = engine
            .commit(&ns(), &[push])
            .now_or_never()
            .unwrap()
            .unwrap();
        let answer = committed.answers.into_iter().next().unwrap();
        assert_eq!(answer.refusal, None);
        answer.outcomes
    }
}

async fn attach(engine: &dyn Engine, number: u8, presented: Option<SessionToken>) -> Attached {
    let request = AttachRequest {
        user: "ann".into(),
        client: client(number),
        presented,
        unless_new: None,
    };
    engine.attach(&ns(), &request).await.unwrap()
}
