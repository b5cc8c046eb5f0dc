//! The keys of a database. Nothing else builds one; `docs/storage-layout.md` describes them.
//!
//! The first byte names the kind. Numbers are big-endian, so keys sort as their numbers do; ids come last, so no id
//! crosses into another collection.

use pocket_storage::KeyRange;

use crate::{CollectionName, DocumentId, MutationNumber, Place};

/// A collection's number inside one database, made with it and never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CollectionId(pub(crate) u32);

/// One server that a database syncs with. There is one today; keys leave room for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(u32);

impl Target {
    /// The one there is.
    pub const DEFAULT: Self = Self(0);

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// `m:database`: name, client id, schema version.
pub(crate) const DATABASE: &[u8] = b"m:database";
/// `m:state`: counters and clock; each commit checks and replaces it.
pub(crate) const STATE: &[u8] = b"m:state";

const COLLECTION: u8 = b'c';
const DOCUMENT: u8 = b'd';
const OUTBOX: u8 = b'o';
const OUTBOX_BODY: u8 = b'b';
const NUMBER: u8 = b'n';
const WAITING: u8 = b'w';
const QUESTION: u8 = b'q';
const SHADOW: u8 = b's';
const TARGET: u8 = b't';
const JOURNAL: u8 = b'j';
const JOURNAL_BODY: u8 = b'k';
const INDEX: u8 = b'x';
const INDEX_ENTRY: u8 = b'i';

/// Which body of a change a value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyOf {
    /// The change's own.
    Local = 0,
    /// That of the version it was made on.
    Base = 1,
    /// That of the server (journal only).
    Remote = 2,
}

/// `c` name: the settings of a collection.
pub(crate) fn collection(name: &CollectionName) -> Vec<u8> {
    [&[COLLECTION], name.as_str().as_bytes()].concat()
}

/// The name in a key of [`collections`]; none in any other key.
pub(crate) fn collection_name(key: &[u8]) -> Option<&str> {
    let name = key.strip_prefix(&[COLLECTION])?;
    std::str::from_utf8(name).ok()
}

/// All collections, by name.
pub(crate) fn collections() -> KeyRange {
    KeyRange::prefix([COLLECTION])
}

/// `d` collection id: a document.
pub(crate) fn document(collection: CollectionId, id: &DocumentId) -> Vec<u8> {
    let id = id.as_str().as_bytes();
    let mut key = Vec::with_capacity(5 + id.len());
    key.push(DOCUMENT);
    key.extend_from_slice(&collection.0.to_be_bytes());
    key.extend_from_slice(id);
    key
}

/// All documents of a collection, by id.
pub(crate) fn documents(collection: CollectionId) -> KeyRange {
    let mut prefix = vec![DOCUMENT];
    prefix.extend_from_slice(&collection.0.to_be_bytes());
    KeyRange::prefix(prefix)
}

/// The documents of all collections.
pub(crate) fn all_documents() -> KeyRange {
    KeyRange::prefix([DOCUMENT])
}

/// What a key is of, for telling people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    Document(CollectionId, &'a str),
    /// A mutation, or a body of one.
    Outbox(Place),
    /// An entry of the index with this number.
    IndexEntry(u32),
    Other,
}

/// What a key is of.
pub(crate) fn kind_of(key: &[u8]) -> Kind<'_> {
    let number = |from: usize| {
        let number = key.get(from..from + 8)?.first_chunk()?;
        Some(Place::new(u64::from_be_bytes(*number)))
    };
    let kind = match key.first() {
        Some(&DOCUMENT) => document_collection(key)
            .zip(document_id(key))
            .map(|(collection, id)| Kind::Document(collection, id)),
        Some(&(OUTBOX | OUTBOX_BODY)) => number(5).map(Kind::Outbox),
        Some(&INDEX_ENTRY) => {
            let index = key.get(1..5).and_then(<[u8]>::first_chunk);
            index.map(|index| Kind::IndexEntry(u32::from_be_bytes(*index)))
        }
        _ => None,
    };
    kind.unwrap_or(Kind::Other)
}

/// Whether a key is that of a document.
pub(crate) fn is_document(key: &[u8]) -> bool {
    key.first() == Some(&DOCUMENT)
}

/// The collection in a key of [`documents`].
pub(crate) fn document_collection(key: &[u8]) -> Option<CollectionId> {
    let number = key.get(1..5)?.first_chunk()?;
    Some(CollectionId(u32::from_be_bytes(*number)))
}

/// The id in a key of [`documents`].
pub(crate) fn document_id(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.get(5..)?).ok()
}

/// `o` target place: a mutation of the outbox.
pub(crate) fn outbox(target: Target, place: Place) -> Vec<u8> {
    numbered(OUTBOX, target, place.get())
}

/// The outbox from a place on, in order.
pub(crate) fn outbox_from(target: Target, place: Place) -> KeyRange {
    range_from(OUTBOX, target, place.get())
}

/// `b` target place index which: a body of a mutation.
pub(crate) fn outbox_body(target: Target, place: Place, index: u32, which: BodyOf) -> Vec<u8> {
    let mut key = numbered(OUTBOX_BODY, target, place.get());
    key.extend_from_slice(&index.to_be_bytes());
    key.push(which as u8);
    key
}

/// The bodies of mutations from a place on, in order.
pub(crate) fn outbox_bodies_from(target: Target, place: Place) -> KeyRange {
    range_from(OUTBOX_BODY, target, place.get())
}

/// The bodies of one mutation.
pub(crate) fn outbox_bodies_of(target: Target, place: Place) -> KeyRange {
    KeyRange::prefix(numbered(OUTBOX_BODY, target, place.get()))
}

/// `n` target number: the place of a numbered mutation whose outcome is unknown.
pub(crate) fn number(target: Target, number: MutationNumber) -> Vec<u8> {
    numbered(NUMBER, target, number.get())
}

/// The numbered mutations from a number on, in order.
pub(crate) fn numbers_from(target: Target, number: MutationNumber) -> KeyRange {
    range_from(NUMBER, target, number.get())
}

/// `w` target place: a mutation that met a conflict and waits for the records that stand in its way.
pub(crate) fn waiting(target: Target, place: Place) -> Vec<u8> {
    numbered(WAITING, target, place.get())
}

/// All waiting mutations, by place.
pub(crate) fn all_waiting(target: Target) -> KeyRange {
    range_from(WAITING, target, 0)
}

/// `q` target place: a mutation that waits for what the application says to its conflict; it has a `w`, too.
pub(crate) fn question(target: Target, place: Place) -> Vec<u8> {
    numbered(QUESTION, target, place.get())
}

/// All mutations that wait for the application, by place.
pub(crate) fn all_questions(target: Target) -> KeyRange {
    range_from(QUESTION, target, 0)
}

/// The number at the end of a key of the outbox, of numbers or of the journal.
pub(crate) fn trailing_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// `s` target collection id: the newest server version of a document with pending changes.
pub(crate) fn shadow(target: Target, collection: CollectionId, id: &DocumentId) -> Vec<u8> {
    let mut key = vec![SHADOW];
    key.extend_from_slice(&target.0.to_be_bytes());
    key.extend_from_slice(&collection.0.to_be_bytes());
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

/// The server's versions of all documents with pending changes.
pub(crate) fn all_shadows(target: Target) -> KeyRange {
    let mut prefix = vec![SHADOW];
    prefix.extend_from_slice(&target.0.to_be_bytes());
    KeyRange::prefix(prefix)
}

/// `t` target: token, binding, numbers, checkpoint.
pub(crate) fn target(target: Target) -> Vec<u8> {
    [[TARGET].as_slice(), &target.0.to_be_bytes()].concat()
}

/// `j` number: an entry of the journal.
pub(crate) fn journal(entry: u64) -> Vec<u8> {
    [[JOURNAL].as_slice(), &entry.to_be_bytes()].concat()
}

/// The journal behind an entry, in order.
pub(crate) fn journal_after(entry: Option<u64>) -> KeyRange {
    let range = KeyRange::prefix([JOURNAL]);
    match entry {
        Some(entry) => range.after(journal(entry)),
        None => range,
    }
}

/// `k` number index which: a body of a journal entry.
pub(crate) fn journal_body(entry: u64, index: u32, which: BodyOf) -> Vec<u8> {
    let mut key = vec![JOURNAL_BODY];
    key.extend_from_slice(&entry.to_be_bytes());
    key.extend_from_slice(&index.to_be_bytes());
    key.push(which as u8);
    key
}

/// The bodies of all journal entries.
pub(crate) fn journal_bodies() -> KeyRange {
    KeyRange::prefix([JOURNAL_BODY])
}

/// `x` number: the definition of an index.
pub(crate) fn index(number: u32) -> Vec<u8> {
    [[INDEX].as_slice(), &number.to_be_bytes()].concat()
}

/// The definitions of all indexes, by number.
pub(crate) fn indexes() -> KeyRange {
    KeyRange::prefix([INDEX])
}

/// Whether it is the key of an index.
pub(crate) fn is_index(key: &[u8]) -> bool {
    key.first() == Some(&INDEX)
}

/// Whether it is the key of a collection's settings or of an index.
pub(crate) fn is_setting(key: &[u8]) -> bool {
    key.first() == Some(&COLLECTION) || is_index(key)
}

/// The number in a key of [`indexes`].
pub(crate) fn index_number(key: &[u8]) -> Option<u32> {
    key.last_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// `i` number values id: an entry of an index. `values` are of no fixed length, and tell where they end.
pub(crate) fn index_entry(number: u32, values: &[u8], id: &DocumentId) -> Vec<u8> {
    let id = id.as_str().as_bytes();
    let mut key = Vec::with_capacity(5 + values.len() + id.len());
    key.push(INDEX_ENTRY);
    key.extend_from_slice(&number.to_be_bytes());
    key.extend_from_slice(values);
    key.extend_from_slice(id);
    key
}

/// What all keys of an index's entries begin with.
pub(crate) fn index_prefix(number: u32) -> Vec<u8> {
    [[INDEX_ENTRY].as_slice(), &number.to_be_bytes()].concat()
}

/// All entries of an index, by their values.
pub(crate) fn index_entries(number: u32) -> KeyRange {
    KeyRange::prefix(index_prefix(number))
}

fn numbered(kind: u8, target: Target, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    key.push(kind);
    key.extend_from_slice(&target.0.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn range_from(kind: u8, target: Target, number: u64) -> KeyRange {
    let mut prefix = vec![kind];
    prefix.extend_from_slice(&target.0.to_be_bytes());
    let mut range = KeyRange::prefix(prefix);
    range.start = std::ops::Bound::Included(numbered(kind, target, number));
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_collection_never_lie_in_another() {
        let id = DocumentId::new("\u{10FFFF}\u{10FFFF}").unwrap();
        let key = document(CollectionId(1), &id);
        assert!(documents(CollectionId(1)).contains(&key));
        assert!(
            !documents(CollectionId(2)).contains(&key)
                && !documents(CollectionId(0)).contains(&key)
        );
        assert_eq!(document_id(&key), Some(id.as_str()));
    }

    #[test]
    fn a_key_says_what_it_is_of() {
        let id = DocumentId::new("an id").unwrap();
        let key = document(CollectionId(7), &id);
        assert_eq!(kind_of(&key), Kind::Document(CollectionId(7), "an id"));
        let place = Place::new(300);
        for key in [
            outbox(Target::DEFAULT, place),
            outbox_body(Target::DEFAULT, place, 2, BodyOf::Base),
        ] {
            assert_eq!(kind_of(&key), Kind::Outbox(place));
        }
        assert_eq!(kind_of(&index_entry(9, b"x", &id)), Kind::IndexEntry(9));
        for other in [STATE, b"d", b"o12", b"i1", b""] {
            assert_eq!(kind_of(other), Kind::Other);
        }
    }

    #[test]
    fn places_and_numbers_sort_as_numbers_and_stay_within_their_target() {
        let range = outbox_from(Target::DEFAULT, Place::new(255));
        assert!(range.contains(&outbox(Target::DEFAULT, Place::new(256))));
        assert!(!range.contains(&outbox(Target::DEFAULT, Place::new(254))));
        assert!(!range.contains(&outbox(Target(1), Place::new(256))));
        assert_eq!(
            trailing_number(&number(Target::DEFAULT, MutationNumber::new(9))),
            Some(9)
        );
    }
}
