//! Ordered maps and sets: those of the standard library, and in WebAssembly smaller ones with the same methods.
//!
//! Each kind of keys and values makes an instance of its map. One of the standard library takes four to ten thousand
//! bytes, which a page has to download; one of those here takes a tenth of that.

#[cfg(any(test, target_arch = "wasm32"))]
#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(unreachable_pub, dead_code, reason = "native code tests it only")
)]
mod map;
#[cfg(any(test, target_arch = "wasm32"))]
#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(unreachable_pub, dead_code, reason = "native code tests it only")
)]
mod set;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "wasm32")]
pub use map::{BTreeMap, Entry, IntoIter, Iter, Position};
#[cfg(target_arch = "wasm32")]
pub use set::BTreeSet;
#[cfg(not(target_arch = "wasm32"))]
pub use std::collections::{BTreeMap, BTreeSet};
