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
    let database = open::existing(global).await?;
    let Some(collection) = open::collection(&database, &args.collection)? else {
        return Ok(());
    };
    let mut query: Query<Value> = collection.find();
    for (field, value) in conditions {
        query = query.where_eq(field, value);
    }
    for text in &args.sort {
        let (field, order) = sort(text);
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
fn sort(text: &str) -> (&str, Order) {
    match text.rsplit_once(':') {
        Some((field, "desc")) => (field, Order::Descending),
        Some((field, "asc")) => (field, Order::Ascending),
        _ => (text, Order::Ascending),
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
    fn a_colon_that_names_no_order_belongs_to_the_field() {
        assert_eq!(sort("a"), ("a", Order::Ascending));
        assert_eq!(sort("a:asc"), ("a", Order::Ascending));
        assert_eq!(sort("a:b:desc"), ("a:b", Order::Descending));
        assert_eq!(sort("a:b"), ("a:b", Order::Ascending));
    }
}
