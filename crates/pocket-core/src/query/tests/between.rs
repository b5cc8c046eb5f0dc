//! Commits between the reads of a query.

use std::collections::BTreeSet;
use std::sync::Arc;

use pocket_storage::BoxFuture;
use proptest::prelude::*;

use super::store::Watched;
use super::{TUNING, run};
use crate::config::QueryTuning;
use crate::{Collection, CollectionConfig, Database, IndexConfig, Map, Order, Query, Value, field};

const SMALL: QueryTuning = QueryTuning {
    narrow_entries: 3,
    few_ids: 1,
    found_ids: 1_000,
    sure_reads: 1_000,
    index_page: 4,
    document_page: 3,
    sifted_page: 5,
    first_page: 2,
    visited_entries: 6,
};

fn document(id: &str, n: i64) -> Value {
    Value::Map(Map::from_iter([
        ("_id", Value::from(id)),
        ("n", Value::from(n)),
        ("even", Value::from(n % 2 == 0)),
    ]))
}

async fn open(storage: &Watched) -> (Database, Collection<Value>) {
    let things = CollectionConfig::new("things")
        .index(IndexConfig::new("n"))
        .index(IndexConfig::new("even").then("n", Order::Descending));
    let db = Database::builder("test")
        .collection(things)
        .open_shared(Arc::new(storage.clone()))
        .await
        .unwrap();
    let things = db.collection::<Value>("things").unwrap();
    (db, things)
}

/// Queries of every kind of plan, under which the documents of even `n` stay what they are.
fn queries(things: &Collection<Value>) -> Vec<Query<Value>> {
    let find = || things.find();
    vec![
        find(),
        find().sort("_id", Order::Descending).limit(12),
        find().where_field("n").between(3, 14),
        find()
            .where_field("n")
            .gte(0)
            .sort("n", Order::Descending)
            .limit(9),
        find().sort("n", Order::Ascending).limit(11).skip(1),
        find()
            .where_field("even")
            .eq(true)
            .sort("n", Order::Ascending)
            .limit(10),
        find().where_field("even").eq(true).where_field("n").gt(2),
        find().filter(field("n").lt(3).or(field("n").gt(15))),
        find().sort("even", Order::Ascending),
        find()
            .where_field("_id")
            .is_in(["02", "05", "07", "10", "11"]),
    ]
}

/// One state: documents that are written together are seen together.
///
/// All documents of odd `n` are rewritten by every commit, each with the number of the commit in it.
async fn check(query: &Query<Value>, at: &str) {
    let documents = query.documents().await.unwrap();
    let mut ids = BTreeSet::new();
    let mut rounds = BTreeSet::new();
    for document in &documents {
        assert!(
            ids.insert(document.id.clone()),
            "{:?} twice, {at}",
            document.id
        );
        let map = document.to_map().unwrap();
        if let Some(round) = map.get("round") {
            rounds.insert(round.clone());
        }
    }
    assert!(rounds.len() <= 1, "several states {rounds:?}, {at}");
}

/// A commit that moves every odd document along all indexes.
fn shuffle(things: &Collection<Value>, round: i64) -> BoxFuture<'static, ()> {
    let things = things.clone();
    Box::pin(async move {
        let documents: Vec<_> = (0..20)
            .filter(|n| n % 2 == 1)
            .map(|n: i64| {
                let moved = (n * 7 + round * 6) % 20;
                Value::Map(Map::from_iter([
                    ("_id", Value::from(format!("{n:02}"))),
                    ("n", Value::from(moved | 1)),
                    ("even", Value::from(round % 2 == 0)),
                    ("round", Value::from(round)),
                ]))
            })
            .collect();
        let mut transaction = things.database().transaction();
        for document in &documents {
            transaction.upsert(&things, document).unwrap();
        }
        transaction.commit().await.unwrap();
    })
}

async fn filled(storage: &Watched) -> Collection<Value> {
    let (_, things) = open(storage).await;
    let documents: Vec<_> = (0..20).map(|n| document(&format!("{n:02}"), n)).collect();
    things.insert_many(&documents).await.unwrap();
    shuffle(&things, 0).await;
    things
}

#[test]
fn a_query_shows_one_state_whichever_of_its_reads_a_commit_comes_before() {
    run(async {
        TUNING.set(SMALL);
        for storage in Watched::each() {
            let things = filled(&storage).await;
            let mut round = 0;
            for query in queries(&things) {
                let expected = expected(&query, &things).await;
                for quiet in 0..25 {
                    round += 1;
                    let works = (0..quiet).map(|_| None);
                    storage.between(works.chain([Some(shuffle(&things, round))]));
                    let at = format!("a commit before read {quiet} of {:?}", query.spec());
                    check(&query, &at).await;
                    storage.between([]);
                }
                // Those who stay are found whatever happens to others, where no limit speaks of how many.
                if query.spec().limit.is_none() {
                    let steady = steady(&query, &things).await;
                    assert_eq!(steady, expected, "{:?}", query.spec());
                }
            }
        }
        TUNING.set(QueryTuning::DEFAULT);
    });
}

/// The ids of documents that never change and match.
async fn expected(query: &Query<Value>, things: &Collection<Value>) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for document in things.find().documents().await.unwrap() {
        let body = document.body.as_ref().unwrap();
        let map = document.to_map().unwrap();
        if map.get("round").is_none() && query.spec().filter.matches(&document.id, body).unwrap() {
            ids.insert(document.id.to_string());
        }
    }
    ids
}

/// The same, of a query with commits before each of its reads.
async fn steady(query: &Query<Value>, things: &Collection<Value>) -> BTreeSet<String> {
    let mut stream = query.clone().stream();
    let mut ids = BTreeSet::new();
    let mut round = 100;
    while let Some(document) = stream.next().await {
        let document = document.unwrap();
        let map = document.to_map().unwrap();
        if map.get("round").is_none() {
            assert!(
                ids.insert(document.id.to_string()),
                "{:?} twice",
                document.id
            );
        }
        round += 1;
        shuffle(things, round).await;
    }
    ids
}

#[test]
fn under_steady_commits_of_another_handle_a_query_ends() {
    run(async {
        TUNING.set(SMALL);
        for storage in Watched::each() {
            let things = filled(&storage).await;
            let (_, other) = open(&storage).await;
            for query in queries(&things) {
                storage
                    .between((0..60).map(|round| (round % 2 == 0).then(|| shuffle(&other, round))));
                check(&query, &format!("{:?}", query.spec())).await;
                storage.between([]);
            }
            assert_eq!(storage.snapshots() > 0, storage.has_snapshots());
        }
        TUNING.set(QueryTuning::DEFAULT);
    });
}

#[test]
fn writers_and_queries_of_one_handle_go_on_side_by_side() {
    run(async {
        TUNING.set(SMALL);
        for storage in Watched::each() {
            let things = filled(&storage).await;
            let writing = async {
                for round in 0..200 {
                    shuffle(&things, round).await;
                }
            };
            let reading = async {
                for turn in 0..15 {
                    for query in queries(&things) {
                        check(&query, &format!("turn {turn} of {:?}", query.spec())).await;
                    }
                }
            };
            tokio::join!(writing, reading);
        }
        TUNING.set(QueryTuning::DEFAULT);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_another_handle_commits_between_reads_a_query_shows_one_state(
        kind in 0_usize..3,
        which in 0_usize..10,
        works in proptest::collection::vec(proptest::option::weighted(0.3, 1_i64..50), 1..30),
    ) {
        run(async {
            TUNING.set(SMALL);
            let storage = Watched::each()[kind].clone();
            let things = filled(&storage).await;
            // Its commits wait for nobody, and nobody tells this one of them.
            let (_, other) = open(&storage).await;
            let works = works.into_iter().map(|round| round.map(|round| shuffle(&other, round)));
            storage.between(works);
            let query = &queries(&things)[which];
            check(query, &format!("{:?}", query.spec())).await;
            storage.between([]);
            TUNING.set(QueryTuning::DEFAULT);
        });
    }

    #[test]
    fn an_index_that_is_dropped_or_meets_its_first_array_between_reads_leads_nobody_astray(
        kind in 0_usize..3,
        quiet in 0_usize..20,
        drops in any::<bool>(),
        which in 0_usize..10,
    ) {
        run(async {
            TUNING.set(SMALL);
            let storage = Watched::each()[kind].clone();
            let things = filled(&storage).await;
            let (_, other) = open(&storage).await;
            let query = queries(&things)[which].clone();
            let before = ids(&query).await;
            let work: BoxFuture<'static, ()> = Box::pin(async move {
                if drops {
                    other.drop_index("n_1").await.unwrap();
                } else {
                    let both = Map::from_iter([
                        ("_id", Value::from("99")),
                        ("n", vec![Value::from(1), Value::from(17)].into()),
                        ("even", Value::from(true)),
                    ]);
                    other.insert(&Value::Map(both)).await.unwrap();
                }
            });
            storage.between((0..quiet).map(|_| None).chain([Some(work)]));
            let found = ids(&query).await;
            let was_done = storage.is_done();
            storage.between([]);
            // Seen by one who knows the indexes as they are now.
            let fresh = Database::builder("test").open_shared(Arc::new(storage.clone())).await.unwrap();
            let after = ids(&fresh.collection::<Value>("things").unwrap().query(query.spec().clone())).await;
            assert!(!drops || after == before);
            assert!(found == before || (was_done && found == after), "{found:?}, not {before:?} or {after:?}");
            TUNING.set(QueryTuning::DEFAULT);
        });
    }
}

async fn ids(query: &Query<Value>) -> Vec<String> {
    let documents = query.documents().await.unwrap();
    documents
        .iter()
        .map(|document| document.id.to_string())
        .collect()
}
