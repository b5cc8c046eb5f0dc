//! What of a collection can concern a live query, told by one field.

use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::query::path::{Path, Place};
use crate::query::{Constant, Filter, Node, Test};
use crate::value::{Encoded, View};
use crate::{Document, Integer, Result};
use pocket_storage::ordered::BTreeSet;

/// What a query listens to.
#[derive(Clone, Debug)]
pub(super) enum Interest {
    Everything,
    /// One of these values at this path, by their hashes.
    Values(Path, BTreeSet<u64>),
    /// Values at this path that reach into a range.
    Range(Path, Range),
}

impl Interest {
    /// What must hold of a document that passes: by its id if the filter says so, else by the first field that it fixes, else
    /// by the first that it bounds.
    pub(super) fn of(filter: &Filter) -> Self {
        let Ok(node) = filter.node() else {
            return Self::Everything;
        };
        let conditions = || {
            node.conjuncts().iter().filter_map(|node| match node {
                Node::Field(condition) => Some(condition),
                _ => None,
            })
        };
        let mut fixed = conditions().filter_map(|condition| {
            let values = condition.tests.iter().find_map(wanted)?;
            Some((condition.path.clone(), values))
        });
        let first = fixed.next();
        let by_id = match &first {
            Some((path, _)) if path.is_id() => None,
            _ => fixed.find(|(path, _)| path.is_id()),
        };
        if let Some((path, values)) = by_id.or(first) {
            return Self::Values(path, values);
        }
        let bounded = conditions().find_map(|condition| {
            let range = Range::of(&condition.tests)?;
            Some(Self::Range(condition.path.clone(), range))
        });
        bounded.unwrap_or(Self::Everything)
    }
}

/// Where values must lie, both ends belonging to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Range {
    low: Option<Constant>,
    high: Option<Constant>,
}

impl Range {
    /// What the tests of one field say; none if nothing. Each of them must hold, of a value of its own perhaps.
    fn of(tests: &[Test]) -> Option<Self> {
        let mut range = Self::default();
        for test in tests {
            let (low, high) = match test {
                Test::Gt(low) | Test::Gte(low) => (Some(low), None),
                Test::Lt(high) | Test::Lte(high) => (None, Some(high)),
                Test::Between(low, high) => (Some(low), Some(high)),
                _ => continue,
            };
            // Arrays are compared whole, too, and what is kept here of a document are the elements.
            let is_array = |constant: &&Constant| constant.value().as_array().is_some();
            if low.iter().chain(&high).any(is_array) {
                continue;
            }
            range.low = range.low.or(low.cloned());
            range.high = range.high.or(high.cloned());
        }
        (range.low.is_some() || range.high.is_some()).then_some(range)
    }

    /// Whether values from the least to the greatest may reach into it.
    pub(super) fn meets(&self, (least, greatest): (Encoded<'_>, Encoded<'_>)) -> Result<bool> {
        if let Some(low) = &self.low
            && greatest.compare(low.encoded()?)?.is_lt()
        {
            return Ok(false);
        }
        if let Some(high) = &self.high
            && least.compare(high.encoded()?)?.is_gt()
        {
            return Ok(false);
        }
        Ok(true)
    }
}

/// The least and the greatest value that a document has at a path, of arrays of their elements; none of a tombstone.
pub(super) fn span<'a>(
    path: &Path,
    document: &'a Document,
) -> Result<Option<(Encoded<'a>, Encoded<'a>)>> {
    let Some(body) = &document.body else {
        return Ok(None);
    };
    let mut span = None;
    for key in path.keys(Place::document(&document.id, body)?)? {
        let (mut least, mut greatest) = span.unwrap_or((key, key));
        match (key.compare(least)?, key.compare(greatest)?) {
            (Ordering::Less, _) => least = key,
            (_, Ordering::Greater) => greatest = key,
            _ => {}
        }
        span = Some((least, greatest));
    }
    Ok(span)
}

/// The hashes of the values of which a test wants one. None for other tests, for one that wants none of any, under which
/// nobody would be found, and where a value has no hash, as null, which is also equal to nothing at all.
fn wanted(test: &Test) -> Option<BTreeSet<u64>> {
    let constants = match test {
        Test::Eq(constant) => std::slice::from_ref(constant),
        Test::In(constants) => constants.as_slice(),
        _ => return None,
    };
    let hashes = constants
        .iter()
        .map(|constant| hash(constant.encoded().ok()?).ok()?);
    let hashes: Option<BTreeSet<u64>> = hashes.collect();
    hashes.filter(|hashes| !hashes.is_empty())
}

/// The hashes of what a document has at a path, of arrays those of their elements.
pub(super) fn hashes(path: &Path, document: &Document) -> Result<Vec<u64>> {
    let Some(body) = &document.body else {
        return Ok(Vec::new());
    };
    let keys = path.keys(Place::document(&document.id, body)?)?;
    let hashes = keys.into_iter().map(hash);
    hashes.filter_map(Result::transpose).collect()
}

/// The same for values that are equal, whatever the form of a number; none of null, arrays and maps.
fn hash(value: Encoded<'_>) -> Result<Option<u64>> {
    let mut hasher = DefaultHasher::new();
    match value.view()? {
        View::Null | View::Array(_) | View::Map(_) => return Ok(None),
        View::Bool(value) => (1_u8, value).hash(&mut hasher),
        View::Integer(value) => hash_integer(value).hash(&mut hasher),
        View::Float(value) => hash_float(value).hash(&mut hasher),
        View::Timestamp(value) => (3_u8, value.millis()).hash(&mut hasher),
        View::String(value) => (4_u8, value).hash(&mut hasher),
        View::Binary(value) => (5_u8, value).hash(&mut hasher),
    }
    Ok(Some(hasher.finish()))
}

fn hash_integer(value: Integer) -> (u8, i128) {
    let value = value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_u64().map(i128::from));
    (2, value.unwrap_or_default())
}

/// As the integer that it equals, if it does.
#[expect(
    clippy::cast_possible_truncation,
    reason = "only floats that are integers of 64 bits are cast"
)]
fn hash_float(value: f64) -> (u8, i128) {
    const END: f64 = 18_446_744_073_709_551_616.0;
    if value.fract() == 0.0 && value.abs() < END {
        return (2, value as i128);
    }
    (6, i128::from(value.to_bits()))
}
