//! Which documents a query selects.

use crate::{Document, DocumentId, Result, Value};

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    equal: Vec<(String, Value)>,
}

impl Filter {
    pub(super) fn add(&mut self, field: String, value: Value) {
        self.equal.push((field, value));
    }

    /// The one id that can match, if the filter names one; inner none when that is no id at all.
    pub(super) fn id(&self) -> Option<Option<&str>> {
        let (_, value) = self.equal.iter().find(|(field, _)| field == "_id")?;
        Some(value.as_str().filter(|id| DocumentId::new(id).is_ok()))
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
