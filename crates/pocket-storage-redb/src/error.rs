//! redb's errors, by what the caller can do.

use std::io::{self, ErrorKind};

use pocket_storage::StorageError;

pub(crate) fn from_io(error: &io::Error) -> StorageError {
    match error.kind() {
        // The error says before that no space is left.
        ErrorKind::StorageFull => StorageError::Full("the disk of the store is full".to_owned()),
        ErrorKind::QuotaExceeded => StorageError::Full("the quota is used up".to_owned()),
        ErrorKind::FileTooLarge => StorageError::Full(
            "the file may not grow further (`ulimit -f`, or a limit of the file system)".to_owned(),
        ),
        // redb says InvalidData for a file that is not its own; a file that ends early was cut.
        ErrorKind::InvalidData => StorageError::Corrupt(error.to_string()),
        ErrorKind::UnexpectedEof => StorageError::Corrupt("the file ends early".to_owned()),
        _ => StorageError::Backend(error.to_string()),
    }
}

pub(crate) fn from_storage(error: redb::StorageError) -> StorageError {
    match error {
        redb::StorageError::Io(error) => from_io(&error),
        redb::StorageError::Corrupted(what) => StorageError::Corrupt(what),
        other => StorageError::Backend(other.to_string()),
    }
}

pub(crate) fn from_table(error: redb::TableError) -> StorageError {
    match error {
        redb::TableError::Storage(error) => from_storage(error),
        other => StorageError::Corrupt(format!("a redb file, but not a Pocket store: {other}")),
    }
}

pub(crate) fn from_transaction(error: redb::TransactionError) -> StorageError {
    match error {
        redb::TransactionError::Storage(error) => from_storage(error),
        other => StorageError::Backend(other.to_string()),
    }
}

pub(crate) fn from_commit(error: redb::CommitError) -> StorageError {
    match error {
        redb::CommitError::Storage(error) => from_storage(error),
        other => StorageError::Backend(other.to_string()),
    }
}

pub(crate) fn from_database(error: redb::DatabaseError, path: &str) -> StorageError {
    match error {
        redb::DatabaseError::Storage(error) => from_storage(error),
        redb::DatabaseError::DatabaseAlreadyOpen => StorageError::InUse {
            path: path.to_owned(),
            holder: None,
        },
        redb::DatabaseError::UpgradeRequired(version) => StorageError::Corrupt(format!(
            "the file has redb format {version}, which this version does not read"
        )),
        other => StorageError::Backend(other.to_string()),
    }
}
