//! The vectors themselves.

use std::collections::BTreeMap;
mod spelled;

use std::time::Duration;

use bytes::Bytes;
use pocket_sync_protocol::{
    ChangeKind, ClientMessage, Digest, Direction, EncodedRecord, Epoch, EpochStart, ErrorMessage,
    Fetch, Hello, HelloCheckpoint, Lineage, More, Mutation, MutationContent, MutationNumber,
    Outcome, Outcomes, Page, PageBuilder, Ping, Pong, Pull, Push, Record, RecordSet, RecordState,
    Records, Removal, Seq, ServerLimits, ServerMessage, SessionToken, Timestamp, VersionRange,
    Welcome, codes, encode_client, encode_server,
};

use self::spelled::{other_spellings, page_later, refused};
use crate::common::{body, change, client, collection, id, mutation, rev};

/// A message of either side.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Client(ClientMessage),
    Server(ServerMessage),
}

/// What reading a frame gives.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// This message, which encodes to the same bytes.
    Same(Message),
    /// The message of the named vector, in another spelling.
    Like(Message, &'static str),
    /// An error of this code.
    Refused(&'static str),
}

/// A frame and what it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) from_client: bool,
    pub(crate) frame: Bytes,
    pub(crate) expect: Expect,
}

fn epoch(byte: u8) -> Epoch {
    Epoch::from_bytes([byte; 16])
}

fn time() -> Timestamp {
    Timestamp::from_millis(1_785_000_000_123)
}

/// The records of the vector `page`: one live, one deleted, one erased.
pub(crate) fn records() -> Vec<Record> {
    let record = |name: &str, place: u64, by: u8, state: RecordState| Record {
        collection: collection(if by == 1 { "todos" } else { "notes" }),
        id: id(name),
        rev: rev(1_785_000_000_000 + place, by),
        seq: Seq::new(place),
        state,
    };
    vec![
        record("milk", 41, 1, RecordState::Live(body("Milk, 2 ℓ"))),
        record("bread", 300, 2, RecordState::Deleted),
        record("salt", 70_000, 2, RecordState::Erased),
    ]
}

fn set(records: &[Record]) -> RecordSet {
    let mut builder = PageBuilder::new(4096);
    for record in records {
        assert!(builder.push(&EncodedRecord::encode(record)));
    }
    builder.finish()
}

fn page(records: &[Record]) -> Page {
    Page {
        id: 3,
        epoch: epoch(0xe2),
        start: Seq::new(40),
        end: Seq::new(70_000),
        head: Seq::new(70_001),
        resync: false,
        joining: None,
        set: set(records),
        removals: Vec::new(),
        digest: None,
    }
}

fn hello() -> Hello {
    Hello {
        versions: VersionRange { min: 1, max: 1 },
        client: client(1),
        namespace: "default".into(),
        token: None,
        session: None,
        collections: Vec::new(),
        direction: Direction::Both,
        checkpoint: None,
        agent: "example/1.0".into(),
    }
}

fn push_one() -> Push {
    let put = change(
        "milk",
        1_785_000_000_000,
        None,
        ChangeKind::Put(body("Milk")),
    );
    Push::build(
        7,
        client(1),
        MutationNumber::new(1),
        MutationNumber::ZERO,
        &[mutation(1, vec![put])],
    )
    .unwrap()
}

fn push_kinds() -> Push {
    let put = |millis, base| change("milk", millis, base, ChangeKind::Put(body("Milk, 2 ℓ")));
    let mutations = [
        mutation(
            300,
            vec![put(1_785_000_000_001, Some(rev(1_785_000_000_000, 1)))],
        ),
        Mutation {
            number: MutationNumber::new(301),
            content: MutationContent::Withdrawn,
        },
        mutation(
            302,
            vec![
                change(
                    "bread",
                    1_785_000_000_002,
                    Some(rev(1_784_999_999_999, 2)),
                    ChangeKind::Delete,
                ),
                change("salt", 1_785_000_000_003, None, ChangeKind::Erase),
            ],
        ),
    ];
    Push::build(
        8,
        client(1),
        MutationNumber::new(300),
        MutationNumber::new(299),
        &mutations,
    )
    .unwrap()
}

fn client_messages() -> Vec<(&'static str, ClientMessage)> {
    let again = Hello {
        token: Some("a-token".into()),
        session: Some(SessionToken::from_bytes([0x5e; 16])),
        collections: vec![collection("todos"), collection("notes")],
        direction: Direction::Pull,
        checkpoint: Some(HelloCheckpoint {
            epoch: epoch(0xe1),
            seq: Seq::new(40),
            rights: Some(Bytes::from_static(&[0xf1, 0xf2])),
            fixed_head: Some(Seq::new(1_000)),
        }),
        ..hello()
    };
    let first_read = Pull {
        id: 3,
        epoch: None,
        after: Seq::ZERO,
        until: None,
        collections: Vec::new(),
        window: 2,
        batch: 100,
        fixed_head: None,
    };
    let first_read_goes_on = Pull {
        epoch: Some(epoch(0xe1)),
        after: Seq::new(7),
        fixed_head: Some(Seq::new(1_000)),
        ..first_read.clone()
    };
    let joining = Pull {
        id: 4,
        epoch: Some(epoch(0xe1)),
        after: Seq::new(7),
        until: Some(Seq::new(40)),
        collections: vec![collection("notes")],
        window: 2,
        batch: 100,
        fixed_head: None,
    };
    let fetch = Fetch {
        id: 5,
        documents: vec![
            (collection("todos"), id("milk")),
            (collection("notes"), id("salt")),
            (collection("todos"), id("bread")),
        ],
    };
    vec![
        ("hello-first", hello().into()),
        ("hello-again", again.into()),
        ("push-one", push_one().into()),
        ("push-kinds", push_kinds().into()),
        ("pull-first", first_read.into()),
        ("pull-joining", joining.into()),
        (
            "more",
            More {
                id: 3,
                applied: Seq::new(70_000),
            }
            .into(),
        ),
        ("fetch", fetch.into()),
        (
            "ping",
            Ping {
                id: 6,
                time: Some(time()),
            }
            .into(),
        ),
        ("ping-bare", Ping { id: 6, time: None }.into()),
        ("pull-first-goes-on", first_read_goes_on.into()),
    ]
}

fn server_messages() -> Vec<(&'static str, ServerMessage)> {
    let welcome = Welcome {
        version: 1,
        lineage: Lineage::from_bytes([0x11; 16]),
        user: "anna".into(),
        epochs: vec![
            EpochStart {
                epoch: epoch(0xe1),
                first: Seq::new(1),
            },
            EpochStart {
                epoch: epoch(0xe2),
                first: Seq::new(61),
            },
        ],
        epoch: epoch(0xe2),
        head: Seq::new(70_001),
        horizon: Seq::ZERO,
        time: time(),
        session: SessionToken::from_bytes([0x5f; 16]),
        last_number: MutationNumber::new(299),
        limits: ServerLimits::default(),
        heartbeat: Duration::from_secs(30),
        rights: None,
        is_new: false,
    };
    let welcome_new = Welcome {
        last_number: MutationNumber::ZERO,
        is_new: true,
        ..welcome.clone()
    };
    let outcomes = Outcomes {
        id: 8,
        first: MutationNumber::new(300),
        outcomes: vec![
            Outcome::Applied {
                first: Seq::new(70_002),
            },
            Outcome::Conflict {
                seqs: vec![Seq::new(300), Seq::ZERO],
            },
            Outcome::Rejected {
                code: "clock".into(),
                reason: "the revision is 70 s ahead".into(),
                server_time: Some(time()),
            },
            Outcome::Rejected {
                code: "validation".into(),
                reason: "a price below zero".into(),
                server_time: None,
            },
        ],
        gap: None,
    };
    let gap = Outcomes {
        id: 9,
        first: MutationNumber::new(310),
        outcomes: Vec::new(),
        gap: Some(MutationNumber::new(304)),
    };
    let empty = Page {
        start: Seq::new(70_000),
        end: Seq::new(70_001),
        ..page(&[])
    };
    // What a reader holds that has applied the vector `page` and nothing else.
    let milk = &records()[0];
    let digests = BTreeMap::from([
        (collection("notes"), Digest::EMPTY),
        (milk.collection.clone(), Digest::of(&milk.id, milk.rev)),
    ]);
    let digests = Page {
        digest: Some(Page::encode_digests(&digests)),
        ..empty.clone()
    };
    let joining = Page {
        id: 4,
        resync: true,
        joining: Some(collection("todos")),
        removals: vec![Removal {
            collection: 0,
            id: id("rice"),
            seq: Seq::new(42),
        }],
        digest: Some(Bytes::from_static(&[0xd1, 0xd2, 0xd3])),
        ..page(&records()[..1])
    };
    let fetched = Records {
        id: 5,
        epoch: epoch(0xe2),
        head: Seq::new(70_001),
        set: set(&records()),
    };
    let fatal = ErrorMessage {
        id: None,
        code: codes::UNAUTHORIZED.into(),
        message: "this token is not known here; set another one".into(),
        retryable: false,
        retry_after: None,
        fatal: true,
    };
    let answer = ErrorMessage {
        id: Some(8),
        code: codes::RETRY_LATER.into(),
        message: "the store is being reopened; send the same again".into(),
        retryable: true,
        retry_after: Some(Duration::from_millis(1_500)),
        fatal: false,
    };
    vec![
        ("welcome", welcome.clone().into()),
        ("outcomes", outcomes.into()),
        ("outcomes-gap", gap.into()),
        ("page", page(&records()).into()),
        ("page-empty", empty.into()),
        ("page-joining", joining.into()),
        ("page-later", page_later().into()),
        ("records", fetched.into()),
        ("error-fatal", fatal.into()),
        ("error-answer", answer.into()),
        (
            "pong",
            Pong {
                id: 6,
                head: Seq::new(70_001),
                time: time(),
            }
            .into(),
        ),
        (
            "welcome-rights",
            Welcome {
                rights: Some(Bytes::from_static(&[0xf1; 16])),
                ..welcome
            }
            .into(),
        ),
        ("welcome-new", welcome_new.into()),
        ("page-digests", digests.into()),
    ]
}

/// All of them.
pub(crate) fn all() -> Vec<Vector> {
    let client = client_messages().into_iter().map(|(name, message)| Vector {
        name,
        from_client: true,
        frame: encode_client(&message),
        expect: Expect::Same(Message::Client(message)),
    });
    let server = server_messages().into_iter().map(|(name, message)| Vector {
        name,
        from_client: false,
        frame: encode_server(&message),
        expect: Expect::Same(Message::Server(message)),
    });
    client
        .chain(server)
        .chain(other_spellings())
        .chain(refused())
        .collect()
}
