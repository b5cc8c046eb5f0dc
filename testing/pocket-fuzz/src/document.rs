//! Bodies of documents, and merges of them.

use bytes::Bytes;
use pocket_core::merge::{Prefer, three_way};
use pocket_core::{Body, DocumentLimits, Map, Value};

use crate::input::Input;

/// A body that is taken means the same however it is written again, as MessagePack and as JSON.
pub(crate) fn decode(bytes: &[u8]) {
    let limits = DocumentLimits::default();
    let Ok(body) = Body::from_msgpack(Bytes::copy_from_slice(bytes), &limits) else {
        return;
    };
    let map = body.to_map().expect("what was checked can be read");
    let again = Body::from_map(&map, &limits).expect("what was read can be written");
    assert!(body.same_value(&again));
    let twice = again.to_map().expect("what was written can be read");
    assert!(map.is_same(&twice), "{map:?} became {twice:?}");
    for (name, value) in map.iter() {
        let field = body.field(name).expect("each field can be read alone");
        assert!(field.expect("it is there").is_same(value), "{name}");
    }
    let value = Value::Map(map);
    let text = value.to_json_string().expect("a document has a JSON form");
    let read = Value::from_json_str(&text).expect("its JSON form can be read");
    assert!(value.is_same(&read), "{text} was read as {read:?}");
}

/// What one side alone changed stands, whichever side is preferred; two sides that agree stay as they are.
pub(crate) fn merge(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let [base, local, remote] = [(); 3].map(|()| map(&mut input, 0));
    for prefer in [Prefer::Local, Prefer::Remote] {
        let merged = three_way(&base, &local, &remote, prefer);
        let mirrored = match prefer {
            Prefer::Local => Prefer::Remote,
            Prefer::Remote => Prefer::Local,
        };
        let other_way = three_way(&base, &remote, &local, mirrored);
        assert!(
            same_fields(&merged, &other_way),
            "the sides are not treated alike: {merged:?}, {other_way:?}"
        );
        assert!(same_fields(
            &three_way(&base, &base, &remote, prefer),
            &remote
        ));
        assert!(same_fields(
            &three_way(&base, &local, &base, prefer),
            &local
        ));
        assert!(same_fields(
            &three_way(&base, &local, &local, prefer),
            &local
        ));
        // Nothing is in it that no side had.
        for (name, value) in merged.iter() {
            assert!(
                value.as_map().is_some()
                    || [&local, &remote]
                        .iter()
                        .any(|side| side.get(name).is_some_and(|has| has.is_same(value))),
                "{name}: {value:?} comes from nowhere"
            );
        }
    }
}

/// Whether both have the same fields, in whatever order.
fn same_fields(left: &Map, right: &Map) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .all(|(name, value)| match (value, right.get(name)) {
                (Value::Map(left), Some(Value::Map(right))) => same_fields(left, right),
                (value, Some(other)) => value.is_same(other),
                (_, None) => false,
            })
}

/// A few fields of few names, so that sides meet.
fn map(input: &mut Input<'_>, depth: u8) -> Map {
    let mut map = Map::new();
    for _ in 0..input.below(5) {
        let name = ["a", "b", "c", "d"][usize::from(input.below(4))];
        let value = match input.below(6) {
            0 => Value::Null,
            1 => Value::from(input.flag()),
            2 => Value::from(u64::from(input.below(3))),
            3 => Value::from(["x", "y"][usize::from(input.below(2))]),
            4 => Value::Array(vec![Value::from(u64::from(input.below(2)))]),
            _ if depth < 3 => Value::Map(self::map(input, depth + 1)),
            _ => Value::Null,
        };
        map.insert(name, value);
    }
    map
}
