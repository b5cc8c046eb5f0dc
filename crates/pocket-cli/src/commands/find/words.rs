//! Words of the command line that say a condition or an order.

use pocket_core::{Order, Value};

use crate::failure::{Failure, Result};

/// Reads `FIELD=JSON`, or `FIELD=word`.
pub(super) fn condition(text: &str) -> Result<(&str, Value)> {
    let Some((field, value)) = text.split_once('=') else {
        return Err(Failure::usage(format!(
            "--where takes FIELD=JSON, like population=0 or name=Iceland, not {text:?}; other comparisons stand in \
             --filter, like '{{\"population\":{{\"$gt\":0}}}}'"
        )));
    };
    match Value::from_json_str(value) {
        Ok(value) => Ok((field, value)),
        Err(_) if is_text(value) => Ok((field, Value::from(value))),
        Err(error) => Err(Failure::usage(format!(
            "--where {field}=…: {error}; to mean it as text, put it in quotes within quotes, like \
             {field}='\"text\"'"
        ))),
    }
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
        for bad in ["a:DESC", "a:b", "a:"] {
            assert_eq!(sort(bad).unwrap_err().status(), 2, "{bad}");
        }
    }
}
