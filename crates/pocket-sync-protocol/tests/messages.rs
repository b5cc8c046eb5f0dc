//! What pushes and pages promise beyond their bytes.
#![allow(clippy::unwrap_used, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;

use common::{body, body_of, change, client, collection, id, mutation, rev};
use pocket_sync_protocol::codes::rejection as rejected;
use pocket_sync_protocol::*;

const ID: &str = "0198f1a2-7c3d-7e4f-8a5b-6c7d8e9f0a1b";

fn push(mutations: &[Mutation]) -> Push {
    let first = mutations[0].number;
    Push::build(1, client(1), first, MutationNumber::ZERO, mutations).unwrap()
}

fn record(place: u64, state: RecordState) -> Record {
    Record {
        collection: collection("todos"),
        id: id("milk"),
        rev: rev(1_785_000_000_000, 2),
        seq: Seq::new(place),
        state,
    }
}

fn page(start: u64, end: u64, records: &[Record]) -> Page {
    let mut builder = PageBuilder::new(1 << 20);
    for record in records {
        assert!(builder.push(&EncodedRecord::encode(record)));
    }
    Page {
        id: 1,
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::new(start),
        end: Seq::new(end),
        head: Seq::new(end),
        resync: false,
        joining: None,
        set: builder.finish(),
        removals: Vec::new(),
        digest: None,
    }
}

#[test]
fn a_push_holds_only_its_own_clients_contiguous_mutations() {
    let one = MutationNumber::new(1);
    let foreign = Change {
        rev: rev(5, 2),
        ..change("a", 5, None, ChangeKind::Delete)
    };
    let build = |mutations: &[Mutation]| {
        Push::build(1, client(1), one, MutationNumber::ZERO, mutations).map(|_| ())
    };
    assert!(build(&[mutation(1, vec![foreign])]).is_err());
    assert!(build(&[mutation(1, vec![]), mutation(3, vec![])]).is_err());
    assert!(build(&[mutation(2, vec![])]).is_err());
    assert_eq!(build(&[mutation(1, vec![]), mutation(2, vec![])]), Ok(()));
}

#[test]
fn a_bad_name_id_or_body_costs_only_its_own_mutation() {
    let put = |number: u64| {
        let kind = ChangeKind::Put(body("x"));
        mutation(number, vec![change(&number.to_string(), 9, None, kind)])
    };
    let mut push = push(&[put(10), put(11), put(12), put(13), put(14), put(15)]);
    push.collections.push("_system".into());
    let mut edit = |place: usize, edit: fn(&mut PushChange)| {
        let PushContent::Changes(changes) = &mut push.mutations[place] else {
            panic!("it has changes");
        };
        edit(&mut changes[0]);
    };
    edit(1, |change| change.id = String::new());
    edit(2, |change| change.collection = 1);
    edit(3, |change| {
        change.kind = PushChangeKind::Put(Bytes::from_static(b"\xc1"));
    });
    edit(4, |change| {
        change.kind = PushChangeKind::Put(body_of(2_000).into_bytes());
    });
    let limits = DocumentLimits::default().with_bytes(1_000);
    let read = push.mutations(client(1), &limits).unwrap();
    let codes: Vec<_> = read
        .iter()
        .map(|mutation| {
            mutation
                .as_ref()
                .err()
                .map(|bad| (bad.number.get(), bad.code))
        })
        .collect();
    assert_eq!(
        codes,
        [
            None,
            Some((11, rejected::BAD_ID)),
            Some((12, rejected::BAD_COLLECTION_NAME)),
            Some((13, rejected::VALIDATION)),
            Some((14, rejected::DOCUMENT_TOO_LARGE)),
            None
        ]
    );
}

#[test]
fn an_index_that_points_nowhere_costs_the_connection_even_behind_a_bad_id() {
    let changes = vec![
        change("a", 9, None, ChangeKind::Delete),
        change("b", 9, Some(rev(8, 2)), ChangeKind::Delete),
    ];
    let whole = push(&[mutation(1, changes)]);
    let edited = |edit: fn(&mut [PushChange])| {
        let mut push = whole.clone();
        let PushContent::Changes(changes) = &mut push.mutations[0] else {
            panic!("it has changes");
        };
        edit(changes);
        push.mutations(client(1), &DocumentLimits::default())
            .map(|_| ())
    };
    assert_eq!(edited(|_| {}), Ok(()));
    let error = edited(|changes| {
        changes[0].id = String::new();
        changes[1].collection = 7;
    });
    assert_eq!(error.unwrap_err().code(), codes::BAD_FRAME);
    let error = edited(|changes| {
        changes[1].base = Some(TableBase {
            hlc: Hlc::ZERO,
            client: u32::MAX,
        });
    });
    assert_eq!(error.unwrap_err().code(), codes::BAD_FRAME);
}

#[test]
fn numbers_that_leave_their_range_are_refused() {
    let mut push = push(&[mutation(1, vec![]), mutation(2, vec![])]);
    push.first = MutationNumber::new(u64::MAX);
    let error = push
        .mutations(client(1), &DocumentLimits::default())
        .unwrap_err();
    assert_eq!(error.code(), codes::BAD_FRAME);
}

#[test]
fn the_bodies_of_a_decoded_push_and_page_are_slices_of_their_frame() {
    let within = |frame: &Bytes, bytes: &[u8]| {
        frame.as_ptr_range().contains(&bytes.as_ptr())
            && bytes.as_ptr_range().end <= frame.as_ptr_range().end
    };
    let kind = ChangeKind::Put(body_of(200));
    let frame = encode_client(&push(&[mutation(1, vec![change("a", 9, None, kind)])]).into());
    let Ok(ClientMessage::Push(read)) = decode_client(&frame, &WireLimits::default()) else {
        panic!("it is a push");
    };
    let read = read
        .mutations(client(1), &DocumentLimits::default())
        .unwrap();
    let put = read[0].as_ref().unwrap().changes()[0]
        .kind
        .body()
        .unwrap()
        .as_bytes();
    assert!(within(&frame, put));

    let frame = encode_server(&page(0, 1, &[record(1, RecordState::Live(body_of(200)))]).into());
    let Ok(ServerMessage::Page(read)) = decode_server(&frame, &WireLimits::default()) else {
        panic!("it is a page");
    };
    assert!(within(
        &frame,
        read.records().unwrap()[0].state.body().unwrap().as_bytes()
    ));
}

#[test]
fn records_of_a_page_out_of_place_or_order_are_refused() {
    let deleted = |place| record(place, RecordState::Deleted);
    let read = |start, end, places: &[u64]| {
        let records: Vec<_> = places.iter().map(|place| deleted(*place)).collect();
        page(start, end, &records)
            .records()
            .map(|records| records.len())
    };
    assert_eq!(read(4, 9, &[5, 7, 9]), Ok(3));
    for places in [[4, 5], [5, 5], [7, 6], [9, 10]] {
        assert_eq!(
            read(4, 9, &places).unwrap_err().code(),
            codes::BAD_FRAME,
            "{places:?}"
        );
    }
}

#[test]
fn a_page_that_runs_backwards_or_past_the_head_is_refused() {
    for (start, end, head) in [(5, 4, 9), (4, 5, 4)] {
        let mut page = page(0, 0, &[]);
        (page.start, page.end, page.head) = (Seq::new(start), Seq::new(end), Seq::new(head));
        let frame = encode_server(&page.into());
        let error = decode_server(&frame, &WireLimits::default()).unwrap_err();
        assert_eq!(error.code(), codes::BAD_FRAME);
    }
}

#[test]
fn a_page_stops_at_the_message_limit_but_always_takes_one_record() {
    let small = EncodedRecord::encode(&record(1, RecordState::Live(body_of(1_000))));
    let mut builder = PageBuilder::new(10_000);
    while builder.push(&small) {}
    assert!(builder.bytes() <= 10_000);
    assert_eq!(builder.len(), 9);

    let mut builder = PageBuilder::new(100);
    assert!(
        builder.push(&small),
        "a page without progress would be asked for again and again"
    );
    assert!(!builder.push(&small));
    assert_eq!(builder.finish().decode().unwrap().len(), 1);
}

#[test]
fn a_record_with_a_critical_later_field_is_refused() {
    let whole = EncodedRecord::encode(&record(1, RecordState::Deleted));
    let mut bytes = whole.bytes[..whole.bytes.len() - 1].to_vec();
    bytes.extend_from_slice(b"\x81\xa2!x\x01");
    let changed = EncodedRecord {
        bytes: bytes.clone().into(),
        ..whole.clone()
    };
    assert_eq!(changed.decode().unwrap_err().code(), codes::CRITICAL_FIELD);
    let place = bytes.len() - 2;
    bytes[place - 1] = b'y';
    let changed = EncodedRecord {
        bytes: bytes.into(),
        ..whole
    };
    assert_eq!(changed.decode(), Ok(record(1, RecordState::Deleted)));
}

#[test]
fn a_message_too_long_for_its_receiver_is_cut_between_characters() {
    let error = ErrorMessage {
        id: None,
        code: codes::INTERNAL.into(),
        message: format!("x{}", "ß".repeat(limits::MAX_TEXT_BYTES)),
        retryable: true,
        retry_after: None,
        fatal: false,
    };
    let frame = encode_server(&error.into());
    let Ok(ServerMessage::Error(error)) = decode_server(&frame, &WireLimits::default()) else {
        panic!("it is an error");
    };
    assert_eq!(error.message.len(), limits::MAX_TEXT_BYTES - 1);
}

/// What one document of 200 bytes costs on the wire, beside its body and its id.
fn overhead(frame: &Bytes, documents: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let ratio = frame.len() as f64 / (documents * (200 + ID.len())) as f64;
    ratio
}

#[test]
fn the_wire_costs_at_most_fifteen_percent_beside_documents_of_200_bytes() {
    for base in [None, Some(rev(1_784_999_999_999, 2))] {
        let kind = || ChangeKind::Put(body_of(200));
        let mutations: Vec<_> = (1_000_000..1_000_100)
            .map(|number| mutation(number, vec![change(ID, 1_785_000_000_000, base, kind())]))
            .collect();
        let frame = encode_client(&push(&mutations).into());
        let ratio = overhead(&frame, mutations.len());
        println!("push of 100, base {}: {ratio:.3}", base.is_some());
        assert!(ratio <= 1.15, "{ratio}");
    }
    let records: Vec<_> = (1_000_001..1_000_101)
        .map(|place| {
            let state = RecordState::Live(body_of(200));
            Record {
                id: id(ID),
                ..record(place, state)
            }
        })
        .collect();
    let frame = encode_server(&page(1_000_000, 1_000_100, &records).into());
    let ratio = overhead(&frame, records.len());
    println!("page of 100: {ratio:.3}");
    assert!(ratio <= 1.15, "{ratio}");
}

#[test]
fn digests_come_back_and_those_of_an_unknown_kind_say_nothing() {
    let digest = Digest::from_bytes([7; Digest::BYTES]);
    let digests = BTreeMap::from([(collection("notes"), digest)]);
    let with = |bytes: &[u8]| Page {
        digest: Some(Bytes::copy_from_slice(bytes)),
        ..page(4, 5, &[])
    };
    let bytes = Page::encode_digests(&digests);
    assert_eq!(with(&bytes).digests().unwrap(), Some(digests));
    assert_eq!(page(4, 5, &[]).digests().unwrap(), None);
    // Another kind, with whatever it holds, and none at all.
    assert_eq!(with(&[0x92, 2, 0xa1, b'x']).digests().unwrap(), None);
    assert_eq!(with(&[0x90]).digests().unwrap(), None);
    for cut in 2..bytes.len() {
        assert!(with(&bytes[..cut]).digests().is_err(), "{cut}");
    }
    // A digest of another length, and two of one collection.
    assert!(
        with(b"\x93\x01\x91\x92\xa1n\xc4\x01\x07\xc0")
            .digests()
            .is_err()
    );
    let one = &bytes[3..bytes.len() - 1];
    let twice = [&[0x93, 1, 0x92], one, one, &[0xc0]].concat();
    assert!(with(&twice).digests().is_err());
}
