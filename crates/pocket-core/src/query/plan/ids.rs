//! What a filter says about the ids of documents, by which they are stored.

use std::ops::Bound;

use pocket_storage::KeyRange;
use pocket_storage::ordered::BTreeSet;

use super::candidate::both;
use crate::keys::{self, CollectionId};
use crate::query::Order;
use crate::query::execute::Prepared;
use crate::query::filter::{Node, Test};
use crate::{DocumentId, Value};

/// The tests of `_id`, each of which must hold.
fn tests(conjuncts: &[Node]) -> impl Iterator<Item = &Test> {
    let conditions = conjuncts.iter().filter_map(|node| match node {
        Node::Field(condition) if condition.path.is_id() => Some(&condition.tests),
        _ => None,
    });
    conditions.flatten()
}

/// The ids that documents can only have, rising, if the conditions name them. What is no id at all is left out.
pub(super) fn named(conjuncts: &[Node]) -> Option<Vec<DocumentId>> {
    let mut named: Option<BTreeSet<DocumentId>> = None;
    for test in tests(conjuncts) {
        let constants = match test {
            Test::Eq(constant) => std::slice::from_ref(constant),
            Test::In(constants) => constants.as_slice(),
            _ => continue,
        };
        let texts = constants.iter().filter_map(|it| it.value().as_str());
        let ids: BTreeSet<_> = texts
            .filter_map(|text| DocumentId::new(text).ok())
            .collect();
        named = Some(match named {
            Some(named) => named.intersection(&ids).cloned().collect(),
            None => ids,
        });
    }
    named.map(|ids| ids.into_iter().collect())
}

/// Whether the conditions allow a range of ids only.
pub(in crate::query) fn bounds_ids(conjuncts: &[Node]) -> bool {
    let by_test = tests(conjuncts).any(|test| {
        matches!(
            test,
            Test::Gt(_)
                | Test::Gte(_)
                | Test::Lt(_)
                | Test::Lte(_)
                | Test::Between(..)
                | Test::StartsWith(_)
                | Test::Eq(_)
                | Test::In(_)
        )
    });
    let by_branches = |node: &Node| match node {
        Node::Any(nodes) => nodes.iter().all(|node| bounds_ids(node.conjuncts())),
        _ => false,
    };
    by_test || conjuncts.iter().any(by_branches)
}

/// Where the documents lie whose ids the conditions allow, and the query's cursors where it sorts by id alone.
pub(super) fn range(query: &Prepared, conjuncts: &[Node], collection: CollectionId) -> KeyRange {
    let all = keys::documents(collection);
    let Bound::Included(prefix) = all.start.clone() else {
        return all;
    };
    let key = |text: &str| [prefix.as_slice(), text.as_bytes()].concat();
    let mut range = both(&all, &spanned(conjuncts, &prefix, &key));
    if query.is_by_id() {
        let rises = query.sort.id_order() == Order::Ascending;
        for (cursor, is_after) in [(&query.after, true), (&query.before, false)] {
            if let Some(cursor) = cursor {
                let key = keys::document(collection, &cursor.id);
                let kept = if is_after == rises {
                    KeyRange::all().after(key)
                } else {
                    KeyRange::all().before(key)
                };
                range = both(&range, &kept);
            }
        }
    }
    range
}

/// The keys of documents whose id passes all of these conditions, and, where one of several is enough, what lies between
/// those of these.
fn spanned(conjuncts: &[Node], prefix: &[u8], key: &impl Fn(&str) -> Vec<u8>) -> KeyRange {
    let mut range = KeyRange::all();
    for test in tests(conjuncts) {
        range = both(&range, &allowed(test, prefix, key));
    }
    for node in conjuncts {
        let Node::Any(nodes) = node else { continue };
        let parts = nodes
            .iter()
            .map(|node| spanned(node.conjuncts(), prefix, key));
        let span = hull(parts.filter(|part| !part.is_empty()));
        range = both(&range, &span.unwrap_or_else(|| nothing(prefix)));
    }
    range
}

/// The least range that holds all of these; none of none.
fn hull(ranges: impl Iterator<Item = KeyRange>) -> Option<KeyRange> {
    ranges.reduce(|left, right| KeyRange {
        start: match (left.start, right.start) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => Bound::Unbounded,
            (Bound::Included(mine), Bound::Included(theirs)) => Bound::Included(mine.min(theirs)),
            (Bound::Excluded(mine), Bound::Excluded(theirs)) => Bound::Excluded(mine.min(theirs)),
            (Bound::Included(with), Bound::Excluded(without))
            | (Bound::Excluded(without), Bound::Included(with)) => {
                if with <= without {
                    Bound::Included(with)
                } else {
                    Bound::Excluded(without)
                }
            }
        },
        end: match (left.end, right.end) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => Bound::Unbounded,
            (Bound::Included(mine), Bound::Included(theirs)) => Bound::Included(mine.max(theirs)),
            (Bound::Excluded(mine), Bound::Excluded(theirs)) => Bound::Excluded(mine.max(theirs)),
            (Bound::Included(with), Bound::Excluded(without))
            | (Bound::Excluded(without), Bound::Included(with)) => {
                if with >= without {
                    Bound::Included(with)
                } else {
                    Bound::Excluded(without)
                }
            }
        },
    })
}

/// A range in which no document lies.
fn nothing(prefix: &[u8]) -> KeyRange {
    KeyRange::prefix(prefix).before(prefix)
}

/// The keys of documents whose id passes one test. Operators hold for like types only, and an id is text.
fn allowed(test: &Test, prefix: &[u8], key: &impl Fn(&str) -> Vec<u8>) -> KeyRange {
    let text = |value: &Value| value.as_str().map(key);
    let (start, end) = match test {
        Test::Gt(low) => (
            text(low.value()).map(Bound::Excluded),
            Some(Bound::Unbounded),
        ),
        Test::Gte(low) => (
            text(low.value()).map(Bound::Included),
            Some(Bound::Unbounded),
        ),
        Test::Lt(high) => (
            Some(Bound::Unbounded),
            text(high.value()).map(Bound::Excluded),
        ),
        Test::Lte(high) => (
            Some(Bound::Unbounded),
            text(high.value()).map(Bound::Included),
        ),
        Test::Between(low, high) => {
            let end = match text(high.value()) {
                Some(key) => Some(Bound::Included(key)),
                // An end of another type has all texts on one side.
                None => (*high.value() > Value::from("")).then_some(Bound::Unbounded),
            };
            (text(low.value()).map(Bound::Included), end)
        }
        Test::StartsWith(start) => return KeyRange::prefix(key(start)),
        Test::Eq(constant) => (
            text(constant.value()).map(Bound::Included),
            text(constant.value()).map(Bound::Included),
        ),
        Test::In(constants) => {
            let keys = constants.as_slice().iter();
            let keys = keys.filter_map(|constant| text(constant.value()).map(KeyRange::key));
            return hull(keys).unwrap_or_else(|| nothing(prefix));
        }
        _ => return KeyRange::all(),
    };
    match (start, end) {
        (Some(start), Some(end)) => KeyRange { start, end },
        _ => nothing(prefix),
    }
}
