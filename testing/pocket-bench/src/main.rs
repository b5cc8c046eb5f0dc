#![doc = include_str!("../README.md")]
#![allow(clippy::cast_precision_loss, reason = "figures are far below 2^52")]

mod audience;
mod bare;
mod child;
mod collections;
mod documents;
mod figure;
mod fill;
mod light;
mod machine;
mod plan;
mod pocket;
mod recorder;
mod roles;
mod rows;
mod table;
mod tap;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use crate::plan::{Options, Plan};

/// What a measurement ends with: the first thing that went wrong ends the run.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Outcome<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if let Some(role) = &options.role {
        runtime.block_on(roles::play(role))?;
        return Ok(String::new());
    }
    let plan = Plan::new(options)?;
    let measured = runtime.block_on(rows::all(&plan))?;
    let report = table::Report::new(&plan, measured);
    if options.json {
        Ok(serde_json::to_string_pretty(&report)? + "\n")
    } else {
        Ok(report.to_string())
    }
}
