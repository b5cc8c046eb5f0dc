//! What a server forgets, and what that must not cost: old deletions, and clients that never came back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "forgetting/clients.rs"]
mod clients;
#[path = "forgetting/clock.rs"]
mod clock;
mod common;
#[path = "forgetting/labels.rs"]
mod labels;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{TestEnv, Writer, client, key, ns};
use pocket_core::{ChangeKind, ClientId, MutationContent, Outcome, Seq};
use pocket_storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_storage::{Storage, StorageError};
use pocket_storage_memory::{MemoryDisk, MemoryStorage};
use pocket_storage_redb::RedbStorage;
use pocket_storage_sled::SledStorage;
use pocket_sync_server::auth::Access;
use pocket_sync_server::decide::{PushRequest, Refusal};
use pocket_sync_server::engine::{AttachRequest, Compacted, FeedPage, ReadRequest, Retention};
use pocket_sync_server::rules::{Attempt, Audience, Authority, Authorizer, Document};
use pocket_sync_server::{EmbeddedEngine, Engine, Limits, Namespace, Rules};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An engine, its clock, and how to begin again on what it stored.
struct World {
    env: Arc<TestEnv>,
    storage: Arc<dyn Storage>,
    engine: EmbeddedEngine,
    disk: Disk,
}

enum Disk {
    Memory(MemoryDisk),
    Redb(tempfile::TempDir),
    Sled(tempfile::TempDir),
}

impl Disk {
    fn open(&self) -> Arc<dyn Storage> {
        match self {
            Self::Memory(disk) => Arc::new(disk.open()),
            Self::Redb(place) => Arc::new(RedbStorage::open(place.path().join("it")).unwrap()),
            Self::Sled(place) => Arc::new(SledStorage::open(place.path().join("it")).unwrap()),
        }
    }
}

impl World {
    fn on(disk: Disk) -> Self {
        let env = TestEnv::new(1);
        let storage = disk.open();
        let engine = EmbeddedEngine::new(storage.clone(), env.clone(), Limits::default());
        Self {
            env,
            storage,
            engine,
            disk,
        }
    }

    fn memory() -> Self {
        Self::on(Disk::Memory(MemoryDisk::new()))
    }

    /// One on each storage.
    fn everywhere() -> [Self; 3] {
        let place = || tempfile::tempdir().unwrap();
        [
            Self::memory(),
            Self::on(Disk::Redb(place())),
            Self::on(Disk::Sled(place())),
        ]
    }

    /// The process ends, and another one begins.
    async fn restart(self) -> Self {
        let Self {
            env,
            storage,
            engine,
            disk,
        } = self;
        drop(engine);
        storage.close().await.unwrap();
        drop(storage);
        let storage = disk.open();
        let engine = EmbeddedEngine::new(storage.clone(), env.clone(), Limits::default());
        Self {
            env,
            storage,
            engine,
            disk,
        }
    }

    async fn commit(&self, push: PushRequest) -> Vec<Outcome> {
        let committed = self.engine.commit(&ns(), &[push]).await.unwrap();
        let answer = committed.answers.into_iter().next().unwrap();
        assert_eq!(answer.refusal, None);
        answer.outcomes
    }

    async fn write(&self, writer: &mut Writer, names: &[&str]) {
        let documents: Vec<_> = names.iter().map(|name| (*name, None)).collect();
        let outcomes = self.commit(writer.push(&documents)).await;
        assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
    }

    async fn delete(&self, writer: &mut Writer, names: &[&str]) {
        let outcomes = self.commit(writer.push_deletions(names)).await;
        assert!(outcomes.iter().all(is_applied), "{outcomes:?}");
    }

    async fn compact(&self, retention: Retention) -> Compacted {
        compact(&self.engine, &retention).await
    }

    async fn read(&self, after: u64) -> FeedPage {
        read(&self.engine, after).await
    }

    /// What the log tells who comes in.
    async fn state(&self, number: u8) -> pocket_sync_server::engine::LogState {
        Writer::join(&self.engine, number).await.attached.log
    }
}

fn is_applied(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied { .. })
}

/// Forgets all there is to forget, as a server does.
async fn compact(engine: &dyn Engine, retention: &Retention) -> Compacted {
    let mut all = Compacted::default();
    loop {
        let batch = engine.compact(&ns(), retention).await.unwrap();
        all.tombstones += batch.tombstones;
        all.clients += batch.clients;
        all.horizon = batch.horizon;
        if !batch.more {
            return all;
        }
    }
}

async fn read(engine: &dyn Engine, after: u64) -> FeedPage {
    engine.changes(&ns(), &everything(after)).await.unwrap()
}

fn everything(after: u64) -> ReadRequest {
    ReadRequest {
        after: Seq::new(after),
        until: None,
        live_until: None,
        told: Seq::ZERO,
        collections: Arc::default(),
        records: 100_000,
        bytes: 100_000_000,
        authority: Authority::open(),
        digests: false,
    }
}

/// Places, ids, and whether they are deletions.
fn shown(page: &FeedPage) -> Vec<(u64, String, bool)> {
    let records = page.records.iter().map(|record| record.decode().unwrap());
    records
        .map(|record| {
            let gone = record.state.body().is_none();
            (record.seq.get(), record.id.to_string(), gone)
        })
        .collect()
}

fn gone(page: &FeedPage) -> Vec<u64> {
    let records = shown(page).into_iter();
    let deletions = records.filter(|(_, _, gone)| *gone);
    deletions.map(|(seq, ..)| seq).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("d{number}")).collect()
}

fn names(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn deletions_are_forgotten_by_age_and_a_restart_keeps_the_horizon() {
    for world in World::everywhere() {
        let mut writer = Writer::join(&world.engine, 1).await;
        world.write(&mut writer, &["a", "b", "c", "d"]).await;
        world.delete(&mut writer, &["a"]).await;
        world.write(&mut writer, &["e"]).await;
        world.env.pass(10 * DAY);
        world.delete(&mut writer, &["b"]).await;
        world.env.pass(20 * DAY);
        let most = 30 * DAY + Duration::from_millis(1);
        let keeps = world.compact(Retention::age(most)).await;
        assert_eq!((keeps.tombstones, keeps.horizon), (0, Seq::ZERO));
        let forgot = world.compact(Retention::age(30 * DAY)).await;
        assert_eq!((forgot.tombstones, forgot.horizon), (1, Seq::new(5)));

        for reopened in [false, true] {
            let page = world.read(0).await;
            let expected = [
                (3, "c", false),
                (4, "d", false),
                (6, "e", false),
                (7, "b", true),
            ];
            let expected: Vec<_> = expected
                .map(|(seq, id, gone)| (seq, id.to_owned(), gone))
                .into();
            assert_eq!(shown(&page), expected, "reopened: {reopened}");
            assert_eq!((page.end, page.horizon), (Seq::new(7), Seq::new(5)));
            let (ns, of, open) = (ns(), [key("a")], Authority::open());
            let fetched = world.engine.fetch(&ns, &of, &open).await.unwrap();
            assert_eq!(fetched.records, []);
        }
        // Who comes with a place before the horizon is told of it, in every life of the server.
        let world = world.restart().await;
        assert_eq!(world.state(2).await.horizon, Seq::new(5));
        assert_eq!(gone(&world.read(0).await), [7]);
        // A document whose deletion is forgotten is one that never was.
        world
            .write(&mut Writer::join(&world.engine, 3).await, &["a"])
            .await;
    }
}

#[tokio::test]
async fn deletions_are_forgotten_by_places() {
    let world = World::memory();
    let mut writer = Writer::join(&world.engine, 1).await;
    world.write(&mut writer, &["a", "b", "c"]).await;
    world.delete(&mut writer, &["a", "b"]).await;
    world.write(&mut writer, &["d", "e"]).await;
    let retention = Retention::forever().places(3);
    let forgot = world.compact(retention).await;
    assert_eq!((forgot.tombstones, forgot.horizon), (1, Seq::new(4)));
    assert_eq!(gone(&world.read(0).await), [5]);
    assert_eq!(world.compact(retention).await.tombstones, 0, "young enough");
    world.write(&mut writer, &["f"]).await;
    assert_eq!(world.compact(retention).await.tombstones, 1);
    assert_eq!(world.compact(Retention::forever()).await.tombstones, 0);
}

#[tokio::test]
async fn a_document_that_was_written_anew_is_no_deletion() {
    let world = World::memory();
    let mut writer = Writer::join(&world.engine, 1).await;
    world.write(&mut writer, &["a", "b"]).await;
    world.delete(&mut writer, &["a", "b"]).await;
    world.write(&mut writer, &["a"]).await;
    world.env.pass(40 * DAY);
    let forgot = world.compact(Retention::default()).await;
    assert_eq!((forgot.tombstones, forgot.horizon), (1, Seq::new(4)));
    assert_eq!(shown(&world.read(0).await), [(5, "a".to_owned(), false)]);
}

#[tokio::test]
async fn a_namespace_that_nobody_uses_gets_no_epoch_by_it_and_none_is_made() {
    for world in World::everywhere() {
        let mut writer = Writer::join(&world.engine, 1).await;
        world.write(&mut writer, &["a", "b"]).await;
        world.delete(&mut writer, &["a"]).await;
        world.env.pass(40 * DAY);
        let before = writer.attached.log.epochs.len();
        let world = world.restart().await;
        let forgot = world.compact(Retention::default()).await;
        assert_eq!((forgot.tombstones, forgot.horizon), (1, Seq::new(3)));
        let state = world.state(2).await;
        assert_eq!(state.epochs.len(), before + 1, "one for the opening");
        assert_eq!((state.head, state.horizon), (Seq::new(3), Seq::new(3)));
        // One that was closed in good order goes on in its epoch.
        world.engine.release(&ns());
        world.compact(Retention::default()).await;
        assert_eq!(world.state(3).await.epoch, state.epoch);

        let none = Namespace::new("none").unwrap();
        let nothing = world.engine.compact(&none, &Retention::default()).await;
        assert_eq!(nothing.unwrap(), Compacted::default());
        assert_eq!(world.engine.namespaces().await.unwrap(), [ns()]);
    }
}

#[tokio::test]
async fn more_than_one_batch_is_forgotten_also_when_one_of_them_fails() {
    // A failed batch once counted as done: what it should have forgotten stayed until the next start.
    let ids = numbered(700);
    for moment in [Moment::Before, Moment::After] {
        let (disk, faults, env) = (MemoryDisk::new(), Faults::new(), TestEnv::new(1));
        let storage = Arc::new(FaultyStorage::new(Arc::new(disk.open()), &faults));
        let engine = EmbeddedEngine::new(storage, env.clone(), Limits::default());
        let mut writer = Writer::join(&engine, 1).await;
        for part in names(&ids).chunks(100) {
            let documents: Vec<_> = part.iter().map(|name| (*name, None)).collect();
            let push = writer.push(&documents);
            engine.commit(&ns(), &[push]).await.unwrap();
            let push = writer.push_deletions(part);
            engine.commit(&ns(), &[push]).await.unwrap();
        }
        env.pass(40 * DAY);
        let error = StorageError::Backend("fsync failed".to_owned());
        faults.fail_at_kind(CallKind::Commit, faults.calls().commit + 2, moment, error);
        let retention = Retention::default();
        let first = engine.compact(&ns(), &retention).await.unwrap();
        assert!(first.more && first.tombstones == 256, "{first:?}");
        engine.compact(&ns(), &retention).await.unwrap_err();
        let rest = compact(&engine, &retention).await;
        let expected = if moment == Moment::Before { 444 } else { 188 };
        assert_eq!((rest.tombstones, rest.horizon), (expected, Seq::new(1_400)));
        assert_eq!(shown(&read(&engine, 0).await), []);
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_each_deletion_or_a_horizon_behind_it() {
    let ids = numbered(600);
    for (at, moment) in (1..).zip([Moment::Before, Moment::After].repeat(4)) {
        let (disk, faults, env) = (MemoryDisk::new(), Faults::new(), TestEnv::new(1));
        let storage = Arc::new(FaultyStorage::new(Arc::new(disk.open()), &faults));
        let engine = EmbeddedEngine::new(storage, env.clone(), Limits::default());
        let mut writer = Writer::join(&engine, 1).await;
        for part in names(&ids).chunks(100) {
            let documents: Vec<_> = part.iter().map(|name| (*name, None)).collect();
            let push = writer.push(&documents);
            engine.commit(&ns(), &[push]).await.unwrap();
        }
        for part in names(&ids).chunks(100) {
            let push = writer.push_deletions(part);
            engine.commit(&ns(), &[push]).await.unwrap();
        }
        env.pass(40 * DAY);
        faults.crash_at(faults.calls().total() + at * 2, moment);
        let mut ended = false;
        for _ in 0..10 {
            ended |= engine.compact(&ns(), &Retention::default()).await.is_err();
        }
        assert!(ended, "the process was killed");
        drop(engine);
        disk.lose_power(usize::MAX);
        let engine = EmbeddedEngine::new(Arc::new(disk.open()), env, Limits::default());
        let page = read(&engine, 0).await;
        let kept: BTreeSet<u64> = gone(&page).into_iter().collect();
        let expected = (601..=1_200).filter(|seq| *seq > page.horizon.get());
        assert_eq!(kept, expected.collect(), "call {at}, {moment:?}");
        let rest = compact(&engine, &Retention::default()).await;
        assert_eq!(
            (rest.tombstones, rest.horizon),
            (kept.len(), Seq::new(1_200))
        );
    }
}

#[tokio::test]
async fn pushes_go_on_while_much_is_forgotten() {
    let ids = numbered(3_000);
    for world in World::everywhere() {
        let mut writer = Writer::join(&world.engine, 1).await;
        for part in names(&ids).chunks(500) {
            world.write(&mut writer, part).await;
        }
        for part in names(&ids).chunks(500) {
            world.delete(&mut writer, part).await;
        }
        world.env.pass(40 * DAY);
        let (mut forgot, mut during, ns, retention) = (0, 0, ns(), Retention::default());
        loop {
            let name = format!("new{during}");
            let push = writer.push(&[(&name, None)]);
            let (batch, outcomes) =
                tokio::join!(world.engine.compact(&ns, &retention), world.commit(push));
            let batch = batch.unwrap();
            forgot += batch.tombstones;
            during += 1;
            let first = Seq::new(6_000 + during);
            assert_eq!(outcomes, [Outcome::Applied { first }], "each in its turn");
            if !batch.more {
                break;
            }
        }
        assert_eq!(forgot, 3_000);
        assert!(during > 10, "a batch at a time: {during} pushes in between");
        let page = world.read(0).await;
        assert_eq!(page.records.len() as u64, during);
        assert_eq!(page.horizon, Seq::new(6_000));
    }
}

#[tokio::test]
async fn a_second_engine_on_the_store_hears_that_the_first_one_has_forgotten() {
    let (store, env) = (MemoryStorage::new(), TestEnv::new(1));
    let open = || {
        let mut limits = Limits::default();
        // Everything is read from the store.
        limits.tail_bytes = 0;
        EmbeddedEngine::new(Arc::new(store.clone()), env.clone(), limits)
    };
    let (one, two) = (open(), open());
    let mut writer = Writer::join(&one, 1).await;
    let push = writer.push(&[("a", None), ("b", None), ("c", None)]);
    one.commit(&ns(), &[push]).await.unwrap();
    let push = writer.push_deletions(&["a"]);
    one.commit(&ns(), &[push]).await.unwrap();
    assert_eq!(gone(&read(&two, 0).await), [4]);
    env.pass(40 * DAY);
    compact(&one, &Retention::default()).await;
    for after in [0, 3] {
        let page = read(&two, after).await;
        assert_eq!(gone(&page), [] as [u64; 0]);
        assert_eq!(page.horizon, Seq::new(4), "what is missing is told");
    }
}

#[tokio::test]
async fn openings_that_ended_before_the_horizon_are_forgotten_but_for_the_newest() {
    let mut world = World::memory();
    let ids = numbered(150);
    let mut epochs = Vec::new();
    for (number, id) in (10..).zip(&ids) {
        // Each opening gives two places, the second one to a deletion.
        let mut writer = Writer::join(&world.engine, number).await;
        epochs.push(writer.attached.log.epoch);
        world.write(&mut writer, &[id]).await;
        world.delete(&mut writer, &[id]).await;
        world = world.restart().await;
    }
    let before = world.state(2).await;
    assert_eq!(before.epochs.len(), 151, "nothing is forgotten yet");
    assert_eq!(before.epochs[0].first, Seq::new(1));
    world.env.pass(40 * DAY);
    // All deletions up to that of the 20th opening, which has its last place at the horizon; then all but the last.
    for (places, left) in [(260, 152 - 19), (2, 100)] {
        world.compact(Retention::forever().places(places)).await;
        world = world.restart().await;
        let state = world.state(3).await;
        assert_eq!(state.epochs.len(), left, "{places} places kept");
        assert_eq!(state.lineage, before.lineage);
        // Whatever is left is as it was, and each checkpoint above the horizon is still known.
        let known: Vec<_> = before.epochs.iter().rev().take(left - 5).collect();
        assert!(known.iter().all(|start| state.epochs.contains(start)));
        let in_it = |(place, epoch): (usize, _)| {
            let last = Seq::new(2 * (place as u64 + 1));
            last <= state.horizon || state.contains(epoch, last)
        };
        assert!(epochs.iter().copied().enumerate().all(in_it));
        assert!(!state.contains(epochs[0], Seq::new(1)));
    }
}
