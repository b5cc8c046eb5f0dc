//! pocket-e2e
