//! `pocket completions` and `pocket man`, made from the definition of the command line.

use std::fs;
use std::path::Path;

use crate::args::{CompletionsArgs, ManArgs};
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Prints a script that lets a shell complete commands and options.
pub(super) fn run(args: &CompletionsArgs, out: &mut Output) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::args::command(),
        "pocket",
        &mut script,
    );
    out.bytes(&script)
}

/// Prints the manual page of the program, or writes those of all commands into a directory.
pub(super) fn man(args: &ManArgs, out: &mut Output) -> Result {
    let Some(directory) = &args.directory else {
        return out.bytes(&page(&crate::args::command())?);
    };
    fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
    let mut all = without_help(crate::args::command());
    all.build();
    pages(directory, "pocket", &all)
}

/// Without the commands `help`, which have no pages.
fn without_help(command: clap::Command) -> clap::Command {
    let command = command.mut_subcommands(without_help);
    command.disable_help_subcommand(true)
}

/// Writes the page of a command, and those of the commands below it, which it refers to.
fn pages(directory: &Path, name: &str, command: &clap::Command) -> Result {
    write(directory, name, &command.clone().display_name(name))?;
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        pages(directory, &format!("{name}-{}", below.get_name()), below)?;
    }
    Ok(())
}

fn write(directory: &Path, name: &str, command: &clap::Command) -> Result {
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page(command)?).map_err(|error| cannot_write(&path, &error))
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let made = clap_mangen::Man::new(command.clone()).render(&mut page);
    made.map_err(|error| Failure::io("cannot make the page", &error))?;
    Ok(page)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(format!("cannot write {}", path.display()), error)
}
