//! Values of a server's store as released versions wrote them. They must stay readable for ever.
//!
//! `fixtures/store-1.txt` has a line for each key and value, in hexadecimal. It is never written anew: a change of
//! format adds another file and keeps this one. In the second, deletions have keys of their own. With
//! `POCKET_WRITE_FIXTURE=path` the test writes what the present program would store.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fmt::Write as _;
use std::sync::Arc;

use common::{Writer, engine, key, ns, rev};
use futures_util::FutureExt;
use pocket_core::{
    Change, ChangeKind, Mutation, MutationContent, MutationNumber, Outcome, RecordState, Seq,
};
use pocket_storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::BadMutation;
use pocket_sync_server::Engine;
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::ReadRequest;

const FIXTURES: [&str; 2] = [
    include_str!("fixtures/store-1.txt"),
    include_str!("fixtures/store-2.txt"),
];

fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("nothing waits on a store in memory")
}

/// A push with each kind of change and each kind of outcome.
fn push(writer: &Writer) -> PushRequest {
    let change = |name: &str, counter, base, kind| {
        let key = key(name);
        Change {
            collection: key.collection,
            id: key.id,
            rev: rev(counter, 1),
            base,
            kind,
        }
    };
    let put = |name: &str| ChangeKind::Put(common::body(name));
    let contents = vec![
        MutationContent::Changes(vec![
            change("live", 1, None, put("live")),
            change("notes/ü", 2, None, put("ü")),
        ]),
        MutationContent::Changes(vec![change("deleted", 3, None, put("deleted"))]),
        MutationContent::Changes(vec![change(
            "deleted",
            4,
            Some(rev(3, 1)),
            ChangeKind::Delete,
        )]),
        MutationContent::Changes(vec![change("erased", 5, None, ChangeKind::Erase)]),
        MutationContent::Withdrawn,
        MutationContent::Changes(vec![change("live", 6, None, put("again"))]),
    ];
    let mut mutations: Vec<_> = (1..)
        .zip(contents)
        .map(|(number, content)| {
            Ok(Mutation {
                number: MutationNumber::new(number),
                content,
            })
        })
        .collect();
    let number = MutationNumber::new(7);
    mutations.push(Err(BadMutation {
        number,
        code: "bad-id",
        reason: "the id is empty".to_owned(),
    }));
    PushRequest {
        user: "ann".into(),
        client: common::client(1),
        session: writer.session,
        confirmed: MutationNumber::ZERO,
        first: MutationNumber::new(1),
        mutations,
        bytes: 0,
        authority: pocket_sync_server::rules::Authority::open(),
    }
}

fn outcomes() -> Vec<Outcome> {
    let applied = |first| Outcome::Applied {
        first: Seq::new(first),
    };
    vec![
        applied(1),
        applied(3),
        applied(4),
        applied(5),
        applied(0),
        Outcome::Conflict {
            seqs: vec![Seq::new(1)],
        },
        Outcome::Rejected {
            code: "bad-id".to_owned(),
            reason: "the id is empty".to_owned(),
            server_time: None,
        },
    ]
}

fn entries(store: &MemoryStorage) -> Vec<(Vec<u8>, bytes::Bytes)> {
    let limit = ScanLimit::entries(1_000);
    now(store.scan(KeyRange::all(), limit, Direction::Forward)).unwrap()
}

fn write_present(path: &str) {
    let store = MemoryStorage::new();
    let engine = common::engine_with(
        Arc::new(store.clone()),
        7,
        pocket_sync_server::Limits::default(),
    );
    let writer = Writer::attach(&engine, 1);
    let answer = now(engine.commit(&ns(), &[push(&writer)]))
        .unwrap()
        .answers
        .remove(0);
    assert_eq!(answer.outcomes, outcomes());
    let mut text = String::new();
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    };
    for (key, value) in entries(&store) {
        writeln!(text, "{} {}", hex(&key), hex(&value)).unwrap();
    }
    std::fs::write(path, text).unwrap();
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn a_store_written_by_each_version_opens_and_goes_on() {
    if let Ok(path) = std::env::var("POCKET_WRITE_FIXTURE") {
        write_present(&path);
    }
    FIXTURES.into_iter().for_each(opens_and_goes_on);
}

fn opens_and_goes_on(fixture: &str) {
    let store = MemoryStorage::new();
    let mut batch = Batch::new();
    for line in fixture.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        batch.put(unhex(key), unhex(value));
    }
    now(store.commit(batch, Durability::PowerLoss)).unwrap();

    let engine = engine(Arc::new(store));
    let request = ReadRequest {
        after: Seq::ZERO,
        until: None,
        live_until: None,
        told: Seq::ZERO,
        collections: Arc::default(),
        records: 100,
        bytes: 100_000,
        authority: pocket_sync_server::rules::Authority::open(),
        digests: false,
    };
    let page = now(engine.changes(&ns(), &request)).unwrap();
    let found: Vec<_> = page
        .records
        .iter()
        .map(|record| record.decode().unwrap())
        .collect();
    let seen: Vec<_> = found
        .iter()
        .map(|record| {
            (
                record.id.as_str(),
                record.seq.get(),
                record.rev,
                record.state.clone(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (
                "live",
                1,
                rev(1, 1),
                RecordState::Live(common::body("live"))
            ),
            ("ü", 2, rev(2, 1), RecordState::Live(common::body("ü"))),
            ("deleted", 4, rev(4, 1), RecordState::Deleted),
            ("erased", 5, rev(5, 1), RecordState::Erased),
        ]
    );
    // The client comes back with the token of the welcome it had, and its outcomes are still known.
    let token = unhex(FIXTURE_TOKEN).try_into().unwrap();
    let presented = Some(pocket_core::SessionToken::from_bytes(token));
    let request = pocket_sync_server::engine::AttachRequest {
        user: "ann".into(),
        client: common::client(1),
        presented,
        unless_new: None,
    };
    let attached = now(engine.attach(&ns(), &request)).unwrap();
    assert_eq!((attached.last.get(), attached.log.epochs.len()), (7, 2));
    let mut writer = Writer::attach(&engine, 2);
    (writer.session, writer.attached) = (attached.session, attached);
    let answer = now(engine.commit(&ns(), &[push(&writer)]))
        .unwrap()
        .answers
        .remove(0);
    assert_eq!(answer.outcomes, outcomes());
    assert!(answer.written.is_empty());
}

/// The session token of the fixture's client.
const FIXTURE_TOKEN: &str = "00000007000000020000000700000002";
