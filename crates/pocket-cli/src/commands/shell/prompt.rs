//! Where lines come from: an editor on a terminal, or stdin. Both block, and so have a thread of their own.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use pocket_core::{Database, Value};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::runtime::Handle;
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc as to_async;

use super::complete::{self, Known};
use super::{history, session};
use crate::failure::{Failure, Result};
use crate::held::Peer;
use crate::lines::{self, Found};
use crate::output::note;

/// Documents whose fields are offered.
const LOOKED_AT: usize = 20;

/// Lines of the history.
const REMEMBERED: usize = 2_000;

/// What came from the prompt.
#[derive(Debug)]
pub(super) enum Said {
    Line(String),
    /// A line of more than [`lines::MAX_LINE_BYTES`], which was skipped.
    TooLong,
    /// A line that is no UTF-8.
    Garbled,
    /// Ctrl-C at the prompt.
    Interrupted,
    End,
}

/// Gives a line whenever it is asked.
pub(super) struct Prompt {
    ask: mpsc::Sender<()>,
    said: AsyncMutex<to_async::Receiver<io::Result<Said>>>,
    #[cfg(unix)]
    terminal: Option<rustix::termios::Termios>,
}

impl Prompt {
    pub(super) fn on_stdin() -> Result<Self> {
        Self::new(|| {
            Ok(match lines::read_line(&mut io::stdin().lock())? {
                Found::End => Said::End,
                Found::TooLong => Said::TooLong,
                Found::Line(line) => String::from_utf8(line).map_or(Said::Garbled, Said::Line),
            })
        })
    }

    pub(super) fn on_terminal(history: Option<PathBuf>, names: Names) -> Result<Self> {
        let failed =
            |error: ReadlineError| Failure::io("cannot use the terminal", &io::Error::other(error));
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .history_ignore_dups(true)
            .and_then(|config| config.max_history_size(REMEMBERED))
            .map_err(failed)?
            .build();
        let mut editor: Editor<Names, FileHistory> = Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(names));
        let history = history.filter(|place| usable(&mut editor, place));
        Self::new(move || match editor.readline("pocket> ") {
            Ok(line) => {
                if let Some(history) = &history
                    && !line.trim().is_empty()
                    && editor.add_history_entry(&line).unwrap_or(false)
                {
                    // A line that is not remembered is run all the same.
                    let _ = editor.append_history(history);
                }
                Ok(Said::Line(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Said::Interrupted),
            Err(ReadlineError::Eof) => Ok(Said::End),
            Err(ReadlineError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::other(error)),
        })
    }

    fn new(mut read: impl FnMut() -> io::Result<Said> + Send + 'static) -> Result<Self> {
        let (ask, asked) = mpsc::channel();
        let (say, said) = to_async::channel(1);
        #[cfg(unix)]
        let terminal = rustix::termios::tcgetattr(io::stdin()).ok();
        let answer = move || {
            while let Ok(()) = asked.recv() {
                if say.blocking_send(read()).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("pocket-prompt".to_owned())
            .spawn(answer)
            .map_err(|error| Failure::io("cannot start", &error))?;
        Ok(Self {
            ask,
            said: AsyncMutex::new(said),
            #[cfg(unix)]
            terminal,
        })
    }

    /// The next line. Once it is asked for, it is to be waited for.
    pub(super) async fn next(&self) -> Result<Said> {
        // The thread ends only with this.
        let _ = self.ask.send(());
        match self.said.lock().await.recv().await {
            Some(said) => said.map_err(|error| Failure::io("cannot read stdin", &error)),
            None => Ok(Said::End),
        }
    }

    /// Leaves the terminal as it was: a signal may have come in the middle of a line.
    pub(super) fn restore(&self) {
        #[cfg(unix)]
        if let Some(terminal) = &self.terminal {
            let when = rustix::termios::OptionalActions::Drain;
            let _ = rustix::termios::tcsetattr(io::stdin(), when, terminal);
        }
        let _ = io::stdout().flush();
    }
}

/// Reads the history. Where that cannot be, the shell does without.
fn usable(editor: &mut Editor<Names, FileHistory>, place: &Path) -> bool {
    let result = history::prepare(place).and_then(|()| match editor.load_history(place) {
        Err(ReadlineError::Io(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    });
    if let Err(error) = &result {
        note(
            false,
            format_args!("no history is kept: {}: {error}", place.display()),
        );
    }
    result.is_ok()
}

/// What is completed from: the database itself, or whoever holds it.
pub(super) struct Names {
    home: Arc<Path>,
    database: Arc<Mutex<Option<Database>>>,
    runtime: Handle,
}

impl Names {
    /// To be called in the runtime that the database is used in.
    pub(super) fn new(home: Arc<Path>, database: Arc<Mutex<Option<Database>>>) -> Self {
        Self {
            home,
            database,
            runtime: Handle::current(),
        }
    }

    fn database(&self) -> Option<Database> {
        session::lock(&self.database).clone()
    }

    /// The objects that a command prints in the process that holds the database.
    fn ask(&self, words: &[&str]) -> Vec<Value> {
        let Ok(Some(peer)) = Peer::of(&self.home) else {
            return Vec::new();
        };
        let words = ["pocket", "--json"].iter().chain(words);
        let printed = Arc::new(Mutex::new(Vec::new()));
        let running = peer.command(
            words.map(Into::into).collect(),
            Box::new(|| Box::new(io::empty())),
            Box::new(Shared(printed.clone())),
        );
        // What it cannot tell is not offered.
        let _ = self.runtime.block_on(running);
        let printed = session::lock(&printed);
        let lines = printed.split(|byte| *byte == b'\n');
        lines
            .filter_map(|line| Value::from_json_str(std::str::from_utf8(line).ok()?).ok())
            .collect()
    }
}

/// Names in answers of commands.
fn named(answers: &[Value]) -> Vec<String> {
    let names = answers.iter().filter_map(|answer| match answer {
        Value::Map(map) => map.get("name")?.as_str().map(str::to_owned),
        _ => None,
    });
    names.collect()
}

impl Known for Names {
    fn collections(&self) -> Vec<String> {
        match self.database() {
            Some(database) => {
                let all = database.list_collections().into_iter();
                all.map(|config| config.name).collect()
            }
            None => named(&self.ask(&["collections", "list"])),
        }
    }

    fn documents(&self, collection: &str) -> Vec<Value> {
        let Some(database) = self.database() else {
            let limit = LOOKED_AT.to_string();
            return self.ask(&["find", collection, "--limit", &limit]);
        };
        let Ok(collection) = database.collection::<Value>(collection) else {
            return Vec::new();
        };
        let first = async { collection.find().limit(LOOKED_AT).all().await };
        self.runtime.block_on(first).unwrap_or_default()
    }

    fn indexes(&self, collection: &str) -> Vec<String> {
        let Some(database) = self.database() else {
            return named(&self.ask(&["index", "list", collection]));
        };
        let collection = database.collection::<Value>(collection);
        let indexes = collection.map(|collection| collection.indexes());
        let indexes = indexes.unwrap_or_default().into_iter();
        indexes.map(|info| info.config.name()).collect()
    }
}

/// A place that another thread writes to.
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        session::lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete::complete(&line[..position], self))
    }
}

impl Hinter for Names {
    type Hint = String;
}

impl Highlighter for Names {}

impl Validator for Names {}

impl Helper for Names {}
