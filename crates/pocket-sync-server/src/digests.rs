//! The digests of a namespace, by collection and by who may read.
//!
//! Documents with the same labels, given by the same rules, are counted together. What one reader should hold is then the
//! sum over the labels he holds, whoever he is, and a commit moves only the few sums that it touches.

use pocket_core::{CollectionName, Digest};

use crate::rules::{Authority, Readership};
use pocket_storage::ordered::BTreeMap;

/// The digests of the live documents of a namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests(BTreeMap<CollectionName, BTreeMap<Readership, Digest>>);

/// By how much digests move.
pub(crate) type Moved = BTreeMap<(CollectionName, Readership), Digest>;

impl Digests {
    /// That of some documents.
    pub(crate) fn get(&self, collection: &CollectionName, readership: &Readership) -> Digest {
        let found = self.0.get(collection).and_then(|by| by.get(readership));
        found.copied().unwrap_or_default()
    }

    /// Counts documents in.
    pub(crate) fn add(
        &mut self,
        collection: &CollectionName,
        readership: &Readership,
        moved: Digest,
    ) {
        let digest = self.get(collection, readership).plus(moved);
        if digest != Digest::EMPTY {
            let by = self.0.entry(collection.clone()).or_default();
            by.insert(readership.clone(), digest);
        } else if let Some(by) = self.0.get_mut(collection) {
            by.remove(readership);
            if by.is_empty() {
                self.0.remove(collection);
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CollectionName, &Readership, Digest)> {
        self.0.iter().flat_map(|(collection, by)| {
            by.iter()
                .map(move |(readership, digest)| (collection, readership, *digest))
        })
    }

    /// What a reader of these collections should hold; none where labels are not known, for the documents that other
    /// rules gave them to are read one by one.
    pub(crate) fn seen_by(
        &self,
        authority: &Authority,
        wants: impl Fn(&CollectionName) -> bool,
    ) -> Option<BTreeMap<CollectionName, Digest>> {
        let mut seen = BTreeMap::new();
        for (collection, by) in self.0.iter().filter(|(collection, _)| wants(collection)) {
            if !authority.may_read(collection) {
                continue;
            }
            let mut digest = Digest::EMPTY;
            for (readership, part) in by {
                if authority.is_among(readership)? {
                    digest = digest.plus(*part);
                }
            }
            if digest != Digest::EMPTY {
                seen.insert(collection.clone(), digest);
            }
        }
        Some(seen)
    }
}
