//! Sessions over HTTP, spoken to by a client that knows nothing but the protocol.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
#[path = "polled/refusals.rs"]
mod refusals;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::peer::{Peer, Running, figure, within};
use pocket_core::{
    Change, ChangeKind, Hlc, Mutation, MutationContent, MutationNumber, Revision, Seq,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{
    ClientMessage, Direction, Hello, Ping, Pull, Push, ServerMessage, VersionRange, WireLimits,
    decode_server, encode_client, http,
};
use pocket_sync_server::auth::Namespaces;
use pocket_sync_server::{Config, TokenTable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const KIND: (&str, &str) = ("content-type", http::CONTENT_TYPE);

fn memory() -> Arc<MemoryStorage> {
    Arc::new(MemoryStorage::new())
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn messages(&self) -> Vec<ServerMessage> {
        assert_eq!(self.status, 200, "{self:?}");
        let frames = http::split(self.body.clone()).unwrap();
        let message = |frame: Bytes| decode_server(&frame, &WireLimits::default()).unwrap();
        frames.into_iter().map(message).collect()
    }

    /// The code of a refusal.
    fn code(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        let body = String::from_utf8(self.body.to_vec()).unwrap();
        body.split('"').nth(3).unwrap().to_owned()
    }
}

async fn request(
    address: SocketAddr,
    method: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    let mut head = format!("{method} /sync HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        write!(head, "content-length: {}\r\n", body.len()).unwrap();
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    stream
        .write_all(format!("{head}\r\n").as_bytes())
        .await
        .unwrap();
    // The server may answer, and close, before it has read all.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    };
    Answer {
        status,
        headers: lines.map(header).collect(),
        body: Bytes::from(answer).slice(end + 4..),
    }
}

fn body(messages: impl IntoIterator<Item = ClientMessage>) -> Bytes {
    let mut frames: VecDeque<Bytes> = messages.into_iter().map(|m| encode_client(&m)).collect();
    http::join(&mut frames, 4 << 20)
}

fn hello(number: u8) -> ClientMessage {
    Hello {
        versions: VersionRange::SUPPORTED,
        client: common::client(number),
        namespace: "default".to_owned(),
        token: None,
        session: None,
        collections: Vec::new(),
        direction: Direction::Both,
        checkpoint: None,
        agent: "test".to_owned(),
    }
    .into()
}

fn pull() -> ClientMessage {
    Pull {
        id: 1,
        epoch: None,
        after: Seq::ZERO,
        until: None,
        collections: Vec::new(),
        window: 2,
        batch: 100,
        fixed_head: None,
    }
    .into()
}

fn ping(id: u32) -> ClientMessage {
    Ping { id, time: None }.into()
}

fn put(by: u8, name: &str) -> ClientMessage {
    let client = common::client(by);
    let key = common::key(name);
    let change = Change {
        collection: key.collection,
        id: key.id,
        rev: Revision::new(Hlc::from_bits(1), client),
        base: None,
        kind: ChangeKind::Put(common::body(name)),
    };
    let first = MutationNumber::new(1);
    let mutation = Mutation {
        number: first,
        content: MutationContent::Changes(vec![change]),
    };
    Push::build(7, client, first, MutationNumber::ZERO, &[mutation])
        .unwrap()
        .into()
}

/// A connection over HTTP.
#[derive(Clone)]
struct Row {
    address: SocketAddr,
    name: String,
    next: u64,
}

impl Row {
    /// Says hello.
    async fn open(address: SocketAddr, number: u8) -> Self {
        let answer = request(address, "POST", &[KIND], &body([hello(number)])).await;
        let messages = answer.messages();
        assert!(
            matches!(messages[..], [ServerMessage::Welcome(_)]),
            "{messages:?}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let name = answer.header(http::CONNECTION).unwrap().to_owned();
        Self {
            address,
            name,
            next: 1,
        }
    }

    async fn post(
        &mut self,
        wait: u64,
        messages: impl IntoIterator<Item = ClientMessage>,
    ) -> Answer {
        let answer = self.post_at(self.next, wait, body(messages)).await;
        self.next += 1;
        answer
    }

    async fn post_at(&self, sequence: u64, wait: u64, body: Bytes) -> Answer {
        let (sequence, wait) = (sequence.to_string(), wait.to_string());
        let headers = [
            KIND,
            (http::CONNECTION, self.name.as_str()),
            (http::SEQUENCE, &sequence),
            (http::WAIT, &wait),
        ];
        request(self.address, "POST", &headers, &body).await
    }

    /// Waits for news in the background.
    fn wait(&mut self) -> JoinHandle<Answer> {
        let mut row = self.clone();
        self.next += 1;
        tokio::spawn(async move { row.post(25_000, []).await })
    }

    async fn assert_gone(&self) {
        let answer = self.post_at(self.next, 0, Bytes::new()).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (410, "connection-gone")
        );
    }
}

/// Waits until the server has taken so many requests, those that opened rows among them.
async fn taken(address: SocketAddr, count: u64) {
    let enough = async {
        while figure(address, "pocket_polls_total").await < count {
            tokio::task::yield_now().await;
        }
    };
    within(enough).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_a_row_of_requests_that_hears_of_everything_also_its_own() {
    let running = Running::open(memory()).await;
    let mut row = Row::open(running.address, 1).await;
    let messages = row.post(0, [pull(), ping(2)]).await.messages();
    assert_eq!(
        messages.len(),
        2,
        "both answers come with one: {messages:?}"
    );
    let answer = row.post(0, [put(1, "a")]).await;
    let outcome =
        |m: &ServerMessage| matches!(m, ServerMessage::Outcomes(o) if o.outcomes.len() == 1);
    let page = |m: &ServerMessage| matches!(m, ServerMessage::Page(page) if page.end == Seq::new(1) && page.records().unwrap().len() == 1);
    let mut messages = answer.messages();
    assert!(outcome(&messages[0]), "{messages:?}");
    // The answer with the outcome might have been lost, so the record is not withheld.
    messages.extend(row.post(0, [ping(3)]).await.messages());
    assert!(messages.iter().any(page), "{messages:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_is_answered_by_news() {
    let running = Running::open(memory()).await;
    let mut row = Row::open(running.address, 1).await;
    row.post(0, [pull()]).await;
    let waiting = row.wait();
    let mut other = Peer::join(running.address, 2, None).await;
    other.put(1, &["news"]).await;
    let messages = within(waiting).await.unwrap().messages();
    assert!(
        matches!(&messages[..], [ServerMessage::Page(page)] if page.records().unwrap()[0].id.as_str() == "news"),
        "{messages:?}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_request_ends_the_wait_of_the_one_before() {
    let running = Running::open(memory()).await;
    let mut row = Row::open(running.address, 1).await;
    let waiting = row.wait();
    let answer = row.post(0, [ping(9)]).await;
    assert!(matches!(answer.messages()[..], [ServerMessage::Pong(_)]));
    assert!(within(waiting).await.unwrap().messages().is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_overtake_each_other_are_taken_in_their_order() {
    let running = Running::open(memory()).await;
    let row = Row::open(running.address, 1).await;
    let later = row.clone();
    let later = tokio::spawn(async move { later.post_at(2, 0, body([ping(2)])).await });
    taken(running.address, 2).await;
    assert!(!later.is_finished(), "it waits for the one before it");
    let earlier = row.post_at(1, 0, body([ping(1)])).await.messages();
    let later = within(later).await.unwrap().messages();
    let pongs: Vec<u32> = earlier
        .iter()
        .chain(&later)
        .map(|message| match message {
            ServerMessage::Pong(pong) => pong.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pongs, [1, 2]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_taken_before_and_one_that_skips_end_the_connection() {
    let running = Running::open(memory()).await;
    for (client, sequence) in [(1, 1), (2, 4), (3, 0), (4, u64::MAX)] {
        let mut row = Row::open(running.address, client).await;
        row.post(0, [ping(1)]).await;
        let answer = row.post_at(sequence, 0, body([ping(2)])).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (410, "connection-gone"),
            "{sequence}"
        );
        row.assert_gone().await;
    }
    running.stop().await;
}

/// What is sent, and the status and the code it is answered with.
type Refusal<'a> = (
    &'static str,
    Vec<(&'static str, &'a str)>,
    &'a [u8],
    u16,
    &'static str,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answers_those_who_wait() {
    let running = Running::open(memory()).await;
    let mut row = Row::open(running.address, 1).await;
    let idle = Row::open(running.address, 2).await;
    let waiting = row.wait();
    taken(running.address, 3).await;
    within(running.stop()).await;
    let answer = within(waiting).await.unwrap();
    assert_eq!(answer.header(http::CLOSE), Some("1001"));
    assert!(
        matches!(&answer.messages()[..], [ServerMessage::Error(error)] if error.code == "going-away")
    );
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_and_who_is_silent_for_too_long_is_forgotten() {
    let mut config = Config::default();
    config.polled_sessions = 1;
    let running = Running::start(memory(), TokenTable::open(), config.clone()).await;
    let row = Row::open(running.address, 1).await;
    // There is one place, and it is taken.
    let answer = request(running.address, "POST", &[KIND], &body([hello(2)])).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "rate-limited")
    );
    assert!(answer.header("retry-after").is_some());
    let headers = [
        KIND,
        (http::CONNECTION, row.name.as_str()),
        (http::SEQUENCE, "1"),
        (http::CLOSE, "1000"),
    ];
    let answer = request(running.address, "POST", &headers, &body([ping(1)])).await;
    assert!(matches!(
        answer.messages()[..],
        [] | [ServerMessage::Pong(_)]
    ));
    row.assert_gone().await;
    running.stop().await;

    // A server of its own: under this limit, who is not quick enough above would be forgotten as well.
    config.client_timeout = Duration::from_millis(100);
    let running = Running::start(memory(), TokenTable::open(), config).await;
    let silent = Row::open(running.address, 3).await;
    let free = async {
        while request(running.address, "POST", &[KIND], &body([hello(4)]))
            .await
            .status
            != 200
        {
            tokio::task::yield_now().await;
        }
    };
    within(free).await;
    silent.assert_gone().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_one_session_whichever_way_it_comes() {
    let running = Running::open(memory()).await;
    let mut row = Row::open(running.address, 1).await;
    let waiting = row.wait();
    taken(running.address, 2).await;
    let _newer = Peer::join(running.address, 1, None).await;
    let answer = within(waiting).await.unwrap();
    assert_eq!(answer.header(http::CLOSE), Some("4409"));
    assert!(
        matches!(&answer.messages()[..], [ServerMessage::Error(error)] if error.code == "replaced")
    );
    running.stop().await;
}
