#![doc = include_str!("../README.md")]

mod apply;
mod builder;
mod disk;
mod engine;
mod error;
mod lookup;
mod opener;
mod storage;

pub use builder::RedbBuilder;
pub use storage::RedbStorage;
