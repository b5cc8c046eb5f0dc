#![doc = include_str!("../README.md")]

mod builder;
mod engine;
mod error;
mod layout;
mod opener;
mod storage;
mod witness;

pub use builder::SledBuilder;
pub use storage::SledStorage;
