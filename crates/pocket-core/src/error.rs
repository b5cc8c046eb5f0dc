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
    /// The place of the fault in what was given.
    path: Option<Box<str>>,
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
            path: None,
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

    /// Where it is wrong, as a dotted path: a field of the document, of what a filter asks for or of an index, or a part of
    /// the query. Not every error has such a place.
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// The same error, about this place; an empty path is none.
    #[must_use]
    pub(crate) fn at(mut self, path: &str) -> Self {
        if !path.is_empty() {
            self.0.path = Some(path.into());
        }
        self
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
        let shown = cut(id, 40);
        Self::new(
            codes::BAD_ID,
            format!(
                "{shown:?} is no document id; use 1 to {} bytes of UTF-8 without NUL",
                crate::MAX_ID_BYTES
            ),
        )
        .at(crate::value::ID_FIELD)
    }

    pub(crate) fn bad_collection_name(name: &str) -> Self {
        let shown = cut(name, 80);
        Self::new(
            codes::BAD_COLLECTION_NAME,
            format!(
                "{shown:?} is no collection name; use a letter, then up to 63 letters, digits, `_` or `-` \
                 (a leading `_` is reserved)"
            ),
        )
    }
}

/// A text of the caller for a message: at most so many characters of it, and then a sign that there are more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Body, DocumentLimits, Filter, QuerySpec};

    fn path<T: std::fmt::Debug>(result: Result<T>) -> Option<String> {
        result.unwrap_err().path().map(str::to_owned)
    }

    fn bytes(json: &str) -> Vec<u8> {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        rmp_serde::to_vec(&value).unwrap()
    }

    #[test]
    fn errors_name_the_place_in_a_document_a_filter_or_a_query() {
        let limits = DocumentLimits::default();
        let filter = Filter::from_json_str;
        let query = |json: &str| QuerySpec::from_msgpack(&bytes(json));
        let read = [
            path(Body::split(&bytes(r#"{"_id":5}"#), &limits)),
            path(Body::split(&bytes(r#"{"a":1,"_rev":"x"}"#), &limits)),
            path(Body::split_many(&bytes(r#"[{},{"_id":""}]"#), &limits)),
            path(filter(r#"{"a.b":{"$like":1}}"#)),
            path(filter(r#"{"a":{"$elemMatch":{"b":{"$like":1}}}}"#)),
            path(query(r#"{"limit":-1}"#)),
            path(filter(r#"{"a..b":1}"#)),
            path(query(r#"{"before":"x"}"#)),
            path(query(r#"{"include":["a"],"exclude":["b"]}"#).and_then(|it| it.check())),
        ];
        let expected = [
            "_id", "_rev", "1._id", "a.b", "a", "limit", "a..b", "before", "exclude",
        ];
        assert_eq!(read, expected.map(|path| Some(path.to_owned())));
        // An operator that stands at no field has no place.
        assert_eq!(path(filter(r#"{"$like":1}"#)), None);
    }

    #[test]
    fn what_is_cut_short_for_a_message_says_so() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöü", 2), "äö…");
        let error = Error::bad_id(&"x".repeat(300));
        assert!(
            error
                .to_string()
                .contains(&format!("{}…\"", "x".repeat(40))),
            "{error}"
        );
    }
}
