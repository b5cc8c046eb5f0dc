//! How a message gets to the server and back, by either transport.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pocket_sync_protocol::{
    ClientMessage, ServerMessage, WireLimits, decode_server, encode_client, http,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::Transport;
use crate::common::peer::{Socket, connect, within};

/// A connection by one of the transports.
pub(super) enum Link {
    WebSocket(Box<Socket>),
    Http {
        address: SocketAddr,
        connection: Option<String>,
        sequence: u64,
        arrived: std::collections::VecDeque<Bytes>,
    },
}

impl Link {
    pub(super) async fn open(address: SocketAddr, transport: Transport) -> Self {
        match transport {
            Transport::WebSocket => Self::WebSocket(Box::new(connect(address, &[]).await.unwrap())),
            Transport::Http => Self::Http {
                address,
                connection: None,
                sequence: 0,
                arrived: std::collections::VecDeque::new(),
            },
        }
    }

    pub(super) async fn say(&mut self, message: &ClientMessage) {
        let frame = encode_client(message);
        match self {
            Self::WebSocket(socket) => within(socket.send(Message::Binary(frame))).await.unwrap(),
            Self::Http { .. } => self.post(vec![frame]).await,
        }
    }

    pub(super) async fn receive(&mut self) -> ServerMessage {
        let frame = loop {
            match self {
                Self::WebSocket(socket) => match within(socket.next()).await {
                    Some(Ok(Message::Binary(frame))) => break frame,
                    Some(Ok(_)) => {}
                    end => panic!("the connection ended: {end:?}"),
                },
                Self::Http { arrived, .. } => match arrived.pop_front() {
                    Some(frame) => break frame,
                    None => self.post(Vec::new()).await,
                },
            }
        };
        decode_server(&frame, &WireLimits::default()).unwrap()
    }

    async fn post(&mut self, frames: Vec<Bytes>) {
        let Self::Http {
            address,
            connection,
            sequence,
            arrived,
        } = self
        else {
            return;
        };
        let body = http::join(&mut frames.into(), 4 << 20);
        let named = connection.as_ref();
        let named = named.map(|id| format!("{}: {id}\r\n", http::CONNECTION));
        let named = named.unwrap_or_default();
        let mut request = format!(
            "POST /sync HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {}\r\ncontent-length: {}\r\n\
             {}: {sequence}\r\n{}: 2000\r\n{named}\r\n",
            http::CONTENT_TYPE,
            body.len(),
            http::SEQUENCE,
            http::WAIT,
        )
        .into_bytes();
        request.extend_from_slice(&body);
        *sequence += 1;
        let answer = exchange(*address, request).await;
        let end = answer
            .windows(4)
            .position(|part| part == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let named = format!("{}: ", http::CONNECTION);
        if let Some(id) = head.lines().find_map(|line| line.strip_prefix(&named)) {
            *connection = Some(id.to_owned());
        }
        let body = Bytes::copy_from_slice(&answer[end + 4..]);
        arrived.extend(http::split(body).unwrap());
    }
}

/// Sends a request and reads the answer to its end.
pub(super) async fn exchange(address: SocketAddr, request: Vec<u8>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    answer
}
