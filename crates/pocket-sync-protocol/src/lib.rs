#![doc = include_str!("../README.md")]

pub mod codec;
pub mod codes;
mod error;
pub mod http;
pub mod limits;
pub mod message;
mod page;
mod push;
pub mod version;

pub use codec::{decode_client, decode_server, encode_client, encode_server};
pub use error::ProtocolError;
pub use limits::{ServerLimits, WireLimits};
pub use message::{
    ClientMessage, Direction, EpochStart, ErrorMessage, Fetch, Hello, HelloCheckpoint, More,
    Outcomes, Page, Ping, Pong, Pull, Push, PushChange, PushChangeKind, PushContent, RecordSet,
    Records, Removal, ServerMessage, TableBase, Welcome,
};
pub use page::{EncodedRecord, PageBuilder};
pub use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, Digest, DocumentId, DocumentLimits, Epoch,
    Hlc, Lineage, Mutation, MutationContent, MutationNumber, Outcome, Record, RecordState,
    Revision, Seq, SessionToken, Timestamp,
};
pub use push::{BadMutation, PushedMutation};
pub use version::{PROTOCOL_VERSION, SUBPROTOCOL, VersionRange};
