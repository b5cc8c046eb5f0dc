//! A session with a real replica in memory, a scripted server and a clock that only the test moves.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]

mod messages;

pub(crate) mod peer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pocket_core::replica::{Conflict, Replica, Resolver, Scope};
use pocket_core::{
    Body, ClientId, CollectionConfig, CollectionName, Database, DocumentId, DocumentLimits, Env,
    Epoch, Hlc, Lineage, Map, MutationNumber, Outcome, Record, RecordState, Revision, Seq,
    SessionToken, Target, Timestamp, Value,
};
use pocket_storage_memory::{MemoryDisk, MemoryStorage};
use pocket_sync_client::conflict::Strategies;
use pocket_sync_client::store::perform;
use pocket_sync_client::{
    AuthReason, Effect, Event, Moment, Pass, Session, SessionConfig, Snapshot, Status, StoreAnswer,
    StoreRequest, StoreRequestKind, SyncError,
};
use pocket_sync_protocol::{
    ClientMessage, EncodedRecord, EpochStart, ErrorMessage, Fetch, Hello, Outcomes, Page,
    PageBuilder, Pong, Pull, Push, Records, ServerLimits, ServerMessage, Welcome, WireLimits,
    decode_client, encode_server,
};

pub(crate) use self::messages::*;

/// The heartbeat of the scripted server, in milliseconds.
pub(crate) const HEARTBEAT: u64 = 30_000;

/// The clock and the random source of a test: both only count.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Env for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000)
    }

    fn random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
        }
    }
}

/// A session under test, and everything it said.
pub(crate) struct Bench {
    pub(crate) session: Session,
    pub(crate) database: Database,
    pub(crate) replica: Replica,
    pub(crate) disk: MemoryDisk,
    pub(crate) now: Moment,
    pub(crate) sent: VecDeque<ClientMessage>,
    pub(crate) published: Vec<Snapshot>,
    pub(crate) finished: Vec<(u64, Result<(), SyncError>)>,
    pub(crate) closes: Vec<u16>,
    pub(crate) connection: Option<u64>,
    pub(crate) timer: Option<Moment>,
    /// Store requests are answered at once unless this is set.
    pub(crate) slow_store: bool,
    pub(crate) asked: Option<StoreRequest>,
    /// Who the store is to be for it.
    pub(crate) asked_as: Option<ClientId>,
    pub(crate) stored: Vec<StoreRequestKind>,
    /// Batches of conflicts that the application was asked about.
    pub(crate) questions: Vec<(u64, Vec<Conflict>)>,
    /// Why the application was asked for another token.
    pub(crate) renewals: Vec<AuthReason>,
    scope: Scope,
    pub(crate) resolver: Arc<dyn Resolver>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(SessionConfig::new(Scope::All)).await
    }

    pub(crate) async fn with(config: SessionConfig) -> Self {
        Self::on(MemoryDisk::new(), config).await
    }

    /// On this disk, which may hold a database already.
    pub(crate) async fn on(disk: MemoryDisk, config: SessionConfig) -> Self {
        let database = open(disk.open()).await;
        Self {
            scope: config.scope.clone(),
            session: Session::new(config),
            replica: Replica::new(&database, Target::DEFAULT),
            database,
            disk,
            now: Moment::from_millis(1_000),
            sent: VecDeque::new(),
            published: Vec::new(),
            finished: Vec::new(),
            closes: Vec::new(),
            connection: None,
            timer: None,
            slow_store: false,
            asked: None,
            asked_as: None,
            stored: Vec::new(),
            questions: Vec::new(),
            renewals: Vec::new(),
            resolver: Arc::new(Strategies::default()),
        }
    }

    /// Feeds an event, carries out what follows, and answers the store's requests unless it is slow.
    pub(crate) async fn event(&mut self, event: Event) {
        self.feed(event);
        while !self.slow_store && self.asked.is_some() {
            let answer = self.perform().await;
            self.feed(Event::Stored(answer));
        }
    }

    /// Carries out the store request under way and returns its answer without telling the session.
    pub(crate) async fn perform(&mut self) -> StoreAnswer {
        let request = self.asked.take().expect("a store request is under way");
        let client = self.asked_as.take();
        perform(&self.replica, &self.scope, &self.resolver, client, request).await
    }

    fn feed(&mut self, event: Event) {
        for effect in self.session.handle(self.now, event) {
            match effect {
                Effect::Open { connection } => self.connection = Some(connection),
                Effect::Close { code, .. } => {
                    self.closes.push(code);
                    self.connection = None;
                }
                Effect::Send(frame) => {
                    let message = decode_client(&frame, &WireLimits::default())
                        .expect("the session speaks properly");
                    self.sent.push_back(message);
                }
                Effect::Store { client, request } => {
                    assert!(self.asked.is_none(), "one store request at a time");
                    self.stored.push(request.kind());
                    self.asked = Some(request);
                    self.asked_as = client;
                }
                Effect::Ask { batch, conflicts } => self.questions.push((batch, conflicts)),
                Effect::Renew(reason) => self.renewals.push(reason),
                Effect::Timer(deadline) => self.timer = deadline,
                Effect::Publish(snapshot) => self.published.push(*snapshot),
                Effect::Finished { id, result } => self.finished.push((id, result)),
            }
        }
    }

    /// Lets the time pass to the session's own deadline.
    pub(crate) async fn wait_for_timer(&mut self) -> Moment {
        let deadline = self.timer.expect("the session waits for a moment");
        self.now = self.now.max(deadline);
        self.event(Event::Timer).await;
        deadline
    }

    pub(crate) async fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(millis);
        self.event(Event::Timer).await;
    }

    pub(crate) fn connection(&self) -> u64 {
        self.connection.expect("a connection was opened")
    }

    /// Starts and says hello.
    pub(crate) async fn greet(&mut self) -> Hello {
        self.event(Event::Start).await;
        self.opened().await
    }

    pub(crate) async fn opened(&mut self) -> Hello {
        let connection = self.connection();
        self.event(Event::Opened { connection }).await;
        match self.sent.pop_back() {
            Some(ClientMessage::Hello(hello)) => hello,
            other => panic!("a hello was expected, not {other:?}"),
        }
    }

    /// Starts, says hello and is welcomed by a server that has nothing.
    pub(crate) async fn connect(&mut self) -> Hello {
        let hello = self.greet().await;
        self.say(welcome()).await;
        hello
    }

    /// Connects again after a closed connection.
    pub(crate) async fn reconnect(&mut self, welcome: Welcome) -> Hello {
        self.wait_for_timer().await;
        let hello = self.opened().await;
        self.say(welcome).await;
        hello
    }

    pub(crate) async fn say(&mut self, message: impl Into<ServerMessage>) {
        let connection = self.connection();
        self.say_on(connection, message).await;
    }

    pub(crate) async fn say_on(&mut self, connection: u64, message: impl Into<ServerMessage>) {
        let bytes = encode_server(&message.into());
        self.event(Event::Frame { connection, bytes }).await;
    }

    pub(crate) async fn close(&mut self, code: Option<u16>) {
        let connection = self.connection.take().expect("a connection was opened");
        self.event(Event::Closed {
            connection,
            code,
            reason: String::new(),
        })
        .await;
    }

    pub(crate) async fn refuse(&mut self, error: SyncError) {
        let connection = self.connection.take().expect("a connection was opened");
        self.event(Event::Refused { connection, error }).await;
    }

    pub(crate) async fn command(&mut self, id: u64, pass: Pass) {
        self.event(Event::Command { id, pass }).await;
    }

    pub(crate) async fn configure(&self, collection: &str, sync: bool) {
        let config = CollectionConfig::new(collection).sync(sync);
        self.database
            .create_collection(config)
            .await
            .expect("memory takes it");
    }

    /// Writes a document and tells the session.
    pub(crate) async fn insert(&mut self, id: &str) {
        self.insert_quietly(id).await;
        self.event(Event::OutboxGrew).await;
    }

    pub(crate) async fn insert_quietly(&mut self, id: &str) {
        self.put(id, "local").await;
    }

    pub(crate) async fn put(&mut self, id: &str, text: &str) {
        let todos = self
            .database
            .collection::<Value>("todos")
            .expect("it is configured");
        todos
            .upsert(&document(id, text))
            .await
            .expect("memory takes it");
    }

    pub(crate) async fn text(&self, id: &str) -> Option<String> {
        let todos = self
            .database
            .collection::<Value>("todos")
            .expect("it is configured");
        let Some(Value::Map(map)) = todos.get(id).await.expect("memory gives it") else {
            return None;
        };
        match map.get("text") {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.last().status
    }

    pub(crate) fn last(&self) -> &Snapshot {
        self.published.last().expect("something was published")
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        let mut statuses: Vec<Status> = self
            .published
            .iter()
            .map(|snapshot| snapshot.status)
            .collect();
        statuses.dedup();
        statuses
    }

    pub(crate) fn error_code(&self) -> &str {
        self.last()
            .stats
            .last_error
            .as_ref()
            .expect("something went wrong")
            .code()
    }

    pub(crate) fn pushes(&mut self) -> Vec<Push> {
        let mut pushes = Vec::new();
        self.sent.retain(|message| match message {
            ClientMessage::Push(push) => {
                pushes.push(push.clone());
                false
            }
            _ => true,
        });
        pushes
    }

    pub(crate) fn pulls(&mut self) -> Vec<Pull> {
        let mut pulls = Vec::new();
        self.sent.retain(|message| match message {
            ClientMessage::Pull(pull) => {
                pulls.push(pull.clone());
                false
            }
            _ => true,
        });
        pulls
    }

    pub(crate) fn the_push(&mut self) -> Push {
        let mut pushes = self.pushes();
        assert_eq!(pushes.len(), 1, "one push was expected: {pushes:?}");
        pushes.remove(0)
    }

    pub(crate) fn the_pull(&mut self) -> Pull {
        let mut pulls = self.pulls();
        assert_eq!(pulls.len(), 1, "one pull was expected: {pulls:?}");
        pulls.remove(0)
    }

    pub(crate) fn the_fetch(&mut self) -> Fetch {
        let found = self
            .sent
            .iter()
            .position(|message| matches!(message, ClientMessage::Fetch(_)));
        match found.and_then(|place| self.sent.remove(place)) {
            Some(ClientMessage::Fetch(fetch)) => fetch,
            _ => panic!("a fetch was expected: {:?}", self.sent),
        }
    }

    pub(crate) fn pings(&self) -> Vec<u32> {
        let ids = self.sent.iter().filter_map(|message| match message {
            ClientMessage::Ping(ping) => Some(ping.id),
            _ => None,
        });
        ids.collect()
    }

    pub(crate) fn mores(&self) -> Vec<(u32, u64)> {
        let mores = self.sent.iter().filter_map(|message| match message {
            ClientMessage::More(more) => Some((more.id, more.applied.get())),
            _ => None,
        });
        mores.collect()
    }

    pub(crate) async fn state(&self) -> pocket_core::replica::ReplicaState {
        self.replica
            .load(&self.scope)
            .await
            .expect("memory gives it")
    }
}

async fn open(storage: MemoryStorage) -> Database {
    Database::builder("test")
        .collection(CollectionConfig::new("todos").sync(true))
        .collection(CollectionConfig::new("notes").sync(true))
        .env(Counting::default())
        .open(storage)
        .await
        .expect("memory opens")
}
