//! A client that has no store: it speaks the protocol on a bare socket, so that what it costs itself is little.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, Hlc, Mutation, MutationContent,
    MutationNumber, Revision, Seq,
};
use pocket_sync_protocol::{
    ClientMessage, Direction, Hello, More, Page, Pull, Push, SUBPROTOCOL, ServerMessage,
    VersionRange, WireLimits, decode_server, encode_client,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::Outcome;
use crate::pocket::COLLECTION;

/// What subscribers of either kind collect before they read it: many of them share this machine with the server.
const BUFFER_BYTES: usize = 4 * 1024;

/// The id of the one pull.
const PULL: u32 = 1;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects to a WebSocket; to Pocket with its protocol's name, and to a limit without.
pub(crate) async fn dial(url: &str, protocol: Option<&'static str>) -> Outcome<Socket> {
    let mut request = url.into_client_request()?;
    if let Some(name) = protocol {
        request.headers_mut().insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(name),
        );
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0);
    let (socket, _) = connect_async_with_config(request, Some(config), true).await?;
    Ok(socket)
}

/// Sends a binary message.
pub(crate) async fn send(socket: &mut Socket, frame: Bytes) -> Outcome {
    Ok(socket.send(Message::Binary(frame)).await?)
}

/// The next binary message.
pub(crate) async fn next_frame(socket: &mut Socket) -> Outcome<Bytes> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(frame))) => return Ok(frame),
            Some(Ok(Message::Close(reason))) => {
                return Err(format!("a light client was closed: {reason:?}").into());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err("a light client lost its connection".into()),
        }
    }
}

/// One connection that has said hello.
pub(crate) struct Light {
    socket: Socket,
    client: ClientId,
    next: MutationNumber,
}

impl Light {
    /// Connects as the client of this number and says hello.
    pub(crate) async fn join(url: &str, number: u64) -> Outcome<Self> {
        let mut bytes = [0; 16];
        ChaCha8Rng::seed_from_u64(number).fill(&mut bytes);
        let mut light = Self {
            socket: dial(url, Some(SUBPROTOCOL)).await?,
            client: ClientId::from_bytes(bytes),
            next: MutationNumber::new(1),
        };
        let hello = Hello {
            versions: VersionRange::SUPPORTED,
            client: light.client,
            namespace: "default".to_owned(),
            token: None,
            session: None,
            collections: Vec::new(),
            direction: Direction::Both,
            checkpoint: None,
            agent: "pocket-bench".to_owned(),
        };
        light.say(hello).await?;
        match light.hear().await? {
            ServerMessage::Welcome(_) => Ok(light),
            other => Err(format!("instead of a welcome came {other:?}").into()),
        }
    }

    /// Subscribes, and reads up to the head there is.
    pub(crate) async fn subscribe(&mut self) -> Outcome {
        let pull = Pull {
            id: PULL,
            epoch: None,
            after: Seq::ZERO,
            until: None,
            collections: Vec::new(),
            window: 4,
            batch: 100,
            fixed_head: None,
        };
        self.say(pull).await?;
        loop {
            let page = self.page().await?;
            self.more(page.end).await?;
            if page.end >= page.head {
                return Ok(());
            }
        }
    }

    pub(crate) async fn page(&mut self) -> Outcome<Page> {
        match self.hear().await? {
            ServerMessage::Page(page) => Ok(page),
            other => Err(format!("instead of a page came {other:?}").into()),
        }
    }

    /// Tells that everything up to a place was taken.
    pub(crate) async fn more(&mut self, applied: Seq) -> Outcome {
        self.say(More { id: PULL, applied }).await
    }

    /// The push that creates one document, as it goes over the wire.
    pub(crate) fn creation(&mut self, id: DocumentId, body: Body) -> Outcome<Bytes> {
        let number = self.next;
        self.next = number.next();
        let change = Change {
            collection: CollectionName::new(COLLECTION)?,
            id,
            rev: Revision::new(Hlc::from_bits(number.get()), self.client),
            base: None,
            kind: ChangeKind::Put(body),
        };
        let mutation = Mutation {
            number,
            content: MutationContent::Changes(vec![change]),
        };
        let confirmed = MutationNumber::new(number.get() - 1);
        let push = Push::build(1, self.client, number, confirmed, &[mutation])?;
        Ok(encode_client(&push.into()))
    }

    pub(crate) async fn send(&mut self, frame: Bytes) -> Outcome {
        send(&mut self.socket, frame).await
    }

    /// Waits for the outcome of a push; fails unless it was applied.
    pub(crate) async fn applied(&mut self) -> Outcome {
        match self.hear().await? {
            ServerMessage::Outcomes(outcomes)
                if matches!(
                    outcomes.outcomes[..],
                    [pocket_core::Outcome::Applied { .. }]
                ) =>
            {
                Ok(())
            }
            other => Err(format!("instead of an applied push came {other:?}").into()),
        }
    }

    /// The next message as it came.
    pub(crate) async fn frame(&mut self) -> Outcome<Bytes> {
        next_frame(&mut self.socket).await
    }

    async fn say(&mut self, message: impl Into<ClientMessage>) -> Outcome {
        self.send(encode_client(&message.into())).await
    }

    async fn hear(&mut self) -> Outcome<ServerMessage> {
        let frame = self.frame().await?;
        Ok(decode_server(&frame, &WireLimits::default())?)
    }
}
