//! Peers that mean harm, and doors that do not open.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use pocket_sync_server::auth::{Access, AuthError, Authenticator};
use pocket_sync_server::{Config, TokenTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Device, Transport, World, until};

/// A door that opens late, or not at all for who has the wrong word.
#[derive(Debug)]
struct Door {
    asked: AtomicUsize,
    opened: Semaphore,
}

#[async_trait]
impl Authenticator for Door {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match token {
            Some("broken") => Err(AuthError::Unavailable("the directory is down".to_owned())),
            Some("slow") => {
                drop(self.opened.acquire().await);
                Ok(Access::all("slow"))
            }
            _ => Ok(Access::all("anybody")),
        }
    }
}

pub(crate) async fn point_07_malformed_pushes_and_failing_or_slow_authentication_leave_the_server_running(
    transport: Transport,
) {
    let door = Arc::new(Door {
        asked: AtomicUsize::new(0),
        opened: Semaphore::new(0),
    });
    let world = World::with(transport, Config::default(), door.clone()).await;
    let honest = world.device().await;
    honest.put("1", "before").await;
    honest.sync().await;
    for frame in malformed() {
        attack(&world, frame).await;
    }
    honest.put("2", "after the attacks").await;
    honest.sync().await;

    let refused = Device::new(world.config().auth_token("broken")).await;
    refused.engine.start().await.unwrap();
    let error = refused
        .engine
        .force_sync()
        .await
        .expect_err("nobody is let in unseen");
    assert_eq!(error.code(), "internal");

    // Her first message waits with her, and is not lost when the door opens.
    let slow = Device::new(world.config().auth_token("slow")).await;
    slow.put("3", "patience").await;
    let before = door.asked.load(Ordering::Relaxed);
    slow.engine.start().await.unwrap();
    until("she has knocked", || async {
        door.asked.load(Ordering::Relaxed) > before
    })
    .await;
    honest.put("4", "others go in and out").await;
    honest.sync().await;
    door.opened.add_permits(100);
    slow.sync().await;
    honest.sync().await;
    let ids: Vec<String> = honest.documents().await.into_keys().collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
}

pub(crate) async fn point_09_a_rate_limited_client_slows_down_and_finishes(transport: Transport) {
    let mut config = Config::default();
    config.limits.rate.messages_per_second = 200;
    config.limits.rate.messages_at_once = 3;
    let world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    // A request for each document: far more than the server takes at once.
    let one = NonZeroUsize::MIN;
    let eager = Device::new(world.config().batch_size(one)).await;
    for number in 0..60 {
        eager.put(&format!("{number:02}"), "in a hurry").await;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a lower bound: only a server that does not limit can be too fast"
    )]
    let began = Instant::now();
    eager.sync().await;
    assert_eq!(eager.pending().await, 0);
    // 60 at 200 a second, less the few that were taken at once.
    assert!(
        began.elapsed() >= Duration::from_millis(200),
        "it was not limited"
    );
    assert_eq!(world.documents().await.len(), 60);
}

/// Few requests, but large ones: far more bytes than the server takes at once, and than it takes in a second.
pub(crate) async fn point_09_a_client_limited_by_bytes_slows_down_and_finishes(
    transport: Transport,
) {
    const BYTES: usize = 20_000;
    let mut config = Config::default();
    config.limits.rate.bytes_per_second = 200_000;
    config.limits.rate.bytes_at_once = 30_000;
    let world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    let one = NonZeroUsize::MIN;
    let eager = Device::new(world.config().batch_size(one)).await;
    for number in 0..20 {
        eager.put(&format!("{number:02}"), &"x".repeat(BYTES)).await;
    }
    eager.sync().await;
    assert_eq!(eager.pending().await, 0);
    let limited = world
        .figure("pocket_errors_total{code=\"rate-limited\"}")
        .await;
    assert!(limited.is_some_and(|count| count > 0), "it was not limited");
    // Each took one place, and none was refused for good.
    let snapshot = eager.engine.snapshot();
    let place = snapshot.checkpoint.map(|checkpoint| checkpoint.seq.get());
    assert_eq!((place, snapshot.stats.rejected_count), (Some(20), 0));
    assert_eq!(world.documents().await.len(), 20);
}

fn malformed() -> Vec<Vec<u8>> {
    let push = |fields: &[u8]| [&b"\x81\xa4push"[..], fields].concat();
    vec![
        Vec::from(&b"{\"push\":[]}"[..]),
        push(b"\xc0"),
        push(b"\x80"),
        // Arrays and bytes that claim more than is there.
        push(b"\x81\xa1m\xdd\xff\xff\xff\xff"),
        push(b"\x81\xa1m\xc6\xff\xff\xff\xff\x01"),
        [&b"\x81\xa4push"[..], &[0x91; 3_000], &[0xc0]].concat(),
        vec![0xff; 64],
        vec![0; 5 * 1_024 * 1_024],
    ]
}

/// Sends a frame, and waits for the end of the connection.
async fn attack(world: &World, frame: Vec<u8>) {
    match world.transport {
        Transport::WebSocket => {
            let url = format!("ws://{}/sync", world.address);
            let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
            // A frame over the limit may be cut off while it is sent.
            let _ = socket.send(Message::binary(frame)).await;
            while let Some(Ok(_)) = socket.next().await {}
        }
        Transport::Http => {
            let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
            // Once with an honest length, and once as it is.
            for body in [[&length[..], &frame].concat(), frame] {
                let mut stream = TcpStream::connect(world.address).await.unwrap();
                let head = format!(
                    "POST /sync HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\
                     content-type: application/vnd.pocket.v1\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                let _ = stream.write_all(&body).await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                let answer = String::from_utf8_lossy(&answer);
                assert!(
                    answer.is_empty() || answer.starts_with("HTTP/1.1 "),
                    "{answer}"
                );
                assert!(!answer.starts_with("HTTP/1.1 5"), "{answer}");
            }
        }
    }
}
