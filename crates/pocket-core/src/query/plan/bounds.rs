//! What the conditions of a filter say about the keys of an index field.
//!
//! An index holds of each document the values at a path, arrays replaced by their elements, and null where there is
//! nothing. A [`Term`] is one operator read that way: every document for which it holds has a key among its shape.

use pocket_storage::sorting;

use crate::Value;
use crate::index::Interval;
use crate::query::filter::{Condition, Constant, ElementTest, Node, Test};

use std::ops::Bound;

/// Keys of one field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// These values, rising, each once.
    Points(Vec<Value>),
    /// What lies in one of these.
    Intervals(Vec<Interval>),
}

/// One operator on one path.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) path: String,
    pub(super) shape: Shape,
    /// Whether a document that has such a key is one for which it holds, too. Of null that is only so where a field holds
    /// no arrays: an empty one has that key, and is not null.
    pub(super) exact: bool,
    /// The operators it stands for, by their places among all of the conditions.
    pub(super) stands_for: Vec<usize>,
    /// The same as conditions, to be shown.
    pub(super) nodes: Vec<Node>,
}

/// The terms of conditions that all hold.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) all: Vec<Term>,
    /// How many operators there are; none when there is something that no term can stand for.
    total: Option<usize>,
}

impl Shape {
    pub(super) fn contains_null(&self) -> bool {
        self.contains(&Value::Null)
    }

    fn contains(&self, value: &Value) -> bool {
        match self {
            Self::Points(values) => values.binary_search(value).is_ok(),
            Self::Intervals(intervals) => holds(intervals, value),
        }
    }

    /// What lies in both.
    fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Points(values), other) | (other, Self::Points(values)) => {
                let values = values.iter().filter(|value| other.contains(value));
                Self::Points(values.cloned().collect())
            }
            (Self::Intervals(left), Self::Intervals(right)) => {
                let pairs = left
                    .iter()
                    .flat_map(|left| right.iter().map(|right| left.and(right)));
                Self::Intervals(pairs.filter(|both| !both.is_empty()).collect())
            }
        }
    }

    /// Whether everything in it lies in the other, too.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Points(values), other) => values.iter().all(|value| other.contains(value)),
            (Self::Intervals(inner), Self::Intervals(outer)) => inner
                .iter()
                .all(|inner| outer.iter().any(|outer| inner.and(outer) == *inner)),
            (Self::Intervals(inner), Self::Points(_)) => inner.is_empty(),
        }
    }

    /// Its intervals, in the rising order if they were.
    pub(super) fn intervals(&self) -> Vec<Interval> {
        match self {
            Self::Points(values) => values.iter().map(Interval::equal).collect(),
            Self::Intervals(intervals) => intervals.clone(),
        }
    }

    /// The one value it allows.
    pub(super) fn single(&self) -> Option<&Value> {
        match self {
            Self::Points(values) => match &values[..] {
                [value] => Some(value),
                _ => None,
            },
            Self::Intervals(_) => None,
        }
    }

    /// How much it may let in, by its looks: the smaller, the less.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Points(values) => values.len().min(1_000),
            Self::Intervals(intervals) => 1_000 + intervals.len(),
        }
    }
}

fn holds(intervals: &[Interval], value: &Value) -> bool {
    let point = Interval::equal(value);
    intervals
        .iter()
        .any(|interval| !interval.and(&point).is_empty())
}

impl Term {
    /// Both hold, of one and the same value.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.shape = self.shape.and(&other.shape);
        self.exact &= other.exact;
        self.stands_for.extend(&other.stands_for);
        self.nodes.extend(other.nodes.iter().cloned());
        self
    }
}

impl Terms {
    /// Reads conditions that all hold.
    pub(super) fn of(conjuncts: &[Node]) -> Self {
        let mut terms = Self {
            all: Vec::new(),
            total: None,
        };
        let (mut place, mut is_all) = (0, true);
        for node in conjuncts {
            let Node::Field(condition) = node else {
                is_all = false;
                continue;
            };
            for test in &condition.tests {
                terms.read(condition, test, place);
                place += 1;
            }
        }
        terms.total = is_all.then_some(place);
        terms
    }

    /// Whether these terms say all that the conditions say.
    pub(super) fn are_covered_by<'a>(&self, used: impl IntoIterator<Item = &'a Term>) -> bool {
        let Some(total) = self.total else {
            return false;
        };
        let mut told = vec![false; total];
        for term in used.into_iter().filter(|term| term.exact) {
            for place in &term.stands_for {
                told[*place] = true;
            }
        }
        told.into_iter().all(|is_told| is_told)
    }

    pub(super) fn at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Term> {
        self.all.iter().filter(move |term| term.path == path)
    }

    /// The terms of one operator, of which no more than the shape is to be used.
    pub(super) fn of_test(path: &str, test: &Test) -> Vec<Term> {
        let term = |(shape, exact)| Term {
            path: path.to_owned(),
            shape,
            exact,
            stands_for: Vec::new(),
            nodes: Vec::new(),
        };
        shapes(test).into_iter().map(term).collect()
    }

    fn read(&mut self, condition: &Condition, test: &Test, place: usize) {
        let node = Node::Field(Condition {
            path: condition.path.clone(),
            tests: vec![test.clone()],
        });
        let mut add = |path: &str, (shape, exact)| {
            self.all.push(Term {
                path: path.to_owned(),
                shape,
                exact,
                stands_for: vec![place],
                nodes: vec![node.clone()],
            });
        };
        if let Test::ElemMatch(ElementTest::Filter(inner)) = test {
            for (path, shape) in of_element(condition.path.as_str(), inner) {
                add(&path, (shape, false));
            }
        }
        for shape in shapes(test) {
            add(condition.path.as_str(), shape);
        }
    }
}

/// The shapes of an operator, each of which holds, and whether they are exact.
fn shapes(test: &Test) -> Vec<(Shape, bool)> {
    match test {
        Test::Eq(constant) => equal_to(std::slice::from_ref(constant)),
        Test::In(constants) => equal_to(constants.as_slice()),
        Test::All(constants) => {
            let each = constants.as_slice().iter();
            each.flat_map(|constant| equal_to(std::slice::from_ref(constant)))
                .map(|(shape, _)| (shape, false))
                .collect()
        }
        // Of a text it may be the middle of any string.
        Test::Contains(constant) if constant.value().as_str().is_none() => {
            vec![(Shape::Points(vec![constant.value().clone()]), false)]
        }
        // A key null may also be that of a null.
        Test::Exists(false) => vec![(Shape::Points(vec![Value::Null]), false)],
        Test::ElemMatch(ElementTest::Tests(tests)) => {
            let shapes = tests.iter().filter_map(of_one);
            let joined = shapes.reduce(|joined, shape| joined.and(&shape));
            joined.map(|shape| (shape, false)).into_iter().collect()
        }
        test => of_one(test)
            .map(|shape| (shape, true))
            .into_iter()
            .collect(),
    }
}

/// Values equal to one of these. An array that equals one is among the keys by its elements, or as an element of
/// another one.
fn equal_to(constants: &[Constant]) -> Vec<(Shape, bool)> {
    let mut points = Vec::with_capacity(constants.len());
    let mut exact = true;
    for constant in constants {
        if let Value::Array(elements) = constant.value() {
            // An empty array among other values has no key.
            let Some(first) = elements.first() else {
                return Vec::new();
            };
            points.push(first.clone());
            exact = false;
        }
        points.push(constant.value().clone());
    }
    sorting::sort_unstable(&mut points);
    points.dedup();
    vec![(Shape::Points(points), exact)]
}

/// The keys of values for which an operator holds that looks at one value as it is.
fn of_one(test: &Test) -> Option<Shape> {
    let interval = match test {
        Test::Eq(constant) => return Some(Shape::Points(vec![constant.value().clone()])),
        Test::In(constants) => {
            let values = constants.as_slice().iter();
            let mut points: Vec<_> = values.map(|constant| constant.value().clone()).collect();
            sorting::sort_unstable(&mut points);
            points.dedup();
            return Some(Shape::Points(points));
        }
        Test::Gt(constant) => Interval::like(Bound::Excluded(plain(constant)?), Bound::Unbounded),
        Test::Gte(constant) => Interval::like(Bound::Included(plain(constant)?), Bound::Unbounded),
        Test::Lt(constant) => Interval::like(Bound::Unbounded, Bound::Excluded(plain(constant)?)),
        Test::Lte(constant) => Interval::like(Bound::Unbounded, Bound::Included(plain(constant)?)),
        Test::Between(low, high) => {
            let (low, high) = (plain(low)?, plain(high)?);
            let between = Interval::between(Bound::Included(low), Bound::Included(high));
            between.and(&Interval::of_type(low))
        }
        Test::StartsWith(start) => Interval::strings(start),
        _ => return None,
    };
    Some(Shape::Intervals(
        Some(interval)
            .filter(|interval| !interval.is_empty())
            .into_iter()
            .collect(),
    ))
}

/// A value that is no array: whole arrays are no keys.
fn plain(constant: &Constant) -> Option<&Value> {
    let value = constant.value();
    (!matches!(value, Value::Array(_))).then_some(value)
}

/// What an `$elemMatch` says of the fields of elements, which are fields of the document, too. Null is left out: an
/// element without the field leaves no trace beside one that has it.
fn of_element(outer: &str, inner: &Node) -> Vec<(String, Shape)> {
    let mut found = Vec::new();
    for node in inner.conjuncts() {
        let Node::Field(condition) = node else {
            continue;
        };
        let path = condition.path.as_str();
        // From the outside a number would name a place in the array.
        if path
            .split('.')
            .next()
            .is_some_and(|first| first.bytes().all(|byte| byte.is_ascii_digit()))
        {
            continue;
        }
        for (shape, _) in condition.tests.iter().flat_map(shapes) {
            if !shape.contains_null() {
                found.push((format!("{outer}.{path}"), shape));
            }
        }
    }
    found
}
