//! The tree of a filter, what it may hold, and how large it may be.

use std::fmt;

use pocket_storage::sorting;
use regex_lite::{Regex, RegexBuilder};

use crate::config::{
    MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_NODES, MAX_PATTERN_BYTES, MAX_PROGRAM_BYTES,
};
use crate::query::path::Path;
use crate::value::{Encoded, value_bytes};
use crate::{DocumentLimits, Error, Result, Value, codes};

/// A filter: conditions and how they are joined.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// All hold; of none, every document passes. No child is an `All`.
    All(Vec<Node>),
    /// At least one of two or more holds. No child is an `Any`.
    Any(Vec<Node>),
    /// None of one or more holds.
    Nor(Vec<Node>),
    Not(Box<Node>),
    Field(Condition),
}

/// What must hold of the values at a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub(crate) path: Path,
    /// One or more; each must hold, of whichever value it likes. No operator occurs twice.
    pub(crate) tests: Vec<Test>,
}

/// One operator with its operand.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Eq(Constant),
    Ne(Constant),
    Gt(Constant),
    Gte(Constant),
    Lt(Constant),
    Lte(Constant),
    /// Both ends belong to it.
    Between(Constant, Constant),
    In(Constants),
    Nin(Constants),
    Exists(bool),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Constant),
    Regex(Pattern),
    All(Constants),
    Size(u32),
    ElemMatch(ElementTest),
    Not(Vec<Test>),
}

/// What must hold of one element of an array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ElementTest {
    /// All of the element itself.
    Tests(Vec<Test>),
    /// The element is a map that passes.
    Filter(Box<Node>),
}

impl Node {
    /// All of these, in the shape that reading gives.
    pub(super) fn all(nodes: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Self::All(inner) => flat.extend(inner),
                node => flat.push(node),
            }
        }
        match <[Self; 1]>::try_from(flat) {
            Ok([only]) => only,
            Err(flat) => Self::All(flat),
        }
    }

    /// One of these, of which there is at least one, in the shape that reading gives.
    pub(super) fn any(nodes: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(nodes.len());
        for node in nodes {
            match node {
                Self::Any(inner) => flat.extend(inner),
                node => flat.push(node),
            }
        }
        match <[Self; 1]>::try_from(flat) {
            Ok([only]) => only,
            Err(flat) => Self::Any(flat),
        }
    }

    pub(super) fn not(node: Self) -> Self {
        Self::Not(Box::new(node))
    }

    /// The conditions that must all hold, those inside of other joints left as they are.
    pub(crate) fn conjuncts(&self) -> &[Self] {
        match self {
            Self::All(nodes) => nodes,
            node => std::slice::from_ref(node),
        }
    }

    /// The tree, when it is not too large.
    pub(super) fn measured(self) -> Result<Self> {
        let mut size = Size::default();
        size.node(&self);
        size.check()?;
        Ok(self)
    }
}

impl Test {
    /// The name of its operator.
    pub(crate) fn operator(&self) -> &'static str {
        match self {
            Self::Eq(_) => "$eq",
            Self::Ne(_) => "$ne",
            Self::Gt(_) => "$gt",
            Self::Gte(_) => "$gte",
            Self::Lt(_) => "$lt",
            Self::Lte(_) => "$lte",
            Self::Between(..) => "$between",
            Self::In(_) => "$in",
            Self::Nin(_) => "$nin",
            Self::Exists(_) => "$exists",
            Self::StartsWith(_) => "$startsWith",
            Self::EndsWith(_) => "$endsWith",
            Self::Contains(_) => "$contains",
            Self::Regex(_) => "$regex",
            Self::All(_) => "$all",
            Self::Size(_) => "$size",
            Self::ElemMatch(_) => "$elemMatch",
            Self::Not(_) => "$not",
        }
    }
}

/// A value of a filter, also as it would lie in a body, so that comparing needs no building.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    value: Value,
    bytes: Vec<u8>,
}

impl Constant {
    /// Takes a value that a document may hold.
    ///
    /// # Errors
    /// What is wrong with it, without the place.
    pub(super) fn new(value: &Value) -> Result<Self, String> {
        if is_deeper(value, DocumentLimits::MAX_DEPTH) {
            return Err(format!(
                "the value has more than {} levels, which no document has",
                DocumentLimits::MAX_DEPTH
            ));
        }
        let bytes = value_bytes(value)
            .map_err(|error| format!("no document holds such a value: {error}"))?;
        Ok(Self {
            value: value.clone(),
            bytes,
        })
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// The value as it is compared with those of bodies.
    pub(crate) fn encoded(&self) -> Result<Encoded<'_>> {
        Encoded::of(&self.bytes)
    }
}

/// Equal by value.
impl PartialEq for Constant {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Several values, in their order and each once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constants(Vec<Constant>);

impl Constants {
    pub(super) fn new(mut values: Vec<Constant>) -> Self {
        sorting::sort_by(&mut values, |left, right| left.value.cmp(&right.value));
        values.dedup();
        Self(values)
    }

    pub(crate) fn as_slice(&self) -> &[Constant] {
        &self.0
    }

    /// Whether a value is one of them.
    pub(super) fn contain(&self, value: Encoded<'_>) -> Result<bool> {
        let (mut low, mut high) = (0, self.0.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let ordering = self.0[middle].encoded()?.compare(value)?;
            if ordering.is_eq() {
                return Ok(true);
            }
            if ordering.is_lt() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(false)
    }
}

/// A regular expression, compiled once.
#[derive(Clone)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, without the place.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(format!(
                "a pattern has at most {MAX_PATTERN_BYTES} bytes, this one {}; divide it",
                pattern.len()
            ));
        }
        RegexBuilder::new(pattern)
            .size_limit(MAX_PROGRAM_BYTES)
            .build()
            .map(Self)
            .map_err(|error| format!("the pattern is not accepted: {error}"))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// Equal when they are written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.as_str())
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(_) | Value::Map(_) if levels == 0 => true,
        Value::Array(values) => values.iter().any(|value| is_deeper(value, levels - 1)),
        Value::Map(map) => map.values().any(|value| is_deeper(value, levels - 1)),
        _ => false,
    }
}

/// How large a tree is.
#[derive(Default)]
struct Size {
    depth: usize,
    deepest: usize,
    nodes: usize,
    bytes: usize,
}

impl Size {
    fn node(&mut self, node: &Node) {
        self.nodes += 1;
        match node {
            Node::All(nodes) | Node::Any(nodes) | Node::Nor(nodes) => {
                self.deeper(|this| nodes.iter().for_each(|node| this.node(node)));
            }
            Node::Not(node) => self.deeper(|this| this.node(node)),
            Node::Field(condition) => {
                self.bytes += condition.path.as_str().len();
                self.tests(&condition.tests);
            }
        }
    }

    fn tests(&mut self, tests: &[Test]) {
        for test in tests {
            self.test(test);
        }
    }

    fn test(&mut self, test: &Test) {
        self.nodes += 1;
        match test {
            Test::Eq(value)
            | Test::Ne(value)
            | Test::Gt(value)
            | Test::Gte(value)
            | Test::Lt(value)
            | Test::Lte(value)
            | Test::Contains(value) => self.bytes += value.bytes.len(),
            Test::Between(low, high) => self.bytes += low.bytes.len() + high.bytes.len(),
            Test::In(values) | Test::Nin(values) | Test::All(values) => {
                self.bytes += values
                    .0
                    .iter()
                    .map(|value| value.bytes.len())
                    .sum::<usize>();
            }
            Test::StartsWith(text) | Test::EndsWith(text) => self.bytes += text.len(),
            Test::Regex(pattern) => self.bytes += pattern.as_str().len(),
            Test::Exists(_) | Test::Size(_) => {}
            Test::ElemMatch(ElementTest::Tests(tests)) | Test::Not(tests) => {
                self.deeper(|this| this.tests(tests));
            }
            Test::ElemMatch(ElementTest::Filter(node)) => self.deeper(|this| this.node(node)),
        }
    }

    fn deeper(&mut self, inside: impl FnOnce(&mut Self)) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        inside(self);
        self.depth -= 1;
    }

    fn check(&self) -> Result<()> {
        let message = if self.deepest > MAX_FILTER_DEPTH {
            too_deep()
        } else if self.nodes > MAX_FILTER_NODES {
            format!(
                "a filter has at most {MAX_FILTER_NODES} operators and fields, this one {}; use `$in` for many values \
                 of one field, or ask several times",
                self.nodes
            )
        } else if self.bytes > MAX_FILTER_BYTES {
            format!(
                "the values of a filter have at most {MAX_FILTER_BYTES} bytes together, these {}; ask several times",
                self.bytes
            )
        } else {
            return Ok(());
        };
        Err(Error::new(codes::BAD_QUERY, message))
    }
}

pub(super) fn too_deep() -> String {
    format!(
        "a filter has at most {MAX_FILTER_DEPTH} operators inside one another; write it flatter: `$and` of `$and` is \
         one `$and`"
    )
}
