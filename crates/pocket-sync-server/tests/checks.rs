//! Tokens of live sessions that are checked again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use common::peer::{Peer, Running, within};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::ServerMessage;
use pocket_sync_server::SyncServer;
use pocket_sync_server::auth::{Access, AuthError, Authenticator};
use tokio::sync::{Semaphore, watch};

/// More sessions than are asked about at once.
const SESSIONS: usize = 40;
const AT_ONCE: usize = 32;

/// Answers at once until it is told to wait, and counts how many wait.
#[derive(Debug)]
struct Waits {
    is_slow: AtomicBool,
    permits: Semaphore,
    waiting: watch::Sender<usize>,
    most: AtomicUsize,
    answered: watch::Sender<usize>,
}

#[async_trait]
impl Authenticator for Waits {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        if self.is_slow.load(Ordering::SeqCst) {
            self.waiting.send_modify(|waiting| *waiting += 1);
            self.most
                .fetch_max(*self.waiting.borrow(), Ordering::SeqCst);
            self.permits.acquire().await.unwrap().forget();
            self.waiting.send_modify(|waiting| *waiting -= 1);
            self.answered.send_modify(|answered| *answered += 1);
        }
        Ok(Access::all(token.unwrap_or_default()))
    }
}

/// Every one of thousands of sessions asked the application at the same moment when a key was replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_tokens_are_checked_again_the_application_is_asked_for_a_few_at_a_time() {
    let waits = Arc::new(Waits {
        is_slow: AtomicBool::new(false),
        permits: Semaphore::new(0),
        waiting: watch::Sender::new(0),
        most: AtomicUsize::new(0),
        answered: watch::Sender::new(0),
    });
    let server = SyncServer::builder(Arc::new(MemoryStorage::new())).authenticator(waits.clone());
    let running = Running::of(server.build().unwrap()).await;
    let mut peers = Vec::new();
    for number in 0..SESSIONS {
        let number = u8::try_from(number).unwrap();
        let mut peer = Peer::dial(running.address, number).await;
        peer.hello(Some(&format!("user{number}")), None).await;
        let ServerMessage::Welcome(_) = peer.receive().await else {
            panic!("no welcome")
        };
        peers.push(peer);
    }
    waits.is_slow.store(true, Ordering::SeqCst);
    running.server.check_tokens();
    let mut waiting = waits.waiting.subscribe();
    within(waiting.wait_for(|waiting| *waiting == AT_ONCE))
        .await
        .unwrap();
    let mut answered = waits.answered.subscribe();
    for count in 1..=SESSIONS {
        waits.permits.add_permits(1);
        within(answered.wait_for(|answered| *answered >= count))
            .await
            .unwrap();
    }
    assert_eq!(waits.most.load(Ordering::SeqCst), AT_ONCE);
    assert_eq!(running.server.clients().len(), SESSIONS, "nobody was lost");
    drop(peers);
    running.stop().await;
}
