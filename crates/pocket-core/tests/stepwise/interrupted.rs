//! What was interrupted: by a crash, an error, or a caller who went away.

use pocket_core::replica::{Conflict, Decision, IncomingPage, PageKind, Resolver};
use pocket_core::{
    Body, ClientId, CollectionName, ConflictStrategy, DocumentId, DocumentLimits, Epoch, Hlc,
    Record, RecordState, Revision, Seq, Timestamp,
};

use super::*;

/// The process ends at each commit of `act`, and the next one opens what is left. Returns what each found, and whether it
/// had begun.
async fn crashed_anywhere(sync: bool, act: impl AsyncFn(&World) -> bool) -> Vec<World> {
    let mut found = Vec::new();
    for commit in 1.. {
        let world = World::full(sync).await;
        let at = world.faults.calls().commit + commit;
        world
            .faults
            .crash_at_kind(CallKind::Commit, at, Moment::Before);
        let is_done = act(&world).await;
        let storage = world.storage.clone();
        drop(world);
        if is_done {
            return found;
        }
        found.push(World::on(storage, Some(sync)).await);
    }
    found
}

#[tokio::test]
async fn a_clearing_that_was_begun_is_done_when_the_database_is_opened() {
    for sync in [false, true] {
        let found = crashed_anywhere(sync, async |world| world.docs.clear().await.is_ok()).await;
        assert_eq!(found.len(), 3);
        for (commits, world) in found.iter().enumerate() {
            let left = if commits == 0 { MANY } else { 0 };
            assert_eq!(world.ids().await.len(), left, "after {commits} commits");
            let pending = if sync { left } else { 0 };
            assert_eq!(world.pending().await, pending as u64);
        }
    }
}

#[tokio::test]
async fn a_collection_whose_deletion_was_begun_is_gone_with_all_it_had() {
    for sync in [false, true] {
        let delete = async |world: &World| world.db.delete_collection("docs").await.is_ok();
        let found = crashed_anywhere(sync, delete).await;
        assert_eq!(found.len(), 3);
        for (commits, world) in found.iter().enumerate() {
            // It was configured anew when the database was opened.
            let left = if commits == 0 { MANY } else { 0 };
            assert_eq!(world.ids().await.len(), left, "after {commits} commits");
        }
    }
}

/// The application goes on to ask for what it asked for before.
#[tokio::test]
async fn a_switch_that_crashed_is_made_all_the_same() {
    for sync in [false, true] {
        let switch = async |world: &World| world.switch(!sync).await.is_ok();
        for world in crashed_anywhere(sync, switch).await {
            world.switch(!sync).await.unwrap();
            assert_eq!(world.ids().await.len(), MANY);
            let sent = world.sent().await;
            assert_eq!(sent.len(), if sync { 0 } else { MANY });
            assert_eq!(world.pending().await, sent.len() as u64);
        }
    }
}

/// What was written since a clearing began is none of its business, however long it was interrupted.
#[tokio::test]
async fn what_was_written_since_a_clearing_began_stays_when_it_is_ended_later() {
    for sync in [false, true] {
        let world = World::full(sync).await;
        world.fail_at_commit(2);
        let error = world.docs.clear().await.unwrap_err();
        assert_eq!(error.code(), pocket_core::codes::STORAGE_FULL);
        assert_eq!(world.ids().await.len(), MANY - 1_000, "half of it is seen");
        world.docs.insert(&document("00000", 1)).await.unwrap();
        world.docs.insert(&document("new", 1)).await.unwrap();
        let (edited, untouched) = (id(MANY - 1), id(MANY - 2));
        world.docs.upsert(&document(&edited, 1)).await.unwrap();
        assert!(world.docs.get(&untouched).await.unwrap().is_some());
        let world = world.restarted().await;
        assert_eq!(world.ids().await, ["00000", edited.as_str(), "new"]);
        if sync {
            let sent = world.sent().await;
            assert!(sent.iter().all(|(_, n)| *n == Some(1)), "{sent:?}");
        }
    }
}

#[tokio::test]
async fn clearing_again_ends_the_clearing_that_failed_and_clears_what_came_since() {
    let world = World::full(true).await;
    world.fail_at_commit(2);
    world.docs.clear().await.unwrap_err();
    world.docs.insert(&document("00000", 1)).await.unwrap();
    assert_eq!(world.docs.clear().await.unwrap(), 1, "what this one found");
    assert!(world.ids().await.is_empty());
    assert_eq!(world.pending().await, 0);
}

#[tokio::test]
async fn a_collection_is_gone_at_once_and_comes_back_empty() {
    let world = World::full(false).await;
    world.fail_at_commit(2);
    world.db.delete_collection("docs").await.unwrap_err();
    assert!(!world.db.has_collection("docs"));
    let error = world.db.collection::<Value>("docs").unwrap_err();
    assert_eq!(error.code(), pocket_core::codes::COLLECTION_NOT_FOUND);
    world.switch(false).await.unwrap();
    assert!(world.ids().await.is_empty());
    world.docs.insert(&document("00000", 1)).await.unwrap();
    let world = world.restarted().await;
    assert_eq!(world.ids().await, ["00000"]);
}

/// Nothing of a collection is sent before all of it is in the outbox, and each of its documents is there once, as it is.
#[tokio::test]
async fn writes_while_sync_is_being_switched_on_are_part_of_what_is_offered() {
    let world = World::full(false).await;
    world.fail_at_commit(2);
    world.switch(true).await.unwrap_err();
    assert!(!world.syncs());
    assert_eq!(world.pending().await, 1_000);
    assert!(world.sent().await.is_empty(), "not all is there");
    // Those that were offered, those that were not, and new ones on either side.
    for id in [id(1), id(MANY - 1)] {
        world.docs.upsert(&document(&id, 1)).await.unwrap();
    }
    for id in [id(2), id(MANY - 2)] {
        world.docs.delete(&id).await.unwrap();
    }
    for id in ["000001", "new"] {
        world.docs.insert(&document(id, 2)).await.unwrap();
    }
    let mut both = world.db.transaction();
    both.upsert(&world.docs, &document(&id(3), 3)).unwrap();
    both.upsert(&world.docs, &document(&id(MANY - 3), 3))
        .unwrap();
    both.commit().await.unwrap();
    assert!(world.sent().await.is_empty(), "not all is there");
    let world = world.restarted().await;
    assert!(world.syncs());
    let sent = world.sent().await;
    assert_eq!(sent.len(), MANY);
    let with = |n| -> Vec<_> {
        let found = sent.iter().filter(|it| it.1 == Some(n));
        found.map(|it| it.0.clone()).collect()
    };
    assert_eq!(with(1), [id(1), id(MANY - 1)]);
    assert_eq!(with(2), ["000001", "new"]);
    assert_eq!(with(3), [id(3), id(MANY - 3)]);
    assert_eq!(with(0).len(), MANY - 6);
    let shown = world.ids().await;
    let documents: Vec<_> = sent.into_iter().map(|(id, _)| id).collect();
    assert_eq!(documents, shown, "what was deleted was never sent");
}

#[tokio::test]
async fn sync_that_is_switched_off_sends_nothing_though_the_outbox_still_holds_it() {
    let world = World::full(true).await;
    let other = CollectionConfig::new("other").sync(true);
    world.db.create_collection(other).await.unwrap();
    let other = world.db.collection::<Value>("other").unwrap();
    other.insert(&document("mine", 1)).await.unwrap();
    world.fail_at_commit(2);
    world.switch(false).await.unwrap_err();
    assert!(!world.syncs());
    assert!(world.pending().await > 1_000);
    assert_eq!(world.sent().await, [("mine".to_owned(), Some(1))]);
    // What is written meanwhile never leaves either.
    world
        .docs
        .upsert(&document(&id(MANY - 1), 1))
        .await
        .unwrap();
    world.docs.delete(&id(MANY - 2)).await.unwrap();
    assert_eq!(world.sent().await, []);
    let world = world.restarted().await;
    assert_eq!(world.pending().await, 1, "that of the other collection");
    assert_eq!(world.ids().await.len(), MANY - 1);
    let kept = world.docs.get(&id(MANY - 1)).await.unwrap().unwrap();
    assert_eq!(number(&kept), Some(1));
}

/// One switch is over before the next one begins, also where nobody waited for it.
#[tokio::test]
async fn sync_that_is_switched_back_halfway_is_as_if_it_had_never_been_switched() {
    for sync in [false, true] {
        let world = World::full(sync).await;
        world.fail_at_commit(2);
        world.switch(!sync).await.unwrap_err();
        world.switch(sync).await.unwrap();
        assert_eq!(world.syncs(), sync);
        assert_eq!(world.pending().await, if sync { MANY as u64 } else { 0 });
        assert_eq!(world.sent().await.len(), if sync { MANY } else { 0 });
    }
}

/// A wipe takes the outbox away, and with it what had been offered.
#[tokio::test]
async fn a_database_that_leaves_its_server_halfway_offers_everything_to_the_next() {
    for wipes in [false, true] {
        let world = World::full(false).await;
        world.fail_at_commit(2);
        world.switch(true).await.unwrap_err();
        if wipes {
            world.replica.wipe().await.unwrap();
            assert_eq!(world.pending().await, 0);
        } else {
            world.replica.detach().await.unwrap();
        }
        let world = world.restarted().await;
        assert_eq!(world.sent().await.len(), MANY);
    }
}

/// Another handle goes on with it, and the first one finds that it is done.
#[tokio::test]
async fn two_handles_that_clear_the_same_collection_end_with_none() {
    let world = World::full(true).await;
    world.fail_at_commit(2);
    world.docs.clear().await.unwrap_err();
    let other = World::on(world.storage.clone(), Some(true)).await;
    assert!(
        other.ids().await.is_empty(),
        "it went on when it was opened"
    );
    other.docs.insert(&document("theirs", 1)).await.unwrap();
    world.docs.insert(&document("mine", 1)).await.unwrap();
    assert_eq!(world.docs.clear().await.unwrap(), 2);
    assert!(other.ids().await.is_empty());
}

struct Nobody;

impl Resolver for Nobody {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "nobody")
    }
}

/// A page of the server's feed with these documents of others.
async fn arrive(world: &World, start: u64, ids: impl Iterator<Item = String>) {
    let (_, body) = Body::from_serialize(&document("x", 7), &DocumentLimits::default()).unwrap();
    let records: Vec<_> = (start + 1..)
        .zip(ids)
        .map(|(seq, id)| Record {
            collection: CollectionName::new("docs").unwrap(),
            id: DocumentId::new(&id).unwrap(),
            rev: Revision::new(
                Hlc::from_time(Timestamp::from_millis(1_000)),
                ClientId::from_bytes([9; 16]),
            ),
            seq: Seq::new(seq),
            state: RecordState::Live(body.clone()),
        })
        .collect();
    let end = Seq::new(start + records.len() as u64);
    let page = IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::new(start),
        end,
        head: end,
        records,
        removals: Vec::new(),
    };
    world.replica.apply(page, Arc::new(Nobody)).await.unwrap();
}

/// What others wrote long ago and comes only now is not what the clearing found.
#[tokio::test]
async fn what_arrives_since_a_clearing_began_stays_when_it_is_ended_later() {
    let world = World::on(MemoryStorage::new(), Some(true)).await;
    arrive(&world, 0, (0..MANY).map(id)).await;
    world.fail_at_commit(2);
    world.docs.clear().await.unwrap_err();
    let late = ["00001".to_owned(), "late".to_owned()];
    arrive(&world, MANY as u64, late.into_iter()).await;
    let world = world.restarted().await;
    assert_eq!(
        world.ids().await,
        ["late"],
        "the other one was deleted here"
    );
    assert_eq!(world.pending().await, MANY as u64);
}

/// Found by the simulator: the place that was read up to is none while everything is read again, so all that came from the
/// server counted as having come since, and stayed.
#[tokio::test]
async fn a_clearing_while_everything_is_read_again_clears_what_was_read_before() {
    for many in [10, MANY] {
        let world = World::on(MemoryStorage::new(), Some(true)).await;
        arrive(&world, 0, (0..many).map(id)).await;
        world.replica.begin_resync().await.unwrap();
        assert_eq!(world.docs.clear().await.unwrap(), many as u64);
        assert!(world.ids().await.is_empty());
    }
}
