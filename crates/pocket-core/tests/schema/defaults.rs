//! Defaults: which are found, and when they are set.

use super::*;

#[tokio::test]
async fn defaults_are_set_on_insert_and_upsert_also_inside_of_objects_but_not_by_an_update() {
    let docs = with(todo()).await;
    docs.insert(&value(r#"{"_id":"1","title":"a","place":{"x":1}}"#))
        .await
        .unwrap();
    assert_eq!(
        shown(&docs, "1").await,
        r#"{"_id":"1","title":"a","place":{"x":1,"zoom":3},"done":false}"#
    );
    docs.upsert(&value(r#"{"_id":"1","title":"b"}"#))
        .await
        .unwrap();
    assert_eq!(
        shown(&docs, "1").await,
        r#"{"_id":"1","title":"b","done":false}"#
    );
    docs.update("1", &json!({"place": {"x": 2}})).await.unwrap();
    assert_eq!(
        shown(&docs, "1").await,
        r#"{"_id":"1","title":"b","done":false,"place":{"x":2}}"#
    );
}

#[tokio::test]
async fn defaults_are_found_through_references_and_in_elements_of_arrays() {
    let docs = with(Schema::json(json!({
        "properties": {
            "lines": { "type": "array", "items": { "$ref": "#/$defs/line" } },
            "first": { "$ref": "#/$defs/line" },
            "since": { "$ref": "urn:pocket:timestamp", "default": {"$date": "1970-01-01T00:00:00.000Z"} }
        },
        "$defs": { "line": {
            "type": "object",
            "properties": { "count": { "default": 1 }, "next": { "$ref": "#/$defs/line" } }
        } }
    })))
    .await;
    docs.insert(&value(
        r#"{"_id":"1","lines":[{"next":{}},{"count":2}],"first":{}}"#,
    ))
    .await
    .unwrap();
    assert_eq!(
        shown(&docs, "1").await,
        r#"{"_id":"1","lines":[{"next":{"count":1},"count":1},{"count":2}],"first":{"count":1},"since":{"$date":"1970-01-01T00:00:00.000Z"}}"#
    );
}

#[tokio::test]
async fn defaults_are_found_in_each_form_that_a_schema_of_elements_or_of_a_property_has() {
    let line = json!({ "properties": { "count": { "default": 1 } } });
    let forms = [
        json!({ "items": line }),
        json!({ "$ref": "#/$defs/lines" }),
        json!({ "$ref": "#/$defs/to_lines" }),
        json!({ "allOf": [{ "minItems": 1 }, { "items": line }] }),
        json!({ "allOf": [{ "$ref": "#/$defs/to_lines" }] }),
        json!({ "items": { "allOf": [{ "$ref": "#/$defs/to_line" }] } }),
        json!({ "$ref": "#/$defs/all_lines" }),
    ];
    for form in forms {
        let docs = with(Schema::json(json!({
            "properties": { "lines": form },
            "$defs": {
                "line": line,
                "to_line": { "$ref": "#/$defs/line" },
                "lines": { "items": { "$ref": "#/$defs/line" } },
                "to_lines": { "$ref": "#/$defs/lines" },
                "all_lines": { "allOf": [{ "$ref": "#/$defs/to_lines" }] },
            }
        })))
        .await;
        let document = value(r#"{"_id":"1","lines":[{},{"count":2},3]}"#);
        docs.insert(&document).await.unwrap();
        assert_eq!(
            shown(&docs, "1").await,
            r#"{"_id":"1","lines":[{"count":1},{"count":2},3]}"#,
            "{form}"
        );
    }
    let forms = [
        json!({ "default": 7 }),
        json!({ "$ref": "#/$defs/to_seven" }),
        json!({ "allOf": [{ "minimum": 1 }, { "default": 7 }] }),
        json!({ "allOf": [{ "$ref": "#/$defs/to_seven" }] }),
        json!({ "$ref": "#/$defs/all_seven" }),
        json!({ "default": 7, "allOf": [{ "default": 8 }] }),
        json!({ "allOf": [true, { "allOf": [{ "default": 7 }] }, { "default": 8 }] }),
    ];
    for form in forms {
        let docs = with(Schema::json(json!({
            "properties": { "n": form },
            "$defs": {
                "seven": { "default": 7 },
                "to_seven": { "$ref": "#/$defs/seven" },
                "all_seven": { "allOf": [{ "$ref": "#/$defs/seven" }] },
            }
        })))
        .await;
        docs.insert(&value(r#"{"_id":"1"}"#)).await.unwrap();
        assert_eq!(shown(&docs, "1").await, r#"{"_id":"1","n":7}"#, "{form}");
    }
}
