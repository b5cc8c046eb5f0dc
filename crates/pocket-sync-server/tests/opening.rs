//! Opening a namespace and beginning a session on a store that takes longer than its clients wait.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use common::peer::{Peer, Running, within};
use pocket_core::{Outcome, Seq};
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Snapshot,
    Storage,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{Hello, VersionRange, encode_client, http};
use pocket_sync_server::{Config, TokenTable};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

/// A store whose scans and commits each need a permit, and are counted.
#[derive(Debug)]
struct Slow {
    inner: MemoryStorage,
    permits: Semaphore,
    asked: watch::Sender<usize>,
    scans: watch::Sender<usize>,
    commit_permits: Semaphore,
    commits_asked: watch::Sender<usize>,
}

impl Slow {
    /// One with so many permits for scans, and as many for commits as anybody wants.
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStorage::new(),
            permits: Semaphore::new(permits),
            asked: watch::Sender::new(0),
            scans: watch::Sender::new(0),
            commit_permits: Semaphore::new(COMMITS),
            commits_asked: watch::Sender::new(0),
        })
    }
}

/// More commits than a test makes.
const COMMITS: usize = 10_000;

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
        self.commits_asked.send_modify(|asked| *asked += 1);
        self.commit_permits.acquire().await.unwrap().forget();
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
    let storage = Slow::new(100);
    let running = Running::open(storage.clone()).await;
    let mut peer = Peer::join(running.address, 1, None).await;
    peer.put(1, &["a", "b"]).await;
    drop(peer);
    running.stop().await;

    storage.permits.forget_permits(usize::MAX);
    let mut config = Config::default();
    config.limits.decide.quota.documents = Some(1_000);
    config.handshake_timeout = Duration::from_secs(2);
    // It scans as well, for the namespaces there are.
    config.forget_every = Duration::ZERO;
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
    let storage = Slow::new(0);
    let mut config = Config::default();
    config.forget_every = Duration::from_millis(1);
    let running = Running::start(storage.clone(), TokenTable::open(), config).await;
    let mut asked = storage.asked.subscribe();
    within(asked.wait_for(|asked| *asked > 0)).await.unwrap();
    running.stop().await;
    assert_eq!(*storage.scans.borrow(), 0);
}

/// Who went away while the store wrote down his session took the log with him: it was opened anew, and everybody in the
/// namespace had to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_while_it_comes_in_sends_nobody_else_away() {
    let storage = Slow::new(100);
    let running = Running::open(storage.clone()).await;
    let mut peer = Peer::join(running.address, 1, None).await;
    peer.put(1, &["a"]).await;

    let mut asked = storage.commits_asked.subscribe();
    let before = *asked.borrow_and_update();
    storage.commit_permits.forget_permits(COMMITS);
    let hello = Hello {
        versions: VersionRange::SUPPORTED,
        client: common::client(2),
        namespace: "default".to_owned(),
        token: None,
        session: None,
        collections: Vec::new(),
        direction: pocket_sync_protocol::Direction::Both,
        checkpoint: None,
        agent: "test".to_owned(),
    };
    let mut frames = VecDeque::from([encode_client(&hello.into())]);
    let body = http::join(&mut frames, 4 << 20);
    let head = format!(
        "POST /sync HTTP/1.1\r\nhost: x\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
        http::CONTENT_TYPE,
        body.len()
    );
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    within(asked.wait_for(|asked| *asked == before + 1))
        .await
        .unwrap();
    drop(stream);
    let gone = async {
        while running.server.connections() > 1 {
            tokio::task::yield_now().await;
        }
    };
    within(gone).await;

    storage.commit_permits.add_permits(COMMITS);
    let outcomes = peer.put(2, &["b"]).await;
    assert_eq!(outcomes, [Outcome::Applied { first: Seq::new(2) }]);
    let late = Peer::join(running.address, 3, None).await;
    assert_eq!(late.epoch(), peer.epoch());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_of_the_server_that_is_given_up_sends_nobody_away() {
    let storage = Slow::new(100);
    let running = Running::open(storage.clone()).await;
    let mut peer = Peer::join(running.address, 1, None).await;
    let mut asked = storage.commits_asked.subscribe();
    let before = *asked.borrow_and_update();
    storage.commit_permits.forget_permits(COMMITS);
    let direct = running.server.namespace(&common::ns());
    let (key, body) = (common::key("b"), common::body("b"));
    tokio::select! {
        put = direct.put(&key.collection, &key.id, &body) => panic!("{put:?} without a commit"),
        asked = within(asked.wait_for(|asked| *asked == before + 1)) => drop(asked.unwrap()),
    }
    storage.commit_permits.add_permits(COMMITS);
    let outcomes = peer.put(1, &["a"]).await;
    assert_eq!(outcomes, [Outcome::Applied { first: Seq::new(1) }]);
    running.stop().await;
}
