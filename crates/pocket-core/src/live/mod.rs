//! Live queries.
#![allow(dead_code)]
mod rows;
mod window;
