//! Opening a namespace whose store takes longer to count than any client waits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::peer::{Peer, Running, within};
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Snapshot,
    Storage,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_server::{Config, TokenTable};
use tokio::sync::{Semaphore, watch};

/// A store whose scans for more than one entry each need a permit, and are counted.
#[derive(Debug)]
struct Slow {
    inner: MemoryStorage,
    permits: Semaphore,
    asked: watch::Sender<usize>,
    scans: watch::Sender<usize>,
}

#[async_trait]
impl Storage for Slow {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.inner.get_many(keys).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.asked.send_modify(|asked| *asked += 1);
        self.permits.acquire().await.unwrap().forget();
        let found = self.inner.scan(range, limit, direction).await;
        self.scans.send_modify(|scans| *scans += 1);
        found
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

/// A store of an earlier version, or one that got a quota, was counted within the ten seconds of a handshake: a large one
/// never came to its end, and nobody could ever come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_takes_long_to_count_is_counted_on_when_nobody_waits_any_more() {
    let storage = Arc::new(Slow {
        inner: MemoryStorage::new(),
        permits: Semaphore::new(100),
        asked: watch::Sender::new(0),
        scans: watch::Sender::new(0),
    });
    let running = Running::open(storage.clone()).await;
    let mut peer = Peer::join(running.address, 1, None).await;
    peer.put(1, &["a", "b"]).await;
    drop(peer);
    running.stop().await;

    storage.permits.forget_permits(usize::MAX);
    let mut config = Config::default();
    config.limits.decide.quota.documents = Some(1_000);
    config.handshake_timeout = Duration::from_secs(2);
    let running = Running::start(storage.clone(), TokenTable::open(), config).await;
    let mut scans = storage.scans.subscribe();
    let before = *scans.borrow_and_update();
    for number in [2, 3] {
        let mut peer = Peer::dial(running.address, number).await;
        peer.hello(None, None).await;
        assert_eq!(peer.end().await, ("retry-later".to_owned(), Some(1011)));
    }
    // Two scans of documents, the second of which finds none, and one of digests: all for those who have gone.
    storage.permits.add_permits(3);
    within(scans.wait_for(|scans| *scans == before + 3))
        .await
        .unwrap();
    // Further ones are there for who comes in now: he is told the digests that were stored, and nothing is counted.
    storage.permits.add_permits(1);
    let peer = Peer::join(running.address, 4, None).await;
    assert!(peer.welcome.is_some());
    assert!(*storage.scans.borrow() <= before + 4);
    drop(peer);
    running.stop().await;
}

/// With very many namespaces a server that was told to stop listed them to their end first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_does_not_wait_for_the_list_of_its_namespaces() {
    let storage = Arc::new(Slow {
        inner: MemoryStorage::new(),
        permits: Semaphore::new(0),
        asked: watch::Sender::new(0),
        scans: watch::Sender::new(0),
    });
    let mut config = Config::default();
    config.forget_every = Duration::from_millis(1);
    let running = Running::start(storage.clone(), TokenTable::open(), config).await;
    let mut asked = storage.asked.subscribe();
    within(asked.wait_for(|asked| *asked > 0)).await.unwrap();
    running.stop().await;
    assert_eq!(*storage.scans.borrow(), 0);
}
