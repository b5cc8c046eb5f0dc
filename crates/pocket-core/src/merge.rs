//! Three-way merge of documents, field by field.
//!
//! The idea is that of `diff3` (Khanna, Kunal, Pierce: "A Formal Investigation of Diff3", 2007) on maps: what only one
//! side changed stands; where both changed the same field differently, the preferred side stands.

use crate::{Map, Value};

/// Which side stands where both changed a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefer {
    /// The local one.
    Local,
    /// The remote one.
    Remote,
}

/// Merges two versions that were made on `base`. Maps are merged by field at every depth, all else as a whole.
///
/// Fields keep the place they have in `remote`; those that only `local` has go last.
pub fn three_way(base: &Map, local: &Map, remote: &Map, prefer: Prefer) -> Map {
    let mut merged = Map::new();
    let names = remote
        .keys()
        .chain(local.keys().filter(|name| !remote.contains_key(name)));
    for name in names {
        if let Some(value) = field(base.get(name), local.get(name), remote.get(name), prefer) {
            merged.insert(name, value);
        }
    }
    merged
}

fn field(
    base: Option<&Value>,
    local: Option<&Value>,
    remote: Option<&Value>,
    prefer: Prefer,
) -> Option<Value> {
    let unchanged = |side: Option<&Value>| match (base, side) {
        (Some(base), Some(side)) => base.is_same(side),
        (None, None) => true,
        _ => false,
    };
    if unchanged(local) {
        return remote.cloned();
    }
    if unchanged(remote) {
        return local.cloned();
    }
    if let (Some(Value::Map(local)), Some(Value::Map(remote))) = (local, remote) {
        let empty = Map::new();
        let base = base.and_then(Value::as_map).unwrap_or(&empty);
        return Some(Value::Map(three_way(base, local, remote, prefer)));
    }
    match prefer {
        Prefer::Local => local.cloned(),
        Prefer::Remote => remote.cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(json: &str) -> Map {
        match Value::from_json_str(json).unwrap() {
            Value::Map(map) => map,
            other => panic!("{other:?} is no map"),
        }
    }

    fn merged(base: &str, local: &str, remote: &str, prefer: Prefer) -> String {
        Value::Map(three_way(&map(base), &map(local), &map(remote), prefer))
            .to_json_string()
            .unwrap()
    }

    #[test]
    fn what_one_side_changed_stands() {
        let both = merged(
            r#"{"a":1,"b":1}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":1,"b":2,"c":3}"#,
            Prefer::Local,
        );
        assert_eq!(both, r#"{"a":2,"b":2,"c":3}"#);
        assert_eq!(
            merged(
                r#"{"a":1,"b":1}"#,
                r#"{"b":1}"#,
                r#"{"a":1,"b":2}"#,
                Prefer::Remote
            ),
            r#"{"b":2}"#
        );
    }

    #[test]
    fn where_both_changed_a_field_the_preferred_side_stands_and_nested_maps_merge() {
        let (base, local, remote) = (
            r#"{"m":{"x":1,"y":1}}"#,
            r#"{"m":{"x":2,"y":1}}"#,
            r#"{"m":{"x":3,"y":2}}"#,
        );
        assert_eq!(
            merged(base, local, remote, Prefer::Local),
            r#"{"m":{"x":2,"y":2}}"#
        );
        assert_eq!(
            merged(base, local, remote, Prefer::Remote),
            r#"{"m":{"x":3,"y":2}}"#
        );
    }

    #[test]
    fn a_deleted_field_against_a_changed_one_goes_to_the_preferred_side() {
        assert_eq!(
            merged(r#"{"a":1}"#, "{}", r#"{"a":2}"#, Prefer::Local),
            "{}"
        );
        assert_eq!(
            merged(r#"{"a":1}"#, "{}", r#"{"a":2}"#, Prefer::Remote),
            r#"{"a":2}"#
        );
    }
}
