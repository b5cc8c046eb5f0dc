//! The lines of a dump that say which indexes a collection has, and how long its documents live.

use std::time::Duration;

use super::INDEX;
use super::read::damaged;
use crate::{Filter, IndexConfig, Integer, Map, Order, Result, Ttl, Value};

/// The line of an index.
pub(super) fn index_line(config: &IndexConfig) -> Result<Map> {
    let fields = config.fields.iter().map(|(field, order)| {
        let direction = match order {
            Order::Ascending => 1,
            Order::Descending => -1,
        };
        Value::from_iter([Value::from(field.as_str()), Value::from(direction)])
    });
    let only = config.only.as_ref().map(Filter::to_json_string);
    let only = only.transpose()?;
    let line = [
        (INDEX, Value::from(config.name())),
        ("fields", fields.collect()),
        ("unique", Value::from(config.unique)),
        ("sparse", Value::from(config.sparse)),
        ("only", Value::from(only)),
    ];
    Ok(line.into_iter().collect())
}

/// The index of a line.
pub(super) fn read_index(line: &Map) -> Result<IndexConfig> {
    let bad = || damaged("an index has no name, or fields that are none");
    let name = line.get(INDEX).and_then(Value::as_str).ok_or_else(bad)?;
    let mut fields = Vec::new();
    for field in line
        .get("fields")
        .and_then(Value::as_array)
        .ok_or_else(bad)?
    {
        let [field, direction] = field.as_array().ok_or_else(bad)? else {
            return Err(bad());
        };
        let direction = direction.as_integer().and_then(Integer::as_i64);
        let order = match direction {
            Some(1) => Order::Ascending,
            Some(-1) => Order::Descending,
            _ => return Err(bad()),
        };
        fields.push((field.as_str().ok_or_else(bad)?.to_owned(), order));
    }
    let flag = |name| line.get(name).and_then(Value::as_bool).unwrap_or(false);
    let only = match line.get("only") {
        None | Some(Value::Null) => None,
        Some(only) => Some(Filter::from_stored(only.as_str().ok_or_else(bad)?)?),
    };
    let config = IndexConfig {
        fields,
        unique: flag("unique"),
        sparse: flag("sparse"),
        only,
        name: Some(name.to_owned()),
    };
    config.checked_as_stored()
}

/// A time to live, in the line of its collection.
pub(super) fn ttl_value(ttl: &Ttl) -> Value {
    let millis = i64::try_from(ttl.after().as_millis()).unwrap_or(i64::MAX);
    let fields = [
        ("field", ttl.field().map_or(Value::Null, Value::from)),
        ("after_ms", Value::from(millis)),
    ];
    Value::Map(fields.into_iter().collect())
}

pub(super) fn read_ttl(value: &Value) -> Result<Option<Ttl>> {
    if *value == Value::Null {
        return Ok(None);
    }
    let bad = || damaged("a time to live is none");
    let Value::Map(ttl) = value else {
        return Err(bad());
    };
    let after = ttl.get("after_ms").and_then(Value::as_integer);
    let after = after.and_then(Integer::as_u64).ok_or_else(bad)?;
    let after = Duration::from_millis(after);
    Ok(Some(match ttl.get("field") {
        None | Some(Value::Null) => Ttl::after_update(after),
        Some(field) => Ttl::after_field(field.as_str().ok_or_else(bad)?, after),
    }))
}
