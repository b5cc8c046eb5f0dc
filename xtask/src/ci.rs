//! `cargo xtask ci`: everything that must hold before a change is merged.

use std::time::Duration;

use crate::beside::{self, Builds};
use crate::clock::Stopwatch;
use crate::report::{self, Ending, Outcome, Row};
use crate::steps::{self, Done, STEPS, Step};
use crate::workspace::Workspace;

/// Which steps to run.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Run this step alone; may be given several times.
    #[arg(long, value_name = "STEP", value_parser = known_step)]
    only: Vec<String>,
    /// List the steps and what each makes sure of.
    #[arg(long)]
    list: bool,
    /// Run the remaining steps even after one has failed.
    #[arg(long)]
    keep_going: bool,
}

/// Runs the steps in order and prints the table of times, also when one failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    if options.list {
        for step in STEPS {
            println!("{:12}  {}", step.name, step.about);
        }
        return Ok(());
    }
    let steps: Vec<&Step> = STEPS
        .iter()
        .filter(|step| options.only.is_empty() || options.only.iter().any(|one| one == step.name))
        .collect();
    // Whoever names steps wants those and nothing beside them.
    let all = options.only.is_empty();
    let mut builds = None;
    let rows = run_all(
        &steps,
        |step| {
            match step.name {
                beside::FROM if all => builds = Some(Builds::begin(workspace)),
                beside::UNTIL => builds = None,
                _ => {}
            }
            (step.run)(workspace)
        },
        steps::is_strict(),
        options.keep_going,
    );
    println!("\n{}", report::table(&rows));
    // What a failure has left under way takes its time.
    drop(builds);
    verdict(&rows)
}

/// Runs steps until one fails, or all with `keep_going`. Where nobody watches (`strict`), a step
/// that cannot run is a failure: a check that is silently absent is worth nothing.
fn run_all(
    steps: &[&Step],
    mut run: impl FnMut(&Step) -> Outcome<Done>,
    strict: bool,
    keep_going: bool,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let failed = rows.iter().any(|row| row.ending == Ending::Failed);
        if failed && !keep_going {
            rows.push(Row {
                name: step.name,
                ending: Ending::NotRun,
                took: Duration::ZERO,
            });
            continue;
        }
        eprintln!(
            "\n==> {} ({}/{}): {}",
            step.name,
            index + 1,
            steps.len(),
            step.about
        );
        let watch = Stopwatch::start();
        let ending = match run(step) {
            Ok(Done::Passed) => Ending::Passed,
            Ok(Done::Skipped(reason)) => {
                eprintln!("SKIPPED {}: {reason}", step.name);
                if strict {
                    Ending::Failed
                } else {
                    Ending::Skipped
                }
            }
            Err(problems) => {
                eprintln!("{problems}");
                Ending::Failed
            }
        };
        let took = watch.elapsed();
        eprintln!(
            "<== {}: {} after {}",
            step.name,
            ending.word(),
            report::seconds(took)
        );
        rows.push(Row {
            name: step.name,
            ending,
            took,
        });
    }
    rows
}

fn verdict(rows: &[Row]) -> Outcome {
    let named = |ending: Ending| {
        let rows = rows.iter().filter(|row| row.ending == ending);
        rows.map(|row| row.name).collect::<Vec<_>>()
    };
    let skipped = named(Ending::Skipped);
    if !skipped.is_empty() {
        eprintln!(
            "warning: skipped here, and a failure where CI is set: {}",
            skipped.join(", ")
        );
    }
    let failed = named(Ending::Failed);
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(format!(
            "failed: {}. Alone: `cargo xtask ci --only {first}`",
            failed.join(", ")
        )
        .into()),
    }
}

fn known_step(name: &str) -> Result<String, String> {
    if STEPS.iter().any(|step| step.name == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
    Err(format!("the steps are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endings(strict: bool, keep_going: bool) -> Vec<Ending> {
        let steps: Vec<&Step> = STEPS.iter().take(4).collect();
        let run = |step: &Step| match step.name {
            "fmt" => Ok(Done::Skipped("no rustfmt".to_owned())),
            "layers" => Err("upward".to_owned().into()),
            _ => Ok(Done::Passed),
        };
        run_all(&steps, run, strict, keep_going)
            .iter()
            .map(|row| row.ending)
            .collect()
    }

    #[test]
    fn a_failure_stops_the_rest_and_a_skip_does_not() {
        use Ending::{Failed, NotRun, Passed, Skipped};
        assert_eq!(endings(false, false), [Passed, Skipped, Failed, NotRun]);
        assert_eq!(endings(false, true), [Passed, Skipped, Failed, Passed]);
    }

    #[test]
    fn where_nobody_watches_a_skip_is_a_failure() {
        use Ending::{Failed, NotRun, Passed};
        assert_eq!(endings(true, false), [Passed, Failed, NotRun, NotRun]);
        assert_eq!(endings(true, true), [Passed, Failed, Failed, Passed]);
    }

    #[test]
    fn the_verdict_names_what_failed() {
        let row = |name, ending| Row {
            name,
            ending,
            took: Duration::ZERO,
        };
        assert!(verdict(&[row("fmt", Ending::Passed), row("wasm", Ending::Skipped)]).is_ok());
        let rows = [row("fmt", Ending::Failed), row("docs", Ending::NotRun)];
        assert!(
            verdict(&rows)
                .unwrap_err()
                .to_string()
                .contains("--only fmt")
        );
    }

    #[test]
    fn an_unknown_step_is_refused_and_names_differ() {
        assert!(known_step("docs").is_ok());
        assert!(known_step("everything").is_err());
        let names: std::collections::BTreeSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }
}
