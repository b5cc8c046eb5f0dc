#![doc = include_str!("../README.md")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs, reason = "a test tool, not published")]

use std::fmt::Display;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

pub mod disk;

/// How a device reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Http,
}

impl Transport {
    /// `ws://HOST:PORT/sync` or `http://HOST:PORT/sync`.
    pub fn url(self, address: impl Display) -> String {
        match self {
            Self::WebSocket => format!("ws://{address}/sync"),
            Self::Http => format!("http://{address}/sync"),
        }
    }
}

/// Each of these functions as two tests, `websocket::…` and `http::…`, one for each transport.
#[macro_export]
macro_rules! on_both_transports {
    ($($name:ident),* $(,)?) => {
        mod websocket {
            $(#[test]
            fn $name() {
                super::$name($crate::Transport::WebSocket);
            })*
        }

        mod http {
            $(#[test]
            fn $name() {
                super::$name($crate::Transport::Http);
            })*
        }
    };
}

/// The binary under test.
pub fn pocket() -> &'static Path {
    static POCKET: OnceLock<PathBuf> = OnceLock::new();
    POCKET.get_or_init(|| std::env::var_os("POCKET_BIN").map_or_else(build, PathBuf::from))
}

/// Builds the product as a user would, and finds it by what cargo says.
fn build() -> PathBuf {
    let arguments = [
        "build",
        "--release",
        "--package",
        "pocket-cli",
        "--message-format=json-render-diagnostics",
    ];
    let built = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "the product does not build");
    let lines = String::from_utf8(built.stdout).unwrap();
    let executable = lines.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executable.expect("cargo names the executable it built")
}

/// Runs a command to its end.
pub fn run(db: &Path, arguments: &[&str]) -> Output {
    Command::new(pocket())
        .arg("--db")
        .arg(db)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a command that must succeed and returns what it printed.
pub fn done(db: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = run(db, arguments);
    assert!(
        output.status.success(),
        "pocket {} in {}: {}\n{}",
        arguments.join(" "),
        db.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Figures of a device, as `pocket --json status` prints them.
pub fn status(db: &Path) -> serde_json::Value {
    serde_json::from_slice(&done(db, &["--json", "status"])).unwrap()
}

/// Longer than anything here takes; whoever waits so long waits for ever.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again and again until it is so.
#[track_caller]
pub fn until(what: &str, mut check: impl FnMut() -> bool) {
    let step = Duration::from_millis(50);
    let mut left = PATIENCE;
    while !check() {
        left = left.checked_sub(step).unwrap_or_default();
        assert!(!left.is_zero(), "it never came true: {what}");
        std::thread::park_timeout(step);
    }
}

/// Sends a signal: `STOP`, `CONT`, `TERM`.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(sent.unwrap().success(), "{name} to {process}");
}

/// A process that runs until it is killed; dropping it kills it.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub fn start(db: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(pocket())
            .arg("--db")
            .arg(db)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line; none when the process ended or `timeout` passed.
    pub fn line(&self, timeout: Duration) -> Option<String> {
        self.lines.recv_timeout(timeout).ok()
    }

    /// Lets the process run for a while, or until it ends by itself.
    pub fn run_for(&self, time: Duration) {
        let mut left = time;
        let step = Duration::from_millis(5);
        while !left.is_zero() {
            if matches!(
                self.lines.recv_timeout(step.min(left)),
                Err(RecvTimeoutError::Disconnected)
            ) {
                return;
            }
            left = left.saturating_sub(step);
        }
    }

    /// Waits for a line that `wanted` accepts.
    pub fn wait_for(&self, timeout: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        while let Some(line) = self.line(timeout) {
            if wanted(&line) {
                return Some(line);
            }
        }
        None
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        // It may have ended by itself in this moment.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server in a process of its own, which keeps its address across restarts.
pub struct Server {
    db: PathBuf,
    address: String,
    running: Running,
}

impl Server {
    pub fn start(db: &Path) -> Self {
        let (running, address) = listen(db, "127.0.0.1:0");
        Self {
            db: db.to_owned(),
            address,
            running,
        }
    }

    /// `ws://HOST:PORT/sync`
    pub fn url(&self) -> String {
        Transport::WebSocket.url(&self.address)
    }

    /// `http://HOST:PORT/sync`, the same by HTTP.
    pub fn http_url(&self) -> String {
        Transport::Http.url(&self.address)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn id(&self) -> u32 {
        self.running.id()
    }

    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts it again on the same port, at once.
    pub fn restart(&mut self) {
        self.running.kill();
        (self.running, self.address) = listen(&self.db, &self.address);
    }
}

fn listen(db: &Path, address: &str) -> (Running, String) {
    let running = Running::start(db, &["serve", "--listen", address]);
    let line = running
        .line(Duration::from_secs(30))
        .expect("the server says where it listens");
    let address = line
        .strip_prefix("listening on ws://")
        .and_then(|rest| rest.strip_suffix("/sync"));
    let address = address
        .unwrap_or_else(|| panic!("unexpected first line: {line}"))
        .to_owned();
    (running, address)
}

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |value| value.parse().unwrap())
}

/// The high-water mark of a process's memory, in KiB; 0 where the system does not tell it.
pub fn peak_kib(process: u32) -> u64 {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else {
        return 0;
    };
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Copies a directory of files.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
