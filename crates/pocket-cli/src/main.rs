#![doc = include_str!("../README.md")]

mod archive;
mod args;
mod codes;
mod commands;
mod demo;
mod directory;
mod documents;
mod failure;
mod gate;
mod hang_up;
mod held;
mod limits;
mod lines;
mod link;
mod new_file;
mod open;
mod output;
mod progress;
mod reload;
mod retention;
mod rights;
mod settings;
mod signals;
mod telemetry;
mod tokens;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use args::{Arguments, Command};
use failure::{Failure, Result};
use output::Ends;
use signals::Manners;
use telemetry::Telemetry;

fn main() -> ExitCode {
    quiet_contained_panics();
    let arguments = match args::read() {
        Ok(arguments) => arguments,
        Err(status) => return ExitCode::from(status),
    };
    let json = arguments.global.json;
    let status = match run(arguments) {
        Ok(()) => 0,
        Err(failure) => {
            failure.tell(&Ends::Process, json);
            failure.status()
        }
    };
    ExitCode::from(status)
}

/// Storage engines panic on damage that they did not expect. What becomes an error is told as that, and only that.
fn quiet_contained_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !pocket_storage::blocking::contains_panics() {
            print(panic);
        }
    }));
}

fn run(arguments: Arguments) -> Result {
    // Commands that run until they are told to end have done their work when they are.
    let endless = commands::is_endless(&arguments.command);
    let stop = signals::listen(Manners {
        late: u8::from(!endless),
        // A server has a use of its own for it.
        hangs_up: !matches!(arguments.command, Command::Serve(_)),
        has_prompt: matches!(arguments.command, Command::Shell(_)) && io::stdin().is_terminal(),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))?;
    let telemetry = Telemetry::begin(&arguments, runtime.handle())?;
    let outcome = runtime.block_on(async {
        let command = tokio::spawn(commands::run(arguments, stop));
        command.await
    });
    telemetry.end();
    // A thread may still wait for a line from stdin that never comes.
    runtime.shutdown_background();
    match outcome {
        Ok(result) => result,
        Err(error) => Err(Failure::new(
            codes::IO,
            format!("the command broke off: {error}"),
        )),
    }
}
