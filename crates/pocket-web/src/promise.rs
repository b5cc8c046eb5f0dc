//! Promises, and what crosses with them.
//!
//! Methods are plain functions that give a promise, not `async` ones: those borrow their object until the promise is
//! settled, and `free()` would throw meanwhile.

use std::pin::Pin;

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::JsValue;

use crate::error::{Result, Told, validation};

/// Runs work that JavaScript waits for.
pub(crate) fn promise(work: impl Future<Output = Result<JsValue>> + 'static) -> Promise {
    // Boxed, so that what drives it exists once.
    let work: Pin<Box<dyn Future<Output = Result<JsValue>>>> = Box::pin(work);
    wasm_bindgen_futures::future_to_promise(work)
}

/// As [`promise`], for what comes from the core.
pub(crate) fn answer<T: Into<JsValue>>(
    work: impl Future<Output = pocket_core::Result<T>> + 'static,
) -> Promise {
    promise(async move { work.await.told().map(Into::into) })
}

/// As [`answer`], for what gives nothing.
pub(crate) fn done(work: impl Future<Output = pocket_core::Result<()>> + 'static) -> Promise {
    promise(async move { work.await.told().map(|()| JsValue::UNDEFINED) })
}

/// Bytes for JavaScript, in memory of its own.
pub(crate) fn bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

/// A whole number that JavaScript gave.
pub(crate) fn whole(number: f64, what: &str) -> Result<u64> {
    whole_number(number)
        .ok_or_else(|| validation(&format!("{what} is a whole number from 0 on, not {number}")))
}

/// A number that is whole, and not so large that others would be the same.
pub(crate) fn whole_number(number: f64) -> Option<u64> {
    // The greatest number up to which each whole number is another one.
    const MAX: f64 = 9_007_199_254_740_991.0;
    let is_whole = (0.0..=MAX).contains(&number) && number.fract() == 0.0;
    #[expect(clippy::cast_sign_loss, reason = "it was looked at")]
    is_whole.then_some(number as u64)
}

/// A number for JavaScript: numbers of documents and commits stay far below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn number(number: u64) -> f64 {
    number as f64
}
