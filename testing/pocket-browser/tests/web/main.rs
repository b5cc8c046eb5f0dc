//! `pocket-storage-indexeddb` and `pocket-sync-client` in a real browser.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cases;
mod crashes;
mod histories;
mod site;
mod sync;
mod tabs;
mod trouble;
