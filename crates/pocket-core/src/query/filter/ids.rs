//! A document's id is text, so it is compared with text only: everything else would silently select nothing, or everything.

use super::node::{Constant, Node, Test};
use super::parse::{a, fault};
use crate::{Result, Value};

/// Refuses a filter of documents that compares `_id` with what no id can be.
pub(super) fn check(node: &Node) -> Result<()> {
    match node {
        Node::All(nodes) | Node::Any(nodes) | Node::Nor(nodes) => nodes.iter().try_for_each(check),
        Node::Not(node) => check(node),
        Node::Field(condition) if condition.path.is_id() => {
            condition.tests.iter().try_for_each(check_test)
        }
        Node::Field(_) => Ok(()),
    }
}

fn check_test(test: &Test) -> Result<()> {
    let text = |constant: &Constant| match constant.value() {
        Value::String(_) => Ok(()),
        other => Err(refused(test, other)),
    };
    match test {
        Test::Eq(value)
        | Test::Ne(value)
        | Test::Gt(value)
        | Test::Gte(value)
        | Test::Lt(value)
        | Test::Lte(value) => text(value),
        Test::Between(low, high) => text(low).and_then(|()| text(high)),
        Test::In(values) | Test::Nin(values) => values.as_slice().iter().try_for_each(text),
        Test::Not(tests) => tests.iter().try_for_each(check_test),
        // These say what they are about: a part of the text, or that there is none.
        Test::Exists(_)
        | Test::StartsWith(_)
        | Test::EndsWith(_)
        | Test::Contains(_)
        | Test::Regex(_)
        | Test::All(_)
        | Test::Size(_)
        | Test::ElemMatch(_) => Ok(()),
    }
}

fn refused(test: &Test, value: &Value) -> crate::Error {
    let shown = value.to_json_string().unwrap_or_else(|_| a(value));
    let what = format_args!(
        "an `_id` is text and no document has another one; compare it with text, like \"2761369\", not {shown}"
    );
    fault("_id", test.operator(), what)
}
