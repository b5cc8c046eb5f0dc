//! What the scripted server says.

use std::time::Duration;

use bytes::Bytes;
use pocket_core::{
    Body, ClientId, CollectionName, DocumentId, DocumentLimits, Epoch, Hlc, Lineage, Map,
    MutationNumber, Outcome, Record, RecordState, Revision, Seq, SessionToken, Timestamp, Value,
};
use pocket_sync_protocol::{
    EncodedRecord, EpochStart, ErrorMessage, Fetch, Outcomes, Page, PageBuilder, Pong, Pull, Push,
    Records, ServerLimits, Welcome,
};

use super::HEARTBEAT;

pub(crate) fn document(id: &str, text: &str) -> Value {
    let mut map = Map::new();
    map.insert("_id".to_owned(), Value::String(id.to_owned()));
    map.insert("text".to_owned(), Value::String(text.to_owned()));
    Value::Map(map)
}

pub(crate) fn epoch(number: u8) -> Epoch {
    Epoch::from_bytes([number; 16])
}

pub(crate) fn number(number: u64) -> MutationNumber {
    MutationNumber::new(number)
}

pub(crate) fn seq(place: u64) -> Seq {
    Seq::new(place)
}

/// The welcome of a server that has nothing.
pub(crate) fn welcome() -> Welcome {
    Welcome {
        version: 1,
        lineage: Lineage::from_bytes([1; 16]),
        user: "ann".to_owned(),
        epochs: vec![EpochStart {
            epoch: epoch(1),
            first: seq(1),
        }],
        epoch: epoch(1),
        head: Seq::ZERO,
        horizon: Seq::ZERO,
        time: Timestamp::from_millis(1_700_000_000_000),
        session: SessionToken::from_bytes([9; 16]),
        last_number: MutationNumber::ZERO,
        limits: ServerLimits::default(),
        heartbeat: Duration::from_millis(HEARTBEAT),
        rights: None,
        is_new: false,
    }
}

/// The welcome of a server that has given places up to `head` and answered numbers up to `last`.
pub(crate) fn welcome_at(head: u64, last: u64) -> Welcome {
    Welcome {
        head: seq(head),
        last_number: number(last),
        ..welcome()
    }
}

pub(crate) fn applied(push: &Push, first_place: u64) -> Outcomes {
    let outcomes = (0..push.mutations.len() as u64).map(|at| Outcome::Applied {
        first: seq(first_place + at),
    });
    Outcomes {
        id: push.id,
        first: push.first,
        outcomes: outcomes.collect(),
        gap: None,
    }
}

pub(crate) fn pong(id: u32, head: u64) -> Pong {
    Pong {
        id,
        head: seq(head),
        time: Timestamp::from_millis(1_700_000_000_000),
    }
}

pub(crate) fn error(id: Option<u32>, code: &str, retryable: bool, fatal: bool) -> ErrorMessage {
    ErrorMessage {
        id,
        code: code.to_owned(),
        message: code.to_owned(),
        retryable,
        retry_after: None,
        fatal,
    }
}

/// A record of another client at `place`.
pub(crate) fn record(id: &str, place: u64) -> Record {
    record_in("todos", id, place)
}

pub(crate) fn record_in(collection: &str, id: &str, place: u64) -> Record {
    let Value::Map(mut map) = document(id, "remote") else {
        unreachable!("a document is a map")
    };
    map.remove("_id");
    Record {
        collection: CollectionName::new(collection).expect("a good name"),
        id: DocumentId::new(id).expect("a good id"),
        rev: Revision::new(
            Hlc::from_bits((1_700_000_000_000 << 16) + place),
            ClientId::from_bytes([77; 16]),
        ),
        seq: seq(place),
        state: RecordState::Live(
            Body::from_map(&map, &DocumentLimits::default()).expect("a good body"),
        ),
    }
}

/// A page from behind `start` to `end`.
pub(crate) fn page(pull: &Pull, start: u64, end: u64, head: u64, records: &[Record]) -> Page {
    let mut builder = PageBuilder::new(4 << 20);
    for record in records {
        assert!(builder.push(&EncodedRecord::encode(record)));
    }
    Page {
        id: pull.id,
        epoch: epoch(1),
        start: seq(start),
        end: seq(end),
        head: seq(head),
        resync: false,
        joining: pull.collections.first().cloned(),
        set: builder.finish(),
        removals: Vec::new(),
        digest: None,
    }
}

/// The answer to a fetch.
pub(crate) fn records(fetch: &Fetch, head: u64, records: &[Record]) -> Records {
    let mut builder = PageBuilder::new(4 << 20);
    for record in records {
        assert!(builder.push(&EncodedRecord::encode(record)));
    }
    Records {
        id: fetch.id,
        epoch: epoch(1),
        head: seq(head),
        set: builder.finish(),
    }
}

/// Bytes that are no message.
pub(crate) fn garbage() -> Bytes {
    Bytes::from_static(b"\xc1\xff\x00")
}
