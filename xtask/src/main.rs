//! The checks and chores of the Pocket workspace: `cargo xtask <command>`.
//!
//! `cargo xtask ci` is the project's test command; every other command is one of its steps, or the
//! same program with bigger numbers.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Outcome;
use crate::workspace::Workspace;

mod bench;
mod bench_web;
mod beside;
mod browser;
mod ci;
mod clock;
mod crash;
mod docs;
mod fuzz;
mod layers;
mod licences;
mod mutant_free;
mod npm;
mod package;
mod page;
mod process;
mod report;
mod sim;
mod sizes;
mod spdx;
mod steps;
mod wasm;
mod web;
mod web_module;
mod workspace;

/// The checks and chores of the Pocket workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold before a change is merged; prints a table of times.
    Ci(ci::Options),
    /// Who may depend on whom.
    Layers,
    /// Documents against the code they describe.
    Docs {
        /// Record that the pinned documents were read again and still describe their files.
        #[arg(long)]
        bless: bool,
    },
    /// Licences, sources and doubled crates, by the rules of deny.toml; needs no network.
    Licences,
    /// Whether each published crate packs cleanly.
    Package,
    /// Lists source files past 500 lines.
    Sizes,
    /// Compiles what a browser needs for wasm32, each crate alone.
    Wasm,
    /// Builds the WebAssembly module of the npm packages with its glue, and weighs it.
    Web,
    /// Installs what the npm lockfiles of folders name, unless that is there already.
    Npm { folders: Vec<String> },
    /// Runs what is for browsers in a real one: installs what that needs, builds, tests.
    TestWeb(web::Options),
    /// Whether no product binary contains a planted bug.
    MutantFree,
    /// Runs seeded histories of the whole system in the simulator.
    Sim(sim::Options),
    /// Kills and power losses against the durable backends.
    Crash(crash::Options),
    /// Runs the fuzz targets on nightly, each for a while.
    Fuzz(fuzz::Options),
    /// Measures, prints one table, and stores it in docs/benchmarks.md.
    Bench(bench::Options),
    /// Measures the npm packages in a browser, beside other databases, and stores the table in docs/benchmarks.md.
    BenchWeb(bench_web::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome {
    let workspace = Workspace::load()?;
    match command {
        Command::Ci(options) => ci::run(&workspace, &options),
        Command::Layers => layers::run(&workspace),
        Command::Docs { bless } => docs::run(&workspace, bless),
        Command::Licences => licences::run(&workspace),
        Command::Package => package::run(&workspace),
        Command::Sizes => sizes::run(&workspace),
        Command::Wasm => wasm::run(&workspace).map(drop),
        Command::Web => web_module::run(&workspace),
        Command::Npm { folders } => npm::install_all(&workspace, &folders),
        Command::TestWeb(options) => web::command(&workspace, &options),
        Command::MutantFree => mutant_free::run(&workspace),
        Command::Sim(options) => sim::run(&workspace, &options),
        Command::Crash(options) => crash::run(&workspace, &options),
        Command::Fuzz(options) => fuzz::run(&workspace, &options),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::BenchWeb(options) => bench_web::run(&workspace, &options),
    }
}
