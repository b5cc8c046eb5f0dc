#![doc = include_str!("../README.md")]

mod admin;
pub mod auth;
mod combiner;
mod config;
mod connected;
pub mod decide;
mod digests;
pub mod direct;
mod doorbell;
mod driver;
pub mod engine;
mod event;
mod feed;
mod files;
mod forgetting;
mod http;
mod keys;
mod limits;
mod metrics;
mod namespace;
mod perform;
mod polled;
pub mod rules;
mod server;
pub mod session;
mod store_state;
mod stored;
#[cfg(feature = "tls")]
mod tls;
mod websocket;

pub use admin::{Admin, Peer};
pub use auth::TokenTable;
pub use combiner::Joiner;
pub use config::Config;
pub use direct::NamespaceHandle;
pub use engine::{EmbeddedEngine, Engine};
pub use event::{EventHook, ServerEvent};
pub use files::WatchedFiles;
pub use limits::{Limits, RateLimits};
pub use namespace::{MAX_NAMESPACE_BYTES, Namespace};
pub use perform::perform;
pub use rules::{Authorizer, Rules, RulesFile, Validator};
pub use server::{ClientInfo, Health, SyncServer, SyncServerBuilder};
pub use store_state::StoreTrouble;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};

/// The guides are compiled, so that they stay true.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../docs/guide/sync-server-rights.md")]
    mod sync_server_rights {}
}
