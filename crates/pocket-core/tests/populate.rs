//! References: what documents refer to, in one step.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pocket_core::{CollectionConfig, Database, DocumentId, Value};
use pocket_storage_memory::MemoryStorage;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Author {
    #[serde(rename = "_id")]
    id: String,
    name: String,
}

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

async fn library() -> Database {
    let db = Database::builder("library")
        .collection(CollectionConfig::new("books"))
        .collection(CollectionConfig::new("authors").sync(true))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let authors = db.collection::<Author>("authors").unwrap();
    for id in ["ada", "bob", "cy"] {
        let name = id.to_uppercase();
        authors
            .insert(&Author {
                id: id.into(),
                name,
            })
            .await
            .unwrap();
    }
    authors.delete("cy").await.unwrap();
    db
}

#[tokio::test]
async fn references_are_followed_in_order_and_those_that_lead_nowhere_are_told() {
    let db = library().await;
    let books = db.collection::<Value>("books").unwrap();
    let authors = db.collection::<Author>("authors").unwrap();
    let found = [
        value(r#"{"_id":"1","by":"ada"}"#),
        value(r#"{"_id":"2","by":["bob","gone","ada","bob"]}"#),
        value(r#"{"_id":"3"}"#),
        value(r#"{"_id":"4","by":null}"#),
        value(r#"{"_id":"5","by":"cy"}"#),
    ];
    let by = books.populate(&found, "by", &authors).await.unwrap();
    let names: Vec<Vec<Option<&str>>> = (0..found.len())
        .map(|place| {
            by.of(place)
                .map(|it| it.map(|it| it.name.as_str()))
                .collect()
        })
        .collect();
    assert_eq!(
        names,
        [
            vec![Some("ADA")],
            vec![Some("BOB"), None, Some("ADA"), Some("BOB")],
            vec![],
            vec![],
            vec![None],
        ]
    );
    assert_eq!(by.one(0).unwrap().name, "ADA");
    assert!(by.one(2).is_none() && by.one(99).is_none());
    assert_eq!(by.get("bob").unwrap().name, "BOB");
    assert!(by.get("cy").is_none());
    let missing: Vec<_> = by.missing().iter().map(DocumentId::as_str).collect();
    assert_eq!(missing, ["cy", "gone"]);
}

#[tokio::test]
async fn dots_lead_into_objects_and_a_field_that_holds_no_id_is_an_error_that_names_it() {
    let db = library().await;
    let books = db.collection::<Value>("books").unwrap();
    let authors = db.collection::<Author>("authors").unwrap();
    let found = [
        value(r#"{"_id":"1","made":{"by":{"id":"bob"}}}"#),
        value(r#"{"_id":"2","made":7}"#),
    ];
    let by = books
        .populate(&found, "made.by.id", &authors)
        .await
        .unwrap();
    assert_eq!(by.one(0).unwrap().name, "BOB");
    assert_eq!(by.of(1).count(), 0);
    for bad in [
        r#"{"_id":"x","by":7}"#,
        r#"{"_id":"x","by":["ada",{}]}"#,
        r#"{"_id":"x","by":""}"#,
    ] {
        let error = books
            .populate(&[value(bad)], "by", &authors)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "bad-query");
        let message = error.to_string();
        assert!(
            message.contains("\"by\"") && message.contains("\"x\""),
            "{message}"
        );
    }
}
