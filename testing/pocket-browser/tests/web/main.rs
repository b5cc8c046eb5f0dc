//! What is for browsers in a real one: `pocket-storage-indexeddb`, `pocket-sync-client`, the module of `pocket-web`, and the
//! npm packages.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
mod crashes;
mod face;
mod histories;
mod packages;
mod server;
mod site;
mod sync;
mod tabs;
mod trouble;
