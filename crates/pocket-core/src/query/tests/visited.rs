//! Queries where the store can be visited.

use super::chosen::{figures, people};
use super::run;
use super::store::Watched;
use crate::{Order, Query, Value, field};

async fn ids(query: &Query<Value>) -> Vec<String> {
    let documents = query.documents().await.unwrap();
    documents.iter().map(|found| found.id.to_string()).collect()
}

#[test]
fn what_an_index_finds_soon_is_one_visit_and_all_else_is_read_as_elsewhere() {
    run(async {
        let (visited, plain) = (Watched::visited(), Watched::new(true));
        let people = (people(&visited).await, people(&plain).await);
        let both = |query: &dyn Fn(Query<Value>) -> Query<Value>| {
            (query(people.0.find()), query(people.1.find()))
        };
        for (what, soon, query) in [
            (
                "a range of an index",
                true,
                both(&|find| {
                    find.where_field("n")
                        .between(100, 199)
                        .sort("n", Order::Descending)
                }),
            ),
            (
                "the first by an index",
                true,
                both(&|find| find.sort("age", Order::Descending).limit(20)),
            ),
            (
                "a list, in pages",
                true,
                both(&|find| find.where_field("city").eq("city 7").skip(2).limit(3)),
            ),
            (
                "nothing",
                true,
                both(&|find| find.where_field("n").gt(1_000_000)),
            ),
            (
                "many documents of an index",
                false,
                both(&|find| find.where_field("n").between(100, 2_499)),
            ),
            (
                "far along an index",
                false,
                both(&|find| {
                    find.filter(field("m").eq(1))
                        .sort("n", Order::Ascending)
                        .limit(5)
                }),
            ),
            ("a scan", false, both(&|find| find.where_field("m").eq(1))),
        ] {
            visited.counted();
            let before = visited.visits();
            let found = ids(&query.0).await;
            let calls = visited.counted().calls;
            assert_eq!(visited.visits() - before, 1, "{what}");
            assert_eq!(calls == 1, soon, "{what}: {calls} calls");
            assert_eq!(found, ids(&query.1).await, "{what}");
            assert_eq!(
                query.0.count().await.unwrap(),
                query.1.count().await.unwrap()
            );
            let told = (figures(query.0).await, figures(query.1).await);
            assert_eq!(told.0.documents_returned, told.1.documents_returned);
            if soon {
                assert_eq!(told.0.documents_read, told.1.documents_read, "{what}");
                assert_eq!(told.0.index_entries, told.1.index_entries, "{what}");
            }
        }
        assert_eq!(plain.visits(), 0);
    });
}
