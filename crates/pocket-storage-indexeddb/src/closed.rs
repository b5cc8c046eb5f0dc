//! Why a store is closed.

use std::fmt;

/// Why a store answers [`Closed`](pocket_storage::StorageError::Closed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosedBy {
    /// It was closed by [`close`](pocket_storage::Storage::close).
    Caller,
    /// The database was deleted: by another tab, or by the user who cleared the data of this site.
    Deletion,
    /// Another tab opened it with a newer version of Pocket.
    Upgrade,
}

impl fmt::Display for ClosedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Caller => "the store was closed here",
            Self::Deletion => {
                "the database was deleted, by another tab or with the data of this site; open it again to begin anew"
            }
            Self::Upgrade => {
                "another tab opened the database with a newer version; load this page again"
            }
        })
    }
}
