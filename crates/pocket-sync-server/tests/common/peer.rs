//! An honest client and a running server, over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pocket_core::{
    Change, ChangeKind, ClientId, DocumentId, Epoch, Mutation, MutationContent, MutationNumber,
    Outcome, Seq, SessionToken,
};
use pocket_storage::Storage;
use pocket_sync_protocol::{
    ClientMessage, Direction, ErrorMessage, Hello, More, Page, Pull, Push, ServerMessage,
    VersionRange, Welcome, WireLimits, decode_server, encode_client,
};
use pocket_sync_server::decide::DocumentKey;
use pocket_sync_server::{Config, SyncServer, TokenTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longer than anything here takes; whoever waits so long waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is listening.
pub struct Running {
    pub address: SocketAddr,
    pub server: SyncServer,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn start(storage: Arc<dyn Storage>, tokens: TokenTable, config: Config) -> Self {
        let server = SyncServer::builder(storage)
            .tokens(tokens)
            .config(config)
            .build()
            .unwrap();
        Self::of(server).await
    }

    pub async fn of(server: SyncServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.clone();
        let task = tokio::spawn(async move {
            serving.serve(listener, async { drop(stopped.await) }).await;
        });
        Self {
            address,
            server,
            stop: Some(stop),
            task,
        }
    }

    pub async fn open(storage: Arc<dyn Storage>) -> Self {
        Self::start(storage, TokenTable::open(), Config::default()).await
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        within(self.task).await.unwrap();
    }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it ends in time")
}

/// A figure of `/metrics`; 0 when it is not told.
pub async fn figure(address: SocketAddr, name: &str) -> u64 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nConnection: close\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One connection of a client.
pub struct Peer {
    socket: Socket,
    pub client: ClientId,
    pub welcome: Option<Welcome>,
    next_push: u32,
    /// Errors are kept here while something else is waited for.
    pub errors: Vec<ErrorMessage>,
}

pub async fn connect(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Socket, Error> {
    connect_at(&format!("ws://{address}/sync"), headers).await
}

async fn connect_at(url: &str, headers: &[(&str, &str)]) -> Result<Socket, Error> {
    let mut request = url.into_client_request()?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request
            .headers_mut()
            .insert(name, HeaderValue::from_str(value).unwrap());
    }
    within(tokio_tungstenite::connect_async(request))
        .await
        .map(|(socket, _)| socket)
}

impl Peer {
    pub async fn dial(address: SocketAddr, number: u8) -> Self {
        Self::dial_at(&format!("ws://{address}/sync"), number).await
    }

    pub async fn dial_at(url: &str, number: u8) -> Self {
        let socket = connect_at(url, &[("sec-websocket-protocol", "pocket.v1")]).await;
        Self::of(socket.unwrap(), number)
    }

    /// The same for a server that gives nobody much time: who was too slow to ask for the WebSocket tries again.
    pub async fn dial_soon(address: SocketAddr, number: u8) -> Self {
        loop {
            let socket = connect(address, &[("sec-websocket-protocol", "pocket.v1")]).await;
            if let Ok(socket) = socket {
                return Self::of(socket, number);
            }
        }
    }

    fn of(socket: Socket, number: u8) -> Self {
        Self {
            socket,
            client: super::client(number),
            welcome: None,
            next_push: 1,
            errors: Vec::new(),
        }
    }

    /// Connects and says hello.
    pub async fn join(address: SocketAddr, number: u8, session: Option<SessionToken>) -> Self {
        let mut peer = Self::dial(address, number).await;
        peer.hello(None, session).await;
        let welcome = peer.receive().await;
        let ServerMessage::Welcome(welcome) = welcome else {
            panic!("{welcome:?}")
        };
        peer.welcome = Some(welcome);
        peer
    }

    pub async fn hello(&mut self, token: Option<&str>, session: Option<SessionToken>) {
        let hello = Hello {
            versions: VersionRange::SUPPORTED,
            client: self.client,
            namespace: "default".to_owned(),
            token: token.map(str::to_owned),
            session,
            collections: Vec::new(),
            direction: Direction::Both,
            checkpoint: None,
            agent: "test".to_owned(),
        };
        self.say(hello).await;
    }

    pub fn session(&self) -> SessionToken {
        self.welcome.as_ref().unwrap().session
    }

    pub fn epoch(&self) -> Epoch {
        self.welcome.as_ref().unwrap().epoch
    }

    pub async fn say(&mut self, message: impl Into<ClientMessage>) {
        let frame = encode_client(&message.into());
        within(self.socket.send(Message::Binary(frame)))
            .await
            .unwrap();
    }

    /// Puts documents, one mutation each, and waits for the outcomes.
    pub async fn put(&mut self, first: u64, documents: &[&str]) -> Vec<Outcome> {
        self.send_puts(first, documents).await;
        self.outcomes().await
    }

    pub async fn send_puts(&mut self, first: u64, documents: &[&str]) {
        let mutations: Vec<Mutation> = (first..)
            .zip(documents)
            .map(|(number, name)| {
                let DocumentKey { collection, id } = super::key(name);
                let rev =
                    pocket_core::Revision::new(pocket_core::Hlc::from_bits(number), self.client);
                let kind = ChangeKind::Put(super::body(name));
                let change = Change {
                    collection,
                    id,
                    rev,
                    base: None,
                    kind,
                };
                let number = MutationNumber::new(number);
                Mutation {
                    number,
                    content: MutationContent::Changes(vec![change]),
                }
            })
            .collect();
        let id = self.next_push;
        self.next_push += 1;
        let push = Push::build(
            id,
            self.client,
            MutationNumber::new(first),
            MutationNumber::ZERO,
            &mutations,
        );
        self.say(push.unwrap()).await;
    }

    pub async fn outcomes(&mut self) -> Vec<Outcome> {
        loop {
            match self.receive().await {
                ServerMessage::Outcomes(outcomes) => return outcomes.outcomes,
                ServerMessage::Error(error) => self.errors.push(error),
                _ => {}
            }
        }
    }

    pub async fn pull(&mut self, epoch: Option<Epoch>, after: u64) {
        let after = Seq::new(after);
        self.say(Pull {
            id: 1,
            epoch,
            after,
            until: None,
            collections: Vec::new(),
            window: 2,
            batch: 100,
            fixed_head: None,
        })
        .await;
    }

    pub async fn page(&mut self) -> Page {
        loop {
            match self.receive().await {
                ServerMessage::Page(page) => {
                    self.say(More {
                        id: page.id,
                        applied: page.end,
                    })
                    .await;
                    return page;
                }
                ServerMessage::Error(error) => self.errors.push(error),
                _ => {}
            }
        }
    }

    /// Reads pages until the head, and returns the ids of their records.
    pub async fn catch_up(&mut self) -> Vec<DocumentId> {
        let mut ids = Vec::new();
        loop {
            let page = self.page().await;
            ids.extend(page.records().unwrap().into_iter().map(|record| record.id));
            if page.end == page.head {
                return ids;
            }
        }
    }

    pub async fn receive(&mut self) -> ServerMessage {
        match self.next().await {
            Ok(message) => message,
            Err(close) => panic!("closed with {close:?} after {:?}", self.errors),
        }
    }

    /// The next message, or the code the connection was closed with.
    pub async fn next(&mut self) -> Result<ServerMessage, Option<u16>> {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Binary(frame))) => {
                    return Ok(decode_server(&frame, &WireLimits::default()).unwrap());
                }
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The error that comes next, and the code the connection is then closed with.
    pub async fn end(&mut self) -> (String, Option<u16>) {
        let mut code = String::new();
        loop {
            match self.next().await {
                Ok(ServerMessage::Error(error)) => code = error.code,
                Ok(_) => {}
                Err(close) => return (code, close),
            }
        }
    }

    /// A ping of the WebSocket protocol.
    pub async fn ping(&mut self) -> Result<(), Error> {
        within(self.socket.send(Message::Ping(Vec::new().into()))).await
    }

    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}
