//! Live queries: nothing missed, nothing twice, whatever happens around them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "live/behaviour.rs"]
mod behaviour;
#[path = "live/closing.rs"]
mod closing;
#[path = "live/left.rs"]
mod left;
#[path = "live/property.rs"]
mod property;
#[path = "live/reading.rs"]
mod reading;
#[path = "live/routing.rs"]
mod routing;
#[path = "live/storage.rs"]
mod storage;
#[path = "live/support.rs"]
mod support;
