//! What the tests run inside a browser: cases by name, and a store for the scripts of a page.
#![allow(
    clippy::missing_errors_doc,
    reason = "an error here is what the store answered, for a script to look at"
)]

#[cfg(target_arch = "wasm32")]
pub mod cases;
#[cfg(target_arch = "wasm32")]
pub mod device;
#[cfg(target_arch = "wasm32")]
pub mod histories;
#[cfg(target_arch = "wasm32")]
pub mod measures;
#[cfg(target_arch = "wasm32")]
mod raw;
#[cfg(target_arch = "wasm32")]
pub mod store;
