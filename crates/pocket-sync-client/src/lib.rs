#![doc = include_str!("../README.md")]
// One code path: what is shared there by `Arc` among threads is shared here within one.
#![cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]

mod auth;
mod backoff;
pub mod codes;
pub mod config;
pub mod conflict;
mod custom;
mod driver;
mod endpoint;
mod engine;
mod error;
mod jwt;
mod listeners;
mod moment;
mod options;
mod platform;
pub mod session;
mod status;
pub mod store;
mod sweeping;
mod transport;
mod watched;

pub use auth::{AuthReason, TokenSource};
pub use config::{Direction, SyncConfig};
pub use custom::{CustomRules, ResolveConflict, Resolved};
pub use endpoint::Endpoint;
pub use engine::SyncEngine;
pub use error::SyncError;
pub use moment::Moment;
#[cfg(target_arch = "wasm32")]
pub use platform::{Sleep, sleep};
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
