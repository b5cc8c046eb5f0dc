//! Which plan a query gets, and that what it tells is what the store sees.

use std::sync::Arc;

use super::run;
use super::store::Watched;
use crate::{
    Collection, CollectionConfig, Database, IndexConfig, Map, Order, PlanAccess, PlanOrder, Query,
    QueryFigures, Value, field,
};

/// So many documents that ranges are narrow and wide.
pub(super) const COUNT: i64 = 6_000;

/// People: `n` counts them, `city` is one of 600, `age` one of 60, `active` nearly always true, `tags` two of 100, and
/// a `nick` every hundredth.
pub(super) async fn people(storage: &Watched) -> Collection<Value> {
    let config = CollectionConfig::new("people")
        .index(IndexConfig::new("n").unique())
        .index(IndexConfig::new("city").then("age", Order::Descending))
        .index(IndexConfig::new("age"))
        .index(IndexConfig::new("active"))
        .index(IndexConfig::new("tags"))
        .index(IndexConfig::new("nick").sparse())
        .index(IndexConfig::new("name").only(field("active").eq(false)));
    let db = Database::builder("test")
        .collection(config)
        .open_shared(Arc::new(storage.clone()))
        .await
        .unwrap();
    let people = db.collection::<Value>("people").unwrap();
    let documents: Vec<_> = (0..COUNT)
        .map(|n| {
            let mut person = Map::from_iter([
                ("_id", Value::from(format!("{n:05}"))),
                ("n", n.into()),
                ("city", format!("city {}", n % 600).into()),
                ("age", ((n * 7 + n / 600) % 60).into()),
                ("active", (n % 50 != 0).into()),
                ("name", format!("name {}", n % 10).into()),
                (
                    "tags",
                    [n % 100, n % 37].into_iter().map(Value::from).collect(),
                ),
            ]);
            if n % 100 == 0 {
                person.insert("nick", format!("nick {n}"));
            }
            Value::Map(person)
        })
        .collect();
    for part in documents.chunks(1_000) {
        people.insert_many(part).await.unwrap();
    }
    people
}

/// What is read of which index, in short.
pub(super) fn short(access: &PlanAccess) -> String {
    let list = |of: &[PlanAccess]| of.iter().map(short).collect::<Vec<_>>().join(", ");
    match access {
        PlanAccess::Ids { ids } => format!("{ids} ids"),
        PlanAccess::Index { index, entries, .. } => format!("{index}: {entries}"),
        PlanAccess::Intersection { of, ids } => format!("all of ({}): {ids}", list(of)),
        PlanAccess::Union { of, ids } => format!("any of ({}): {ids}", list(of)),
        PlanAccess::IndexOrder {
            index, backward, ..
        } => {
            format!("{index} {}", if *backward { "backward" } else { "forward" })
        }
        PlanAccess::IdRange { .. } => "range of ids".to_owned(),
        PlanAccess::FullScan { .. } => "scan".to_owned(),
    }
}

#[test]
fn named_queries_get_the_plans_they_should() {
    run(async {
        let storage = Watched::new(true);
        let people = people(&storage).await;
        let find = || people.find();
        let ids = ["00001", "00002", "nobody"];
        let cases: Vec<(Query<Value>, &str)> = vec![
            (find(), "scan"),
            (find().where_field("_id").eq("00007"), "1 ids"),
            (
                find().where_field("_id").is_in(ids).where_field("n").eq(1),
                "3 ids",
            ),
            (find().where_field("_id").gte("05990"), "range of ids"),
            (find().where_field("n").eq(17), "n_1: 1"),
            (find().where_field("n").between(100, 199), "n_1: 100"),
            (
                find().where_field("n").gte(100).where_field("n").lt(200),
                "n_1: 100",
            ),
            (find().where_field("n").is_in([3, 5, 9_999]), "n_1: 2"),
            (
                find().where_field("n").gt(5).where_field("n").lt(5),
                "n_1: 0",
            ),
            (find().where_field("city").eq("city 5"), "city_1_age_-1: 10"),
            (
                find().where_field("city").starts_with("city 59"),
                "city_1_age_-1: 110",
            ),
            (
                find()
                    .where_field("city")
                    .eq("city 5")
                    .where_field("age")
                    .gte(40),
                "city_1_age_-1: 5",
            ),
            // A hundred are still more than few, so a second index is asked; a thousand would be too many.
            (
                find().where_field("age").eq(7).where_field("tags").eq(1),
                "all of (age_1: 100, tags_1: 221): 4",
            ),
            (
                find()
                    .where_field("age")
                    .eq(7)
                    .where_field("tags")
                    .eq(1)
                    .where_field("n")
                    .eq(1),
                "n_1: 1",
            ),
            (
                find().filter(field("n").eq(4).or(field("city").eq("city 9"))),
                "any of (n_1: 1, city_1_age_-1: 10): 11",
            ),
            (
                find().filter(field("n").eq(4).or(field("_id").eq("00009"))),
                "any of (n_1: 1, 1 ids): 2",
            ),
            (
                find().filter(field("n").eq(4).or(field("name").eq("name 9"))),
                "scan",
            ),
            // Most of an index is worse than a scan, a part of it that is no longer narrow is not.
            (find().where_field("active").eq(true), "scan"),
            (find().where_field("age").gte(10), "scan"),
            (find().where_field("age").lt(15), "age_1: 1500"),
            (
                find().where_field("nick").starts_with("nick 1"),
                "nick_1: 11",
            ),
            (find().where_field("nick").eq(Value::Null), "scan"),
            (find().where_field("nick").not_exists(), "scan"),
            (find().where_field("name").eq("name 0"), "scan"),
            (
                find()
                    .where_field("name")
                    .eq("name 0")
                    .where_field("active")
                    .eq(false),
                "all of (active_1: 120, name_1: 120): 120",
            ),
            (find().where_field("n").ne(4), "scan"),
            (find().where_field("name").ends_with("7"), "scan"),
            // In order, until the limit.
            (
                find().sort("age", Order::Ascending).limit(20),
                "age_1 forward",
            ),
            (
                find().sort("age", Order::Descending).limit(20),
                "age_1 backward",
            ),
            (find().sort("age", Order::Descending), "scan"),
            (
                find()
                    .where_field("city")
                    .eq("city 5")
                    .sort("age", Order::Descending)
                    .limit(3),
                "city_1_age_-1 forward",
            ),
            (
                find()
                    .sort("city", Order::Descending)
                    .sort("age", Order::Ascending)
                    .limit(3),
                "city_1_age_-1 backward",
            ),
            (
                find()
                    .sort("city", Order::Ascending)
                    .sort("age", Order::Ascending)
                    .limit(3),
                "scan",
            ),
            (find().sort("tags", Order::Ascending).limit(3), "scan"),
            (find().sort("nick", Order::Ascending).limit(3), "scan"),
            (
                find()
                    .where_field("nick")
                    .gte("")
                    .sort("nick", Order::Ascending)
                    .limit(3),
                "nick_1 forward",
            ),
            (find().where_field("age").eq(7).limit(3), "age_1 forward"),
            (
                find()
                    .where_field("active")
                    .eq(true)
                    .sort("_id", Order::Descending)
                    .limit(3),
                "active_1 backward",
            ),
            (find().where_field("tags").eq(3).limit(3), "tags_1 forward"),
            (
                find()
                    .where_field("n")
                    .lt(10)
                    .sort("age", Order::Ascending)
                    .limit(5),
                "n_1: 10",
            ),
            (
                find()
                    .where_field("name")
                    .eq("name 3")
                    .sort("age", Order::Ascending)
                    .limit(5),
                "age_1 forward",
            ),
        ];
        let without = unindexed(&people).await;
        for (query, expected) in cases {
            let plan = query.explain().await.unwrap();
            assert_eq!(short(&plan.access), expected, "{plan}");
            let scanned = without
                .query(query.spec().clone())
                .documents()
                .await
                .unwrap();
            let found = query.documents().await.unwrap();
            let ids = |documents: &[crate::Document]| {
                documents
                    .iter()
                    .map(|document| document.id.clone())
                    .collect::<Vec<_>>()
            };
            assert_eq!(ids(&found), ids(&scanned), "{plan}");
        }
    });
}

/// The same people without indexes.
async fn unindexed(people: &Collection<Value>) -> Collection<Value> {
    let config = CollectionConfig::new("unindexed");
    people.database().create_collection(config).await.unwrap();
    let copy = people.database().collection::<Value>("unindexed").unwrap();
    let documents = people.find().all().await.unwrap();
    for part in documents.chunks(1_000) {
        copy.insert_many(part).await.unwrap();
    }
    copy
}

#[test]
fn analyze_counts_what_the_store_sees() {
    run(async {
        let storage = Watched::new(true);
        let people = people(&storage).await;
        let find = || people.find();
        let queries = vec![
            find(),
            find().limit(3),
            find().where_field("n").between(100, 199),
            find()
                .where_field("age")
                .lt(15)
                .where_field("name")
                .eq("name 3"),
            find().where_field("age").eq(7).where_field("tags").eq(1),
            find().filter(field("n").eq(4).or(field("city").eq("city 9"))),
            find().sort("age", Order::Descending).limit(20),
            find().where_field("tags").eq(3).limit(3),
            find().where_field("_id").is_in(["00001", "nobody"]),
        ];
        for query in queries {
            storage.counted();
            let plan = query.analyze().await.unwrap();
            let seen = storage.counted();
            let figures = plan.figures.unwrap();
            assert_eq!(figures.index_entries, seen.index_entries, "{plan}");
            assert_eq!(figures.documents_read, seen.documents, "{plan}");
            assert_eq!(figures.store_calls, seen.calls, "{plan}");
            assert_eq!(seen.commits, 0);
            let found = query.documents().await.unwrap().len() as u64;
            assert_eq!(figures.documents_returned, found);
            // The plan is the one that runs: it costs the same without being looked at.
            assert_eq!(storage.counted(), seen, "{plan}");
        }
    });
}

pub(super) async fn figures(query: Query<Value>) -> QueryFigures {
    query.analyze().await.unwrap().figures.unwrap()
}

#[test]
fn little_is_read_for_little() {
    run(async {
        let storage = Watched::new(true);
        let people = people(&storage).await;
        let range = figures(people.find().where_field("n").between(100, 199)).await;
        assert_eq!((range.index_entries, range.documents_read), (100, 100));
        assert_eq!(
            range.store_calls, 4,
            "entries, a few documents, the others, and a look at the state"
        );
        let top = figures(people.find().sort("n", Order::Descending).limit(20)).await;
        assert!(
            top.index_entries <= 40 && top.documents_read <= 40,
            "{top:?}"
        );
        // A hundred documents share each age.
        let tied = figures(people.find().sort("age", Order::Descending).limit(20)).await;
        assert!(
            tied.index_entries <= 120 && tied.documents_read <= 64,
            "{tied:?}"
        );
        let one = figures(people.find().where_field("_id").eq("00001")).await;
        assert_eq!((one.documents_read, one.store_calls), (1, 1));

        // From the first of several ranges to the end of the last.
        let few = field("_id").lt("00004").and(field("n").gte(0));
        let few = few.or(field("_id").between("00006", "00008"));
        let few = figures(people.find().filter(few)).await;
        assert_eq!(few.documents_read, 9, "{few:?}");
        let nobody = field("_id").is_in(["a", "b"]).or(field("_id").gt("9"));
        let none = figures(people.find().filter(nobody.and(field("m").eq(1)))).await;
        assert_eq!(none.documents_read, 0, "{none:?}");
        let ends = field("_id")
            .gte("05998")
            .or(field("_id").is_in(["05990", "05993"]));
        let last = figures(people.find().filter(ends.clone())).await;
        assert_eq!(last.documents_read, 10, "{last:?}");
        let all = figures(people.find().filter(ends.or(field("m").eq(1)))).await;
        assert_eq!(all.documents_read, 6_000, "read from both ends, {all:?}");

        let deep = people.find().sort("n", Order::Ascending).limit(5);
        let at = people.get_document("05000").await.unwrap().unwrap();
        let at = deep.cursor_of(&at).unwrap();
        let next = figures(deep.clone().after(at.clone())).await;
        assert!(next.index_entries <= 64, "{next:?}");
        let before = figures(deep.before(at)).await;
        assert!(before.index_entries <= 64, "{before:?}");
    });
}

#[test]
fn counting_reads_no_documents_where_the_entries_tell() {
    run(async {
        let storage = Watched::new(true);
        let people = people(&storage).await;
        let find = || people.find();
        for (query, count, covered) in [
            (find().where_field("n").between(100, 199), 100, true),
            (
                find()
                    .where_field("city")
                    .eq("city 5")
                    .where_field("age")
                    .gte(40),
                5,
                true,
            ),
            (find().where_field("tags").eq(3), 221, true),
            (
                find().filter(field("n").eq(1).and(field("age").eq(7))),
                1,
                false,
            ),
            (
                find().where_field("n").between(100, 199).skip(10).limit(30),
                30,
                true,
            ),
            (
                find()
                    .where_field("n")
                    .between(100, 199)
                    .where_field("name")
                    .eq("name 3"),
                10,
                false,
            ),
            (find().where_field("nick").starts_with("nick 10"), 2, true),
            // An empty array has the key null, and is not null.
            (find().where_field("tags").eq(Value::Null), 0, false),
        ] {
            if !covered && count == 0 {
                let empty = Map::from_iter([("tags", Vec::<Value>::new())]);
                people.update("00000", &empty).await.unwrap();
            }
            storage.counted();
            assert_eq!(query.count().await.unwrap(), count, "{:?}", query.spec());
            let seen = storage.counted();
            assert_eq!(seen.documents == 0, covered, "{:?}: {seen:?}", query.spec());
        }
    });
}

#[test]
fn a_plan_is_shown_as_a_tree_and_as_data() {
    run(async {
        let storage = Watched::new(true);
        let people = people(&storage).await;
        let query = people
            .find()
            .where_field("age")
            .eq(7)
            .where_field("tags")
            .eq(1)
            .sort("n", Order::Descending)
            .skip(1)
            .limit(2);
        let plan = query.analyze().await.unwrap();
        assert!(
            matches!(&plan.order, PlanOrder::Top { kept: 3, sort } if sort == "n desc, _id asc")
        );
        let text = plan.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..6],
            [
                "documents of people, without the first 1, at most 2",
                "└ first 3 by n desc, _id asc",
                r#"  └ that pass {"age":7,"tags":1}"#,
                "    └ 4 in all of",
                r#"      └ index age_1: {"age":7}, 100 entries"#,
                r#"      └ index tags_1: {"tags":1}, 221 entries"#,
            ]
        );
        assert!(lines[6].contains("4 documents and"), "{}", lines[6]);
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(json["access"]["kind"], "intersection");
        assert_eq!(json["access"]["of"][0]["bounds"]["age"], 7);
        assert_eq!(json["order"]["kind"], "top");
        assert_eq!(json["figures"]["documents_returned"], 2);
        let unread = serde_json::to_value(query.explain().await.unwrap()).unwrap();
        assert!(unread.get("figures").is_none());
    });
}

#[test]
fn a_stream_in_the_order_of_an_index_shows_one_state_and_stops_when_dropped() {
    run(async {
        let storage = Watched::new(true);
        let people = people(&storage).await;
        storage.counted();
        let mut stream = people.find().sort("n", Order::Descending).stream();
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!(first.id.as_str(), "05999");
        people.delete("00100").await.unwrap();
        people
            .insert(&Value::Map(Map::from_iter([
                ("_id", Value::from("new")),
                ("n", (-1).into()),
            ])))
            .await
            .unwrap();
        let mut count = 1;
        while let Some(document) = stream.next().await {
            let document = document.unwrap();
            count += 1;
            assert_eq!(document.id.as_str(), format!("{:05}", COUNT - count));
        }
        assert_eq!(count, COUNT);

        storage.counted();
        let mut stream = people.find().sort("n", Order::Ascending).stream();
        stream.next().await.unwrap().unwrap();
        drop(stream);
        let read = storage.counted();
        assert!(
            read.documents < 1_000 && read.index_entries < 2_000,
            "{read:?}"
        );
    });
}
