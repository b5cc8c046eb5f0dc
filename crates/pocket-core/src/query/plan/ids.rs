//! What a filter says about the ids of documents, by which they are stored.

use std::collections::BTreeSet;
use std::ops::Bound;

use pocket_storage::KeyRange;

use super::candidate::both;
use crate::keys::{self, CollectionId};
use crate::query::Order;
use crate::query::execute::Prepared;
use crate::query::filter::{Node, Test};
use crate::{DocumentId, Result, Value};

/// The tests of `_id`, each of which must hold.
fn tests(conjuncts: &[Node]) -> impl Iterator<Item = &Test> {
    let conditions = conjuncts.iter().filter_map(|node| match node {
        Node::Field(condition) if condition.path.is_id() => Some(&condition.tests),
        _ => None,
    });
    conditions.flatten()
}

/// The ids that documents can only have, rising, if the conditions name them. What is no id at all is left out.
pub(super) fn named(conjuncts: &[Node]) -> Result<Option<Vec<DocumentId>>> {
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
    Ok(named.map(|ids| ids.into_iter().collect()))
}

/// Whether the conditions allow a range of ids only.
pub(in crate::query) fn bounds_ids(conjuncts: &[Node]) -> bool {
    tests(conjuncts).any(|test| {
        matches!(
            test,
            Test::Gt(_)
                | Test::Gte(_)
                | Test::Lt(_)
                | Test::Lte(_)
                | Test::Between(..)
                | Test::StartsWith(_)
        )
    })
}

/// Where the documents lie whose ids the conditions allow, and the query's cursors where it sorts by id alone.
pub(super) fn range(query: &Prepared, conjuncts: &[Node], collection: CollectionId) -> KeyRange {
    let all = keys::documents(collection);
    let Bound::Included(prefix) = all.start.clone() else {
        return all;
    };
    let key = |text: &str| [prefix.as_slice(), text.as_bytes()].concat();
    let mut range = all;
    for test in tests(conjuncts) {
        range = both(&range, &allowed(test, &prefix, &key));
    }
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
        _ => return KeyRange::all(),
    };
    match (start, end) {
        (Some(start), Some(end)) => KeyRange { start, end },
        _ => KeyRange::prefix(prefix).before(prefix),
    }
}
