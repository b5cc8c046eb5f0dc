//! Whatever is encoded is read back as it was.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{body, client, collection};
use pocket_sync_protocol::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

fn sixteen() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>()
}

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn name() -> impl Strategy<Value = CollectionName> {
    "[A-Za-z][A-Za-z0-9_-]{0,63}".prop_map(|name| collection(&name))
}

fn id() -> impl Strategy<Value = DocumentId> {
    "[^\0]{1,60}".prop_map(|id| DocumentId::new(&id).unwrap())
}

fn seq() -> impl Strategy<Value = Seq> {
    any::<u64>().prop_map(Seq::new)
}

fn number() -> impl Strategy<Value = MutationNumber> {
    any::<u64>().prop_map(MutationNumber::new)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

fn hello() -> impl Strategy<Value = Hello> {
    let checkpoint =
        (sixteen(), seq(), of(bytes()), of(seq())).prop_map(|(epoch, seq, rights, fixed_head)| {
            HelloCheckpoint {
                epoch: Epoch::from_bytes(epoch),
                seq,
                rights,
                fixed_head,
            }
        });
    let direction = prop_oneof![
        Just(Direction::Both),
        Just(Direction::Push),
        Just(Direction::Pull)
    ];
    let who = (
        any::<[u16; 2]>(),
        sixteen(),
        ".{0,40}",
        of(".{0,40}"),
        of(sixteen()),
    );
    (who, vec(name(), 0..5), direction, of(checkpoint), ".{0,40}").prop_map(
        |(who, collections, direction, checkpoint, agent)| {
            let ([min, max], client, namespace, token, session) = who;
            Hello {
                versions: VersionRange { min, max },
                client: ClientId::from_bytes(client),
                namespace,
                token,
                session: session.map(SessionToken::from_bytes),
                collections,
                direction,
                checkpoint,
                agent,
            }
        },
    )
}

/// A push as it may come from anybody, not only from `Push::build`.
fn push() -> impl Strategy<Value = Push> {
    let base = (any::<u64>(), any::<u32>()).prop_map(|(hlc, client)| TableBase {
        hlc: Hlc::from_bits(hlc),
        client,
    });
    let kind = prop_oneof![
        bytes().prop_map(PushChangeKind::Put),
        Just(PushChangeKind::Delete),
        Just(PushChangeKind::Erase)
    ];
    let change = (any::<u32>(), ".{0,60}", any::<u64>(), of(base), kind).prop_map(
        |(collection, id, hlc, base, kind)| PushChange {
            collection,
            id,
            hlc: Hlc::from_bits(hlc),
            base,
            kind,
        },
    );
    let content = prop_oneof![
        4 => vec(change, 0..20).prop_map(PushContent::Changes),
        1 => Just(PushContent::Withdrawn),
    ];
    let tables = (vec(".{0,70}", 0..4), vec(sixteen(), 0..4));
    (
        any::<u32>(),
        number(),
        number(),
        tables,
        vec(content, 0..20),
    )
        .prop_map(
            |(id, confirmed, first, (collections, clients), mutations)| Push {
                id,
                confirmed,
                first,
                collections,
                clients: clients.into_iter().map(ClientId::from_bytes).collect(),
                mutations,
            },
        )
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let pull = (
        any::<[u32; 3]>(),
        of(sixteen()),
        seq(),
        of(seq()),
        (vec(name(), 0..4), of(seq())),
    )
        .prop_map(
            |([id, window, batch], epoch, after, until, (collections, fixed_head))| Pull {
                id,
                epoch: epoch.map(Epoch::from_bytes),
                after,
                until,
                collections,
                window,
                batch,
                fixed_head,
            },
        );
    let fetch = (any::<u32>(), vec((name(), id()), 0..20))
        .prop_map(|(id, documents)| Fetch { id, documents });
    prop_oneof![
        hello().prop_map(ClientMessage::from),
        push().prop_map(ClientMessage::from),
        pull.prop_map(ClientMessage::from),
        (any::<u32>(), seq()).prop_map(|(id, applied)| More { id, applied }.into()),
        fetch.prop_map(ClientMessage::from),
        (any::<u32>(), of(time())).prop_map(|(id, time)| Ping { id, time }.into()),
    ]
}

fn set() -> impl Strategy<Value = RecordSet> {
    let records = vec((any::<(u32, u32)>(), bytes()), 0..20);
    (vec(name(), 0..4), vec(sixteen(), 0..4), records).prop_map(
        |(collections, clients, records)| {
            let (heads, data) = records.into_iter().unzip();
            let clients = clients.into_iter().map(ClientId::from_bytes).collect();
            RecordSet {
                collections,
                clients,
                heads,
                data,
            }
        },
    )
}

fn page() -> impl Strategy<Value = Page> {
    let removal = (any::<u32>(), id(), seq()).prop_map(|(collection, id, seq)| Removal {
        collection,
        id,
        seq,
    });
    let rest = (of(name()), vec(removal, 0..4), of(bytes()));
    (
        any::<u32>(),
        sixteen(),
        any::<[u64; 3]>(),
        any::<bool>(),
        set(),
        rest,
    )
        .prop_map(
            |(id, epoch, mut places, resync, set, (joining, removals, digest))| {
                places.sort_unstable();
                let [start, end, head] = places.map(Seq::new);
                let epoch = Epoch::from_bytes(epoch);
                Page {
                    id,
                    epoch,
                    start,
                    end,
                    head,
                    resync,
                    joining,
                    set,
                    removals,
                    digest,
                }
            },
        )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let start = (sixteen(), seq()).prop_map(|(epoch, first)| EpochStart {
        epoch: Epoch::from_bytes(epoch),
        first,
    });
    let limits = any::<[u32; 6]>().prop_map(|limits| {
        let [
            document_bytes,
            message_bytes,
            nodes,
            levels,
            changes,
            pushes,
        ] = limits.map(|limit| limit as usize);
        ServerLimits {
            document_bytes,
            message_bytes,
            nodes,
            levels,
            changes,
            pushes,
        }
    });
    let numbers = (seq(), seq(), time(), number(), duration());
    let ids = (sixteen(), sixteen(), sixteen(), of(bytes()));
    (
        any::<u16>(),
        ".{0,40}",
        vec(start, 0..5),
        ids,
        numbers,
        limits,
        any::<bool>(),
    )
        .prop_map(|(version, user, epochs, ids, numbers, limits, is_new)| {
            let (lineage, epoch, session, rights) = ids;
            let (head, horizon, time, last_number, heartbeat) = numbers;
            Welcome {
                version,
                lineage: Lineage::from_bytes(lineage),
                user,
                epochs,
                epoch: Epoch::from_bytes(epoch),
                head,
                horizon,
                time,
                session: SessionToken::from_bytes(session),
                last_number,
                limits,
                heartbeat,
                rights,
                is_new,
            }
        })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let rejected =
        ("[a-z-]{1,20}", ".{0,100}", of(time())).prop_map(|(code, reason, server_time)| {
            Outcome::Rejected {
                code,
                reason,
                server_time,
            }
        });
    prop_oneof![
        seq().prop_map(|first| Outcome::Applied { first }),
        vec(seq(), 0..5).prop_map(|seqs| Outcome::Conflict { seqs }),
        rejected,
    ]
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let outcomes = (any::<u32>(), number(), vec(outcome(), 0..20), of(number())).prop_map(
        |(id, first, outcomes, gap)| Outcomes {
            id,
            first,
            outcomes,
            gap,
        },
    );
    let records =
        (any::<u32>(), sixteen(), seq(), set()).prop_map(|(id, epoch, head, set)| Records {
            id,
            epoch: Epoch::from_bytes(epoch),
            head,
            set,
        });
    let error = (
        of(any::<u32>()),
        "[a-z-]{1,20}",
        ".{0,100}",
        any::<[bool; 2]>(),
        of(duration()),
    )
        .prop_map(
            |(id, code, message, [retryable, fatal], retry_after)| ErrorMessage {
                id,
                code,
                message,
                retryable,
                retry_after,
                fatal,
            },
        );
    prop_oneof![
        welcome().prop_map(ServerMessage::from),
        outcomes.prop_map(ServerMessage::from),
        page().prop_map(ServerMessage::from),
        records.prop_map(ServerMessage::from),
        error.prop_map(ServerMessage::from),
        (any::<u32>(), seq(), time()).prop_map(|(id, head, time)| Pong { id, head, time }.into()),
    ]
}

fn revision() -> impl Strategy<Value = Revision> {
    (any::<u64>(), 0..4_u8).prop_map(|(hlc, by)| Revision::new(Hlc::from_bits(hlc), client(by)))
}

fn change() -> impl Strategy<Value = Change> {
    let kind = prop_oneof![
        ".{0,300}".prop_map(|text| ChangeKind::Put(body(&text))),
        Just(ChangeKind::Delete),
        Just(ChangeKind::Erase)
    ];
    (name(), id(), any::<u64>(), of(revision()), kind).prop_map(
        |(collection, id, hlc, base, kind)| Change {
            collection,
            id,
            rev: Revision::new(Hlc::from_bits(hlc), client(1)),
            base,
            kind,
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let state = prop_oneof![
        ".{0,300}".prop_map(|text| RecordState::Live(body(&text))),
        Just(RecordState::Deleted),
        Just(RecordState::Erased)
    ];
    (name(), id(), revision(), seq(), state).prop_map(|(collection, id, rev, seq, state)| Record {
        collection,
        id,
        rev,
        seq,
        state,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_message_survives_its_bytes(message in client_message()) {
        let frame = encode_client(&message);
        prop_assert_eq!(&decode_client(&frame, &WireLimits::default()), &Ok(message));
        prop_assert!(decode_server(&frame, &WireLimits::default()).is_err());
    }

    #[test]
    fn a_server_message_survives_its_bytes(message in server_message()) {
        let frame = encode_server(&message);
        prop_assert_eq!(&decode_server(&frame, &WireLimits::default()), &Ok(message));
        prop_assert!(decode_client(&frame, &WireLimits::default()).is_err());
    }

    #[test]
    fn mutations_survive_a_push(
        contents in vec(of(vec(change(), 0..6)), 0..10),
        first in 1..u64::MAX / 2,
    ) {
        let mutations: Vec<Mutation> = (first..)
            .zip(contents)
            .map(|(number, changes)| Mutation {
                number: MutationNumber::new(number),
                content: changes.map_or(MutationContent::Withdrawn, MutationContent::Changes),
            })
            .collect();
        let first = MutationNumber::new(first);
        let push = Push::build(1, client(1), first, MutationNumber::ZERO, &mutations).unwrap();
        let frame = encode_client(&push.into());
        let Ok(ClientMessage::Push(push)) = decode_client(&frame, &WireLimits::default()) else {
            panic!("it is a push");
        };
        let read = push.mutations(client(1), &DocumentLimits::default()).unwrap();
        let mutations: Vec<PushedMutation> = mutations.into_iter().map(Ok).collect();
        prop_assert_eq!(read, mutations);
    }

    #[test]
    fn records_survive_a_fetch(records in vec(record(), 0..20)) {
        let mut builder = PageBuilder::new(1 << 20);
        for record in &records {
            let encoded = EncodedRecord::encode(record);
            prop_assert_eq!(&encoded.decode().unwrap(), record);
            prop_assert!(builder.push(&encoded));
        }
        let promised = builder.bytes();
        let set = builder.finish();
        let epoch = Epoch::from_bytes([9; 16]);
        let message = Records { id: 1, epoch, head: Seq::ZERO, set };
        let frame = encode_server(&message.into());
        prop_assert!(frame.len() <= promised, "{} bytes, {promised} promised", frame.len());
        let Ok(ServerMessage::Records(read)) = decode_server(&frame, &WireLimits::default()) else {
            panic!("it is an answer to a fetch");
        };
        prop_assert_eq!(read.records().unwrap(), records);
    }
}
