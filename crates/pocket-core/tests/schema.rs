//! Schemas: what local writes must fit, what defaults add, and what happens to documents from elsewhere.
#![cfg(feature = "schema")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "schema/defaults.rs"]
mod defaults;

use std::sync::Arc;

use pocket_core::replica::{
    Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope, ServerLog,
};
use pocket_core::{
    Binding, Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy,
    Database, DocumentId, DocumentLimits, Epoch, Error, Hlc, Integer, InvalidArrival, Lineage, Map,
    Record, RecordState, Revision, Schema, Seq, SessionToken, Target, Timestamp, Validate, Value,
    Violation,
};
use pocket_storage_memory::MemoryStorage;
use serde::{Deserialize, Serialize};
use serde_json::json;

fn value(json: &str) -> Value {
    Value::from_json_str(json).unwrap()
}

async fn with(schema: Schema) -> Collection<Value> {
    let db = Database::builder("test")
        .collection(CollectionConfig::new("docs").sync(true).schema(schema))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    db.collection("docs").unwrap()
}

async fn shown(docs: &Collection<Value>, id: &str) -> String {
    let document = docs.get(id).await.unwrap().unwrap();
    document.to_json_string().unwrap()
}

fn todo() -> Schema {
    Schema::json(json!({
        "type": "object",
        "required": ["title"],
        "properties": {
            "title": { "type": "string", "minLength": 1 },
            "done": { "type": "boolean", "default": false },
            "tags": { "type": "array", "items": { "type": "string" } },
            "place": {
                "type": "object",
                "properties": { "x": { "type": "number" }, "zoom": { "type": "integer", "default": 3 } }
            }
        },
        "additionalProperties": false
    }))
}

#[tokio::test]
async fn every_local_write_is_checked_and_a_refused_one_stores_nothing() {
    let docs = with(todo()).await;
    let refused = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert_eq!(error.code(), "validation");
        error.to_string()
    };
    let bad = value(r#"{"_id":"1","title":"","tags":["a",3],"extra":1}"#);
    let message = refused(docs.insert(&bad).await.map(drop));
    for part in ["`docs`", "/title: ", "/tags/1: ", "extra"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let good = value(r#"{"_id":"2","title":"good"}"#);
    refused(docs.insert_many([&good, &bad]).await.map(drop));
    refused(docs.upsert(&bad).await.map(drop));
    assert_eq!(docs.count().await.unwrap(), 0);

    docs.insert(&good).await.unwrap();
    // The patch is fine by itself; what it makes of the document is not.
    let message = refused(
        docs.update("2", &json!({"place": {"x": "far"}}))
            .await
            .map(drop),
    );
    assert!(message.contains("/place/x: "), "{message}");
    let mut tx = docs.database().transaction();
    tx.update(&docs, "2", &json!({"title": "other"})).unwrap();
    tx.insert(&docs, &bad).unwrap();
    refused(tx.commit().await);
    assert_eq!(
        shown(&docs, "2").await,
        r#"{"_id":"2","title":"good","done":false}"#
    );
}

#[tokio::test]
async fn many_failures_and_long_values_make_a_message_of_bounded_size() {
    let docs = with(Schema::json(
        json!({"additionalProperties": {"type": "integer"}}),
    ))
    .await;
    let mut many = Map::new();
    for number in 0..40 {
        many.insert(format!("field-{number:02}"), "long ".repeat(1_000));
    }
    let error = docs
        .insert(&Value::Map(many))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("/field-00: ") && error.contains("and 32 more"),
        "{error}"
    );
    assert!(error.len() < 3_000, "{}", error.len());
}

#[tokio::test]
async fn moments_bytes_and_large_integers_are_told_from_texts_and_floats() {
    let docs = with(Schema::json(json!({
        "properties": {
            "at": { "$ref": "urn:pocket:timestamp" },
            "photo": { "$ref": "urn:pocket:binary" },
            "n": { "type": "integer", "minimum": 9_007_199_254_740_993_u64, "maximum": u64::MAX },
            "mail": { "type": "string", "format": "date" }
        }
    })))
    .await;
    let fits = |json: &str| docs.violations(&value(json)).unwrap().is_empty();
    assert!(fits(
        r#"{"at":{"$date":"2024-02-29T12:00:00Z"},"photo":{"$binary":"AQI="}}"#
    ));
    assert!(!fits(r#"{"at":"2024-02-29T12:00:00Z"}"#));
    assert!(!fits(r#"{"at":{"$binary":"AQI="}}"#));
    assert!(!fits(r#"{"photo":"AQI="}"#));
    // 2^53 + 1 is exact, where a float would be rounded to 2^53.
    assert!(fits(r#"{"n":9007199254740993}"#));
    assert!(!fits(r#"{"n":9007199254740992}"#));
    assert!(fits(r#"{"n":18446744073709551615}"#));
    // By JSON Schema a float without a fraction is an integer.
    assert!(fits(r#"{"n":9007199254740994.0}"#));
    assert!(!fits(r#"{"mail":"yesterday"}"#));
}

#[tokio::test]
async fn the_id_may_be_named_by_a_schema_and_is_allowed_by_one_that_does_not() {
    let named = with(Schema::json(json!({
        "properties": { "_id": { "pattern": "^[a-z]+$" } }, "required": ["_id"]
    })))
    .await;
    named.insert(&value(r#"{"_id":"abc"}"#)).await.unwrap();
    let error = named.insert(&value(r#"{"_id":"ABC"}"#)).await.unwrap_err();
    assert!(error.to_string().contains("/_id: "), "{error}");
    let closed = with(Schema::json(json!({"additionalProperties": false}))).await;
    closed.insert(&value(r#"{"_id":"1"}"#)).await.unwrap();
    assert_eq!(
        closed
            .insert(&value(r#"{"a":1}"#))
            .await
            .unwrap_err()
            .code(),
        "validation"
    );
}

#[tokio::test]
async fn a_bad_schema_is_an_error_at_open_that_names_collection_and_place_and_makes_nothing() {
    for (schema, part) in [
        (
            json!({"properties": {"a": {"type": "strong"}}}),
            "/properties/a/type",
        ),
        (
            json!({"properties": {"a": {"default": {"$x": 1}}}}),
            "/properties/a/default",
        ),
        (
            json!({"properties": {"a": {"pattern": "(?=x)y"}}}),
            "/properties/a/pattern",
        ),
        (
            json!({"$ref": "https://example.com/other.json"}),
            "example.com",
        ),
        (json!({"$ref": "file:///etc/hostname"}), "/etc/hostname"),
    ] {
        let storage = MemoryStorage::new();
        let error = Database::builder("test")
            .collection(CollectionConfig::new("docs").schema(Schema::json(&schema)))
            .open(storage.clone())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "config");
        let message = error.to_string();
        assert!(
            message.contains("`docs`") && message.contains(part),
            "{message}"
        );
        // A name of its own shows that nothing was made before.
        let db = Database::builder("later").open(storage).await.unwrap();
        assert_eq!(db.name(), "later");
    }
    assert!(Schema::json_text("{").eq(&Schema::json_text("{")));
}

#[derive(Debug)]
struct Even;

impl Validate for Even {
    fn fill(&self, document: &mut Map) {
        if !document.contains_key("n") {
            document.insert("n", 0);
        }
        // Neither has an effect.
        document.insert("_id", "other");
        document.remove("kept");
    }

    fn validate(&self, document: &Map) -> Vec<Violation> {
        match document
            .get("n")
            .and_then(Value::as_integer)
            .and_then(Integer::as_i64)
        {
            Some(n) if n % 2 == 0 => Vec::new(),
            _ => vec![Violation::new("/n", "is not even")],
        }
    }
}

#[tokio::test]
async fn an_application_can_bring_a_rule_of_its_own() {
    let docs = with(Schema::of(Even)).await;
    docs.insert(&value(r#"{"_id":"1","kept":true}"#))
        .await
        .unwrap();
    assert_eq!(shown(&docs, "1").await, r#"{"_id":"1","kept":true,"n":0}"#);
    let error = docs.update("1", &json!({"n": 3})).await.unwrap_err();
    assert!(
        error.to_string().ends_with("`docs`: /n: is not even"),
        "{error}"
    );
    // Without the rule the collection takes anything.
    let db = docs.database();
    db.create_collection(CollectionConfig::new("docs").sync(true))
        .await
        .unwrap();
    docs.update("1", &json!({"n": 3})).await.unwrap();
}

struct Remote;

impl Resolver for Remote {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepRemote, "server-wins")
    }
}

/// Has the documents arrive by sync.
async fn arrive(db: &Database, from: u64, bodies: &[(&str, &str)]) {
    let replica = Replica::new(db, Target::DEFAULT);
    replica.load(&Scope::All).await.unwrap();
    if from == 0 {
        let attachment = Attachment {
            binding: Binding {
                lineage: Lineage::from_bytes([1; 16]),
                namespace: "default".into(),
                user: "anonymous".into(),
            },
            token: SessionToken::from_bytes([2; 16]),
            server_time: Timestamp::from_millis(1_700_000_000_000),
            since_asked: std::time::Duration::ZERO,
            rights: None,
            log: ServerLog::default(),
        };
        replica.attach(&attachment).await.unwrap();
    }
    let records = (from + 1..).zip(bodies).map(|(seq, (id, json))| Record {
        collection: CollectionName::new("docs").unwrap(),
        id: DocumentId::new(id).unwrap(),
        rev: Revision::new(Hlc::from_bits(seq << 32), ClientId::from_bytes([0xee; 16])),
        seq: Seq::new(seq),
        state: RecordState::Live(
            Body::from_serialize(&value(json), &DocumentLimits::default())
                .unwrap()
                .1,
        ),
    });
    let end = Seq::new(from + bodies.len() as u64);
    let page = IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([3; 16]),
        start: Seq::new(from),
        end,
        head: end,
        records: records.collect(),
        removals: Vec::new(),
    };
    replica.apply(page, Arc::new(Remote)).await.unwrap();
}

#[tokio::test]
async fn remote_documents_that_fail_are_kept_listed_and_told_when_they_arrive() {
    let docs = with(todo()).await;
    let db = docs.database().clone();
    let mut arrivals = docs.invalid_arrivals();
    docs.insert(&value(r#"{"_id":"mine","title":"mine"}"#))
        .await
        .unwrap();
    let page = [
        ("good", r#"{"title":"good"}"#),
        ("bad", r#"{"title":7}"#),
        ("worse", r#"{"other":1}"#),
    ];
    arrive(&db, 0, &page).await;
    assert_eq!(shown(&docs, "bad").await, r#"{"_id":"bad","title":7}"#);
    for (id, path) in [("bad", "/title"), ("worse", "")] {
        let Some(InvalidArrival::Document(told)) = arrivals.next().await else {
            panic!("no document was told");
        };
        assert_eq!(
            (told.id.as_str(), told.violations[0].path.as_str()),
            (id, path)
        );
    }
    let mut listed = Vec::new();
    let mut invalid = docs.invalid();
    while let Some(document) = invalid.next().await {
        listed.push(document.unwrap().id.to_string());
    }
    assert_eq!(listed, ["bad", "worse"]);
    // An edit has to mend it; one that does not is refused, and a deletion needs no form.
    assert_eq!(
        docs.update("bad", &json!({"done": true}))
            .await
            .unwrap_err()
            .code(),
        "validation"
    );
    docs.update("bad", &json!({"title": "seven"}))
        .await
        .unwrap();
    docs.delete("worse").await.unwrap();
    assert!(docs.invalid().next().await.is_none());
}

#[tokio::test]
async fn invalid_documents_are_found_beyond_one_page() {
    let docs = with(Schema::of(Even)).await;
    let db = docs.database().clone();
    db.create_collection(CollectionConfig::new("docs").sync(true))
        .await
        .unwrap();
    let many: Vec<Value> = (0..700)
        .map(|n| value(&format!(r#"{{"_id":"{n:03}","n":{n}}}"#)))
        .collect();
    docs.insert_many(&many).await.unwrap();
    db.create_collection(
        CollectionConfig::new("docs")
            .sync(true)
            .schema(Schema::of(Even)),
    )
    .await
    .unwrap();
    let mut invalid = docs.invalid();
    let mut count = 0;
    while let Some(document) = invalid.next().await {
        let document = document.unwrap();
        assert_eq!(document.id.as_str(), format!("{:03}", 2 * count + 1));
        count += 1;
    }
    assert_eq!(count, 350);
}

#[tokio::test]
async fn fields_that_an_older_client_does_not_know_survive_its_update_bit_for_bit() {
    /// What an old version of the application knows.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        #[serde(rename = "_id")]
        id: String,
        title: String,
    }

    // Unknown to it, and written as no writer of today does: a number in nine bytes, a float of 32 bits, a text and a
    // map with longer heads than needed, a timestamp in its longest form.
    let unknown: &[&[u8]] = &[
        b"\xa1a\xcf\0\0\0\0\0\0\0\x07",
        b"\xa1b\xca\x3f\x80\x00\x00",
        b"\xd9\x01c\xdb\0\0\0\x02hi",
        b"\xa1d\xdf\0\0\0\x01\xa1x\xdc\0\x01\xc0",
        b"\xa1e\xc7\x0c\xff\0\0\0\0\0\0\0\0\0\0\0\x01",
    ];
    let mut bytes = vec![0xde, 0, 6];
    bytes.extend_from_slice(unknown[0]);
    bytes.extend_from_slice(b"\xa5title\xa3old");
    bytes.extend(unknown[1..].concat());
    let body = Body::from_msgpack(bytes.into(), &DocumentLimits::default()).unwrap();

    let docs = with(Schema::json(
        json!({"properties": {"title": {"type": "string"}}}),
    ))
    .await;
    let db = docs.database().clone();
    arrive(&db, 0, &[("x", "{}")]).await;
    let replica = Replica::new(&db, Target::DEFAULT);
    replica.load(&Scope::All).await.unwrap();
    let page = IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([3; 16]),
        start: Seq::new(1),
        end: Seq::new(2),
        head: Seq::new(2),
        records: vec![Record {
            collection: CollectionName::new("docs").unwrap(),
            id: DocumentId::new("1").unwrap(),
            rev: Revision::new(Hlc::from_bits(2 << 32), ClientId::from_bytes([0xee; 16])),
            seq: Seq::new(2),
            state: RecordState::Live(body),
        }],
        removals: Vec::new(),
    };
    replica.apply(page, Arc::new(Remote)).await.unwrap();

    let old = db.collection::<Old>("docs").unwrap();
    let updated = old.update("1", &json!({"title": "new"})).await.unwrap();
    assert_eq!(updated.title, "new");
    let stored = docs.get_document("1").await.unwrap().unwrap().body.unwrap();
    let mut expected = vec![0x86];
    expected.extend_from_slice(unknown[0]);
    expected.extend_from_slice(b"\xa5title\xa3new");
    expected.extend(unknown[1..].concat());
    assert_eq!(stored.as_bytes(), expected);
    // A replacement is what its name says.
    old.upsert(&updated).await.unwrap();
    assert_eq!(shown(&docs, "1").await, r#"{"_id":"1","title":"new"}"#);
}
