//! Dumps: a whole database as lines of JSON, and back. `docs/dump-format.md` describes them; fixtures guard them.
//!
//! A dump is for people, other programs and later versions: it has collections with their settings and the documents
//! in them. What makes this device this one (pending changes, journal, the place in the server's feed, tombstones) is
//! in a backup of its store, not here.

mod index;
mod load;
mod read;
mod write;

pub use load::{BrokenIndex, Existing, LoadOptions, Loaded, Loader};
pub use read::{DumpItem, DumpReader};
pub use write::Dump;

use crate::{ConflictStrategy, Value};

/// The format that is written, and the newest that is read.
pub const DUMP_FORMAT: u32 = 1;

/// The key that the first line begins with.
const HEAD: &str = "pocket-dump";
const COLLECTION: &str = "collection";
const DOCUMENT: &str = "document";
const INDEX: &str = "index";
const END: &str = "end";

/// What the first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpHead {
    /// The name of the database.
    pub database: String,
    /// The schema version of the documents.
    pub schema_version: u32,
    /// Whether all documents are of one state. Where a backend cannot show one while writes go on, a document that
    /// was written meanwhile may be in or not.
    pub one_state: bool,
}

/// What the last line says, and must be so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpTotals {
    /// Collections.
    pub collections: u64,
    /// Documents in them.
    pub documents: u64,
}

/// The name of a strategy in a line, and back.
fn strategy_value(strategy: Option<ConflictStrategy>) -> Value {
    strategy.map_or(Value::Null, |strategy| Value::from(strategy.as_str()))
}

fn strategy_named(name: &str) -> Option<ConflictStrategy> {
    use ConflictStrategy::{ClientWins, Custom, LastWriteWins, Merge, ServerWins};
    let all = [LastWriteWins, ServerWins, ClientWins, Merge, Custom];
    all.into_iter().find(|strategy| strategy.as_str() == name)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
