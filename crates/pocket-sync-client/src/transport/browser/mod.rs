//! Connections of a page, a worker or Node: the platform's `WebSocket` and `fetch`.

pub(super) mod pool;
pub(super) mod websocket;

use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// What to look at where nothing answers: the platform says little about it.
const TODO: &str = "check the URL, whether the server lets pages of this origin connect, and whether a \
                    Content-Security-Policy of the page forbids it (`connect-src`)";

/// What a thrown value says.
fn told(thrown: &JsValue) -> String {
    Reflect::get(thrown, &JsValue::from("message"))
        .ok()
        .and_then(|message| message.as_string())
        .or_else(|| thrown.as_string())
        .unwrap_or_else(|| "it does not say why".to_owned())
}
