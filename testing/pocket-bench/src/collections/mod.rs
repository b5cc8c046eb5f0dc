//! The same work on one collection by Pocket, by bare redb and by SQLite, each in a process of its own.
//!
//! A [`Contender`] is such a process. It gets ready once and says what the result of its work is, so that results are
//! compared before anything is measured; then it does the work again at each order. So contenders take turns, and the
//! memory of each is told apart.

mod bare;
mod data;
mod pocket;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::child::{Child, Parent};
use crate::machine::Memory;
pub(crate) use data::Proof;

/// The role of a process that does the work of a collection.
pub(crate) const ROLE: &str = "contender";

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum System {
    Pocket,
    /// redb, with the keys and values that Pocket has.
    Bare,
    /// SQLite, documents as JSON text.
    Sqlite,
    /// SQLite, documents in its binary form of JSON.
    SqliteBinary,
}

impl System {
    /// Whether this program was built with it.
    pub(crate) fn is_there(self) -> bool {
        match self {
            Self::Pocket | Self::Bare => true,
            Self::Sqlite | Self::SqliteBinary => cfg!(feature = "sqlite"),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pocket => "Pocket",
            Self::Bare => "bare redb",
            Self::Sqlite => "SQLite, JSON text",
            Self::SqliteBinary => "SQLite, JSONB",
        }
    }
}

/// An index: its fields, rising.
pub(crate) type IndexOf = &'static [&'static str];

/// The indexes that a collection may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Indexes {
    None,
    /// When tasks are due.
    Due,
    /// The same, their titles, and titles with the time.
    Three,
    /// How many live in a city.
    Population,
}

impl Indexes {
    fn fields(self) -> &'static [IndexOf] {
        match self {
            Self::None => &[],
            Self::Due => &[&["due"]],
            Self::Three => &[&["due"], &["title", "due"], &["tags"]],
            Self::Population => &[&["population"]],
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Make the file with tasks.
    FillTasks { count: usize, indexes: Indexes },
    /// Make the file with cities.
    FillCities { count: usize, indexes: Indexes },
    /// Read single documents by id.
    Get { among: usize, gets: usize },
    /// Insert tasks in batches, durable, into a new file.
    Insert { count: usize, indexes: Indexes },
    /// Read the documents of a range of an index.
    Range {
        among: usize,
        length: usize,
        ranges: usize,
    },
    /// Find a few cities by a filter that no index helps.
    Scan { by: Needle },
    /// The largest cities.
    Top { indexes: Indexes, times: usize },
    /// Change what a sorted result of tasks is sorted by, and learn the new result.
    Live {
        count: usize,
        edits: usize,
        watched: bool,
    },
    /// Change a document that one of many results has, and learn the new result.
    LiveMany {
        count: usize,
        queries: usize,
        edits: usize,
        by: Selected,
    },
    /// Open the file and read one document.
    Open { count: usize },
}

/// What a scan looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Needle {
    /// Two fields of a document.
    Fields,
    /// An element of an array.
    Element,
}

/// How each of many live queries selects its documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Selected {
    /// One value of a field.
    Equality,
    /// A range of values.
    Range,
}

/// Where it is done, and by whom.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) system: System,
    pub(crate) work: Work,
    /// The file; made by filling and by inserting, there already otherwise.
    pub(crate) file: PathBuf,
}

/// Does the work once more; the answer is the seconds of each of its parts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Run {
    run: usize,
}

/// A process that is ready for its work.
pub(crate) struct Contender {
    child: Child,
    pub(crate) proof: Proof,
}

impl Contender {
    pub(crate) async fn start(system: System, work: Work, file: &Path) -> Outcome<Self> {
        let mut child = Child::start(ROLE)?;
        let file = file.to_owned();
        let begin = Begin { system, work, file };
        let proof = child.ask(&begin).await?;
        Ok(Self { child, proof })
    }

    /// The seconds of each part of the work.
    pub(crate) async fn run(&mut self, run: usize) -> Outcome<Vec<f64>> {
        self.child.ask(&Run { run }).await
    }

    /// Ends it; its memory, where the system tells.
    pub(crate) async fn end(self) -> Outcome<Option<Memory>> {
        let memory = self.child.memory().ok();
        self.child.end().await?;
        Ok(memory)
    }
}

/// Plays the part of a contender.
pub(crate) async fn contend(mut parent: Parent) -> Outcome {
    let begin: Begin = parent.order().await?.ok_or("no work came")?;
    match begin.system {
        System::Pocket => pocket::contend(&mut parent, &begin).await,
        System::Bare => bare::contend(&mut parent, &begin).await,
        #[cfg(feature = "sqlite")]
        System::Sqlite | System::SqliteBinary => sqlite::contend(&mut parent, &begin).await,
        #[cfg(not(feature = "sqlite"))]
        System::Sqlite | System::SqliteBinary => Err(without(&begin)),
    }
}

/// Says what the result is, and does the work at each order.
async fn take_turns(
    parent: &mut Parent,
    proof: &Proof,
    mut work: impl AsyncFnMut(usize) -> Outcome<Vec<f64>>,
) -> Outcome {
    Parent::answer(proof)?;
    while let Some(Run { run }) = parent.order().await? {
        Parent::answer(&work(run).await?)?;
    }
    Ok(())
}

/// A work that has no such limit.
fn without(begin: &Begin) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{} does not do {:?}", begin.system.name(), begin.work).into()
}
