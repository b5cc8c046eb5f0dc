//! Migrations written in JavaScript.

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use pocket_core::storage::ordered::BTreeMap;
use pocket_core::{
    Body, DatabaseBuilder, DocumentId, DocumentLimits, Map, Migrated, Migration, codes,
};
use wasm_bindgen::{JsCast, JsValue};

use crate::error::{Result, error};
use crate::promise::{bytes, whole};

/// Adds the migrations of an array of `{ version, collection?, migrate(bytes, id) }`. One without a collection is for all
/// of `collections`.
pub(crate) fn add(
    mut builder: DatabaseBuilder,
    given: &JsValue,
    collections: &[String],
) -> Result<DatabaseBuilder> {
    if given.is_null_or_undefined() {
        return Ok(builder);
    }
    let given = given
        .dyn_ref::<Array>()
        .ok_or_else(|| config("they are no array"))?;
    let mut steps: BTreeMap<u32, Migration> = BTreeMap::new();
    for step in given.iter() {
        let of = |name: &str| Reflect::get(&step, &name.into()).unwrap_or(JsValue::UNDEFINED);
        let number = whole(of("version").as_f64().unwrap_or_default(), "`version`")?;
        let number = u32::try_from(number).unwrap_or_default();
        if number == 0 {
            return Err(config("`version` is a whole number from 1 on"));
        }
        let migrate: Function = of("migrate")
            .dyn_into()
            .map_err(|_| config("`migrate` is no function"))?;
        let names = match of("collection").as_string() {
            Some(name) => vec![name],
            None => collections.to_vec(),
        };
        let mut migration = steps
            .remove(&number)
            .unwrap_or_else(|| Migration::to(number));
        for name in names {
            let migrate = migrate.clone();
            migration = migration.documents(name, move |id, document| run(&migrate, id, document));
        }
        steps.insert(number, migration);
    }
    for migration in steps.into_values() {
        builder = builder.migration(migration);
    }
    Ok(builder)
}

fn config(what: &str) -> JsValue {
    error(
        codes::CONFIG,
        &format!("the migrations cannot be read: {what}"),
    )
}

/// Calls a function with the bytes of a document and its id.
pub(crate) fn ask(function: &Function, id: &str, mut document: Map) -> Result<JsValue, String> {
    document.remove("_id");
    // It was stored or is about to be, so it is within whatever limits there are.
    let document =
        Body::from_map(&document, &DocumentLimits::WIDEST).map_err(|error| error.to_string())?;
    let document = bytes(document.as_bytes());
    let answer = function.call2(&JsValue::UNDEFINED, &document, &id.into());
    answer.map_err(|thrown| text(&thrown))
}

/// Asks the function what becomes of a document: `undefined` if it stays, `null` if it goes.
fn run(migrate: &Function, id: &DocumentId, document: Map) -> Result<Migrated, String> {
    let answer = ask(migrate, id.as_str(), document)?;
    if answer.is_undefined() {
        return Ok(Migrated::Unchanged);
    }
    if answer.is_null() {
        return Ok(Migrated::Deleted);
    }
    if answer.has_type::<Promise>() {
        return Err("`migrate` gave a promise; it has to answer at once".to_owned());
    }
    let answer = answer
        .dyn_ref::<Uint8Array>()
        .ok_or("`migrate` gave something that is no document")?;
    Body::from_trusted(answer.to_vec().into())
        .to_map()
        .map(Migrated::Changed)
        .map_err(|error| format!("`migrate` gave something that is no document: {error}"))
}

/// What was thrown, in words.
pub(crate) fn text(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => thrown
            .as_string()
            .unwrap_or_else(|| "something that is no error".to_owned()),
    }
}
