//! Runs the simulator in release mode.

use crate::process;
use crate::report::Outcome;
use crate::workspace::Workspace;

/// What builds the simulator.
pub(crate) const SIMULATOR: [&str; 4] = ["--release", "--locked", "--package", "pocket-sim"];

/// And with the planted bugs in it.
pub(crate) const MUTANTS: [&str; 2] = ["--features", "mutants"];

/// How many histories `cargo xtask ci` runs.
pub(crate) const HISTORIES_IN_CI: u64 = 12_000;

/// What to simulate.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many histories to run.
    #[arg(long, default_value_t = HISTORIES_IN_CI)]
    histories: u64,
    /// The seed of the first one; a failing history prints the command that replays it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plant every known bug instead, and see that each is caught.
    #[arg(long, conflicts_with_all = ["histories", "seed"])]
    mutants: bool,
    /// More arguments for the simulator.
    #[arg(last = true)]
    more: Vec<String>,
}

/// Runs it as asked.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    if options.mutants {
        mutants(workspace, &options.more)
    } else {
        histories(workspace, options.histories, options.seed, &options.more)
    }
}

/// Runs seeded histories of the product as it is.
pub(crate) fn histories(workspace: &Workspace, count: u64, seed: u64, more: &[String]) -> Outcome {
    let (count, seed) = (count.to_string(), seed.to_string());
    let mut command = simulator(workspace, &[]);
    command
        .args(["run", "--histories", &count, "--seed", &seed])
        .args(more);
    process::run(&mut command)
}

/// Runs each planted bug until the checks catch it; fails when one is not caught.
pub(crate) fn mutants(workspace: &Workspace, more: &[String]) -> Outcome {
    let mut command = simulator(workspace, &MUTANTS);
    process::run(command.arg("mutants").args(more))
}

fn simulator(workspace: &Workspace, features: &[&str]) -> std::process::Command {
    let mut command = process::cargo(workspace, &["run"]);
    command.args(SIMULATOR).args(features).arg("--");
    command
}
