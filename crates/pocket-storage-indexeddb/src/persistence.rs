//! Whether the browser may evict the data of this site.

use js_sys::futures::JsFuture;
use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// What the browser answered when it was asked to keep the data of this site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Persistence {
    /// Nobody has asked.
    NotAsked,
    /// Asked, and not answered yet; some browsers ask the user.
    Waiting,
    /// The data stays until the user deletes it.
    Granted,
    /// The browser may evict the data of all sites that are not used, when the disk is nearly full.
    Refused,
    /// This browser, or this context, has no such question.
    Unavailable,
}

/// Asks. A worker may not ask for more than what a window was granted, so it only looks.
pub(crate) async fn request() -> Persistence {
    match ask().await {
        Ok(Some(true)) => Persistence::Granted,
        Ok(Some(false)) => Persistence::Refused,
        Ok(None) | Err(_) => Persistence::Unavailable,
    }
}

async fn ask() -> Result<Option<bool>, JsValue> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
    let storage = Reflect::get(&navigator, &"storage".into())?;
    if storage.is_undefined() {
        return Ok(None);
    }
    for name in ["persist", "persisted"] {
        let function = Reflect::get(&storage, &name.into())?;
        if let Some(function) = function.dyn_ref::<Function>() {
            let promise = function.call0(&storage)?.dyn_into::<Promise>()?;
            return Ok(JsFuture::from(promise).await?.as_bool());
        }
    }
    Ok(None)
}
