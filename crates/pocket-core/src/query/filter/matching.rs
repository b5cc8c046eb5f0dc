//! Matches filters against encoded documents.
//!
//! An operator is asked of each value that its path reaches, and of the elements of those that are arrays; it holds
//! when it holds for one. A path that reaches nothing is asked as if it reached null. `$contains`, `$size` and
//! `$elemMatch` see an array only as a whole, and inside of an `$elemMatch` so does every operator.

use std::cmp::Ordering;

use super::node::{Condition, Constant, ElementTest, Node, Test};
use crate::Result;
use crate::query::path::Place;
use crate::value::Encoded;

/// Whether a document, or a map inside of one, passes.
pub(super) fn passes(node: &Node, place: Place<'_>) -> Result<bool> {
    match node {
        Node::All(nodes) => {
            for node in nodes {
                if !passes(node, place)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Node::Any(nodes) => any_passes(nodes, place),
        Node::Nor(nodes) => Ok(!any_passes(nodes, place)?),
        Node::Not(node) => Ok(!passes(node, place)?),
        Node::Field(condition) => holds(condition, place),
    }
}

fn any_passes(nodes: &[Node], place: Place<'_>) -> Result<bool> {
    for node in nodes {
        if passes(node, place)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn holds(condition: &Condition, place: Place<'_>) -> Result<bool> {
    let reached = condition.path.values(place)?;
    let exists = !reached.as_slice().is_empty();
    let values = if exists {
        reached.as_slice()
    } else {
        &[Encoded::NULL]
    };
    Candidates {
        values,
        exists,
        opened: true,
    }
    .all_hold(&condition.tests)
}

/// What operators are asked of.
#[derive(Clone, Copy)]
struct Candidates<'a> {
    /// At least one.
    values: &'a [Encoded<'a>],
    exists: bool,
    /// Whether elements of arrays are candidates too.
    opened: bool,
}

impl Candidates<'_> {
    fn all_hold(self, tests: &[Test]) -> Result<bool> {
        for test in tests {
            if !self.hold(test)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn hold(self, test: &Test) -> Result<bool> {
        match test {
            Test::Eq(constant) => self.one_equals(constant),
            Test::Ne(constant) => Ok(!self.one_equals(constant)?),
            Test::Gt(constant) => self.one_is(constant, Ordering::is_gt),
            Test::Gte(constant) => self.one_is(constant, Ordering::is_ge),
            Test::Lt(constant) => self.one_is(constant, Ordering::is_lt),
            Test::Lte(constant) => self.one_is(constant, Ordering::is_le),
            Test::Between(low, high) => {
                let (low, high) = (low.encoded()?, high.encoded()?);
                self.one(|value| {
                    Ok(value.is_like(low)
                        && value.compare(low)?.is_ge()
                        && value.compare(high)?.is_le())
                })
            }
            Test::In(constants) => self.one(|value| constants.contain(value)),
            Test::Nin(constants) => Ok(!self.one(|value| constants.contain(value))?),
            Test::Exists(exists) => Ok(self.exists == *exists),
            Test::StartsWith(start) => self.one_text(|text| text.starts_with(&**start)),
            Test::EndsWith(end) => self.one_text(|text| text.ends_with(&**end)),
            Test::Regex(pattern) => self.one_text(|text| pattern.is_match(text)),
            Test::Contains(constant) => self.one_contains(constant),
            Test::All(constants) => {
                let opened = Self {
                    opened: true,
                    ..self
                };
                for constant in constants.as_slice() {
                    if !opened.one_equals(constant)? {
                        return Ok(false);
                    }
                }
                Ok(!constants.as_slice().is_empty())
            }
            Test::Size(size) => Ok(self.values.iter().any(|value| {
                value
                    .array()
                    .is_some_and(|elements| elements.count_left() == *size)
            })),
            Test::ElemMatch(test) => self.one_element(|element| match test {
                ElementTest::Filter(node) => {
                    Ok(element.map().is_some() && passes(node, Place::inner(element))?)
                }
                ElementTest::Tests(tests) => Candidates {
                    values: &[element],
                    exists: true,
                    opened: false,
                }
                .all_hold(tests),
            }),
            Test::Not(tests) => Ok(!self.all_hold(tests)?),
        }
    }

    /// Whether `test` holds for one of the values or, where they are looked into, one of their elements.
    fn one(self, test: impl Fn(Encoded<'_>) -> Result<bool>) -> Result<bool> {
        for value in self.values {
            if test(*value)? {
                return Ok(true);
            }
        }
        if self.opened {
            return self.one_element(test);
        }
        Ok(false)
    }

    /// Whether `test` holds for an element of one of the values.
    fn one_element(self, test: impl Fn(Encoded<'_>) -> Result<bool>) -> Result<bool> {
        for elements in self.values.iter().filter_map(|value| value.array()) {
            for element in elements {
                if test(element?)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn one_equals(self, constant: &Constant) -> Result<bool> {
        let constant = constant.encoded()?;
        for value in self.values {
            if value.equals(constant)? {
                return Ok(true);
            }
        }
        Ok(self.opened && self.one_element_equals(constant)?)
    }

    fn one_element_equals(self, constant: Encoded<'_>) -> Result<bool> {
        for elements in self.values.iter().filter_map(|value| value.array()) {
            if elements.contain(constant)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn one_is(self, constant: &Constant, accept: impl Fn(Ordering) -> bool) -> Result<bool> {
        let constant = constant.encoded()?;
        self.one(|value| Ok(value.is_like(constant) && accept(value.compare(constant)?)))
    }

    fn one_text(self, accept: impl Fn(&str) -> bool) -> Result<bool> {
        self.one(|value| Ok(value.as_str()?.is_some_and(&accept)))
    }

    fn one_contains(self, constant: &Constant) -> Result<bool> {
        if let Some(part) = constant.value().as_str() {
            for value in self.values {
                if value.as_str()?.is_some_and(|text| text.contains(part)) {
                    return Ok(true);
                }
            }
        }
        let constant = constant.encoded()?;
        self.one_element_equals(constant)
    }
}
