//! Options of the commands that read and write documents.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pocket_core::dump::Existing;

use super::query::Chosen;

#[derive(Debug, Args)]
pub(crate) struct InsertArgs {
    /// The collection: a letter, then up to 63 letters, digits, `_` or `-`
    pub(crate) collection: String,
    /// Documents; without any, JSON lines are read from stdin
    #[arg(value_name = "JSON")]
    pub(crate) documents: Vec<String>,
    #[command(flatten)]
    pub(crate) place: LocalOnly,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct LocalOnly {
    /// If this makes the collection: keep it on this device
    #[arg(long)]
    pub(crate) local_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The collection: a letter, then up to 63 letters, digits, `_` or `-`
    pub(crate) collection: String,
    /// The document's `_id`
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The collection: a letter, then up to 63 letters, digits, `_` or `-`
    pub(crate) collection: String,
    /// The document's `_id`
    pub(crate) id: String,
    /// An object; its fields are set, all others stay
    #[arg(value_name = "JSON")]
    pub(crate) patch: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The collection: a letter, then up to 63 letters, digits, `_` or `-`
    pub(crate) collection: String,
    /// The `_id` of each document
    #[arg(required_unless_present_any = ["filter", "conditions"], conflicts_with_all = ["filter", "conditions"])]
    pub(crate) id: Vec<String>,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Erase the documents everywhere, whatever others wrote meanwhile
    #[arg(long)]
    pub(crate) hard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CountArgs {
    /// The collection: a letter, then up to 63 letters, digits, `_` or `-`
    pub(crate) collection: String,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The collection: a letter, then up to 63 letters, digits, `_` or `-`
    pub(crate) collection: String,
    /// The file; `-` is stdin
    pub(crate) file: PathBuf,
    /// Leave out lines that cannot be imported; the exit status is 1 if there were any
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Replace documents that exist instead of refusing them
    #[arg(long)]
    pub(crate) upsert: bool,
    /// Leave out `_rev`, `_updatedAt` and `_deleted`, as `export --meta` prints them
    #[arg(long)]
    pub(crate) meta: bool,
    #[command(flatten)]
    pub(crate) place: LocalOnly,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The collection: a letter, then up to 63 letters, digits, `_` or `-`
    pub(crate) collection: String,
    /// Print `_rev`, `_updatedAt` and `_deleted` too
    #[arg(long)]
    pub(crate) meta: bool,
    /// Pass over damaged documents, say how many there were, and exit with 1
    #[arg(long, conflicts_with = "meta")]
    pub(crate) skip_damaged: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// The file, which is not there yet; `-` is stdout
    pub(crate) file: PathBuf,
    /// Pass over damaged documents, say how many there were, and exit with 1
    #[arg(long)]
    pub(crate) skip_damaged: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The file; `-` is stdin
    pub(crate) file: PathBuf,
    /// What becomes of documents whose id is taken
    #[arg(long, value_enum, value_name = "WHAT", default_value = "fail")]
    pub(crate) existing: Taken,
}

/// What becomes of a document whose id is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Taken {
    /// Nothing is loaded at all
    Fail,
    /// The one in the database stays
    Skip,
    /// The one in the file replaces it
    Replace,
}

impl From<Taken> for Existing {
    fn from(taken: Taken) -> Self {
        match taken {
            Taken::Fail => Self::Fail,
            Taken::Skip => Self::Skip,
            Taken::Replace => Self::Replace,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CollectionsArgs {
    #[command(subcommand)]
    pub(crate) action: Option<CollectionsAction>,
}

/// What to do with the collections; `list` unless named.
#[derive(Debug, Subcommand)]
pub(crate) enum CollectionsAction {
    /// Print each collection, with its documents and the changes of it that the server has not settled
    List,
    /// Say whether a collection syncs; one that is not there yet is made
    Set(CollectionsSetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CollectionsSetArgs {
    /// The collection
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) way: CollectionWay,
}

#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct CollectionWay {
    /// It syncs from now on; what is there is sent
    #[arg(long)]
    pub(crate) sync: bool,
    /// It stays on this device from now on; changes not sent yet never are
    #[arg(long)]
    pub(crate) local_only: bool,
}
