//! The session against a client and an engine that the test plays by hand.

mod digests;
mod feed;
mod handshake;
mod request;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, Digest, DocumentId, DocumentLimits, Epoch,
    Hlc, Lineage, Map, Mutation, MutationContent, MutationNumber, Outcome, Record, RecordState,
    Revision, Seq, SessionToken, Timestamp,
};
use pocket_sync_protocol::{
    ClientMessage, Direction, EncodedRecord, EpochStart, Fetch, Hello, HelloCheckpoint, More, Page,
    Ping, Pong, Pull, Push, ServerMessage, VersionRange, decode_server, encode_client,
};

use super::*;
use crate::auth::{Access, AuthError};
use crate::decide::{AttachRefusal, PushAnswer, Refusal};
use crate::engine::{Attached, EngineError, FeedPage, Fetched, LogState, ReadRequest};

const CLIENT: ClientId = ClientId::from_bytes([1; 16]);
const OTHER: ClientId = ClientId::from_bytes([2; 16]);
const EPOCH: Epoch = Epoch::from_bytes([3; 16]);

/// What the welcome tells of the time: the server's clock is set back behind it.
const TOLD: Timestamp = Timestamp::from_millis(90_000);

/// What the engine says that the reader should hold.
fn digests() -> BTreeMap<CollectionName, Digest> {
    let digest = Digest::from_bytes([7; Digest::BYTES]);
    [(CollectionName::new("todos").unwrap(), digest)].into()
}

/// A session, and a client and an engine that the test plays by hand.
struct Harness {
    session: Session,
    clock: u64,
}

impl Harness {
    fn new() -> Self {
        let mut harness = Self {
            session: Session::new(Arc::new(Config::default())),
            clock: 0,
        };
        let effects = harness.event(Event::Opened { token: None });
        assert!(matches!(effects[..], [Effect::Timer(Moment(10_000))]));
        harness
    }

    /// A session that is open, its log at `head`.
    fn open(head: u64, checkpoint: Option<HelloCheckpoint>) -> Self {
        let mut harness = Self::new();
        let effects = harness.say(hello(checkpoint));
        assert!(
            matches!(&effects[..], [Effect::Authenticate { token: Some(token) }] if token.expose() == "t")
        );
        let effects = harness.event(Event::Authenticated(Ok(Access::all("ann"))));
        assert!(
            matches!(&effects[..], [Effect::Attach { request, .. }, Effect::Timer(_)] if &*request.user == "ann")
        );
        let effects = harness.event(Event::Attached(Ok(attached(head))));
        assert!(matches!(sent(&effects)[..], [ServerMessage::Welcome(_)]));
        harness
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        let now = Now {
            moment: Moment(self.clock),
            time: Timestamp::from_millis(5),
        };
        self.session.handle(now, event)
    }

    fn say(&mut self, message: impl Into<ClientMessage>) -> Vec<Effect> {
        self.event(Event::Frame(encode_client(&message.into())))
    }

    fn pull(&mut self, epoch: Option<Epoch>, after: u64, window: u32, batch: u32) -> Vec<Effect> {
        let after = Seq::new(after);
        self.say(Pull {
            id: 7,
            epoch,
            after,
            until: None,
            collections: Vec::new(),
            window,
            batch,
            fixed_head: None,
        })
    }

    /// Answers a read with the records at `places`.
    fn read(
        &mut self,
        effects: &[Effect],
        end: u64,
        head: u64,
        places: &[(u64, ClientId)],
    ) -> Vec<Effect> {
        let (ticket, request) = asked(effects);
        let page = FeedPage {
            epoch: EPOCH,
            start: request.after,
            end: Seq::new(end),
            head: Seq::new(head),
            began: Seq::new(head),
            horizon: Seq::ZERO,
            records: places
                .iter()
                .map(|(seq, client)| record(*seq, *client))
                .collect(),
            removals: Vec::new(),
            digests: request.digests.then(digests),
        };
        self.event(Event::FeedRead {
            ticket,
            result: Ok(page),
        })
    }

    /// Pushes one document and returns the ticket of its commit.
    fn push(&mut self, number: u64) -> u64 {
        let effects = self.say(push(number));
        match &effects[..] {
            [Effect::Commit { ticket, push }] => {
                assert_eq!(push.mutations.len(), 1);
                *ticket
            }
            other => panic!("{other:?}"),
        }
    }

    fn applied(&mut self, ticket: u64, number: u64, seq: u64) -> Vec<Effect> {
        let answer = PushAnswer {
            first: MutationNumber::new(number),
            outcomes: vec![Outcome::Applied {
                first: Seq::new(seq),
            }],
            refusal: None,
            epoch: None,
            written: vec![seq..=seq],
        };
        self.event(Event::Committed {
            ticket,
            result: Ok(answer),
        })
    }
}

fn hello(checkpoint: Option<HelloCheckpoint>) -> Hello {
    Hello {
        versions: VersionRange::SUPPORTED,
        client: CLIENT,
        namespace: "default".to_owned(),
        token: Some("t".to_owned()),
        session: None,
        collections: Vec::new(),
        direction: Direction::Both,
        checkpoint,
        agent: "test".to_owned(),
    }
}

fn attached(head: u64) -> Attached {
    let log = LogState {
        lineage: Lineage::from_bytes([9; 16]),
        epochs: [EpochStart {
            epoch: EPOCH,
            first: Seq::new(1),
        }]
        .into(),
        epoch: EPOCH,
        head: Seq::new(head),
        horizon: Seq::ZERO,
    };
    Attached {
        log,
        session: SessionToken::from_bytes([4; 16]),
        last: MutationNumber::ZERO,
        is_new: false,
        time: TOLD,
    }
}

fn push(number: u64) -> Push {
    let change = Change {
        collection: CollectionName::new("todos").unwrap(),
        id: DocumentId::new("a").unwrap(),
        rev: Revision::new(Hlc::from_bits(number), CLIENT),
        base: None,
        kind: ChangeKind::Put(body()),
    };
    let number = MutationNumber::new(number);
    let mutation = Mutation {
        number,
        content: MutationContent::Changes(vec![change]),
    };
    let id = u32::try_from(number.get()).unwrap();
    Push::build(id, CLIENT, number, MutationNumber::ZERO, &[mutation]).unwrap()
}

fn body() -> Body {
    Body::from_map(&Map::new(), &DocumentLimits::default()).unwrap()
}

fn record(seq: u64, client: ClientId) -> EncodedRecord {
    EncodedRecord::encode(&Record {
        collection: CollectionName::new("todos").unwrap(),
        id: DocumentId::new(&format!("d{seq}")).unwrap(),
        rev: Revision::new(Hlc::from_bits(seq), client),
        seq: Seq::new(seq),
        state: RecordState::Live(body()),
    })
}

fn sent(effects: &[Effect]) -> Vec<ServerMessage> {
    let limits = crate::Limits::default().frames();
    let frames = effects.iter().filter_map(|effect| match effect {
        Effect::Send(frame) => Some(decode_server(frame, &limits).unwrap()),
        _ => None,
    });
    frames.collect()
}

fn pages(effects: &[Effect]) -> Vec<Page> {
    let pages = sent(effects)
        .into_iter()
        .filter_map(|message| match message {
            ServerMessage::Page(page) => Some(page),
            _ => None,
        });
    pages.collect()
}

fn places(page: &Page) -> Vec<u64> {
    page.records()
        .unwrap()
        .iter()
        .map(|record| record.seq.get())
        .collect()
}

fn asked(effects: &[Effect]) -> (u64, ReadRequest) {
    let reads: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Read { ticket, request } => Some((*ticket, request.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(reads.len(), 1, "{effects:?}");
    reads.into_iter().next().unwrap()
}

fn reads(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Read { .. }))
}

fn error(effects: &[Effect]) -> (String, Option<u16>) {
    let code = sent(effects).iter().find_map(|message| match message {
        ServerMessage::Error(error) => Some(error.code.clone()),
        _ => None,
    });
    let close = effects.iter().find_map(|effect| match effect {
        Effect::Close { code, .. } => Some(*code),
        _ => None,
    });
    (code.expect("an error was sent"), close)
}
