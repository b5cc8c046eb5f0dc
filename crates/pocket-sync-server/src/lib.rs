#![doc = include_str!("../README.md")]

pub mod auth;
mod bucket;
mod config;
pub mod decide;
mod digests;
pub mod engine;
mod feed;
mod joiner;
mod keys;
mod limits;
mod locks;
mod namespace;
mod perform;
pub mod rules;
pub mod session;
mod stored;

#[cfg(not(target_arch = "wasm32"))]
mod admin;
#[cfg(not(target_arch = "wasm32"))]
mod combiner;
#[cfg(not(target_arch = "wasm32"))]
mod connected;
#[cfg(not(target_arch = "wasm32"))]
pub mod direct;
#[cfg(not(target_arch = "wasm32"))]
mod doorbell;
#[cfg(not(target_arch = "wasm32"))]
mod driver;
#[cfg(not(target_arch = "wasm32"))]
mod event;
#[cfg(not(target_arch = "wasm32"))]
mod files;
#[cfg(not(target_arch = "wasm32"))]
mod forgetting;
#[cfg(not(target_arch = "wasm32"))]
mod http;
#[cfg(not(target_arch = "wasm32"))]
mod metrics;
#[cfg(not(target_arch = "wasm32"))]
mod newcomers;
#[cfg(not(target_arch = "wasm32"))]
mod patient;
#[cfg(not(target_arch = "wasm32"))]
mod polled;
#[cfg(not(target_arch = "wasm32"))]
mod server;
#[cfg(not(target_arch = "wasm32"))]
mod store_state;
#[cfg(all(feature = "tls", not(target_arch = "wasm32")))]
mod tls;
#[cfg(not(target_arch = "wasm32"))]
mod websocket;

#[cfg(not(target_arch = "wasm32"))]
pub use admin::Peer;
pub use auth::TokenTable;
pub use config::{Admin, Config, ConfigError};
#[cfg(not(target_arch = "wasm32"))]
pub use direct::NamespaceHandle;
pub use engine::{EmbeddedEngine, Engine};
#[cfg(not(target_arch = "wasm32"))]
pub use event::{EventHook, ServerEvent};
#[cfg(not(target_arch = "wasm32"))]
pub use files::WatchedFiles;
pub use joiner::Joiner;
pub use limits::{Limits, RateLimits};
pub use namespace::{MAX_NAMESPACE_BYTES, Namespace};
pub use perform::perform;
#[cfg(not(target_arch = "wasm32"))]
pub use rules::RulesFile;
pub use rules::{Authorizer, Rules, Validator};
#[cfg(not(target_arch = "wasm32"))]
pub use server::{ClientInfo, Health, SyncServer, SyncServerBuilder};
#[cfg(not(target_arch = "wasm32"))]
pub use store_state::StoreTrouble;
#[cfg(all(feature = "tls", not(target_arch = "wasm32")))]
pub use tls::{Tls, TlsError};

/// The guides are compiled, so that they stay true.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../docs/guide/sync-server-rights.md")]
    mod sync_server_rights {}
}
