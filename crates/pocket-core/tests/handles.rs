//! Several handles of one store, which tell each other what they commit.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "handles/back.rs"]
mod back;
#[path = "handles/behind.rs"]
mod behind;
#[path = "handles/joined.rs"]
mod joined;
#[path = "handles/late.rs"]
mod late;
#[path = "handles/messages.rs"]
mod messages;
#[path = "handles/property.rs"]
mod property;
#[path = "handles/raced.rs"]
mod raced;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "live/storage.rs"]
mod storage;
#[path = "handles/support.rs"]
mod support;
#[path = "handles/told.rs"]
mod told;
