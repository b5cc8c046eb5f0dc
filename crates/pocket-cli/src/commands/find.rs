//! `pocket find`: the documents that match.

use pocket_core::{Order, Query, Value};

use crate::args::{FindArgs, Global};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, json};

pub(super) async fn run(global: &Global, args: FindArgs, out: &mut Output) -> Result {
    let conditions: Vec<_> = args
        .conditions
        .iter()
        .map(|text| condition(text))
        .collect::<Result<_>>()?;
    let sorts: Vec<_> = args
        .sort
        .iter()
        .map(|text| sort(text))
        .collect::<Result<_>>()?;
    let database = open::existing(global).await?;
    let Some(collection) = open::collection(&database, &args.collection)? else {
        return Ok(());
    };
    let mut query: Query<Value> = collection.find();
    for (field, value) in conditions {
        query = query.where_field(field).eq(value);
    }
    for (field, order) in sorts {
        query = query.sort(field, order);
    }
    if let Some(limit) = args.limit {
        query = query.limit(limit);
    }
    let mut documents = query.stream();
    while let Some(document) = documents.next().await {
        out.line(json(&document?.to_map()?))?;
    }
    out.flush()?;
    drop(documents);
    Ok(database.close().await?)
}

/// Reads `FIELD=JSON`.
fn condition(text: &str) -> Result<(&str, Value)> {
    let Some((field, value)) = text.split_once('=') else {
        return Err(Failure::usage(format!(
            "--where takes FIELD=JSON, like population=0 or name='\"Iceland\"', not {text:?}"
        )));
    };
    let value = Value::from_json_str(value).map_err(|error| {
        Failure::usage(format!(
            "--where {field}=…: {error}; text stands in quotes of its own, like {field}='\"text\"'"
        ))
    })?;
    Ok((field, value))
}

/// Reads `FIELD` with `:desc` or `:asc` behind it.
fn sort(text: &str) -> Result<(&str, Order)> {
    match text.rsplit_once(':') {
        None => Ok((text, Order::Ascending)),
        Some((field, "desc")) => Ok((field, Order::Descending)),
        Some((field, "asc")) => Ok((field, Order::Ascending)),
        Some((_, other)) => Err(Failure::usage(format!(
            "--sort {text:?}: `{other}` is no direction; write FIELD:desc or FIELD:asc, and one of them behind a field \
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
        for bad in ["name", "name=", "name=Iceland"] {
            assert_eq!(condition(bad).unwrap_err().status(), 2, "{bad}");
        }
    }

    #[test]
    fn what_stands_behind_a_colon_is_a_direction_or_an_error_that_names_them() {
        assert_eq!(sort("a").unwrap(), ("a", Order::Ascending));
        assert_eq!(sort("a:asc").unwrap(), ("a", Order::Ascending));
        assert_eq!(sort("a:b:desc").unwrap(), ("a:b", Order::Descending));
        for bad in ["a:DESC", "a:b", "a:"] {
            assert_eq!(sort(bad).unwrap_err().status(), 2, "{bad}");
        }
    }
}
