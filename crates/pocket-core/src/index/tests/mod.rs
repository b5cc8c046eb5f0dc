//! Keys against values: order, prefix freedom, round trip; and entries against the documents they come from.

mod life;
mod model;
mod read;

use std::cmp::Ordering;
use std::ops::Bound;

use pocket_storage::Storage;
use proptest::prelude::*;

use super::key::{Decoder, Encoder, encode};
use super::{Index, IndexConfig, Interval};
use crate::keys::CollectionId;
use crate::stored::{self, IndexRow};
use crate::{Body, DocumentId, DocumentLimits, Map, Order, Result, Value, envelope, keys};

#[path = "../../../tests/values/strategy.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of values")]
pub(crate) mod strategy;

use strategy::{map, value};

impl Index {
    /// Whether it still is what is recorded of it in the store.
    async fn is_current(&self, storage: &dyn Storage) -> Result<bool> {
        let key = keys::index(self.number);
        let Some(value) = storage.get(&key).await? else {
            return Ok(false);
        };
        let row: IndexRow = stored::decode(&envelope::open(&key, &value)?)?;
        Ok(self.is_still(&row))
    }
}

fn body(fields: impl IntoIterator<Item = (String, Value)>) -> Body {
    let map: Map = fields.into_iter().collect();
    Body::from_map(&map, &DocumentLimits::default()).unwrap()
}

fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

/// Values of which many are equal, alike, or longer than what a key holds.
fn near() -> impl Strategy<Value = Value> {
    let number = 1_u64 << 53;
    prop_oneof![
        4 => value(),
        2 => (number - 3..number + 3).prop_map(Value::from),
        1 => (u64::MAX - 3..).prop_map(Value::from),
        1 => (i64::MIN..i64::MIN + 3).prop_map(Value::from),
        1 => (0..3_u32).prop_map(|step| Value::from(9_007_199_254_740_992.0 + 2.0 * f64::from(step))),
        1 => (0..2_u32).prop_map(|step| Value::from(if step == 0 { 18_446_744_073_709_551_616.0 } else { -9_223_372_036_854_775_808.0 })),
        1 => "[\u{0}a]{0,4}".prop_map(Value::from),
        1 => proptest::collection::vec(prop_oneof![Just(0_u8), Just(0xff), Just(1)], 0..4)
            .prop_map(|bytes| Value::Binary(bytes.into())),
        2 => (80..900_usize, "[ab]?").prop_map(|(long, end)| Value::from("x".repeat(long) + &end)),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Ascending), Just(Order::Descending)]
}

fn index(orders: &[Order]) -> Index {
    let mut config = IndexConfig::ordered("f0", orders[0]);
    for (place, order) in orders.iter().enumerate().skip(1) {
        config = config.then(format!("f{place}"), *order);
    }
    Index::new(7, CollectionId(1), config.checked().unwrap()).unwrap()
}

/// The order of two rows of values in the directions of an index.
fn compare(orders: &[Order], left: &[Value], right: &[Value]) -> Ordering {
    orders
        .iter()
        .zip(left.iter().zip(right))
        .map(|(order, (left, right))| match order {
            Order::Ascending => left.cmp(right),
            Order::Descending => right.cmp(left),
        })
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// The key of a document with these values, none of which is an array.
fn row(index: &Index, id: &DocumentId, values: &[Value]) -> Vec<u8> {
    let fields = values.iter().enumerate();
    let body = body(fields.map(|(place, value)| (format!("f{place}"), value.clone())));
    let entries = index.entries(id, &body).unwrap();
    assert_eq!(entries.values.len(), 1);
    index.key(entries.values.first().unwrap(), id)
}

fn no_array(value: Value) -> Value {
    match value {
        Value::Array(values) => [("in", Value::Array(values))]
            .into_iter()
            .collect::<Map>()
            .into(),
        other => other,
    }
}

fn rows(fields: usize) -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(near().prop_map(no_array), fields)
}

proptest! {
    #[test]
    fn keys_sort_as_values_do_and_equal_values_have_equal_keys(left in near(), right in near()) {
        prop_assert_eq!(encode(&left).cmp(&encode(&right)), left.cmp(&right));
    }

    #[test]
    fn no_key_is_the_beginning_of_another_one(left in near(), right in near()) {
        let (left_key, right_key) = (encode(&left), encode(&right));
        prop_assert_eq!(left_key.starts_with(&right_key), left == right);
    }

    #[test]
    fn a_key_reads_back_as_an_equal_value_whatever_follows(value in near(), behind in any::<[u8; 3]>(), falls in any::<bool>()) {
        let mut key = encode(&value);
        let length = key.len();
        key.extend(behind);
        if falls {
            for byte in &mut key {
                *byte = !*byte;
            }
        }
        let mut decoder = Decoder::new(&key, falls);
        prop_assert_eq!(decoder.value().unwrap(), value);
        prop_assert_eq!(decoder.position(), length);
        let mut skipping = Decoder::new(&key, falls);
        prop_assert_eq!(skipping.skip(), Some(()));
        prop_assert_eq!(skipping.position(), length);
        for short in 0..length {
            prop_assert_eq!(Decoder::new(&key[..short], falls).skip(), None);
        }
    }

    #[test]
    fn a_body_has_the_keys_of_its_values(map in map(), most in prop_oneof![Just(usize::MAX), 1..40_usize]) {
        let body = Body::from_map(&map, &DocumentLimits::default()).unwrap();
        let mut encoder = Encoder::new(most);
        encoder.encoded(body.encoded().unwrap()).unwrap();
        let mut whole = encode(&Value::Map(map));
        whole.truncate(most);
        prop_assert_eq!(encoder.finish(), whole);
    }

    #[test]
    fn rows_of_values_sort_in_their_directions_up_to_what_is_cut(
        orders in proptest::collection::vec(order(), 3),
        left in rows(3),
        right in rows(3),
    ) {
        let index = index(&orders);
        let same = id("a");
        let keys = (row(&index, &same, &left), row(&index, &same, &right));
        let expected = compare(&orders, &left, &right);
        let found = keys.0.cmp(&keys.1);
        // Cut values are equal in their keys, and what follows decides: then the values before are those to compare.
        let entries = (index.entry(&keys.0).unwrap(), index.entry(&keys.1).unwrap());
        let whole = |part: &super::entry::Part<'_>| part.is_whole;
        let cut = entries.0.parts.iter().zip(&entries.1.parts).position(|(l, r)| !whole(l) && !whole(r));
        match cut {
            None => prop_assert_eq!(found, expected),
            Some(cut) => {
                let before = compare(&orders[..cut], &left[..cut], &right[..cut]);
                if before.is_ne() {
                    prop_assert_eq!(found, before);
                }
                let at = compare(&orders[..=cut], &left[..=cut], &right[..=cut]);
                prop_assert!(at.is_eq() || before.is_ne() || found == at || entries.0.parts[cut] == entries.1.parts[cut]);
            }
        }
        prop_assert!(keys.0.len() <= pocket_storage::MAX_KEY_BYTES);
    }

    #[test]
    fn an_entry_tells_its_document_and_its_values(
        orders in proptest::collection::vec(order(), 2),
        values in rows(2),
        name in "[^\u{0}]{1,64}",
    ) {
        let index = index(&orders);
        let document = id(&name);
        let key = row(&index, &document, &values);
        let entry = index.entry(&key).unwrap();
        prop_assert_eq!(&entry.id, &document);
        for (part, value) in entry.parts.iter().zip(&values) {
            match part.value().unwrap() {
                Some(read) => prop_assert_eq!(&read, value),
                None => prop_assert!(encode(value).len() >= index.most()),
            }
        }
    }

    #[test]
    fn a_range_holds_what_lies_between_and_beyond_only_what_is_cut(
        orders in proptest::collection::vec(order(), 2),
        first in near().prop_map(no_array),
        second in near().prop_map(no_array),
        from in near(),
        to in near(),
        bounds in (0..3_u8, 0..3_u8),
        fixed in any::<bool>(),
        like in any::<bool>(),
    ) {
        fn bound(value: &Value, kind: u8) -> Bound<&Value> {
            match kind {
                0 => Bound::Included(value),
                1 => Bound::Excluded(value),
                _ => Bound::Unbounded,
            }
        }
        let index = index(&orders);
        let key = row(&index, &id("a"), &[first.clone(), second.clone()]);
        let (from, to) = (bound(&from, bounds.0), bound(&to, bounds.1));
        let interval = if like { Interval::like(from, to) } else { Interval::between(from, to) };
        let (range, value) = if fixed {
            (index.range(std::slice::from_ref(&first), &interval), &second)
        } else {
            (index.range(&[], &interval), &first)
        };
        let is_like = |bound: Bound<&Value>| match bound {
            Bound::Included(bound) | Bound::Excluded(bound) => !like || bound.is_like(value),
            Bound::Unbounded => true,
        };
        let inside = (match from {
            Bound::Included(from) => value >= from,
            Bound::Excluded(from) => value > from,
            Bound::Unbounded => true,
        }) && (match to {
            Bound::Included(to) => value <= to,
            Bound::Excluded(to) => value < to,
            Bound::Unbounded => true,
        }) && is_like(from) && is_like(to);
        if encode(value).len() < index.most() {
            prop_assert_eq!(range.contains(&key), inside, "{:?} of {:?}", value, range);
        } else {
            prop_assert!(range.contains(&key) || !inside);
        }
        prop_assert!(index.all().contains(&key) && !index.overflow().contains(&key));
    }

    #[test]
    fn equal_values_lie_together_and_alone(orders in proptest::collection::vec(order(), 2), left in rows(2), right in near().prop_map(no_array)) {
        let index = index(&orders);
        let key = row(&index, &id("a"), &left);
        prop_assert!(index.range(&left, &Interval::all()).contains(&key));
        prop_assert!(index.range(&left[..1], &Interval::equal(&left[1])).contains(&key));
        let found = index.range(&[], &Interval::equal(&right)).contains(&key);
        prop_assert!(found == (left[0] == right) || encode(&right).len() >= index.most());
    }

    #[test]
    fn strings_that_begin_so_lie_together(
        text in "[ab\u{0}é]{0,4}", long in 0..900_usize, beginning in "[ab\u{0}é]{0,3}", falls in order(),
    ) {
        let index = index(&[falls]);
        let text = text + &"x".repeat(long);
        let key = row(&index, &id("a"), &[Value::from(text.as_str())]);
        let range = index.range(&[], &Interval::strings(&beginning));
        prop_assert_eq!(range.contains(&key), text.starts_with(&beginning));
        let number = row(&index, &id("a"), &[Value::from(1)]);
        prop_assert!(!range.contains(&number));
    }
}

#[test]
fn a_document_has_an_entry_for_each_distinct_element_and_combination() {
    let index = index(&[Order::Ascending, Order::Descending]);
    let json = |json: &str| match Value::from_json_str(json).unwrap() {
        Value::Map(map) => body(map),
        other => panic!("{other:?} is no map"),
    };
    let shown = |text: &str| {
        let entries = index.entries(&id("a"), &json(text)).unwrap();
        let mut rows: Vec<String> = Vec::new();
        for values in &entries.values {
            let key = index.key(values, &id("a"));
            let entry = index.entry(&key).unwrap();
            let values = entry.parts.iter().map(|part| part.value().unwrap());
            let row: Value = values.collect();
            rows.push(row.to_json_string().unwrap());
        }
        (rows.join(" "), entries.multi)
    };
    for (document, rows, multi) in [
        (r#"{"f0":true,"f1":"x"}"#, r#"[true,"x"]"#, 0),
        ("{}", "[null,null]", 0),
        (r#"{"f0":null}"#, "[null,null]", 0),
        (r#"{"f0":[]}"#, "[null,null]", 1),
        (r#"{"f0":["b","a","b"]}"#, r#"["a",null] ["b",null]"#, 1),
        (
            r#"{"f0":["a"],"f1":["x","y"]}"#,
            r#"["a","y"] ["a","x"]"#,
            3,
        ),
        (
            r#"{"f0":[["a"],null],"f1":true}"#,
            r#"[null,true] [["a"],true]"#,
            1,
        ),
    ] {
        assert_eq!(shown(document), (rows.to_owned(), multi), "{document}");
    }
}

#[test]
fn a_document_with_too_many_values_lies_apart() {
    let index = index(&[Order::Descending, Order::Ascending]);
    let many: Value = (0..65).collect();
    let document = body([("f0".to_owned(), many.clone()), ("f1".to_owned(), many)]);
    let entries = index.entries(&id("a"), &document).unwrap();
    assert!(entries.overflow && entries.values.len() == 1);
    let key = index.key(entries.values.first().unwrap(), &id("a"));
    assert!(index.overflow().contains(&key) && !index.all().contains(&key));
    let entry = index.entry(&key).unwrap();
    assert_eq!((entry.id, entry.parts.len()), (id("a"), 0));
}

#[test]
fn a_sparse_index_leaves_out_what_is_null_in_all_fields() {
    let config = IndexConfig::new("f0")
        .then("f1", Order::Descending)
        .sparse();
    let index = Index::new(1, CollectionId(1), config.checked().unwrap()).unwrap();
    let count = |json: &str| {
        let Value::Map(map) = Value::from_json_str(json).unwrap() else {
            panic!("{json} is no map")
        };
        index.entries(&id("a"), &body(map)).unwrap().values.len()
    };
    for (json, entries) in [
        ("{}", 0),
        (r#"{"f0":null,"f1":[]}"#, 0),
        (r#"{"f0":null,"f1":1}"#, 1),
        (r#"{"f0":[null,1]}"#, 1),
        (r#"{"f0":false}"#, 1),
    ] {
        assert_eq!(count(json), entries, "{json}");
    }
}

#[test]
fn a_configuration_that_makes_no_sense_says_why() {
    let long = (0..9).fold(IndexConfig::new("a"), |config, field| {
        config.then(format!("b{field}"), Order::Ascending)
    });
    for (config, part) in [
        (long, "1 to 8 fields"),
        (IndexConfig::new("a").then("a", Order::Descending), "twice"),
        (IndexConfig::new("_id"), "leave it out"),
        (IndexConfig::new("a..b"), "between dots"),
        (IndexConfig::new("_rev"), "_id"),
        (IndexConfig::new("a").named(""), "no control characters"),
        (IndexConfig::new("a").named("a\n"), "no control characters"),
    ] {
        let error = config.checked().unwrap_err();
        assert_eq!(error.code(), crate::codes::CONFIG);
        assert!(error.to_string().contains(part), "{error}");
    }
    let named = IndexConfig::new("a.b").then("c", Order::Descending);
    assert_eq!(named.name(), "a.b_1_c_-1");
}
