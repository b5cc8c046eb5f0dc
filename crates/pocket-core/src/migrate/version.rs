//! Which schema version an open handle may write for.

use super::{half_done, newer};
use crate::Result;
use crate::stored::DatabaseHead;

/// Which schema version a handle works with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SchemaVersion {
    /// This one, and it raises the database to it.
    Known(u32),
    /// Whatever the database has, unless its documents are being migrated.
    Any,
}

impl SchemaVersion {
    /// Another handle, of a newer program, may raise the database at any time: what this one would write then has the old
    /// shape, behind the back of the migration.
    ///
    /// # Errors
    /// `newer-format`; `migration` while one is half done.
    pub(crate) fn check(self, head: &DatabaseHead) -> Result<()> {
        match self {
            Self::Known(known) if head.schema_version > known => {
                Err(newer(head.schema_version, known))
            }
            Self::Any if head.later.migration.is_some() => Err(half_done()),
            _ => Ok(()),
        }
    }
}
