//! As much of IndexedDB as a store needs.
//!
//! A transaction of IndexedDB ends by itself as soon as control returns to the browser with no request of it under way.
//! So whatever awaits one runs as a task of its own, which the executor of `js_sys` polls before control returns, and
//! awaits nothing but requests of that transaction.

mod database;
mod error;
mod signal;
mod transaction;

pub(crate) use database::{Database, End, Missing, delete};
pub(crate) use transaction::{Mode, Transaction};

/// The names of the two object stores.
const PAGES: &str = "pages";
const META: &str = "meta";

/// The keys of [`META`]: which format the records have, which database it is of all that ever had its name, the number of the
/// layout, and a record whose only purpose is to be
/// written when a commit writes nothing else but has to reach the disk.
const FORMAT_KEY: &str = "format";
const ID_KEY: &str = "id";
const LAYOUT_KEY: &str = "layout";
const FLUSHED_KEY: &str = "flushed";

/// The version of the database. Another one means other object stores.
const VERSION: u32 = 1;

/// What the record `format` says.
const FORMAT: &str = "pocket-pages-1";
