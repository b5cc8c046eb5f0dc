//! Documents and queries that are hard on indexes, one by one.

use super::chosen::short;
use super::{collection, run};
use crate::{Filter, IndexConfig, Map, Order, Value};

/// A cursor of another value of a pinned field stands before or behind all documents, whatever else it was sorted by.
#[test]
fn a_cursor_from_outside_of_the_pinned_values_cuts_nothing_off() {
    run(async {
        let documents: Vec<_> = (0..20_i64)
            .map(|n| {
                let entries = [("a", n / 10), ("b", n % 10)];
                let mut document = Map::from_iter([("_id", format!("{n:02}"))]);
                for (name, value) in entries {
                    document.insert(name, value);
                }
                Value::Map(document)
            })
            .collect();
        let index = IndexConfig::new("a").then("b", Order::Ascending);
        let things = collection(&[index], &documents).await;
        let sorted = things
            .find()
            .sort("a", Order::Ascending)
            .sort("b", Order::Ascending);
        let last_of_zero = things.get_document("09").await.unwrap().unwrap();
        let at = sorted.cursor_of(&last_of_zero).unwrap();
        let ones = sorted.clone().where_field("a").eq(1).after(at).limit(4);
        assert_eq!(
            short(&ones.explain().await.unwrap().access),
            "a_1_b_1 forward"
        );
        let found = ones.documents().await.unwrap();
        let ids: Vec<_> = found.iter().map(|document| document.id.as_str()).collect();
        assert_eq!(ids, ["10", "11", "12", "13"]);
    });
}

/// Two bounds on a field with arrays may hold of two elements; in an `$elemMatch` they hold of one.
#[test]
fn bounds_on_an_array_are_not_joined_outside_of_an_element() {
    run(async {
        let list = |values: [i64; 2]| values.into_iter().map(Value::from).collect::<Value>();
        let documents = [("apart", [1, 9]), ("within", [4, 4])].map(|(id, values)| {
            Value::Map(Map::from_iter([
                ("_id", Value::from(id)),
                ("a", list(values)),
            ]))
        });
        let things = collection(&[IndexConfig::new("a")], &documents).await;
        let ids = async |filter: &str| {
            let query = things.find().filter(Filter::from_json_str(filter).unwrap());
            let plan = query.explain().await.unwrap();
            assert_eq!(plan.access.indexes(), ["a_1"], "{plan}");
            let found = query.documents().await.unwrap();
            found
                .iter()
                .map(|document| document.id.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ids(r#"{"a":{"$gte":3,"$lte":5}}"#).await,
            ["apart", "within"]
        );
        assert_eq!(ids(r#"{"a":{"$gte":5,"$lte":3}}"#).await, ["apart"]);
        assert_eq!(
            ids(r#"{"a":{"$elemMatch":{"$gte":3,"$lte":5}}}"#).await,
            ["within"]
        );
    });
}

/// A document with more combinations of values than an index keeps is found by every query that the index answers, and
/// then has no place in its order.
#[test]
fn documents_of_too_many_values_are_found_through_their_index() {
    run(async {
        let list = |from: i64| (from..from + 70).map(Value::from).collect::<Value>();
        let documents = [
            Value::Map(Map::from_iter([
                ("_id", Value::from("many")),
                ("a", list(0)),
                ("b", list(0)),
            ])),
            Value::Map(Map::from_iter([
                ("_id", Value::from("one")),
                ("a", 3.into()),
                ("b", 4.into()),
            ])),
            Value::Map(Map::from_iter([
                ("_id", Value::from("two")),
                ("a", 3.into()),
                ("b", 9.into()),
            ])),
        ];
        let index = IndexConfig::new("a").then("b", Order::Ascending);
        let things = collection(&[index], &documents).await;
        let find = || things.find().where_field("a").eq(3).where_field("b").lte(4);
        let plan = find().explain().await.unwrap();
        assert_eq!(short(&plan.access), "a_1_b_1: 2", "{plan}");
        let found = find().documents().await.unwrap();
        let ids: Vec<_> = found.iter().map(|document| document.id.as_str()).collect();
        assert_eq!(ids, ["many", "one"]);
        assert_eq!(find().count().await.unwrap(), 2);
        let pinned = things
            .find()
            .where_field("a")
            .eq(3)
            .where_field("b")
            .eq(4)
            .limit(5);
        assert_eq!(pinned.documents().await.unwrap().len(), 2);
    });
}

/// Whole arrays are no keys, and an element without a field leaves none beside one that has it.
#[test]
fn what_leaves_no_key_is_found_all_the_same() {
    run(async {
        let documents = [
            r#"{"_id":"1","a":[1,2],"b":[{"c":1},{"d":1}]}"#,
            r#"{"_id":"2","a":[[1,2],5],"b":[{"c":1}]}"#,
            r#"{"_id":"3","a":[2,1],"b":[]}"#,
            r#"{"_id":"4","a":[],"b":[{"c":null}]}"#,
        ]
        .map(|json| Value::from_json_str(json).unwrap());
        let indexes = [IndexConfig::new("a"), IndexConfig::new("b.c")];
        let things = collection(&indexes, &documents).await;
        for (filter, expected) in [
            (r#"{"a":[1,2]}"#, vec!["1", "2"]),
            (r#"{"a":{"$in":[[2,1],[[1,2],5]]}}"#, vec!["2", "3"]),
            (r#"{"a":[]}"#, vec!["4"]),
            (r#"{"b":{"$elemMatch":{"c":null}}}"#, vec!["1", "4"]),
            (r#"{"b":{"$elemMatch":{"c":1}}}"#, vec!["1", "2"]),
        ] {
            let query = things.find().filter(Filter::from_json_str(filter).unwrap());
            let found = query.documents().await.unwrap();
            let ids: Vec<_> = found.iter().map(|document| document.id.as_str()).collect();
            assert_eq!(ids, expected, "{}", query.explain().await.unwrap());
        }
    });
}
