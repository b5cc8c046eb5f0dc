//! Errors by what the caller can do about them.

/// What a store answers.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Why a store refused, by what the caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A check of the batch did not hold; nothing was written. Read again, try again.
    #[error("a check of the batch did not hold; read again and try again")]
    Conflict,
    /// The disk or the quota is full; nothing was written. Make room, try again.
    #[error("no space left: {0}")]
    Full(String),
    /// What is stored is damaged or is not a store of this kind. It is never shown as an empty store.
    #[error("damaged or foreign data: {0}")]
    Corrupt(String),
    /// Another process (or another handle) holds the store.
    #[error("{path} is in use{}; end that process or use another path", holder_text(*holder))]
    InUse {
        /// The path that is held.
        path: String,
        /// The process that holds it, where it can be told.
        holder: Option<u32>,
    },
    /// The store was closed; open it again.
    #[error("the store is closed")]
    Closed,
    /// A key or a value is larger than [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES) or
    /// [`MAX_VALUE_BYTES`](crate::MAX_VALUE_BYTES); nothing was written.
    #[error("{what} of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The backend failed; whether the batch was stored is unknown until the store has reopened itself.
    /// Until then writes are refused with this error. Read again before trying again.
    #[error("the storage backend failed: {0}")]
    Backend(String),
}

fn holder_text(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" by process {pid}"))
}
