//! The error of the database, with a stable code for what the caller can do.

use std::fmt;

use pocket_storage::StorageError;

use crate::codes;

/// What the database answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the database refused, with a stable [`code`](Error::code).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    code: &'static str,
    message: String,
    source: Option<StorageError>,
}

impl Error {
    /// An error of this code; see [`codes`].
    pub fn new(code: &'static str, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            source: None,
        }
    }

    /// The stable code; `docs/errors.md` says what to do about each.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What the store said, where the store was the cause.
    pub fn storage(&self) -> Option<&StorageError> {
        self.source.as_ref()
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.code,
            codes::TRANSACTION_CONFLICT | codes::STORAGE_FULL | codes::IN_USE | codes::STORAGE
        )
    }

    pub(crate) fn validation(message: impl fmt::Display) -> Self {
        Self::new(codes::VALIDATION, message)
    }

    pub(crate) fn bad_id(id: &str) -> Self {
        let shown: String = id.chars().take(40).collect();
        Self::new(
            codes::BAD_ID,
            format!(
                "{shown:?} is no document id; use 1 to {} bytes of UTF-8 without NUL",
                crate::MAX_ID_BYTES
            ),
        )
    }

    pub(crate) fn bad_collection_name(name: &str) -> Self {
        let shown: String = name.chars().take(80).collect();
        Self::new(
            codes::BAD_COLLECTION_NAME,
            format!(
                "{shown:?} is no collection name; use a letter, then up to 63 letters, digits, `_` or `-` \
                 (a leading `_` is reserved)"
            ),
        )
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        let code = match &error {
            StorageError::Full(_) => codes::STORAGE_FULL,
            StorageError::Corrupt(_) => codes::CORRUPT,
            StorageError::InUse { .. } => codes::IN_USE,
            StorageError::Closed => codes::CLOSED,
            StorageError::TooLarge { .. } => codes::DOCUMENT_TOO_LARGE,
            _ => codes::STORAGE,
        };
        Self {
            code,
            message: error.to_string(),
            source: Some(error),
        }
    }
}
