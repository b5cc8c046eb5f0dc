#![doc = include_str!("../README.md")]

mod batch;
#[cfg(all(feature = "blocking", not(target_arch = "wasm32")))]
pub mod blocking;
mod checksum;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(feature = "faulty")]
pub mod faulty;
mod maybe_send;
pub mod ordered;
mod sift;
pub mod sorting;
mod storage;
mod visit;

pub use batch::{Batch, Check, Write};
pub use checksum::{Crc32, crc32};
pub use error::{Result, StorageError};
pub use maybe_send::{BoxFuture, MaybeSend, MaybeSync};
pub use sift::{Sieve, Sifted};
pub use storage::{
    Capabilities, Direction, Durability, Entry, KeyRange, MAX_KEY_BYTES, MAX_VALUE_BYTES,
    ScanLimit, Snapshot, Storage,
};
pub use visit::{View, Visitor};
