//! What the tests run inside a browser: cases by name, and a store for the scripts of a page.

#[cfg(target_arch = "wasm32")]
pub mod cases;
#[cfg(target_arch = "wasm32")]
pub mod measures;
#[cfg(target_arch = "wasm32")]
mod raw;
#[cfg(target_arch = "wasm32")]
pub mod store;
