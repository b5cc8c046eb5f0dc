//! Filters match as the reference says, read back as they were, and obey logic.

use std::collections::BTreeMap;

use pocket_core::{Body, DocumentId, DocumentLimits, Filter, Map, Value, element, field};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::reference;
use crate::strategy::{body, close, filter};

struct Sample {
    id: DocumentId,
    body: Body,
    whole: Value,
}

fn sample(id: &str, fields: &Map) -> Sample {
    let mut whole = Map::new();
    whole.insert("_id", id);
    for (key, value) in fields.iter() {
        whole.insert(key, value.clone());
    }
    Sample {
        id: DocumentId::new(id).unwrap(),
        body: Body::from_map(fields, &DocumentLimits::default()).unwrap(),
        whole: Value::Map(whole),
    }
}

fn matches(filter: &Filter, sample: &Sample) -> bool {
    filter.matches(&sample.id, &sample.body).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn matching_bytes_is_what_the_reference_says_of_values(
        raw in filter(),
        fields in body(),
        id in "[ab]{1,2}",
    ) {
        let document = sample(&id, &fields);
        let filter = Filter::parse(&raw).unwrap();
        prop_assert_eq!(matches(&filter, &document), reference::passes(&document.whole, &raw));
    }

    #[test]
    fn ends_of_ranges_and_equal_values_are_matched_as_the_reference_says((raw, fields) in close()) {
        let document = sample("a", &fields);
        let filter = Filter::parse(&raw).unwrap();
        prop_assert_eq!(matches(&filter, &document), reference::passes(&document.whole, &raw));
    }

    #[test]
    fn a_filter_reads_back_from_its_document_its_json_and_its_bytes(raw in filter()) {
        let filter = Filter::parse(&raw).unwrap();
        let document = filter.to_value().unwrap();
        prop_assert_eq!(&Filter::parse(&document).unwrap(), &filter);
        let json = filter.to_json_string().unwrap();
        prop_assert_eq!(&Filter::from_json_str(&json).unwrap(), &filter);
        prop_assert_eq!(&serde_json::to_string(&filter).unwrap(), &json);
        prop_assert_eq!(&serde_json::from_str::<Filter>(&json).unwrap(), &filter);
        let bytes = rmp_serde::to_vec_named(&filter).unwrap();
        prop_assert_eq!(&rmp_serde::from_slice::<Filter>(&bytes).unwrap(), &filter);
        let again = Filter::parse(&document).unwrap().to_value().unwrap();
        prop_assert!(again.is_same(&document));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn not_and_or_obey_logic(left in filter(), right in filter(), fields in body()) {
        let document = sample("a", &fields);
        let left = Filter::parse(&left).unwrap();
        let right = Filter::parse(&right).unwrap();
        let (l, r) = (matches(&left, &document), matches(&right, &document));
        let both = left.clone().and(right.clone());
        let either = left.clone().or(right.clone());
        prop_assert_eq!(matches(&both, &document), l && r);
        prop_assert_eq!(matches(&either, &document), l || r);
        prop_assert_eq!(matches(&left.clone().not(), &document), !l);
        prop_assert_eq!(matches(&left.clone().not().not(), &document), l);
        let neither = left.clone().not().and(right.clone().not());
        prop_assert_eq!(matches(&either.not(), &document), matches(&neither, &document));
        let not_both = left.not().or(right.not());
        prop_assert_eq!(matches(&both.not(), &document), matches(&not_both, &document));
        for joined in [neither, not_both] {
            let read = Filter::parse(&joined.to_value().unwrap()).unwrap();
            prop_assert_eq!(read, joined);
        }
    }
}

/// The operators in a raw filter that stand directly behind a field.
fn operators(raw: &Value, found: &mut Vec<String>) {
    match raw {
        Value::Map(map) => {
            for (key, value) in map.iter() {
                if key.starts_with('$') {
                    found.push(key.to_owned());
                }
                operators(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| operators(value, found)),
        _ => {}
    }
}

#[test]
fn the_random_filters_use_every_operator_with_both_answers() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    let (filters, bodies) = (filter(), body());
    for _ in 0..2_000 {
        let raw = filters.new_tree(&mut runner).unwrap().current();
        let fields = bodies.new_tree(&mut runner).unwrap().current();
        let document = sample("a", &fields);
        let answer = matches(&Filter::parse(&raw).unwrap(), &document);
        let mut found = Vec::new();
        operators(&raw, &mut found);
        for operator in found {
            seen.entry(operator).or_default()[usize::from(answer)] += 1;
        }
    }
    let all = [
        "$eq",
        "$ne",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
        "$between",
        "$in",
        "$nin",
        "$exists",
        "$startsWith",
        "$endsWith",
        "$contains",
        "$regex",
        "$all",
        "$size",
        "$elemMatch",
        "$not",
        "$and",
        "$or",
        "$nor",
    ];
    for operator in all {
        let [no, yes] = seen.get(operator).copied().unwrap_or_default();
        assert!(no >= 10 && yes >= 10, "{operator}: {no} and {yes}");
    }
    assert_eq!(seen.len(), all.len(), "{seen:?}");
}

#[test]
fn builders_give_what_the_raw_document_gives() {
    let cases = [
        (field("a").eq(1), r#"{"a":1}"#),
        (field("a").eq(Map::new()), r#"{"a":{"$eq":{}}}"#),
        (field("a.b").ne("x"), r#"{"a.b":{"$ne":"x"}}"#),
        (
            field("a").gt(1).and(field("b").gte(2)),
            r#"{"a":{"$gt":1},"b":{"$gte":2}}"#,
        ),
        (
            field("a").lt(1).or(field("a").lte(0.5)),
            r#"{"$or":[{"a":{"$lt":1}},{"a":{"$lte":0.5}}]}"#,
        ),
        (field("a").between(1, 2), r#"{"a":{"$between":[1,2]}}"#),
        (field("a").is_in([2, 1, 2]), r#"{"a":{"$in":[1,2]}}"#),
        (field("a").not_in(["x"]), r#"{"a":{"$nin":["x"]}}"#),
        (
            field("a").exists().and(field("a").not_exists()),
            r#"{"$and":[{"a":{"$exists":true}},{"a":{"$exists":false}}]}"#,
        ),
        (field("a").starts_with("x"), r#"{"a":{"$startsWith":"x"}}"#),
        (field("a").ends_with("x"), r#"{"a":{"$endsWith":"x"}}"#),
        (field("a").contains("x"), r#"{"a":{"$contains":"x"}}"#),
        (field("a").matches("^x"), r#"{"a":{"$regex":"^x"}}"#),
        (field("a").all([1, 2]), r#"{"a":{"$all":[1,2]}}"#),
        (field("a").size(2), r#"{"a":{"$size":2}}"#),
        (
            field("a").elem_match(element().gt(1).lt(5)),
            r#"{"a":{"$elemMatch":{"$gt":1,"$lt":5}}}"#,
        ),
        (
            field("a").elem_match(field("_id").eq(1)),
            r#"{"a":{"$elemMatch":{"_id":1}}}"#,
        ),
        (field("a").eq(1).not(), r#"{"$not":{"a":1}}"#),
        (Filter::all(), "{}"),
        (Filter::all().not(), r#"{"$not":{}}"#),
    ];
    for (built, raw) in cases {
        assert_eq!(built.to_json_string().unwrap(), raw);
        assert_eq!(built, Filter::from_json_str(raw).unwrap(), "{raw}");
    }
}

#[test]
fn a_pattern_that_makes_other_engines_backtrack_for_ever_ends() {
    let document = sample("a", &Map::from_iter([("a", "a".repeat(50_000))]));
    for pattern in ["^(a*)*b", "^(a|aa)+$b", "(a?){30}a{30}b"] {
        assert!(
            !matches(&field("a").matches(pattern), &document),
            "{pattern}"
        );
    }
}
