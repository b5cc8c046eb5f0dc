//! How much is measured, how often and where.

use std::path::PathBuf;

use clap::Parser;
use tempfile::TempDir;

use crate::{Outcome, machine};

/// The least number of runs that a stored figure is the median of.
const RUNS: usize = 5;

/// Measures Pocket beside the limits of this machine.
#[derive(Parser)]
pub(crate) struct Options {
    /// Print one JSON document instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Two runs of a tenth, to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Runs of each measurement; default 5, with --quick 2.
    #[arg(long)]
    runs: Option<usize>,
    /// Only this group of rows; an unknown name lists them all.
    #[arg(long)]
    only: Option<String>,
    /// Documents of the first sync whose memory is measured; default 1000000, with --quick 10000.
    #[arg(long, value_name = "DOCUMENTS")]
    first_sync: Option<usize>,
    /// Where files are made; default the temporary directory. Must lie on a disk.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Be one of the processes of a measurement; what it needs comes on its standard input.
    #[arg(long, hide = true)]
    pub(crate) role: Option<String>,
}

/// What to do in each row.
pub(crate) struct Plan {
    pub(crate) runs: usize,
    /// Documents of a local insert, in batches of [`BATCH`](crate::documents::BATCH).
    pub(crate) inserts: usize,
    /// Documents of a push or a pull.
    pub(crate) documents: usize,
    /// Single edits of a run. With those before them fewer than a server takes at once from one connection
    /// (`RateLimits`): it would make one of a hundred wait for ten milliseconds, which is no figure of an edit.
    pub(crate) edits: usize,
    /// Durable inserts of a run, one at a time.
    pub(crate) singles: usize,
    /// Documents of the first sync whose memory is measured; once, not in every run.
    pub(crate) first_sync: usize,
    /// Deletions among which the live documents are.
    pub(crate) tombstones: usize,
    /// Subscribers of the fan-outs.
    pub(crate) subscribers: [usize; 2],
    /// Documents that are fanned out in a run.
    pub(crate) fan_outs: usize,
    /// Connections that do nothing.
    pub(crate) idle: usize,
    /// Documents of a collection that is read, queried and watched.
    pub(crate) collection: usize,
    /// Single documents that are read in a run.
    pub(crate) gets: usize,
    /// Ranges that are read in a run.
    pub(crate) ranges: usize,
    /// Live queries on one collection.
    pub(crate) live_queries: usize,
    /// Documents of the databases that are opened.
    pub(crate) opened: [usize; 2],
    pub(crate) only: Option<String>,
    pub(crate) directory: PathBuf,
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Outcome<Self> {
        let directory = options.dir.clone().unwrap_or_else(std::env::temp_dir);
        if machine::file_system(&directory).is_some_and(|kind| kind == "tmpfs") {
            return Err(format!(
                "{} lies in memory, so nothing there is durable; name a directory on a disk with --dir",
                directory.display()
            )
            .into());
        }
        let (runs, part) = if options.quick { (2, 10) } else { (RUNS, 1) };
        let plan = Self {
            runs: options.runs.unwrap_or(runs).max(1),
            inserts: 20_000 / part,
            documents: 10_000 / part,
            edits: 400 / part,
            singles: 800 / part,
            first_sync: options.first_sync.unwrap_or(1_000_000 / (part * part)),
            tombstones: 100_000 / part,
            subscribers: [100, 1_000].map(|count| count / part),
            fan_outs: 200 / part,
            idle: 1_000 / part,
            collection: 100_000 / part,
            gets: 20_000 / part,
            ranges: 200 / part,
            live_queries: 1_000 / part,
            opened: [10_000, 1_000_000].map(|count| count / (part * part)),
            only: options.only.clone(),
            directory,
        };
        if let Some(only) = &plan.only
            && !crate::rows::GROUPS.contains(&only.as_str())
        {
            return Err(format!(
                "there is no group `{only}`; one of {}",
                crate::rows::GROUPS.join(", ")
            )
            .into());
        }
        Ok(plan)
    }

    /// Whether a group of rows is wanted.
    pub(crate) fn wants(&self, group: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == group)
    }

    /// A directory for the files of one run.
    pub(crate) fn scratch(&self) -> Outcome<TempDir> {
        Ok(tempfile::Builder::new()
            .prefix("pocket-bench-")
            .tempdir_in(&self.directory)?)
    }

    /// Tells on stderr what runs now.
    pub(crate) fn tell(&self, what: &str, run: usize) {
        eprintln!("bench: {what}, run {} of {}", run + 1, self.runs);
    }
}
