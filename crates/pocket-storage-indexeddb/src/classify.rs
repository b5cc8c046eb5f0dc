//! What the browser's errors mean to a caller.

use pocket_storage::StorageError;

/// The error for an exception of this name, thrown or given as the reason of an abort.
///
/// Names, not classes: what a full quota throws has changed its class, not its name.
pub(crate) fn classify(name: &str, message: &str) -> StorageError {
    let text = format!("{name}: {message}");
    match name {
        "QuotaExceededError" => StorageError::Full(text),
        // The connection was closed, or is being.
        "InvalidStateError" => StorageError::Closed,
        "VersionError" => StorageError::Corrupt(format!(
            "the database is of a newer version of Pocket, or of something else ({text})"
        )),
        // A value that IndexedDB keeps in a file of its own, and that file cannot be read.
        "NotReadableError" | "NotFoundError" | "DataError" => StorageError::Corrupt(text),
        "SecurityError" | "NotAllowedError" => blocked(&text),
        _ => StorageError::Backend(text),
    }
}

/// Why there is no storage at all.
pub(crate) fn blocked(text: &str) -> StorageError {
    StorageError::Backend(format!(
        "the browser gives this page no IndexedDB: blocked by its settings, by private browsing or by a sandbox ({text})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_what_the_caller_can_do() {
        use StorageError::{Backend, Closed, Corrupt, Full};
        let of = |name| classify(name, "why");
        assert!(matches!(of("QuotaExceededError"), Full(text) if text.contains("why")));
        assert!(matches!(of("InvalidStateError"), Closed));
        assert!(matches!(of("VersionError"), Corrupt(text) if text.contains("newer")));
        assert!(matches!(of("NotReadableError"), Corrupt(_)));
        assert!(matches!(of("SecurityError"), Backend(text) if text.contains("blocked")));
        assert!(matches!(of("UnknownError"), Backend(text) if text == "UnknownError: why"));
    }
}
