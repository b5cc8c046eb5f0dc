//! The WebAssembly module of the npm packages: built, bound and weighed.

use std::path::PathBuf;
use std::process::Command;

use crate::process;
use crate::report::Outcome;
use crate::wasm;
use crate::workspace::Workspace;

/// The package it is made of.
const PACKAGE: &str = "pocket-web";

/// The profile in which it is small.
const PROFILE: &str = "web";

/// The rounds of SHA-256 as a loop: written out they were 7 kB of the module, for sums over documents of some hundred bytes.
const SMALL: [&str; 2] = [
    "--config",
    r#"target.wasm32-unknown-unknown.rustflags=['--cfg', 'sha2_backend_soft="compact"']"#,
];

/// What makes the glue. It is no part of this program, which then would take a minute more to build.
const BINDINGS: &str = "pocket-bindings";

/// Where the packages expect it.
const DIRECTORY: &str = "packages/core/dist/wasm";

/// Bytes that a browser has to download for it at the most, compressed, glue and all: what it has, and a little. It is to
/// fall, to [`GOAL`].
const BUDGET: usize = 685_000;

/// What it is to become.
const GOAL: usize = 200_000;

/// The command.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    if let Some(reason) = wasm::missing(workspace)? {
        return Err(reason.into());
    }
    build(workspace).map(drop)
}

/// What builds the module itself.
pub(crate) fn arguments() -> Vec<&'static str> {
    let arguments = ["--locked", "--target", wasm::TARGET, "--package", PACKAGE];
    [&arguments[..], &["--profile", PROFILE], &SMALL].concat()
}

/// Builds it and gives the directory with all its files. Fails when it is over the budget.
pub(crate) fn build(workspace: &Workspace) -> Outcome<PathBuf> {
    let modules = process::build_modules(workspace, &arguments())?;
    let module = modules
        .last()
        .ok_or_else(|| format!("{PACKAGE} makes no WebAssembly"))?;
    // The whole workspace, as the step `test` selects it: then what they share is built once.
    let tools = process::build(workspace, &["--locked", "--workspace", "--bin", BINDINGS])?;
    let tool = tools.iter().find(|(name, _)| name == BINDINGS);
    let (_, tool) = tool.ok_or_else(|| format!("there is no program `{BINDINGS}`"))?;
    let directory = workspace.root.join(DIRECTORY);
    let mut bind = Command::new(tool);
    bind.arg(module).arg(&directory).arg(BUDGET.to_string());
    process::run(&mut bind)?;
    if BUDGET > GOAL {
        eprintln!(
            "warning: the goal is {GOAL} bytes; the budget of {BUDGET} keeps it from growing until then"
        );
    }
    Ok(directory)
}
