//! The engine over real sockets, against a scripted server.

#[path = "engine/application.rs"]
mod application;
mod common;
#[path = "engine/resting.rs"]
mod resting;

use std::time::Duration;

use application::{meet, refuse_at_the_door};
use common::peer::{Peer, UNAUTHORIZED, code, database, insert, listen, quick, until};
use common::{applied, document, epoch, error, page, record, seq, welcome};
use pocket_core::replica::Conflict;
use pocket_core::{Outcome, Value, codes as core_codes};
use pocket_sync_client::{AuthReason, Resolved, Status, SyncConfig, SyncEngine, SyncError, codes};
use pocket_sync_protocol::codes::{self as wire};
use pocket_sync_protocol::{ClientMessage, Outcomes, Welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_change_goes_out_and_one_comes_in() {
    let (listener, url) = listen().await;
    let database = database().await;
    let sync = SyncEngine::new(
        &database,
        quick(&url).auth_token("sesame").namespace("home"),
    );
    let mut statuses = sync.status();
    assert_eq!(
        statuses.next().await,
        Some(Status::Offline),
        "the current value comes at once"
    );
    insert(&database, "before start").await;
    sync.start().await.expect("it starts");

    let mut peer = Peer::accept(&listener).await;
    assert_eq!(
        (peer.path.as_str(), peer.authorization.as_deref()),
        ("/sync", Some("Bearer sesame"))
    );
    let hello = peer.welcome(welcome()).await;
    assert_eq!(
        (hello.namespace.as_str(), hello.token),
        ("home", None),
        "the header has the token"
    );
    let (push, pull) = peer.push_and_pull().await;
    peer.say(applied(&push, 1)).await;
    peer.say(page(&pull, 0, 2, 2, &[record("theirs", 2)])).await;
    until(&mut statuses, Status::Idle).await;
    assert_eq!(sync.pending_changes().await.expect("memory gives it"), 0);
    assert_eq!(
        sync.checkpoint().await.expect("memory gives it").seq,
        seq(2)
    );
    let todos = database
        .collection::<Value>("todos")
        .expect("it is configured");
    assert!(
        todos
            .get("theirs")
            .await
            .expect("memory gives it")
            .is_some()
    );

    insert(&database, "while connected").await;
    assert_eq!(peer.push().await.first.get(), 2);
    drop(statuses);
    sync.stop().await.expect("it stops");
    assert_eq!(
        peer.ended().await.map(|frame| frame.code.into()),
        Some(1000_u16)
    );
}

#[tokio::test]
async fn start_works_while_nobody_is_there_and_a_pass_says_so() {
    let (listener, url) = listen().await;
    drop(listener);
    let sync = SyncEngine::new(&database().await, quick(&url));
    assert_eq!(code(&sync.force_sync().await), Err(codes::STOPPED));
    sync.start().await.expect("it starts");
    assert_eq!(code(&sync.force_sync().await), Err(codes::CONNECT));
    assert_eq!(sync.status().next().await, Some(Status::Offline));
}

#[tokio::test]
async fn a_lost_connection_is_opened_again_and_what_was_not_answered_is_sent_again() {
    let (listener, url) = listen().await;
    let database = database().await;
    insert(&database, "a").await;
    let sync = SyncEngine::new(&database, quick(&url));
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome()).await;
    let before = peer.push().await;
    // As a killed server: no close frame, nothing.
    drop(peer);
    let mut peer = Peer::accept(&listener).await;
    let hello = peer.welcome(welcome()).await;
    assert!(hello.session.is_some());
    assert_eq!(peer.push().await.mutations, before.mutations);
}

#[tokio::test]
async fn a_pass_returns_when_everything_is_through() {
    let (listener, url) = listen().await;
    let database = database().await;
    insert(&database, "a").await;
    let sync = SyncEngine::new(&database, quick(&url));
    sync.start().await.expect("it starts");
    let server = async {
        let mut peer = Peer::accept(&listener).await;
        peer.welcome(Welcome {
            head: seq(1),
            ..welcome()
        })
        .await;
        let pull = peer.pull().await;
        let push = peer.push().await;
        peer.say(page(&pull, 0, 1, 1, &[record("theirs", 1)])).await;
        peer.say(applied(&push, 2)).await;
        peer.say(page(&pull, 1, 2, 2, &[])).await;
        loop {
            let id = peer.ping().await;
            peer.say(common::pong(id, 2)).await;
        }
    };
    tokio::select! {
        () = server => {}
        passed = sync.force_sync() => assert_eq!(code(&passed), Ok(&())),
    }
    let stats = sync.snapshot().stats;
    assert_eq!(
        (stats.push_count, stats.pull_count, stats.pending),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn a_server_that_refuses_at_the_door_is_told_apart_from_a_web_page() {
    for (answer, expected) in [
        (UNAUTHORIZED, wire::UNAUTHORIZED),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: 35\r\n\r\n\
             {\"code\":\"forbidden\",\"message\":\"no\"}",
            wire::FORBIDDEN,
        ),
        // A portal, a proxy: it says nothing about the token.
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: text/html\r\ncontent-length: 7\r\n\r\nsign in",
            codes::CONNECT,
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            codes::CONNECT,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nsign in",
            codes::CONNECT,
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n",
            codes::CONNECT,
        ),
        ("\x16\x03\x01", codes::CONNECT),
    ] {
        let (listener, url) = listen().await;
        let door = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a client connects");
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let sync = SyncEngine::new(&database().await, quick(&url));
        sync.start().await.expect("it starts");
        assert_eq!(code(&sync.force_sync().await), Err(expected), "{answer}");
        door.abort();
    }
}

#[tokio::test]
async fn a_new_token_connects_at_once() {
    let (listener, url) = listen().await;
    let sync = SyncEngine::new(&database().await, quick(&url).auth_token("old"));
    let mut statuses = sync.status();
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    assert!(matches!(peer.hear().await, ClientMessage::Hello(_)));
    peer.say(error(None, wire::TOKEN_EXPIRED, false, true))
        .await;
    until(&mut statuses, Status::Error).await;
    assert_eq!(
        sync.snapshot().stats.last_error.expect("it failed").code(),
        wire::TOKEN_EXPIRED
    );
    sync.set_auth_token(Some("new"))
        .await
        .expect("a good token");
    let peer = Peer::accept(&listener).await;
    assert_eq!(peer.authorization.as_deref(), Some("Bearer new"));
}

#[tokio::test]
async fn a_configuration_that_cannot_work_fails_at_start_and_a_token_is_checked_later_too() {
    let far = SyncEngine::new(
        &database().await,
        SyncConfig::new("ws://192.0.2.1").auth_token("t"),
    );
    assert_eq!(code(&far.start().await), Err(codes::PLAINTEXT_REFUSED));
    let open = SyncEngine::new(&database().await, SyncConfig::new("ws://192.0.2.1"));
    assert_eq!(
        code(&open.set_auth_token(Some("t")).await),
        Err(codes::PLAINTEXT_REFUSED)
    );
    assert_eq!(
        code(&open.set_auth_token(Some("a b")).await),
        Err(codes::CONFIG)
    );
}

#[tokio::test]
async fn a_destroyed_engine_says_so_and_its_streams_end() {
    let (listener, url) = listen().await;
    let sync = SyncEngine::new(&database().await, quick(&url));
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome()).await;
    sync.destroy().await;
    assert_eq!(
        peer.ended().await.map(|frame| frame.code.into()),
        Some(1000_u16)
    );
    for result in [
        sync.start().await,
        sync.stop().await,
        sync.force_sync().await,
    ] {
        assert_eq!(code(&result), Err(codes::DESTROYED));
    }
    let mut progress = sync.progress();
    drop(sync);
    assert!(progress.next().await.is_some(), "the last value");
    assert!(progress.next().await.is_none());
}

#[tokio::test]
async fn idle_is_never_said_after_a_write_that_was_not_sent() {
    let (listener, url) = listen().await;
    let database = database().await;
    let sync = SyncEngine::new(&database, quick(&url));
    let mut statuses = sync.status();
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome()).await;
    let pull = peer.pull().await;
    peer.say(page(&pull, 0, 0, 0, &[])).await;
    for place in 1..20 {
        until(&mut statuses, Status::Idle).await;
        insert(&database, "a").await;
        assert_ne!(sync.snapshot().status, Status::Idle);
        assert_ne!(sync.status().next().await, Some(Status::Idle));
        let push = peer.push().await;
        peer.say(applied(&push, place)).await;
        peer.say(page(&pull, place - 1, place, place, &[])).await;
    }
}

#[tokio::test]
async fn several_engines_in_one_process_share_nothing() {
    let (listener_a, url_a) = listen().await;
    let (listener_b, url_b) = listen().await;
    let (db_a, db_b) = (database().await, database().await);
    let a = SyncEngine::new(&db_a, quick(&url_a).auth_token("a"));
    let b = SyncEngine::new(&db_b, quick(&url_b).auth_token("b"));
    let mut conflicts_b = b.conflicts();
    insert(&db_a, "a").await;
    let mut peer_a = meet(&listener_a, &a).await;
    // The local version won, and is sent again.
    let push = peer_a.push().await;
    peer_a.say(applied(&push, 2)).await;
    b.start().await.expect("it starts");
    assert_eq!(refuse_at_the_door(&listener_b).await, "bearer b");
    until(&mut b.status(), Status::Error).await;
    assert_eq!(a.snapshot().stats.last_error, None);

    // Another token for one of them is none of the other's business.
    b.set_auth_token(Some("better"))
        .await
        .expect("a good token");
    let mut peer_b = Peer::accept(&listener_b).await;
    assert_eq!(peer_b.authorization.as_deref(), Some("Bearer better"));
    peer_b.welcome(welcome()).await;
    assert_eq!(b.snapshot().stats.conflict_count, 0);
    assert_eq!(a.snapshot().stats.conflict_count, 1);

    // The end of one leaves the other at work, with its streams.
    b.destroy().await;
    assert_eq!(conflicts_b.next().await, None);
    insert(&db_a, "more").await;
    assert_eq!(peer_a.push().await.mutations.len(), 1);
    assert_eq!(code(&a.stop().await), Ok(&()));
    assert_eq!(
        db_b.stats().await.expect("memory gives it").pending_changes,
        0
    );
}
