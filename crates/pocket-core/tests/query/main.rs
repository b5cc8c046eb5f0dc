//! The query language against a reference that knows nothing of bytes.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod errors;
mod guide;
mod matching;
mod ordering;
mod projecting;
mod reference;
mod strategy;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../values/strategy.rs"]
mod values;
