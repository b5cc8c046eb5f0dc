//! Sorts, cursors, skip and limit against the whole sorted result.

use std::future::Future;

use pocket_core::{
    Collection, CollectionConfig, Cursor, Database, Map, Order, Query, QuerySpec, Value, field,
};
use pocket_storage_memory::MemoryStorage;
use proptest::prelude::*;

use crate::reference;
use crate::strategy::{body, path};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

/// A collection of these bodies, and the documents with their ids.
async fn collection(bodies: &[Map]) -> (Collection<Value>, Vec<Value>) {
    let db = Database::builder("test")
        .collection(CollectionConfig::new("things"))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let things = db.collection::<Value>("things").unwrap();
    let documents: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| {
            let mut whole = Map::new();
            // Not in the order of insertion.
            whole.insert("_id", format!("{}", n * 7 % 31));
            for (key, value) in body.iter() {
                whole.insert(key, value.clone());
            }
            Value::Map(whole)
        })
        .collect();
    things.insert_many(&documents).await.unwrap();
    (things, documents)
}

fn id(document: &Value) -> String {
    let map = document.as_map().unwrap();
    map.get("_id").unwrap().as_str().unwrap().to_owned()
}

fn ids(documents: &[Value]) -> Vec<String> {
    documents.iter().map(id).collect()
}

async fn all(query: &Query<Value>) -> Vec<String> {
    ids(&query.all().await.unwrap())
}

fn sorted(query: Query<Value>, sort: &[(String, Order)]) -> Query<Value> {
    sort.iter()
        .fold(query, |query, (path, order)| query.sort(path, *order))
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Ascending), Just(Order::Descending)]
}

fn bodies() -> impl Strategy<Value = Vec<Map>> {
    proptest::collection::vec(body(), 0..25)
}

fn sort() -> impl Strategy<Value = Vec<(String, Order)>> {
    proptest::collection::vec((path(), order()), 0..4)
}

/// As it comes back from its text.
fn through_text(cursor: Option<Cursor>) -> Option<Cursor> {
    let cursor = cursor?;
    let read: Cursor = cursor.to_string().parse().unwrap();
    assert_eq!(read, cursor);
    Some(read)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_sort_is_the_order_of_values_and_skip_and_limit_cut_from_it(
        bodies in bodies(),
        sort in sort(),
        skip in 0_usize..8,
        limit in 0_usize..12,
    ) {
        run(async {
            let (things, mut documents) = collection(&bodies).await;
            documents.sort_by(|left, right| reference::compare(left, right, &sort));
            let expected = ids(&documents);
            let query = sorted(things.find(), &sort);
            assert_eq!(all(&query).await, expected);
            assert_eq!(query.count().await.unwrap(), expected.len() as u64);
            assert_eq!(query.first().await.unwrap().as_ref().map(id).as_ref(), expected.first());
            let cut = query.skip(skip).limit(limit);
            let part: Vec<_> = expected.into_iter().skip(skip).take(limit).collect();
            assert_eq!(all(&cut).await, part);
            assert_eq!(cut.count().await.unwrap(), part.len() as u64);
            assert_eq!(cut.first().await.unwrap().as_ref().map(id).as_ref(), part.first());
            let mut stream = cut.stream();
            let mut streamed = Vec::new();
            while let Some(document) = stream.next().await {
                streamed.push(document.unwrap().id.to_string());
            }
            assert_eq!(streamed, part);
        });
    }

    #[test]
    fn paging_forwards_and_backwards_gives_the_whole_once(
        bodies in bodies(),
        sort in sort(),
        limit in 1_usize..6,
    ) {
        run(async {
            let (things, _) = collection(&bodies).await;
            let query = sorted(things.find(), &sort);
            let whole = all(&query).await;
            let (mut found, mut at) = (Vec::new(), None);
            loop {
                let mut next = query.clone().limit(limit);
                if let Some(at) = at.take() {
                    next = next.after(at);
                }
                let page = next.page().await.unwrap();
                if page.documents.is_empty() {
                    assert!(page.start.is_none() && page.end.is_none());
                    break;
                }
                found.extend(ids(&page.documents));
                assert!(found.len() <= whole.len(), "no document comes twice");
                at = through_text(page.end);
            }
            assert_eq!(found, whole);

            let last = query.documents().await.unwrap().pop();
            let Some(last) = last else { return };
            let mut at = through_text(Some(query.cursor_of(&last).unwrap()));
            let mut found = vec![last.id.to_string()];
            loop {
                let before = query.clone().limit(limit).before(at.take().unwrap());
                let left = whole.len() - found.len();
                assert_eq!(before.count().await.unwrap(), limit.min(left) as u64);
                let page = before.page().await.unwrap();
                if page.documents.is_empty() {
                    break;
                }
                assert_eq!(before.first().await.unwrap().as_ref().map(id), page.documents.first().map(id));
                let mut part = ids(&page.documents);
                part.extend(found);
                found = part;
                assert!(found.len() <= whole.len(), "no document comes twice");
                at = through_text(page.start);
            }
            assert_eq!(found, whole);
        });
    }

    #[test]
    fn two_cursors_cut_a_window_and_keep_their_places_when_their_documents_go(
        bodies in proptest::collection::vec(body(), 2..25),
        sort in sort(),
        from in any::<proptest::sample::Index>(),
        to in any::<proptest::sample::Index>(),
        skip in 0_usize..3,
    ) {
        run(async {
            let (things, _) = collection(&bodies).await;
            let query = sorted(things.find(), &sort);
            let documents = query.documents().await.unwrap();
            let (from, to) = (from.index(documents.len()), to.index(documents.len()));
            let after = query.cursor_of(&documents[from]).unwrap();
            let before = query.cursor_of(&documents[to]).unwrap();
            let gone = [from, to].map(|place| documents[place].id.to_string());
            let whole = all(&query).await;
            let window: Vec<_> = whole.iter().take(to).skip(from + 1).cloned().collect();
            let between = query.clone().after(after).before(before.clone());
            assert_eq!(all(&between).await, window);
            things.delete(&gone[0]).await.unwrap();
            if gone[0] != gone[1] {
                things.delete(&gone[1]).await.unwrap();
            }
            assert_eq!(all(&between).await, window);
            assert_eq!(between.count().await.unwrap(), window.len() as u64);
            let skipped: Vec<_> = window.iter().skip(skip).cloned().collect();
            assert_eq!(all(&between.skip(skip)).await, skipped);
            // From the end alone, what is passed over is nearest to it.
            let left: Vec<_> = whole[..to].iter().filter(|id| !gone.contains(id)).cloned().collect();
            let kept = left.len().saturating_sub(skip);
            assert_eq!(all(&query.skip(skip).before(before)).await, left[..kept]);
        });
    }
}

#[test]
fn a_page_holds_several_chunks_of_the_store_in_each_direction() {
    run(async {
        let bodies: Vec<_> = (0..1_300)
            .map(|n| Map::from_iter([("n", n % 10)]))
            .collect();
        let db = Database::builder("test")
            .collection(CollectionConfig::new("things"))
            .open(MemoryStorage::new())
            .await
            .unwrap();
        let things = db.collection::<Value>("things").unwrap();
        let documents: Vec<_> = bodies
            .into_iter()
            .enumerate()
            .map(|(n, mut body)| {
                body.insert("_id", format!("{n:06}"));
                Value::Map(body)
            })
            .collect();
        things.insert_many(&documents).await.unwrap();
        let rising = ids(&documents);
        let falling: Vec<_> = rising.iter().rev().cloned().collect();
        let query = things.find().sort("_id", Order::Descending);
        assert_eq!(all(&query).await, falling);
        let at = query.clone().skip(99).first().await.unwrap().unwrap();
        assert_eq!(id(&at), falling[99]);
        let at = things.get_document(&falling[99]).await.unwrap().unwrap();
        let cursor = query.cursor_of(&at).unwrap();
        assert_eq!(
            all(&query.clone().after(cursor.clone())).await,
            falling[100..]
        );
        assert_eq!(
            all(&query.clone().before(cursor.clone()).limit(10)).await,
            falling[89..99]
        );
        let threes = query.where_field("n").eq(3).after(cursor).limit(60);
        let expected: Vec<_> = falling[100..]
            .iter()
            .filter(|id| id.ends_with('3'))
            .take(60)
            .cloned()
            .collect();
        assert_eq!(all(&threes).await, expected);
    });
}

#[test]
fn a_query_is_the_same_after_a_way_through_json() {
    run(async {
        let bodies: Vec<_> = (0..20)
            .map(|n| Map::from_iter([("n", n % 4), ("m", n)]))
            .collect();
        let (things, _) = collection(&bodies).await;
        let first = things
            .find()
            .where_field("n")
            .gte(1)
            .filter(field("m").lt(15))
            .sort("n", Order::Descending)
            .sort("m", Order::Ascending)
            .limit(4)
            .exclude(["m"]);
        let end = first.page().await.unwrap().end.unwrap();
        let query = first.skip(1).after(end);
        let json = serde_json::to_string(query.spec()).unwrap();
        let spec: QuerySpec = serde_json::from_str(&json).unwrap();
        assert_eq!(&spec, query.spec());
        let bytes = rmp_serde::to_vec_named(&spec).unwrap();
        assert_eq!(rmp_serde::from_slice::<QuerySpec>(&bytes).unwrap(), spec);
        assert_eq!(
            things.query(spec).all().await.unwrap(),
            query.all().await.unwrap()
        );
        assert_eq!(query.count().await.unwrap(), 4);
        assert_eq!(serde_json::to_string(&QuerySpec::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<QuerySpec>(r#"{"filtre":{}}"#).is_err());
    });
}
