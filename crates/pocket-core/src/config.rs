//! Settings of databases and collections, and every bound of the core.

use serde::{Deserialize, Serialize};

use crate::{CollectionName, DocumentLimits, Error, IndexConfig, Result, Schema, Ttl, codes};

/// Changes that one transaction may make when it touches synced collections.
pub const MAX_TRANSACTION_CHANGES: usize = 1_000;

/// Commits that a subscriber may fall behind before it is told [`Lagged`](crate::ChangeItem::Lagged).
pub const SUBSCRIBER_COMMITS: usize = 256;

/// Bytes of documents, as they are and as they were, that the commits may have which a subscriber falls behind; a single
/// commit may have more.
pub const SUBSCRIBER_BYTES: usize = 16 * 1024 * 1024;

/// Rows that a live query with a limit holds behind those it shows, to fill up from: as many as it shows, but at least the
/// first number and at most the second.
pub(crate) const LIVE_RESERVE: (usize, usize) = (16, 1_024);

/// Bytes of documents and settings that a message to other handles of a store holds at the most. Behind a larger commit
/// they read again.
pub(crate) const MAX_COMMITTED_BYTES: usize = 256 * 1024;

/// Messages to other handles that may wait for whoever carries them.
pub(crate) const COMMITTED_MESSAGES: usize = 64;

/// How often a live query reads anew when another handle on the store writes while it reads.
pub(crate) const MAX_LIVE_READS: usize = 16;

/// How far a revision may be ahead of a server's clock, in milliseconds.
pub const MAX_CLOCK_AHEAD_MS: i64 = 60_000;

/// Connections that ended while a mutation was on its way, from which on it is sent alone.
pub const ENDED_ALONE: u32 = 3;

/// Connections that ended while a mutation was on its way, from which on only its number travels. The last two of them
/// had nothing else on their way: one may be chance, and a mutation that is withdrawn is a change that is refused.
pub const ENDED_WITHDRAWN: u32 = 5;

/// Segments of a dotted path at the most: as many as the deepest document has levels.
pub const MAX_PATH_SEGMENTS: usize = DocumentLimits::MAX_DEPTH;

/// Bytes of a dotted path at the most.
pub const MAX_PATH_BYTES: usize = 1_024;

/// Levels of operators inside one another in a filter at the most.
pub const MAX_FILTER_DEPTH: usize = 32;

/// Operators and fields in a filter at the most.
pub const MAX_FILTER_NODES: usize = 1_024;

/// Values in one `$in`, `$nin` or `$all` at the most.
pub const MAX_LISTED_VALUES: usize = 10_000;

/// Bytes of all the values of a filter at the most, encoded.
pub const MAX_FILTER_BYTES: usize = 1024 * 1024;

/// Bytes of a regular expression at the most.
pub const MAX_PATTERN_BYTES: usize = 1_024;

/// Bytes of a compiled regular expression at the most. A search takes time in proportion to this times the text.
pub(crate) const MAX_PROGRAM_BYTES: usize = 64 * 1024;

/// Fields that a query sorts by at the most.
pub const MAX_SORT_FIELDS: usize = 32;

/// Fields that a query includes or excludes at the most.
pub const MAX_PROJECTED_FIELDS: usize = 1_024;

/// Ranges of one index that a query reads at the most, unless they are the values that are listed for its first field;
/// with more, a condition does not bound the index.
pub(crate) const MAX_INDEX_RANGES: usize = 1_024;

/// Indexes that a query looks at for one set of conditions at the most.
pub(crate) const MAX_INDEX_CANDIDATES: usize = 4;

/// How much a query reads to make its plan, holds, and reads at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryTuning {
    /// Entries that planning reads of every index it considers.
    pub(crate) narrow_entries: usize,
    /// So few documents are looked up at once, without asking whether another index knows of fewer.
    pub(crate) few_ids: usize,
    /// Ids that a query finds in an index, and holds in memory, at the most; where there are more, it scans. An id has at
    /// most 256 bytes; while an index is read, its keys of at most 1 KiB are held, too.
    pub(crate) found_ids: usize,
    /// Documents read in the order of an index without asking whether another index knows of fewer, when the index
    /// covers the filter.
    pub(crate) sure_reads: usize,
    /// Entries of an index read at once.
    pub(crate) index_page: usize,
    /// Documents read at once.
    pub(crate) document_page: usize,
    /// Documents looked at at once where those that are not wanted stay in the store.
    pub(crate) sifted_page: usize,
    /// Documents read at once at first, where few may be enough.
    pub(crate) first_page: usize,
    /// Documents, and as many entries of indexes, that a query reads on a thread of the store on which others wait; one that
    /// reads more takes turns with them.
    pub(crate) visited_entries: usize,
}

impl QueryTuning {
    pub(crate) const DEFAULT: Self = Self {
        narrow_entries: 1_000,
        few_ids: 32,
        found_ids: 65_536,
        sure_reads: 1_000,
        index_page: 1_024,
        document_page: 512,
        sifted_page: 4_096,
        first_page: 32,
        visited_entries: 1_024,
    };
}

/// Bytes that a query reads on a thread of the store before it takes turns with others.
pub(crate) const MAX_VISITED_BYTES: u64 = 4 * 1024 * 1024;

/// How many documents are reckoned to be read in the order of an index for one that passes, where the index does not
/// cover the filter.
pub(crate) const RESIDUAL_FACTOR: usize = 4;

/// Time after a resync for a difference of digests in which another difference is told, and not repaired: what a resync
/// did not mend it will not mend at once.
pub(crate) const REPAIR_PAUSE_MS: i64 = 60 * 60 * 1_000;

/// How often a commit of several writers lets others run first, so that those who were just answered can join it.
pub(crate) const GATHERING_TURNS: usize = 3;

/// Local writes that are joined into one commit at the most.
pub(crate) const MAX_JOINED_WRITES: usize = 512;

/// Of writes that are joined, so many have the documents that they begin with read in one call, at first.
pub(crate) const FIRST_READ_AHEAD: usize = 16;

/// The same, later and at the most.
pub(crate) const JOBS_READ_AHEAD: usize = 128;

/// Where these documents were larger together, the next call reads half as many.
pub(crate) const MAX_READ_AHEAD_BYTES: usize = 1024 * 1024;

/// Bytes behind which no further write is joined into a commit, of what the writes bring and of the rows they store.
pub(crate) const MAX_JOINED_BYTES: usize = 8 * 1024 * 1024;

/// Times a commit, or a query that has no snapshot, is tried again when another handle on the same store was faster. One that
/// writes without a pause is faster often, which is no reason to fail; so the bound is only there to end.
pub(crate) const MAX_COMMIT_ATTEMPTS: usize = 10_000;

/// Who wins when a local change and the server's version of a document disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConflictStrategy {
    /// The greater revision, which is the later write by the hybrid clocks.
    #[default]
    LastWriteWins,
    /// The server's version.
    ServerWins,
    /// The local version.
    ClientWins,
    /// Both: a three-way merge field by field, nested objects too. Where both changed the same field, or one deleted
    /// the document, the later write wins.
    Merge,
    /// What a function of the application says. Without one, the later write wins.
    Custom,
}

impl ConflictStrategy {
    /// Its name: `last-write-wins`, `server-wins`, `client-wins`, `merge` or `custom`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LastWriteWins => "last-write-wins",
            Self::ServerWins => "server-wins",
            Self::ClientWins => "client-wins",
            Self::Merge => "merge",
            Self::Custom => "custom",
        }
    }
}

/// The settings of one collection, recorded in the database.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CollectionConfig {
    /// Its name.
    pub name: String,
    /// Whether it syncs; otherwise it never leaves the device.
    pub sync: bool,
    /// Its strategy, when it is not the sync engine's.
    pub conflict_strategy: Option<ConflictStrategy>,
    /// What it asks of its documents. It belongs to the program and is not stored.
    pub schema: Option<Schema>,
    /// Its indexes. Others that were made before stay.
    pub indexes: Vec<IndexConfig>,
    /// How long its documents live, when that is not for ever.
    pub ttl: Option<Ttl>,
}

impl CollectionConfig {
    /// A local-only collection of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sync: false,
            conflict_strategy: None,
            schema: None,
            indexes: Vec::new(),
            ttl: None,
        }
    }

    /// Whether it syncs.
    #[must_use]
    pub fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Its strategy.
    #[must_use]
    pub fn conflict_strategy(mut self, strategy: ConflictStrategy) -> Self {
        self.conflict_strategy = Some(strategy);
        self
    }

    /// What it asks of its documents.
    #[must_use]
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// An index it has; see [`Collection::create_index`](crate::Collection::create_index). Another one that is recorded under
    /// its name gives way to it.
    #[must_use]
    pub fn index(mut self, index: IndexConfig) -> Self {
        self.indexes.push(index);
        self
    }

    /// How long its documents live. From the moment at which the time of one is over, nobody reads it here any more; it
    /// is deleted for good the next time somebody drives [`Database::expire`](crate::Database::expire); what others have,
    /// on all devices, when a sync client does that by the server's clock. It holds for documents that are there already, too.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = Some(ttl);
        self
    }

    pub(crate) fn checked_name(&self) -> Result<CollectionName> {
        CollectionName::new(&self.name)
    }
}

/// How large documents and messages may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Of one document.
    pub document: DocumentLimits,
    /// Bytes of one message. A transaction on synced collections fits into half of one.
    pub message_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: DocumentLimits::default(),
            message_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// The largest message that can be configured, in bytes.
    pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

    /// Other limits for documents.
    #[must_use]
    pub fn document(mut self, document: DocumentLimits) -> Self {
        self.document = document;
        self
    }

    /// Another size of messages.
    #[must_use]
    pub fn message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes = bytes;
        self
    }

    /// Bytes of the changes of one mutation, when it has several: half a message.
    pub(crate) fn transaction_bytes(&self) -> usize {
        self.message_bytes / 2
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.message_bytes > Self::MAX_MESSAGE_BYTES
            || self.message_bytes < 2 * self.document.bytes
        {
            return Err(Error::new(
                codes::CONFIG,
                format!(
                    "a message of {} bytes must hold two documents of {} and be at most {}",
                    self.message_bytes,
                    self.document.bytes,
                    Self::MAX_MESSAGE_BYTES
                ),
            ));
        }
        Ok(())
    }
}
