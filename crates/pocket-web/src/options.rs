//! Settings as JSON: what they may hold, and what they become.

use std::time::Duration;

use pocket_core::replica::Checkpoint;
use pocket_core::storage::Durability;
use pocket_core::{
    CollectionConfig, ConflictStrategy, DocumentLimits, Filter, IndexConfig, IndexInfo, IndexState,
    Limits, Order, SortField, Timestamp, Ttl,
};
use pocket_sync_client::Snapshot;
use serde::{Deserialize, Serialize};

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Durable {
    /// Loss of power.
    Strict,
    /// The end of the browser.
    Relaxed,
}

impl From<Durable> for Durability {
    fn from(durable: Durable) -> Self {
        match durable {
            Durable::Strict => Self::PowerLoss,
            Durable::Relaxed => Self::ProcessCrash,
        }
    }
}

/// Of a store in IndexedDB.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IndexedDbOptions {
    pub(crate) prefix: Option<String>,
    pub(crate) durability: Option<Durable>,
}

/// Of a database.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DatabaseOptions {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) collections: Vec<CollectionOptions>,
    pub(crate) schema_version: Option<u32>,
    pub(crate) limits: Option<LimitOptions>,
    pub(crate) accept_unknown_collections: Option<bool>,
    pub(crate) durability: Option<Durable>,
}

/// How large things may be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LimitOptions {
    document_bytes: Option<usize>,
    document_depth: Option<usize>,
    document_nodes: Option<usize>,
    message_bytes: Option<usize>,
}

impl From<LimitOptions> for Limits {
    fn from(options: LimitOptions) -> Self {
        let mut limits = Self::default();
        let mut document = DocumentLimits::default();
        if let Some(bytes) = options.document_bytes {
            document = document.with_bytes(bytes);
        }
        if let Some(depth) = options.document_depth {
            document = document.with_depth(depth);
        }
        if let Some(nodes) = options.document_nodes {
            document = document.with_nodes(nodes);
        }
        limits = limits.document(document);
        if let Some(bytes) = options.message_bytes {
            limits = limits.message_bytes(bytes);
        }
        limits
    }
}

/// Of a collection.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CollectionOptions {
    pub(crate) name: String,
    #[serde(default)]
    sync: bool,
    #[serde(default)]
    indexes: Vec<IndexOptions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    conflict_strategy: Option<ConflictStrategy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<TtlOptions>,
}

/// How long documents live: from the last write, or from the time in a field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TtlOptions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(default)]
    after_ms: u64,
}

/// Of an index.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IndexOptions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    fields: Vec<SortField>,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    sparse: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter: Option<Filter>,
    /// Said, never asked for.
    #[serde(default, skip_deserializing, skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
}

impl From<CollectionOptions> for CollectionConfig {
    fn from(options: CollectionOptions) -> Self {
        let mut config = Self::new(options.name).sync(options.sync);
        if let Some(strategy) = options.conflict_strategy {
            config = config.conflict_strategy(strategy);
        }
        if let Some(ttl) = options.ttl {
            let after = Duration::from_millis(ttl.after_ms);
            config = config.ttl(match ttl.field {
                Some(field) => Ttl::after_field(field, after),
                None => Ttl::after_update(after),
            });
        }
        for index in options.indexes {
            config = config.index(index.into());
        }
        config
    }
}

impl From<CollectionConfig> for CollectionOptions {
    fn from(config: CollectionConfig) -> Self {
        Self {
            name: config.name,
            sync: config.sync,
            conflict_strategy: config.conflict_strategy,
            ttl: config.ttl.map(|ttl| TtlOptions {
                field: ttl.field().map(str::to_owned),
                after_ms: u64::try_from(ttl.after().as_millis()).unwrap_or(u64::MAX),
            }),
            indexes: config.indexes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<IndexOptions> for IndexConfig {
    fn from(options: IndexOptions) -> Self {
        let mut fields = options.fields.into_iter();
        // One without fields is refused when it is made, with words for it.
        let mut config = Self::ordered(String::new(), Order::Ascending);
        config.fields = fields
            .by_ref()
            .map(|field| (field.field, field.order))
            .collect();
        config.unique = options.unique;
        config.sparse = options.sparse;
        config.only = options.filter;
        config.name = options.name;
        config
    }
}

impl From<IndexConfig> for IndexOptions {
    fn from(config: IndexConfig) -> Self {
        let fields = config.fields.into_iter();
        Self {
            name: config.name,
            fields: fields
                .map(|(field, order)| SortField::new(field, order))
                .collect(),
            unique: config.unique,
            sparse: config.sparse,
            filter: config.only,
            ready: None,
        }
    }
}

impl From<IndexInfo> for IndexOptions {
    fn from(info: IndexInfo) -> Self {
        Self {
            ready: Some(info.state == IndexState::Ready),
            ..info.config.into()
        }
    }
}

/// Which entries of the journal.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct JournalOptions {
    pub(crate) after: Option<u64>,
    pub(crate) limit: Option<usize>,
    pub(crate) kind: Option<pocket_core::JournalKind>,
    pub(crate) collection: Option<String>,
    pub(crate) state: Option<pocket_core::JournalState>,
}

/// Figures about a database.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stats {
    pub(crate) sequence: u64,
    pub(crate) pending_changes: u64,
    pub(crate) open_conflicts: u64,
    pub(crate) collections: usize,
    pub(crate) live_queries: usize,
}

/// How sync stands.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotText {
    status: &'static str,
    stats: StatsText,
    progress: ProgressText,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsText {
    push_count: u64,
    pull_count: u64,
    conflict_count: u64,
    rejected_count: u64,
    resent_count: u64,
    difference_count: u64,
    pending_count: u64,
    undecided_count: u64,
    open_conflicts: u64,
    journal_overfull: bool,
    left_out_count: u64,
    /// Milliseconds since 1970.
    last_sync_at: Option<i64>,
    last_error: Option<ErrorText>,
}

#[derive(Debug, Serialize)]
struct ErrorText {
    code: String,
    message: String,
    retryable: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProgressText {
    push_left: u64,
    pull_left: u64,
    first_sync_complete: bool,
    resyncing: bool,
}

impl SnapshotText {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let (stats, progress) = (&snapshot.stats, &snapshot.progress);
        Self {
            status: snapshot.status.as_str(),
            stats: StatsText {
                push_count: stats.push_count,
                pull_count: stats.pull_count,
                conflict_count: stats.conflict_count,
                rejected_count: stats.rejected_count,
                resent_count: stats.resent_count,
                difference_count: stats.difference_count,
                pending_count: stats.pending,
                undecided_count: stats.undecided,
                open_conflicts: stats.open_conflicts,
                journal_overfull: stats.journal_overfull,
                left_out_count: stats.left_out,
                last_sync_at: stats.last_sync_at.map(Timestamp::millis),
                last_error: stats.last_error.as_ref().map(|error| ErrorText {
                    code: error.code().to_owned(),
                    message: error.message().to_owned(),
                    retryable: error.is_retryable(),
                }),
            },
            progress: ProgressText {
                push_left: progress.push_left,
                pull_left: progress.pull_left,
                first_sync_complete: progress.first_sync_complete,
                resyncing: progress.resyncing,
            },
        }
    }
}

/// How far a server's feed is read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CheckpointText {
    epoch: Option<String>,
    seq: u64,
    resyncing: bool,
}

impl CheckpointText {
    pub(crate) fn of(checkpoint: &Checkpoint) -> Self {
        Self {
            epoch: checkpoint.epoch.map(|epoch| epoch.to_string()),
            seq: checkpoint.seq.get(),
            resyncing: checkpoint.resyncing,
        }
    }
}

/// What a wipe removed.
#[derive(Debug, Serialize)]
pub(crate) struct WipedText {
    pub(crate) documents: u64,
    pub(crate) pending: u64,
    pub(crate) journaled: u64,
}
