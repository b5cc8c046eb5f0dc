//! Projections, on bytes, against the reference on values.

use pocket_core::{CollectionConfig, Database, Map, Order, Value};
use pocket_storage_memory::MemoryStorage;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::reference;
use crate::strategy::{body, path};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_projection_keeps_what_the_reference_keeps(
        fields in body(),
        paths in proptest::collection::vec(path(), 1..4),
        keep in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let paths: Vec<_> = paths.into_iter().filter(|path| keep || path != "_id").collect();
        runtime.block_on(async {
            let db = Database::builder("test")
                .collection(CollectionConfig::new("things"))
                .open(MemoryStorage::new())
                .await
                .unwrap();
            let things = db.collection::<Value>("things").unwrap();
            let mut whole = fields.clone();
            whole.insert("_id", "x");
            things.insert(&Value::Map(whole)).await.unwrap();
            let find = things.find().sort("a", Order::Ascending);
            let query = if keep { find.include(&paths) } else { find.exclude(&paths) };
            let split: Vec<Vec<&str>> = paths.iter().filter(|path| *path != "_id").map(|path| path.split('.').collect()).collect();
            let split: Vec<&[&str]> = split.iter().map(Vec::as_slice).collect();
            let expected = if paths.is_empty() { fields } else { reference::project(&fields, &split, keep) };
            let found = query.documents().await.unwrap().remove(0);
            assert_eq!(found.id.as_str(), "x");
            let body = found.body.unwrap();
            assert!(body.to_map().unwrap().is_same(&expected), "{body:?} {expected:?}");
            let read = query.first().await.unwrap().unwrap();
            assert_eq!(read.as_map().unwrap().get("_id").unwrap().as_str(), Some("x"));
        });
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct City {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    #[serde(default)]
    population: u64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Name {
    name: String,
}

#[tokio::test]
async fn a_type_that_does_without_the_rest_reads_a_projection() {
    let db = Database::builder("test")
        .collection(CollectionConfig::new("cities"))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let cities = db.collection::<City>("cities").unwrap();
    let graz = City {
        id: "graz".into(),
        name: "Graz".into(),
        population: 300_000,
    };
    cities.insert(&graz).await.unwrap();
    let named = cities.find().include(["name"]);
    let bare = City {
        population: 0,
        ..graz
    };
    assert_eq!(named.all().await.unwrap(), [bare]);
    let page = named
        .clone()
        .sort("population", Order::Descending)
        .page()
        .await
        .unwrap();
    assert_eq!(page.documents[0].population, 0);
    assert!(page.end.is_some(), "what is sorted by need not be included");
    let names = named.read_as::<Name>().all().await.unwrap();
    assert_eq!(
        names,
        [Name {
            name: "Graz".into()
        }]
    );
    let nameless = cities.find().exclude(["name"]).all().await;
    assert_eq!(nameless.unwrap_err().code(), "type-mismatch");
    let empty: Map = cities.find().include(["_id"]).documents().await.unwrap()[0]
        .body
        .as_ref()
        .unwrap()
        .to_map()
        .unwrap();
    assert!(empty.is_empty());
}
