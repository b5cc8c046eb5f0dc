//! The server over real sockets, spoken to by a client that knows nothing but the protocol.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::peer::{Peer, Running, connect, within};
use futures_util::{FutureExt, SinkExt};
use pocket_core::{Env, Outcome, Seq, SystemEnv, Timestamp};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{Ping, ServerMessage};
use pocket_sync_server::auth::{Access, Namespaces};
use pocket_sync_server::{Config, Namespace, SyncServer, TokenTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};

fn memory() -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::new())
}

fn applied(first: u64) -> Outcome {
    Outcome::Applied {
        first: Seq::new(first),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_device_writes_another_reads_live() {
    let running = Running::open(memory()).await;
    let mut ann = Peer::join(running.address, 1, None).await;
    let mut bob = Peer::join(running.address, 2, None).await;
    bob.pull(None, 0).await;
    assert_eq!(bob.page().await.end, Seq::ZERO);
    assert_eq!(ann.put(1, &["a", "b"]).await, [applied(1), applied(2)]);
    let page = bob.page().await;
    assert_eq!(
        (page.start, page.end, page.head),
        (Seq::ZERO, Seq::new(2), Seq::new(2))
    );
    let records = page.records().unwrap();
    assert_eq!(
        (records[0].id.as_str(), records[0].rev.client),
        ("a", ann.client)
    );
    assert_eq!(records[0].state.body(), Some(&common::body("a")));
    // Bob's answer stands on what he has read, and Ann hears of it.
    ann.pull(Some(ann.epoch()), 2).await;
    ann.page().await;
    assert_eq!(bob.put(1, &["c"]).await, [applied(3)]);
    assert_eq!(ann.page().await.records().unwrap()[0].id.as_str(), "c");
    running.stop().await;
}

/// Only a WebSocket was given up on: who asked over HTTP and read no answer kept a connection for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_over_http_and_reads_no_answer_is_closed() {
    let mut config = Config::default();
    config.write_timeout = Duration::from_millis(100);
    config.admin.page = true;
    let running = Running::start(memory(), TokenTable::open(), config).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    // Far more than what lies between the two can hold.
    let requests = "GET /admin/page.js HTTP/1.1\r\nhost: x\r\n\r\n".repeat(10_000);
    // It is closed, with what was not read.
    let asked = within(stream.write_all(requests.as_bytes())).await;
    let closed = async {
        while running.server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    within(closed).await;
    drop((asked, stream));
    running.stop().await;
}

/// A connection keeps what it once collected to be sent, so the server sends long messages as fragments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_much_longer_than_the_buffer_of_a_connection_arrives_whole() {
    let running = Running::open(memory()).await;
    let mut ann = Peer::join(running.address, 1, None).await;
    let names: Vec<String> = (0..900).map(|n| format!("document-{n:06}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(ann.put(1, &names).await.len(), names.len());
    let mut bob = Peer::join(running.address, 2, None).await;
    bob.pull(None, 0).await;
    let page = bob.page().await;
    let records = page.records().unwrap();
    let bytes: usize = page.set.data.iter().map(bytes::Bytes::len).sum();
    assert!(bytes > 32 * 1024, "{bytes} bytes are not long");
    assert!(
        records
            .iter()
            .map(|record| record.id.as_str())
            .eq(names.iter().copied())
    );
    assert_eq!(records[899].state.body(), Some(&common::body(names[899])));
    // What follows is a message of its own.
    ann.put(901, &["behind"]).await;
    assert_eq!(bob.page().await.end, Seq::new(901));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_on_redb_goes_on_where_it_was_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.redb");
    let open = || Arc::new(pocket_storage_redb::RedbStorage::open(&path).unwrap());
    let names: Vec<String> = (0..2_500).map(|n| format!("d{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();

    let storage = open();
    let running = Running::open(storage.clone()).await;
    let mut ann = Peer::join(running.address, 1, None).await;
    let session = ann.session();
    for (at, part) in names.chunks(500).enumerate() {
        assert_eq!(ann.put(1 + 500 * at as u64, part).await.len(), 500);
    }
    running.stop().await;
    assert_eq!(ann.end().await, ("going-away".to_owned(), Some(1001)));
    pocket_storage::Storage::close(&*storage).await.unwrap();
    drop(storage);

    let running = Running::open(open()).await;
    let mut ann = Peer::join(running.address, 1, Some(session)).await;
    assert_eq!(ann.welcome.as_ref().unwrap().last_number.get(), 2_500);
    assert_eq!(ann.welcome.as_ref().unwrap().epochs.len(), 2);
    let again = ann.put(2_001, &names[2_000..]).await;
    assert_eq!((again.len(), &again[0]), (500, &applied(2_001)));
    let mut bob = Peer::join(running.address, 2, None).await;
    bob.pull(None, 0).await;
    let read = bob.catch_up().await;
    assert_eq!(
        read.iter()
            .map(pocket_core::DocumentId::as_str)
            .collect::<Vec<_>>(),
        names
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_open_what_they_list() {
    let only = Access::all("")
        .only([Namespace::new("other").unwrap()])
        .namespaces;
    let tokens = TokenTable::new()
        .token("good", Some("ann"), Namespaces::All)
        .token("narrow", None, only);
    let running = Running::start(memory(), tokens, Config::default()).await;
    for (token, expected) in [
        (None, ("unauthorized", 4401)),
        (Some("bad"), ("unauthorized", 4401)),
        (Some("narrow"), ("forbidden", 4403)),
    ] {
        let mut peer = Peer::dial(running.address, 1).await;
        peer.hello(token, None).await;
        assert_eq!(
            peer.end().await,
            (expected.0.to_owned(), Some(expected.1)),
            "{token:?}"
        );
    }
    let mut peer = Peer::dial(running.address, 1).await;
    peer.hello(Some("good"), None).await;
    let welcome = peer.receive().await;
    assert!(
        matches!(&welcome, ServerMessage::Welcome(welcome) if welcome.user == "ann"),
        "{welcome:?}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_from_elsewhere_may_not_connect() {
    let running = Running::open(memory()).await;
    let refused = connect(running.address, &[("origin", "https://example.com")]).await;
    assert!(matches!(refused, Err(Error::Http(response)) if response.status() == 403));
    assert!(
        connect(running.address, &[("origin", "http://localhost:5173")])
            .await
            .is_ok()
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_over_http() {
    let running = Running::open(memory()).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200")
            && answer.ends_with(r#"{"status":"ok","connections":0}"#),
        "{answer}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_connection_of_a_client_ends_the_older() {
    let running = Running::open(memory()).await;
    let mut old = Peer::join(running.address, 1, None).await;
    let mut new = Peer::join(running.address, 1, Some(old.session())).await;
    assert_eq!(old.end().await, ("replaced".to_owned(), Some(4409)));
    assert_eq!(new.put(1, &["a"]).await, [applied(1)]);
    let mut copy = Peer::dial(running.address, 1).await;
    copy.hello(None, None).await;
    assert_eq!(copy.end().await, ("client-copied".to_owned(), Some(4409)));
    running.stop().await;
}

/// Found by the simulator: the network held the hello of a process up that was dead by then, and its client's session on a
/// newer connection was ended by it. Told that it is one too many, a client stays away for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_comes_late_on_an_older_connection_ends_no_session_and_leaves_no_mark() {
    let running = Running::open(memory()).await;
    let mut old = Peer::dial(running.address, 1).await;
    let mut new = Peer::join(running.address, 1, None).await;
    old.hello(None, None).await;
    assert_eq!(old.end().await, ("replaced".to_owned(), Some(4409)));
    assert_eq!(new.put(1, &["a"]).await, [applied(1)]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_closed_with_a_code() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(50);
    let running = Running::start(memory(), TokenTable::open(), config).await;
    let mut peer = Peer::dial_soon(running.address, 1).await;
    assert_eq!(
        peer.end().await,
        ("handshake-timeout".to_owned(), Some(4408))
    );
    running.stop().await;
}

/// Pings one after the other until the connection ends, and what it ends with.
async fn flood(mut peer: Peer) -> (String, Option<u16>) {
    loop {
        let next = peer.next().now_or_never();
        match next {
            Some(Ok(ServerMessage::Error(error))) => return (error.code, peer.end().await.1),
            Some(Err(close)) => return (String::new(), close),
            Some(Ok(_)) | None => {}
        }
        if peer.ping().await.is_err() {
            return peer.end().await;
        }
    }
}

/// Bytes that came were a sign of life, and as long as they came without a pause no deadline was looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_without_a_pause_put_off_no_deadline() {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_millis(300);
    config.limits.control_frames = u32::MAX;
    let running = Running::start(memory(), TokenTable::open(), config.clone()).await;
    let early = flood(Peer::dial_soon(running.address, 1).await).await;
    // The hello allows 128 KiB and no more, which a quick sender has sent before its time is over.
    let codes = [
        ("handshake-timeout".to_owned(), Some(4408)),
        ("too-large".to_owned(), Some(4413)),
    ];
    assert!(codes.contains(&early), "{early:?}");
    running.stop().await;

    config.handshake_timeout = Config::default().handshake_timeout;
    let server = SyncServer::builder(memory())
        .authenticate_with(|_| async {
            let soon = Timestamp::from_millis(SystemEnv.now().millis() + 1_000);
            Ok(Access::all("ann").until(soon))
        })
        .config(config)
        .build()
        .unwrap();
    let running = Running::of(server).await;
    let late = flood(Peer::join(running.address, 1, None).await).await;
    assert_eq!(late, ("token-expired".to_owned(), Some(4402)));
    running.stop().await;

    let running = Running::open(memory()).await;
    let flooded = flood(Peer::join(running.address, 1, None).await).await;
    assert_eq!(flooded, ("rate-limited".to_owned(), Some(4429)));
    running.stop().await;
}

/// Connections that mean harm, each after a good handshake.
fn hostile_frames() -> Vec<(&'static str, Message)> {
    let deep = [vec![0x91; 3_000], vec![0xc0]].concat();
    let nils = [vec![0xdd, 0, 3, 0x0d, 0x40], vec![0xc0; 200_000]].concat();
    let noise = (0..4_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect::<Vec<u8>>();
    vec![
        ("random bytes", Message::binary(noise)),
        (
            "an array of 2^32",
            Message::binary(vec![0xdd, 0xff, 0xff, 0xff, 0xff]),
        ),
        (
            "a map of 2^32",
            Message::binary(vec![0xdf, 0xff, 0xff, 0xff, 0xff]),
        ),
        (
            "bytes of 2^32",
            Message::binary(vec![0xc6, 0xff, 0xff, 0xff, 0xff, 1]),
        ),
        ("3,000 levels", Message::binary(deep)),
        ("200,000 nils", Message::binary(nils)),
        (
            "JSON in a binary frame",
            Message::binary(&b"{\"hello\":{\"v\":[1,1]}}"[..]),
        ),
        ("text", Message::text("{\"hello\":{}}")),
        ("nothing", Message::binary(Vec::new())),
        (
            "more than a message may have",
            Message::binary(vec![0; 5 * 1024 * 1024]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_hostile_connections_leave_an_honest_client_served() {
    let running = Running::open(memory()).await;
    let mut honest = Peer::join(running.address, 1, None).await;
    for round in 0..5_u64 {
        for (what, message) in hostile_frames() {
            let mut peer = Peer::dial(running.address, 66).await;
            // A message over the limit may be cut off while it is sent.
            let sent = within(peer.socket().send(message)).await;
            let (code, close) = peer.end().await;
            if sent.is_ok() || close.is_some() {
                assert!(
                    matches!(code.as_str(), "bad-frame" | "too-large"),
                    "{what}: {code}"
                );
                assert!(matches!(close, Some(4400 | 4413)), "{what}: {close:?}");
            }
        }
        // Below WebSocket: a TLS hello, and a frame that claims 2^63 bytes after a good upgrade.
        let mut tls = TcpStream::connect(running.address).await.unwrap();
        tls.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03random")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = within(tls.read_to_end(&mut answer)).await;
        let mut raw = TcpStream::connect(running.address).await.unwrap();
        raw.write_all(
            b"GET /sync HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
              sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await
        .unwrap();
        raw.write_all(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00")
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = within(raw.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 101") && answer.contains("too-large"),
            "{answer}"
        );

        let name = format!("d{round}");
        assert_eq!(honest.put(1 + round, &[&name]).await, [applied(1 + round)]);
    }
    honest.say(Ping { id: 1, time: None }).await;
    assert!(
        matches!(honest.receive().await, ServerMessage::Pong(pong) if pong.head == Seq::new(5))
    );
    running.stop().await;
}

/// What came compressed would be unpacked before anybody knows how much it becomes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compression_that_a_client_offers_is_not_taken() {
    let running = Running::open(memory()).await;
    let mut raw = TcpStream::connect(running.address).await.unwrap();
    raw.write_all(
        b"GET /sync HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          sec-websocket-extensions: permessage-deflate\r\n\r\n",
    )
    .await
    .unwrap();
    // A frame that is marked as compressed all the same.
    raw.write_all(b"\xc2\x81\x00\x00\x00\x00\x00")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = within(raw.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("sec-websocket-extensions"),
        "{answer}"
    );
    assert!(answer.contains("bad-frame"), "{answer}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stalls_costs_others_nothing_and_reads_on_later() {
    let running = Running::open(memory()).await;
    let mut ann = Peer::join(running.address, 1, None).await;
    let mut stalled = Peer::join(running.address, 2, None).await;
    let mut bob = Peer::join(running.address, 3, None).await;
    stalled.pull(None, 0).await;
    bob.pull(None, 0).await;
    let names: Vec<String> = (0..3_000).map(|n| format!("d{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (at, part) in names.chunks(300).enumerate() {
        ann.put(1 + 300 * at as u64, part).await;
    }
    let mut read = Vec::new();
    while read.len() < names.len() {
        read.extend(
            bob.page()
                .await
                .records()
                .unwrap()
                .into_iter()
                .map(|record| record.id),
        );
    }
    assert_eq!(
        read.iter()
            .map(pocket_core::DocumentId::as_str)
            .collect::<Vec<_>>(),
        names
    );
    let mut late = Vec::new();
    while late.len() < names.len() {
        late.extend(
            stalled
                .page()
                .await
                .records()
                .unwrap()
                .into_iter()
                .map(|record| record.id),
        );
    }
    assert_eq!(late, read);
    running.stop().await;
}

/// A WebSocket gave its place back when the HTTP connection it began as ended, that is at once: nothing bounded them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_over_the_limit_waits_until_another_one_ends() {
    let mut config = Config::default();
    config.connections = 1;
    let running = Running::start(memory(), TokenTable::open(), config).await;
    let address = running.address;
    let mut first = Peer::join(address, 1, None).await;
    let second = tokio::spawn(async move { Peer::join(address, 2, None).await });
    for (number, id) in (1..).zip(["a", "b", "c", "d"]) {
        assert_eq!(first.put(number, &[id]).await, [applied(number)]);
        assert!(!second.is_finished());
    }
    drop(first);
    let mut second = common::peer::within(second).await.unwrap();
    assert_eq!(second.put(1, &["e"]).await, [applied(5)]);
    drop(second);
    running.stop().await;
}
