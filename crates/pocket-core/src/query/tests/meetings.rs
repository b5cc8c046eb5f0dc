//! Scans that begin where others have ended.

use proptest::prelude::*;

use super::{TUNING, collection, run};
use crate::config::QueryTuning;
use crate::{Collection, Map, Order, Query, Value, field};

const COUNT: i64 = 60;

fn id(n: i64) -> String {
    format!("{n:03}")
}

async fn numbers() -> Collection<Value> {
    let documents: Vec<_> = (0..COUNT)
        .map(|n| {
            Value::Map(Map::from_iter([
                ("_id", Value::from(id(n))),
                ("n", Value::from(n)),
                ("turned", Value::from(n * 37 % COUNT)),
            ]))
        })
        .collect();
    collection(&[], &documents).await
}

/// One of the kinds of queries that scan, and what it finds.
fn kind(
    things: &Collection<Value>,
    kind: usize,
    (low, every): (i64, i64),
) -> (Query<Value>, Vec<i64>) {
    let few: Vec<_> = (0..COUNT).filter(|n| n % every == 0).collect();
    let listed = || things.find().where_field("n").is_in(few.clone());
    let turned = |n: &i64| n * 37 % COUNT;
    let from_low = |n: &i64| *n >= low;
    match kind {
        0 => (listed(), few),
        1 => {
            let falling = few.iter().rev().copied().collect();
            (listed().sort("_id", Order::Descending), falling)
        }
        2 => {
            let bounded = listed().where_field("_id").gte(id(low));
            (bounded, few.into_iter().filter(from_low).collect())
        }
        3 => {
            let mut sorted = few.clone();
            sorted.sort_by_key(turned);
            (listed().sort("turned", Order::Ascending), sorted)
        }
        4 => {
            let mut sorted: Vec<_> = (0..COUNT).collect();
            sorted.sort_by_key(|n| -turned(n));
            sorted.truncate(3);
            (
                things.find().sort("turned", Order::Descending).limit(3),
                sorted,
            )
        }
        5 => (listed().limit(2), few.into_iter().take(2).collect()),
        _ => {
            let most = field("n").gte(low);
            (things.find().filter(most), (low..COUNT).collect())
        }
    }
}

async fn check(query: &Query<Value>, expected: &[i64]) {
    let documents = query.documents().await.unwrap();
    let found: Vec<_> = documents.iter().map(|found| found.id.to_string()).collect();
    let expected: Vec<_> = expected.iter().map(|n| id(*n)).collect();
    assert_eq!(found, expected, "{:?}", query.spec());
    assert_eq!(query.count().await.unwrap(), expected.len() as u64);
}

fn small(sifted_page: usize) -> QueryTuning {
    QueryTuning {
        document_page: sifted_page,
        sifted_page,
        first_page: 1,
        ..QueryTuning::DEFAULT
    }
}

#[test]
fn a_scan_from_both_ends_is_followed_by_one_from_where_they_met() {
    run(async {
        TUNING.set(small(7));
        let things = numbers().await;
        let meetings = things.database().core().meetings.clone();
        let (query, expected) = kind(&things, 0, (0, 20));
        for round in 0..4 {
            assert_eq!(meetings.is_noted(), round % 2 == 1);
            let documents = query.documents().await.unwrap();
            assert_eq!(documents.len(), expected.len());
        }
        let figures = query.analyze().await.unwrap().figures.unwrap();
        assert_eq!(figures.documents_read, COUNT as u64, "from the ends");
        let figures = query.analyze().await.unwrap().figures.unwrap();
        assert_eq!(figures.documents_read, COUNT as u64, "from within");
        TUNING.set(QueryTuning::DEFAULT);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn scans_that_begin_where_others_ended_find_the_same_in_the_same_order(
        page in 1_usize..20,
        queries in proptest::collection::vec((0_usize..7, (0..COUNT, 1_i64..30)), 1..12),
    ) {
        run(async {
            TUNING.set(small(page));
            let things = numbers().await;
            for (number, about) in queries {
                let (query, expected) = kind(&things, number, about);
                check(&query, &expected).await;
            }
            TUNING.set(QueryTuning::DEFAULT);
        });
    }
}
