//! `pocket shell`: commands on one database, line by line.
//!
//! A line is a command line, read by the same definition. The database is opened once and held: lines run as commands of
//! other processes do that are passed on to it. Where another process holds it, each line is passed on to that one.

mod complete;
mod history;
mod prompt;
mod session;

use std::io::{self, IsTerminal};
use std::pin::Pin;

use tokio::sync::watch;

use self::prompt::{Prompt, Said};
use self::session::{Next, Session};
use crate::args::{Global, ShellArgs};
use crate::failure::{Failure, Result};
use crate::lines::MAX_LINE_BYTES;
use crate::output::{Output, counted};
use crate::signals::Stop;

/// Boxed, because a command of the shell is run by what runs the shell.
pub(super) fn run<'a>(
    global: &'a Global,
    args: ShellArgs,
    stop: &'a Stop,
) -> Pin<Box<dyn Future<Output = Result> + Send + 'a>> {
    Box::pin(async move {
        let mut session = Session::open(global, stop).await?;
        let result = if io::stdin().is_terminal() {
            let history = args.history.or_else(history::place);
            session.greet();
            let prompt = Prompt::on_terminal(history, session.names())?;
            let result = converse(&mut session, &prompt, stop).await;
            prompt.restore();
            result
        } else {
            recite(&mut session, &Prompt::on_stdin()?, args.keep_going, stop).await
        };
        let closed = session.close().await;
        result.and(closed)
    })
}

/// With a person: a failure is told, and the next line asked for.
async fn converse(session: &mut Session<'_>, prompt: &Prompt, stop: &Stop) -> Result {
    loop {
        let said = tokio::select! {
            said = prompt.next() => said?,
            () = stop.requested() => return Ok(()),
        };
        let line = match said {
            Said::Line(line) => line,
            // Nobody types a line that is too long, and the editor reads text.
            Said::Interrupted | Said::TooLong | Said::Garbled => continue,
            Said::End => return Ok(()),
        };
        match run_line(session, &line, stop).await {
            Ok(Next::Line) => {}
            Ok(Next::End) => return Ok(()),
            Err(failure) if failure.is_told() => {}
            Err(failure) => session.tell(&failure),
        }
        if stop.is_requested() {
            return Ok(());
        }
    }
}

/// With a script: a failure ends it, or is told and counted.
async fn recite(
    session: &mut Session<'_>,
    prompt: &Prompt,
    keep_going: bool,
    stop: &Stop,
) -> Result {
    let (mut number, mut failed) = (0_u64, 0);
    loop {
        number += 1;
        let said = tokio::select! {
            said = prompt.next() => said?,
            () = stop.requested() => return Err(interrupted(number)),
        };
        let result = match said {
            Said::Line(line) => run_line(session, &line, stop).await,
            Said::TooLong => Err(Failure::usage(format!(
                "the line has more than {MAX_LINE_BYTES} bytes; is it one command a line?"
            ))),
            Said::Garbled => Err(Failure::usage("the line is not UTF-8")),
            Said::Interrupted | Said::End => break,
        };
        match result {
            Ok(Next::Line) => {}
            Ok(Next::End) => break,
            // Nobody reads on.
            Err(failure) if failure.is_told() && failure.status() == 0 => return Err(failure),
            Err(failure) => {
                let status = failure.status();
                if failure.is_told() {
                    // The process that holds the database has told what.
                    session.note(format_args!("line {number} failed"));
                } else if keep_going {
                    session.tell(&failure.at(format!("line {number}")));
                } else {
                    return Err(failure.at(format!("line {number}")));
                }
                if !keep_going {
                    return Err(Failure::silent(status));
                }
                failed += 1;
            }
        }
        if stop.is_requested() {
            return Err(interrupted(number));
        }
    }
    if failed == 0 {
        return Ok(());
    }
    session.note(format_args!("{} failed", counted(failed, "line")));
    Err(Failure::silent(1))
}

fn interrupted(number: u64) -> Failure {
    Failure::interrupted("a signal came before the script was at its end")
        .at(format!("line {number}"))
}

/// Runs a line. A SIGINT that is for the line asks it to end; a second one drops it.
async fn run_line(session: &mut Session<'_>, line: &str, stop: &Stop) -> Result<Next> {
    let (end, ended) = watch::channel(false);
    let ended = Stop::when(ended);
    let mut interrupts = stop.interrupts();
    let mut running = std::pin::pin!(session.run(line, &ended));
    loop {
        tokio::select! {
            result = &mut running => return result,
            () = next(interrupts.as_mut()) => {
                if end.send_replace(true) {
                    return Err(Failure::interrupted("the command was broken off"));
                }
            }
            () = stop.requested(), if !ended.is_requested() => {
                end.send_replace(true);
            }
        }
    }
}

async fn next(interrupts: Option<&mut watch::Receiver<u64>>) {
    if let Some(interrupts) = interrupts
        && interrupts.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// What stdout is told that is no data of a command.
fn print(global: &Global, text: &str) -> Result {
    let mut out = Output::new(global.json, global.ends());
    out.line(text.trim_end())?;
    out.flush()
}
