//! Words of the command line that say a condition or an order.

use pocket_core::{Order, Value};

use crate::failure::{Failure, Result};

/// The field of a document's id.
const ID: &str = "_id";

/// Reads `FIELD=JSON`, or `FIELD=word`.
pub(crate) fn condition(text: &str) -> Result<(&str, Value)> {
    let Some((field, value)) = text.split_once('=') else {
        return Err(Failure::usage(format!(
            "--where takes FIELD=JSON, like population=0 or name=Iceland, not {text:?}; other comparisons stand in \
             --filter, like '{{\"population\":{{\"$gt\":0}}}}'"
        )));
    };
    if let Some(why) = misread(field, value) {
        return Err(Failure::usage(format!("--where {text:?}: {why}")));
    }
    match Value::from_json_str(value) {
        // An id is text, also where it looks like a number.
        Ok(json) if field == ID && json.as_str().is_none() => Ok((field, Value::from(value))),
        Err(_) if field == ID && !value.is_empty() => Ok((field, Value::from(value))),
        Ok(value) => Ok((field, value)),
        Err(_) if is_text(value) => Ok((field, Value::from(value))),
        Err(error) => Err(Failure::usage(format!(
            "--where {field}=…: {error}; to mean it as text, put it in quotes within quotes, like \
             {field}='\"text\"'"
        ))),
    }
}

/// Why a condition cannot be meant as it would be read.
fn misread(field: &str, value: &str) -> Option<&'static str> {
    if value.starts_with('=') {
        return Some(
            "one `=` compares, like population=0; for text that begins with `=` write FIELD='\"=text\"'",
        );
    }
    if field.ends_with(['<', '>', '!', '~']) {
        return Some(
            "only `=` compares; other comparisons stand in --filter, like '{\"population\":{\"$gte\":1000}}'",
        );
    }
    (field.trim() != field).then_some("leave out the blanks around the field and `=`")
}

/// Whether a value that is no JSON cannot have been meant as JSON. `1_000`, `True` and `{a:1}` may have been.
fn is_text(value: &str) -> bool {
    const LITERALS: [&str; 7] = [
        "null",
        "true",
        "false",
        "nan",
        "infinity",
        "inf",
        "undefined",
    ];
    let begins_as_text = value
        .chars()
        .next()
        .is_some_and(|first| !first.is_ascii_digit() && !r#"{["'-+.,"#.contains(first));
    begins_as_text
        && value.trim() == value
        && !LITERALS.contains(&value.to_ascii_lowercase().as_str())
}

/// Reads `FIELD` with `:desc` or `:asc` behind it.
pub(crate) fn sort<'a>(option: &str, text: &'a str) -> Result<(&'a str, Order)> {
    match text.rsplit_once(':') {
        None if text.contains(char::is_whitespace) => Err(Failure::usage(format!(
            "{option} {text:?}: a direction stands behind a colon, like population:desc, and further fields behind a \
             comma; a field with a blank in its name is written with its direction, like 'first name:asc'"
        ))),
        None => Ok((text, Order::Ascending)),
        Some((field, "desc")) => Ok((field, Order::Descending)),
        Some((field, "asc")) => Ok((field, Order::Ascending)),
        Some((_, other)) => Err(Failure::usage(format!(
            "{option} {text:?}: `{other}` is no direction; write FIELD:desc or FIELD:asc, and one of them behind a field \
             with a colon in its name"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_field_and_a_json_value() {
        let (field, value) = condition(r#"name="a=b""#).unwrap();
        assert_eq!((field, value.as_str()), ("name", Some("a=b")));
        let (_, value) = condition("n=-7").unwrap();
        assert_eq!(value, Value::from(-7));
    }

    #[test]
    fn what_is_compared_with_an_id_is_text() {
        for (text, id) in [
            ("_id=2761369", "2761369"),
            ("_id=007", "007"),
            ("_id=true", "true"),
            ("_id=[1", "[1"),
            ("_id=\"a\"", "a"),
            ("_id=a", "a"),
        ] {
            let (field, value) = condition(text).unwrap();
            assert_eq!((field, value.as_str()), ("_id", Some(id)), "{text}");
        }
        assert_eq!(condition("_id=").unwrap_err().status(), 2);
    }

    #[test]
    fn a_condition_in_the_words_of_another_language_is_refused_with_advice() {
        for (text, advice) in [
            ("n==1", "one `=`"),
            ("n>=1", "--filter"),
            ("n<=1", "--filter"),
            ("n!=1", "--filter"),
            ("n = 1", "blanks"),
        ] {
            let failure = condition(text).unwrap_err();
            assert_eq!(failure.status(), 2, "{text}");
            assert!(failure.message().contains(advice), "{failure:?}");
        }
    }

    #[test]
    fn a_word_that_cannot_be_meant_as_json_is_text() {
        for word in [
            "AT",
            "São Paulo",
            "東京",
            "nullable",
            "a\"b",
            "/x",
            "x=y",
            "$5",
        ] {
            let text = format!("name={word}");
            let (field, value) = condition(&text).unwrap();
            assert_eq!((field, value.as_str()), ("name", Some(word)));
        }
        for bad in [
            "name",
            "name=",
            "n=1_000",
            "n=007",
            "d=2024-01-01",
            "b=True",
            "b=NULL",
            "b=NaN",
            "o={a:1}",
            "l=[1",
            "t=\"open",
            "t='x'",
            "n=-",
            "n=.5",
            "t= x",
            "t=x ",
        ] {
            assert_eq!(condition(bad).unwrap_err().status(), 2, "{bad}");
        }
    }

    #[test]
    fn what_stands_behind_a_colon_is_a_direction_or_an_error_that_names_them() {
        let sort = |text| sort("--sort", text);
        assert_eq!(sort("a").unwrap(), ("a", Order::Ascending));
        assert_eq!(sort("a:asc").unwrap(), ("a", Order::Ascending));
        assert_eq!(sort("a:b:desc").unwrap(), ("a:b", Order::Descending));
        assert_eq!(sort("a b:asc").unwrap(), ("a b", Order::Ascending));
        for bad in ["a:DESC", "a:b", "a:", "a desc", "a DESC", " a"] {
            assert_eq!(sort(bad).unwrap_err().status(), 2, "{bad}");
        }
    }
}
