//! What a browser needs compiles for wasm32, each crate alone.

use std::process::Command;

use crate::process;
use crate::report::Outcome;
use crate::steps::Done;
use crate::workspace::Workspace;

const TARGET: &str = "wasm32-unknown-unknown";

/// Alone, because features that another crate turns on could hide what this one lacks.
const CRATES: &[&str] = &[
    "pocket-storage",
    "pocket-storage-memory",
    "pocket-core",
    "pocket-sync-protocol",
    "pocket-sync-client",
];

/// Checks each crate with its default features.
pub(crate) fn run(workspace: &Workspace) -> Outcome<Done> {
    if !is_installed()? {
        let mut rustup = process::program_in(workspace, "rustup", &["target", "add", TARGET]);
        if let Err(problems) = process::run(&mut rustup) {
            return Ok(Done::Skipped(format!(
                "the target {TARGET} is not installed and could not be ({problems}); \
                 run `rustup target add {TARGET}`"
            )));
        }
    }
    for name in CRATES {
        workspace.member(name)?;
        let arguments = ["check", "--locked", "--target", TARGET, "--package", name];
        process::run(&mut process::cargo(workspace, &arguments))?;
    }
    Ok(Done::Passed)
}

/// Whether the compiler in use has the target's standard library.
fn is_installed() -> Outcome<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries =
        process::read(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]))?;
    let mut files = std::fs::read_dir(libraries.trim())
        .into_iter()
        .flatten()
        .flatten();
    Ok(files.any(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
}
