//! Documents as JSON text.

use pocket_core::{Body, DocumentId, DocumentLimits, Map, Value, codes};

use crate::failure::{Failure, Result};

/// The system fields that `export --meta` prints behind `_id`.
const META: [&str; 3] = ["_rev", "_updatedAt", "_deleted"];

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Map> {
    match Value::from_json_str(text)? {
        Value::Map(map) => Ok(map),
        other => Err(Failure::new(
            codes::VALIDATION,
            format!("a document is an object, not {}", other.type_name()),
        )),
    }
}

/// Reads a document that will be stored later, and checks all that can be checked without the database.
///
/// # Errors
/// The same that storing it would give.
pub(crate) fn checked(
    text: &str,
    without_meta: bool,
    limits: &DocumentLimits,
) -> Result<(Option<DocumentId>, Value)> {
    let mut map = parse(text)?;
    if without_meta {
        for field in META {
            map.remove(field);
        }
    }
    let document = Value::Map(map);
    let (id, _) = Body::from_serialize(&document, limits)?;
    Ok((id, document))
}

/// A failure of a line, with what lines are where this one looks like a part of something longer.
pub(crate) fn of_a_line(failure: Failure, line: &str) -> Failure {
    let line = line.trim();
    if line.starts_with('[') || line.starts_with('{') && !line.ends_with('}') {
        return failure.and(
            "each line is one document (`jq -c . FILE` writes them so, `jq -c '.[]' FILE` those of an array)",
        );
    }
    failure
}

/// The text of a line.
pub(crate) fn utf8(line: &[u8]) -> Result<&str> {
    std::str::from_utf8(line).map_err(|error| {
        Failure::new(
            codes::VALIDATION,
            format!(
                "byte {} is no UTF-8; convert the file to UTF-8",
                error.valid_up_to() + 1
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let failure = checked(text, false, &DocumentLimits::default()).expect_err(text);
        failure.code().to_owned()
    }

    #[test]
    fn what_cannot_be_kept_exactly_is_refused() {
        for text in [
            "",
            "[]",
            "7",
            r#"{"a":1"#,
            r#"{"a":1}{"b":2}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":-9223372036854775809}"#,
            r#"{"a":1e400}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"_id":"x","_id":"x"}"#,
            r#"{"_rev":"x"}"#,
            r#"{"_updatedAt":0}"#,
            r#"{"_deleted":false}"#,
        ] {
            assert_eq!(refused(text), "validation", "{text}");
        }
        assert_eq!(refused(r#"{"_id":7}"#), "bad-id");
        assert_eq!(refused(r#"{"_id":""}"#), "bad-id");
    }

    #[test]
    fn system_fields_are_dropped_where_that_was_asked_for() {
        let text = r#"{"_id":"x","a":1,"_rev":"r","_updatedAt":{"$date":"2024-02-29T12:00:00Z"},"_deleted":false}"#;
        let (id, document) = checked(text, true, &DocumentLimits::default()).unwrap();
        assert_eq!(id.unwrap().as_str(), "x");
        assert_eq!(document.to_json_string().unwrap(), r#"{"_id":"x","a":1}"#);
    }
}
