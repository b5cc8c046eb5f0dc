//! The error of the database, with a stable code for what the caller can do.

use std::fmt;

use pocket_storage::StorageError;

use crate::codes;

/// What the database answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the database refused, with a stable [`code`](Error::code).
///
/// It lies behind one pointer, so that a result that may be one is small wherever it is passed on.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: &'static str,
    message: Box<str>,
    source: Option<StorageError>,
    /// The key of the damaged value that it is about, until somebody has told what that is.
    key: Option<Box<[u8]>>,
    /// It names a damaged document.
    of_a_document: bool,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.storage()?;
        Some(source)
    }
}

impl Error {
    /// An error of this code; see [`codes`].
    pub fn new(code: &'static str, message: impl fmt::Display) -> Self {
        Self::of(code, &message, None)
    }

    // Never inlined: it is made in a thousand places.
    #[inline(never)]
    fn of(code: &'static str, message: &dyn fmt::Display, source: Option<StorageError>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.to_string().into(),
            source,
            key: None,
            of_a_document: false,
        }))
    }

    /// The error of a stored value that is damaged.
    pub(crate) fn of_damaged(key: &[u8], message: impl fmt::Display) -> Self {
        let mut error = Self::new(codes::CORRUPT, message);
        error.0.key = Some(key.into());
        error
    }

    /// The key of the damaged value that it is about.
    pub(crate) fn damaged_key(&self) -> Option<&[u8]> {
        self.0.key.as_deref()
    }

    /// The stable code; `docs/errors.md` says what to do about each.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What the store said, where the store was the cause.
    pub fn storage(&self) -> Option<&StorageError> {
        self.0.source.as_ref()
    }

    /// Whether it is `corrupt` since the value of one document is damaged, which its message names: deleting that document, or
    /// putting another in its place, works all the same.
    pub fn is_of_a_document(&self) -> bool {
        self.0.of_a_document
    }

    /// The same error, about one document.
    #[must_use]
    pub(crate) fn of_a_document(mut self) -> Self {
        self.0.of_a_document = true;
        self
    }

    /// Whether the same call may succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.code,
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
        let message = error.to_string();
        Self::of(code, &message, Some(error))
    }
}
