//! A server as those see it who run it: mounted in another one, stopping, and in figures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::{Extension, Router};
use common::peer::{Peer, Running, within};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use pocket_core::{Outcome, Seq};
use pocket_storage::StorageError;
use pocket_storage::faulty::{CallKind, Faults, FaultyStorage, Moment};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{Pull, ServerMessage};
use pocket_sync_server::decide::Quota;
use pocket_sync_server::{Config, SyncServer, TokenTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn memory() -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::new())
}

/// Serves a router as a program of its own would.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let service = router
                .clone()
                .layer(Extension(pocket_sync_server::Peer(peer)));
            let service = TowerToHyperService::new(service);
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    address
}

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_can_be_mounted_below_a_path_and_says_when_it_stops() {
    let server = SyncServer::builder(memory()).build().unwrap();
    let below = server.router().merge(server.admin_router());
    let address = serve(Router::new().nest("/pocket", below)).await;
    let url = format!("ws://{address}/pocket/sync");
    let mut peer = Peer::dial_at(&url, 1).await;
    peer.hello(None, None).await;
    let ServerMessage::Welcome(_) = peer.receive().await else {
        panic!("it is let in")
    };
    assert!(matches!(
        peer.put(1, &["a"]).await[..],
        [Outcome::Applied { .. }]
    ));
    for path in [
        "health",
        "health/ready",
        "health/live",
        "metrics",
        "admin/clients",
    ] {
        let answer = ask(address, &format!("GET /pocket/{path}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        let above = ask(address, &format!("GET /{path}")).await;
        assert!(above.starts_with("HTTP/1.1 404"), "{path}: {above}");
    }

    server.stop().await;
    assert_eq!(peer.end().await, ("going-away".to_owned(), Some(1001)));
    for path in ["health", "health/ready"] {
        let answer = ask(address, &format!("GET /pocket/{path}")).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
        assert!(answer.contains("stopping"), "{answer}");
    }
    let live = ask(address, "GET /pocket/health/live").await;
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_tell_what_happened() {
    let mut config = Config::default();
    config.limits.decide.quota = Quota {
        documents: Some(3),
        ..Quota::default()
    };
    let running = Running::start(memory(), TokenTable::open(), config).await;
    let mut ann = Peer::join(running.address, 1, None).await;
    // It reads one page of one record, and no further.
    let mut behind = Peer::join(running.address, 2, None).await;
    assert_eq!(ann.put(1, &["a", "b"]).await.len(), 2);
    behind
        .say(Pull {
            id: 1,
            epoch: None,
            after: Seq::ZERO,
            until: None,
            collections: Vec::new(),
            window: 1,
            batch: 1,
            fixed_head: None,
        })
        .await;
    let ServerMessage::Page(page) = behind.receive().await else {
        panic!("a page comes")
    };
    assert_eq!(page.end, Seq::new(2));
    let outcomes = ann.put(3, &["a", "c", "d"]).await;
    assert!(
        matches!(
            outcomes[..],
            [
                Outcome::Conflict { .. },
                Outcome::Applied { .. },
                Outcome::Rejected { .. }
            ]
        ),
        "{outcomes:?}"
    );
    let mut stranger = Peer::dial(running.address, 3).await;
    stranger
        .say(pocket_sync_protocol::Ping { id: 1, time: None })
        .await;
    assert_eq!(stranger.end().await.0, "unexpected-message");

    let text = ask(running.address, "GET /metrics").await;
    let figure = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let figure = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        figure.trim().parse().unwrap()
    };
    assert_eq!(figure("pocket_pushes_total"), 2);
    assert_eq!(figure("pocket_outcomes_total{kind=\"applied\"}"), 3);
    assert_eq!(figure("pocket_outcomes_total{kind=\"conflict\"}"), 1);
    assert_eq!(figure("pocket_outcomes_total{kind=\"rejected\"}"), 1);
    assert_eq!(figure("pocket_rejections_total{code=\"quota\"}"), 1);
    assert_eq!(
        figure("pocket_errors_total{code=\"unexpected-message\"}"),
        1
    );
    assert_eq!(figure("pocket_clients"), 2);
    assert!(figure("pocket_received_bytes_total") > 200, "{text}");
    assert!(figure("pocket_sent_bytes_total") > 200, "{text}");
    // The one has read two of three places, the other one none at all.
    let mut lags: Vec<_> = running.server.clients().iter().map(|one| one.lag).collect();
    lags.sort_unstable();
    assert_eq!(lags, [1, 3]);
    assert_eq!(figure("pocket_reader_lag_max"), 3);
    running.stop().await;
}

/// A full disk was no trouble to `/health/ready`, and devices were told `internal`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_full_disk_is_not_ready_and_tells_devices_why() {
    let faults = Faults::new();
    let running = Running::open(Arc::new(FaultyStorage::new(memory(), &faults))).await;
    let mut peer = Peer::join(running.address, 1, None).await;
    faults.refuse_commits(Some(StorageError::Full("no space".to_owned())));
    let mut fresh = Peer::dial(running.address, 2).await;
    fresh.hello(None, None).await;
    assert_eq!(fresh.end().await, ("server-full".to_owned(), Some(1011)));
    peer.send_puts(1, &["a"]).await;
    let ServerMessage::Error(error) = peer.receive().await else {
        panic!("it was stored")
    };
    assert_eq!(
        (error.code.as_str(), error.retryable, error.fatal),
        ("server-full", true, false)
    );
    for path in ["health", "health/ready"] {
        let answer = ask(running.address, &format!("GET /{path}")).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
        assert!(answer.contains(r#"{"status":"storage-full"}"#), "{answer}");
    }
    let live = ask(running.address, "GET /health/live").await;
    assert!(live.starts_with("HTTP/1.1 200"), "{live}");

    faults.refuse_commits(None);
    assert!(matches!(
        peer.put(1, &["a"]).await[..],
        [Outcome::Applied { .. }]
    ));
    let answer = ask(running.address, "GET /health/ready").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.stop().await;
}

/// Found by the simulator: a commit had taken effect and its writer was told that this is not known. It never came back
/// under that client id, and everybody else went on listening to a log that did not seem to move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_commit_of_unknown_result_stored_is_told_although_its_writer_never_comes_back() {
    // The store also fails to tell for a while.
    for failures in [0, 2] {
        let faults = Faults::new();
        let running = Running::open(Arc::new(FaultyStorage::new(memory(), &faults))).await;
        let mut listener = Peer::join(running.address, 1, None).await;
        listener.pull(None, 0).await;
        assert!(listener.catch_up().await.is_empty());
        let mut writer = Peer::join(running.address, 2, None).await;
        let next = faults.calls().commit + 1;
        let error = || StorageError::Backend("fsync failed".to_owned());
        faults.fail_at_kind(CallKind::Commit, next, Moment::After, error());
        for failure in 1..=failures {
            faults.fail_at_kind(CallKind::Commit, next + failure, Moment::Before, error());
        }
        writer.send_puts(1, &["a"]).await;
        let ServerMessage::Error(told) = writer.receive().await else {
            panic!("its result is not known")
        };
        assert_eq!((told.code.as_str(), told.retryable), ("retry-later", true));
        drop(writer);

        // Nobody writes, and the listener says nothing.
        let (code, _) = listener.end().await;
        assert_eq!(code, "going-away", "the log was opened anew");
        let mut again = Peer::join(running.address, 1, Some(listener.session())).await;
        let epoch = again.epoch();
        assert_ne!(epoch, listener.epoch());
        again.pull(Some(listener.epoch()), 0).await;
        assert_eq!(again.catch_up().await, [common::key("a").id]);
        running.stop().await;
    }
}
