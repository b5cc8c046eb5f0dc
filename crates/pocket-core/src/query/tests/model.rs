//! The same query with indexes and without gives the same documents in the same order.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::strategy::{body, filter, path};
use super::{TUNING, collection, documents, run};
use crate::config::QueryTuning;
use crate::{
    Collection, Document, Filter, IndexConfig, Map, Order, PlanAccess, Query, QuerySpec, Value,
    field,
};

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Ascending), Just(Order::Descending)]
}

fn of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map> {
    proptest::collection::vec(("[abc]", value), 0..4)
        .prop_map(|entries| entries.into_iter().collect())
}

/// Bodies of the language's tests, and such that indexes find it hard: texts that are cut, and many alike.
fn bodies() -> impl Strategy<Value = Vec<Map>> {
    let long = prop_oneof![
        Just("x".repeat(900)),
        Just("x".repeat(900) + "a"),
        Just("x".repeat(300))
    ];
    let alike = prop_oneof![
        3 => (0_i8..3).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => long.prop_map(Value::from),
        1 => proptest::collection::vec(0_i8..3, 0..3).prop_map(|list| {
            list.into_iter().map(Value::from).collect()
        }),
    ];
    let scalar = prop_oneof![
        4 => (0_i8..3).prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(Value::from("x".repeat(900))),
        1 => Just(Value::from("x".repeat(900) + "b")),
    ];
    prop_oneof![
        proptest::collection::vec(body(), 0..25),
        proptest::collection::vec(of(alike), 0..30),
        proptest::collection::vec(of(scalar), 10..30),
    ]
}

/// What is asked of fields that such documents have: conditions that an index may stand for.
fn plain_filter() -> impl Strategy<Value = Value> {
    let value = || {
        prop_oneof![
            6 => (0_i8..3).prop_map(Value::from),
            1 => Just(Value::Null),
            1 => Just(Value::from("x".repeat(900) + "b")),
        ]
    };
    let one = |name: &'static str, value: Value| Value::Map(Map::from_iter([(name, value)]));
    let test = prop_oneof![
        3 => value(),
        2 => (proptest::sample::select(vec!["$gt", "$gte", "$lt", "$lte", "$eq", "$ne", "$contains"]), value())
            .prop_map(move |(name, value)| one(name, value)),
        1 => (value(), value()).prop_map(move |(from, to)| {
            Value::Map(Map::from_iter([("$gte", from), ("$lte", to)]))
        }),
        1 => proptest::collection::vec(value(), 0..4)
            .prop_map(move |list| one("$in", list.into_iter().collect())),
        1 => Just(one("$startsWith", Value::from("x".repeat(400)))),
        1 => any::<bool>().prop_map(move |exists| one("$exists", exists.into())),
    ];
    let fields = |count: std::ops::Range<usize>| {
        proptest::collection::vec(("[abc]", test.clone()), count)
            .prop_map(|fields| Value::Map(fields.into_iter().collect()))
    };
    let ids = proptest::collection::vec((0_u8..31).prop_map(|n| Value::from(n.to_string())), 0..9);
    let ids = ids.prop_map(move |ids| one("_id", one("$in", ids.into_iter().collect())));
    let from = (0_u8..31).prop_map(move |n| one("_id", one("$gte", n.to_string().into())));
    let to = (0_u8..31).prop_map(move |n| one("_id", one("$lt", n.to_string().into())));
    let branch = prop_oneof![4 => fields(1..4), 2 => ids.clone(), 1 => from.clone(), 1 => to];
    let any = (fields(0..2), proptest::collection::vec(branch, 1..4));
    prop_oneof![
        8 => fields(0..4),
        1 => ids,
        1 => from,
        4 => any.prop_map(|(fields, any)| {
            let mut map = fields.as_map().cloned().unwrap_or_default();
            map.insert("$or", any.into_iter().collect::<Value>());
            Value::Map(map)
        }),
    ]
}

fn any_filter() -> impl Strategy<Value = Filter> {
    prop_oneof![4 => plain_filter(), 2 => filter(), 2 => Just(Value::Map(Map::new()))]
        .prop_map(|filter| Filter::parse(&filter).unwrap())
}

fn index() -> impl Strategy<Value = IndexConfig> {
    let fields = prop_oneof![
        2 => proptest::sample::subsequence(vec!["a", "b", "c"], 1),
        2 => proptest::sample::subsequence(vec!["a", "b", "c"], 1..4),
        1 => proptest::sample::subsequence(vec!["a", "b", "c", "a.b", "b.c"], 1..4),
    ];
    let only = prop_oneof![
        Just(field("a").exists()),
        Just(field("b").gte(1)),
        Just(field("a").eq(1).or(field("b").eq(1))),
    ];
    let fields = (fields.prop_shuffle(), proptest::collection::vec(order(), 3));
    (
        fields,
        proptest::bool::weighted(0.15),
        proptest::option::weighted(0.2, only),
    )
        .prop_map(|((fields, orders), sparse, only)| {
            let mut fields = fields.into_iter().zip(orders);
            let (first, order) = fields.next().unwrap();
            let mut index = IndexConfig::ordered(first, order);
            for (field, order) in fields {
                index = index.then(field, order);
            }
            if sparse {
                index = index.sparse();
            }
            if let Some(only) = only {
                index = index.only(only);
            }
            index
        })
}

/// Indexes of different names.
fn indexes() -> impl Strategy<Value = Vec<IndexConfig>> {
    proptest::collection::vec(index(), 1..5).prop_map(|indexes| {
        let named = indexes.into_iter().enumerate();
        named
            .map(|(n, index)| index.named(format!("i{n}")))
            .collect()
    })
}

fn sort() -> impl Strategy<Value = Vec<(String, Order)>> {
    let plain = || proptest::collection::vec(("[abc]", order()), 0..3);
    let any = proptest::collection::vec((path(), order()), 0..3);
    let with_id = (plain(), order()).prop_map(|(mut sort, order)| {
        sort.push(("_id".to_owned(), order));
        sort
    });
    prop_oneof![3 => plain(), 1 => any, 1 => with_id]
}

/// A sort, and values that fields are pinned to besides the filter.
type Aim = (Vec<(String, Order)>, Vec<(String, Value)>);

/// What one of the indexes has the order for: its first fields pinned, and a sort by the others in one of the two
/// directions, with ids in either.
fn aimed(indexes: Vec<IndexConfig>) -> impl Strategy<Value = Aim> {
    let index = proptest::sample::select(indexes);
    let values = proptest::collection::vec((0_i8..3).prop_map(Value::from), 3);
    let turns = (any::<bool>(), proptest::option::of(order()));
    (index, 0_usize..4, values, turns).prop_map(|(index, pinned, values, (turned, id))| {
        let pinned = pinned.min(index.fields.len());
        let names = index.fields.iter().map(|(field, _)| field.clone());
        let values = names.zip(values).take(pinned).collect();
        let other = |order| match order {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        };
        let rest = index.fields[pinned..].iter();
        let mut sort: Vec<_> = rest
            .map(|(field, order)| (field.clone(), if turned { other(*order) } else { *order }))
            .collect();
        sort.extend(id.map(|order| ("_id".to_owned(), order)));
        (sort, values)
    })
}

/// Indexes, and what is asked of them.
fn asked() -> impl Strategy<Value = (Vec<IndexConfig>, Aim)> {
    indexes().prop_flat_map(|indexes| {
        let any = sort().prop_map(|sort| (sort, Vec::new()));
        let aim = prop_oneof![2 => any, 3 => aimed(indexes.clone())];
        (Just(indexes), aim)
    })
}

fn pinned(filter: &Filter, values: &[(String, Value)]) -> Filter {
    let pins = values.iter().cloned();
    pins.fold(filter.clone(), |filter, (path, value)| {
        filter.and(field(path).eq(value))
    })
}

fn tuning() -> impl Strategy<Value = QueryTuning> {
    prop_oneof![
        1 => Just(QueryTuning::DEFAULT),
        3 => (
            1_usize..12,
            0_usize..2,
            1_usize..40,
            1_usize..6,
            1_usize..4,
            1_usize..4
        )
            .prop_map(
                |(narrow_entries, few_ids, found_ids, sure_reads, index_page, document_page)| {
                    QueryTuning {
                        narrow_entries,
                        few_ids,
                        found_ids,
                        sure_reads,
                        index_page,
                        document_page,
                        sifted_page: document_page + 1,
                        first_page: 1,
                        visited_entries: 4,
                    }
                }
            ),
    ]
}

fn query(things: &Collection<Value>, filter: &Filter, sort: &[(String, Order)]) -> Query<Value> {
    let query = things.find().filter(filter.clone());
    sort.iter()
        .fold(query, |query, (path, order)| query.sort(path, *order))
}

fn ids(documents: &[Document]) -> Vec<&str> {
    documents
        .iter()
        .map(|document| document.id.as_str())
        .collect()
}

/// Every way to run a query gives what the same query gives without indexes.
async fn same(with: &Collection<Value>, without: &Collection<Value>, spec: &QuerySpec) {
    let (with, without) = (with.query(spec.clone()), without.query(spec.clone()));
    let plan = with.explain().await.unwrap();
    let about = || format!("{plan}\n{}", serde_json::to_string(spec).unwrap());
    let scanned = without.explain().await.unwrap().access;
    assert!(scanned.indexes().is_empty(), "{scanned:?}");
    let expected = without.documents().await.unwrap();
    let found = with.documents().await.unwrap();
    assert_eq!(ids(&found), ids(&expected), "{}", about());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.body, expected.body, "{}", about());
    }
    let count = expected.len() as u64;
    assert_eq!(with.count().await.unwrap(), count, "{}", about());
    assert_eq!(
        with.first().await.unwrap(),
        without.first().await.unwrap(),
        "{}",
        about()
    );
    let mut stream = with.clone().stream();
    let mut streamed = Vec::new();
    while let Some(document) = stream.next().await {
        streamed.push(document.unwrap());
    }
    assert_eq!(ids(&streamed), ids(&expected), "{}", about());
    let analyzed = with.analyze().await.unwrap();
    assert_eq!(analyzed.access, plan.access);
    assert_eq!(analyzed.figures.unwrap().documents_returned, count);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_query_gives_the_same_with_indexes_as_without(
        bodies in bodies(),
        later in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        (indexes, (sort, pins)) in asked(),
        filters in proptest::collection::vec(any_filter(), 1..5),
        (skip, limit) in (0_usize..4, proptest::option::of(0_usize..9)),
        (from, to) in (any::<proptest::sample::Index>(), any::<proptest::sample::Index>()),
        tuning in tuning(),
    ) {
        run(async {
            TUNING.set(tuning);
            let documents = documents(&bodies);
            let with = collection(&indexes, &documents).await;
            let without = collection(&[], &documents).await;
            for place in later {
                // Some deleted, some of another body.
                let Some(document) = documents.get(place.index(documents.len().max(1))) else { continue };
                let id = document.as_map().unwrap().get("_id").unwrap().as_str().unwrap();
                if with.get(id).await.unwrap().is_none() {
                    continue;
                }
                for things in [&with, &without] {
                    things.update(id, &Map::from_iter([("a", 1), ("b", 2)])).await.unwrap();
                }
                if id.ends_with('3') {
                    for things in [&with, &without] {
                        things.delete(id).await.unwrap();
                    }
                }
            }
            for filter in &filters {
                let filter = &pinned(filter, &pins);
                let whole = query(&without, filter, &sort);
                let all = whole.documents().await.unwrap();
                let cursor = |place: &proptest::sample::Index| {
                    (!all.is_empty()).then(|| whole.cursor_of(&all[place.index(all.len())]).unwrap())
                };
                let (from, to) = (cursor(&from), cursor(&to));
                let mut spec = whole.spec().clone();
                same(&with, &without, &spec).await;
                spec.limit = limit;
                same(&with, &without, &spec).await;
                spec.skip = skip;
                spec.after = from;
                same(&with, &without, &spec).await;
                spec.before = to.clone();
                same(&with, &without, &spec).await;
                spec.after = None;
                same(&with, &without, &spec).await;
                spec.include = vec!["a".into()];
                spec.skip = 0;
                spec.limit = None;
                same(&with, &without, &spec).await;
            }
            TUNING.set(QueryTuning::DEFAULT);
        });
    }
}

/// The generator reaches every kind of plan; otherwise the test above would say little.
#[test]
fn the_model_meets_every_kind_of_plan() {
    fn kinds(access: &PlanAccess, met: &mut BTreeMap<&'static str, u32>) {
        let kind = match access {
            PlanAccess::Ids { .. } => "ids",
            PlanAccess::Index { .. } => "index",
            PlanAccess::Intersection { of, .. } => {
                for access in of {
                    kinds(access, met);
                }
                "intersection"
            }
            PlanAccess::Union { of, .. } => {
                for access in of {
                    kinds(access, met);
                }
                "union"
            }
            PlanAccess::IndexOrder {
                backward: false, ..
            } => "forward",
            PlanAccess::IndexOrder { backward: true, .. } => "backward",
            PlanAccess::IdRange { .. } => "range of ids",
            PlanAccess::FullScan { .. } => "scan",
        };
        *met.entry(kind).or_default() += 1;
    }
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeMap::new();
    run(async {
        for _ in 0..500 {
            let all = (bodies(), asked(), any_filter(), 1_usize..9, tuning());
            let (bodies, (indexes, (sort, pins)), filter, limit, tuning) =
                all.new_tree(&mut runner).unwrap().current();
            TUNING.set(tuning);
            let things = collection(&indexes, &documents(&bodies)).await;
            let filter = pinned(&filter, &pins);
            let plan = query(&things, &filter, &sort).limit(limit).explain().await;
            kinds(&plan.unwrap().access, &mut met);
        }
        TUNING.set(QueryTuning::DEFAULT);
    });
    for kind in [
        "ids",
        "index",
        "intersection",
        "union",
        "forward",
        "backward",
        "scan",
    ] {
        let times = met.get(kind).copied().unwrap_or_default();
        assert!(times >= 4, "{kind} {times} times: {met:?}");
    }
}
