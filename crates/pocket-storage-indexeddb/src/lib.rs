#![doc = include_str!("../README.md")]

// What needs no browser is tested without one.
#[cfg(any(test, target_arch = "wasm32"))]
mod classify;
#[cfg(any(test, target_arch = "wasm32"))]
mod directory;
#[cfg(any(test, target_arch = "wasm32"))]
mod edit;
#[cfg(any(test, target_arch = "wasm32"))]
mod guess;
#[cfg(any(test, target_arch = "wasm32"))]
mod page;

#[cfg(target_arch = "wasm32")]
mod closed;
#[cfg(target_arch = "wasm32")]
mod idb;
#[cfg(target_arch = "wasm32")]
mod persistence;
#[cfg(target_arch = "wasm32")]
mod reader;
#[cfg(target_arch = "wasm32")]
mod reading;
#[cfg(target_arch = "wasm32")]
mod shared;
#[cfg(target_arch = "wasm32")]
mod storage;
#[cfg(target_arch = "wasm32")]
mod turn;
#[cfg(target_arch = "wasm32")]
mod writer;

#[cfg(target_arch = "wasm32")]
pub use closed::ClosedBy;
#[cfg(target_arch = "wasm32")]
pub use persistence::Persistence;
#[cfg(target_arch = "wasm32")]
pub use storage::IndexedDbStorage;
