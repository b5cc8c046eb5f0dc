//! Rules for documents, written in JavaScript.

use std::fmt;

use js_sys::{Function, Reflect};
use pocket_core::{CollectionConfig, Map, Schema, Validate, Value, Violation};
use wasm_bindgen::JsValue;

use crate::error::Result;
use crate::{handle, migrations};

/// A function of the bytes of a document and its id, which answers what is wrong with it, as one text: for each violation its
/// place as a JSON pointer, a NUL, and what is wrong there, with NULs between violations; or nothing.
struct Rule(Function);

// Derived, it would bring along how JavaScript shows functions.
impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule")
    }
}

impl Validate for Rule {
    fn validate(&self, document: &Map) -> Vec<Violation> {
        let id = document.get("_id").and_then(Value::as_str);
        let said = migrations::ask(&self.0, id.unwrap_or_default(), document.clone());
        let said = said.map_or_else(|fault| Some(format!("\0{fault}")), |said| said.as_string());
        let mut said = said.as_deref().unwrap_or_default().split('\0');
        let violation = || Some(Violation::new(said.next()?, said.next()?));
        std::iter::from_fn(violation).collect()
    }
}

/// Gives a collection the rule that is under its name in `rules`, if there is one.
pub(crate) fn add(config: CollectionConfig, rules: &JsValue) -> Result<CollectionConfig> {
    if rules.is_null_or_undefined() {
        return Ok(config);
    }
    let rule = Reflect::get(rules, &config.name.as_str().into())?;
    if rule.is_undefined() {
        return Ok(config);
    }
    Ok(config.schema(Schema::of(Rule(handle::function(rule, "`schema`")?))))
}
