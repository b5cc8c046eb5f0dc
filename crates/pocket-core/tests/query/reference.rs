//! What the guide says, word for word and without regard to speed: on values, from raw filter documents, with nothing
//! of the product but values and their order.

use std::cmp::Ordering;

use pocket_core::{Integer, Map, Order, Value};

/// Every value that a path reaches.
pub(crate) fn reach(value: &Value, path: &[&str]) -> Vec<Value> {
    let Some((first, rest)) = path.split_first() else {
        return vec![value.clone()];
    };
    let is_place = first.bytes().all(|byte| byte.is_ascii_digit())
        && (*first == "0" || !first.starts_with('0'));
    match value {
        Value::Map(map) => map
            .get(first)
            .map_or(Vec::new(), |value| reach(value, rest)),
        Value::Array(values) if is_place => values
            .get(first.parse::<usize>().unwrap())
            .map_or(Vec::new(), |value| reach(value, rest)),
        Value::Array(values) => values
            .iter()
            .filter(|value| value.as_map().is_some())
            .flat_map(|value| reach(value, path))
            .collect(),
        _ => Vec::new(),
    }
}

fn split(path: &str) -> Vec<&str> {
    path.split('.').collect()
}

/// Whether a document passes a raw filter.
pub(crate) fn passes(document: &Value, filter: &Value) -> bool {
    filter.as_map().unwrap().iter().all(|(key, value)| {
        let each = || value.as_array().unwrap().iter();
        match key {
            "$and" => each().all(|filter| passes(document, filter)),
            "$or" => each().any(|filter| passes(document, filter)),
            "$nor" => !each().any(|filter| passes(document, filter)),
            "$not" => !passes(document, value),
            path => {
                let values = reach(document, &split(path));
                condition(&values, value, true)
            }
        }
    })
}

fn is_operators(value: &Value) -> bool {
    value
        .as_map()
        .is_some_and(|map| map.keys().any(|key| key.starts_with('$')))
}

fn condition(values: &[Value], condition: &Value, opened: bool) -> bool {
    if !is_operators(condition) {
        return test(values, "$eq", condition, opened);
    }
    let map = condition.as_map().unwrap();
    map.iter()
        .all(|(name, operand)| test(values, name, operand, opened))
}

fn test(reached: &[Value], name: &str, operand: &Value, opened: bool) -> bool {
    let values = if reached.is_empty() {
        vec![Value::Null]
    } else {
        reached.to_vec()
    };
    let elements: Vec<Value> = values
        .iter()
        .filter_map(Value::as_array)
        .flatten()
        .cloned()
        .collect();
    let mut asked = values.clone();
    if opened {
        asked.extend(elements.clone());
    }
    let list = || operand.as_array().unwrap();
    let compared = |accept: fn(Ordering) -> bool| {
        asked
            .iter()
            .any(|value| value.type_name() == operand.type_name() && accept(value.cmp(operand)))
    };
    let text = |accept: &dyn Fn(&str, &str) -> bool| {
        let operand = operand.as_str().unwrap();
        asked
            .iter()
            .filter_map(Value::as_str)
            .any(|text| accept(text, operand))
    };
    match name {
        "$eq" => asked.contains(operand),
        "$ne" => !asked.contains(operand),
        "$gt" => compared(Ordering::is_gt),
        "$gte" => compared(Ordering::is_ge),
        "$lt" => compared(Ordering::is_lt),
        "$lte" => compared(Ordering::is_le),
        "$between" => {
            let (low, high) = (&list()[0], &list()[1]);
            asked
                .iter()
                .any(|value| value.type_name() == low.type_name() && value >= low && value <= high)
        }
        "$in" => list().iter().any(|one| asked.contains(one)),
        "$nin" => !list().iter().any(|one| asked.contains(one)),
        "$exists" => operand.as_bool().unwrap() != reached.is_empty(),
        "$startsWith" => text(&|text, operand| text.starts_with(operand)),
        "$endsWith" => text(&|text, operand| text.ends_with(operand)),
        "$regex" => text(&pattern),
        "$contains" => {
            elements.contains(operand)
                || operand.as_str().is_some_and(|part| {
                    values
                        .iter()
                        .filter_map(Value::as_str)
                        .any(|text| text.contains(part))
                })
        }
        "$all" => {
            asked.clone_from(&values);
            asked.extend(elements);
            !list().is_empty() && list().iter().all(|one| asked.contains(one))
        }
        "$size" => values.iter().filter_map(Value::as_array).any(|array| {
            operand.as_integer().and_then(Integer::as_u64) == Some(array.len() as u64)
        }),
        "$elemMatch" => elements.iter().any(|element| {
            if asks_value(operand) {
                condition(std::slice::from_ref(element), operand, false)
            } else {
                element.as_map().is_some() && passes(element, operand)
            }
        }),
        "$not" => !condition(reached, operand, opened),
        _ => panic!("{name}"),
    }
}

/// Whether an `$elemMatch` asks the element itself and not its fields.
fn asks_value(operand: &Value) -> bool {
    let (key, value) = operand.as_map().unwrap().iter().next().unwrap();
    match key {
        "$not" => asks_value(value),
        key => key.starts_with('$') && !["$and", "$or", "$nor"].contains(&key),
    }
}

/// The few patterns that the strategies use, without an engine.
fn pattern(text: &str, pattern: &str) -> bool {
    match pattern {
        "a" => text.contains('a'),
        "^a" => text.starts_with('a'),
        "b$" => text.ends_with('b'),
        "^$" => text.is_empty(),
        "^a*$" => text.chars().all(|char| char == 'a'),
        _ => panic!("{pattern}"),
    }
}

/// What a document is sorted by at one field.
fn key(document: &Value, path: &str, order: Order) -> Value {
    let mut keys = Vec::new();
    for value in reach(document, &split(path)) {
        match value {
            Value::Array(elements) => keys.extend(elements),
            value => keys.push(value),
        }
    }
    let key = match order {
        Order::Ascending => keys.into_iter().min(),
        Order::Descending => keys.into_iter().max(),
    };
    key.unwrap_or(Value::Null)
}

/// The order of two documents with their ids.
pub(crate) fn compare(left: &Value, right: &Value, sort: &[(String, Order)]) -> Ordering {
    let by_id = ("_id".to_owned(), Order::Ascending);
    for (path, order) in sort.iter().chain([&by_id]) {
        let ordering = key(left, path, *order).cmp(&key(right, path, *order));
        if ordering.is_ne() {
            return match order {
                Order::Ascending => ordering,
                Order::Descending => ordering.reverse(),
            };
        }
    }
    Ordering::Equal
}

fn below<'a>(paths: &[&'a [&'a str]], key: &str) -> Vec<&'a [&'a str]> {
    paths
        .iter()
        .filter(|path| path[0] == key)
        .map(|path| &path[1..])
        .collect()
}

/// What is left of a map when fields are kept, or left out.
pub(crate) fn project(map: &Map, paths: &[&[&str]], keep: bool) -> Map {
    let mut out = Map::new();
    for (key, value) in map.iter() {
        let below = below(paths, key);
        let is_whole = below.iter().any(|path| path.is_empty());
        if below.is_empty() || is_whole {
            if is_whole == keep {
                out.insert(key, value.clone());
            }
        } else if let Some(value) = project_value(value, &below, keep) {
            out.insert(key, value);
        }
    }
    out
}

fn project_value(value: &Value, paths: &[&[&str]], keep: bool) -> Option<Value> {
    match value {
        Value::Map(map) => Some(Value::Map(project(map, paths, keep))),
        Value::Array(values) => Some(
            values
                .iter()
                .filter_map(|value| project_value(value, paths, keep))
                .collect(),
        ),
        scalar => (!keep).then(|| scalar.clone()),
    }
}
