//! How much of the store a query reads at the most.

use std::sync::Arc;

use super::chosen::{COUNT, figures, people, short};
use super::run;
use super::store::Watched;
use crate::{CollectionConfig, Database, IndexConfig, Map, Order, Query, Value, field};

#[test]
fn no_more_entries_are_read_for_a_plan_than_it_could_save() {
    run(async {
        let storage = Watched::new(true);
        let config = CollectionConfig::new("tasks")
            .index(IndexConfig::new("status"))
            .index(IndexConfig::new("status").then("owner", Order::Ascending))
            .index(IndexConfig::new("owner"))
            .index(IndexConfig::new("date"));
        let db = Database::builder("test")
            .collection(config)
            .open_shared(Arc::new(storage.clone()))
            .await
            .unwrap();
        let tasks = db.collection::<Value>("tasks").unwrap();
        // Two fifths are open, and a third belongs to each owner.
        let documents: Vec<_> = (0..12_000_i64)
            .map(|n| {
                let status = if n % 5 < 2 { "open" } else { "done" };
                Value::Map(Map::from_iter([
                    ("status", Value::from(status)),
                    ("owner", (n % 3).into()),
                    ("date", n.into()),
                ]))
            })
            .collect();
        for part in documents.chunks(1_000) {
            tasks.insert_many(part).await.unwrap();
        }
        let latest = |query: Query<Value>| query.sort("date", Order::Descending).limit(20);
        let open = || tasks.find().where_field("status").eq("open");
        let query = latest(open());
        assert_eq!(
            short(&query.explain().await.unwrap().access),
            "date_1 backward"
        );
        let read = figures(query).await;
        assert!(
            read.index_entries <= 2_000 && read.documents_read <= 200,
            "{read:?}"
        );

        // Either of two, alone.
        let either = tasks
            .find()
            .filter(field("status").eq("open").or(field("status").eq("none")));
        let read = figures(latest(either)).await;
        assert!(read.index_entries <= 2_000, "{read:?}");

        // Where more are of use, more are read, and then they are taken.
        let many = open().sort("date", Order::Descending).limit(1_300);
        assert_eq!(
            short(&many.explain().await.unwrap().access),
            "status_1: 4800"
        );
    });
}

#[test]
fn large_documents_are_looked_up_in_calls_of_bounded_size() {
    run(async {
        let storage = Watched::new(true);
        let db = Database::builder("test")
            .collection(CollectionConfig::new("photos").index(IndexConfig::new("n")))
            .open_shared(Arc::new(storage.clone()))
            .await
            .unwrap();
        let photos = db.collection::<Value>("photos").unwrap();
        for n in 0..200_i64 {
            let bytes = Value::Binary(vec![7; 100_000].into());
            let photo = Map::from_iter([("n", Value::from(n)), ("bytes", bytes)]);
            photos.insert(&Value::Map(photo)).await.unwrap();
        }
        let some = || photos.find().where_field("n").lt(100);
        for (query, count) in [
            (some(), 100),
            (some().sort("n", Order::Descending).limit(90), 90),
            (photos.find().sort("n", Order::Ascending).limit(150), 150),
        ] {
            storage.counted();
            assert_eq!(query.documents().await.unwrap().len(), count);
            let read = storage.counted();
            // The first call does not know how large they are.
            assert!(
                (3_000_000..4_500_000).contains(&read.most_bytes),
                "{read:?}"
            );
        }
    });
}

#[test]
fn long_lists_of_values_are_looked_up_unless_the_index_is_smaller() {
    run(async {
        let storage = Watched::new(true);
        let people = people(&storage).await;
        let listed = |count: i64| people.find().where_field("n").is_in(0..count);
        for (count, plan) in [(1_000, "n_1: 1000"), (2_000, "n_1: 2000"), (10_000, "scan")] {
            let query = listed(count);
            let access = query.explain().await.unwrap().access;
            assert_eq!(short(&access), plan);
            let found = u64::try_from(count.min(COUNT)).unwrap();
            assert_eq!(query.count().await.unwrap(), found);
        }
    });
}
