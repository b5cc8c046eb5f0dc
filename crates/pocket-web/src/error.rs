//! Errors as JavaScript gets them: an `Error` with the stable code of the crate that refused.

use js_sys::Reflect;
use pocket_core::{Error, codes};
use wasm_bindgen::JsValue;

/// What is thrown, or what a promise is rejected with.
pub(crate) type Result<T, E = JsValue> = std::result::Result<T, E>;

/// The one place where an error is made.
pub(crate) fn error(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // A new object takes any property.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

/// An argument that is not what it should be.
pub(crate) fn validation(message: &str) -> JsValue {
    error(codes::VALIDATION, message)
}

/// The result of another crate, for JavaScript.
pub(crate) trait Told<T> {
    fn told(self) -> Result<T>;
}

impl<T> Told<T> for pocket_core::Result<T> {
    fn told(self) -> Result<T> {
        self.map_err(|refused| thrown(&refused))
    }
}

pub(crate) fn thrown(refused: &Error) -> JsValue {
    let error = error(refused.code(), &refused.to_string());
    if let Some(path) = refused.path() {
        let _ = Reflect::set(&error, &"path".into(), &path.into());
    }
    error
}

/// Tells what a listener threw, so that it is not lost, and nobody else is kept from hearing.
pub(crate) fn report(thrown: &JsValue) {
    let global = js_sys::global();
    let of = |owner: &JsValue, name: &str| Reflect::get(owner, &name.into());
    let function = |found: Result<JsValue>| {
        found
            .ok()
            .and_then(|found| wasm_bindgen::JsCast::dyn_into::<js_sys::Function>(found).ok())
    };
    let reporter = function(of(&global, "reportError"))
        .or_else(|| function(of(&global, "console").and_then(|console| of(&console, "error"))));
    if let Some(reporter) = reporter {
        let _ = reporter.call1(&global, thrown);
    }
}
