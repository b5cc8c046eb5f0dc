//! Frames that no encoder here writes: other spellings, later fields, and what must be refused.

use bytes::Bytes;
use pocket_sync_protocol::{Page, Ping, codes, encode_server};

use super::{Expect, Message, Vector, page, push_one, records, server_messages};
use crate::common::body;

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

/// A page whose record has fields of a later version. Its bytes are kept as they came.
pub(super) fn page_later() -> Page {
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

pub(super) fn other_spellings() -> Vec<Vector> {
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

pub(super) fn refused() -> Vec<Vector> {
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
