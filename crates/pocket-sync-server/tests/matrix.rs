//! The matrix: users × namespaces × operations × transports. The rows come from the protocol's list of messages and the
//! router's list of routes, so that a new one without a row here fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use common::peer::{Running, connect, within};
use futures_util::{SinkExt, StreamExt};
use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, DocumentLimits, Epoch, Hlc,
    Map, Mutation, MutationContent, MutationNumber, Outcome, Revision, Seq,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{
    ClientMessage, Direction, Fetch, Hello, HelloCheckpoint, More, Ping, Pull, Push, ServerMessage,
    VersionRange, WireLimits, decode_server, encode_client, http,
};
use pocket_sync_server::auth::Access;
use pocket_sync_server::{Config, Namespace, RulesFile, SyncServer, TokenTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const RULES: &str = r#"
    [collections.todos]
    read = ["member"]
    write = ["member"]
    erase = ["member"]
    owner = "owner"
    manage = ["admin"]
"#;

/// Who asks. The first two are nobody the server knows; Eve is somebody, elsewhere.
const USERS: &[&str] = &["", "unknown", "eve", "bob", "guest", "ann", "root"];
/// Where the document is, and where Eve is at home.
const NAMESPACES: &[&str] = &["default", "other"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    WebSocket,
    Http,
}

/// An operation: which message it is made of, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Enter,
    EnterAsAnother,
    Create,
    CreateForAnother,
    Replace,
    Delete,
    Erase,
    Read,
    ReadFromForeignPlace,
    Join,
    ReadOn,
    Get,
    Ask,
}

use Operation::{
    Ask, Create, CreateForAnother, Delete, Enter, EnterAsAnother, Erase, Get, Join, Read,
    ReadFromForeignPlace, ReadOn, Replace,
};

const OPERATIONS: &[(&str, &[Operation])] = &[
    ("hello", &[Enter, EnterAsAnother]),
    ("push", &[Create, CreateForAnother, Replace, Delete, Erase]),
    ("pull", &[Read, ReadFromForeignPlace, Join]),
    ("more", &[ReadOn]),
    ("fetch", &[Get]),
    ("ping", &[Ask]),
];

/// What each route says to who has no token. `/sync` is what the matrix is about.
const ROUTES: &[(&str, u16)] = &[
    ("/sync", 426),
    ("/health", 200),
    ("/health/ready", 200),
    ("/health/live", 200),
    ("/metrics", 401),
    // The page itself is the same for everybody; what it shows it asks for.
    ("/", 200),
    ("/admin/page.css", 200),
    ("/admin/page.js", 200),
    ("/admin/state", 401),
    ("/admin/clients", 401),
    ("/admin/feed", 401),
    ("/admin/document", 401),
    ("/admin/search", 401),
];

/// What comes of it, in a word. Ann's document is the one that is asked for.
fn expected(user: &str, namespace: &str, operation: Operation) -> &'static str {
    let comes_in = match (user, namespace) {
        ("" | "unknown", _) => return "unauthorized",
        ("eve", "other") => true,
        ("eve", _) => false,
        (_, namespace) => namespace == "default",
    };
    if !comes_in {
        return "forbidden";
    }
    let is_member = matches!(user, "ann" | "bob");
    let (owns, manages) = (user == "ann", user == "root");
    match operation {
        Enter => "welcome",
        // The client id that Ann uses in her namespace is free in Eve's.
        EnterAsAnother if owns || user == "eve" => "welcome",
        EnterAsAnother => "other-user",
        Create if is_member || manages => "applied",
        CreateForAnother if manages => "applied",
        // In Eve's namespace there is no such document, and she has no rights to its collection.
        Replace | Delete if owns || manages => "conflict",
        Erase if owns || manages => "applied",
        Create | CreateForAnother | Replace | Delete | Erase => "forbidden",
        ReadFromForeignPlace => "unknown-epoch",
        Read | Join | ReadOn | Get if owns || manages => "shown",
        Read | Join | ReadOn | Get => "hidden",
        Ask => "pong",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_what_he_may_and_nothing_else_on_both_transports() {
    let mut config = Config::default();
    // Those who poll leave without a word, and their sessions stay a while.
    config.connections_per_user = 1_000;
    let of = |name: &str| Access::all(name).only([Namespace::new("default").unwrap()]);
    let tokens = TokenTable::open()
        .access("ann", of("ann").role("member"))
        .access("bob", of("bob").role("member"))
        .access("guest", of("guest"))
        .access("root", of("root").role("admin"))
        .access(
            "eve",
            Access::all("eve").only([Namespace::new("other").unwrap()]),
        );
    let server = SyncServer::builder(Arc::new(MemoryStorage::new()))
        .config(config)
        .tokens(tokens)
        .authorizer(RULES.parse::<RulesFile>().unwrap())
        .build();
    let running = Running::of(server).await;
    let here = Namespace::new("default").unwrap();
    let here = running.server.namespace(&here);
    let mut cell = 0_u8;
    let mut wrong = Vec::new();
    // Ann's client id is hers before anybody else comes with it.
    let enter = Case::new("ann", "default", Enter, 0, "none");
    assert_eq!(
        enter.ask(running.address, Transport::WebSocket).await,
        "welcome"
    );
    for transport in [Transport::WebSocket, Transport::Http] {
        for user in USERS {
            for namespace in NAMESPACES {
                for (_, operations) in OPERATIONS {
                    for operation in *operations {
                        // A document and a client of its own for each, so that none meets what another left.
                        cell = cell.checked_add(1).unwrap_or(1);
                        let id = format!("{user}-{namespace}-{operation:?}-{transport:?}");
                        let document = DocumentId::new(&id).unwrap();
                        if !matches!(operation, Create | CreateForAnother) {
                            here.put(&todos(), &document, &owned_by("ann"))
                                .await
                                .unwrap();
                        }
                        let case = Case::new(user, namespace, *operation, cell, &id);
                        let got = case.ask(running.address, transport).await;
                        if got != expected(user, namespace, *operation) {
                            wrong.push(format!("{id}: {got}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    running.stop().await;
}

#[test]
fn every_message_of_the_protocol_has_a_row() {
    let text = include_str!("../../../docs/protocol.md");
    let (_, messages) = text.split_once("## 3. Messages of the client").unwrap();
    let (messages, _) = messages.split_once("\n## ").unwrap();
    let named: BTreeSet<&str> = messages
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    let rows: BTreeSet<&str> = OPERATIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, rows);
    // And each operation begins with, or ends in, a message of its row.
    for (name, operations) in OPERATIONS {
        for operation in *operations {
            let case = Case::new("ann", "default", *operation, 1, "x");
            let last = case.messages().pop().unwrap();
            assert_eq!(kind(&last), *name, "{operation:?}");
        }
    }
}

/// The name of a message; a new one does not compile without one.
fn kind(message: &ClientMessage) -> &'static str {
    match message {
        ClientMessage::Hello(_) => "hello",
        ClientMessage::Push(_) => "push",
        ClientMessage::Pull(_) => "pull",
        ClientMessage::More(_) => "more",
        ClientMessage::Fetch(_) => "fetch",
        ClientMessage::Ping(_) => "ping",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_has_a_row_and_says_nothing_to_strangers() {
    let tokens = TokenTable::open().access("ann", Access::all("ann"));
    let mut config = Config::default();
    config.admin.page = true;
    let server = SyncServer::builder(Arc::new(MemoryStorage::new()))
        .tokens(tokens)
        .config(config)
        .build();
    // The router tells its paths only in its debug form.
    let told = format!("{:?}", server.router().merge(server.admin_router()));
    let (own, _) = told.split_once("fallback_router").unwrap();
    let paths: BTreeSet<&str> = own
        .split('"')
        .filter(|part| part.starts_with('/') && !part.contains("__private"))
        .collect();
    let rows: BTreeSet<&str> = ROUTES.iter().map(|(path, _)| *path).collect();
    assert_eq!(paths, rows, "{told}");
    let running = Running::of(server).await;
    let namespace = running
        .server
        .namespace(&Namespace::new("default").unwrap());
    let id = DocumentId::new("very-secret-id").unwrap();
    namespace
        .put(&todos(), &id, &owned_by("ann"))
        .await
        .unwrap();
    for (path, status) in ROUTES {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = exchange(running.address, request.into_bytes()).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
        assert!(
            !answer.contains("secret") && !answer.contains("ann"),
            "{path}: {answer}"
        );
    }
    running.stop().await;
}

/// One cell of the matrix.
struct Case {
    token: String,
    namespace: String,
    operation: Operation,
    client: ClientId,
    id: String,
}

impl Case {
    fn new(token: &str, namespace: &str, operation: Operation, number: u8, id: &str) -> Self {
        let mut client = [number; 16];
        // A cell's number alone would come again after 255 of them.
        client[..8].copy_from_slice(&fingerprint(id));
        let client = match operation {
            EnterAsAnother => [7; 16],
            Enter if number == 0 => [7; 16],
            _ => client,
        };
        Self {
            token: token.to_owned(),
            namespace: namespace.to_owned(),
            operation,
            client: ClientId::from_bytes(client),
            id: id.to_owned(),
        }
    }

    /// The hello, and what follows it.
    fn messages(&self) -> Vec<ClientMessage> {
        let mut messages = vec![self.hello().into()];
        let rest: Vec<ClientMessage> = match self.operation {
            Enter | EnterAsAnother => Vec::new(),
            Create | Replace => vec![self.push(ChangeKind::Put(owned_by(&self.token)))],
            CreateForAnother => vec![self.push(ChangeKind::Put(owned_by("somebody")))],
            Delete => vec![self.push(ChangeKind::Delete)],
            Erase => vec![self.push(ChangeKind::Erase)],
            Read => vec![pull(None, 0, Vec::new(), 8).into()],
            ReadFromForeignPlace => {
                vec![pull(Some(foreign()), 1, Vec::new(), 8).into()]
            }
            Join => vec![pull(None, 0, vec![todos()], 8).into()],
            ReadOn => vec![
                pull(None, 0, Vec::new(), 1).into(),
                More {
                    id: 5,
                    applied: Seq::ZERO,
                }
                .into(),
            ],
            Get => {
                let id = DocumentId::new(&self.id).unwrap();
                let documents = vec![(todos(), id)];
                vec![Fetch { id: 5, documents }.into()]
            }
            Ask => vec![Ping { id: 5, time: None }.into()],
        };
        messages.extend(rest);
        messages
    }

    fn hello(&self) -> Hello {
        let token = (!self.token.is_empty()).then(|| self.token.clone());
        // A place of another log, read with the rights that the server would tell: no reason but the place is wrong.
        let checkpoint = (self.operation == ReadFromForeignPlace).then(|| HelloCheckpoint {
            epoch: foreign(),
            seq: Seq::new(1),
            rights: None,
            fixed_head: None,
        });
        Hello {
            versions: VersionRange::SUPPORTED,
            client: self.client,
            namespace: self.namespace.clone(),
            token,
            session: None,
            collections: Vec::new(),
            direction: Direction::Both,
            checkpoint,
            agent: "matrix".to_owned(),
        }
    }

    fn push(&self, kind: ChangeKind) -> ClientMessage {
        let change = Change {
            collection: todos(),
            id: DocumentId::new(&self.id).unwrap(),
            rev: Revision::new(Hlc::from_bits(1), self.client),
            base: None,
            kind,
        };
        let number = MutationNumber::new(1);
        let mutation = Mutation {
            number,
            content: MutationContent::Changes(vec![change]),
        };
        Push::build(5, self.client, number, MutationNumber::ZERO, &[mutation])
            .unwrap()
            .into()
    }

    /// Asks, and tells what came of it.
    async fn ask(&self, address: SocketAddr, transport: Transport) -> String {
        let mut link = Link::open(address, transport).await;
        let mut shown = false;
        for message in self.messages() {
            let is_hello = matches!(message, ClientMessage::Hello(_));
            link.say(&message).await;
            if matches!(message, ClientMessage::Pull(_)) && self.operation == ReadOn {
                // What the window lets through first; the rest follows the `more`, until the head.
                if let Some(answer) = self.page(&mut link, &mut shown).await {
                    return answer;
                }
                continue;
            }
            if matches!(message, ClientMessage::More(_)) {
                continue;
            }
            let answer = loop {
                let answer = match link.receive().await {
                    ServerMessage::Welcome(_) if is_hello => "welcome".to_owned(),
                    ServerMessage::Error(error) => error.code,
                    ServerMessage::Outcomes(outcomes) => outcome(&outcomes.outcomes[0]),
                    ServerMessage::Pong(_) => "pong".to_owned(),
                    ServerMessage::Records(records) => {
                        let records = records.records().unwrap();
                        self.view(records.iter().any(|record| record.id.as_str() == self.id))
                    }
                    ServerMessage::Page(page) => {
                        let records = page.records().unwrap();
                        shown |= records.iter().any(|record| record.id.as_str() == self.id);
                        assert!(page.removals.iter().all(|gone| gone.id.as_str() != self.id));
                        if page.end < page.head {
                            link.say(
                                &More {
                                    id: 5,
                                    applied: page.end,
                                }
                                .into(),
                            )
                            .await;
                            continue;
                        }
                        self.view(shown)
                    }
                    ServerMessage::Welcome(_) => panic!("a second welcome"),
                };
                break answer;
            };
            let goes_on = is_hello && answer == "welcome";
            let is_all = matches!(self.operation, Enter | EnterAsAnother);
            if !goes_on || is_all {
                return answer;
            }
        }
        loop {
            if let Some(answer) = self.page(&mut link, &mut shown).await {
                return answer;
            }
        }
    }

    /// Takes one page of a reading that goes on; tells what came of it once it is at the head.
    async fn page(&self, link: &mut Link, shown: &mut bool) -> Option<String> {
        match link.receive().await {
            ServerMessage::Page(page) => {
                let records = page.records().unwrap();
                *shown |= records.iter().any(|record| record.id.as_str() == self.id);
                if page.end == page.head {
                    return Some(self.view(*shown));
                }
                link.say(
                    &More {
                        id: 5,
                        applied: page.end,
                    }
                    .into(),
                )
                .await;
                None
            }
            ServerMessage::Error(error) => Some(error.code),
            other => panic!("{other:?}"),
        }
    }

    #[expect(clippy::unused_self, reason = "reads as a sentence where it is used")]
    fn view(&self, shown: bool) -> String {
        if shown { "shown" } else { "hidden" }.to_owned()
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Applied { .. } => "applied".to_owned(),
        Outcome::Conflict { .. } => "conflict".to_owned(),
        Outcome::Rejected { code, .. } => code.clone(),
    }
}

fn todos() -> CollectionName {
    CollectionName::new("todos").unwrap()
}

fn owned_by(user: &str) -> Body {
    let mut map = Map::new();
    map.insert("owner", user);
    Body::from_map(&map, &DocumentLimits::default()).unwrap()
}

fn foreign() -> Epoch {
    Epoch::from_bytes([0xee; 16])
}

fn pull(epoch: Option<Epoch>, after: u64, collections: Vec<CollectionName>, window: u32) -> Pull {
    Pull {
        id: 5,
        epoch,
        after: Seq::new(after),
        until: None,
        collections,
        window,
        batch: 10,
        fixed_head: None,
    }
}

/// Eight bytes that differ where the text does.
fn fingerprint(text: &str) -> [u8; 8] {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step).to_be_bytes()
}

/// A connection by one of the transports.
enum Link {
    WebSocket(Box<common::peer::Socket>),
    Http {
        address: SocketAddr,
        connection: Option<String>,
        sequence: u64,
        arrived: std::collections::VecDeque<Bytes>,
    },
}

impl Link {
    async fn open(address: SocketAddr, transport: Transport) -> Self {
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

    async fn say(&mut self, message: &ClientMessage) {
        let frame = encode_client(message);
        match self {
            Self::WebSocket(socket) => within(socket.send(Message::Binary(frame))).await.unwrap(),
            Self::Http { .. } => self.post(vec![frame]).await,
        }
    }

    async fn receive(&mut self) -> ServerMessage {
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

async fn exchange(address: SocketAddr, request: Vec<u8>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    answer
}
