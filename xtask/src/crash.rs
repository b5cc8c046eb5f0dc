//! The crash tests of the durable backends, with as many rounds as one has time for.

use std::collections::BTreeSet;

use crate::process;
use crate::report::Outcome;
use crate::workspace::Workspace;

/// How many rounds.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds in which a process is killed at a random moment, for each backend.
    #[arg(long, default_value_t = 30)]
    rounds: u64,
    /// Rounds of simulated power loss; twenty for each kill if not given.
    #[arg(long)]
    power_rounds: Option<u64>,
}

/// Runs every test file of a backend whose name begins with `crash` or `power`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    let mut packages = BTreeSet::new();
    let mut tests = BTreeSet::new();
    for package in workspace
        .members
        .iter()
        .filter(|one| one.name.starts_with("pocket-storage-"))
    {
        for test in package
            .targets_of("test")
            .filter(|name| is_crash_test(name))
        {
            packages.insert(package.name.as_str());
            tests.insert(test);
        }
    }
    if tests.is_empty() {
        return Err("no backend has a test file `crash*.rs` or `power*.rs`"
            .to_owned()
            .into());
    }
    let power_rounds = options
        .power_rounds
        .unwrap_or(options.rounds.saturating_mul(20));
    let mut command = process::cargo(workspace, &["test", "--locked"]);
    command
        .env("POCKET_CRASH_ROUNDS", options.rounds.to_string())
        .env("POCKET_POWER_ROUNDS", power_rounds.to_string());
    for package in packages {
        command.args(["--package", package]);
    }
    for test in tests {
        command.args(["--test", test]);
    }
    process::run(command.args(["--", "--nocapture"]))
}

fn is_crash_test(name: &str) -> bool {
    name.starts_with("crash") || name.starts_with("power")
}
