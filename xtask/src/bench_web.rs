//! Measures the npm packages in a browser, beside other databases, and stores the table.

use crate::browser::BROWSER;
use crate::report::Outcome;
use crate::steps;
use crate::workspace::Workspace;
use crate::{bench, browser, npm, process, wasm, web, web_module};

/// The page with the contestants.
const PAGE: &str = "testing/pocket-browser/bench";

/// The test that drives it.
const MEASURES: &str = "packages::measured::";

/// With it the test is there.
const FEATURE: &str = "pocket-browser/measure";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds, each in another order of the contestants; with another number nothing is stored.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: u32,
}

const ROUNDS: u32 = 7;

/// Builds everything, measures, and stores a full run.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    let missing = wasm::missing(workspace)?.or_else(|| npm::missing(workspace, true));
    if let Some(reason) = missing {
        return Err(reason.into());
    }
    let browser = browser::find_or_install(workspace)?;
    web_module::build(workspace)?;
    web::packages(workspace)?;
    npm::install(workspace, PAGE)?;
    npm::script(workspace, PAGE, "build")?;
    let arguments = ["test", "--locked", "--workspace", "--test", web::TEST];
    let mut command = process::cargo(workspace, &arguments);
    command
        .args(steps::FEATURES)
        .env(BROWSER, &browser)
        .env("POCKET_BENCH_ROUNDS", options.rounds.to_string())
        .args(["--features", FEATURE])
        .args(["--", "--nocapture", MEASURES]);
    let said = process::tee(&mut command)?;
    let table: Vec<&str> = said.lines().filter(|line| line.starts_with('|')).collect();
    if options.rounds != ROUNDS {
        eprintln!("bench-web: not stored; only a run of {ROUNDS} rounds is");
        return Ok(());
    }
    let version = process::read(std::process::Command::new(&browser).arg("--version"))?;
    bench::store(
        workspace,
        &bench::IN_A_BROWSER,
        version.trim(),
        &table.join("\n"),
    )
}
