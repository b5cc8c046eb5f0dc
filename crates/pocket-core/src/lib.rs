#![doc = include_str!("../README.md")]
// One code path: what is shared there by `Arc` among threads is shared here within one.
#![cfg_attr(target_arch = "wasm32", allow(clippy::arc_with_non_send_sync))]

// So that a test inside of the crate may share its values with those outside.
#[cfg(test)]
extern crate self as pocket_core;

mod ahead;
mod backlog;
mod bodies;
mod change;
mod clear;
pub mod codes;
mod collection;
mod commit;
mod config;
mod configure;
mod damage;
mod database;
mod digest;
mod document;
pub mod dump;
mod elsewhere;
mod env;
pub mod envelope;
mod erase;
mod error;
mod events;
mod expire;
mod ids;
mod index;
mod journal;
mod keys;
mod later;
mod live;
mod lock;
pub mod merge;
mod migrate;
pub mod mutants;
mod numbering;
mod outbox;
mod parting;
mod populate;
mod query;
mod registry;
pub mod replica;
mod revision;
mod schema;
mod scratch;
mod shown;
mod stored;
mod subscribers;
mod subscription;
mod sums;
mod transaction;
mod turn;
mod tx;
mod value;
mod write;
mod written;

pub use bodies::Unstored;
pub use change::{
    Change, ChangeKind, Mutation, MutationContent, Outcome, Position, Record, RecordState,
};
pub use collection::Collection;
pub use config::{
    CollectionConfig, ConflictStrategy, ENDED_ALONE, ENDED_WITHDRAWN, Limits, MAX_CLOCK_AHEAD_MS,
    MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_NODES, MAX_LISTED_VALUES, MAX_PATH_BYTES,
    MAX_PATH_SEGMENTS, MAX_PATTERN_BYTES, MAX_PROJECTED_FIELDS, MAX_SORT_FIELDS,
    MAX_TRANSACTION_CHANGES, SUBSCRIBER_BYTES, SUBSCRIBER_COMMITS,
};
pub use database::{Database, DatabaseBuilder, DatabaseStats};
pub use digest::Digest;
pub use document::Document;
#[cfg(feature = "system-env")]
pub use env::SystemEnv;
pub use env::{Env, random_bytes};
pub use error::{Error, Result};
pub use events::{ChangeEvent, ChangeItem, Operation};
pub use expire::Ttl;
pub use ids::{
    ClientId, CollectionName, CommitSequence, DocumentId, Epoch, Lineage, MAX_COLLECTION_BYTES,
    MAX_ID_BYTES, MutationNumber, Place, Seq, SessionToken,
};
pub use index::{IndexConfig, IndexInfo, IndexProgress, IndexState, MAX_INDEX_FIELDS, MAX_INDEXES};
pub use journal::{
    DecidedBy, Explanation, Journal, JournalDocument, JournalEntry, JournalFilter, JournalKind,
    JournalState, JournalVersion, Winner,
};
pub use keys::Target;
pub use live::{Count, LiveChange, LiveCount, LiveDocuments, LiveQuery, LiveResult, LiveStep};
pub use migrate::{
    Migrated, Migration, MigrationPhase, MigrationProgress, ReshapeFailure, ReshapeReport,
};
pub use numbering::{Pinned, PushLimit};
pub use pocket_storage as storage;
pub use populate::Populated;
pub use query::{
    Cursor, Element, ElementFilter, Field, Filter, Order, Page, PlanAccess, PlanOrder, Query,
    QueryFigures, QueryPlan, QuerySpec, SortField, Where, element, field,
};
pub use revision::{Hlc, Revision};
pub use schema::{InvalidArrival, InvalidDocument, Schema, Validate, Violation};
pub use shown::Shown;
pub use stored::Binding;
pub use subscription::Subscription;
pub use sums::Sums;
pub use transaction::Transaction;
pub use value::{Body, DocumentLimits, Integer, Map, Timestamp, Value, check_body, check_frame};

/// The guides are compiled, so that they stay true.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../docs/guide/documents-and-collections.md")]
    mod documents_and_collections {}
    #[doc = include_str!("../../../docs/guide/schemas-and-migrations.md")]
    mod schemas_and_migrations {}
}
