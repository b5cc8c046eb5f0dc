//! Documents as bytes, as a binding to another language has them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pocket_core::{
    Body, Collection, CollectionConfig, Database, DocumentLimits, Order, QuerySpec, SortField,
    Value, codes,
};
use pocket_storage_memory::MemoryStorage;

async fn notes() -> (Database, Collection<Value>) {
    let builder = Database::builder("test").collection(CollectionConfig::new("notes").sync(true));
    let database = builder.open(MemoryStorage::new()).await.unwrap();
    let notes = database.collection("notes").unwrap();
    (database, notes)
}

fn bytes(json: &str) -> Vec<u8> {
    let value = Value::from_json_str(json).unwrap();
    match value {
        Value::Map(map) => Body::from_map(&map, &DocumentLimits::default())
            .unwrap()
            .as_bytes()
            .to_vec(),
        _ => panic!("a document"),
    }
}

/// An array of documents, with ids.
fn many(documents: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![0x90 | documents.len() as u8];
    for (id, json) in documents {
        let body = bytes(json);
        assert_eq!(body[0] & 0xf0, 0x80, "a small map");
        all.push(body[0] + 1);
        all.extend_from_slice(&body[1..]);
        all.extend_from_slice(&[0xa3, b'_', b'i', b'd', 0xa0 | id.len() as u8]);
        all.extend_from_slice(id.as_bytes());
    }
    all
}

#[tokio::test]
async fn bodies_are_stored_as_they_are_and_come_back_with_their_revisions() {
    let (database, notes) = notes().await;
    let documents = many(&[("b", r#"{"n":1}"#), ("a", r#"{"n":2}"#)]);
    let stored = notes
        .insert_bodies(database.split_many(&documents).unwrap())
        .await
        .unwrap();
    assert_eq!(stored[0].id.as_str(), "b");
    assert_eq!(
        stored[1].body.as_ref().unwrap().as_bytes(),
        bytes(r#"{"n":2}"#)
    );
    let found = notes
        .get_documents(vec![stored[1].id.clone(), stored[0].id.clone()])
        .await
        .unwrap();
    assert_eq!(
        found,
        [Some(stored[1].clone()), Some(stored[0].clone())],
        "in the order asked for"
    );
    let patch = database.split(&bytes(r#"{"m":3}"#)).unwrap();
    let updated = notes.update_body("a", patch).await.unwrap();
    assert_eq!(updated.body.unwrap().as_bytes(), bytes(r#"{"n":2,"m":3}"#));
    assert!(updated.rev > stored[1].rev);
    let page = notes
        .find()
        .sort("n", Order::Descending)
        .limit(1)
        .page_of_documents()
        .await
        .unwrap();
    assert_eq!(page.documents[0].id.as_str(), "a");
    assert!(page.end.is_some());
}

#[tokio::test]
async fn one_wrong_document_of_many_is_named_and_nothing_is_stored() {
    let (database, notes) = notes().await;
    let mut documents = many(&[("a", "{}"), ("b", "{}")]);
    documents.pop();
    documents.push(0);
    let error = database.split_many(&documents).unwrap_err();
    assert!(error.to_string().contains("document 1"), "{error}");
    for garbage in [&b""[..], b"\xc0", b"\xdd\xff\xff\xff\xff", b"\x90\x90"] {
        let error = database.split_many(garbage).unwrap_err();
        assert_eq!(error.code(), codes::VALIDATION, "{garbage:?}");
    }
    assert_eq!(notes.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_transaction_that_expects_another_version_is_refused() {
    let (database, notes) = notes().await;
    let document = database.split(&bytes("{}")).unwrap();
    let stored = notes.insert_bodies(vec![document]).await.unwrap();
    let mut transaction = database.transaction();
    transaction.expect(&notes, stored[0].id.clone(), Some(&stored[0]));
    let body = database.split(&bytes(r#"{"n":1}"#)).unwrap();
    transaction.insert_body(&notes, body.clone()).unwrap();
    notes
        .update_body(stored[0].id.as_str(), body)
        .await
        .unwrap();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.code(), codes::TRANSACTION_CONFLICT);
    assert_eq!(notes.count().await.unwrap(), 1);
}

#[test]
fn a_query_of_messagepack_is_the_one_of_json() {
    let text = r#"{"filter":{"n":{"$in":[1,"x"]}},"sort":["a",{"field":"b","order":"desc"}],"skip":2,"limit":3,"include":["a","b"],"exclude":[]}"#;
    let spec: QuerySpec = serde_json::from_str(text).unwrap();
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let bytes = rmp_serde::to_vec_named(&value).unwrap();
    assert_eq!(QuerySpec::from_msgpack(&bytes).unwrap(), spec);
    let pair = rmp_serde::to_vec_named(&serde_json::json!({"sort": [["c", "desc"]]})).unwrap();
    assert_eq!(
        QuerySpec::from_msgpack(&pair).unwrap().sort,
        [SortField::new("c", Order::Descending)]
    );
    for wrong in [
        serde_json::json!({"filtre": {}}),
        serde_json::json!({"limit": -1}),
        serde_json::json!({"sort": [["a", "up"]]}),
        serde_json::json!({"after": "no cursor"}),
        serde_json::json!([]),
    ] {
        let bytes = rmp_serde::to_vec_named(&wrong).unwrap();
        let error = QuerySpec::from_msgpack(&bytes).unwrap_err();
        assert_eq!(error.code(), codes::BAD_QUERY, "{wrong}");
    }
}
