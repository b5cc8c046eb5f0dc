//! The database of a shell, and how a line is run on it.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pocket_core::{Database, codes as core_codes};
use tokio::time::Instant;

use super::complete::{self, COMMANDS};
use super::prompt::Names;
use crate::args::{self, Arguments, Global};
use crate::commands::{LOOK, PATIENCE, input_file, is_endless, run_here};
use crate::directory::Role;
use crate::failure::{Failure, Result};
use crate::held::{self, Held, Holding, Peer};
use crate::open::{self, Opened};
use crate::output::{Ends, Output};
use crate::signals::Stop;

/// What comes behind a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Line,
    End,
}

/// The database of a shell.
pub(super) struct Session<'a> {
    global: &'a Global,
    home: Arc<Path>,
    /// Unless another process holds it.
    own: Option<(Opened, Holding)>,
    /// The same, for those who look for names.
    database: Arc<Mutex<Option<Database>>>,
}

impl<'a> Session<'a> {
    /// Opens the database, or finds who holds it.
    pub(super) async fn open(global: &'a Global, stop: &Stop) -> Result<Self> {
        let mut session = Self {
            global,
            home: open::place(global, Role::Client).into(),
            own: None,
            database: Arc::default(),
        };
        session.reach(stop).await?;
        Ok(session)
    }

    /// What names are completed from.
    pub(super) fn names(&self) -> Names {
        Names::new(self.home.clone(), self.database.clone())
    }

    pub(super) fn greet(&self) {
        let how = match self.own {
            Some(_) => "",
            None => ", which another process holds",
        };
        self.note(format_args!(
            "pocket {}, {}{how}; `help` lists the commands, Ctrl-D ends",
            env!("CARGO_PKG_VERSION"),
            self.home.display()
        ));
    }

    pub(super) fn note(&self, text: impl Display) {
        Output::new(self.global.json, Ends::Process).note(text);
    }

    pub(super) fn tell(&self, failure: &Failure) {
        failure.tell(&Ends::Process, self.global.json);
    }

    /// Runs a line to its end, or until `stop`.
    pub(super) async fn run(&mut self, line: &str, stop: &Stop) -> Result<Next> {
        // A script may have been written on another system.
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let words = shlex::split(line)
            .ok_or_else(|| Failure::usage("a quote is not closed, or a `\\` stands at the end"))?;
        match words.first().map(String::as_str) {
            None => return Ok(Next::Line),
            Some("exit" | "quit") if words.len() == 1 => return Ok(Next::End),
            Some("help") if words.len() == 1 => super::print(self.global, &complete::help())?,
            Some(_) => self.command(words, stop).await?,
        }
        Ok(Next::Line)
    }

    async fn command(&mut self, words: Vec<String>, stop: &Stop) -> Result {
        let all: Vec<_> = std::iter::once("pocket".to_owned()).chain(words).collect();
        let mut arguments = match args::parse_line(&all) {
            Ok(arguments) => arguments,
            Err(Ok(text)) => return super::print(self.global, &text),
            Err(Err(failure)) => return Err(failure),
        };
        check(&arguments)?;
        arguments.global = Global {
            json: arguments.global.json || self.global.json,
            db: Some(self.home.to_path_buf()),
            storage: self.global.storage,
            ..arguments.global
        };
        let file = input_file(&arguments.command)?;
        // A script is read from stdin: commands get none of it.
        let input: Box<dyn Read + Send> = match file {
            Some(file) => Box::new(file),
            None => Box::new(io::empty()),
        };
        let Some(peer) = self.reach(stop).await? else {
            return self.run_here(arguments, input, stop).await;
        };
        let mut words: Vec<OsString> = all.into_iter().map(Into::into).collect();
        if self.global.json && !words.iter().any(|word| word == "--json") {
            words.insert(1, "--json".into());
        }
        let running = peer.command(words, Box::new(move || input), Box::new(io::stdout()));
        tokio::select! {
            result = running => result,
            () = stop.requested() => if is_endless(&arguments.command) {
                Ok(())
            } else {
                Err(Failure::interrupted("the command was ended by a signal"))
            },
        }
    }

    async fn run_here(
        &self,
        mut arguments: Arguments,
        input: Box<dyn Read + Send>,
        stop: &Stop,
    ) -> Result {
        let (database, _) = self
            .own
            .as_ref()
            .ok_or_else(|| Failure::new(core_codes::CLOSED, "the shell has no database open"))?;
        arguments.global.held = Some(Held::new(
            database.content(),
            open::client_directory(self.global)?.storage(),
            Ends::Process,
            self.home.clone(),
            input,
        ));
        run_here(arguments, stop.clone()).await
    }

    /// The way to the process that holds the database; none when it is this one.
    async fn reach(&mut self, stop: &Stop) -> Result<Option<Peer>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.own.is_some() {
                return Ok(None);
            }
            let directory = open::client_directory(self.global)?;
            if directory.exists()
                && let Some(peer) = Peer::of(directory.path())?
            {
                return Ok(Some(peer));
            }
            match open::database(self.global).await {
                Ok(database) => {
                    let out = Output::new(self.global.json, Ends::Process);
                    let holding = open::hold(self.global, &database, &out)?;
                    *lock(&self.database) = Some((*database).clone());
                    self.own = Some((database, holding));
                }
                Err(failure)
                    if failure.code() == core_codes::IN_USE && Instant::now() < deadline =>
                {
                    wait(stop, LOOK).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    pub(super) async fn close(self) -> Result {
        *lock(&self.database) = None;
        if let Some((database, holding)) = self.own {
            holding.end().await;
            database.close().await?;
        }
        Ok(())
    }
}

/// Whether a command may run in a shell.
fn check(arguments: &Arguments) -> Result {
    if arguments.global.db.is_some() || arguments.global.storage.is_some() {
        return Err(Failure::usage(
            "a shell has one database, which `pocket --db DIR shell` names",
        ));
    }
    if held::is_passed_on(&arguments.command) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "this command runs outside of the shell only; here there are {}",
        COMMANDS.join(", ")
    )))
}

async fn wait(stop: &Stop, time: Duration) -> Result {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = stop.requested() => Err(Failure::interrupted("a signal came while the database was in use")),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
