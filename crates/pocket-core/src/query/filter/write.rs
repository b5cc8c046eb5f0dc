//! Writes filters as raw documents, in the shape that reads back as the same tree.

use super::node::{Constant, Constants, ElementTest, Node, Test};
use crate::{Map, Value};

/// The raw document of a filter.
pub(super) fn filter(node: &Node) -> Value {
    let nodes = node.conjuncts();
    let mut map = Map::new();
    for node in nodes {
        let (key, value) = entry(node);
        if map.insert(key, value).is_some() {
            // A key occurs once in a map, so several conditions on one field need an `$and`.
            let each = nodes.iter().map(filter);
            return Value::Map(Map::from_iter([("$and", each.collect::<Value>())]));
        }
    }
    Value::Map(map)
}

/// What stands for a node that is no `All` in the map of its filter.
fn entry(node: &Node) -> (&str, Value) {
    match node {
        Node::All(nodes) => ("$and", nodes.iter().map(filter).collect()),
        Node::Any(nodes) => ("$or", nodes.iter().map(filter).collect()),
        Node::Nor(nodes) => ("$nor", nodes.iter().map(filter).collect()),
        Node::Not(node) => ("$not", filter(node)),
        Node::Field(condition) => {
            let value = match &condition.tests[..] {
                // A map could be taken for operators.
                [Test::Eq(value)] if value.value().as_map().is_none() => value.value().clone(),
                several => tests(several),
            };
            (condition.path.as_str(), value)
        }
    }
}

fn tests(tests: &[Test]) -> Value {
    let entries = tests.iter().map(|test| (test.operator(), operand(test)));
    Value::Map(entries.collect())
}

fn operand(test: &Test) -> Value {
    match test {
        Test::Eq(value)
        | Test::Ne(value)
        | Test::Gt(value)
        | Test::Gte(value)
        | Test::Lt(value)
        | Test::Lte(value)
        | Test::Contains(value) => value.value().clone(),
        Test::Between(low, high) => list(&[low.clone(), high.clone()]),
        Test::In(values) | Test::Nin(values) | Test::All(values) => {
            list(Constants::as_slice(values))
        }
        Test::Exists(exists) => Value::from(*exists),
        Test::StartsWith(text) | Test::EndsWith(text) => Value::from(&**text),
        Test::Regex(pattern) => Value::from(pattern.as_str()),
        Test::Size(size) => Value::from(*size),
        Test::ElemMatch(ElementTest::Tests(inner)) | Test::Not(inner) => tests(inner),
        Test::ElemMatch(ElementTest::Filter(node)) => filter(node),
    }
}

fn list(values: &[Constant]) -> Value {
    values.iter().map(|value| value.value().clone()).collect()
}
