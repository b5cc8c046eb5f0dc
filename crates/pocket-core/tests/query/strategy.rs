//! Documents and filters that meet often: few fields, few values, arrays of maps.

use pocket_core::{Map, Timestamp, Value};
use proptest::prelude::*;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        5 => (-1_i8..3).prop_map(Value::from),
        3 => (-2_i8..6).prop_map(|number| Value::from(f64::from(number) / 2.0)),
        5 => "[ab]{0,2}".prop_map(Value::from),
        1 => (0_i64..3).prop_map(|millis| Timestamp::from_millis(millis).into()),
        1 => proptest::collection::vec(0_u8..2, 0..2).prop_map(|bytes| Value::Binary(bytes.into())),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            fields(inner).prop_map(Value::Map),
        ]
    })
}

fn fields(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map> {
    proptest::collection::vec(("[abc0]", value), 0..4)
        .prop_map(|entries| entries.into_iter().collect())
}

/// A body: mostly of few fields, sometimes with values that are hard.
pub(crate) fn body() -> impl Strategy<Value = Map> {
    prop_oneof![
        8 => fields(value()),
        1 => super::values::map(),
    ]
}

/// A value to compare with.
fn constant() -> impl Strategy<Value = Value> {
    prop_oneof![8 => value(), 1 => super::values::value()]
}

pub(crate) fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[abc]",
        3 => "[abc]\\.[abc01]",
        1 => "[abc]\\.[abc01]\\.[abc01]",
        1 => Just("_id".to_owned()),
    ]
}

fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(Map::from_iter(entries))
}

/// One operator on one field, and a body that has it, both of so few values that ends of ranges are met.
pub(crate) fn close() -> impl Strategy<Value = (Value, Map)> {
    let few = || {
        let scalar = prop_oneof![
            Just(Value::Null),
            (0_i8..3).prop_map(Value::from),
            Just(Value::from(1.0)),
            "[ab]".prop_map(Value::from),
        ];
        let array = proptest::collection::vec(scalar.clone(), 0..3).prop_map(Value::from);
        let nested = array.clone().prop_map(|array| Value::Array(vec![array]));
        prop_oneof![4 => scalar.clone(), 2 => array, 1 => nested, 1 => scalar.prop_map(|value| map([("b", value)]))]
    };
    let list = (few(), few()).prop_map(|(one, other)| Value::Array(vec![one, other]));
    let range = (0_i8..3, 0_i8..3).prop_map(|(low, high)| Value::from_iter([low, high]));
    let compared = proptest::sample::select(vec![
        "$eq",
        "$ne",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
        "$contains",
    ]);
    let listed = proptest::sample::select(vec!["$in", "$nin", "$all"]);
    let test = prop_oneof![
        4 => (compared.clone(), few()),
        1 => (listed, list),
        1 => (Just("$between"), range),
        1 => (Just("$elemMatch"), (compared, few()).prop_map(|(name, operand)| map([(name, operand)]))),
    ];
    (
        proptest::sample::select(vec!["a", "a.b", "a.0"]),
        test,
        few(),
    )
        .prop_map(|(path, (name, operand), value)| {
            (
                map([(path, map([(name, operand)]))]),
                Map::from_iter([("a", value)]),
            )
        })
}

/// One operator that stands behind a field, in a map of its own.
fn test() -> BoxedStrategy<(&'static str, Value)> {
    let list = || proptest::collection::vec(constant(), 0..4).prop_map(Value::from);
    let text = || "[ab]{0,2}".prop_map(Value::from);
    let one = prop_oneof![
        (
            proptest::sample::select(vec![
                "$eq",
                "$ne",
                "$gt",
                "$gte",
                "$lt",
                "$lte",
                "$contains"
            ]),
            constant()
        ),
        (
            proptest::sample::select(vec!["$in", "$nin", "$all"]),
            list()
        ),
        (
            Just("$between"),
            (constant(), constant())
                .prop_map(|(low, high)| if low.is_like(&high) {
                    vec![low, high]
                } else {
                    vec![low.clone(), low]
                })
                .prop_map(Value::from)
        ),
        (Just("$exists"), any::<bool>().prop_map(Value::from)),
        (
            proptest::sample::select(vec!["$startsWith", "$endsWith"]),
            text()
        ),
        (
            Just("$regex"),
            proptest::sample::select(vec!["a", "^a", "b$", "^$", "^a*$"]).prop_map(Value::from)
        ),
        (Just("$size"), (0_u8..4).prop_map(Value::from)),
    ];
    one.prop_recursive(3, 6, 3, |inner| {
        let tests = || {
            proptest::collection::vec(inner.clone(), 1..3)
                .prop_map(|tests| Value::Map(tests.into_iter().collect()))
        };
        prop_oneof![
            (Just("$not"), tests()),
            (Just("$elemMatch"), tests()),
            (
                Just("$elemMatch"),
                ("[abc]", tests()).prop_map(|(field, tests)| map([(&*field, tests)]))
            ),
            (
                Just("$elemMatch"),
                ("[abc]", constant()).prop_map(|(field, value)| map([(&*field, value)]))
            ),
        ]
    })
    .boxed()
}

/// What may stand behind `_id`, which is compared with text only.
fn condition_on_id() -> impl Strategy<Value = Value> {
    let text = || "[ab]{0,2}".prop_map(Value::from);
    let compared = proptest::sample::select(vec!["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]);
    let listed = proptest::sample::select(vec!["$in", "$nin"]);
    let list = proptest::collection::vec(text(), 0..3).prop_map(Value::from);
    let other = proptest::sample::select(vec!["$contains", "$all", "$size", "$exists"]);
    let other = other.prop_map(|name| match name {
        "$all" => (name, Value::Array(vec!["a".into()])),
        "$size" => (name, 1.into()),
        "$exists" => (name, true.into()),
        // Only what is compared as a whole must be text.
        _ => (name, 5.into()),
    });
    let test = prop_oneof![
        4 => (compared, text()),
        2 => (listed, list),
        1 => (Just("$between"), (text(), text()).prop_map(|(low, high)| Value::Array(vec![low, high]))),
        1 => (Just("$startsWith"), text()),
        1 => other,
    ];
    let tests = proptest::collection::vec(test, 1..3)
        .prop_map(|tests| Value::Map(tests.into_iter().collect()));
    prop_oneof![
        2 => text(),
        4 => tests.clone(),
        1 => tests.prop_map(|tests| map([("$not", tests)])),
    ]
}

/// A raw filter document.
pub(crate) fn filter() -> BoxedStrategy<Value> {
    let condition = prop_oneof![
        4 => proptest::collection::vec(test(), 1..3).prop_map(|tests| Value::Map(tests.into_iter().collect())),
        1 => constant(),
    ];
    let within = path().prop_filter("ids are text", |path| path != "_id");
    let field = prop_oneof![
        9 => (within, condition),
        1 => (Just("_id".to_owned()), condition_on_id()),
    ];
    let fields = proptest::collection::vec(field, 0..3)
        .prop_map(|fields| Value::Map(fields.into_iter().collect()));
    fields
        .prop_recursive(3, 8, 3, |inner| {
            let several = || proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::from);
            prop_oneof![
                several().prop_map(|filters| map([("$and", filters)])),
                several().prop_map(|filters| map([("$or", filters)])),
                several().prop_map(|filters| map([("$nor", filters)])),
                inner
                    .clone()
                    .prop_filter("a filter and not operators", |inner| inner
                        .as_map()
                        .is_some())
                    .prop_map(|inner| map([("$not", inner)])),
                (inner.clone(), several()).prop_map(|(inner, filters)| {
                    let mut map = inner.as_map().cloned().unwrap_or_default();
                    map.insert("$or", filters);
                    Value::Map(map)
                }),
            ]
        })
        .boxed()
}
