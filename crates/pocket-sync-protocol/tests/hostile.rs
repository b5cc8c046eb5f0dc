//! Frames that somebody sends to do harm: refused with a code, whatever they are.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

mod common;

use bytes::Bytes;
use common::{body, change, client, collection, id, mutation, rev};
use pocket_sync_protocol::*;
use proptest::prelude::*;

/// Reads `frame` in every way there is. Nothing may panic; whether it is refused is the answer.
fn read(frame: &Bytes) -> Result<(), ProtocolError> {
    let limits = WireLimits::default();
    let from_client = decode_client(frame, &limits).and_then(|message| match message {
        ClientMessage::Push(push) => push
            .mutations(client(1), &DocumentLimits::default())
            .map(|_| ()),
        _ => Ok(()),
    });
    let from_server = decode_server(frame, &limits).and_then(|message| match message {
        ServerMessage::Page(page) => page.records().and(page.removals()).map(|_| ()),
        ServerMessage::Records(records) => records.records().map(|_| ()),
        _ => Ok(()),
    });
    from_client.or(from_server)
}

fn refused(frame: impl Into<Bytes>) -> ProtocolError {
    let frame = frame.into();
    let limits = WireLimits::default();
    let error = decode_client(&frame, &limits).expect_err("it is refused as a client's");
    assert_eq!(
        decode_server(&frame, &limits)
            .expect_err("and as a server's")
            .code(),
        error.code()
    );
    error
}

/// `{"push": {"m": <value>}}`.
fn push_of(value: &[u8]) -> Vec<u8> {
    [b"\x81\xa4push\x81\xa1m".as_slice(), value].concat()
}

fn valid_frames() -> Vec<Bytes> {
    let put = change("milk", 9, Some(rev(8, 2)), ChangeKind::Put(body("Milk")));
    let first = MutationNumber::new(4);
    let push = Push::build(1, client(1), first, first, &[mutation(4, vec![put])]).unwrap();
    let mut builder = PageBuilder::new(4096);
    let record = Record {
        collection: collection("todos"),
        id: id("milk"),
        rev: rev(9, 1),
        seq: Seq::new(5),
        state: RecordState::Live(body("Milk")),
    };
    assert!(builder.push(&EncodedRecord::encode(&record)));
    let page = Page {
        id: 1,
        epoch: Epoch::from_bytes([3; 16]),
        start: Seq::new(4),
        end: Seq::new(5),
        head: Seq::new(5),
        resync: false,
        joining: None,
        set: builder.finish(),
        removals: Vec::new(),
        digest: None,
    };
    vec![
        encode_client(&push.into()),
        encode_client(&Ping { id: 1, time: None }.into()),
        encode_server(&page.into()),
    ]
}

#[test]
fn lengths_that_are_claimed_but_not_there_are_refused() {
    let claims: [&[u8]; 6] = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\xff",
        b"\xdc\xff\xff",
    ];
    for claim in claims {
        assert_eq!(refused(push_of(claim)).code(), codes::BAD_FRAME);
        assert_eq!(refused(claim.to_vec()).code(), codes::BAD_FRAME);
    }
}

#[test]
fn three_thousand_levels_are_refused() {
    let mut deep = vec![0x91; 3_000];
    deep.push(0xc0);
    assert_eq!(refused(push_of(&deep)).code(), codes::BAD_FRAME);
    let maps: Vec<u8> = b"\x81\xa1x".repeat(3_000);
    assert_eq!(refused(maps).code(), codes::BAD_FRAME);
}

#[test]
fn two_hundred_thousand_nils_are_refused() {
    let mut nils = vec![0xdd];
    nils.extend_from_slice(&200_000_u32.to_be_bytes());
    nils.resize(nils.len() + 200_000, 0xc0);
    assert_eq!(refused(push_of(&nils)).code(), codes::BAD_FRAME);
}

#[test]
fn a_frame_over_the_limit_is_refused_before_it_is_looked_at() {
    let error = refused(vec![0xff; limits::DEFAULT_MESSAGE_BYTES + 1]);
    assert_eq!(error.code(), codes::TOO_LARGE);
    assert_eq!(error.close_code(), codes::close::TOO_LARGE);
}

#[test]
fn other_languages_are_refused() {
    let frames: [&[u8]; 7] = [
        br#"{"push":{"i":1}}"#,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
        b"\xc1",
        b"\x80",
        b"\x81\xc0\x80",
    ];
    for frame in frames {
        let error = refused(frame.to_vec());
        assert_eq!(error.code(), codes::BAD_FRAME, "{error}");
        assert_eq!(error.close_code(), codes::close::BAD_FRAME);
    }
}

#[test]
fn more_changes_than_any_push_may_hold_are_refused() {
    let count = limits::MAX_FRAME_CHANGES as u64 + 1;
    let withdrawn = |number| Mutation {
        number: MutationNumber::new(number),
        content: MutationContent::Withdrawn,
    };
    let mutations: Vec<_> = (1..=count).map(withdrawn).collect();
    let build = |mutations: &[Mutation]| {
        Push::build(
            1,
            client(1),
            MutationNumber::new(1),
            MutationNumber::ZERO,
            mutations,
        )
    };
    assert_eq!(build(&mutations).unwrap_err().code(), codes::TOO_LARGE);
    let mut push = build(&mutations[..mutations.len() - 1]).unwrap();
    push.mutations.push(PushContent::Withdrawn);
    let frame = encode_client(&push.into());
    let error = decode_client(&frame, &WireLimits::default()).unwrap_err();
    assert_eq!(error.code(), codes::TOO_LARGE);
}

#[test]
fn the_fullest_push_and_page_stay_within_the_limits_of_a_frame() {
    let mutations: Vec<Mutation> = (1..=limits::MAX_FRAME_CHANGES as u64)
        .map(|number| {
            let mut change = change(&number.to_string(), 9, Some(rev(8, 2)), ChangeKind::Delete);
            change.collection = collection(&format!("c{number}"));
            change.base = Some(Revision::new(
                Hlc::from_bits(u64::MAX),
                ClientId::from_bytes(u128::from(number).to_be_bytes()),
            ));
            mutation(number, vec![change])
        })
        .collect();
    let first = MutationNumber::new(1);
    let push = Push::build(1, client(1), first, MutationNumber::ZERO, &mutations).unwrap();
    let frame = encode_client(&push.clone().into());
    assert_eq!(
        decode_client(&frame, &WireLimits::default()),
        Ok(push.into())
    );

    let mut builder = PageBuilder::new(limits::DEFAULT_MESSAGE_BYTES);
    for mutation in &mutations {
        let change = &mutation.changes()[0];
        let record = Record {
            collection: change.collection.clone(),
            id: change.id.clone(),
            rev: change.base.expect("each has one"),
            seq: Seq::new(mutation.number.get()),
            state: RecordState::Deleted,
        };
        assert!(builder.push(&EncodedRecord::encode(&record)));
    }
    let set = builder.finish();
    let records = Records {
        id: 1,
        epoch: Epoch::from_bytes([1; 16]),
        head: Seq::ZERO,
        set,
    };
    let frame = encode_server(&records.clone().into());
    assert_eq!(
        decode_server(&frame, &WireLimits::default()),
        Ok(records.into())
    );
}

/// A deleted record up to the value of a later field.
const DEEP_LATER: &[u8] = b"\x96\x05\xa1a\x01\x01\xc0\x81\xa1x";

#[test]
fn a_deep_later_field_of_a_record_is_skipped_without_recursion() {
    let mut bytes = DEEP_LATER.to_vec();
    bytes.resize(bytes.len() + 3_000_000, 0x91);
    bytes.push(0xc0);
    let record = EncodedRecord {
        collection: collection("todos"),
        client: client(1),
        seq: Seq::new(5),
        bytes: bytes.into(),
    };
    assert_eq!(record.decode().unwrap().state, RecordState::Deleted);
}

#[test]
fn a_hostile_record_inside_an_honest_page_is_refused() {
    let mut deep = DEEP_LATER.to_vec();
    deep.resize(deep.len() + 3_000, 0x91);
    let records: [&[u8]; 8] = [
        b"\xdd\xff\xff\xff\xff",
        b"\x96\x05\xdb\xff\xff\xff\xff",
        b"\x96\x05\xa1a\x01\x00\xc6\xff\xff\xff\xff",
        b"\x96\x05\xa1a\x01\x00\xc4\x01\xc1\xc0",
        b"\x96\x05\xa1a\x01\x01\xc0\xdf\xff\xff\xff\xff",
        b"\x96\x05\xa1a\x01\x07\xc0\xc0",
        b"",
        &deep,
    ];
    for bytes in records {
        let set = RecordSet {
            collections: vec![collection("todos")],
            clients: vec![client(1)],
            heads: vec![(0, 0)],
            data: vec![Bytes::copy_from_slice(bytes)],
        };
        let epoch = Epoch::from_bytes([1; 16]);
        let frame = encode_server(
            &Records {
                id: 1,
                epoch,
                head: Seq::ZERO,
                set,
            }
            .into(),
        );
        let Ok(ServerMessage::Records(records)) = decode_server(&frame, &WireLimits::default())
        else {
            panic!("the page around it is honest");
        };
        assert_eq!(
            records.records().unwrap_err().code(),
            codes::BAD_FRAME,
            "{bytes:02x?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&Bytes::from(bytes)).is_err());
    }

    #[test]
    fn random_bytes_behind_an_honest_beginning_never_panic(
        which in 0..3_usize,
        keep in 0..400_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let frame = &valid_frames()[which];
        let mut changed = frame[..keep.min(frame.len())].to_vec();
        changed.extend_from_slice(&bytes);
        let _ = read(&Bytes::from(changed));
    }

    #[test]
    fn a_flipped_byte_never_panics(which in 0..3_usize, place: usize, byte: u8) {
        let mut changed = valid_frames()[which].to_vec();
        let place = place % changed.len();
        changed[place] = byte;
        let _ = read(&Bytes::from(changed));
    }

    #[test]
    fn a_cut_frame_is_refused(which in 0..3_usize, keep: usize) {
        let frame = &valid_frames()[which];
        let keep = keep % frame.len();
        prop_assert_eq!(read(&frame.slice(..keep)).unwrap_err().code(), codes::BAD_FRAME);
    }
}
