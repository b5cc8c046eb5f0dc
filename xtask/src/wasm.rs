//! What a browser needs compiles for wasm32, each crate alone.

use std::process::Command;

use crate::process;
use crate::report::Outcome;
use crate::steps::Done;
use crate::workspace::Workspace;

/// What browsers run.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Alone, because features that another crate turns on could hide what this one lacks.
const CRATES: &[&str] = &[
    "pocket-storage",
    "pocket-storage-memory",
    "pocket-storage-indexeddb",
    "pocket-core",
    "pocket-sync-protocol",
    "pocket-sync-client",
    "pocket-sync-server",
    "pocket-sim",
];

/// What exists for browsers alone, so that no other step reads its code.
const BROWSER_ONLY: &[&str] = &["pocket-storage-indexeddb", "pocket-web", "pocket-web-tests"];

/// What has code for browsers beside that for other targets.
const BROWSER_TOO: &[&str] = &["pocket-core", "pocket-sync-client"];

/// Checks each crate with its default features; those with code for browsers alone with every lint, and
/// the documentation of what is for them alone.
pub(crate) fn run(workspace: &Workspace) -> Outcome<Done> {
    if let Some(reason) = missing(workspace)? {
        return Ok(Done::Skipped(reason));
    }
    for name in CRATES {
        workspace.member(name)?;
        let arguments = ["check", "--locked", "--target", TARGET, "--package", name];
        process::run(&mut process::cargo(workspace, &arguments))?;
    }
    for name in BROWSER_ONLY.iter().chain(BROWSER_TOO) {
        workspace.member(name)?;
        let arguments = ["clippy", "--locked", "--target", TARGET, "--package", name];
        let mut command = process::cargo(workspace, &arguments);
        // What it depends on is read where it is named itself.
        command.arg("--no-deps");
        process::run(command.args(["--", "-D", "warnings"]))?;
    }
    let arguments = ["doc", "--locked", "--target", TARGET, "--no-deps"];
    let mut command = process::cargo(workspace, &arguments);
    let published = workspace.published().map(|package| package.name.as_str());
    for name in published.filter(|name| BROWSER_ONLY.contains(name)) {
        command.args(["--package", name]);
    }
    process::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Done::Passed)
}

/// Installs the target if it is not there; why not, if that fails.
pub(crate) fn missing(workspace: &Workspace) -> Outcome<Option<String>> {
    if is_installed()? {
        return Ok(None);
    }
    let mut rustup = process::program_in(workspace, "rustup", &["target", "add", TARGET]);
    Ok(process::run(&mut rustup).err().map(|problems| {
        format!(
            "the target {TARGET} is not installed and could not be ({problems}); \
             run `rustup target add {TARGET}`"
        )
    }))
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
