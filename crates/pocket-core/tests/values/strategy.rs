//! Arbitrary values, with those that are hard more often than chance would have them.

use pocket_core::{Map, Timestamp, Value};
use proptest::prelude::*;

/// Finite floats of all sizes.
pub(crate) fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("finite", |float| float.is_finite()),
        any::<i64>().prop_map(|number| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a float near an integer is what is wanted"
            )]
            let float = number as f64;
            float
        }),
        (-4_i8..4).prop_map(|number| f64::from(number) / 2.0),
        Just(-0.0),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-4_i8..4).prop_map(Value::from),
        float().prop_map(Value::from),
        any::<i64>().prop_map(|millis| Timestamp::from_millis(millis).into()),
        (-80_000_000_000_000_i64..260_000_000_000_000)
            .prop_map(|millis| Timestamp::from_millis(millis).into()),
        any::<String>().prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Binary(bytes.into())),
    ]
}

/// Keys that are allowed, often the same ones.
pub(crate) fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-e]",
        any::<String>().prop_map(|key| key.replace(['$', '\0'], "")),
    ]
    .prop_filter("not a system field", |key| !key.starts_with('_'))
}

/// Maps without system fields, some with more keys than are kept without an index.
pub(crate) fn map() -> impl Strategy<Value = Map> {
    proptest::collection::vec((key(), value()), 0..24)
        .prop_map(|entries| entries.into_iter().collect())
}

/// Values of all kinds, a few levels deep.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((key(), inner), 0..6)
                .prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}
