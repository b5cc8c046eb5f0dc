//! Deletions stand apart in the stored feed: a first sync passes them, and everybody else sees one feed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{TestEnv, Writer, ns};
use futures_util::FutureExt;
use pocket_core::Seq;
use pocket_core::envelope;
use pocket_storage::faulty::{Faults, FaultyStorage};
use pocket_storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::{FeedPage, ReadRequest, Retention};
use pocket_sync_server::rules::Authority;
use pocket_sync_server::{EmbeddedEngine, Engine, Limits};

fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("nothing waits on a store in memory")
}

/// An engine that remembers nothing of what was written before.
fn fresh(storage: &Arc<dyn Storage>) -> EmbeddedEngine {
    EmbeddedEngine::new(storage.clone(), TestEnv::new(9), Limits::default())
}

fn commit(engine: &EmbeddedEngine, push: PushRequest) {
    let committed = now(engine.commit(&ns(), &[push])).unwrap();
    assert_eq!(committed.answers[0].refusal, None);
}

fn read(engine: &EmbeddedEngine, after: u64, live_until: Option<u64>, records: usize) -> FeedPage {
    let request = ReadRequest {
        after: Seq::new(after),
        until: None,
        live_until: live_until.map(Seq::new),
        told: Seq::ZERO,
        collections: Arc::default(),
        records,
        bytes: 1_000_000,
        authority: Authority::open(),
        digests: false,
    };
    now(engine.changes(&ns(), &request)).unwrap()
}

/// Places and ids of what is live, and of what is deleted.
type Seen = Vec<(u64, String, bool)>;

fn seen(page: &FeedPage) -> Seen {
    let records = page.records.iter().map(|record| record.decode().unwrap());
    let shown = records.map(|record| {
        let live = record.state.body().is_some();
        (record.seq.get(), record.id.to_string(), live)
    });
    shown.collect()
}

#[test]
fn a_first_sync_among_many_deletions_reads_none_of_them_and_takes_one_page() {
    const MANY: usize = 9_000;
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let engine = fresh(&storage);
    let mut writer = Writer::attach(&engine, 1);
    let names: Vec<_> = (0..MANY).map(|number| format!("gone{number}")).collect();
    for part in names.chunks(1_000) {
        let part: Vec<_> = part.iter().map(|name| (name.as_str(), None)).collect();
        commit(&engine, writer.push(&part));
        let part: Vec<_> = part.iter().map(|(name, _)| *name).collect();
        commit(&engine, writer.push_deletions(&part));
    }
    commit(&engine, writer.push(&[("a", None), ("b", None)]));
    let head = 2 * MANY as u64 + 2;
    let faults = Faults::new();
    let counted: Arc<dyn Storage> = Arc::new(FaultyStorage::new(storage, &faults));
    let engine = fresh(&counted);
    let opened = read(&engine, head, None, 1);
    assert_eq!((opened.end, opened.head), (Seq::new(head), Seq::new(head)));
    let before = faults.calls();
    let page = read(&engine, 0, Some(u64::MAX), 100);
    let after = faults.calls();
    let live = |seq, id: &str| (seq, id.to_owned(), true);
    assert_eq!(seen(&page), [live(head - 1, "a"), live(head, "b")]);
    assert_eq!(page.end, Seq::new(head));
    assert_eq!(after.scan - before.scan, 1, "the live part of the feed");
}

/// Rows as older versions stored them: deletions among the others.
fn store_as_before(storage: &MemoryStorage, which: impl Fn(u64) -> bool) {
    let all = storage.scan(
        KeyRange::all(),
        ScanLimit::entries(usize::MAX).bytes(usize::MAX),
        Direction::Forward,
    );
    let prefix = [b"N", ns().as_str().as_bytes(), &[0]].concat();
    let mut batch = Batch::new();
    for (key, value) in now(all).unwrap() {
        let Some([b't', place @ ..]) = key.strip_prefix(prefix.as_slice()) else {
            continue;
        };
        let seq = u64::from_be_bytes(place.try_into().unwrap());
        if !which(seq) {
            continue;
        }
        let payload = envelope::open(&key, &value).unwrap();
        let before = [prefix.as_slice(), b"f", place].concat();
        let value = envelope::seal(&before, &[&payload]);
        batch.put(before, value);
        batch.delete(key);
    }
    now(storage.commit(batch, Durability::PowerLoss)).unwrap();
}

/// A program that did not know entries of deletions wrote a document anew, and left that of its deletion behind.
#[test]
fn a_deletion_that_was_left_behind_takes_no_document_away() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let engine = fresh(&storage);
    let mut writer = Writer::attach(&engine, 1);
    commit(&engine, writer.push(&[("back", None), ("gone", None)]));
    commit(&engine, writer.push_deletions(&["back", "gone"]));
    let of_deletion = [
        b"N",
        ns().as_str().as_bytes(),
        &[0],
        b"t",
        &3_u64.to_be_bytes(),
    ]
    .concat();
    let left = now(storage.get(&of_deletion)).unwrap().unwrap();
    commit(&engine, writer.push(&[("back", None)]));
    assert_eq!(now(storage.get(&of_deletion)).unwrap(), None);
    let mut batch = Batch::new();
    batch.put(of_deletion, left);
    now(storage.commit(batch, Durability::PowerLoss)).unwrap();

    let engine = fresh(&storage);
    while now(engine.compact(&ns(), &Retention::forever().places(0)))
        .unwrap()
        .more
    {}
    let page = read(&fresh(&storage), 0, None, 100);
    assert_eq!(seen(&page), [(5, "back".to_owned(), true)]);
}

/// Small numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// All that a reader with these pages and bounds sees.
fn read_all(engine: &EmbeddedEngine, head: u64, live_until: Option<u64>, records: usize) -> Seen {
    let (mut all, mut after) = (Vec::new(), 0);
    while after < head {
        let page = read(engine, after, live_until, records);
        assert!(page.records.len() <= records);
        assert!(page.end > Seq::new(after), "no page stands still");
        all.extend(seen(&page));
        after = page.end.get();
    }
    all
}

#[test]
fn live_and_deleted_come_in_the_order_of_their_places_whichever_version_stored_them() {
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let store = MemoryStorage::new();
        let storage: Arc<dyn Storage> = Arc::new(store.clone());
        let engine = fresh(&storage);
        let mut writer = Writer::attach(&engine, 1);
        // The newest place of each document, and whether it is live.
        let mut model: BTreeMap<String, (u64, bool)> = BTreeMap::new();
        let mut head = 0;
        for _ in 0..60 {
            let name = format!("d{}", chance.below(12));
            head += 1;
            let live = model.get(&name).is_some_and(|(_, live)| *live);
            let push = if live && chance.below(2) == 0 {
                writer.push_deletions(&[&name])
            } else {
                let base = writer.rev_of(&name).filter(|_| live);
                writer.push(&[(&name, base)])
            };
            let deletes = live
                && matches!(
                    &push.mutations[0].as_ref().unwrap().content,
                    pocket_core::MutationContent::Changes(changes)
                        if matches!(changes[0].kind, pocket_core::ChangeKind::Delete)
                );
            commit(&engine, push);
            model.insert(name, (head, !deletes));
            if chance.below(10) == 0 {
                let up_to = chance.below(head + 1);
                store_as_before(&store, |seq| seq <= up_to);
            }
        }
        let mut expected: Seen = (model.iter())
            .map(|(id, (seq, live))| (*seq, id.clone(), *live))
            .collect();
        expected.sort();
        let engine = fresh(&storage);
        for records in [1, 2, 3, 100] {
            assert_eq!(read_all(&engine, head, None, records), expected);
            let until = chance.below(head + 1);
            let kept = |entry: &&(u64, String, bool)| entry.2 || entry.0 > until;
            let expected: Seen = expected.iter().filter(kept).cloned().collect();
            assert_eq!(read_all(&engine, head, Some(until), records), expected);
        }
        // What is forgotten is forgotten in that order, too, and nothing is left of it.
        let keep = chance.below(30);
        let retention = Retention::forever().places(keep);
        while now(engine.compact(&ns(), &retention)).unwrap().more {}
        let kept = |entry: &&(u64, String, bool)| entry.2 || entry.0 + keep > head;
        let expected: Seen = expected.iter().filter(kept).cloned().collect();
        let engine = fresh(&storage);
        assert_eq!(read_all(&engine, head, None, 3), expected, "seed {seed}");
    }
}
