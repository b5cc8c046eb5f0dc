//! The engine over real sockets, against a scripted server.

#[path = "engine/application.rs"]
mod application;
mod common;

use std::time::Duration;

use application::{meet, refuse_at_the_door};
use common::{applied, document, epoch, error, page, record, seq, welcome};
use futures_util::{SinkExt, StreamExt};
use pocket_core::replica::Conflict;
use pocket_core::{CollectionConfig, Database, Outcome, Subscription, Value, codes as core_codes};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_client::{AuthReason, Resolved, Status, SyncConfig, SyncEngine, SyncError, codes};
use pocket_sync_protocol::codes::{self as wire};
use pocket_sync_protocol::{
    ClientMessage, Hello, Outcomes, Pull, Push, SUBPROTOCOL, ServerMessage, Welcome, WireLimits,
    decode_client, encode_server,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// One connection, from the server's side.
struct Peer {
    socket: WebSocketStream<TcpStream>,
    path: String,
    authorization: Option<String>,
}

impl Peer {
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.expect("a client connects");
        stream.set_nodelay(true).expect("a TCP stream");
        let (mut path, mut authorization) = (String::new(), None);
        let callback = |request: &Request, mut response: Response| {
            path = request.uri().to_string();
            let header = request.headers().get("authorization");
            authorization = header.map(|value| value.to_str().expect("a token is text").to_owned());
            assert_eq!(request.headers()["sec-websocket-protocol"], SUBPROTOCOL);
            response.headers_mut().insert(
                "sec-websocket-protocol",
                HeaderValue::from_static(SUBPROTOCOL),
            );
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, callback)
            .await
            .expect("a proper handshake");
        Self {
            socket,
            path,
            authorization,
        }
    }

    async fn hear(&mut self) -> ClientMessage {
        loop {
            match self
                .socket
                .next()
                .await
                .expect("the client is there")
                .expect("and speaks properly")
            {
                Message::Binary(bytes) => {
                    return decode_client(&bytes, &WireLimits::default()).expect("a message");
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("a message was expected, not {other:?}"),
            }
        }
    }

    async fn say(&mut self, message: impl Into<ServerMessage>) {
        self.socket
            .send(Message::Binary(encode_server(&message.into())))
            .await
            .expect("the client is there");
    }

    /// Reads the hello and welcomes; the place and number told are those of `welcome`.
    async fn welcome(&mut self, welcome: Welcome) -> Hello {
        let ClientMessage::Hello(hello) = self.hear().await else {
            panic!("a hello comes first")
        };
        self.say(welcome).await;
        hello
    }

    async fn push(&mut self) -> Push {
        loop {
            if let ClientMessage::Push(push) = self.hear().await {
                return push;
            }
        }
    }

    async fn pull(&mut self) -> Pull {
        loop {
            if let ClientMessage::Pull(pull) = self.hear().await {
                return pull;
            }
        }
    }

    async fn ping(&mut self) -> u32 {
        loop {
            if let ClientMessage::Ping(ping) = self.hear().await {
                return ping.id;
            }
        }
    }

    async fn ended(mut self) -> Option<CloseFrame> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("it is bound"));
    (listener, url)
}

async fn database() -> Database {
    Database::builder("test")
        .collection(CollectionConfig::new("todos").sync(true))
        .open(MemoryStorage::new())
        .await
        .expect("memory opens")
}

async fn insert(database: &Database, id: &str) {
    let todos = database
        .collection::<Value>("todos")
        .expect("it is configured");
    todos
        .upsert(&document(id, "local"))
        .await
        .expect("memory takes it");
}

fn quick(url: &str) -> SyncConfig {
    SyncConfig::new(url).retry_delay(Duration::from_millis(10))
}

async fn until(statuses: &mut Subscription<Status>, wanted: Status) {
    while statuses.next().await.expect("the engine runs") != wanted {}
}

fn code(result: &Result<(), SyncError>) -> Result<&(), &str> {
    result.as_ref().map_err(SyncError::code)
}

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
    let (mut push, mut pull) = (None, None);
    while push.is_none() || pull.is_none() {
        match peer.hear().await {
            ClientMessage::Push(told) => push = Some(told),
            ClientMessage::Pull(told) => pull = Some(told),
            other => panic!("{other:?}"),
        }
    }
    let (push, pull) = (push.expect("it came"), pull.expect("it came"));
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
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
            wire::UNAUTHORIZED,
        ),
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            wire::FORBIDDEN,
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
