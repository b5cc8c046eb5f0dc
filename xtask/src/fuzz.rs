//! Runs the fuzz targets of `fuzz/` on nightly, each for a while.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::process;
use crate::report::Outcome;
use crate::workspace::Workspace;

/// Where the targets are: a workspace of its own.
const FOLDER: &str = "fuzz";

/// The last lines of a target that failed, as many as tell why.
const SHOWN: usize = 60;

/// What to run, and how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only this target; may be given more than once.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
}

/// Runs each target from its seeds on, and prints a table; fails at the first input that one does not bear.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    let all = targets(workspace)?;
    if let Some(unknown) = options.target.iter().find(|name| !all.contains(name)) {
        return Err(format!("there is no fuzz target {unknown}, only {}", all.join(", ")).into());
    }
    if process::capture(&mut nightly(workspace, &["fuzz", "--version"])).is_err() {
        let advice = "fuzzing needs nightly and cargo-fuzz: `rustup toolchain install nightly && \
                      cargo install --locked cargo-fuzz`";
        return Err(advice.to_owned().into());
    }
    let seeds = ["run", "--locked", "--quiet", "--package", "pocket-fuzz"];
    let mut seeds = process::cargo(workspace, &seeds);
    process::run(seeds.args(["--bin", "write-seeds", "--", "fuzz/corpus"]))?;
    let mut rows = Vec::new();
    for name in all {
        if options.target.is_empty() || options.target.contains(&name) {
            let seen = fuzz(workspace, &name, options.seconds)?;
            rows.push(format!(
                "{name:<16} {:>12} executions {:>8} a second {:>7} edges",
                seen.executions,
                seen.executions / options.seconds.max(1),
                seen.edges
            ));
        }
    }
    println!("fuzz: {} seconds each, nothing found", options.seconds);
    for row in rows {
        println!("{row}");
    }
    Ok(())
}

/// The names of the targets.
fn targets(workspace: &Workspace) -> Outcome<Vec<String>> {
    let folder = workspace.root.join(FOLDER).join("fuzz_targets");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_suffix(".rs")?.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Cargo of the nightly toolchain, which alone can build with what libFuzzer needs.
fn nightly(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = process::program_in(workspace, "rustup", &["run", "nightly", "cargo"]);
    // Those of the toolchain that runs this would be taken for nightly's.
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"] {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// What libFuzzer said of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    executions: u64,
    edges: u64,
}

impl Seen {
    /// Takes what a line tells, if it tells anything.
    fn take(&mut self, line: &str) {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = count.trim().parse().unwrap_or(self.executions);
        } else if line.starts_with('#')
            && let Some((_, rest)) = line.split_once("cov: ")
        {
            let edges = rest.split_whitespace().next();
            self.edges = edges
                .and_then(|edges| edges.parse().ok())
                .unwrap_or(self.edges);
        }
    }
}

fn fuzz(workspace: &Workspace, name: &str, seconds: u64) -> Outcome<Seen> {
    let mut command = nightly(
        workspace,
        &["fuzz", "run", "--fuzz-dir", FOLDER, name, "--"],
    );
    command.arg(format!("-max_total_time={seconds}"));
    command.args(["-print_final_stats=1", "-rss_limit_mb=2048", "-timeout=60"]);
    println!("fuzz: {name} for {seconds} s, and the build before it");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start rustup: {error}"))?;
    let pipe = child
        .stderr
        .take()
        .ok_or_else(|| "rustup has no stderr".to_owned())?;
    let (mut seen, mut last) = (Seen::default(), std::collections::VecDeque::new());
    for line in BufReader::new(pipe).split(b'\n') {
        let line = line.map_err(|error| format!("cannot read from {name}: {error}"))?;
        let line = String::from_utf8_lossy(&line).into_owned();
        seen.take(&line);
        if last.len() == SHOWN {
            last.pop_front();
        }
        last.push_back(line);
    }
    let status = child
        .wait()
        .map_err(|error| format!("lost {name}: {error}"))?;
    if !status.success() {
        let last: Vec<String> = last.into();
        return Err(format!(
            "{name} ended with {status}; an input that it does not bear belongs into \
             testing/pocket-fuzz/regressions/{name}/\n{}",
            last.join("\n")
        )
        .into());
    }
    if seen.executions == 0 {
        return Err(format!("{name} executed nothing").into());
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_run_are_read_from_what_it_prints() {
        let mut seen = Seen::default();
        for line in [
            "INFO: Loaded 1 modules   (150221 inline 8-bit counters)",
            "#2\tINITED cov: 311 ft: 312 corp: 1/1b exec/s: 0 rss: 41Mb",
            "#65536\tpulse  cov: 942 ft: 3001 corp: 71/2Kb lim: 652 exec/s: 32768 rss: 77Mb",
            "#70000\tDONE   cov: 950 ft: 3010 corp: 72/2Kb lim: 652 exec/s: 33000 rss: 77Mb",
            "stat::number_of_executed_units: 70000",
            "stat::average_exec_per_sec:     33000",
        ] {
            seen.take(line);
        }
        assert_eq!(seen.executions, 70_000);
        assert_eq!(seen.edges, 950);
    }
}
