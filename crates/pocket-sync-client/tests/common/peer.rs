//! A scripted server over real sockets, and an engine for it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pocket_core::{CollectionConfig, Database, Subscription, Value};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_client::{Status, SyncConfig, SyncError};
use pocket_sync_protocol::{
    ClientMessage, Hello, Pull, Push, SUBPROTOCOL, ServerMessage, Welcome, WireLimits,
    decode_client, encode_server,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::document;

/// How a server refuses a token at the door.
pub(crate) const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 38\r\n\r\n\
                            {\"code\":\"unauthorized\",\"message\":\"no\"}";

/// One connection, from the server's side.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

impl Peer {
    #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
    pub(crate) async fn accept(listener: &TcpListener) -> Self {
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

    pub(crate) async fn hear(&mut self) -> ClientMessage {
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

    pub(crate) async fn say(&mut self, message: impl Into<ServerMessage>) {
        self.socket
            .send(Message::Binary(encode_server(&message.into())))
            .await
            .expect("the client is there");
    }

    /// Reads the hello and welcomes; the place and number told are those of `welcome`.
    pub(crate) async fn welcome(&mut self, welcome: Welcome) -> Hello {
        let ClientMessage::Hello(hello) = self.hear().await else {
            panic!("a hello comes first")
        };
        self.say(welcome).await;
        hello
    }

    pub(crate) async fn push(&mut self) -> Push {
        loop {
            if let ClientMessage::Push(push) = self.hear().await {
                return push;
            }
        }
    }

    pub(crate) async fn pull(&mut self) -> Pull {
        loop {
            if let ClientMessage::Pull(pull) = self.hear().await {
                return pull;
            }
        }
    }

    /// The push and the pull that come next, in whatever order.
    pub(crate) async fn push_and_pull(&mut self) -> (Push, Pull) {
        let (mut push, mut pull) = (None, None);
        while push.is_none() || pull.is_none() {
            match self.hear().await {
                ClientMessage::Push(told) => push = Some(told),
                ClientMessage::Pull(told) => pull = Some(told),
                other => panic!("{other:?}"),
            }
        }
        (push.expect("it came"), pull.expect("it came"))
    }

    pub(crate) async fn ping(&mut self) -> u32 {
        loop {
            if let ClientMessage::Ping(ping) = self.hear().await {
                return ping.id;
            }
        }
    }

    pub(crate) async fn ended(mut self) -> Option<CloseFrame> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame,
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    }
}

pub(crate) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("it is bound"));
    (listener, url)
}

pub(crate) async fn database() -> Database {
    Database::builder("test")
        .collection(CollectionConfig::new("todos").sync(true))
        .open(MemoryStorage::new())
        .await
        .expect("memory opens")
}

pub(crate) async fn insert(database: &Database, id: &str) {
    let todos = database
        .collection::<Value>("todos")
        .expect("it is configured");
    todos
        .upsert(&document(id, "local"))
        .await
        .expect("memory takes it");
}

pub(crate) fn quick(url: &str) -> SyncConfig {
    SyncConfig::new(url).retry_delay(Duration::from_millis(10))
}

pub(crate) async fn until(statuses: &mut Subscription<Status>, wanted: Status) {
    while statuses.next().await.expect("the engine runs") != wanted {}
}

pub(crate) fn code(result: &Result<(), SyncError>) -> Result<&(), &str> {
    result.as_ref().map_err(SyncError::code)
}
