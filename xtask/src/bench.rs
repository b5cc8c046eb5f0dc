//! Runs the measurements and stores their table with machine, date and commit.

use std::process::Command;

use crate::clock;
use crate::process;
use crate::report::Outcome;
use crate::workspace::Workspace;

const DOCUMENT: &str = "docs/benchmarks.md";

/// The lines between which stored figures stand; what is written around them stays.
pub(crate) struct Marks {
    begin: &'static str,
    end: &'static str,
}

const NATIVE: Marks = Marks {
    begin: "<!-- measured: begin (written by `cargo xtask bench`) -->",
    end: "<!-- measured: end -->",
};

/// Those of `cargo xtask bench-web`.
pub(crate) const IN_A_BROWSER: Marks = Marks {
    begin: "<!-- measured in a browser: begin (written by `cargo xtask bench-web`) -->",
    end: "<!-- measured in a browser: end -->",
};

/// What to measure and how to print it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Print one JSON document instead of the table; nothing is stored.
    #[arg(long)]
    json: bool,
    /// Fewer runs of less, to see that everything works; nothing is stored.
    #[arg(long)]
    quick: bool,
    /// More arguments for the measuring program.
    #[arg(last = true)]
    more: Vec<String>,
}

/// Measures; a full run is stored in `docs/benchmarks.md`.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Outcome {
    let mut command = process::cargo(
        workspace,
        &[
            "run",
            "--release",
            "--locked",
            "--package",
            "pocket-bench",
            "--features",
            "sqlite",
            "--",
        ],
    );
    command.args(options.json.then_some("--json"));
    command.args(options.quick.then_some("--quick"));
    let table = process::tee(command.args(&options.more))?;
    if options.json || options.quick || !options.more.is_empty() {
        eprintln!("bench: not stored; only a full run as a table goes to {DOCUMENT}");
        return Ok(());
    }
    store(workspace, &NATIVE, "", &table)
}

/// Stores a table in the document, with what it was measured on.
pub(crate) fn store(workspace: &Workspace, marks: &Marks, with: &str, table: &str) -> Outcome {
    let before = workspace
        .text(DOCUMENT)
        .unwrap_or_else(|| "# Benchmarks\n".to_owned());
    let mut circumstances = circumstances(workspace);
    if !with.is_empty() {
        circumstances = format!("{circumstances} {with}.");
    }
    let after = stored(&before, marks, &circumstances, table)?;
    std::fs::write(workspace.root.join(DOCUMENT), after)
        .map_err(|error| format!("cannot write {DOCUMENT}: {error}"))?;
    eprintln!("bench: stored in {DOCUMENT}");
    Ok(())
}

/// The document with new figures between its marks, or with marks and figures at its end.
fn stored(document: &str, marks: &Marks, circumstances: &str, table: &str) -> Outcome<String> {
    if table.trim().is_empty() {
        return Err("no table was printed".to_owned().into());
    }
    let Marks { begin, end } = marks;
    let block = format!("{begin}\n\n{circumstances}\n\n{}\n\n{end}", table.trim());
    let Some((before, rest)) = document.split_once(begin) else {
        return Ok(format!("{}\n\n{block}\n", document.trim_end()));
    };
    let (_, after) = rest
        .split_once(end)
        .ok_or_else(|| format!("{DOCUMENT} has the line `{begin}` but not `{end}`"))?;
    Ok(format!("{before}{block}{after}"))
}

/// When, where and on what was measured: a figure without them says nothing.
fn circumstances(workspace: &Workspace) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let asked = |program: &str, arguments: &[&str]| {
        let mut command: Command = process::program_in(workspace, program, arguments);
        let answer = process::read(&mut command).ok();
        answer.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
    };
    let changed = !asked("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    format!(
        "Measured on {date} at commit {commit}{changed} with {rustc}, on {cpu} ({cores} cores, \
         {memory} of memory), {system}.",
        date = clock::today(),
        commit = asked("git", &["rev-parse", "--short=12", "HEAD"]),
        changed = if changed { " with changes" } else { "" },
        rustc = asked("rustc", &["--version"]),
        cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unnamed processor".into()),
        memory = field("/proc/meminfo", "MemTotal")
            .and_then(|text| gibibytes(&text))
            .unwrap_or_else(|| "an unknown amount".into()),
        system = asked("uname", &["-sr"]),
    )
}

/// The value of the first line `name : value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `16314372 kB` as `15.6 GiB`.
fn gibibytes(text: &str) -> Option<String> {
    let kibibytes: u64 = text.strip_suffix("kB")?.trim().parse().ok()?;
    let tenths = kibibytes * 10 / (1 << 20);
    Some(format!("{}.{} GiB", tenths / 10, tenths % 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_replace_the_former_ones_and_leave_the_rest() {
        let first = stored("# Benchmarks\n\nWhy.\n", &NATIVE, "Then.", "| a |\n").expect("good");
        let text = first.replace(
            NATIVE.end,
            &format!("{}\n\nWhat holds it back.", NATIVE.end),
        );
        let second = stored(&text, &NATIVE, "Now.", "| b |\n").expect("good");
        assert!(second.contains("Why.") && second.contains("What holds it back."));
        assert!(second.contains("Now.\n\n| b |") && !second.contains("| a |"));
        let both = stored(&second, &IN_A_BROWSER, "There.", "| c |\n").expect("good");
        assert!(both.contains("| b |") && both.contains("There.\n\n| c |"));
    }

    #[test]
    fn no_table_and_a_lost_end_mark_fail() {
        assert!(stored("# Benchmarks\n", &NATIVE, "Now.", "\n").is_err());
        let text = format!("{}\n", NATIVE.begin);
        assert!(stored(&text, &NATIVE, "Now.", "| a |\n").is_err());
    }

    #[test]
    fn memory_is_told_in_gibibytes() {
        assert_eq!(gibibytes("16314372 kB").as_deref(), Some("15.5 GiB"));
    }
}
