//! What the engine says each reader should hold: always what a read from the start shows him.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Writer, body, client, engine_with, key, ns};
use futures_util::FutureExt;
use pocket_core::{
    ChangeKind, CollectionName, Digest, MutationContent, Outcome, RecordState, Revision, Seq,
};
use pocket_storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_server::auth::Access;
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::{FeedPage, ReadRequest, Retention};
use pocket_sync_server::rules::{Attempt, Audience, Authority, Document, Rules};
use pocket_sync_server::{Authorizer, EmbeddedEngine, Engine, Limits};

type Digests = BTreeMap<CollectionName, Digest>;

fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("nothing waits on a store in memory")
}

/// A document names its labels; `secrets` may only be read by who has the role.
struct Named(&'static str);

impl Authorizer for Named {
    fn authorize(&self, attempt: &Attempt<'_>) -> bool {
        attempt.collection.as_str() != "secrets" || attempt.access.roles.contains("keeper")
    }

    fn audience(&self, document: &Document<'_>) -> Audience {
        let name = document.body.field("name").unwrap().unwrap();
        Audience::labels(name.as_str().unwrap().split_whitespace())
    }

    fn version(&self) -> String {
        self.0.to_owned()
    }
}

/// What a document names, from nobody to everybody.
const NAMES: [&str; 6] = ["", "red", "blue", "blue red", "green", "*"];

fn writer_authority(rules: &Rules) -> Authority {
    let access = ["red", "blue", "green"]
        .iter()
        .fold(Access::all("ann").role("keeper"), |access, label| {
            access.label(label)
        });
    Authority::new(ns(), access, client(1), rules)
}

/// Readers who are shown different things, none of whom wrote any of it.
fn readers(rules: &Rules) -> Vec<Authority> {
    let with = |access: Access| Authority::new(ns(), access, client(9), rules);
    vec![
        Authority::open(),
        with(Access::all("nobody")),
        with(Access::all("r").label("red")),
        with(Access::all("b").label("blue").role("keeper")),
        with(Access::all("rb").label("red").label("blue")),
    ]
}

fn read(engine: &EmbeddedEngine, after: Seq, authority: &Authority, of: &[&str]) -> FeedPage {
    let request = ReadRequest {
        after,
        until: None,
        live_until: None,
        told: Seq::ZERO,
        collections: Arc::new(
            of.iter()
                .map(|name| key(&format!("{name}/x")).collection)
                .collect(),
        ),
        records: 1_000,
        bytes: 1_000_000,
        authority: authority.clone(),
        digests: true,
    };
    now(engine.changes(&ns(), &request)).unwrap()
}

/// What a reader holds that has read everything.
fn shown(page: &FeedPage) -> Digests {
    let mut shown = Digests::new();
    for record in &page.records {
        let record = record.decode().unwrap();
        if matches!(record.state, RecordState::Live(_)) {
            let digest = shown.entry(record.collection).or_default();
            *digest = digest.plus(Digest::of(&record.id, record.rev));
        }
    }
    shown
}

fn assert_true_for_all(engine: &EmbeddedEngine, rules: &Rules, of: &[&str]) {
    for (place, authority) in readers(rules).iter().enumerate() {
        let page = read(engine, Seq::ZERO, authority, of);
        assert_eq!(page.end, page.head);
        assert_eq!(page.digests, Some(shown(&page)), "reader {place}");
        // The same to whoever stands at the head already.
        let none = read(engine, page.head, authority, of);
        assert_eq!((none.records.len(), none.digests), (0, page.digests));
    }
}

/// A number that looks random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// A push that writes the document with this name, or deletes it.
fn push(
    writer: &mut Writer,
    at: &str,
    base: Option<Revision>,
    name: Option<&str>,
    authority: &Authority,
) -> PushRequest {
    let mut push = writer.push(&[(at, base)]);
    push.authority = authority.clone();
    if let MutationContent::Changes(changes) = &mut push.mutations[0].as_mut().unwrap().content {
        changes[0].kind = name.map_or(ChangeKind::Delete, |name| ChangeKind::Put(body(name)));
    }
    push
}

struct World {
    store: MemoryStorage,
    limits: Limits,
    opened: u64,
}

impl World {
    fn new(tail_bytes: usize) -> Self {
        let mut limits = Limits::default();
        limits.tail_bytes = tail_bytes;
        Self {
            store: MemoryStorage::new(),
            limits,
            opened: 0,
        }
    }

    fn engine(&mut self) -> EmbeddedEngine {
        self.opened += 1;
        engine_with(
            Arc::new(self.store.clone()),
            self.opened,
            self.limits.clone(),
        )
    }

    /// Some documents, written by a client and partly deleted again. Returns the engine that did it.
    fn written(&mut self, rules: &Rules) -> EmbeddedEngine {
        let engine = self.engine();
        let mut writer = Writer::attach(&engine, 1);
        let authority = writer_authority(rules);
        for (at, name) in [("a", "red"), ("b", "blue"), ("notes/c", "*"), ("d", "")] {
            let push = push(&mut writer, at, None, Some(name), &authority);
            now(engine.commit(&ns(), &[push])).unwrap();
        }
        engine
    }

    fn rows(&self, kind: u8) -> Vec<Vec<u8>> {
        let most = ScanLimit::entries(10_000);
        let all = now(self.store.scan(KeyRange::all(), most, Direction::Forward)).unwrap();
        let is_it = |key: &Vec<u8>| key[b"Ndefault\0".len()] == kind;
        all.into_iter().map(|(key, _)| key).filter(is_it).collect()
    }
}

#[test]
fn a_reader_should_hold_just_what_he_is_shown_whatever_is_written() {
    for (seed, tail_bytes) in [(1, 1_000_000), (2, 0), (3, 2_000)] {
        let rules = Rules::default().authorizer(Arc::new(Named("1")));
        let mut world = World::new(tail_bytes);
        let mut engine = world.engine();
        let mut writer = Writer::attach(&engine, 1);
        let authority = writer_authority(&rules);
        let mut dice = Dice(seed);
        // The version that stands: its revision, and whether it is live.
        let mut stands: BTreeMap<String, Revision> = BTreeMap::new();
        let mut parts = 0;
        for round in 0..300 {
            let collection = ["todos", "notes", "secrets"][dice.below(3)];
            let at = format!("{collection}/{}", dice.below(8));
            let base = stands.get(&at).copied();
            // What nobody may read nobody changes any more, so it is rare.
            let nobody = usize::from(dice.below(20) > 0);
            let name = NAMES[nobody..][dice.below(NAMES.len() - nobody)];
            let name = Some(name).filter(|_| dice.below(4) > 0);
            let push = push(&mut writer, &at, base, name, &authority);
            let rev = writer.rev_of(&at).unwrap();
            let committed = now(engine.commit(&ns(), &[push])).unwrap();
            match &committed.answers[0].outcomes[..] {
                [Outcome::Applied { .. }] if name.is_some() => {
                    stands.insert(at, rev);
                }
                [Outcome::Applied { .. }] => {
                    stands.remove(&at);
                }
                // The writer himself may not touch what he cannot read.
                [Outcome::Rejected { code, .. }] => assert_eq!(code, "forbidden"),
                other => panic!("{other:?}"),
            }
            parts = parts.max(world.rows(b'g').len());
            if round % 10 == 0 {
                assert_true_for_all(&engine, &rules, &[]);
                assert_true_for_all(&engine, &rules, &["notes", "secrets"]);
            }
            if round % 50 == 49 {
                engine = world.engine();
                writer.attach_again(&engine);
                assert_true_for_all(&engine, &rules, &[]);
            }
        }
        assert!(parts > 8, "labels make parts: {parts}");
    }
}

#[test]
fn without_rules_there_is_one_digest_for_each_collection() {
    let mut world = World::new(1_000_000);
    let engine = world.engine();
    let mut writer = Writer::attach(&engine, 1);
    writer.commit(&engine, &[("a", None), ("b", None), ("notes/a", None)]);
    assert_eq!(world.rows(b'g').len(), 2);
    assert_true_for_all(&engine, &Rules::default(), &[]);
    let push = writer.push_deletions(&["notes/a"]);
    now(engine.commit(&ns(), &[push])).unwrap();
    assert_eq!(world.rows(b'g').len(), 1, "an empty one leaves nothing");
    assert_true_for_all(&engine, &Rules::default(), &[]);
}

#[test]
fn a_page_that_stops_before_the_head_tells_none() {
    let mut world = World::new(1_000_000);
    let engine = world.engine();
    let mut writer = Writer::attach(&engine, 1);
    writer.commit(&engine, &[("a", None), ("b", None)]);
    let request = ReadRequest {
        records: 1,
        ..ReadRequest {
            after: Seq::ZERO,
            until: None,
            live_until: None,
            told: Seq::ZERO,
            collections: Arc::default(),
            records: 1,
            bytes: 1_000_000,
            authority: Authority::open(),
            digests: true,
        }
    };
    let page = now(engine.changes(&ns(), &request)).unwrap();
    assert_eq!((page.end, page.digests), (Seq::new(1), None));
}

#[test]
fn labels_of_other_rules_are_not_summed_but_everything_still_is() {
    let rules = Rules::default().authorizer(Arc::new(Named("1")));
    let mut world = World::new(1_000_000);
    drop(world.written(&rules));
    let engine = world.engine();
    let newer = Rules::default().authorizer(Arc::new(Named("2")));
    let red = Access::all("r").label("red");
    let reader = Authority::new(ns(), red, client(9), &newer);
    let page = read(&engine, Seq::ZERO, &reader, &[]);
    assert_eq!((page.records.len(), page.digests), (2, None));
    let page = read(&engine, Seq::ZERO, &Authority::open(), &[]);
    assert_eq!(page.digests, Some(shown(&page)));
}

/// A log from before digests, or one that an older program wrote to since: what it says of them is not believed.
#[test]
fn a_store_without_digests_is_counted_once() {
    let rules = Rules::default().authorizer(Arc::new(Named("1")));
    let mut world = World::new(1_000_000);
    drop(world.written(&rules));
    // As an older program leaves it: no mark in the log, and rows that were true once.
    let log = world.rows(b'l').remove(0);
    let stored = now(world.store.get(&log)).unwrap().unwrap();
    let payload = pocket_core::envelope::open(&log, &stored).unwrap();
    let end = payload.windows(4).position(|at| at == b"\x81\xa1g\xc3");
    let old = [&payload[..end.unwrap()], &[0xc0]].concat();
    let mut batch = Batch::new();
    batch.put(log.clone(), pocket_core::envelope::seal(&log, &[&old]));
    let stale = world.rows(b'g').remove(0);
    let value = now(world.store.get(&stale)).unwrap().unwrap();
    let kept = pocket_core::envelope::open(&stale, &value).unwrap();
    let mut other = stale.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    batch.put(other.clone(), pocket_core::envelope::seal(&other, &[&kept]));
    now(world.store.commit(batch, Durability::PowerLoss)).unwrap();
    let engine = world.engine();
    assert_true_for_all(&engine, &rules, &[]);
    assert!(!world.rows(b'g').contains(&other));
}

#[test]
fn two_engines_on_one_store_tell_digests_of_what_they_show() {
    let mut world = World::new(1_000_000);
    let (one, other) = (world.engine(), world.engine());
    let mut writer = Writer::attach(&one, 1);
    let mut second = Writer::attach(&other, 2);
    for round in 0..20 {
        writer.commit(&one, &[(&format!("a{round}"), None)]);
        second.commit(&other, &[(&format!("b{round}"), None)]);
        for engine in [&one, &other] {
            let page = read(engine, Seq::ZERO, &Authority::open(), &[]);
            assert_eq!(page.digests, Some(shown(&page)), "round {round}");
        }
    }
}

/// Once there had been too many sets of labels, there was no digest ever again.
#[test]
fn digests_come_back_when_there_are_few_sets_of_labels_again() {
    let rules = Rules::default().authorizer(Arc::new(Named("1")));
    let mut world = World::new(1_000_000);
    world.limits.readerships = 8;
    let engine = world.engine();
    let mut writer = Writer::attach(&engine, 1);
    let labels: Vec<String> = (0..12).map(|number| format!("l{number}")).collect();
    let access = labels
        .iter()
        .fold(Access::all("ann"), |access, label| access.label(label));
    let authority = Authority::new(ns(), access, client(1), &rules);
    for label in &labels {
        let push = push(&mut writer, label, None, Some(label), &authority);
        now(engine.commit(&ns(), &[push])).unwrap();
    }
    let forget = |engine: &EmbeddedEngine| {
        while now(engine.compact(&ns(), &Retention::forever()))
            .unwrap()
            .more
        {}
    };
    let digests = |engine: &EmbeddedEngine| read(engine, Seq::ZERO, &authority, &[]).digests;
    assert_eq!(digests(&engine), None);
    forget(&engine);
    let engine = world.engine();
    writer.attach_again(&engine);
    assert_eq!(digests(&engine), None, "they are still many");
    for label in &labels[4..] {
        let base = writer.rev_of(label);
        let push = push(&mut writer, label, base, None, &authority);
        now(engine.commit(&ns(), &[push])).unwrap();
    }
    forget(&engine);
    let engine = world.engine();
    writer.attach_again(&engine);
    let page = read(&engine, Seq::ZERO, &authority, &[]);
    assert_eq!(page.digests, Some(shown(&page)));
    assert_eq!(world.rows(b'g').len(), 4);
}
