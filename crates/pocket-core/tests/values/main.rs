//! Values, bodies and the check of foreign bytes.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod body;
mod check;
mod fixtures;
mod json;
mod order;
mod serde_types;
mod strategy;
