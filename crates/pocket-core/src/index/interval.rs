//! Intervals of one field's values, as intervals of their encodings.

use std::ops::Bound;

use pocket_storage::KeyRange;

use super::key::{self, Encoder, encode};
use crate::Value;

/// An interval of the values of one field: encodings from one on and before another.
///
/// It speaks of the rising order whatever the direction of an index. Values of different types may lie in one interval;
/// [`like`](Self::like) keeps to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// The first encoding in it.
    start: Vec<u8>,
    /// The first one behind it.
    end: Vec<u8>,
}

impl Interval {
    /// All values there are.
    pub(crate) fn all() -> Self {
        Self {
            start: vec![key::FIRST],
            end: vec![key::BEHIND],
        }
    }

    /// The values that equal this one.
    pub(crate) fn equal(value: &Value) -> Self {
        Self::beginning(encode(value))
    }

    /// All values of the type of this one.
    pub(crate) fn of_type(value: &Value) -> Self {
        Self::beginning(vec![key::kind(value)])
    }

    /// The strings that begin so.
    pub(crate) fn strings(beginning: &str) -> Self {
        let mut encoder = Encoder::new(usize::MAX);
        encoder.beginning_of_strings(beginning);
        Self::beginning(encoder.finish())
    }

    /// Values between the bounds, whatever their types.
    pub(crate) fn between(from: Bound<&Value>, to: Bound<&Value>) -> Self {
        let start = match from {
            Bound::Included(value) => encode(value),
            Bound::Excluded(value) => behind(&encode(value)),
            Bound::Unbounded => Self::all().start,
        };
        let end = match to {
            Bound::Included(value) => behind(&encode(value)),
            Bound::Excluded(value) => encode(value),
            Bound::Unbounded => Self::all().end,
        };
        Self { start, end }
    }

    /// Values between the bounds that are of their type, as operators compare them.
    pub(crate) fn like(from: Bound<&Value>, to: Bound<&Value>) -> Self {
        let bound = |bound: Bound<&Value>| match bound {
            Bound::Included(value) | Bound::Excluded(value) => Self::of_type(value),
            Bound::Unbounded => Self::all(),
        };
        Self::between(from, to).and(&bound(from)).and(&bound(to))
    }

    /// What lies in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            start: (&self.start).max(&other.start).clone(),
            end: (&self.end).min(&other.end).clone(),
        }
    }

    /// Whether nothing can lie in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    fn beginning(bytes: Vec<u8>) -> Self {
        Self {
            end: behind(&bytes),
            start: bytes,
        }
    }

    /// The keys that begin with `prefix` and go on with a value of this interval, of which `most` bytes are written,
    /// perhaps inverted. A bound that was cut lets in what is equal as far as it goes.
    pub(super) fn keys(&self, prefix: &[u8], most: usize, inverted: bool) -> KeyRange {
        if self.is_empty() {
            return KeyRange::prefix(prefix).before(prefix);
        }
        let written = |bytes: &[u8]| {
            let bytes = bytes.iter().take(most);
            let bytes = bytes.map(|byte| if inverted { !byte } else { *byte });
            prefix.iter().copied().chain(bytes).collect::<Vec<_>>()
        };
        // What is equal to a cut end as far as it goes may lie before it.
        let end_is_cut = self.end.len() >= most;
        let (start, end) = (written(&self.start), written(&self.end));
        let (start, end) = match (inverted, end_is_cut) {
            (false, false) => (start, end),
            (false, true) => (start, behind(&end)),
            (true, false) => (behind(&end), behind(&start)),
            (true, true) => (end, behind(&start)),
        };
        KeyRange {
            start: Bound::Included(start),
            end: Bound::Excluded(end),
        }
    }
}

/// The first bytes that are greater than all that begin so. There are such bytes: every key and every encoding begins
/// with another byte than `ff`.
pub(super) fn behind(bytes: &[u8]) -> Vec<u8> {
    let mut next = bytes.to_vec();
    while next.last() == Some(&u8::MAX) {
        next.pop();
    }
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    next
}
