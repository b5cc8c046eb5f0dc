//! Peers that do not behave, over a connection in memory and a clock that only moves when nothing else does: what is
//! seen at a moment is all that will have happened by then.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pocket_core::{
    Body, ClientId, CollectionName, DocumentId, DocumentLimits, Env, Map, Seq, SystemEnv, Timestamp,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{
    ClientMessage, Direction, Hello, More, Page, Pull, ServerMessage, VersionRange, WireLimits,
    decode_server, encode_client,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::auth::Access;
use crate::auth::Secret;
use crate::{Config, Namespace, SyncServer};

/// What the connection itself holds, on each of its ways.
const PIPE: usize = 64 * 1024;
const SECOND: Duration = Duration::from_secs(1);

/// The time of day by the clock that the test moves.
#[derive(Debug)]
struct TestEnv(Instant);

impl Env for TestEnv {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.0.elapsed().as_millis()).unwrap();
        Timestamp::from_millis(passed)
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemEnv.random(bytes);
    }
}

struct Peer {
    server: SyncServer,
    socket: WebSocketStream<DuplexStream>,
    began: Instant,
}

impl Peer {
    /// A peer whose token is good for so long.
    async fn dial(config: Config, valid: Duration) -> Self {
        let began = Instant::now();
        let until = i64::try_from(valid.as_millis()).unwrap();
        let server = SyncServer::builder(Arc::new(MemoryStorage::new()))
            .env(Arc::new(TestEnv(began)))
            .authenticate_with(move |_| async move {
                Ok(Access::all("ann").until(Timestamp::from_millis(until)))
            })
            .config(config)
            .build()
            .unwrap();
        let (near, far) = tokio::io::duplex(PIPE);
        let inner = Arc::clone(&server.inner);
        tokio::spawn(async move {
            let _served = inner.serving();
            let caller = Caller {
                connection: inner.next_connection(),
                token: Some(Secret::from("t")),
                peer: None,
            };
            serve(Arc::clone(&inner), far, Vec::new(), caller).await;
        });
        let socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        Self {
            server,
            socket,
            began,
        }
    }

    async fn join(config: Config, valid: Duration) -> Self {
        let mut peer = Self::dial(config, valid).await;
        peer.say(Hello {
            versions: VersionRange::SUPPORTED,
            client: ClientId::from_bytes([1; 16]),
            namespace: "default".to_owned(),
            token: None,
            session: None,
            collections: Vec::new(),
            direction: Direction::Both,
            checkpoint: None,
            agent: "test".to_owned(),
        })
        .await;
        let welcome = peer.receive().await;
        assert!(matches!(welcome, ServerMessage::Welcome(_)), "{welcome:?}");
        peer
    }

    async fn say(&mut self, message: impl Into<ClientMessage>) {
        let frame = encode_client(&message.into());
        self.socket.send(Message::Binary(frame)).await.unwrap();
    }

    async fn receive(&mut self) -> ServerMessage {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Binary(frame))) => {
                    return decode_server(&frame, &WireLimits::default()).unwrap();
                }
                Some(Ok(Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn page(&mut self) -> Page {
        match self.receive().await {
            ServerMessage::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// The code of the error that ends the connection, and the seconds after which it came.
    async fn end(&mut self) -> (String, u64) {
        loop {
            if let ServerMessage::Error(error) = self.receive().await {
                assert!(error.fatal, "{error:?}");
                return (error.code, self.began.elapsed().as_secs());
            }
        }
    }

    /// Sends these bytes piece by piece, one each half second, until the server has had enough.
    async fn trickle<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>) -> (String, u64) {
        for piece in pieces {
            tokio::select! {
                biased;
                ended = self.end() => return ended,
                () = sleep(SECOND / 2) => {}
            }
            self.socket.get_mut().write_all(piece).await.unwrap();
        }
        panic!("the server waits as long as the frame lasts")
    }

    /// Pings each millisecond until the server has had enough.
    async fn ping_without_end(&mut self) -> (String, u64) {
        loop {
            tokio::select! {
                biased;
                ended = self.end() => return ended,
                () = sleep(Duration::from_millis(1)) => {}
            }
            // It may have ended meanwhile.
            let _ = self.socket.send(Message::Ping(Bytes::new())).await;
        }
    }

    /// Writes as many documents of so many bytes into the namespace.
    async fn fill(&self, documents: usize, bytes: usize) {
        let namespace = self.server.namespace(&Namespace::new("default").unwrap());
        let mut map = Map::new();
        map.insert("text", "x".repeat(bytes));
        let body = Body::from_map(&map, &DocumentLimits::default()).unwrap();
        let todos = CollectionName::new("todos").unwrap();
        for number in 0..documents {
            let id = DocumentId::new(&format!("d{number:04}")).unwrap();
            namespace.put(&todos, &id, &body).await.unwrap();
        }
    }

    /// Asks for everything, as many pages ahead as the server gives.
    async fn pull(&mut self) {
        self.say(Pull {
            id: 1,
            epoch: None,
            after: Seq::ZERO,
            until: None,
            collections: Vec::new(),
            window: 8,
            batch: 1_000,
            fixed_head: None,
        })
        .await;
    }
}

/// Whoever sends pings without a pause used to put off the deadline for ever.
#[tokio::test(start_paused = true)]
async fn pings_put_off_neither_the_hello_nor_the_end_of_a_token() {
    let mut config = Config::default();
    config.limits.control_frames = u32::MAX;
    let mut peer = Peer::dial(config.clone(), 30 * SECOND).await;
    assert_eq!(
        peer.ping_without_end().await,
        ("handshake-timeout".to_owned(), 10)
    );
    let mut peer = Peer::join(config, 30 * SECOND).await;
    assert_eq!(
        peer.ping_without_end().await,
        ("token-expired".to_owned(), 30)
    );
}

#[tokio::test(start_paused = true)]
async fn more_pings_than_a_client_has_use_for_end_the_connection() {
    let mut peer = Peer::join(Config::default(), 300 * SECOND).await;
    assert_eq!(
        peer.ping_without_end().await,
        ("rate-limited".to_owned(), 0)
    );
    let mut peer = Peer::join(Config::default(), 120 * SECOND).await;
    for _ in 0..1_000 {
        peer.socket.send(Message::Ping(Bytes::new())).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(peer.end().await, ("token-expired".to_owned(), 120));
}

/// A frame that came byte by byte was a sign of life each time, and never late.
#[tokio::test(start_paused = true)]
async fn a_frame_that_trickles_in_is_given_up() {
    // A binary frame of 1,000 bytes, masked with zeros.
    let frame = [&[0x82, 0xfe, 0x03, 0xe8, 0, 0, 0, 0][..], &[0; 1_000]].concat();
    let mut peer = Peer::join(Config::default(), 300 * SECOND).await;
    let ended = peer.trickle(frame.chunks(1)).await;
    assert_eq!(ended, ("idle-timeout".to_owned(), 30));

    // A message in a thousand parts without content, the first of which opens it, with a ping behind each.
    let ping = [0x89, 0x80, 0, 0, 0, 0];
    let first = [[0x02, 0x80, 0, 0, 0, 0], ping].concat();
    let next = [[0x00, 0x80, 0, 0, 0, 0], ping].concat();
    let mut peer = Peer::join(Config::default(), 300 * SECOND).await;
    let parts = std::iter::once(&first[..]).chain(std::iter::repeat_n(&next[..], 999));
    assert_eq!(peer.trickle(parts).await, ("idle-timeout".to_owned(), 30));

    // Pings in two pieces are whole each time.
    let halves = [&ping[..3], &ping[3..]];
    let mut peer = Peer::join(Config::default(), 100 * SECOND).await;
    assert_eq!(
        peer.trickle(halves.into_iter().cycle()).await,
        ("token-expired".to_owned(), 100)
    );
}

/// Anybody could make the server hold 4 MiB before it knew who that was.
#[tokio::test(start_paused = true)]
async fn before_the_welcome_no_more_is_held_than_a_hello_has() {
    let mut header = vec![0x82, 0xff];
    header.extend_from_slice(&(4 * 1_024 * 1_024 - 1_000_u64).to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    let mut peer = Peer::dial(Config::default(), 300 * SECOND).await;
    let raw = peer.socket.get_mut();
    raw.write_all(&header).await.unwrap();
    // What is not read any more must fit the connection itself.
    raw.write_all(&vec![0; HELLO_BYTES + PIPE]).await.unwrap();
    assert_eq!(peer.end().await, ("too-large".to_owned(), 0));
}

/// Thirty seconds are not for all that a device has to say over a bad line: what comes buys time.
#[tokio::test(start_paused = true)]
async fn a_large_frame_on_a_slow_line_has_its_time() {
    let mut peer = Peer::join(Config::default(), 300 * SECOND).await;
    // It is no message, which is only seen when it is whole: 400 KiB at 4 KiB a second.
    let content = 400 * 1_024_u64;
    let mut header = vec![0x82, 0xff];
    header.extend_from_slice(&content.to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    peer.socket.get_mut().write_all(&header).await.unwrap();
    for _ in 0..100 {
        sleep(SECOND).await;
        peer.socket
            .get_mut()
            .write_all(&[0xc1; 4_096])
            .await
            .unwrap();
    }
    assert_eq!(peer.end().await, ("bad-frame".to_owned(), 100));
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_and_who_takes_nothing_is_closed_after_its_time() {
    let mut silent = Peer::join(Config::default(), 300 * SECOND).await;
    assert_eq!(silent.end().await, ("idle-timeout".to_owned(), 60));

    // It goes on talking, and takes nothing of what it asked for.
    let config = Config {
        write_timeout: 20 * SECOND,
        ..Config::default()
    };
    let mut deaf = Peer::join(config, 300 * SECOND).await;
    deaf.fill(3, 1_000_000).await;
    deaf.pull().await;
    sleep(19 * SECOND).await;
    assert_eq!(deaf.server.connections(), 1);
    sleep(2 * SECOND).await;
    assert_eq!(deaf.server.connections(), 0);
}

/// A peer that asked for eight pages ahead, and took none, cost eight pages of up to 4 MiB.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_costs_a_bounded_part_of_its_window() {
    let config = Config::default();
    let most = config.limits.unsent_bytes + config.limits.wire.message_bytes;
    let mut peer = Peer::join(config, 300 * SECOND).await;
    peer.fill(40, 1_000_000).await;
    peer.pull().await;
    sleep(SECOND).await;
    let metrics = Arc::clone(&peer.server.inner.metrics);
    let held = || metrics.sent_bytes.get();
    let first = held();
    // Else it would not be the bound that is seen here.
    assert!(first > 1_000_000, "{first}");
    assert!(first <= (most + PIPE) as u64, "{first}");
    sleep(10 * SECOND).await;
    assert_eq!(held(), first);
    // When it takes what there is, it gets the rest.
    let mut read = 0;
    while read < 40 {
        let page = peer.page().await;
        read += page.records().unwrap().len();
        peer.say(More {
            id: page.id,
            applied: page.end,
        })
        .await;
    }
}

/// It sends nothing while it takes, and nothing was read from it; its silence used to end the connection, again and again.
#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slow_but_takes_is_no_silent_one() {
    let mut peer = Peer::join(Config::default(), 100_000 * SECOND).await;
    peer.fill(3, 1_000_000).await;
    peer.pull().await;
    // 3 MB at 16 KiB a second, which takes longer than a client may be silent.
    let (mut line, far) = (peer.socket.into_inner(), tokio::io::duplex(PIPE));
    let (near, mut far) = far;
    tokio::spawn(async move {
        let mut buffer = vec![0; 16 * 1_024];
        loop {
            sleep(SECOND).await;
            let read = line.read(&mut buffer).await.unwrap();
            far.write_all(&buffer[..read]).await.unwrap();
        }
    });
    peer.socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let page = peer.page().await;
    assert!(peer.began.elapsed() > 120 * SECOND);
    assert_eq!(page.records().unwrap().len(), 3);
}
