//! The program as people start it: alone, and as two devices with a server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use pocket_storage_memory::MemoryStorage;
use pocket_sync_server::{SyncServer, TokenTable};

/// How long anything may take that happens at once.
const LATE: Duration = Duration::from_secs(120);

fn todo(directory: &Path, db: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_todo"));
    command.current_dir(directory).args(["--db", db]);
    command
}

/// Runs a command that must succeed, and gives its lines.
fn run(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// The program while it shows the list.
struct Watching {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Watching {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line.trim().to_owned());
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
        }
    }

    fn types(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn shows(&self, expected: &str) {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line| line != expected) {
            match self.lines.recv_timeout(LATE) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line {expected:?} but {seen:?}: {error}"),
            }
        }
    }

    /// Ends its input, upon which it ends.
    fn ends(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Of a test that failed; one that ended is not there any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn each_command_does_what_it_says_and_stores_it() {
    let place = tempfile::tempdir().unwrap();
    let todo = |words: &[&str]| run(todo(place.path(), "list.redb").args(words));
    todo(&["add", "Buy", "milk"]);
    todo(&["add", "Call Bo"]);
    assert_eq!(todo(&["list"]), ["1 [ ] Buy milk", "2 [ ] Call Bo"]);
    todo(&["done", "1"]);
    assert_eq!(todo(&["list"]), ["1 [ ] Call Bo", "2 [x] Buy milk"]);
    todo(&["undo", "2"]);
    todo(&["remove", "2"]);
    assert_eq!(todo(&["list"]), ["1 [ ] Buy milk"]);
}

#[test]
fn a_wrong_command_fails_and_says_what_there_is() {
    let place = tempfile::tempdir().unwrap();
    for words in [&["shout"][..], &["add"], &["done", "7"]] {
        let output = todo(place.path(), "list.redb")
            .args(words)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn two_devices_that_wrote_before_there_was_a_server_see_each_others_lists_and_changes() {
    let place = tempfile::tempdir().unwrap();
    let todo = |db: &str| todo(place.path(), db);
    run(todo("phone").args(["add", "Buy milk"]));
    run(todo("laptop").args(["add", "Call Bo"]));

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = runtime.block_on(serve());
    let url = format!("ws://{address}");
    let mut phone = Watching::start(todo("phone").args(["--server", &url]));
    let mut laptop = Watching::start(todo("laptop").args(["--server", &url]));
    for device in [&phone, &laptop] {
        device.shows("1 [ ] Buy milk");
        device.shows("2 [ ] Call Bo");
    }
    laptop.types("done 1");
    phone.shows("2 [x] Buy milk");
    phone.types("add Pay rent");
    laptop.shows("2 [ ] Pay rent");
    laptop.types("shout");
    laptop.shows("add TITLE, done NUMBER, undo NUMBER, remove NUMBER or list");
    phone.ends();
    laptop.ends();

    // A command with a server ends when all is sent and all is here.
    run(todo("phone").args(["--server", &url, "remove", "1"]));
    run(todo("laptop").args(["--server", &url, "list"]));
    for db in ["phone", "laptop"] {
        let list = run(todo(db).args(["list"]));
        assert_eq!(list, ["1 [ ] Pay rent", "2 [x] Buy milk"], "{db}");
    }
}

async fn serve() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = SyncServer::builder(Arc::new(MemoryStorage::new()))
        .tokens(TokenTable::open())
        .build()
        .unwrap();
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    address
}
