//! pocket-bench
