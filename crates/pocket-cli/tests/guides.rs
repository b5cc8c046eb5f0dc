//! What the guides say to type is typed here, line by line, and what they say to put into files is read by what reads it.
//!
//! Each block runs in a directory of its own, in which there is what a reader has at that point. The port 7700 becomes a
//! free one. A line that goes on until it is told to end is left to run beside the next ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Place, Running};

/// How long a command may take to end after SIGINT.
const SOON: Duration = Duration::from_secs(30);

/// What runs elsewhere: `cargo xtask ci` itself, the demo, which has its own test, what fetches crates, and what builds the
/// npm packages, as the step `web` does.
const ELSEWHERE: [&str; 6] = [
    "cargo ",
    "rustup ",
    "(cd pocket",
    "mkdir todo",
    "npm ",
    "pocket demo",
];

/// A block of a document.
#[derive(Debug)]
struct Block {
    document: PathBuf,
    line: usize,
    text: String,
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guides = std::fs::read_dir(root.join("docs/guide")).unwrap();
    let mut documents: Vec<_> = guides.map(|entry| entry.unwrap().path()).collect();
    documents.push(root.join("README.md"));
    documents.push(root.join("crates/pocket-cli/README.md"));
    documents.sort();
    documents
}

/// The blocks of a language in all documents.
fn blocks(language: &str) -> Vec<Block> {
    let mut found = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let mut open: Option<Block> = None;
        for (at, line) in text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(language)) => {
                    open = Some(Block {
                        document: document.clone(),
                        line: at + 1,
                        text: format!("{language}\n"),
                    });
                }
                (Some(_), Some(_)) => found.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
    }
    let opening = format!("{language}\n");
    found.retain_mut(|block| match block.text.strip_prefix(&opening) {
        Some(text) => {
            block.text = text.to_owned();
            true
        }
        None => false,
    });
    found
}

impl Block {
    fn name(&self) -> String {
        format!("{}:{}", self.document.display(), self.line)
    }
}

/// A place where a block runs.
struct Desk {
    place: Place,
    port: u16,
    running: Vec<(Running, bool)>,
}

impl Desk {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port.local_addr().unwrap().port();
        let place = Place::new();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
        let made = |name: &str| std::fs::read(fixtures.join(name)).unwrap();
        place.file("cert.pem", made("cert1.pem"));
        place.file("key.pem", made("key1.pem"));
        place.file("tokens", "a-token-of-a-file ann\n");
        let keys = "../pocket-sync-server/tests/fixtures/jwt/keys.jwks.json";
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join(keys);
        place.file("keys.jwks.json", std::fs::read(keys).unwrap());
        for block in blocks("toml") {
            if block.text.contains("listen =") {
                place.file("pocket.toml", block.text);
            }
        }
        // What a home with a shell in it has.
        std::fs::create_dir_all(place.path(".local/share/bash-completion/completions")).unwrap();
        Self {
            place,
            port,
            running: Vec::new(),
        }
    }

    /// A shell command in this place, on the program under test.
    fn command(&self, line: &str) -> Command {
        let line = line.replace(":7700", &format!(":{}", self.port));
        let program = Path::new(env!("CARGO_BIN_EXE_pocket")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command
            // In place of the shell, so that signals reach the program.
            .args(["-c", &line])
            .current_dir(self.place.path("."))
            .env("PATH", format!("{}:{path}", program.display()))
            .env("HOME", self.place.path("."))
            // Where a line does not say where to listen.
            .env("POCKET_LISTEN", format!("127.0.0.1:{}", self.port))
            .env_remove("POCKET_TOKEN");
        command
    }

    fn run(&self, line: &str) -> String {
        let outcome: common::Outcome = self.command(line).output().unwrap().into();
        assert_eq!(outcome.status, 0, "{line}: {outcome:?}");
        outcome.out
    }

    /// Starts what goes on, and waits until it does.
    fn start(&mut self, line: &str) {
        let is_server = line.contains("pocket serve");
        if is_server {
            // Two ways to start one: never both at once.
            self.end(true);
        }
        let mut running = Running::start(self.command(&format!("exec {line}")));
        let first = running.line();
        assert!(!is_server || first.starts_with("listening on"), "{first}");
        self.running.push((running, is_server));
    }

    fn end(&mut self, is_server: bool) {
        let (ending, staying) = std::mem::take(&mut self.running)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, server)| *server == is_server);
        self.running = staying;
        for (mut running, _) in ending {
            running.signal("INT");
            assert_eq!(running.status_within(SOON), 0);
        }
    }

    /// Documents of a device that met those of another one three times, and a server that has seen it.
    fn furnish(&mut self) {
        let server = "--server ws://127.0.0.1:7700 --once";
        self.start("pocket serve");
        for id in 1..=3 {
            self.run(&format!(r#"pocket insert todos '{{"_id":"{id}","n":0}}'"#));
        }
        self.run(&format!("pocket sync {server}"));
        self.run(&format!("pocket --db other sync {server}"));
        for id in 1..=3 {
            self.run(&format!(
                "pocket --db other update todos {id} '{{\"n\":1}}'"
            ));
            self.run(&format!("pocket update todos {id} '{{\"n\":2}}'"));
        }
        self.run(&format!("pocket --db other sync {server}"));
        self.run(&format!("pocket sync {server}"));
        self.end(true);
    }
}

/// Whether a command ends only when it is told to.
fn goes_on(line: &str) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    (has("serve") && !has("--print-config"))
        || has("watch")
        || has("--live")
        || (has("sync") && !has("--once"))
}

#[test]
fn every_command_of_the_guides_runs_as_it_stands() {
    let blocks = blocks("sh");
    let mut ran = 0;
    for block in &blocks {
        let lines = block.text.lines().map(|line| {
            let line = line.split(" #").next().unwrap_or_default();
            line.trim().trim_end_matches('&').trim()
        });
        let lines: Vec<_> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter(|line| !ELSEWHERE.iter().any(|other| line.starts_with(other)))
            .collect();
        if lines.is_empty() {
            continue;
        }
        println!("{}", block.name());
        let mut desk = Desk::new();
        desk.furnish();
        let needs_server = block.text.contains("ws://127.0.0.1:7700");
        if needs_server && !block.text.contains("pocket serve") {
            desk.start("pocket serve");
        }
        for line in lines {
            println!("  {line}");
            if goes_on(line) {
                desk.start(line);
            } else {
                desk.run(line);
            }
            ran += 1;
        }
        desk.end(false);
        desk.end(true);
    }
    // A fence that is written otherwise would be passed over.
    assert!(ran >= 25, "{ran} lines of {} blocks", blocks.len());
}

#[test]
fn every_file_of_the_guides_is_read_by_what_reads_it() {
    let blocks = blocks("toml");
    assert!(blocks.len() >= 2, "{}", blocks.len());
    for block in blocks {
        println!("{}", block.name());
        let mut desk = Desk::new();
        if block.text.contains("[collections") {
            desk.place.file("rules.toml", &block.text);
            desk.start("pocket serve --listen 127.0.0.1:0 --token t=ann --rules rules.toml");
        } else {
            desk.place.file("pocket.toml", &block.text);
            let printed = desk.run("pocket serve --config pocket.toml --print-config");
            assert!(printed.contains("log-format"), "{printed}");
            desk.start("pocket serve --config pocket.toml");
        }
        desk.end(true);
    }
}
