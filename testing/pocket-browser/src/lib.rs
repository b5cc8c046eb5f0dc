#![doc = include_str!("../README.md")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod browser;
mod page;

pub use browser::{Browser, installed, required};
pub use page::Page;
