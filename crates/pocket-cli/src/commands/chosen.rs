//! Which documents `--filter` and `--where` mean.

use std::io::{self, Read};
use std::path::Path;

use pocket_core::{Filter, Value, codes as core_codes, field};

use super::find::{bad_query, condition};
use crate::args::{Chosen, Global};
use crate::codes;
use crate::failure::{Failure, Result};
use crate::held::Held;
use crate::output::{json, object};

/// A longer file holds no filter: the values of one have much fewer bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Operators whose operand is compared with the field, itself or each of its elements.
const COMPARISONS: [&str; 9] = [
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$between", "$in", "$nin",
];

/// The filter that the options describe; that of every document when there are none.
pub(super) async fn filter(global: &Global, chosen: &Chosen) -> Result<Filter> {
    let mut filter = match (chosen.file(), &chosen.filter) {
        (Some(file), _) => {
            let text = text_of(file, global.held.as_ref().map(Held::input)).await?;
            parse(&text, &format!("--filter @{}", file.display()))?
        }
        (None, Some(text)) => parse(text, "--filter")?,
        (None, None) => Filter::all(),
    };
    for text in &chosen.conditions {
        let (path, value) = condition(text)?;
        let condition = field(path).eq(value);
        condition
            .check()
            .map_err(bad_query(&format!("--where {text}")))?;
        filter = filter.and(condition);
    }
    // Each one may be right and all together too many.
    filter.check().map_err(bad_query("the conditions"))?;
    Ok(filter)
}

fn parse(text: &str, option: &str) -> Result<Filter> {
    let filter = Filter::from_json_str(text).map_err(bad_query(option))?;
    match unlike_ids(&filter.to_value().map_err(bad_query(option))?) {
        None => Ok(filter),
        Some(value) => Err(Failure::new(
            core_codes::BAD_QUERY,
            format!(
                "{option}: an `_id` is text and no document has another one; compare it with text, like \
                 {{\"_id\":\"2761369\"}}, not {}",
                json(&object([("_id", value.clone())]))
            ),
        )
        .of_usage()),
    }
}

/// What a raw filter compares `_id` with although no id can be like it.
fn unlike_ids(filter: &Value) -> Option<&Value> {
    match filter {
        Value::Array(all) => all.iter().find_map(unlike_ids),
        Value::Map(map) => map.iter().find_map(|(key, value)| match key {
            "_id" => unlike_text(value),
            _ if key.starts_with('$') => unlike_ids(value),
            _ => None,
        }),
        _ => None,
    }
}

/// What is no text in a condition on an id.
fn unlike_text(condition: &Value) -> Option<&Value> {
    let Value::Map(operators) = condition else {
        return condition.as_str().is_none().then_some(condition);
    };
    if !operators.iter().any(|(key, _)| key.starts_with('$')) {
        return Some(condition);
    }
    operators.iter().find_map(|(key, operand)| match operand {
        _ if key == "$not" => unlike_text(operand),
        Value::Array(all) if COMPARISONS.contains(&key) => {
            all.iter().find(|value| value.as_str().is_none())
        }
        _ if COMPARISONS.contains(&key) => operand.as_str().is_none().then_some(operand),
        _ => None,
    })
}

/// The text of a file; `-` is stdin. A process that holds the database is given the content by the one that asks.
async fn text_of(file: &Path, content: Option<Box<dyn Read + Send>>) -> Result<String> {
    let path = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let from: Box<dyn Read> = match content {
            Some(content) => content,
            None if path.as_os_str() == "-" => Box::new(io::stdin()),
            None => Box::new(std::fs::File::open(&path)?),
        };
        let mut text = String::new();
        from.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        Ok(text)
    });
    let read = reading
        .await
        .map_err(|error| Failure::new(codes::IO, format!("reading broke off: {error}")))?;
    read.map_err(|error: io::Error| {
        Failure::io(format!("cannot read the filter {}", file.display()), &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_compared_with_text_only() {
        for good in [
            r#"{"_id":"1"}"#,
            r#"{"_id":{"$in":["a","b"]},"n":1}"#,
            r#"{"_id":{"$exists":true}}"#,
            r#"{"_id":{"$gt":"a","$lt":"b"}}"#,
            r#"{"a":{"$elemMatch":{"_id":1}}}"#,
            r#"{"a._id":1}"#,
        ] {
            assert!(parse(good, "--filter").is_ok(), "{good}");
        }
        for bad in [
            r#"{"_id":1}"#,
            r#"{"_id":null}"#,
            r#"{"_id":{"$in":["a",2]}}"#,
            r#"{"_id":{"$gt":1}}"#,
            r#"{"_id":{"$not":{"$eq":1}}}"#,
            r#"{"$or":[{"n":1},{"_id":1}]}"#,
        ] {
            let failure = parse(bad, "--filter").unwrap_err();
            assert_eq!(
                (failure.code(), failure.status()),
                ("bad-query", 2),
                "{bad}"
            );
            assert!(failure.message().contains("is text"), "{failure:?}");
        }
    }
}
