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
    /// How fast one connection may ask.
    pub rate: RateLimits,
    /// The pings and pongs of the WebSocket protocol that one connection may send in a second; with more it is closed.
    pub control_frames: u32,
    /// The bytes that may wait on one connection to be taken by its client. While more do, no message is read from it
    /// and no records for it: what waits is at most this, and the page or fetch that was under way. Over HTTP it is what one answer holds.
    pub unsent_bytes: usize,
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
    /// The sets of labels for which a namespace keeps digests, so that neither memory nor an opening depends on how many
    /// readers there are. One with more has none, until half of them are found to be enough again.
    pub readerships: usize,
}

/// How fast one connection may ask. What is above is refused with `rate-limited` and the time to wait; a client that
/// goes on all the same is closed.
///
/// Pushes, pulls and fetches count. The `more` behind a page does not, for the window paces those; pings, and a `more`
/// behind nothing, are answered up to the burst and are never told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Requests a second, in the long run.
    pub messages_per_second: u32,
    /// Requests at once, after a pause.
    pub messages_at_once: u32,
    /// Bytes a second, in the long run.
    pub bytes_per_second: u64,
    /// Bytes at once, after a pause.
    pub bytes_at_once: u64,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            messages_per_second: 100,
            messages_at_once: 500,
            bytes_per_second: 8 * 1024 * 1024,
            bytes_at_once: 64 * 1024 * 1024,
        }
    }
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
            rate: RateLimits::default(),
            control_frames: 100,
            unsent_bytes: 256 * 1024,
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
            readerships: 65_536,
        }
    }
}
