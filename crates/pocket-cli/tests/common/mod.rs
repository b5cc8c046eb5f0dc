//! The built program, run as a person runs it.
#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Longer than anything here takes, on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// A directory of its own, with one database in it.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and says where it is.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The program in this directory, on the database `db`.
    pub(crate) fn command(&self, db: &str, words: &[&str]) -> Command {
        let mut command = program();
        command
            .current_dir(self.directory.path())
            .arg("--db")
            .arg(self.path(db))
            .args(words);
        command
    }

    /// Runs a command on the database `db`.
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        self.run_on("db", words)
    }

    pub(crate) fn run_on(&self, db: &str, words: &[&str]) -> Outcome {
        self.command(db, words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
            .into()
    }

    /// Runs a command that reads `stdin`.
    pub(crate) fn feed(&self, words: &[&str], stdin: &[u8]) -> Outcome {
        let mut command = self.command("db", words);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let stdin = stdin.to_vec();
        let writer = thread::spawn(move || {
            // A command that refuses early reads no further.
            let _ = pipe.write_all(&stdin);
        });
        let outcome = child.wait_with_output().unwrap().into();
        writer.join().unwrap();
        outcome
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        self.run(words).ok()
    }

    pub(crate) fn ok_on(&self, db: &str, words: &[&str]) -> String {
        self.run_on(db, words).ok()
    }

    /// A pass that gives up, and says this before. How long a busy machine takes to come to that is not known, so it gets
    /// more and more time for it.
    #[track_caller]
    pub(crate) fn gives_up(&self, db: &str, words: &[&str], part: &str) -> Outcome {
        let mut timeouts = ["0.5", "2", "8", "32"].into_iter();
        loop {
            let timeout = timeouts.next().expect(part);
            let words = [&["sync", "--once", "--timeout", timeout], words].concat();
            let outcome = self.run_on(db, &words).failed(1, "timeout");
            if outcome.err.contains(part) {
                return outcome;
            }
        }
    }

    /// Starts a command that goes on until it is told to end.
    pub(crate) fn start(&self, db: &str, words: &[&str]) -> Running {
        Running::start(self.command(db, words))
    }

    /// Starts a server on a free port and gives its URL, too.
    pub(crate) fn serve(&self, db: &str, words: &[&str]) -> (Running, String) {
        let words = [&["serve", "--listen", "127.0.0.1:0"], words].concat();
        let mut server = self.start(db, &words);
        let line = server.line();
        let url = line.strip_prefix("listening on ").expect(&line).to_owned();
        (server, url)
    }
}

/// The program without arguments.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pocket"));
    command.env_remove("POCKET_TOKEN");
    command
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Outcome {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out
    }

    /// Fails unless the command failed with this code and status.
    #[track_caller]
    pub(crate) fn failed(self, status: i32, code: &str) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        let wanted = format!("error[{code}]: ");
        assert!(
            self.err.lines().any(|line| line.starts_with(&wanted)),
            "{self:?}"
        );
        self
    }
}

/// A process that runs. It is killed when this goes out of scope.
pub(crate) struct Running {
    pid: u32,
    stdin: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
    ended: Receiver<ExitStatus>,
    end: Option<ExitStatus>,
    killer: Killer,
}

struct Killer(u32, bool);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pid = child.id();
        Self {
            pid,
            stdin: child.stdin.take(),
            out: lines(child.stdout.take().unwrap()),
            err: lines(child.stderr.take().unwrap()),
            ended: end(child),
            end: None,
            killer: Killer(pid, true),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Writes to its stdin.
    pub(crate) fn say(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// The next line it prints.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.out.recv_timeout(PATIENCE).expect("a line on stdout")
    }

    /// The next line it prints, if one comes within a moment.
    pub(crate) fn line_soon(&mut self) -> Option<String> {
        self.out.recv_timeout(Duration::from_millis(200)).ok()
    }

    /// The first line it prints from now on that contains this.
    #[track_caller]
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The first line on stderr from now on that contains this.
    #[track_caller]
    pub(crate) fn note_with(&mut self, part: &str) -> String {
        loop {
            let line = self.err.recv_timeout(PATIENCE).expect("a line on stderr");
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends a signal: `INT`, `TERM` or `KILL`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid, name);
    }

    /// Waits for its end and gives its status, -1 after a SIGKILL. Fails when it takes longer than `limit`.
    #[track_caller]
    pub(crate) fn status_within(&mut self, limit: Duration) -> i32 {
        let status = match self.end {
            Some(status) => status,
            None => self.ended.recv_timeout(limit).expect("the process to end"),
        };
        self.killer.1 = false;
        status.code().unwrap_or(-1)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.end = self.end.or_else(|| self.ended.try_recv().ok());
        self.end.is_some()
    }

    #[track_caller]
    pub(crate) fn status(&mut self) -> i32 {
        self.status_within(PATIENCE)
    }

    /// All that it said on stderr and nobody asked for yet; call it after the end.
    pub(crate) fn notes(&self) -> String {
        self.err.iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        if self.1 {
            signal(self.0, "KILL");
        }
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .stderr(Stdio::null())
        .status();
    sent.unwrap();
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn end(mut child: Child) -> Receiver<ExitStatus> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let status = child.wait().unwrap();
        let _ = sender.send(status);
    });
    receiver
}

/// Whether a file is there.
pub(crate) fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}
