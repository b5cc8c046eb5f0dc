#![doc = include_str!("../README.md")]

mod disk;
mod storage;

pub use disk::MemoryDisk;
pub use storage::MemoryStorage;
