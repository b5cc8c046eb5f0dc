//! Limits: what a frame may cost before anybody looks at what it says.

use pocket_core::DocumentLimits;

/// The size of a message that needs no agreement, in bytes.
pub const DEFAULT_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The largest message any server may be configured for, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// The deepest nesting of a frame. Bodies are opaque bytes in it and have limits of their own.
pub const MAX_FRAME_LEVELS: usize = 16;

/// The most values a frame may hold. It bounds the memory that decoding one costs.
pub const MAX_FRAME_NODES: usize = 100_000;

/// The most changes, and the most mutations, a push may hold; the most records of a page.
///
/// At most sixteen nodes each, so that a full message stays within [`MAX_FRAME_NODES`].
pub const MAX_FRAME_CHANGES: usize = 4_096;

/// The longest text of a handshake or an error, in bytes: namespace, token, user, agent, message.
pub const MAX_TEXT_BYTES: usize = 4_096;

/// The longest reason of a rejection, in bytes, so that the outcomes of any push fit one message.
pub const MAX_REASON_BYTES: usize = 512;

/// The largest documents any server may be configured for.
///
/// Received records are checked against these: which limits were in force when a document was
/// accepted, its reader does not know.
pub fn largest_document() -> DocumentLimits {
    DocumentLimits::default()
        .with_bytes(DocumentLimits::MAX_BYTES)
        .with_depth(DocumentLimits::MAX_DEPTH)
        .with_nodes(DocumentLimits::MAX_BYTES)
}

/// What a receiver takes of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireLimits {
    /// The size of a frame, in bytes.
    pub message_bytes: usize,
    /// The nesting of a frame.
    pub levels: usize,
    /// The values of a frame.
    pub nodes: usize,
}

impl WireLimits {
    /// The limits with this message size.
    #[must_use]
    pub fn with_message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes = bytes.min(MAX_MESSAGE_BYTES);
        self
    }
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            message_bytes: DEFAULT_MESSAGE_BYTES,
            levels: MAX_FRAME_LEVELS,
            nodes: MAX_FRAME_NODES,
        }
    }
}

/// What a server takes, as its `welcome` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// The size of a document's body, in bytes.
    pub document_bytes: usize,
    /// The size of a message, in bytes, in both directions.
    pub message_bytes: usize,
    /// The values of a document's body.
    pub nodes: usize,
    /// The nesting of a document's body.
    pub levels: usize,
    /// The changes of one mutation.
    pub changes: usize,
    /// The pushes in flight on a connection.
    pub pushes: usize,
}

impl ServerLimits {
    /// The limits for bodies.
    pub fn document_limits(&self) -> DocumentLimits {
        DocumentLimits::default()
            .with_bytes(self.document_bytes)
            .with_depth(self.levels)
            .with_nodes(self.nodes)
    }

    /// The limits for frames.
    pub fn wire_limits(&self) -> WireLimits {
        WireLimits::default().with_message_bytes(self.message_bytes)
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            document_bytes: 1024 * 1024,
            message_bytes: DEFAULT_MESSAGE_BYTES,
            nodes: 65_536,
            levels: 32,
            changes: 1_000,
            pushes: 8,
        }
    }
}
