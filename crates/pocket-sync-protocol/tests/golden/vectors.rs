//! The vectors themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use pocket_sync_protocol::{
    ChangeKind, ClientMessage, Digest, Direction, EncodedRecord, Epoch, EpochStart, ErrorMessage,
    Fetch, Hello, HelloCheckpoint, Lineage, More, Mutation, MutationContent, MutationNumber,
    Outcome, Outcomes, Page, PageBuilder, Ping, Pong, Pull, Push, Record, RecordSet, RecordState,
    Records, Removal, Seq, ServerLimits, ServerMessage, SessionToken, Timestamp, VersionRange,
    Welcome, codes, encode_client, encode_server,
};

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

/// MessagePack, spelled out by hand.
#[derive(Clone, Debug)]
enum Raw {
    Map(Vec<(&'static str, Raw)>),
    List(Vec<Raw>),
    Number(u64),
    Text(&'static str),
    Bin(Vec<u8>),
    Nil,
    Bytes(&'static [u8]),
}

impl Raw {
    fn write(&self, to: &mut Vec<u8>) {
        use rmp::encode as e;
        match self {
            Self::Map(entries) => {
                e::write_map_len(to, u32::try_from(entries.len()).unwrap()).unwrap();
                for (name, value) in entries {
                    e::write_str(to, name).unwrap();
                    value.write(to);
                }
            }
            Self::List(values) => {
                e::write_array_len(to, u32::try_from(values.len()).unwrap()).unwrap();
                for value in values {
                    value.write(to);
                }
            }
            Self::Number(number) => {
                e::write_uint(to, *number).unwrap();
            }
            Self::Text(text) => e::write_str(to, text).unwrap(),
            Self::Bin(bytes) => e::write_bin(to, bytes).unwrap(),
            Self::Nil => e::write_nil(to).unwrap(),
            Self::Bytes(bytes) => to.extend_from_slice(bytes),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }
}

use Raw::{List, Map, Nil, Number, Text};

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

/// A page whose record has fields of a later version. Its bytes are kept as they came.
fn page_later() -> Page {
    let record = List(vec![
        Number(41),
        Text("milk"),
        Number(1_785_000_000_041 << 16),
        Number(0),
        Raw::Bin(body("Milk, 2 ℓ").as_bytes().to_vec()),
        Map(vec![
            ("ttl", Number(9)),
            ("who", List(vec![Text("anna"), Nil])),
        ]),
    ]);
    let mut page = page(&records()[..1]);
    page.set.data = vec![Bytes::from(record.bytes())];
    page
}

/// The message `push-one`, with these elements at the ends of its mutation and its change.
fn push_with(mutation: Raw, change: Raw) -> Vec<u8> {
    let change = List(vec![
        Number(0),
        Text("milk"),
        Number(1_785_000_000_000 << 16),
        Nil,
        Number(0),
        Raw::Bin(body("Milk").as_bytes().to_vec()),
        change,
    ]);
    Map(vec![(
        "push",
        Map(vec![
            (
                "m",
                List(vec![List(vec![Number(0), List(vec![change]), mutation])]),
            ),
            ("r", List(vec![])),
            ("c", List(vec![Text("todos")])),
            ("f", Number(1)),
            ("k", Number(0)),
            ("i", Number(7)),
        ]),
    )])
    .bytes()
}

fn ping_of(fields: Vec<(&'static str, Raw)>) -> Vec<u8> {
    Map(vec![("ping", Map(fields))]).bytes()
}

fn other_spellings() -> Vec<Vector> {
    let ping = Message::Client(Ping { id: 6, time: None }.into());
    let push = Message::Client(push_one().into());
    let like = |name, frame: Vec<u8>, message: &Message, other| Vector {
        name,
        from_client: true,
        frame: frame.into(),
        expect: Expect::Like(message.clone(), other),
    };
    let long = Raw::Bytes(&[0xcf, 0, 0, 0, 0, 0, 0, 0, 6]);
    let later = || {
        Map(vec![
            ("why", Text("undo")),
            ("deep", List(vec![Map(vec![])])),
        ])
    };
    vec![
        like(
            "ping-nil",
            ping_of(vec![("t", Nil), ("i", Number(6))]),
            &ping,
            "ping-bare",
        ),
        like(
            "ping-long-number",
            ping_of(vec![("i", long)]),
            &ping,
            "ping-bare",
        ),
        like(
            "ping-unknown-field",
            ping_of(vec![
                ("i", Number(6)),
                ("later", List(vec![Number(1), Nil])),
            ]),
            &ping,
            "ping-bare",
        ),
        like("push-other-order", push_with(Nil, Nil), &push, "push-one"),
        like("push-later", push_with(later(), later()), &push, "push-one"),
    ]
}

fn refused() -> Vec<Vector> {
    let refused = |name, frame: Vec<u8>, code| Vector {
        name,
        from_client: true,
        frame: frame.into(),
        expect: Expect::Refused(code),
    };
    let critical = || Map(vec![("!quorum", Number(3))]);
    let two = Map(vec![
        ("ping", Map(vec![("i", Number(1))])),
        ("more", Map(vec![("i", Number(1)), ("a", Number(1))])),
    ]);
    let ping = ping_of(vec![("i", Number(6))]);
    let mut trailing = ping.clone();
    trailing.push(0xc0);
    let no_text = Raw::Bytes(&[0xa2, 0xc3, 0x28]);
    let nan = Raw::Bytes(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]);
    let bad = codes::BAD_FRAME;
    vec![
        refused(
            "refused-critical-field",
            ping_of(vec![("i", Number(6)), ("!must", Nil)]),
            codes::CRITICAL_FIELD,
        ),
        refused(
            "refused-critical-in-mutation",
            push_with(critical(), Nil),
            codes::CRITICAL_FIELD,
        ),
        refused(
            "refused-critical-in-change",
            push_with(Nil, critical()),
            codes::CRITICAL_FIELD,
        ),
        refused(
            "refused-unknown-message",
            Map(vec![("pang", Map(vec![]))]).bytes(),
            codes::UNEXPECTED_MESSAGE,
        ),
        refused(
            "refused-other-side",
            encode_server(&server_messages().remove(10).1).to_vec(),
            codes::UNEXPECTED_MESSAGE,
        ),
        refused("refused-two-messages", two.bytes(), bad),
        refused(
            "refused-field-missing",
            ping_of(vec![("t", Number(5))]),
            bad,
        ),
        refused(
            "refused-field-of-other-type",
            ping_of(vec![("i", Text("6"))]),
            bad,
        ),
        refused(
            "refused-number-too-large",
            ping_of(vec![("i", Number(1 << 32))]),
            bad,
        ),
        refused("refused-extra-element", push_with(List(vec![]), Nil), bad),
        refused(
            "refused-bytes-doubled-field",
            ping_of(vec![("i", Number(6)), ("i", Number(6))]),
            bad,
        ),
        refused("refused-bytes-behind-the-end", trailing, bad),
        refused("refused-bytes-cut", ping[..ping.len() - 1].to_vec(), bad),
        refused(
            "refused-bytes-no-utf-8",
            ping_of(vec![("i", Number(6)), ("x", no_text)]),
            bad,
        ),
        refused(
            "refused-bytes-not-finite",
            ping_of(vec![("i", Number(6)), ("x", nan)]),
            bad,
        ),
        refused(
            "refused-bytes-claimed-length",
            ping_of(vec![("x", Raw::Bytes(&[0xdd, 0xff, 0xff, 0xff, 0xff]))]),
            bad,
        ),
        refused("refused-bytes-json", br#"{"ping":{"i":6}}"#.to_vec(), bad),
        refused("refused-bytes-empty", Vec::new(), bad),
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
