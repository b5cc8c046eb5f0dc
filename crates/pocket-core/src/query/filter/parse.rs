//! Reads raw filter documents.

use std::fmt;

use super::ids;
use super::node::{Condition, Constant, Constants, ElementTest, Node, Pattern, Test, too_deep};
use crate::config::{MAX_FILTER_DEPTH, MAX_LISTED_VALUES};
use crate::query::path::{Path, shown};
use crate::{Error, Map, Result, Value, codes};

/// What stands behind a field.
const OPERATORS: &str = "$eq $ne $gt $gte $lt $lte $between $in $nin $exists $startsWith $endsWith $contains $regex \
                         $all $size $elemMatch $not";

/// What stands where a field does.
const JOINTS: &str = "$and $or $nor $not";

/// Reads a whole filter.
pub(super) fn filter(document: &Value) -> Result<Node> {
    let node = stored(document)?;
    ids::check(&node)?;
    Ok(node)
}

/// Reads a whole filter that was once good.
pub(super) fn stored(document: &Value) -> Result<Node> {
    Scope::document().filter(document)?.measured()
}

/// Reads one operator at a path, as a builder gives it.
pub(crate) fn operator(path: &str, name: &str, operand: &Value) -> Result<Test> {
    Scope::document().at(path).operator(name, operand)
}

/// Where in a filter the parser is.
#[derive(Clone, Copy)]
struct Scope<'a> {
    /// The field whose operators are read; empty outside of any.
    path: &'a str,
    /// Whether fields belong to an element of an array and not to the document.
    inner: bool,
    depth: usize,
}

impl<'a> Scope<'a> {
    fn document() -> Self {
        Self {
            path: "",
            inner: false,
            depth: 0,
        }
    }

    fn at(self, path: &'a str) -> Self {
        Self { path, ..self }
    }

    fn deeper(self) -> Result<Self> {
        if self.depth >= MAX_FILTER_DEPTH {
            return Err(Error::new(codes::BAD_QUERY, too_deep()));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    fn fault(self, operator: &str, what: impl fmt::Display) -> Error {
        fault(self.path, operator, what)
    }

    fn filter(self, document: &Value) -> Result<Node> {
        let Some(map) = document.as_map() else {
            return Err(Error::new(
                codes::BAD_QUERY,
                format!(
                    "a filter is a map of fields and what they must be, like {{\"age\":{{\"$gte\":18}}}}, not {}",
                    a(document)
                ),
            ));
        };
        let nodes = map.iter().map(|(key, value)| match key {
            "$and" => self.joint(key, value).map(Node::all),
            "$or" => self.joint(key, value).map(Node::any),
            "$nor" => self.joint(key, value).map(Node::Nor),
            "$not" => {
                if value.as_map().is_none_or(is_tests) {
                    return Err(self.fault(
                        key,
                        "where no field stands before it, it takes a filter, like {\"$not\":{\"age\":5}}; to negate \
                         an operator write {\"age\":{\"$not\":{\"$gt\":5}}}",
                    ));
                }
                Ok(Node::not(self.deeper()?.filter(value)?))
            }
            key if key.starts_with('$') => Err(self.fault(key, misplaced(key))),
            key => self.field(key, value),
        });
        Ok(Node::all(nodes.collect::<Result<_>>()?))
    }

    fn joint(self, name: &str, value: &Value) -> Result<Vec<Node>> {
        let scope = self.deeper()?;
        match value.as_array() {
            Some(filters) if !filters.is_empty() => {
                filters.iter().map(|filter| scope.filter(filter)).collect()
            }
            Some(_) => Err(self.fault(name, "it takes at least one filter; leave it out")),
            None => Err(self.fault(
                name,
                format_args!("it takes an array of filters, not {}", a(value)),
            )),
        }
    }

    fn field(self, key: &str, value: &Value) -> Result<Node> {
        let path = if self.inner {
            Path::parse_inner(key)
        } else {
            Path::parse(key)
        };
        Ok(Node::Field(Condition {
            path: path?,
            tests: self.at(key).condition(value)?,
        }))
    }

    /// What stands behind a field or behind a `$not`: operators, or a value that is meant as `$eq`.
    fn condition(self, value: &Value) -> Result<Vec<Test>> {
        let operators = value
            .as_map()
            .filter(|map| map.keys().any(|key| key.starts_with('$')));
        match operators {
            Some(map) => self.operators(map),
            None => Ok(vec![self.operator("$eq", value)?]),
        }
    }

    fn operators(self, map: &Map) -> Result<Vec<Test>> {
        if let Some(key) = map.keys().find(|key| !key.starts_with('$')) {
            return Err(self.fault(
                key,
                "operators and fields stand together in one map; for a field inside of a field write \"a.b\", for \
                 equality with a map {\"$eq\":{…}}",
            ));
        }
        map.iter()
            .map(|(name, operand)| self.operator(name, operand))
            .collect()
    }

    fn operator(self, name: &str, operand: &Value) -> Result<Test> {
        let constant = |value: &Value| Constant::new(value).map_err(|what| self.fault(name, what));
        Ok(match name {
            "$eq" => Test::Eq(constant(operand)?),
            "$ne" => Test::Ne(constant(operand)?),
            "$gt" => Test::Gt(constant(operand)?),
            "$gte" => Test::Gte(constant(operand)?),
            "$lt" => Test::Lt(constant(operand)?),
            "$lte" => Test::Lte(constant(operand)?),
            "$contains" => Test::Contains(constant(operand)?),
            "$between" => {
                let Some([low, high]) = operand.as_array() else {
                    return Err(self.fault(
                        name,
                        "it takes an array of two values, the least and the greatest",
                    ));
                };
                if !low.is_like(high) {
                    return Err(self.fault(
                        name,
                        format_args!(
                            "its ends are {} and {}, and no value is like both; give two of one type",
                            a(low),
                            a(high)
                        ),
                    ));
                }
                Test::Between(constant(low)?, constant(high)?)
            }
            "$in" => Test::In(self.list(name, operand)?),
            "$nin" => Test::Nin(self.list(name, operand)?),
            "$all" => Test::All(self.list(name, operand)?),
            "$exists" => Test::Exists(operand.as_bool().ok_or_else(|| {
                self.fault(
                    name,
                    format_args!("it takes true or false, not {}", a(operand)),
                )
            })?),
            "$startsWith" => Test::StartsWith(self.text(name, operand)?.into()),
            "$endsWith" => Test::EndsWith(self.text(name, operand)?.into()),
            "$regex" => Test::Regex(
                Pattern::new(self.text(name, operand)?).map_err(|what| self.fault(name, what))?,
            ),
            "$size" => Test::Size(size(operand).ok_or_else(|| {
                self.fault(
                    name,
                    "it takes a whole number from 0 on, of at most 32 bits",
                )
            })?),
            "$elemMatch" => Test::ElemMatch(self.element(operand)?),
            "$not" => Test::Not(self.deeper()?.condition(operand)?),
            "$and" | "$or" | "$nor" => {
                return Err(self.fault(
                    name,
                    format_args!(
                        "it does not stand behind a field; write {{\"{name}\":[{{\"field\":…}},{{\"field\":…}}]}}"
                    ),
                ));
            }
            _ => {
                return Err(self.fault(
                    name,
                    format_args!("there is no such operator; behind a field are {OPERATORS}"),
                ));
            }
        })
    }

    fn list(self, name: &str, operand: &Value) -> Result<Constants> {
        let Some(values) = operand.as_array() else {
            return Err(self.fault(
                name,
                format_args!("it takes an array of values, not {}", a(operand)),
            ));
        };
        if values.len() > MAX_LISTED_VALUES {
            return Err(self.fault(
                name,
                format_args!(
                    "it takes at most {MAX_LISTED_VALUES} values, not {}; ask several times",
                    values.len()
                ),
            ));
        }
        let values = values
            .iter()
            .map(|value| Constant::new(value).map_err(|what| self.fault(name, what)));
        Ok(Constants::new(values.collect::<Result<_>>()?))
    }

    fn text(self, name: &str, operand: &'a Value) -> Result<&'a str> {
        operand
            .as_str()
            .ok_or_else(|| self.fault(name, format_args!("it takes a string, not {}", a(operand))))
    }

    fn element(self, operand: &Value) -> Result<ElementTest> {
        let scope = self.deeper()?;
        match operand.as_map() {
            Some(map) if is_tests(map) => scope.operators(map).map(ElementTest::Tests),
            Some(_) => {
                let inner = Self {
                    inner: true,
                    path: "",
                    ..scope
                };
                let node = inner.filter(operand).map_err(|error| {
                    Error::new(
                        codes::BAD_QUERY,
                        format!("in `$elemMatch` at {:?}: {error}", shown(self.path)),
                    )
                    .at(self.path)
                })?;
                Ok(ElementTest::Filter(Box::new(node)))
            }
            None => Err(self.fault(
                "$elemMatch",
                format_args!(
                    "it takes a filter of the element, or operators for the element itself, not {}",
                    a(operand)
                ),
            )),
        }
    }
}

/// Why an operator cannot stand where a field is expected.
fn misplaced(key: &str) -> String {
    if OPERATORS.split(' ').any(|name| name == key) {
        format!(
            "it stands behind a field, as in {{\"field\":{{\"{key}\":…}}}}; at this place are {JOINTS}"
        )
    } else {
        format!("there is no such operator; at this place are fields and {JOINTS}")
    }
}

/// Whether a map holds operators for a value, and not a filter: both may begin with `$not`, and then what is inside
/// decides.
fn is_tests(map: &Map) -> bool {
    map.iter().next().is_some_and(|(key, value)| match key {
        "$and" | "$or" | "$nor" => false,
        "$not" => value.as_map().is_none_or(is_tests),
        key => key.starts_with('$'),
    })
}

/// A whole number by value, so `2.0` is one.
fn size(value: &Value) -> Option<u32> {
    match value {
        Value::Integer(number) => number.as_u64().and_then(|number| number.try_into().ok()),
        Value::Float(number) => {
            #[expect(clippy::cast_sign_loss, reason = "what was lost is noticed behind it")]
            let whole = *number as u32;
            (Value::from(whole) == *value).then_some(whole)
        }
        _ => None,
    }
}

pub(super) fn fault(path: &str, operator: &str, what: impl fmt::Display) -> Error {
    let operator = shown(operator);
    let place = if path.is_empty() {
        String::new()
    } else {
        format!(" at {:?}", shown(path))
    };
    Error::new(codes::BAD_QUERY, format!("bad `{operator}`{place}: {what}")).at(path)
}

/// The type of a value in a sentence.
pub(super) fn a(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Array(_) => "an array".into(),
        other => format!("a {}", other.type_name()),
    }
}
