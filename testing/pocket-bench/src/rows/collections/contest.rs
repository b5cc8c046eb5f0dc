//! Contests: contenders that do the same work in turns, and rows of what came of it.

use std::path::PathBuf;

use tempfile::TempDir;

use super::AHEAD;
use crate::Outcome;
use crate::collections::{Contender, Proof, System, Work};
use crate::figure::{Row, Samples, Unit};
use crate::machine::mebibytes;
use crate::plan::Plan;

/// Files that were filled.
pub(super) struct Shelf<'a> {
    pub(super) plan: &'a Plan,
    directory: TempDir,
}

/// What all runs of a contender gave.
pub(super) struct Turns {
    system: System,
    pub(super) proof: Proof,
    /// For each run the seconds of its parts.
    runs: Vec<Vec<f64>>,
    /// The most memory it had, in MiB.
    peak: Option<f64>,
}

impl Turns {
    /// One figure for each run, made of its seconds.
    fn samples(&self, figure: impl Fn(&[f64]) -> f64) -> Samples {
        let mut samples = Samples::default();
        for seconds in &self.runs {
            samples.push(figure(seconds));
        }
        samples
    }

    /// So many things in a second.
    pub(super) fn rate(&self, things: f64) -> Samples {
        self.samples(|seconds| things / seconds.iter().sum::<f64>())
    }

    /// Milliseconds for each of so many things.
    pub(super) fn each(&self, things: usize) -> Samples {
        self.samples(|seconds| seconds.iter().sum::<f64>() * 1_000.0 / things as f64)
    }

    /// Milliseconds of the middle one of all parts.
    pub(super) fn middle(&self) -> Samples {
        self.samples(|seconds| {
            let mut parts = Samples::default();
            for second in seconds {
                parts.push(second * 1_000.0);
            }
            parts.median()
        })
    }
}

impl<'a> Shelf<'a> {
    pub(super) fn new(plan: &'a Plan) -> Outcome<Self> {
        Ok(Self {
            plan,
            directory: plan.scratch()?,
        })
    }

    /// A file with documents, filled at the first call: of bare redb a copy of Pocket's.
    async fn file(&self, system: System, fill: Work, name: &str) -> Outcome<PathBuf> {
        let path = |system: System| {
            let system = system.name().replace([' ', ','], "-");
            self.directory.path().join(format!("{name}-{system}"))
        };
        let (file, filler) = match system {
            System::Bare => (path(system), System::Pocket),
            _ => (path(system), system),
        };
        let from = path(filler);
        if !from.exists() {
            eprintln!("bench: filling {} with {name}", filler.name());
            Contender::start(filler, fill, &from).await?.end().await?;
        }
        if !file.exists() {
            std::fs::copy(&from, &file)?;
        }
        Ok(file)
    }

    /// Has contenders do a work in turns, on files that `fill` makes.
    pub(super) async fn on_files(
        &self,
        work: Work,
        systems: &[System],
        fill: Work,
        name: &str,
    ) -> Outcome<Vec<Turns>> {
        let mut places = Vec::new();
        for system in there(systems) {
            places.push((system, self.file(system, fill, name).await?));
        }
        self.turns(work, places).await
    }

    /// Has contenders do a work in turns that needs no files, or makes them.
    pub(super) async fn without_files(
        &self,
        work: Work,
        systems: &[System],
    ) -> Outcome<Vec<Turns>> {
        let places = there(systems).map(|system| {
            let file = self.directory.path().join(format!("new-{}", system.name()));
            (system, file)
        });
        self.turns(work, places.collect()).await
    }

    async fn turns(&self, work: Work, places: Vec<(System, PathBuf)>) -> Outcome<Vec<Turns>> {
        let mut contenders = Vec::new();
        for (system, file) in places {
            contenders.push((system, Contender::start(system, work, &file).await?));
        }
        let mut all: Vec<Turns> = contenders
            .iter()
            .map(|(system, contender)| Turns {
                system: *system,
                proof: contender.proof.clone(),
                runs: Vec::new(),
                peak: None,
            })
            .collect();
        check(work, &all)?;
        for run in 0..self.plan.runs {
            self.plan.tell(&format!("{work:?}"), run);
            for ((_, contender), turns) in contenders.iter_mut().zip(&mut all) {
                // Run 0 was for comparing.
                turns.runs.push(contender.run(run + 1).await?);
            }
        }
        for ((_, contender), turns) in contenders.into_iter().zip(&mut all) {
            let memory = contender.end().await?;
            turns.peak = memory.map(|memory| mebibytes(memory.peak));
        }
        Ok(all)
    }
}

/// Those that this program was built with.
fn there(systems: &[System]) -> impl Iterator<Item = System> {
    systems.iter().copied().filter(|system| system.is_there())
}

/// Fails unless all found the same; bare redb knows no more than how many, and of a scan the bytes.
fn check(work: Work, all: &[Turns]) -> Outcome {
    let Some(first) = all.first() else {
        return Ok(());
    };
    for turns in all {
        let (theirs, ours) = (&turns.proof, &first.proof);
        let is_same = match (turns.system, work) {
            (System::Bare, Work::Scan { .. }) => theirs.count > 0,
            (System::Bare, _) => theirs.count == ours.count,
            _ => theirs == ours,
        };
        if !is_same || ours.count == 0 {
            return Err(format!(
                "{work:?}: {} found {theirs:?}, {} found {ours:?}",
                turns.system.name(),
                first.system.name()
            )
            .into());
        }
    }
    Ok(())
}

/// What a row is about.
pub(super) struct Topic {
    pub(super) group: &'static str,
    pub(super) what: String,
    pub(super) unit: Unit,
    /// How bare redb does the same.
    pub(super) bare: &'static str,
    /// How SQLite does it, where that needs a word.
    pub(super) sqlite: &'static str,
}

impl Topic {
    /// A row of Pocket, the first of all, beside all others.
    pub(super) fn row(&self, all: &[Turns], samples: impl Fn(&Turns) -> Samples) -> Outcome<Row> {
        let (pocket, others) = all.split_first().ok_or("nobody did the work")?;
        let row = Row::new(self.group, &self.what, self.unit, &samples(pocket));
        Ok(others.iter().fold(row, |row, turns| {
            let (how, aim) = match turns.system {
                System::Bare => (self.bare, None),
                _ => (self.sqlite, AHEAD),
            };
            let limit = [turns.system.name(), how].join(if how.is_empty() { "" } else { ": " });
            row.limit(limit, &samples(turns), aim)
        }))
    }

    /// A row of the memory of Pocket's process beside all others; none where the system does not tell.
    pub(super) fn memory(&self, all: &[Turns]) -> Option<Row> {
        let (pocket, others) = all.split_first()?;
        let what = format!("{}: peak memory", self.what);
        let row = Row::new(
            self.group,
            what,
            Unit::Mebibytes,
            &Samples::exact(pocket.peak?),
        );
        let others = others
            .iter()
            .filter_map(|turns| Some((turns.system, turns.peak?)));
        Some(others.fold(row, |row, (system, peak)| {
            row.limit(system.name(), &Samples::exact(peak), None)
        }))
    }
}
