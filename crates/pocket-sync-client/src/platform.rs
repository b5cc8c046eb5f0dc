//! Tasks and timers: tokio's on native targets, the event loop's in a browser, a worker or Node.
//!
//! All else in this crate is written once. Futures and listeners are `Send` where the platform has threads.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::{Instant, Task, seed, sleep_until, spawn, timeout};
#[cfg(target_arch = "wasm32")]
pub use browser::{Sleep, sleep};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{Instant, Sleep, Task, seed, sleep, sleep_until, spawn, timeout};
