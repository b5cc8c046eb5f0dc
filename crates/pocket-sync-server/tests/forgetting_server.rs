//! A server that runs forgets by itself, and nobody who is there notices.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::peer::{Peer, Running, figure, within};
use common::{TestEnv, Writer};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use pocket_core::{Outcome, Seq};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{ServerMessage, codes};
use pocket_sync_server::engine::{AttachRequest, ReadRequest, Retention};
use pocket_sync_server::rules::Authority;
use pocket_sync_server::{Config, EmbeddedEngine, Engine, Limits, Namespace, SyncServer};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn config() -> Config {
    let mut config = Config::default();
    config.forget_every = Duration::from_millis(5);
    config
}

async fn running(storage: &MemoryStorage, env: &Arc<TestEnv>, config: Config) -> Running {
    let server = SyncServer::builder(Arc::new(storage.clone()))
        .env(env.clone())
        .config(config)
        .build()
        .unwrap();
    Running::of(server).await
}

/// Waits until everything was looked through once more, from the beginning.
async fn rounds(address: SocketAddr) {
    let name = "pocket_forgetting_rounds_total";
    let before = figure(address, name).await;
    let passed = async {
        while figure(address, name).await < before + 2 {
            tokio::task::yield_now().await;
        }
    };
    within(passed).await;
}

/// A deletion in a namespace of its own, left behind by a server that ran before.
async fn leave_deletion(storage: &MemoryStorage, env: &Arc<TestEnv>, namespace: &Namespace) {
    let before = EmbeddedEngine::new(Arc::new(storage.clone()), env.clone(), Limits::default());
    let mut writer = Writer::join(&before, 7).await;
    let request = AttachRequest {
        user: "ann".into(),
        client: common::client(7),
        presented: None,
        unless_new: None,
    };
    writer.session = before.attach(namespace, &request).await.unwrap().session;
    for push in [
        writer.push(&[("x", None), ("y", None)]),
        writer.push_deletions(&["x"]),
    ] {
        before.commit(namespace, &[push]).await.unwrap();
    }
}

#[tokio::test]
async fn old_deletions_go_in_every_namespace_and_who_stands_before_them_is_told_to_resync() {
    let (storage, env) = (MemoryStorage::new(), TestEnv::new(1));
    let idle = Namespace::new("idle").unwrap();
    leave_deletion(&storage, &env, &idle).await;
    let running = running(&storage, &env, config()).await;
    let mut peer = Peer::join(running.address, 1, None).await;
    peer.put(1, &["a", "b"]).await;
    let direct = running.server.namespace(&common::ns());
    let todos = common::key("a");
    direct.delete(&todos.collection, &todos.id).await.unwrap();
    rounds(running.address).await;
    let forgotten = r#"pocket_forgotten_total{kind="deletion"}"#;
    assert_eq!(figure(running.address, forgotten).await, 0, "all are young");

    env.pass(31 * DAY);
    rounds(running.address).await;
    assert_eq!(figure(running.address, forgotten).await, 2);
    for (namespace, horizon) in [("default", 3), ("idle", 3)] {
        let name = format!(r#"pocket_horizon{{namespace="{namespace}"}}"#);
        assert_eq!(figure(running.address, &name).await, horizon);
    }
    assert_eq!(figure(running.address, "pocket_namespaces").await, 1);

    let mut late = Peer::join(running.address, 2, None).await;
    assert_eq!(late.welcome.as_ref().unwrap().horizon, Seq::new(3));
    let epoch = late.epoch();
    late.pull(Some(epoch), 2).await;
    let ServerMessage::Error(error) = late.receive().await else {
        panic!("read on without the deletion")
    };
    assert_eq!(error.code, codes::BELOW_HORIZON);
    late.pull(None, 0).await;
    assert_eq!(late.catch_up().await, [common::key("b").id]);
    running.stop().await;

    // The namespace that nobody used got no opening by it: this is its second one.
    let after = EmbeddedEngine::new(Arc::new(storage), env, Limits::default());
    let request = AttachRequest {
        user: "ann".into(),
        client: common::client(8),
        presented: None,
        unless_new: None,
    };
    let attached = after.attach(&idle, &request).await.unwrap();
    assert_eq!(attached.log.epochs.len(), 2);
    assert_eq!(attached.log.horizon, Seq::new(3));
}

#[tokio::test]
async fn a_client_that_is_connected_is_never_forgotten_and_one_that_is_away_is() {
    let (storage, env) = (MemoryStorage::new(), TestEnv::new(1));
    let mut config = config();
    config.retention = Retention::default().clients(Some(DAY));
    let running = running(&storage, &env, config).await;
    let away = Peer::join(running.address, 1, None).await;
    let session = away.session();
    drop(away);
    within(async {
        while running
            .server
            .clients()
            .iter()
            .any(|info| info.client == common::client(1))
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut there = Peer::join(running.address, 2, None).await;
    for _ in 0..8 {
        env.pass(DAY / 2);
        rounds(running.address).await;
    }
    let forgotten = r#"pocket_forgotten_total{kind="client"}"#;
    assert_eq!(figure(running.address, forgotten).await, 1);
    let outcomes = there.put(1, &["a"]).await;
    assert_eq!(outcomes, [Outcome::Applied { first: Seq::new(1) }]);
    // It goes now, and has its whole time from here.
    let known = there.session();
    drop(there);
    let again = Peer::join(running.address, 2, Some(known)).await;
    assert!(!again.welcome.as_ref().unwrap().is_new);
    let back = Peer::join(running.address, 1, Some(session)).await;
    assert!(back.welcome.as_ref().unwrap().is_new);
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_stopped_or_never_forgets_leaves_everything_as_it_is() {
    for never in [true, false] {
        let (storage, env) = (MemoryStorage::new(), TestEnv::new(1));
        leave_deletion(&storage, &env, &common::ns()).await;
        let mut config = config();
        if never {
            config.forget_every = Duration::ZERO;
        }
        let shared: Arc<dyn pocket_storage::Storage> = Arc::new(storage.clone());
        let server = SyncServer::builder(shared.clone())
            .env(env.clone())
            .config(config)
            .build()
            .unwrap();
        let running = Running::of(server).await;
        if never {
            env.pass(400 * DAY);
            // Somebody comes and goes, so that there was time.
            let mut peer = Peer::join(running.address, 1, None).await;
            peer.put(1, &["a"]).await;
        } else {
            rounds(running.address).await;
        }
        running.stop().await;
        env.pass(400 * DAY);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&shared), 1, "no task holds the store");
        let after = EmbeddedEngine::new(shared, env, Limits::default());
        let writer = Writer::join(&after, 9).await;
        assert_eq!(writer.attached.log.horizon, Seq::ZERO);
    }
}

#[tokio::test]
async fn a_server_that_somebody_else_listens_for_forgets_from_its_first_connection_on() {
    let (storage, env) = (MemoryStorage::new(), TestEnv::new(1));
    let idle = Namespace::new("idle").unwrap();
    leave_deletion(&storage, &env, &idle).await;
    env.pass(31 * DAY);
    let server = SyncServer::builder(Arc::new(storage.clone()))
        .env(env.clone())
        .config(config())
        .build()
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = server.router();
    let listening = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = TowerToHyperService::new(router);
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // It ends with the server.
        let _ = connection.await;
    });
    let _peer = Peer::join(address, 1, None).await;
    let reader = EmbeddedEngine::new(Arc::new(storage), env, Limits::default());
    let request = ReadRequest {
        after: Seq::ZERO,
        until: None,
        live_until: None,
        told: Seq::ZERO,
        collections: Arc::default(),
        records: 100,
        bytes: 100_000,
        authority: Authority::open(),
        digests: false,
    };
    within(async {
        while reader.changes(&idle, &request).await.unwrap().horizon == Seq::ZERO {
            tokio::task::yield_now().await;
        }
    })
    .await;
    server.stop().await;
    within(listening).await.unwrap();
}
