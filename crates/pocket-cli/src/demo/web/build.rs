//! Builds the application: its WebAssembly, the packages, and its pages.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::time::Instant;

use super::checkout::{self, Checkout};
use crate::codes;
use crate::failure::{Failure, Result};
use crate::output::{Output, counted};
use crate::progress;

/// As npm is called here.
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// What the WebAssembly is compiled for.
const TARGET: &str = "wasm32-unknown-unknown";

/// Lines of a step's output that are shown when it failed.
const LAST_LINES: usize = 30;

/// One program to run.
struct Step {
    /// What it does.
    what: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    directory: PathBuf,
}

/// Builds what is not there or not built from the sources as they are, and says where it is.
pub(super) async fn build(checkout: &Checkout, out: &Output) -> Result<PathBuf> {
    let assets = checkout.assets();
    let fingerprint = checkout.fingerprint()?;
    let is_whole = assets.join("index.html").is_file();
    if is_whole && checkout::is_built_from(&assets, &fingerprint) {
        return Ok(assets);
    }
    look_for_tools(checkout).await?;
    let began = Instant::now();
    out.note("building the application; the first time takes some minutes");
    let xtask = |what, arguments| Step {
        what,
        program: "cargo",
        arguments,
        directory: checkout.root().to_owned(),
    };
    run(&xtask("compiling to WebAssembly", &["xtask", "web"]), out).await?;
    let folders = &["xtask", "npm", checkout::PACKAGES, checkout::APPLICATION];
    run(&xtask("installing", folders), out).await?;
    for directory in [checkout.packages(), checkout.application()] {
        let building = Step {
            what: "building",
            program: NPM,
            arguments: &["run", "build"],
            directory,
        };
        run(&building, out).await?;
    }
    checkout::note_built_from(&assets, &fingerprint)?;
    let seconds = counted(began.elapsed().as_secs(), "second");
    out.note(format_args!("  built in {seconds}"));
    Ok(assets)
}

/// Fails with advice if a tool is missing.
async fn look_for_tools(checkout: &Checkout) -> Result {
    const INSTALL_NODE: &str = "install Node.js 20.19, 22.12 or newer, which brings npm (https://nodejs.org, or your system's packages)";
    let answer = |program, arguments: &'static [&'static str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(checkout.root());
        async move { first_line(command).await }
    };
    if answer(NPM, &["--version"]).await.is_none() {
        return Err(missing(format_args!(
            "npm builds the application, and is not here; {INSTALL_NODE}"
        )));
    }
    let node = answer("node", &["--version"]).await.unwrap_or_default();
    if !builds(&node) {
        return Err(missing(format_args!(
            "Node.js here is {node:?}; {INSTALL_NODE}"
        )));
    }
    if answer("cargo", &["--version"]).await.is_none() {
        return Err(missing(
            "cargo compiles the WebAssembly, and is not here; install Rust (https://rustup.rs)",
        ));
    }
    let libraries = answer("rustc", &["--print", "target-libdir", "--target", TARGET]).await;
    if libraries.is_none_or(|path| !Path::new(&path).is_dir()) {
        return Err(missing(format_args!(
            "Rust cannot compile for {TARGET} here; `rustup target add {TARGET}`"
        )));
    }
    Ok(())
}

fn missing(what: impl std::fmt::Display) -> Failure {
    Failure::new(codes::MISSING_TOOL, what)
}

/// What a program prints first, if it is there and does what it should.
async fn first_line(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(line)
}

/// Whether a version of Node.js, like `v20.20.2`, runs what builds the pages: Vite 8 says which do.
fn builds(version: &str) -> bool {
    let numbers = version.strip_prefix('v').unwrap_or_default();
    let mut numbers = numbers.split('.').map_while(|number| number.parse().ok());
    let version: (u32, u32) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    matches!(version, (20, 19..) | (22, 12..) | (23.., _))
}

/// Runs a step, and on a terminal shows for how long. What it says is told only when it fails.
async fn run(step: &Step, out: &Output) -> Result {
    out.note(format_args!("  {}: {step}", step.what));
    let mut command = Command::new(step.program);
    command
        .args(step.arguments)
        .current_dir(&step.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // npm and cargo run other programs, and those run more.
    #[cfg(unix)]
    command.process_group(0);
    let output = match command.spawn() {
        Ok(child) => {
            let family = Family::of(&child);
            let output = progress::of_time(out.is_json(), child.wait_with_output()).await;
            family.has_ended();
            output
        }
        Err(error) => Err(error),
    };
    let output = output.map_err(|error| missing(format_args!("cannot run {step}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    Err(Failure::new(
        codes::BUILD_FAILED,
        format_args!("{step} failed ({}); it said last:\n{last}", output.status),
    ))
}

/// A step with all that it began: all of it ends when this is dropped before the step has ended, as after a signal.
struct Family {
    #[cfg(unix)]
    group: Option<rustix::process::Pid>,
}

impl Family {
    #[cfg(unix)]
    fn of(child: &tokio::process::Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            group: id.and_then(rustix::process::Pid::from_raw),
        }
    }

    #[cfg(not(unix))]
    fn of(_child: &tokio::process::Child) -> Self {
        Self {}
    }

    /// What it left behind, it left behind on purpose.
    fn has_ended(self) {
        std::mem::forget(self);
    }
}

#[cfg(unix)]
impl Drop for Family {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Where that fails nobody is left.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{} {}`", self.program, self.arguments.join(" "))?;
        write!(f, " in {}", self.directory.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_of_node_do_not_build_and_newer_ones_do() {
        for version in ["v20.19.0", "v20.20.2", "v22.12.0", "v23.0.1", "v26.1.0"] {
            assert!(builds(version), "{version}");
        }
        for version in [
            "v18.19.1", "v20.18.3", "v21.7.0", "v22.11.0", "20.19.0", "v", "",
        ] {
            assert!(!builds(version), "{version}");
        }
    }
}
