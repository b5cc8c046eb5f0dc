//! sled's errors, by what the caller can do.

use std::io::{self, ErrorKind};

use pocket_storage::StorageError;

pub(crate) fn from_sled(error: sled::Error) -> StorageError {
    match error {
        sled::Error::Io(error) => from_io(&error),
        sled::Error::Corruption { .. } => {
            StorageError::Corrupt("sled found damage in its files".to_owned())
        }
        sled::Error::Unsupported(what) => {
            StorageError::Corrupt(format!("sled does not read these files: {what}"))
        }
        sled::Error::CollectionNotFound(_) => {
            StorageError::Corrupt("sled lost a part of its files".to_owned())
        }
        sled::Error::ReportableBug(what) => StorageError::Backend(what),
    }
}

/// A full disk is not told apart: sled writes its log behind the commits, so whether the one that hears of it
/// was written is not known.
pub(crate) fn from_io(error: &io::Error) -> StorageError {
    match error.kind() {
        ErrorKind::InvalidData => StorageError::Corrupt(error.to_string()),
        ErrorKind::UnexpectedEof => StorageError::Corrupt("a file ends early".to_owned()),
        _ => StorageError::Backend(error.to_string()),
    }
}
