//! The embedded engine over the reference store: one order, exactly once, whatever the store does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;

use common::{Writer, engine, engine_with, ns, rev};
use futures_util::FutureExt;
use pocket_core::{Outcome, Seq};
use pocket_storage::{Durability, Storage};
use pocket_storage_memory::{MemoryDisk, MemoryStorage};
use pocket_sync_server::decide::Refusal;
use pocket_sync_server::engine::{EngineError, FeedPage, ReadRequest};
use pocket_sync_server::rules::Authority;
use pocket_sync_server::{Engine, Limits, Namespace};

/// Every call on the reference store ends at once, so no runtime is needed.
fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("nothing waits on a store in memory")
}

fn read(engine: &dyn Engine, after: u64, records: usize) -> FeedPage {
    let request = ReadRequest {
        after: Seq::new(after),
        until: None,
        live_until: None,
        told: Seq::ZERO,
        collections: Arc::default(),
        records,
        bytes: 1_000_000,
        authority: Authority::open(),
        digests: false,
    };
    now(engine.changes(&ns(), &request)).unwrap()
}

fn ids(page: &FeedPage) -> Vec<(String, u64)> {
    let records = page.records.iter().map(|record| record.decode().unwrap());
    records
        .map(|record| (record.id.to_string(), record.seq.get()))
        .collect()
}

#[test]
fn a_push_sent_again_after_a_restart_gets_the_recorded_outcome() {
    let disk = MemoryDisk::new();
    let first = engine(Arc::new(disk.open()));
    let mut writer = Writer::attach(&first, 1);
    let push = writer.push(&[("a", None), ("b", None)]);
    let answer = now(first.commit(&ns(), std::slice::from_ref(&push)))
        .unwrap()
        .answers
        .remove(0);
    assert_eq!(answer.outcomes.len(), 2);

    let second = engine(Arc::new(disk.open()));
    let mut again = push.clone();
    again.session = writer.attach_again(&second);
    let repeated = now(second.commit(&ns(), &[again])).unwrap();
    assert_eq!(repeated.answers[0].outcomes, answer.outcomes);
    assert_eq!(repeated.head, Seq::new(2));
    assert_eq!(
        ids(&read(&second, 0, 100)),
        [("a".to_owned(), 1), ("b".to_owned(), 2)]
    );
}

#[test]
fn the_feed_has_one_entry_for_each_document_from_memory_and_from_the_store_alike() {
    let store = MemoryStorage::new();
    let engine = engine(Arc::new(store.clone()));
    let mut writer = Writer::attach(&engine, 1);
    writer.commit(&engine, &[("a", None), ("b", None), ("c", None)]);
    for _ in 0..50 {
        let base = writer.rev_of("b");
        writer.commit(&engine, &[("b", base)]);
    }
    let expected = [
        ("a".to_owned(), 1),
        ("c".to_owned(), 3),
        ("b".to_owned(), 53),
    ];
    let live = read(&engine, 0, 100);
    assert_eq!(ids(&live), expected);
    assert_eq!(
        (live.start, live.end, live.head),
        (Seq::ZERO, Seq::new(53), Seq::new(53))
    );

    let reopened = common::engine(Arc::new(store));
    let stored = read(&reopened, 0, 100);
    assert_eq!(ids(&stored), expected);
    assert_eq!(
        (stored.start, stored.end, stored.head),
        (live.start, live.end, live.head)
    );
    assert_eq!(
        stored.records, live.records,
        "a record is the same bytes wherever it was read"
    );
}

#[test]
fn a_thousand_readers_of_a_change_share_its_bytes() {
    let engine = engine(Arc::new(MemoryStorage::new()));
    let mut writer = Writer::attach(&engine, 1);
    writer.commit(&engine, &[("a", None)]);
    let first = read(&engine, 0, 100).records.remove(0).bytes;
    for _ in 0..1_000 {
        let bytes = read(&engine, 0, 100).records.remove(0).bytes;
        assert_eq!(bytes.as_ptr(), first.as_ptr(), "it was encoded once more");
    }
}

#[test]
fn pages_from_the_store_end_at_their_last_record_and_go_on_from_there() {
    let store = MemoryStorage::new();
    let first = engine(Arc::new(store.clone()));
    let mut writer = Writer::attach(&first, 1);
    let names: Vec<String> = (0..250).map(|n| format!("d{n:03}")).collect();
    let documents: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    writer.commit(&first, &documents);

    let engine = engine(Arc::new(store));
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = read(&engine, after, 100);
        assert_eq!(page.start, Seq::new(after));
        seen.extend(ids(&page).into_iter().map(|(id, _)| id));
        after = page.end.get();
        if page.end == page.head {
            break;
        }
        assert_eq!(page.records.len(), 100);
        assert_eq!(page.records.last().unwrap().seq, page.end);
    }
    assert_eq!(seen, names);
}

#[test]
fn a_page_stops_before_its_bytes_run_over() {
    for reopen in [false, true] {
        let store = MemoryStorage::new();
        let mut engine = engine(Arc::new(store.clone()));
        Writer::attach(&engine, 1).commit(&engine, &[("a", None), ("b", None), ("c", None)]);
        if reopen {
            engine = common::engine(Arc::new(store));
        }
        let one = read(&engine, 0, 1).records[0].bytes.len() + 50;
        let request = ReadRequest {
            after: Seq::ZERO,
            until: None,
            live_until: None,
            told: Seq::ZERO,
            collections: Arc::default(),
            records: 100,
            bytes: 2 * one,
            authority: Authority::open(),
            digests: false,
        };
        let page = now(engine.changes(&ns(), &request)).unwrap();
        assert_eq!(
            (page.records.len(), page.end),
            (2, Seq::new(2)),
            "reopened: {reopen}"
        );
        let tiny = now(engine.changes(
            &ns(),
            &ReadRequest {
                bytes: 1,
                ..request
            },
        ))
        .unwrap();
        assert_eq!(
            (tiny.records.len(), tiny.end),
            (1, Seq::new(1)),
            "one record is always read"
        );
    }
}

#[test]
fn a_filtered_read_covers_what_it_leaves_out() {
    for reopen in [false, true] {
        let store = MemoryStorage::new();
        let mut engine = engine(Arc::new(store.clone()));
        let mut writer = Writer::attach(&engine, 1);
        writer.commit(
            &engine,
            &[
                ("a", None),
                ("notes/x", None),
                ("b", None),
                ("notes/y", None),
                ("c", None),
            ],
        );
        if reopen {
            engine = common::engine(Arc::new(store));
        }
        let request = ReadRequest {
            after: Seq::ZERO,
            until: Some(Seq::new(4)),
            live_until: None,
            told: Seq::ZERO,
            collections: Arc::new([pocket_core::CollectionName::new("notes").unwrap()].into()),
            records: 100,
            bytes: 100_000,
            authority: Authority::open(),
            digests: false,
        };
        let page = now(engine.changes(&ns(), &request)).unwrap();
        assert_eq!(ids(&page), [("x".to_owned(), 2), ("y".to_owned(), 4)]);
        assert_eq!((page.end, page.head), (Seq::new(4), Seq::new(5)));
    }
}

#[test]
fn each_opening_is_an_epoch_of_one_lineage() {
    let store = MemoryStorage::new();
    let mut states = Vec::new();
    for round in 0..3_u8 {
        let engine = engine(Arc::new(store.clone()));
        let mut writer = Writer::attach(&engine, 10 + round);
        states.push(writer.attached.log.clone());
        writer.commit(&engine, &[(["a", "b", "c"][usize::from(round)], None)]);
    }
    assert!(
        states
            .iter()
            .all(|state| state.lineage == states[0].lineage)
    );
    let firsts: Vec<_> = states[2]
        .epochs
        .iter()
        .map(|start| start.first.get())
        .collect();
    assert_eq!(firsts, [1, 2, 3]);
    assert_eq!(states[2].epochs[..2], states[1].epochs[..]);
    let log = &states[2];
    assert!(
        log.contains(states[0].epoch, Seq::new(1)) && !log.contains(states[0].epoch, Seq::new(2))
    );
    assert!(log.contains(log.epoch, Seq::new(2)) && !log.contains(log.epoch, Seq::new(3)));
    assert!(!log.contains(pocket_core::Epoch::from_bytes([9; 16]), Seq::ZERO));
}

#[test]
fn namespaces_know_nothing_of_each_other() {
    let engine = engine(Arc::new(MemoryStorage::new()));
    let other = pocket_sync_server::Namespace::new("other").unwrap();
    let mut writer = Writer::attach(&engine, 1);
    writer.commit(&engine, &[("a", None)]);
    assert_eq!(now(engine.head(&other)).unwrap(), Seq::ZERO);
    assert_eq!(now(engine.head(&ns())).unwrap(), Seq::new(1));
}

#[test]
fn two_engines_on_one_store_never_give_a_place_twice() {
    let store = MemoryStorage::new();
    let engines = [
        engine(Arc::new(store.clone())),
        engine_with(Arc::new(store.clone()), 99, Limits::default()),
    ];
    let mut writers = [
        Writer::attach(&engines[0], 1),
        Writer::attach(&engines[1], 2),
    ];
    let mut places = Vec::new();
    for round in 0..20 {
        let at = round % 2;
        let name = format!("d{round}");
        for outcome in writers[at].commit(&engines[at], &[(&name, None)]) {
            let Outcome::Applied { first } = outcome else {
                panic!("{outcome:?}")
            };
            places.push(first.get());
        }
    }
    assert_eq!(places, (1..=20).collect::<Vec<_>>());
    for engine in &engines {
        now(engine.head(&ns())).unwrap();
        writers[0].commit(engine, &[]);
    }
    // Both write the same document: the second one is told.
    writers[0].commit(&engines[0], &[("same", None)]);
    let outcomes = writers[1].commit(&engines[1], &[("same", None)]);
    assert_eq!(
        outcomes,
        [Outcome::Conflict {
            seqs: vec![Seq::new(21)]
        }]
    );
}

#[test]
fn an_acknowledged_push_survives_a_power_cut_and_an_unknown_one_is_asked_again() {
    let disk = MemoryDisk::new();
    let first = engine(Arc::new(disk.open()));
    let mut writer = Writer::attach(&first, 1);
    writer.commit(&first, &[("a", None)]);
    assert_eq!(
        disk.lost_by_power_loss(),
        0,
        "an acknowledged commit is durable"
    );
    disk.lose_power(100);
    let push = writer.push(&[("b", None)]);
    let error = now(first.commit(&ns(), std::slice::from_ref(&push))).unwrap_err();
    assert!(
        matches!(error, EngineError::Fatal(_)),
        "the store is gone: {error:?}"
    );

    let second = engine(Arc::new(disk.open()));
    let session = writer.attach_again(&second);
    let again = pocket_sync_server::decide::PushRequest { session, ..push };
    let answer = now(second.commit(&ns(), &[again]))
        .unwrap()
        .answers
        .remove(0);
    assert_eq!(answer.outcomes, [Outcome::Applied { first: Seq::new(2) }]);
    assert_eq!(
        ids(&read(&second, 0, 10)),
        [("a".to_owned(), 1), ("b".to_owned(), 2)]
    );
}

#[test]
fn an_older_session_of_a_client_is_fenced_off() {
    let engine = engine(Arc::new(MemoryStorage::new()));
    let mut writer = Writer::attach(&engine, 1);
    let stale = writer.push(&[("a", None)]);
    writer.attach_again(&engine);
    let answer = now(engine.commit(&ns(), &[stale]))
        .unwrap()
        .answers
        .remove(0);
    assert_eq!(answer.refusal, Some(Refusal::Replaced));
    assert_eq!(now(engine.head(&ns())).unwrap(), Seq::ZERO);
}

#[test]
fn documents_are_fetched_by_id_and_missing_ones_are_left_out() {
    for reopen in [false, true] {
        let store = MemoryStorage::new();
        let mut engine = engine(Arc::new(store.clone()));
        let mut writer = Writer::attach(&engine, 1);
        writer.commit(&engine, &[("a", None), ("b", None)]);
        if reopen {
            engine = common::engine(Arc::new(store));
        }
        let fetched = now(engine.fetch(
            &ns(),
            &[common::key("b"), common::key("missing")],
            &Authority::open(),
        ))
        .unwrap();
        assert_eq!(fetched.head, Seq::new(2));
        let found: Vec<_> = fetched
            .records
            .iter()
            .map(|record| record.decode().unwrap())
            .collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].rev), ("b", rev(2, 1)));
    }
}

#[test]
fn a_damaged_record_is_reported_and_never_served() {
    let store = MemoryStorage::new();
    let engine = engine(Arc::new(store.clone()));
    Writer::attach(&engine, 1).commit(&engine, &[("a", None)]);
    let all = now(store.scan(
        pocket_storage::KeyRange::all(),
        pocket_storage::ScanLimit::entries(100),
        pocket_storage::Direction::Forward,
    ))
    .unwrap();
    let (key, value) = all
        .into_iter()
        .find(|(key, _)| key.ends_with(b"todos\0a"))
        .unwrap();
    let mut damaged = value.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let mut batch = pocket_storage::Batch::new();
    batch.put(key, damaged);
    now(store.commit(batch, Durability::PowerLoss)).unwrap();

    let reopened = common::engine(Arc::new(store));
    let request = ReadRequest {
        after: Seq::ZERO,
        until: None,
        live_until: None,
        told: Seq::ZERO,
        collections: Arc::default(),
        records: 10,
        bytes: 10_000,
        authority: Authority::open(),
        digests: false,
    };
    let error = now(reopened.changes(&ns(), &request)).unwrap_err();
    assert!(matches!(error, EngineError::Fatal(_)), "{error:?}");
}

#[test]
fn a_quota_that_came_later_counts_what_is_there() {
    let store = MemoryStorage::new();
    let open = engine(Arc::new(store.clone()));
    let mut ann = Writer::attach(&open, 1);
    ann.commit(&open, &[("a", None), ("b", None), ("notes/c", None)]);
    drop(open);

    let limits = || {
        let mut limits = Limits::default();
        limits.decide.quota.documents = Some(4);
        limits
    };
    let bounded = engine_with(Arc::new(store.clone()), 7, limits());
    let session = ann.attach_again(&bounded);
    assert_eq!(session, ann.session);
    let outcomes = ann.commit(&bounded, &[("d", None), ("e", None)]);
    let is_full =
        |outcome: &Outcome| matches!(outcome, Outcome::Rejected { code, .. } if code == "quota");
    assert!(
        !is_full(&outcomes[0]) && is_full(&outcomes[1]),
        "{outcomes:?}"
    );
    drop(bounded);

    // The count is stored; it is not made again, and goes on where it was.
    let again = engine_with(Arc::new(store), 8, limits());
    ann.attach_again(&again);
    assert!(is_full(&ann.commit(&again, &[("f", None)])[0]));
}

/// Every namespace that was ever named stayed open, and behind 10,000 of them no other one could be.
#[test]
fn a_namespace_that_everybody_left_is_closed_and_goes_on_in_its_epoch() {
    let mut limits = Limits::default();
    limits.namespaces = 1;
    let engine = engine_with(Arc::new(MemoryStorage::new()), 90, limits);
    let mut writer = Writer::attach(&engine, 1);
    writer.commit(&engine, &[("a", None)]);
    let epoch = read(&engine, 0, 1).epoch;
    let other = Namespace::new("other").unwrap();
    assert!(now(engine.head(&other)).is_err(), "one is open already");
    engine.release(&ns());
    assert_eq!(now(engine.head(&other)).unwrap(), Seq::ZERO);
    engine.release(&other);
    writer.commit(&engine, &[("b", None)]);
    assert_eq!(read(&engine, 0, 1).epoch, epoch);
}
