//! Bounds of sessions, commits and reads. Every queue of the server has one, and it stands here.

use pocket_sync_protocol::{ServerLimits, WireLimits};

use crate::decide::DecideLimits;

/// The bounds of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// What the welcome tells clients: document, message and mutation sizes, pushes in flight.
    pub wire: ServerLimits,
    /// What decisions are bounded by.
    pub decide: DecideLimits,
    /// The bytes of pushes in flight on one connection; one push is always taken.
    pub push_bytes: usize,
    /// The records of a page that reaches the head; what is missing up to this many travels as one page.
    pub page_records: usize,
    /// The most pages a client may let the server send ahead.
    pub window: u32,
    /// The most documents of one fetch.
    pub fetch_documents: usize,
    /// The changes that one commit joins; one push is always taken.
    pub commit_changes: usize,
    /// The bytes of pushes that one commit joins; one push is always taken.
    pub commit_bytes: usize,
    /// The pushes that wait for a namespace's next commit.
    pub commit_queue: usize,
    /// The bytes of the newest records kept in memory for each namespace.
    pub tail_bytes: usize,
    /// The clients kept in memory for each namespace.
    pub cached_clients: usize,
    /// The namespaces that may be open at once.
    pub namespaces: usize,
}

impl Limits {
    /// The limits for frames.
    pub fn frames(&self) -> WireLimits {
        self.wire.wire_limits()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wire: ServerLimits::default(),
            decide: DecideLimits::default(),
            push_bytes: 8 * 1024 * 1024,
            page_records: 1_000,
            window: 8,
            fetch_documents: 1_000,
            commit_changes: 2_000,
            commit_bytes: 8 * 1024 * 1024,
            commit_queue: 256,
            tail_bytes: 8 * 1024 * 1024,
            cached_clients: 1_024,
            namespaces: 10_000,
        }
    }
}
