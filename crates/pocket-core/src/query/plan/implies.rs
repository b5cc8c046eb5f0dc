//! Whether a query selects no document that an index leaves out.

use super::bounds::{Term, Terms};
use crate::Result;
use crate::index::Index;
use crate::query::Filter;
use crate::query::filter::{Node, Test};

/// Whether all documents that pass `conjuncts` have an entry in the index, at the keys that the `used` terms tell.
/// `used` has the term of each field that is bounded, by place.
pub(super) fn holds_all(
    index: &Index,
    conjuncts: &[Node],
    terms: &Terms,
    used: &[&Term],
) -> Result<bool> {
    if index.config.sparse && !has_a_value(index, terms, used) {
        return Ok(false);
    }
    match only(index) {
        Some(only) => implies(conjuncts, terms, only),
        None => Ok(true),
    }
}

/// Which documents a partial index holds.
fn only(index: &Index) -> Option<&Filter> {
    index.config.only.as_ref()
}

/// Whether one of the fields is demanded to be something other than null. A sparse index has no entry that is null in
/// all fields; so of a bounded field that must be known of the very key that is looked for.
fn has_a_value(index: &Index, terms: &Terms, used: &[&Term]) -> bool {
    let mut fields = index.fields.iter().enumerate();
    fields.any(|(place, field)| match used.get(place) {
        Some(term) => !term.shape.contains_null(),
        None => terms
            .at(field.path.as_str())
            .any(|term| !term.shape.contains_null()),
    })
}

/// Whether every document that passes `conjuncts` passes `only`, as far as that can be seen: each condition of `only`
/// stands among them or is wider than one that does.
fn implies(conjuncts: &[Node], terms: &Terms, only: &Filter) -> Result<bool> {
    let implied = |node: &Node| {
        let Node::Field(condition) = node else {
            return conjuncts.contains(node);
        };
        let path = condition.path.as_str();
        condition.tests.iter().all(|test| {
            let stands_there = conjuncts.iter().any(|conjunct| {
                matches!(conjunct, Node::Field(other) if other.path == condition.path && other.tests.contains(test))
            });
            stands_there || follows(terms, path, test)
        })
    };
    Ok(only.node()?.conjuncts().iter().all(implied))
}

/// Whether an operator holds for every document for which a term of its path does.
fn follows(terms: &Terms, path: &str, test: &Test) -> bool {
    let mut known = terms.at(path).filter(|term| !term.shape.contains_null());
    if *test == Test::Exists(true) {
        return known.next().is_some();
    }
    // What is not null among the keys is a value that operators are asked of, so an exact shape works backwards.
    let wanted = Terms::of_test(path, test);
    known.any(|term| {
        wanted
            .iter()
            .any(|wanted| wanted.exact && term.shape.is_within(&wanted.shape))
    })
}
