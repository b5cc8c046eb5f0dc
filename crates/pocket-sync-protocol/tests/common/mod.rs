//! What the tests of the protocol share.
#![allow(dead_code, reason = "each test file uses its own part")]

use bytes::Bytes;
use pocket_sync_protocol::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, DocumentLimits, Hlc, Mutation,
    MutationContent, MutationNumber, Revision,
};

/// The client of the examples.
pub(crate) fn client(byte: u8) -> ClientId {
    ClientId::from_bytes([byte; 16])
}

/// A collection's name.
pub(crate) fn collection(name: &str) -> CollectionName {
    CollectionName::new(name).unwrap()
}

/// A document's id.
pub(crate) fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

/// A revision of the millisecond `millis`.
pub(crate) fn rev(millis: u64, by: u8) -> Revision {
    Revision::new(Hlc::from_bits(millis << 16), client(by))
}

/// A body with one field, `t`, of this text.
pub(crate) fn body(text: &str) -> Body {
    let mut bytes = Vec::new();
    rmp::encode::write_map_len(&mut bytes, 1).unwrap();
    rmp::encode::write_str(&mut bytes, "t").unwrap();
    rmp::encode::write_str(&mut bytes, text).unwrap();
    Body::from_msgpack(Bytes::from(bytes), &DocumentLimits::default()).unwrap()
}

/// A body of exactly `len` bytes.
pub(crate) fn body_of(len: usize) -> Body {
    let fits = |text: usize| body(&"x".repeat(text)).len();
    let text = (0..len)
        .rev()
        .find(|text| fits(*text) == len)
        .expect("some text fits");
    body(&"x".repeat(text))
}

/// A change by client 1.
pub(crate) fn change(name: &str, millis: u64, base: Option<Revision>, kind: ChangeKind) -> Change {
    Change {
        collection: collection("todos"),
        id: id(name),
        rev: rev(millis, 1),
        base,
        kind,
    }
}

/// A mutation of these changes.
pub(crate) fn mutation(number: u64, changes: Vec<Change>) -> Mutation {
    Mutation {
        number: MutationNumber::new(number),
        content: MutationContent::Changes(changes),
    }
}
