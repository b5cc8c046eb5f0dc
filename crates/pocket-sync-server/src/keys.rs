//! The keys of a server's store. Nothing else builds one; `docs/storage-layout.md` describes them.
//!
//! Every key begins with `N`, the namespace and a zero byte, then a byte that names the kind. No namespace, collection
//! or document id holds a zero byte, so no key of one namespace or collection can be read as one of another. No key of
//! a client's store begins with `N`.

use pocket_core::{ClientId, CollectionName, DocumentId, Seq};
use pocket_storage::KeyRange;
use sha2::{Digest as _, Sha256};

use crate::Namespace;
use crate::rules::Readership;

const NAMESPACE: u8 = b'N';
const LOG: u8 = b'l';
const HISTORY: u8 = b'h';
const CLIENT: u8 = b'c';
const DOCUMENT: u8 = b'd';
const FEED: u8 = b'f';
const DELETION: u8 = b't';
const DIGEST: u8 = b'g';
const END: u8 = 0;

/// The keys of all namespaces.
pub(crate) fn namespaces() -> KeyRange {
    KeyRange::prefix(vec![NAMESPACE])
}

/// The keys of the namespaces behind this one.
pub(crate) fn namespaces_behind(namespace: &Namespace) -> KeyRange {
    let mut range = namespaces();
    // No name holds a control character, so nothing of another namespace lies in between.
    let end = [&[NAMESPACE], namespace.as_str().as_bytes(), &[END + 1]].concat();
    range.start = std::ops::Bound::Included(end);
    range
}

/// The namespace of a key.
pub(crate) fn namespace_of(key: &[u8]) -> Option<Namespace> {
    let rest = key.strip_prefix(&[NAMESPACE])?;
    let end = rest.iter().position(|byte| *byte == END)?;
    Namespace::new(std::str::from_utf8(&rest[..end]).ok()?)
}

/// The keys of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Vec<u8>,
}

impl Keys {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        Self {
            prefix: [&[NAMESPACE], namespace.as_str().as_bytes(), &[END]].concat(),
        }
    }

    /// `l`: epoch, head, horizon, clock; each commit checks and replaces it.
    pub(crate) fn log(&self) -> Vec<u8> {
        self.key(LOG, &[])
    }

    /// `h`: lineage and epochs; each opening replaces it.
    pub(crate) fn history(&self) -> Vec<u8> {
        self.key(HISTORY, &[])
    }

    /// `c` client: what is known of a client, and its recorded outcomes.
    pub(crate) fn client(&self, client: ClientId) -> Vec<u8> {
        self.key(CLIENT, &[client.as_bytes()])
    }

    /// All clients of the namespace.
    pub(crate) fn clients(&self) -> KeyRange {
        KeyRange::prefix(self.key(CLIENT, &[]))
    }

    /// The client of a key of [`clients`](Self::clients).
    pub(crate) fn client_id(&self, key: &[u8]) -> Option<ClientId> {
        let rest = key
            .strip_prefix(self.prefix.as_slice())?
            .strip_prefix(&[CLIENT])?;
        Some(ClientId::from_bytes(rest.try_into().ok()?))
    }

    /// `d` collection 0 id: the current record of a document.
    pub(crate) fn document(&self, collection: &CollectionName, id: &DocumentId) -> Vec<u8> {
        self.key(
            DOCUMENT,
            &[
                collection.as_str().as_bytes(),
                &[END],
                id.as_str().as_bytes(),
            ],
        )
    }

    /// All records.
    pub(crate) fn documents(&self) -> KeyRange {
        KeyRange::prefix(self.key(DOCUMENT, &[]))
    }

    /// The id of a record's key.
    pub(crate) fn document_id<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        let rest = key
            .strip_prefix(self.prefix.as_slice())?
            .strip_prefix(&[DOCUMENT])?;
        let end = rest.iter().position(|byte| *byte == END)?;
        rest.get(end + 1..)
    }

    /// `f` sequence: which document changed there last, and is live.
    pub(crate) fn feed(&self, seq: Seq) -> Vec<u8> {
        self.key(FEED, &[&seq.get().to_be_bytes()])
    }

    /// `t` sequence: which document was deleted there.
    pub(crate) fn deletion(&self, seq: Seq) -> Vec<u8> {
        self.key(DELETION, &[&seq.get().to_be_bytes()])
    }

    /// The live part of the feed behind `after`, up to and with `until`.
    pub(crate) fn feed_range(&self, after: Seq, until: Seq) -> KeyRange {
        between(self.feed(after), self.feed(until))
    }

    /// The deletions of the feed behind `after`, up to and with `until`.
    pub(crate) fn deletions(&self, after: Seq, until: Seq) -> KeyRange {
        between(self.deletion(after), self.deletion(until))
    }

    /// The sequence of a key of the feed, of either part.
    pub(crate) fn feed_seq(&self, key: &[u8]) -> Option<Seq> {
        let rest = key.strip_prefix(self.prefix.as_slice())?;
        let (&(FEED | DELETION), rest) = rest.split_first()? else {
            return None;
        };
        Some(Seq::new(u64::from_be_bytes(rest.try_into().ok()?)))
    }

    /// `g` collection 0 readers: the digest of a collection's documents that have the same readers.
    pub(crate) fn digest(&self, collection: &CollectionName, readership: &Readership) -> Vec<u8> {
        let mut readers = Sha256::new();
        if let Some((rules, audience)) = readership {
            readers.update(rules);
            for label in audience.iter() {
                // No label is longer than 256 bytes, so the length tells where one ends.
                readers.update(u32::try_from(label.len()).unwrap_or(u32::MAX).to_be_bytes());
                readers.update(label.as_bytes());
            }
        }
        let readers: [u8; 32] = readers.finalize().into();
        self.key(
            DIGEST,
            &[collection.as_str().as_bytes(), &[END], &readers[..16]],
        )
    }

    /// All digests.
    pub(crate) fn digests(&self) -> KeyRange {
        KeyRange::prefix(self.key(DIGEST, &[]))
    }

    /// The collection of a digest's key.
    pub(crate) fn digest_collection(&self, key: &[u8]) -> Option<CollectionName> {
        self.collection_of(DIGEST, key)
    }

    /// The collection of a record's key.
    pub(crate) fn document_collection(&self, key: &[u8]) -> Option<CollectionName> {
        self.collection_of(DOCUMENT, key)
    }

    fn collection_of(&self, kind: u8, key: &[u8]) -> Option<CollectionName> {
        let rest = key
            .strip_prefix(self.prefix.as_slice())?
            .strip_prefix(&[kind])?;
        let end = rest.iter().position(|byte| *byte == END)?;
        CollectionName::new(std::str::from_utf8(&rest[..end]).ok()?).ok()
    }

    fn key(&self, kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut key = Vec::with_capacity(self.prefix.len() + 1 + length);
        key.extend_from_slice(&self.prefix);
        key.push(kind);
        for part in parts {
            key.extend_from_slice(part);
        }
        key
    }
}

/// The keys behind `after`, up to and with `until`.
fn between(after: Vec<u8>, until: Vec<u8>) -> KeyRange {
    let mut range = KeyRange::all().after(after);
    range.end = std::ops::Bound::Included(until);
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(name: &str) -> Keys {
        Keys::new(&Namespace::new(name).unwrap())
    }

    #[test]
    fn the_feed_sorts_by_sequence_and_stays_in_its_namespace() {
        let keys = keys("a");
        let range = keys.feed_range(Seq::new(255), Seq::new(70_000));
        assert!(!range.contains(&keys.feed(Seq::new(255))));
        assert!(
            range.contains(&keys.feed(Seq::new(256)))
                && range.contains(&keys.feed(Seq::new(70_000)))
        );
        assert!(!range.contains(&keys.feed(Seq::new(70_001))));
        assert!(!range.contains(&self::keys("ab").feed(Seq::new(300))));
        assert!(!range.contains(&self::keys("b").feed(Seq::new(300))));
        assert_eq!(
            keys.feed_seq(&keys.feed(Seq::new(300))),
            Some(Seq::new(300))
        );
        assert_eq!(
            keys.feed_seq(&keys.deletion(Seq::new(300))),
            Some(Seq::new(300))
        );
        assert!(!range.contains(&keys.deletion(Seq::new(300))));
        let deletions = keys.deletions(Seq::new(255), Seq::new(70_000));
        assert!(deletions.contains(&keys.deletion(Seq::new(256))));
        assert!(!deletions.contains(&keys.deletion(Seq::new(255))));
        assert!(!deletions.contains(&keys.feed(Seq::new(300))));
        assert_eq!(keys.feed_seq(&keys.log()), None);
    }

    #[test]
    fn the_namespace_of_a_key_is_found_and_the_next_one_behind_it() {
        for name in ["a", "ab", "ä b"] {
            let namespace = Namespace::new(name).unwrap();
            let behind = namespaces_behind(&namespace);
            for key in [keys(name).log(), keys(name).feed(Seq::new(u64::MAX))] {
                assert_eq!(namespace_of(&key), Some(namespace.clone()));
                assert!(namespaces().contains(&key) && !behind.contains(&key));
            }
            assert!(behind.contains(&keys(&format!("{name}!")).log()));
        }
        assert_eq!(namespace_of(b"x"), None);
    }

    #[test]
    fn no_id_reaches_into_another_collection() {
        let keys = keys("a");
        let id = |id| DocumentId::new(id).unwrap();
        let name = |name| CollectionName::new(name).unwrap();
        assert_ne!(
            keys.document(&name("ab"), &id("c")),
            keys.document(&name("a"), &id("bc"))
        );
        assert!(DocumentId::new("a\0b").is_err());
    }

    #[test]
    fn the_longest_key_fits_into_every_store() {
        let keys = keys(&"n".repeat(crate::MAX_NAMESPACE_BYTES));
        let collection =
            CollectionName::new(&"c".repeat(pocket_core::MAX_COLLECTION_BYTES)).unwrap();
        let id = DocumentId::new(&"i".repeat(pocket_core::MAX_ID_BYTES)).unwrap();
        assert!(keys.document(&collection, &id).len() <= pocket_storage::MAX_KEY_BYTES);
    }
}
