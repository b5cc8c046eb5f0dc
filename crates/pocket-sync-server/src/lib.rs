#![doc = include_str!("../README.md")]

pub mod auth;
mod combiner;
mod config;
pub mod decide;
mod doorbell;
mod driver;
pub mod engine;
mod feed;
mod http;
mod keys;
mod limits;
mod namespace;
mod perform;
mod server;
pub mod session;
mod stored;
mod websocket;

pub use auth::TokenTable;
pub use combiner::Joiner;
pub use config::Config;
pub use engine::{EmbeddedEngine, Engine};
pub use limits::Limits;
pub use namespace::{MAX_NAMESPACE_BYTES, Namespace};
pub use perform::perform;
pub use server::{SyncServer, SyncServerBuilder};
