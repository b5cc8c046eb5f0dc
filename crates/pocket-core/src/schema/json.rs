//! JSON Schema. A document is checked in its JSON notation, the one of `docs/values.md`, so integers of 64 bits stay
//! exact, a moment is `{"$date": …}` and bytes are `{"$binary": …}`: no text can be taken for either.

use std::sync::Arc;

use jsonschema::{PatternOptions, Registry, Validator};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{Schema, Validate, Violation};
use crate::{Map, Value};

/// References that stand for a moment and for bytes.
const TIMESTAMP: &str = "urn:pocket:timestamp";
const BINARY: &str = "urn:pocket:binary";

/// Failures that are collected of one document.
const MOST: usize = 100;

/// References that are followed from one place in search of defaults.
const REFERENCES: usize = 16;

impl Schema {
    /// A JSON Schema: of draft 2020-12, unless its `$schema` names another one.
    ///
    /// `_id` is a part of what is checked, and always allowed. Formats are checked. Regular expressions take linear
    /// time; those with look-around or back-references are refused. `{"$ref": "urn:pocket:timestamp"}` stands for a
    /// moment, `{"$ref": "urn:pocket:binary"}` for bytes; nothing else outside of the schema can be referred to.
    pub fn json(schema: impl Serialize) -> Self {
        let schema = serde_json::to_value(schema).map_err(|error| error.to_string());
        Self(compile(schema))
    }

    /// As [`json`](Self::json), of a text.
    pub fn json_text(text: &str) -> Self {
        let schema = serde_json::from_str(text).map_err(|error| error.to_string());
        Self(compile(schema))
    }
}

fn compile(schema: Result<Json, String>) -> Result<Arc<dyn Validate>, Arc<str>> {
    let schema = schema.and_then(JsonSchema::new);
    schema
        .map(|schema| Arc::new(schema) as Arc<dyn Validate>)
        .map_err(Into::into)
}

#[derive(Debug)]
struct JsonSchema {
    schema: Json,
    validator: Validator,
}

impl JsonSchema {
    fn new(mut schema: Json) -> Result<Self, String> {
        check_defaults(&schema, "")?;
        allow_id(&mut schema);
        let alone = |key: &str| {
            json!({
                "type": "object",
                "required": [key],
                "properties": { (key): true },
                "additionalProperties": false,
            })
        };
        let kinds = Registry::new()
            .add(TIMESTAMP, alone("$date"))
            .and_then(|kinds| kinds.add(BINARY, alone("$binary")))
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| error.to_string())?;
        let validator = jsonschema::options()
            .offline()
            .with_registry(&kinds)
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true)
            .build(&schema)
            .map_err(|error| match error.instance_path().as_str() {
                "" => error.to_string(),
                place => format!("{place}: {error}"),
            })?;
        Ok(Self { schema, validator })
    }
}

/// A schema that closes its list of properties means those of the body.
fn allow_id(schema: &mut Json) {
    let Some(keywords) = schema.as_object_mut() else {
        return;
    };
    let closes = [
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
    ];
    if keywords.contains_key("properties") || closes.iter().any(|key| keywords.contains_key(*key)) {
        let properties = keywords.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.entry("_id").or_insert(Json::Bool(true));
        }
    }
}

/// Each default must be a value that a document can hold.
fn check_defaults(schema: &Json, place: &str) -> Result<(), String> {
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        match keyword.as_str() {
            "default" => {
                value_of(value).map_err(|error| format!("{place}/default: {error}"))?;
            }
            "properties" | "$defs" | "definitions" => {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    check_defaults(schema, &format!("{place}/{keyword}/{name}"))?;
                }
            }
            "items" => check_defaults(value, &format!("{place}/{keyword}"))?,
            "allOf" => {
                for (index, schema) in value.as_array().into_iter().flatten().enumerate() {
                    check_defaults(schema, &format!("{place}/{keyword}/{index}"))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn value_of(json: &Json) -> Result<Value, String> {
    serde_json::from_value(json.clone()).map_err(|error| error.to_string())
}

impl Validate for JsonSchema {
    fn fill(&self, document: &mut Map) {
        fill(&self.schema, &self.schema, document, 0);
    }

    fn validate(&self, document: &Map) -> Vec<Violation> {
        let json = match serde_json::to_value(document) {
            Ok(json) => json,
            Err(error) => return vec![Violation::new("", error)],
        };
        self.validator
            .iter_errors(&json)
            .take(MOST)
            .map(|error| Violation::new(error.instance_path().as_str(), &error))
            .collect()
    }
}

/// Sets the defaults of properties that are missing in `map`, and of those inside of what is there. It goes through
/// `properties`, `items`, `allOf` and references into the schema itself, as deep as the document goes.
fn fill(root: &Json, schema: &Json, map: &mut Map, followed: usize) {
    for part in parts(root, schema, followed) {
        fill(root, part, map, followed + 1);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        match map.get_mut(name) {
            Some(value) => fill_value(root, property, value, 0),
            None => {
                if let Some(Ok(value)) = default(root, property, 0).map(value_of) {
                    map.insert(name.as_str(), value);
                }
            }
        }
    }
}

fn fill_value(root: &Json, schema: &Json, value: &mut Value, followed: usize) {
    match value {
        Value::Map(map) => fill(root, schema, map, followed),
        Value::Array(values) => fill_elements(root, schema, values, followed),
        _ => {}
    }
}

/// As [`fill`], of an array.
fn fill_elements(root: &Json, schema: &Json, values: &mut [Value], followed: usize) {
    for part in parts(root, schema, followed) {
        fill_elements(root, part, values, followed + 1);
    }
    for value in values {
        fill_value(root, &schema["items"], value, 0);
    }
}

/// The default of a property, its own or the first of its other parts.
fn default<'a>(root: &'a Json, property: &'a Json, followed: usize) -> Option<&'a Json> {
    property.get("default").or_else(|| {
        parts(root, property, followed).find_map(|part| default(root, part, followed + 1))
    })
}

/// The other schemas that the same value must fit: what this one refers to, and its `allOf`.
fn parts<'a>(
    root: &'a Json,
    schema: &'a Json,
    followed: usize,
) -> impl Iterator<Item = &'a Json> + use<'a> {
    let all = schema["allOf"].as_array().into_iter().flatten();
    let parts = reference(root, schema).into_iter().chain(all);
    parts.filter(move |_| followed < REFERENCES)
}

/// What a schema refers to, if that is a place in the schema itself.
fn reference<'a>(root: &'a Json, schema: &Json) -> Option<&'a Json> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}
