//! The embedded engine over a store that fails, crashes and loses power: outcomes stay exactly once, and the feed
//! stays in order, whatever was going on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{TestEnv, Writer, ns};
use futures_util::FutureExt;
use pocket_core::{Outcome, Revision, Seq};
use pocket_storage::StorageError;
use pocket_storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_storage_memory::MemoryDisk;
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::{EngineError, FeedPage, ReadRequest};
use pocket_sync_server::{EmbeddedEngine, Engine, Limits};

fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("nothing waits on a store in memory")
}

fn faulty(disk: &MemoryDisk, faults: &Faults) -> EmbeddedEngine {
    let storage = FaultyStorage::new(Arc::new(disk.open()), faults);
    EmbeddedEngine::new(
        Arc::new(storage),
        TestEnv::new(faults.calls().total() + 1),
        Limits::default(),
    )
}

fn everything(after: Seq) -> ReadRequest {
    ReadRequest {
        after,
        until: None,
        live_until: None,
        told: Seq::ZERO,
        collections: Arc::default(),
        records: 1_000,
        bytes: 1_000_000,
        authority: pocket_sync_server::rules::Authority::open(),
        digests: false,
    }
}

fn read(engine: &EmbeddedEngine, after: Seq) -> FeedPage {
    now(engine.changes(&ns(), &everything(after))).unwrap()
}

#[test]
fn after_a_commit_of_unknown_result_there_is_a_new_epoch_before_anything_is_served() {
    for moment in [Moment::Before, Moment::After] {
        let (disk, faults) = (MemoryDisk::new(), Faults::new());
        let engine = faulty(&disk, &faults);
        let mut writer = Writer::attach(&engine, 1);
        writer.commit(&engine, &[("a", None)]);
        let epoch = writer.attached.log.epoch;
        assert_eq!(read(&engine, Seq::ZERO).epoch, epoch);

        let next = faults.calls().commit + 1;
        let error = StorageError::Backend("fsync failed".to_owned());
        faults.fail_at_kind(CallKind::Commit, next, moment, error);
        let push = writer.push(&[("b", None)]);
        let failed = now(engine.commit(&ns(), std::slice::from_ref(&push))).unwrap_err();
        assert!(matches!(failed, EngineError::Unknown(_)), "{failed:?}");

        let page = read(&engine, Seq::ZERO);
        assert_ne!(page.epoch, epoch, "the log was opened anew");
        let stored = match moment {
            Moment::Before => 1,
            Moment::After => 2,
        };
        assert_eq!(
            (page.records.len(), page.head),
            (stored, Seq::new(stored as u64))
        );
        // The same push again: once, whether the first one was stored or not.
        let answer = now(engine.commit(&ns(), &[push]))
            .unwrap()
            .answers
            .remove(0);
        assert_eq!(answer.outcomes, [Outcome::Applied { first: Seq::new(2) }]);
        assert_eq!(read(&engine, Seq::ZERO).head, Seq::new(2));
    }
}

#[test]
fn a_full_disk_refuses_and_the_engine_goes_on_when_there_is_room() {
    let (disk, faults) = (MemoryDisk::new(), Faults::new());
    let engine = faulty(&disk, &faults);
    let mut writer = Writer::attach(&engine, 1);
    let next = faults.calls().commit + 1;
    let error = StorageError::Full("no space".to_owned());
    faults.fail_at_kind(CallKind::Commit, next, Moment::Before, error);
    let push = writer.push(&[("a", None)]);
    let refused = now(engine.commit(&ns(), std::slice::from_ref(&push))).unwrap_err();
    assert!(matches!(refused, EngineError::Full(_)), "{refused:?}");
    assert_eq!(read(&engine, Seq::ZERO).head, Seq::ZERO);
    let answer = now(engine.commit(&ns(), &[push]))
        .unwrap()
        .answers
        .remove(0);
    assert_eq!(answer.outcomes, [Outcome::Applied { first: Seq::new(1) }]);
    assert_eq!(
        read(&engine, Seq::ZERO).epoch,
        writer.attached.log.epoch,
        "nothing was in doubt"
    );
}

/// A small generator: the histories differ, and each is the same whenever it runs.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What the server did, kept outside of it.
#[derive(Default)]
struct Audit {
    /// The newest version of each document and its place.
    documents: BTreeMap<String, (Revision, u64)>,
    head: u64,
}

impl Audit {
    fn note(&mut self, push: &PushRequest, outcomes: &[Outcome]) {
        for (mutation, outcome) in push.mutations.iter().flatten().zip(outcomes) {
            if let Outcome::Applied { first } = outcome {
                let change = &mutation.changes()[0];
                assert_eq!(first.get(), self.head + 1, "places are contiguous");
                self.head = first.get();
                self.documents
                    .insert(change.id.to_string(), (change.rev, first.get()));
            }
        }
    }
}

/// A reader that stands somewhere in the feed and holds what it has read.
#[derive(Default)]
struct Reader {
    position: Seq,
    documents: BTreeMap<String, (Revision, u64)>,
}

impl Reader {
    fn take(&mut self, page: &FeedPage) {
        assert_eq!(page.start, self.position);
        let mut last = page.start;
        for record in &page.records {
            let record = record.decode().unwrap();
            assert!(record.seq > last && record.seq <= page.end, "places rise");
            last = record.seq;
            let seen = self
                .documents
                .insert(record.id.to_string(), (record.rev, record.seq.get()));
            assert!(
                seen.is_none_or(|(_, seq)| seq < record.seq.get()),
                "never a step back"
            );
        }
        self.position = page.end;
    }
}

/// One history: a writer that sends again until it is answered, readers that come and go, a store that fails.
fn history(seed: u64) {
    let mut dice = Dice(seed);
    let (disk, faults) = (MemoryDisk::new(), Faults::new());
    let mut engine = faulty(&disk, &faults);
    let mut writer = Writer::attach(&engine, 1);
    let (mut audit, mut readers) = (Audit::default(), [Reader::default(), Reader::default()]);
    for _ in 0..60 {
        match dice.roll(10) {
            0 => faults.crash_at(faults.calls().total() + 1 + dice.roll(3), side(&mut dice)),
            1 => {
                let call = faults.calls().commit + 1;
                let error = StorageError::Backend("fsync failed".to_owned());
                faults.fail_at_kind(CallKind::Commit, call, side(&mut dice), error);
            }
            2 | 3 => {
                let reader = &mut readers[usize::from(dice.roll(2) == 0)];
                let request = ReadRequest {
                    records: 1 + dice.roll(4) as usize,
                    ..everything(reader.position)
                };
                if let Ok(page) = now(engine.changes(&ns(), &request)) {
                    reader.take(&page);
                }
            }
            _ => {
                let name = format!("d{}", dice.roll(6));
                let base = audit.documents.get(&name).map(|(rev, _)| *rev);
                let mut push = writer.push(&[(name.as_str(), base)]);
                let outcomes = loop {
                    match now(engine.commit(&ns(), std::slice::from_ref(&push))) {
                        Ok(committed) => {
                            break committed.answers.into_iter().next().unwrap().outcomes;
                        }
                        Err(EngineError::Fatal(_)) => {
                            // The process has ended; power too, now and then.
                            if dice.roll(2) == 0 {
                                disk.lose_power(dice.roll(5) as usize);
                            }
                            faults.restart();
                            engine = faulty(&disk, &faults);
                            while writer.try_attach_again(&engine).is_none() {
                                faults.restart();
                                engine = faulty(&disk, &faults);
                            }
                            push.session = writer.session;
                        }
                        Err(_) => {}
                    }
                };
                assert!(
                    matches!(outcomes[..], [Outcome::Applied { .. }]),
                    "{outcomes:?}"
                );
                audit.note(&push, &outcomes);
            }
        }
    }
    // The calm after it.
    let engine = faulty(&disk, &Faults::new());
    for reader in &mut readers {
        reader.take(&read(&engine, reader.position));
        assert_eq!(reader.position, Seq::new(audit.head), "seed {seed}");
        assert_eq!(reader.documents, audit.documents, "seed {seed}");
    }
}

fn side(dice: &mut Dice) -> Moment {
    if dice.roll(2) == 0 {
        Moment::Before
    } else {
        Moment::After
    }
}

#[test]
fn every_push_takes_effect_once_and_every_reader_ends_with_the_same_documents() {
    (0..300).for_each(history);
}
