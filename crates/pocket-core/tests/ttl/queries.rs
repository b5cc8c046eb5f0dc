//! Queries by their indexes, streams and live queries, which see no more than others do.

use pocket_core::{Order, QuerySpec};

use super::*;

/// Documents whose number rises with the second at which they expire, 1,000 + n.
async fn indexed(clock: &Clock) -> Collection<Value> {
    let docs = docs(clock, Ttl::at_field("until")).await;
    for index in [
        IndexConfig::new("n"),
        IndexConfig::new("odd").then("n", Order::Descending),
    ] {
        docs.create_index(index).await.unwrap();
    }
    let many: Vec<_> = (0..300_i64)
        .map(|n| {
            let Value::Map(mut map) = until(&format!("{n:03}"), 1_000 + n) else {
                unreachable!("it is a map")
            };
            map.insert("n", n);
            map.insert("odd", n % 2);
            Value::Map(map)
        })
        .collect();
    docs.insert_many(&many).await.unwrap();
    docs
}

#[tokio::test]
async fn queries_by_an_index_by_order_and_by_id_leave_out_what_is_over() {
    let clock = Clock::at(900);
    let docs = indexed(&clock).await;
    for now in [900, 1_000, 1_009, 1_150, 1_299] {
        clock.set(now);
        let lives = |n: i64| 1_000 + n > now;
        for (filter, expected) in [
            (r#"{"n":{"$lt":20}}"#, (0..20).filter(|n| lives(*n)).count()),
            (
                r#"{"n":{"$in":[5,9,299]}}"#,
                [5, 9, 299].iter().filter(|n| lives(**n)).count(),
            ),
            (
                r#"{"odd":1}"#,
                (0..300).filter(|n| n % 2 == 1 && lives(*n)).count(),
            ),
            (r#"{"_id":"009"}"#, usize::from(lives(9))),
            (
                r#"{"_id":{"$in":["009","200"]}}"#,
                [9, 200].iter().filter(|n| lives(**n)).count(),
            ),
            ("{}", (0..300).filter(|n| lives(*n)).count()),
        ] {
            let filter = pocket_core::Filter::from_json_str(filter).unwrap();
            let query = || docs.find().filter(filter.clone());
            assert_eq!(
                query().count().await.unwrap(),
                expected as u64,
                "{now} {filter:?}"
            );
            assert_eq!(
                query().all().await.unwrap().len(),
                expected,
                "{now} {filter:?}"
            );
            let sorted = query().sort("n", Order::Ascending).limit(3);
            let sorted = sorted.all().await.unwrap();
            assert_eq!(sorted.len(), expected.min(3), "{now} {filter:?}");
            let mut stream = query().stream();
            let mut streamed = 0;
            while let Some(document) = stream.next().await {
                document.unwrap();
                streamed += 1;
            }
            assert_eq!(streamed, expected, "{now} {filter:?}");
        }
        let first = docs.query(QuerySpec::default()).sort("n", Order::Ascending);
        let first = first.documents().await.unwrap();
        let first = first.first().map(|it| it.id.to_string());
        let expected = (0..300).find(|n| lives(*n)).map(|n| format!("{n:03}"));
        assert_eq!(first, expected, "{now}");
    }
}

#[tokio::test]
async fn a_live_query_begins_without_what_is_over_and_hears_of_the_rest_from_the_sweep() {
    let clock = Clock::at(1_000);
    let docs = docs(&clock, Ttl::at_field("until")).await;
    docs.insert(&until("a", 900)).await.unwrap();
    docs.insert(&until("b", 1_100)).await.unwrap();
    docs.insert(&until("c", 1_200)).await.unwrap();
    let mut live = docs.find().live();
    let shown = |step: &pocket_core::LiveStep<Value>| -> Vec<String> {
        let documents = step.result.documents();
        documents.map(|document| document.id.to_string()).collect()
    };
    let step = live.next().await.unwrap().unwrap();
    assert_eq!(shown(&step), ["b", "c"]);
    // What is over when it is written never comes.
    docs.insert(&until("d", 1_000)).await.unwrap();
    docs.insert(&until("e", 1_300)).await.unwrap();
    let step = live.next().await.unwrap().unwrap();
    assert_eq!(shown(&step), ["b", "c", "e"]);
    clock.set(1_200);
    assert_eq!(docs.database().expire().await.unwrap(), 4);
    let step = live.next().await.unwrap().unwrap();
    assert_eq!(shown(&step), ["e"]);
    // Another time to live is another result.
    let config = CollectionConfig::new("docs").ttl(Ttl::after_update(MINUTE));
    docs.database().create_collection(config).await.unwrap();
    let step = live.next().await.unwrap().unwrap();
    assert!(step.result.is_empty());
}
