//! How large a document may be.

use crate::{Error, Result, codes};

/// How large and how deep one document may be.
///
/// Bytes count the encoded body, without the `_id`. The document itself is the first level; each
/// array and map inside is one more than the one around it. Each value is a node, the document and
/// all arrays and maps too; keys are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DocumentLimits {
    /// Bytes of the encoded body; 1 MiB by default.
    pub bytes: usize,
    /// Levels of arrays and maps; 32 by default.
    pub depth: usize,
    /// Values; 65,536 by default.
    pub nodes: usize,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            depth: 32,
            nodes: 65_536,
        }
    }
}

impl DocumentLimits {
    /// The most bytes that can be allowed, 16 MiB.
    pub const MAX_BYTES: usize = 16 << 20;

    /// The most levels that can be allowed. Readers of JSON stop at 128.
    pub const MAX_DEPTH: usize = 100;

    /// The widest limits that a database can have: what was stored somewhere is within them.
    pub const WIDEST: Self = Self {
        bytes: Self::MAX_BYTES,
        depth: Self::MAX_DEPTH,
        nodes: usize::MAX,
    };

    /// Allows this many bytes; more than [`MAX_BYTES`](Self::MAX_BYTES) counts as that.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = if bytes < Self::MAX_BYTES {
            bytes
        } else {
            Self::MAX_BYTES
        };
        self
    }

    /// Allows this many levels; more than [`MAX_DEPTH`](Self::MAX_DEPTH) counts as that.
    #[must_use]
    pub const fn with_depth(mut self, depth: usize) -> Self {
        self.depth = if depth < Self::MAX_DEPTH {
            depth
        } else {
            Self::MAX_DEPTH
        };
        self
    }

    /// Allows this many values.
    #[must_use]
    pub const fn with_nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    pub(super) fn check_bytes(&self, len: usize) -> Result<()> {
        let limit = self.bytes.min(Self::MAX_BYTES);
        if len > limit {
            return Err(Error::new(
                codes::DOCUMENT_TOO_LARGE,
                format!("the document has {len} bytes, {limit} are allowed; divide it"),
            ));
        }
        Ok(())
    }
}
