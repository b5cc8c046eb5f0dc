//! From JavaScript's errors to ours.

use js_sys::{Error, Reflect};
use pocket_storage::StorageError;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::DomException;

use crate::classify::classify;

/// The error for something that was thrown.
pub(crate) fn thrown(value: &JsValue) -> StorageError {
    if let Some(exception) = value.dyn_ref::<DomException>() {
        return of_exception(exception);
    }
    // Not every realm's DOMException is this one's class.
    let text = |name: &str| {
        let found = Reflect::get(value, &name.into()).ok()?;
        found.as_string()
    };
    match (text("name"), text("message")) {
        (Some(name), Some(message)) => classify(&name, &message),
        _ => StorageError::Backend(String::from(Error::from(value.clone()).to_string())),
    }
}

/// The error for what IndexedDB gives as the reason of a failure.
pub(crate) fn of_exception(exception: &DomException) -> StorageError {
    classify(&exception.name(), &exception.message())
}

/// What the store finds in its own records.
pub(crate) fn corrupt(name: &str, what: &str) -> StorageError {
    StorageError::Corrupt(format!("{name}: {what}"))
}
