//! What is for browsers in a real one: `pocket-storage-indexeddb`, `pocket-sync-client` and the module of `pocket-web`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
mod crashes;
mod face;
mod histories;
mod site;
mod sync;
mod tabs;
mod trouble;
