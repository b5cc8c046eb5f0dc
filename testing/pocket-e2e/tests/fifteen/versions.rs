//! Two sides of different age.

use futures_util::{SinkExt, StreamExt};
use pocket_core::ClientId;
use pocket_sync_protocol::{
    Direction, Hello, ServerMessage, VersionRange, WireLimits, decode_server, encode_client, http,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Transport, World};

pub(crate) async fn a_client_of_other_versions_is_told_both_and_nothing_else_happens(
    transport: Transport,
) {
    let world = World::new(transport).await;
    let hello = Hello {
        versions: VersionRange { min: 41, max: 43 },
        client: ClientId::from_bytes([1; 16]),
        namespace: "default".to_owned(),
        token: None,
        session: None,
        collections: Vec::new(),
        direction: Direction::Both,
        checkpoint: None,
        agent: "of the year 2040".to_owned(),
    };
    let frame = encode_client(&hello.into());
    let answer = match transport {
        Transport::WebSocket => {
            let url = format!("ws://{}/sync", world.address);
            let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
            socket.send(Message::Binary(frame)).await.unwrap();
            let Some(Ok(Message::Binary(answer))) = socket.next().await else {
                panic!("it is told why")
            };
            let Some(Ok(Message::Close(Some(close)))) = socket.next().await else {
                panic!("and the connection ends")
            };
            assert_eq!(u16::from(close.code), 4406);
            answer
        }
        Transport::Http => {
            let body = http::join(&mut vec![frame].into(), 1 << 20);
            let head = format!(
                "POST /sync HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\
                 content-type: {}\r\n{}: 0\r\n\r\n",
                body.len(),
                http::CONTENT_TYPE,
                http::SEQUENCE,
            );
            let mut stream = TcpStream::connect(world.address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let end = answer
                .windows(4)
                .position(|part| part == b"\r\n\r\n")
                .unwrap();
            let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
            assert!(head.contains("pocket-close: 4406"), "{head}");
            let body = answer[end + 4..].to_vec();
            http::split(body.into()).unwrap().remove(0)
        }
    };
    let answer = decode_server(&answer, &WireLimits::default()).unwrap();
    let ServerMessage::Error(error) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (error.code.as_str(), error.retryable),
        ("version-mismatch", false)
    );
    let ours = VersionRange::SUPPORTED;
    for version in ["41", "43", &ours.min.to_string(), &ours.max.to_string()] {
        assert!(error.message.contains(version), "{}", error.message);
    }
    // Whoever speaks what the server speaks is served as before.
    let device = world.device().await;
    device.put("1", "of today").await;
    device.sync().await;
    assert_eq!(world.documents().await.len(), 1);
}
