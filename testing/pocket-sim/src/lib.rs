//! pocket-sim
