#![doc = include_str!("../README.md")]

mod auth;
mod backoff;
pub mod codes;
pub mod config;
pub mod conflict;
mod custom;
mod endpoint;
mod error;
mod jwt;
mod moment;
mod options;
pub mod session;
mod status;
pub mod store;

#[cfg(not(target_arch = "wasm32"))]
mod driver;
#[cfg(not(target_arch = "wasm32"))]
mod engine;
#[cfg(not(target_arch = "wasm32"))]
mod listeners;
#[cfg(not(target_arch = "wasm32"))]
mod sweeping;
#[cfg(not(target_arch = "wasm32"))]
mod transport;
#[cfg(not(target_arch = "wasm32"))]
mod watched;

pub use auth::{AuthReason, TokenSource};
pub use config::{Direction, SyncConfig};
pub use custom::{CustomRules, ResolveConflict, Resolved};
pub use endpoint::Endpoint;
#[cfg(not(target_arch = "wasm32"))]
pub use engine::SyncEngine;
pub use error::SyncError;
pub use moment::Moment;
pub use session::{
    Effect, Event, Pass, Session, SessionConfig, StoreAnswer, StoreRequest, StoreRequestKind,
};
pub use status::{Progress, Snapshot, Stats, Status};

/// The guides are compiled, so that they stay true.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../docs/guide/conflict-resolution.md")]
    mod conflict_resolution {}
    #[doc = include_str!("../../../docs/guide/getting-started.md")]
    mod getting_started {}
    #[doc = include_str!("../../../docs/guide/sync-overview.md")]
    mod sync_overview {}
}
