//! Which documents a query selects.

use crate::{Document, Result, Value};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    equal: Vec<(String, Value)>,
}

impl Filter {
    pub(super) fn add(&mut self, field: String, value: Value) {
        self.equal.push((field, value));
    }

    /// The value that `_id` must have, if the filter names one.
    pub(super) fn id(&self) -> Option<&Value> {
        self.equal
            .iter()
            .find(|(field, _)| field == "_id")
            .map(|(_, value)| value)
    }

    pub(super) fn matches(&self, document: &Document) -> Result<bool> {
        for (field, value) in &self.equal {
            if field_of(document, field)? != *value {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A field of the top level, null when it is missing: the two are equal in filters and in order.
pub(super) fn field_of(document: &Document, field: &str) -> Result<Value> {
    if field == "_id" {
        return Ok(Value::from(document.id.as_str()));
    }
    let found = document
        .body
        .as_ref()
        .map(|body| body.field(field))
        .transpose()?
        .flatten();
    Ok(found.unwrap_or(Value::Null))
}
