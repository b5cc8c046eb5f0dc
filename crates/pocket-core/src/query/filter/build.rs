//! Builds filters in code.

use super::Filter;
use super::node::{Condition, ElementTest, Node, Test};
use super::parse;
use crate::query::path::Path;
use crate::{Result, Value};

/// The operators, for what waits for one and becomes `$out` by it. The type has a `test` that takes what makes the test
/// of a path.
macro_rules! operators {
    ($out:ty) => {
        /// `$eq`: equals `value`. Numbers by value, arrays and maps deeply; null also equals a missing field.
        pub fn eq(self, value: impl Into<Value>) -> $out {
            self.operator("$eq", value.into())
        }

        /// `$ne`: does not equal `value`; so it holds for a missing field, unless `value` is null.
        pub fn ne(self, value: impl Into<Value>) -> $out {
            self.operator("$ne", value.into())
        }

        /// `$gt`: is greater than `value`, and of its type.
        pub fn gt(self, value: impl Into<Value>) -> $out {
            self.operator("$gt", value.into())
        }

        /// `$gte`: is at least `value`, and of its type.
        pub fn gte(self, value: impl Into<Value>) -> $out {
            self.operator("$gte", value.into())
        }

        /// `$lt`: is less than `value`, and of its type.
        pub fn lt(self, value: impl Into<Value>) -> $out {
            self.operator("$lt", value.into())
        }

        /// `$lte`: is at most `value`, and of its type.
        pub fn lte(self, value: impl Into<Value>) -> $out {
            self.operator("$lte", value.into())
        }

        /// `$between`: is at least `low` and at most `high`, which are of one type.
        pub fn between(self, low: impl Into<Value>, high: impl Into<Value>) -> $out {
            self.operator("$between", Value::Array(vec![low.into(), high.into()]))
        }

        /// `$in`: equals one of `values`; of none, nothing matches.
        pub fn is_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> $out {
            self.operator("$in", values.into_iter().collect())
        }

        /// `$nin`: equals none of `values`; so it holds for a missing field, unless null is one of them.
        pub fn not_in<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> $out {
            self.operator("$nin", values.into_iter().collect())
        }

        /// `$exists: true`: there is such a field, be it null.
        pub fn exists(self) -> $out {
            self.operator("$exists", true.into())
        }

        /// `$exists: false`: there is no such field.
        pub fn not_exists(self) -> $out {
            self.operator("$exists", false.into())
        }

        /// `$startsWith`: is a string that begins with `text`.
        pub fn starts_with(self, text: impl Into<String>) -> $out {
            self.operator("$startsWith", text.into().into())
        }

        /// `$endsWith`: is a string that ends with `text`.
        pub fn ends_with(self, text: impl Into<String>) -> $out {
            self.operator("$endsWith", text.into().into())
        }

        /// `$contains`: is a string with this part, or an array with this element.
        pub fn contains(self, value: impl Into<Value>) -> $out {
            self.operator("$contains", value.into())
        }

        /// `$regex`: is a string in which the regular expression is found. `^` and `$` bind it to the ends; `(?i)`
        /// before it ignores the case of ASCII letters.
        pub fn matches(self, pattern: impl Into<String>) -> $out {
            self.operator("$regex", pattern.into().into())
        }

        /// `$all`: is an array with all of `values`, of which there is one at least; a value that is no array counts as one
        /// with that element.
        pub fn all<V: Into<Value>>(self, values: impl IntoIterator<Item = V>) -> $out {
            self.operator("$all", values.into_iter().collect())
        }

        /// `$size`: is an array of so many elements.
        pub fn size(self, elements: u32) -> $out {
            self.operator("$size", elements.into())
        }

        /// `$elemMatch`: is an array with an element for which all of this holds: a [`Filter`](crate::Filter) of its
        /// fields, or conditions on the element itself by [`element`](crate::element).
        pub fn elem_match(self, element: impl Into<crate::query::ElementFilter>) -> $out {
            self.test(|path| element.into().into_test(path))
        }

        fn operator(self, name: &str, operand: Value) -> $out {
            self.test(|path| crate::query::filter::operator(path, name, &operand))
        }
    };
}
pub(crate) use operators;

/// Begins a filter on the field at a dotted path: `field("address.city").eq("Graz")`.
pub fn field(path: impl Into<String>) -> Field {
    Field { path: path.into() }
}

/// Begins conditions on an element of an array itself: `field("scores").elem_match(element().gte(80).lt(90))`.
pub fn element() -> Element {
    Element(Ok(Vec::new()))
}

/// A field that waits for an operator.
#[derive(Clone, Debug)]
#[must_use]
pub struct Field {
    path: String,
}

impl Field {
    operators!(Filter);

    pub(crate) fn test(self, test: impl FnOnce(&str) -> Result<Test>) -> Filter {
        let build = || {
            let path = Path::parse(&self.path)?;
            let tests = vec![test(&self.path)?];
            Node::Field(Condition { path, tests }).measured()
        };
        Filter(build())
    }
}

/// Conditions on an element of an array itself, all of which must hold.
#[derive(Clone, Debug)]
#[must_use]
pub struct Element(Result<Vec<Test>>);

impl Element {
    operators!(Self);

    fn test(self, test: impl FnOnce(&str) -> Result<Test>) -> Self {
        let build = || {
            let mut tests = self.0?;
            let test = test("element()")?;
            let operator = test.operator();
            if tests.iter().any(|before| before.operator() == operator) {
                let what = "it occurs twice for one element; join the two into one";
                return Err(parse::fault("element()", operator, what));
            }
            tests.push(test);
            Ok(tests)
        };
        Self(build())
    }
}

/// What an `$elemMatch` asks of an element, made of a [`Filter`] or an [`Element`].
#[derive(Clone, Debug)]
pub struct ElementFilter(Result<ElementTest>);

impl ElementFilter {
    pub(crate) fn into_test(self, path: &str) -> Result<Test> {
        match self.0? {
            ElementTest::Tests(tests) if tests.is_empty() => Err(parse::fault(
                path,
                "$elemMatch",
                "`element()` has no condition; give it one, or ask for `exists`",
            )),
            test => Ok(Test::ElemMatch(test)),
        }
    }
}

/// Fields of the element.
impl From<Filter> for ElementFilter {
    fn from(filter: Filter) -> Self {
        Self(filter.0.map(|node| ElementTest::Filter(Box::new(node))))
    }
}

/// The element itself.
impl From<Element> for ElementFilter {
    fn from(element: Element) -> Self {
        Self(element.0.map(ElementTest::Tests))
    }
}
