//! Options of the commands that ask for documents and of their indexes.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

/// What stands below the options of `find --help`.
const FIND_EXAMPLES: &str = "\
Examples:
  pocket find cities --where countrycode=AT --sort population:desc --limit 5
  pocket find cities --where population=0 --where 'name=\"1770\"'
  pocket find cities --filter '{\"population\":{\"$gte\":1000000},\"name\":{\"$regex\":\"^S\"}}'
  pocket find cities --where countrycode=AT --include name,population --explain
  pocket --json find todos --where done=false --sort due --live

A value is JSON. A word that cannot be meant as JSON is text: countrycode=AT is countrycode='\"AT\"'. What stands behind
_id= is always text, as ids are. Fields are dotted paths, like address.city. The operators of filters: $eq $ne $gt $gte $lt $lte $between $in $nin $exists $startsWith
$endsWith $contains $regex $all $size $elemMatch $not $and $or $nor.";

/// What stands below the options of `index create --help`.
const CREATE_EXAMPLES: &str = "\
Examples:
  pocket index create cities countrycode population:desc
  pocket index create users email --unique --sparse
  pocket index create todos due --only '{\"done\":false}' --name open-by-due

It returns when the index is built. Queries use it from then on by themselves; `find --explain` shows that. A signal
leaves what is built: the same command goes on with it, and so does the next one that opens the database.";

/// What stands below the options of `shell --help`.
const SHELL_EXAMPLES: &str = "\
Examples:
  pocket shell
  echo 'count cities' | pocket shell
  pocket --json shell --keep-going < script

A line is what would stand behind `pocket` on the command line, quoted in the same way, without variables and patterns:
  find cities --where countrycode=AT --sort population:desc --limit 5
A `#` begins a comment. On a terminal there are a history and completion by the tabulator; Ctrl-C ends the command that
runs, Ctrl-D the shell.";

/// Which documents are meant.
#[derive(Debug, Default, Args)]
pub(crate) struct Chosen {
    /// Only documents that pass this filter, an object of fields and operators; `@FILE` reads it from a file, `@-` from
    /// stdin
    #[arg(long, value_name = "JSON")]
    pub(crate) filter: Option<String>,
    /// Only documents whose field equals this value; several must all hold
    #[arg(long = "where", value_name = "FIELD=JSON")]
    pub(crate) conditions: Vec<String>,
}

impl Chosen {
    /// Whether nothing is said about them.
    pub(crate) fn is_empty(&self) -> bool {
        self.filter.is_none() && self.conditions.is_empty()
    }

    /// The file that the filter stands in; `-` is stdin.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.filter.as_deref()?.strip_prefix('@').map(Path::new)
    }
}

#[derive(Debug, Args)]
#[command(after_help = FIND_EXAMPLES)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct FindArgs {
    /// The collection: a letter, then up to 63 letters, digits, `_` or `-`
    pub(crate) collection: String,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
    /// Sort by this field; further ones break ties, and `_id` those that are left
    #[arg(long, value_name = "FIELD[:asc|:desc]", value_delimiter = ',')]
    pub(crate) sort: Vec<String>,
    /// Pass over so many at the beginning
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) skip: Option<usize>,
    /// Print at most so many
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) limit: Option<usize>,
    /// Print only these fields, and `_id`
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub(crate) include: Vec<String>,
    /// Print all but these fields
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub(crate) exclude: Vec<String>,
    /// Only documents behind this place of the same order, as --cursors tells it
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Only documents before this place; without --after, --limit takes the last of them
    #[arg(long, value_name = "CURSOR")]
    pub(crate) before: Option<String>,
    /// Say on stderr where the first and the last document stand, for --before and --after
    #[arg(long, conflicts_with_all = ["live", "explain", "analyze"])]
    pub(crate) cursors: bool,
    /// Print how the query is carried out instead of the documents
    #[arg(long, conflicts_with = "live")]
    pub(crate) explain: bool,
    /// The same after running it, with what it read
    #[arg(long, conflicts_with = "live")]
    pub(crate) analyze: bool,
    /// Print the documents, then each change of the result, until a signal comes
    ///
    /// For people a line for each change: `+` came, `-` left, `~` changed where it stands, `→` moved; behind it the place in
    /// the list, counted from 0, as the changes before left it. With --json an object for each commit that changes the
    /// result, the first one with all documents. While it runs, other commands reach the database through it.
    #[arg(long)]
    pub(crate) live: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    pub(crate) action: IndexAction,
}

/// What to do with indexes.
#[derive(Debug, Subcommand)]
pub(crate) enum IndexAction {
    /// Make an index and wait until it is built
    Create(IndexCreateArgs),
    /// Print the indexes of a collection, or of all
    List(IndexListArgs),
    /// Drop an index
    Drop(IndexDropArgs),
}

#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(crate) struct IndexCreateArgs {
    /// The collection
    pub(crate) collection: String,
    /// Its fields, the most important first
    #[arg(
        required = true,
        value_name = "FIELD[:asc|:desc]",
        value_delimiter = ','
    )]
    pub(crate) fields: Vec<String>,
    /// No two documents may have the same values
    #[arg(long)]
    pub(crate) unique: bool,
    /// Leave out documents in which all of its fields are null or missing
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Only documents that pass this filter
    #[arg(long, value_name = "JSON")]
    pub(crate) only: Option<String>,
    /// Its name [default: made of its fields, like `a.b_1_c_-1`]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct IndexListArgs {
    /// Only those of this collection
    pub(crate) collection: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct IndexDropArgs {
    /// The collection
    pub(crate) collection: String,
    /// The index, as `index list` names it
    pub(crate) name: String,
}

#[derive(Debug, Args)]
#[command(after_help = SHELL_EXAMPLES)]
pub(crate) struct ShellArgs {
    /// Go on behind a line that failed; the exit status is 1 if there were any
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Keep the history here [default: `pocket/history` below `$XDG_STATE_HOME` or `~/.local/state`]
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
}
