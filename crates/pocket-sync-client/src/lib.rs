#![doc = include_str!("../README.md")]

mod backoff;
pub mod config;
pub mod conflict;
mod endpoint;
mod error;
mod moment;
pub mod session;
mod status;
pub mod store;

/*NATIVE*/

pub use config::{Direction, SyncConfig};
pub use endpoint::Endpoint;
pub use error::{SyncError, codes};
pub use moment::Moment;
pub use session::{
    Effect, Event, Pass, Session, SessionConfig, StoreAnswer, StoreRequest, StoreRequestKind,
};
pub use status::{Progress, Snapshot, Stats, Status};
