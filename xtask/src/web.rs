//! What runs in browsers, in a real one: `cargo xtask test-web`, and the step `web`.

use crate::browser::{self, BROWSER};
use crate::clock::Stopwatch;
use crate::process;
use crate::report::{self, Outcome};
use crate::steps::{self, Done};
use crate::workspace::Workspace;
use crate::{wasm, web_module};

/// The package whose test file drives the browser, and that file.
pub(crate) const DRIVER: &str = "pocket-browser";
const TEST: &str = "web";

/// The package with what runs inside.
const MODULE: &str = "pocket-web-tests";

/// How to run.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Optimize the module, for times that mean something.
    #[arg(long)]
    release: bool,
    /// Run the tests whose names contain this alone.
    #[arg(value_name = "NAME")]
    only: Option<String>,
}

/// The command: installs what is missing where it may.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> Outcome {
    match run(workspace, options, true)? {
        Done::Passed => Ok(()),
        Done::Skipped(reason) if steps::is_strict() => Err(reason.into()),
        Done::Skipped(reason) => {
            eprintln!("SKIPPED: {reason}");
            Ok(())
        }
    }
}

/// The step: leaves a person's machine as it is.
pub(crate) fn step(workspace: &Workspace) -> Outcome<Done> {
    run(workspace, &Options::default(), steps::is_strict())
}

fn run(workspace: &Workspace, options: &Options, install: bool) -> Outcome<Done> {
    if let Some(reason) = wasm::missing(workspace)? {
        return Ok(Done::Skipped(reason));
    }
    let browser = if install {
        browser::find_or_install(workspace)
    } else {
        browser::find()
    };
    let browser = match browser {
        Ok(browser) => browser,
        Err(what_to_do) => return Ok(Done::Skipped(what_to_do)),
    };
    let watch = Stopwatch::start();
    let mut arguments = vec!["--locked", "--target", wasm::TARGET, "--package", MODULE];
    if options.release {
        arguments.push("--release");
    }
    let module = process::build_modules(workspace, &arguments)?.pop();
    let module = module.ok_or_else(|| format!("{MODULE} makes no WebAssembly"))?;
    let product = web_module::build(workspace)?;
    let built = watch.elapsed();
    // The whole workspace, as the step `test` selects it: then what they share is built once.
    let select = || {
        let arguments = ["test", "--locked", "--workspace", "--test", TEST];
        let mut command = process::cargo(workspace, &arguments);
        command.args(steps::FEATURES);
        command
    };
    process::run(select().arg("--no-run"))?;
    let command = || {
        let mut command = select();
        command
            .env(BROWSER, &browser)
            .env("POCKET_WEB_MODULE", &module)
            .env("POCKET_WEB_PRODUCT", &product)
            .arg("--")
            .args(options.only.as_deref());
        command
    };
    let listed = process::read(command().arg("--list"))?;
    let watch = Stopwatch::start();
    // One after the other: each starts a browser.
    let said = process::tee(command().args(["--test-threads=1", "--nocapture"]))?;
    let tests = all_ran(&listed, &said)?;
    println!(
        "web: {tests} tests in {}, none left out; the modules were built in {}",
        report::seconds(watch.elapsed()),
        report::seconds(built)
    );
    Ok(Done::Passed)
}

/// How many tests ran. Fails unless every test that was listed did: one that did nothing is no success.
fn all_ran(listed: &str, said: &str) -> Outcome<usize> {
    let listed = listed.lines().filter(|line| line.ends_with(": test"));
    let listed = listed.count();
    let passed: usize = said
        .lines()
        .filter_map(|line| {
            let counts = line.strip_prefix("test result: ok. ")?;
            counts.split_once(" passed")?.0.parse::<usize>().ok()
        })
        .sum();
    if said.contains("SKIPPED") || passed != listed || passed == 0 {
        return Err(format!("{listed} tests were to run, {passed} did").into());
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "tabs::two_tabs: test\ncases::every_case: test\n\n2 tests, 0 benchmarks\n";

    fn said(passed: usize, more: &str) -> String {
        format!("running 2 tests\n{more}test result: ok. {passed} passed; 0 failed; 0 ignored\n")
    }

    #[test]
    fn a_test_that_did_not_run_is_a_failure() {
        assert_eq!(all_ran(LISTED, &said(2, "")).unwrap(), 2);
        assert!(all_ran(LISTED, &said(1, "")).is_err());
        assert!(all_ran(LISTED, &said(2, "SKIPPED: no Chromium\n")).is_err());
        assert!(all_ran("0 tests, 0 benchmarks\n", &said(0, "")).is_err());
        assert!(all_ran(LISTED, "").is_err());
    }
}
