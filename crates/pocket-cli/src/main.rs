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
mod held;
mod lines;
mod link;
mod open;
mod output;
mod progress;
mod retention;
mod rights;
mod settings;
mod signals;

use std::io::IsTerminal;
use std::process::ExitCode;

use args::{Arguments, Command};
use failure::{Failure, Result};
use output::Ends;

fn main() -> ExitCode {
    let arguments = match args::read() {
        Ok(arguments) => arguments,
        Err(status) => return ExitCode::from(status),
    };
    let as_json = matches!(&arguments.command, Command::Serve(serve) if serve.log_format == args::LogFormat::Json);
    log(arguments.global.verbose, as_json);
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

fn run(arguments: Arguments) -> Result {
    // Commands that run until they are told to end have done their work when they are.
    let endless = match &arguments.command {
        Command::Serve(_) | Command::Watch(_) => true,
        Command::Sync(sync) => !sync.once,
        _ => false,
    };
    let stop = signals::listen(u8::from(!endless))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))?;
    let outcome = runtime.block_on(async {
        let command = tokio::spawn(commands::run(arguments, stop));
        command.await
    });
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

fn log(verbose: u8, as_json: bool) {
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let all = if verbose > 1 {
        LevelFilter::DEBUG
    } else {
        LevelFilter::WARN
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if as_json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry()
        .with(lines)
        .with(
            Targets::new()
                .with_target("pocket", level)
                .with_default(all),
        )
        .init();
}
