//! What a commit writes, before it is stored.

use std::ops::Bound;

use bytes::Bytes;
use pocket_storage::KeyRange;
use pocket_storage::ordered::BTreeMap;

type Entry = (Vec<u8>, Option<Bytes>);

/// Values by key; none where one is removed.
///
/// Most keys rise within their kind, the first byte: mutations and their bodies by their places, documents by ids that were
/// just made. Each kind has a list that these are put behind, which takes one look; others go into a map.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    /// By kind, each sorted.
    lists: Vec<(u8, Vec<Entry>)>,
    /// What is in no list. The last of the list of its kind is behind it.
    others: BTreeMap<Vec<u8>, Option<Bytes>>,
}

impl Written {
    pub(crate) fn is_empty(&self) -> bool {
        // The first of each kind is in a list.
        self.lists.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        let listed = self.lists.iter().map(|(_, list)| list.len());
        listed.sum::<usize>() + self.others.len()
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Option<Bytes>)> {
        let listed = self.lists.iter().flat_map(|(_, list)| list);
        listed.map(|(key, value)| (key, value)).chain(&self.others)
    }

    /// What was written under a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        let at = self.list(key).ok()?;
        let list = &self.lists[at].1;
        match find(list, key) {
            Ok(at) => Some(&list[at].1),
            Err(at) if at == list.len() => None,
            Err(_) => self.others.get(key),
        }
    }

    /// Writes a value, in place of the one before.
    pub(crate) fn insert(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        let at = self.list(&key).unwrap_or_else(|at| {
            self.lists.insert(at, (kind(&key), Vec::new()));
            at
        });
        let list = &mut self.lists[at].1;
        match find(list, &key) {
            Ok(at) => list[at].1 = value,
            Err(at) if at == list.len() => list.push((key, value)),
            Err(_) => drop(self.others.insert(key, value)),
        }
    }

    /// Takes over all that was written later.
    pub(crate) fn append(&mut self, later: Self) {
        if self.is_empty() {
            *self = later;
            return;
        }
        for (key, value) in later.into_sorted() {
            self.insert(key, value);
        }
    }

    /// The entries of a range, in no order.
    pub(crate) fn range<'a>(
        &'a self,
        range: &'a KeyRange,
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a Option<Bytes>)> {
        let is_before = |(key, _): &Entry| match &range.start {
            Bound::Included(start) => key < start,
            Bound::Excluded(start) => key <= start,
            Bound::Unbounded => false,
        };
        let is_within = |(key, _): &(&Vec<u8>, &Option<Bytes>)| range.contains(key);
        let listed = self.lists.iter().flat_map(move |(_, list)| {
            let entries = list[list.partition_point(is_before)..].iter();
            let entries = entries.map(|(key, value)| (key, value));
            entries.take_while(is_within)
        });
        let others = (as_slice(&range.start), Bound::Unbounded);
        let others = self.others.range::<[u8], _>(others);
        listed.chain(others.take_while(is_within))
    }

    /// All entries, by key.
    pub(crate) fn into_sorted(self) -> Vec<Entry> {
        let mut all = Vec::with_capacity(self.len());
        for (_, mut list) in self.lists {
            all.append(&mut list);
        }
        if !self.others.is_empty() {
            all.extend(self.others);
            // Both are sorted, so a stable sort joins them.
            pocket_storage::sorting::sort_by(&mut all, |(one, _), (other, _)| one.cmp(other));
        }
        all
    }

    /// The list of the kind of a key, or where it belongs.
    fn list(&self, key: &[u8]) -> Result<usize, usize> {
        self.lists
            .binary_search_by_key(&kind(key), |(kind, _)| *kind)
    }
}

fn kind(key: &[u8]) -> u8 {
    key.first().copied().unwrap_or_default()
}

/// Where a key is in a sorted list, or where it belongs.
fn find(list: &[Entry], key: &[u8]) -> Result<usize, usize> {
    match list.last() {
        Some((last, _)) if last.as_slice() >= key => {
            list.binary_search_by(|(at, _)| at.as_slice().cmp(key))
        }
        _ => Err(list.len()),
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::array::uniform2;
    use proptest::prelude::*;

    use super::*;

    /// Keys of few kinds, most of them rising.
    fn writes() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Bytes>)>> {
        let rising = prop::bool::weighted(0.7);
        let write = (0..4_u8, rising, any::<u8>(), any::<Option<u8>>());
        prop::collection::vec(write, 0..200).prop_map(|writes| {
            let with_key = writes.into_iter().zip(0_u8..);
            with_key
                .map(|((kind, rises, place, value), number)| {
                    let place = if rises { number } else { place };
                    let value = value.map(|value| Bytes::from(vec![value]));
                    (vec![kind, place], value)
                })
                .collect()
        })
    }

    fn written(writes: &[Entry]) -> Written {
        let mut written = Written::default();
        for (key, value) in writes {
            written.insert(key.clone(), value.clone());
        }
        written
    }

    fn bound(kind: u8, (first, second): (u8, u8)) -> Bound<Vec<u8>> {
        let key = vec![first, second];
        match kind {
            0 => Bound::Included(key),
            1 => Bound::Excluded(key),
            _ => Bound::Unbounded,
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(
            earlier in writes(),
            later in writes(),
            ends in uniform2((0..5_u8, any::<u8>())),
            starts in 0..3_u8,
            stops in 0..3_u8,
        ) {
            let model: BTreeMap<_, _> = earlier.iter().chain(&later).cloned().collect();
            let mut all = written(&earlier);
            all.append(written(&later));
            prop_assert_eq!(all.is_empty(), model.is_empty());
            prop_assert_eq!(all.len(), model.len());
            prop_assert_eq!(all.iter().collect::<BTreeMap<_, _>>(), model.iter().collect());
            for key in (0..6).flat_map(|kind| (0..=u8::MAX).map(move |place| [kind, place])) {
                prop_assert_eq!(all.get(&key), model.get(key.as_slice()));
            }
            let range = KeyRange {
                start: bound(starts, ends[0].min(ends[1])),
                end: bound(stops, ends[0].max(ends[1])),
            };
            let mut found: Vec<_> = all.range(&range).collect();
            found.sort();
            let expected: Vec<_> = model.iter().filter(|(key, _)| range.contains(key)).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(all.into_sorted(), model.into_iter().collect::<Vec<_>>());
        }
    }
}
