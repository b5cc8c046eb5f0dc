//! What runs in browsers, in a real one: `cargo xtask test-web`, and the step `web`.

use std::path::{Path, PathBuf};

use crate::browser::{self, BROWSER};
use crate::clock::Stopwatch;
use crate::process;
use crate::report::{self, Outcome};
use crate::steps::{self, Done};
use crate::workspace::Workspace;
use crate::{npm, wasm, web_module};

/// The package whose test file drives the browser, and that file.
pub(crate) const DRIVER: &str = "pocket-browser";
pub(crate) const TEST: &str = "web";

/// The package with what runs inside.
const MODULE: &str = "pocket-web-tests";

/// The npm packages, and pages that are bundled with them: in this order, each needs those before it.
const PACKAGES: &str = "packages";
const PAGES: [&str; 2] = ["testing/pocket-browser/pages", EXAMPLE];
const EXAMPLE: &str = "examples/todo-react";

/// What the tests of the npm packages are called, for a machine without npm.
const OF_PACKAGES: &str = "packages::";

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
    let without_npm = npm::missing(workspace, install);
    let product = web_module::build(workspace)?;
    if without_npm.is_none() {
        packages(workspace)?;
        // Whoever names tests wants those.
        if options.only.is_none() {
            in_node(workspace)?;
        }
    }
    let packed = watch.elapsed();
    let mut arguments = vec!["--locked", "--target", wasm::TARGET, "--package", MODULE];
    if options.release {
        arguments.push("--release");
    }
    let module = process::build_modules(workspace, &arguments)?.pop();
    let module = module.ok_or_else(|| format!("{MODULE} makes no WebAssembly"))?;
    // The whole workspace, as the step `test` selects it: then what they share is built once.
    let select = || {
        let arguments = ["test", "--locked", "--workspace", "--test", TEST];
        let mut command = process::cargo(workspace, &arguments);
        command.args(steps::FEATURES);
        command
    };
    process::run(select().arg("--no-run"))?;
    let built = watch.elapsed();
    let command = || {
        let mut command = select();
        command
            .env(BROWSER, &browser)
            .env("POCKET_WEB_MODULE", &module)
            .env("POCKET_WEB_PRODUCT", &product)
            .arg("--")
            .args(options.only.as_deref());
        if without_npm.is_some() {
            command.args(["--skip", OF_PACKAGES]);
        }
        command
    };
    let listed = process::read(command().arg("--list"))?;
    let watch = Stopwatch::start();
    // One after the other: each starts a browser.
    let said = process::tee(command().args(["--test-threads=1", "--nocapture"]))?;
    let tests = all_ran(&listed, &said)?;
    println!(
        "web: {tests} tests in {}; built in {}, of it the npm packages, with their checks in Node, in {}",
        report::seconds(watch.elapsed()),
        report::seconds(built),
        report::seconds(packed)
    );
    Ok(match without_npm {
        None => Done::Passed,
        Some(reason) => Done::Skipped(format!("the tests of the npm packages: {reason}")),
    })
}

/// Builds the npm packages, and the pages that are bundled with them; their WebAssembly is there.
pub(crate) fn packages(workspace: &Workspace) -> Outcome {
    npm::install(workspace, PACKAGES)?;
    npm::script(workspace, PACKAGES, "build")?;
    let modules = modules(&workspace.root.join(PACKAGES));
    if modules.len() != 1 {
        let problem = format!("the npm packages are to hold one WebAssembly module: {modules:?}");
        return Err(problem.into());
    }
    for folder in PAGES {
        npm::install(workspace, folder)?;
        npm::script(workspace, folder, "build")?;
    }
    Ok(())
}

/// What of the npm packages needs no browser: types, also those of the snippets in documents, tests, documentation.
fn in_node(workspace: &Workspace) -> Outcome {
    npm::script(workspace, PACKAGES, "typecheck")?;
    // Without the server of a real binary some tests would be left out.
    let pocket = steps::product(workspace)?;
    let mut tests = npm::script_of(workspace, PACKAGES, "test");
    process::run(tests.env("POCKET_BIN", pocket))?;
    npm::script(workspace, PACKAGES, "docs")?;
    npm::script(workspace, EXAMPLE, "test")
}

/// Every WebAssembly module below a directory that is not somebody else's.
fn modules(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let of_path = |path: PathBuf| {
        // What npm linked leads to folders that are looked at anyway.
        if path.is_dir() && !path.is_symlink() {
            let is_foreign = path.ends_with("node_modules");
            return if is_foreign {
                Vec::new()
            } else {
                modules(&path)
            };
        }
        let is_module = path.extension().is_some_and(|kind| kind == "wasm");
        if is_module { vec![path] } else { Vec::new() }
    };
    paths.flat_map(of_path).collect()
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

    #[test]
    fn a_second_module_is_found_wherever_it_lies() {
        let base = std::env::temp_dir().join(format!("pocket-web-{}", std::process::id()));
        for at in [
            "core/dist/wasm/one.wasm",
            "sync/two.wasm",
            "node_modules/x/not.wasm",
        ] {
            let path = base.join(at);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let mut found = modules(&base);
        found.sort();
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(
            found,
            ["core/dist/wasm/one.wasm", "sync/two.wasm"].map(|at| base.join(at))
        );
    }

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
