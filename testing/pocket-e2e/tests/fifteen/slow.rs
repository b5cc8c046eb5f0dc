//! Peers that are slow on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pocket_sync_server::{Config, TokenTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Transport, World, until};

/// Slow connections at once.
const SLOW: usize = 200;

/// What each kind says at once, before it goes on with a byte now and then: nothing, half a head, and then half a frame
/// of a WebSocket or half a body.
const KINDS: [&[u8]; 2] = [b"", b"GET /sync HTTP/1.1\r\nhost: x\r\n"];
const WEBSOCKET: &[u8] =
    b"GET /sync HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x82\xfe\x10";
const HTTP: &[u8] =
    b"POST /sync HTTP/1.1\r\nhost: x\r\ncontent-type: application/vnd.pocket.v1\r\n\
     content-length: 2000\r\n\r\n";

/// Two hundred connections that send a byte now and then, each followed by the next one when it ends. An honest client
/// works beside them as if they were not there, and the server ends each of them by a deadline: what they say is never
/// complete, however long they go on.
pub(crate) async fn two_hundred_slow_connections_cost_an_honest_client_nothing_and_are_ended(
    transport: Transport,
) {
    let mut config = Config::default();
    config.handshake_timeout = Duration::from_secs(1);
    let world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    let (ann, bob) = (world.device().await, world.device().await);
    ann.sync().await;
    bob.sync().await;
    let own = match transport {
        Transport::WebSocket => WEBSOCKET,
        Transport::Http => HTTP,
    };
    let (address, enough) = (world.address, Arc::new(AtomicBool::new(false)));
    let mut slow = Vec::new();
    for kind in KINDS.into_iter().chain([own]).cycle().take(SLOW) {
        let enough = enough.clone();
        slow.push(tokio::spawn(async move {
            while !enough.load(Ordering::Relaxed) {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(kind).await.unwrap();
                trickle(stream).await;
            }
        }));
    }
    until("most of them are there", || async {
        world.connections() > SLOW / 2
    })
    .await;
    for round in 0..20 {
        ann.put(&format!("a{round}"), "beside the slow").await;
        until("it arrives", || async {
            bob.text(&format!("a{round}")).await.is_some()
        })
        .await;
    }
    enough.store(true, Ordering::Relaxed);
    for task in slow {
        task.await.unwrap();
    }
    assert_eq!(world.documents().await.len(), 20);
    // At the most two of each honest client.
    until("their places are free again", || async {
        world.connections() <= 6
    })
    .await;
}

/// Says a byte now and then until the server has had enough of it.
async fn trickle(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if writer.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    let reading = async {
        let mut answer = [0; 1_024];
        while matches!(reader.read(&mut answer).await, Ok(1..)) {}
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}
