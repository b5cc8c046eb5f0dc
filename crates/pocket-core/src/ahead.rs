//! What a job has read ahead of its gets.

use bytes::Bytes;
use pocket_storage::sorting;

/// Sealed values by key, as they were when they were read.
///
/// A sorted list: it is made in few pieces, which mostly come sorted, and asked in about that order.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    entries: Vec<(Vec<u8>, Option<Bytes>)>,
    /// Behind what was found last.
    next: usize,
}

impl Ahead {
    /// Takes in values that were read. Of what is there already, the newer stands.
    pub(crate) fn extend(&mut self, read: impl IntoIterator<Item = (Vec<u8>, Option<Bytes>)>) {
        self.entries.extend(read);
        self.sort();
    }

    fn sort(&mut self) {
        self.next = 0;
        // A stable sort joins sorted pieces without looking into them.
        sorting::sort_by(&mut self.entries, |(one, _), (other, _)| one.cmp(other));
        self.entries.dedup_by(|newer, kept| {
            let is_same = newer.0 == kept.0;
            if is_same {
                std::mem::swap(newer, kept);
            }
            is_same
        });
    }

    /// The value of a key; none where it was not read.
    pub(crate) fn get(&mut self, key: &[u8]) -> Option<&Option<Bytes>> {
        let is_next = |(next, _): &(Vec<u8>, _)| next == key;
        if !self.entries.get(self.next).is_some_and(is_next) {
            let found = self
                .entries
                .binary_search_by(|(at, _)| at.as_slice().cmp(key));
            self.next = found.ok()?;
        }
        let (_, value) = self.entries.get(self.next)?;
        self.next += 1;
        Some(value)
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, value: &'static str) -> (Vec<u8>, Option<Bytes>) {
        let value = (!value.is_empty()).then(|| Bytes::from_static(value.as_bytes()));
        (key.as_bytes().to_vec(), value)
    }

    #[test]
    fn what_was_read_is_found_in_any_order_and_the_newest_stands() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.get(b"a"), None);
        ahead.extend([entry("c", "1"), entry("a", "1"), entry("b", "")]);
        ahead.extend([entry("d", "1"), entry("a", "2")]);
        for key in ["a", "b", "c", "d", "d", "b", "a", "c", "b"] {
            let expected = match key {
                "a" => entry(key, "2"),
                "b" => entry(key, ""),
                _ => entry(key, "1"),
            };
            assert_eq!(ahead.get(key.as_bytes()), Some(&expected.1), "{key}");
        }
        assert_eq!(ahead.get(b""), None);
        assert_eq!(ahead.get(b"bb"), None);
        assert_eq!(ahead.get(b"e"), None);
        ahead.clear();
        assert_eq!(ahead.get(b"a"), None);
    }
}
