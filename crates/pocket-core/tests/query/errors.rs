//! What is wrong with a query is told before anything is read, with the operator, the place and what to do.

use pocket_core::{
    CollectionConfig, Cursor, Database, Filter, Map, Order, QuerySpec, Value, codes, element, field,
};
use pocket_storage_memory::MemoryStorage;

fn refused(raw: &str, parts: &[&str]) {
    let error = Filter::from_json_str(raw).unwrap_err();
    assert_eq!(error.code(), codes::BAD_QUERY, "{raw}");
    for part in parts {
        assert!(error.to_string().contains(part), "{raw}: {error}");
    }
}

#[test]
fn a_bad_raw_filter_is_refused_with_its_operator_and_path() {
    for (raw, parts) in [
        ("[]", &["a filter is a map", "an array"][..]),
        ("{", &["bad JSON"]),
        (r#"{"a":1e-400}"#, &["1e-400"]),
        (r#"{"a":{"$foo":1}}"#, &["`$foo`", "\"a\"", "$elemMatch"]),
        (r#"{"$foo":1}"#, &["`$foo`", "$and $or $nor $not"]),
        (r#"{"$gt":1}"#, &["`$gt`", "behind a field"]),
        (r#"{"a":{"$gt":1,"b":2}}"#, &["\"a\"", "a.b"]),
        (r#"{"a":{"b":1,"$gt":2}}"#, &["\"a\"", "a.b"]),
        (
            r#"{"a":{"$or":[]}}"#,
            &["`$or`", "\"a\"", "does not stand behind a field"],
        ),
        (r#"{"$or":[]}"#, &["`$or`", "at least one"]),
        (r#"{"$and":{}}"#, &["`$and`", "array of filters"]),
        (r#"{"$nor":[1]}"#, &["a filter is a map", "number"]),
        (r#"{"$not":{"$gt":1}}"#, &["`$not`", "takes a filter"]),
        (r#"{"$not":5}"#, &["`$not`", "takes a filter"]),
        (r#"{"a..b":1}"#, &["a..b", "between dots"]),
        (r#"{"_rev":1}"#, &["_rev"]),
        (r#"{"a":{"$between":[1]}}"#, &["`$between`", "two values"]),
        (
            r#"{"a":{"$between":[1,"x"]}}"#,
            &["`$between`", "a number", "a string"],
        ),
        (r#"{"a":{"$in":1}}"#, &["`$in`", "array"]),
        (r#"{"a":{"$exists":1}}"#, &["`$exists`", "true or false"]),
        (
            r#"{"a":{"$startsWith":1}}"#,
            &["`$startsWith`", "takes a string"],
        ),
        (r#"{"a":{"$regex":"("}}"#, &["`$regex`", "\"a\""]),
        (
            r#"{"a":{"$regex":"(a{1000}){1000}"}}"#,
            &["`$regex`", "size limit"],
        ),
        (r#"{"a":{"$size":-1}}"#, &["`$size`", "whole number"]),
        (r#"{"a":{"$size":1.5}}"#, &["`$size`", "whole number"]),
        (r#"{"a":{"$elemMatch":1}}"#, &["`$elemMatch`", "\"a\""]),
        (
            r#"{"a":{"$elemMatch":{"b..c":1}}}"#,
            &["`$elemMatch`", "\"a\"", "b..c"],
        ),
        (r#"{"a":{"$elemMatch":{"$gt":1,"b":1}}}"#, &["\"a\""]),
        (r#"{"a":{"$eq":{"$x":1}}}"#, &["`$eq`", "\"a\"", "$x"]),
        (r#"{"a":{"b":{"$gt":1}}}"#, &["`$eq`", "\"a\"", "$gt"]),
    ] {
        refused(raw, parts);
    }
}

/// A number that was meant as an id selected nothing, and with `$ne` everything, without a word.
#[test]
fn an_id_is_compared_with_text_only() {
    for (raw, parts) in [
        (r#"{"_id":1}"#, &["`$eq` at \"_id\"", "not 1"][..]),
        (r#"{"_id":null}"#, &["`$eq`", "not null"]),
        (r#"{"_id":{"a":1}}"#, &["`$eq`", "not {\"a\":1}"]),
        (r#"{"_id":{"$in":["a",2]}}"#, &["`$in`", "not 2"]),
        (r#"{"_id":{"$between":[1,2]}}"#, &["`$between`", "not 1"]),
        (r#"{"_id":{"$gt":1.5}}"#, &["`$gt`", "not 1.5"]),
        (r#"{"_id":{"$not":{"$ne":true}}}"#, &["`$ne`", "not true"]),
        (r#"{"$or":[{"n":1},{"_id":["a"]}]}"#, &["not [\"a\"]"]),
    ] {
        refused(raw, parts);
        refused(raw, &["`_id` is text", "\"_id\""]);
    }
    for filter in [
        field("_id").eq(7),
        field("_id").is_in([7]),
        field("a").eq(1).and(field("_id").ne(7)),
    ] {
        let error = filter.check().unwrap_err().to_string();
        assert!(error.contains("`_id` is text"), "{error}");
    }
    for good in [
        r#"{"_id":"1"}"#,
        r#"{"_id":{"$in":["a","b"]},"n":1}"#,
        r#"{"_id":{"$in":[]}}"#,
        r#"{"_id":{"$exists":true}}"#,
        r#"{"_id":{"$gt":"a","$lt":"b"}}"#,
        r#"{"a":{"$elemMatch":{"_id":1}}}"#,
        r#"{"a._id":1}"#,
    ] {
        assert!(Filter::from_json_str(good).is_ok(), "{good}");
    }
}

#[test]
fn a_filter_beyond_the_limits_is_refused_with_the_limit() {
    let deep = format!("{}{{\"a\":1}}{}", "{\"$not\":".repeat(33), "}".repeat(33));
    refused(&deep, &["32"]);
    let within = format!("{}{{\"a\":1}}{}", "{\"$not\":".repeat(32), "}".repeat(32));
    assert!(Filter::from_json_str(&within).is_ok());
    let long = vec!["1"; 10_001].join(",");
    refused(
        &format!(r#"{{"a":{{"$in":[{long}]}}}}"#),
        &["`$in`", "10000", "10001"],
    );
    let many = vec![r#"{"a":1}"#; 600].join(",");
    refused(&format!(r#"{{"$or":[{many}]}}"#), &["1024"]);
    refused(
        &format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20)),
        &["1048576"],
    );
    refused(
        &format!(r#"{{"a":{{"$regex":"{}"}}}}"#, "x".repeat(1_025)),
        &["`$regex`", "1024"],
    );

    let many = (0..600).fold(Filter::all(), |filter, n| filter.and(field("a").ne(n)));
    assert_eq!(many.check().unwrap_err().code(), codes::BAD_QUERY);
    let deep = (0..100_000).fold(Filter::all(), |filter, _| filter.not());
    assert_eq!(deep.check().unwrap_err().code(), codes::BAD_QUERY);
    let mut value = Value::Null;
    for _ in 0..101 {
        value = Value::Array(vec![value]);
    }
    assert_eq!(
        field("a").eq(value).check().unwrap_err().code(),
        codes::BAD_QUERY
    );
}

#[test]
fn a_builder_remembers_its_mistake() {
    for (filter, part) in [
        (field("").gt(1), "at least one field"),
        (field("a").eq(f64::NAN), "`$eq` at \"a\""),
        (field("a").between(1, "x"), "`$between` at \"a\""),
        (field("a").matches("["), "`$regex` at \"a\""),
        (field("a").elem_match(element()), "`$elemMatch` at \"a\""),
        (field("a").elem_match(element().gt(1).gt(2)), "`$gt`"),
        (field("a").elem_match(element().matches("[")), "`$regex`"),
        (field("a").eq(1).and(field("$x").eq(1)), "$x"),
        (field("a").eq(1).or(field("$x").eq(1)).not(), "$x"),
    ] {
        let error = filter.check().unwrap_err();
        assert_eq!(error.code(), codes::BAD_QUERY);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(filter.to_value().unwrap_err().code(), codes::BAD_QUERY);
        assert!(serde_json::to_string(&filter).is_err());
    }
}

#[tokio::test]
async fn every_call_that_runs_a_bad_query_refuses_it() {
    let db = Database::builder("test")
        .collection(CollectionConfig::new("things"))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let things = db.collection::<Value>("things").unwrap();
    things
        .insert(&Value::Map(Map::from_iter([("_id", "x")])))
        .await
        .unwrap();
    let document = things.get_document("x").await.unwrap().unwrap();
    let cursor = things
        .find()
        .sort("a", Order::Ascending)
        .cursor_of(&document)
        .unwrap();
    let mut many = QuerySpec::default();
    many.sort = vec![pocket_core::SortField::new("a", Order::Ascending); 33];
    let queries = [
        (things.find().where_field("a..b").eq(1), "a..b"),
        (things.find().filter(field("a").matches("(")), "$regex"),
        (things.find().sort("$a", Order::Ascending), "$a"),
        (things.find().include(["a"]).exclude(["b"]), "not both"),
        (things.find().exclude(["_id"]), "always there"),
        (things.find().include(["a."]), "between dots"),
        (things.find().include(vec!["a"; 1_025]), "1024"),
        (things.find().after(cursor.clone()), "another sort"),
        (
            things.find().sort("a", Order::Descending).before(cursor),
            "another sort",
        ),
        (things.query(many), "32"),
    ];
    for (query, part) in queries {
        let errors = [
            query.all().await.unwrap_err(),
            query.documents().await.unwrap_err(),
            query.page().await.unwrap_err(),
            query.first().await.unwrap_err(),
            query.count().await.unwrap_err(),
            query.cursor_of(&document).unwrap_err(),
            query.stream().next().await.unwrap().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.code(), codes::BAD_QUERY);
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

#[test]
fn what_is_no_cursor_is_refused() {
    for text in [
        "",
        "x",
        "AQ",
        "AYE",
        "!!!!",
        "Ag",
        "AYOhcwGhaaFhoWuR",
        "AYOhcwGhaaCha5A",
        // A place behind a map with the key `$x`, or one with a NUL.
        "AYOhcwehaaFhoWuRgaIkeAE",
        "AYOhcwehaaFhoWuRgaJ4AAE",
        "AYOhcwehaaFhoWuRkYGhYYGiJHgB",
    ] {
        let error = text.parse::<Cursor>().unwrap_err();
        assert_eq!(error.code(), codes::BAD_QUERY, "{text}");
        let json = format!("{{\"after\":\"{text}\"}}");
        assert!(serde_json::from_str::<QuerySpec>(&json).is_err());
    }
}

#[test]
fn the_text_of_a_cursor_of_the_first_version_is_read() {
    // A map of the sort's signature, the id and the values sorted by.
    let text = "AYOhcwehaaFhoWuSAcA";
    let cursor: Cursor = text.parse().unwrap();
    assert_eq!(cursor.to_string(), text);
    // The same place, behind a map.
    "AYOhcwehaaFhoWuRgaF4AQ".parse::<Cursor>().unwrap();
    let longer = "AYOhc84AAAAHoWmhYaFrkgHAoWs";
    assert!(longer.parse::<Cursor>().is_err(), "bytes behind the end");
}

#[test]
fn a_query_as_data_with_a_mistake_says_what_is_meant() {
    for (json, part) in [
        (r#"{"filtre":{}}"#, "filtre"),
        (r#"{"filter":{"a":{"$foo":1}}}"#, "`$foo` at \"a\""),
        (
            r#"{"sort":[{"field":"a","ordr":"desc"}]}"#,
            "a field to sort by is",
        ),
        (
            r#"{"sort":[{"field":"a","order":-1}]}"#,
            "a field to sort by is",
        ),
        (r#"{"after":"AQ"}"#, "no cursor"),
    ] {
        let error = serde_json::from_str::<QuerySpec>(json).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}
