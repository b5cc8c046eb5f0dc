//! What an engine tells that does not run.

use super::*;
use pocket_core::{CollectionConfig, Subscription};
use pocket_sync_client::{Progress, Stats};

/// What each way to ask says waits.
async fn pending(sync: &SyncEngine) -> [u64; 4] {
    let snapshot = sync.snapshot();
    let stats = sync.stats().next().await.expect("it comes at once");
    let progress = sync.progress().next().await.expect("it comes at once");
    [
        snapshot.stats.pending,
        snapshot.progress.push_left,
        stats.pending,
        progress.push_left,
    ]
}

async fn until_pending(
    stats: &mut Subscription<Stats>,
    progress: &mut Subscription<Progress>,
) -> u64 {
    let stats = stats.next().await.expect("it goes on").pending;
    let progress = progress.next().await.expect("it goes on");
    assert_eq!(progress.push_left, stats);
    stats
}

/// It was 0 until the engine ran, however much had been written, and stood still behind a stop.
#[tokio::test]
async fn what_waits_in_the_outbox_is_told_before_the_start_and_behind_a_stop() {
    let (listener, url) = listen().await;
    let database = database().await;
    insert(&database, "a").await;
    let sync = SyncEngine::new(&database, quick(&url));
    assert_eq!(pending(&sync).await, [1; 4]);
    let (mut stats, mut progress) = (sync.stats(), sync.progress());
    assert_eq!(until_pending(&mut stats, &mut progress).await, 1);
    insert(&database, "b").await;
    assert_eq!(until_pending(&mut stats, &mut progress).await, 2);
    assert_eq!(pending(&sync).await, [2; 4]);

    sync.start().await.expect("it starts");
    let mut statuses = sync.status();
    let mut peer = Peer::accept(&listener).await;
    assert_eq!(pending(&sync).await, [2; 4], "nothing is settled yet");
    peer.welcome(welcome()).await;
    let (push, pull) = peer.push_and_pull().await;
    peer.say(applied(&push, 1)).await;
    peer.say(page(&pull, 0, 2, 2, &[])).await;
    until(&mut statuses, Status::Idle).await;
    assert_eq!(pending(&sync).await, [0; 4]);

    sync.stop().await.expect("it stops");
    insert(&database, "c").await;
    assert_eq!(pending(&sync).await, [1; 4]);
    let local = CollectionConfig::new("todos").sync(false);
    let changed = database.create_collection(local).await;
    changed.expect("memory takes it");
    assert_eq!(pending(&sync).await, [0; 4]);
}
