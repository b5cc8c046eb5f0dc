#![doc = include_str!("../README.md")]

#[cfg(target_arch = "wasm32")]
mod answers;
#[cfg(target_arch = "wasm32")]
mod collection;
#[cfg(target_arch = "wasm32")]
mod database;
#[cfg(target_arch = "wasm32")]
mod encode;
#[cfg(target_arch = "wasm32")]
mod error;
#[cfg(target_arch = "wasm32")]
mod handle;
#[cfg(target_arch = "wasm32")]
mod journal;
#[cfg(target_arch = "wasm32")]
mod json;
#[cfg(target_arch = "wasm32")]
mod migrations;
#[cfg(target_arch = "wasm32")]
mod options;
#[cfg(target_arch = "wasm32")]
mod promise;
#[cfg(target_arch = "wasm32")]
mod schema;
#[cfg(target_arch = "wasm32")]
mod storage;
#[cfg(target_arch = "wasm32")]
mod sync;
#[cfg(target_arch = "wasm32")]
mod transaction;

#[cfg(target_arch = "wasm32")]
pub use collection::RawCollection;
#[cfg(target_arch = "wasm32")]
pub use database::{RawDatabase, version};
#[cfg(target_arch = "wasm32")]
pub use handle::{RawHandle, RawLive};
#[cfg(target_arch = "wasm32")]
pub use storage::RawStorage;
#[cfg(target_arch = "wasm32")]
pub use sync::RawSync;
#[cfg(target_arch = "wasm32")]
pub use transaction::RawTransaction;
