//! A client's session against whatever a server may send.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_core::replica::{Replica, Resolver, Scope};
use pocket_core::{
    Body, ClientId, CollectionConfig, CollectionName, Database, Digest, DocumentId, DocumentLimits,
    Epoch, Hlc, Lineage, Map, MutationNumber, Outcome, Record, RecordState, Revision, Seq,
    SessionToken, Target, Timestamp, Value,
};
use pocket_storage_memory::{MemoryDisk, MemoryStorage};
use pocket_sync_client::conflict::Strategies;
use pocket_sync_client::store::perform;
use pocket_sync_client::{
    Effect, Event, Moment, Pass, Session, SessionConfig, StoreAnswer, StoreRequest,
};
use pocket_sync_protocol::{
    ClientMessage, EncodedRecord, EpochStart, ErrorMessage, Outcomes, Page, PageBuilder, Pong,
    ServerLimits, ServerMessage, Welcome, WireLimits, decode_client, encode_server,
};

use crate::counting::Counting;
use crate::input::Input;
use crate::now::now;

const STEPS: usize = 200;
const IDS: [&str; 3] = ["1", "2", "3"];

struct Client {
    disk: MemoryDisk,
    database: Database,
    replica: Replica,
    session: Session,
    scope: Scope,
    resolver: Arc<dyn Resolver>,
    moment: Moment,
    connection: Option<u64>,
    /// What it asked for last: what a server's answers name.
    pull: u32,
    push: (u32, u64, usize),
    fetch: u32,
}

fn open(storage: MemoryStorage) -> Database {
    now(Database::builder("fuzz")
        .collection(CollectionConfig::new("docs").sync(true))
        .collection(CollectionConfig::new("mine"))
        .env(Counting::default())
        .open(storage))
    .expect("whatever a server says, the database opens")
}

impl Client {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let database = open(disk.open());
        Self {
            replica: Replica::new(&database, Target::DEFAULT),
            database,
            disk,
            session: Session::new(SessionConfig::new(Scope::All)),
            scope: Scope::All,
            resolver: Arc::new(Strategies::default()),
            moment: Moment::from_millis(1_000),
            connection: None,
            pull: 0,
            push: (0, 0, 0),
            fetch: 0,
        }
    }

    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        for _ in 0..1_000 {
            let Some(event) = events.pop() else {
                return;
            };
            for effect in self.session.handle(self.moment, event) {
                match effect {
                    Effect::Open { connection } => self.connection = Some(connection),
                    Effect::Close { .. } => self.connection = None,
                    Effect::Send(frame) => self.sent(&frame),
                    Effect::Store { client, request } => {
                        events.insert(0, self.store(client, request));
                    }
                    _ => {}
                }
            }
        }
        panic!("a session that never comes to rest");
    }

    fn store(&self, client: Option<ClientId>, request: StoreRequest) -> Event {
        let asked = perform(&self.replica, &self.scope, &self.resolver, client, request);
        let answer = now(asked);
        if let StoreAnswer::Failed { error, .. } = &answer {
            assert_ne!(error.code(), "corrupt", "{error}");
        }
        Event::Stored(answer)
    }

    /// The most helpful thing for a hostile server is to know what is asked.
    fn sent(&mut self, frame: &Bytes) {
        match decode_client(frame, &WireLimits::default()).expect("a client speaks properly") {
            ClientMessage::Pull(pull) => self.pull = pull.id,
            ClientMessage::Push(push) => {
                self.push = (push.id, push.first.get(), push.mutations.len());
            }
            ClientMessage::Fetch(fetch) => self.fetch = fetch.id,
            _ => {}
        }
    }

    fn say(&mut self, message: impl Into<ServerMessage>) {
        let bytes = encode_server(&message.into());
        self.frame(bytes);
    }

    fn frame(&mut self, bytes: Bytes) {
        if let Some(connection) = self.connection {
            self.event(Event::Frame { connection, bytes });
        }
    }
}

/// A server may say anything. What is local stays as it is, each write of the application succeeds, nothing is damaged, and
/// the store opens again and holds what was read before.
pub(crate) fn session(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut client = Client::new();
    let mine = client
        .database
        .collection::<Value>("mine")
        .expect("it is there");
    now(mine.insert(&document("kept", 7))).expect("memory takes it");
    client.event(Event::Start);
    let mut writes = 0;
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        step(&mut client, &mut input, &mut writes);
    }
    let kept = now(mine.get("kept")).expect("memory gives it");
    assert_eq!(
        kept,
        Some(document("kept", 7)),
        "no server reaches what is local"
    );
    let docs = client
        .database
        .collection::<Value>("docs")
        .expect("it is there");
    let before = now(docs.get_all()).expect("what is stored can be read");
    let journal = now(client.database.journal().list(None, 1_000)).expect("so can the journal");
    for entry in &journal {
        now(client.database.journal().get(entry.number)).expect("and each entry of it");
    }
    client.event(Event::Stop);
    now(client.database.close()).expect("memory closes");
    let reopened = open(client.disk.open());
    let docs = reopened.collection::<Value>("docs").expect("it is there");
    let after = now(docs.get_all()).expect("what is stored can be read");
    assert_eq!(before, after, "what was read is what is stored");
}

fn step(client: &mut Client, input: &mut Input<'_>, writes: &mut u64) {
    match input.below(13) {
        0 => {
            let bytes = Bytes::copy_from_slice(input.bytes());
            client.frame(bytes);
        }
        1 => {
            client.moment = client.moment.plus(input.number() % 200_000);
            client.event(Event::Timer);
        }
        2 => {
            if let Some(connection) = client.connection {
                client.event(Event::Opened { connection });
            }
        }
        3 => {
            if let Some(connection) = client.connection.take() {
                let code = input.flag().then(|| 4_400 + u16::from(input.byte()));
                let reason = String::new();
                client.event(Event::Closed {
                    connection,
                    code,
                    reason,
                });
            }
        }
        4 => write(client, input, writes),
        5 => client.event(Event::Command {
            id: 1,
            pass: [Pass::Both, Pass::Push, Pass::Pull][usize::from(input.below(3))],
        }),
        6 | 7 => {
            let message = welcome(input);
            client.say(message);
        }
        8 => {
            let message = page(client.pull, input);
            client.say(message);
        }
        9 => {
            let message = outcomes(client.push, input);
            client.say(message);
        }
        10 => {
            let message = Pong {
                id: input.byte().into(),
                head: Seq::new(input.number()),
                time: Timestamp::from_millis(1_700_000_000_000),
            };
            client.say(message);
        }
        11 => {
            let codes = [
                "retry-later",
                "unknown-epoch",
                "too-large",
                "forbidden",
                "x",
            ];
            let message = ErrorMessage {
                id: input.flag().then(|| input.byte().into()),
                code: codes[usize::from(input.below(5))].to_owned(),
                message: String::new(),
                retryable: input.flag(),
                retry_after: None,
                fatal: input.flag(),
            };
            client.say(message);
        }
        _ => {
            let page = page(client.fetch, input);
            client.say(pocket_sync_protocol::Records {
                id: client.fetch,
                epoch: page.epoch,
                head: page.head,
                set: page.set,
            });
        }
    }
}

fn write(client: &mut Client, input: &mut Input<'_>, writes: &mut u64) {
    let docs = client
        .database
        .collection::<Value>("docs")
        .expect("it is there");
    let id = IDS[usize::from(input.below(3))];
    *writes += 1;
    // A document that is not there cannot be deleted; all else works.
    match input.below(3) {
        0 => drop(now(docs.delete(id))),
        1 => drop(now(docs.hard_delete(id))),
        _ => {
            now(docs.upsert(&document(id, *writes))).expect("a write succeeds");
        }
    }
    client.event(Event::OutboxGrew);
}

fn document(id: &str, n: u64) -> Value {
    let mut map = Map::new();
    map.insert("_id", id);
    map.insert("n", n);
    Value::Map(map)
}

fn epoch(input: &mut Input<'_>) -> Epoch {
    Epoch::from_bytes([input.below(3); 16])
}

fn welcome(input: &mut Input<'_>) -> Welcome {
    let epochs = (0..input.below(4)).map(|_| EpochStart {
        epoch: epoch(input),
        first: Seq::new(input.number()),
    });
    Welcome {
        epochs: epochs.collect(),
        version: if input.below(8) == 7 { 9 } else { 1 },
        lineage: Lineage::from_bytes([input.below(2); 16]),
        user: ["ann", "bob"][usize::from(input.below(8) / 7)].to_owned(),
        epoch: epoch(input),
        head: Seq::new(input.number()),
        horizon: Seq::new(input.number()),
        time: Timestamp::from_millis(1_700_000_000_000),
        session: SessionToken::from_bytes([9; 16]),
        last_number: MutationNumber::new(input.number()),
        limits: ServerLimits::default(),
        heartbeat: Duration::from_millis(input.number()),
        rights: None,
        is_new: input.flag(),
    }
}

fn page(id: u32, input: &mut Input<'_>) -> Page {
    let mut builder = PageBuilder::new(1 << 20);
    let (start, end) = (input.number(), input.number());
    let mut seq = start;
    for _ in 0..input.below(4) {
        seq = seq.saturating_add(1 + u64::from(input.below(3)));
        let record = Record {
            collection: CollectionName::new(["docs", "mine", "new"][usize::from(input.below(3))])
                .expect("a good name"),
            id: DocumentId::new(IDS[usize::from(input.below(3))]).expect("a good id"),
            rev: Revision::new(
                Hlc::from_bits((1_700_000_000_000 << 16) + input.number() % (1 << 40)),
                ClientId::from_bytes([input.below(3); 16]),
            ),
            seq: Seq::new(seq),
            state: match input.below(4) {
                0 => RecordState::Deleted,
                _ => RecordState::Live(body(input.byte().into())),
            },
        };
        assert!(
            builder.push(&EncodedRecord::encode(&record)),
            "four small ones fit"
        );
    }
    Page {
        id,
        epoch: epoch(input),
        start: Seq::new(start),
        end: Seq::new(end),
        head: Seq::new(input.number()),
        resync: input.below(4) == 3,
        joining: None,
        set: builder.finish(),
        removals: Vec::new(),
        digest: match input.below(4) {
            2 => Some(Bytes::copy_from_slice(input.bytes())),
            3 => {
                let digest = Digest::from_bytes([input.byte(); Digest::BYTES]);
                let docs = CollectionName::new("docs").expect("a good name");
                Some(Page::encode_digests(&[(docs, digest)].into()))
            }
            _ => None,
        },
    }
}

fn body(n: u64) -> Body {
    let mut map = Map::new();
    map.insert("n", n);
    Body::from_map(&map, &DocumentLimits::default()).expect("a good body")
}

fn outcomes((id, first, count): (u32, u64, usize), input: &mut Input<'_>) -> Outcomes {
    let outcomes = (0..count).map(|_| match input.below(4) {
        0 => Outcome::Rejected {
            code: ["forbidden", "clock", "x"][usize::from(input.below(3))].to_owned(),
            reason: String::new(),
            server_time: None,
        },
        1 => Outcome::Conflict {
            seqs: vec![Seq::new(input.number())],
        },
        _ => Outcome::Applied {
            first: Seq::new(input.number()),
        },
    });
    let outcomes = outcomes.collect();
    Outcomes {
        id,
        first: MutationNumber::new(first.wrapping_add(u64::from(input.below(8) / 7))),
        outcomes,
        gap: (input.below(8) == 7).then(|| MutationNumber::new(input.number())),
    }
}
