//! The steps of `cargo xtask ci`, in the order they run: what is quick and likely to fail first.

use std::collections::BTreeSet;

use crate::process;
use crate::report::{Outcome, Problems};
use crate::workspace::Workspace;
use crate::{docs, layers, licences, mutant_free, package, page, sim, sizes, wasm, web};

/// How a step that did not fail ended.
pub(crate) enum Done {
    /// It held.
    Passed,
    /// It cannot run on this machine; why, and what to do.
    Skipped(String),
}

/// One step.
pub(crate) struct Step {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    /// What it makes sure of.
    pub(crate) about: &'static str,
    /// Does it.
    pub(crate) run: fn(&Workspace) -> Outcome<Done>,
}

/// What is off by default and has tests.
pub(crate) const FEATURES: [&str; 2] = ["--features", "pocket-cli/otel"];

/// All steps. Builds are shared: `test`, `doctest` and `e2e` select the whole workspace and so meet
/// the same features; `demo`, `e2e`, `page` and `mutant-free` use the one release build of the product.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fetch",
        about: "Cargo.lock is up to date, and its crates are here",
        run: |workspace| cargo(workspace, &["fetch", "--locked"]),
    },
    Step {
        name: "fmt",
        about: "the code is formatted",
        run: |workspace| {
            cargo(
                workspace,
                &["fmt", "--all", "--check", "--", "--color=never"],
            )
        },
    },
    Step {
        name: "layers",
        about: "each crate depends only downward",
        run: |workspace| layers::run(workspace).map(|()| Done::Passed),
    },
    Step {
        name: "docs",
        about: "documents fit the code they describe",
        run: |workspace| docs::run(workspace, false).map(|()| Done::Passed),
    },
    Step {
        name: "sizes",
        about: "lists source files past 500 lines",
        run: |workspace| sizes::run(workspace).map(|()| Done::Passed),
    },
    Step {
        name: "licences",
        about: "licences, sources and doubled crates are those of deny.toml",
        run: |workspace| licences::run(workspace).map(|()| Done::Passed),
    },
    Step {
        name: "package",
        about: "each published crate packs cleanly",
        run: |workspace| package::run(workspace).map(|()| Done::Passed),
    },
    Step {
        name: "clippy",
        about: "no lint complains, with and without all features",
        run: clippy,
    },
    Step {
        name: "wasm",
        about: "what a browser needs compiles for wasm32, and no lint complains",
        run: wasm::run,
    },
    Step {
        name: "test",
        about: "unit and integration tests",
        run: test,
    },
    Step {
        name: "doctest",
        about: "examples in the documentation",
        run: doctest,
    },
    Step {
        name: "doc",
        about: "the documentation builds without a warning",
        run: doc,
    },
    Step {
        name: "product",
        about: "the release build of the product",
        run: |workspace| product(workspace).map(|_| Done::Passed),
    },
    Step {
        name: "demo",
        about: "the README's demo",
        run: demo,
    },
    Step {
        name: "e2e",
        about: "real processes over real sockets, killed at random",
        run: e2e,
    },
    Step {
        name: "page",
        about: "the server's page for people in a headless browser, with pictures in target/screenshots",
        run: page::run,
    },
    Step {
        name: "web",
        about: "what is for browsers, in a headless one: windows, workers, tabs, crashes; and how large it is",
        run: web::step,
    },
    Step {
        name: "sim",
        about: "12,000 simulated histories",
        run: |workspace| {
            sim::histories(workspace, sim::HISTORIES_IN_CI, 1, &[]).map(|()| Done::Passed)
        },
    },
    Step {
        name: "mutants",
        about: "the simulator catches every planted bug",
        run: |workspace| sim::mutants(workspace, &[]).map(|()| Done::Passed),
    },
    Step {
        name: "mutant-free",
        about: "no product contains a planted bug",
        run: |workspace| mutant_free::run(workspace).map(|()| Done::Passed),
    },
];

/// The package whose tests drive the real binary.
const END_TO_END: &str = "pocket-e2e";

/// The one of them that needs a browser, and is a step of its own.
pub(crate) const PAGE: &str = "page";

/// The one whose servers and devices are in its own process. They wait for heartbeats and deadlines, and so do it together.
const IN_PROCESS: &str = "fifteen";

/// Whether nobody watches: then a check that cannot run is a failure.
pub(crate) fn is_strict() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Outcome<Done> {
    process::run(&mut process::cargo(workspace, arguments))?;
    Ok(Done::Passed)
}

fn clippy(workspace: &Workspace) -> Outcome<Done> {
    let common = ["clippy", "--locked", "--workspace", "--all-targets"];
    for more in [&[][..], &["--all-features"]] {
        let mut command = process::cargo(workspace, &common);
        process::run(command.args(more).args(["--", "-D", "warnings"]))?;
    }
    Ok(Done::Passed)
}

/// All tests but those that are steps of their own: the end-to-end ones need the release build, others a browser.
fn test(workspace: &Workspace) -> Outcome<Done> {
    const APART: [&str; 2] = [END_TO_END, web::DRIVER];
    let mut apart: BTreeSet<&str> = BTreeSet::new();
    for name in APART {
        apart.extend(workspace.member(name)?.targets_of("test"));
    }
    let others = workspace
        .members
        .iter()
        .filter(|package| !APART.contains(&package.name.as_str()));
    let names: BTreeSet<&str> = others
        .flat_map(|package| package.targets_of("test"))
        .collect();
    if let Some(name) = names.intersection(&apart).next() {
        return Err(format!(
            "a test file `{name}` exists in {} and elsewhere; rename one, so that they can run apart",
            APART.join(" or ")
        )
        .into());
    }
    // Every target but theirs. `--exclude` would do too, but then other features of shared crates
    // are chosen, and everything is built twice.
    let mut command = process::cargo(
        workspace,
        &[
            "test",
            "--locked",
            "--workspace",
            "--no-fail-fast",
            FEATURES[0],
            FEATURES[1],
            "--lib",
            "--bins",
            "--examples",
        ],
    );
    for name in names {
        command.args(["--test", name]);
    }
    process::run(&mut command)?;
    Ok(Done::Passed)
}

fn doctest(workspace: &Workspace) -> Outcome<Done> {
    let mut command = process::cargo(workspace, &["test", "--locked", "--workspace", "--doc"]);
    process::run(command.args(FEATURES))?;
    Ok(Done::Passed)
}

fn doc(workspace: &Workspace) -> Outcome<Done> {
    let arguments = ["doc", "--locked", "--workspace", "--no-deps"];
    process::run(process::cargo(workspace, &arguments).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Done::Passed)
}

/// What builds the product.
pub(crate) const PRODUCT: [&str; 4] = ["--release", "--locked", "--package", "pocket-cli"];

/// Builds the product and returns the path of `pocket`.
pub(crate) fn product(workspace: &Workspace) -> Outcome<std::path::PathBuf> {
    let built = process::build(workspace, &PRODUCT)?;
    let pocket = built.into_iter().find(|(name, _)| name == "pocket");
    let (_, path) =
        pocket.ok_or_else(|| "the package pocket-cli has no binary `pocket`".to_owned())?;
    Ok(path)
}

/// The command as the README has it.
fn demo(workspace: &Workspace) -> Outcome<Done> {
    cargo(
        workspace,
        &["run", "--release", "-p", "pocket-cli", "--", "demo"],
    )
}

fn e2e(workspace: &Workspace) -> Outcome<Done> {
    let pocket = product(workspace)?;
    let names: Vec<&str> = workspace.member(END_TO_END)?.targets_of("test").collect();
    let run = |chosen: &dyn Fn(&str) -> bool, threads: &str| {
        let chosen: Vec<&str> = names.iter().copied().filter(|name| chosen(name)).collect();
        if chosen.is_empty() {
            return Err(Problems::from(format!("{END_TO_END} lacks a test")));
        }
        let mut command = process::cargo(workspace, &["test", "--locked", "--workspace"]);
        command.args(FEATURES);
        for name in chosen {
            command.args(["--test", name]);
        }
        command.env("POCKET_BIN", &pocket);
        process::run(command.args(["--", "--test-threads", threads]))
    };
    run(&|name| name == IN_PROCESS, "8")?;
    // One after the other: each starts several processes and measures what they do.
    run(&|name| name != IN_PROCESS && name != PAGE, "1")?;
    Ok(Done::Passed)
}
