//! Where scans ended, so that the next one begins with what the store still has in memory.
//!
//! A scan reads a collection from both ends towards a key between them. Of one that is larger than the store's cache, the
//! cache then holds what lies around that key, and a scan that began at the ends again would drive out just what it is
//! about to need. So the next one goes the other way, from there to both ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use pocket_storage::KeyRange;

use crate::keys::CollectionId;
use crate::lock::lock;

/// The key, in each collection, at which the last scan ended if it went from the ends. Its clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meetings(Arc<Mutex<BTreeMap<CollectionId, Vec<u8>>>>);

impl Meetings {
    /// A scan from both ends was over at this key.
    pub(super) fn note(&self, collection: CollectionId, key: Vec<u8>) {
        lock(&self.0).insert(collection, key);
    }

    /// The two parts of a range at such a key, the lower one first; they go from there only once.
    pub(super) fn part(&self, collection: CollectionId, range: &KeyRange) -> Option<[KeyRange; 2]> {
        let mut all = lock(&self.0);
        let key = all
            .get(&collection)
            .filter(|key| range.contains(key))?
            .clone();
        all.remove(&collection);
        let upper = range.clone().after(key.clone());
        let mut lower = range.clone();
        lower.end = std::ops::Bound::Included(key);
        Some([lower, upper])
    }

    /// Whether any scan ended so, and none has gone on from there.
    #[cfg(test)]
    pub(in crate::query) fn is_noted(&self) -> bool {
        !lock(&self.0).is_empty()
    }
}
