//! `shell` as a person sees it: on a terminal.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::Place;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A shell on a terminal of its own.
struct Terminal {
    child: Child,
    keys: File,
    shown: Receiver<Vec<u8>>,
    screen: String,
}

impl Terminal {
    fn new(place: &Place) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let mut command = place.command("db", &["shell"]);
        command
            .env("TERM", "xterm")
            .env("XDG_STATE_HOME", place.path("state"))
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave));
        let child = command.spawn().unwrap();
        drop(command);
        let keys = File::from(master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            // The end of a terminal is an error.
            while let Ok(read @ 1..) = screen.read(&mut part) {
                if sender.send(part[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            shown,
            screen: String::new(),
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown, behind what was waited for before.
    #[track_caller]
    fn sees(&mut self, part: &str) {
        loop {
            if let Some(at) = self.screen.find(part) {
                self.screen.drain(..at + part.len());
                return;
            }
            let shown = self.shown.recv_timeout(PATIENCE);
            let shown = shown.unwrap_or_else(|_| panic!("no {part:?} in {:?}", self.screen));
            self.screen += &String::from_utf8_lossy(&shown);
        }
    }

    fn signal(&self, name: &str) {
        let kill = std::process::Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
    }

    fn status(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_person_completes_breaks_off_repeats_and_ends() {
    let place = Place::new();
    let document = r#"{"_id":"a","title":"Buy milk","done":false}"#;
    place.ok(&["insert", "todos", document]);
    let mut terminal = Terminal::new(&place);
    terminal.sees("`help` lists the commands");
    terminal.sees("pocket> ");
    // A command, a collection, an option, and a field of the first documents.
    terminal.press("fi\tto\t--wh\tdo\tfalse\r");
    terminal.sees("find todos --where done=");
    terminal.sees(document);
    terminal.sees("pocket> ");

    // A failure ends the command and not the shell.
    terminal.press("get todos none\r");
    terminal.sees("error[document-not-found]");
    terminal.sees("pocket> ");

    // Ctrl-C is a signal while a command runs, and a key at the prompt.
    terminal.press("find todos --live\r");
    terminal.sees(document);
    terminal.signal("INT");
    terminal.sees("pocket> ");
    terminal.press("never run\u{3}");
    terminal.sees("pocket> ");

    // The line before, once more: the cursor goes up.
    terminal.press("\u{1b}[A\u{1b}[A\r");
    terminal.sees("error[document-not-found]");
    terminal.sees("pocket> ");
    // Ctrl-D.
    terminal.press("\u{4}");
    assert_eq!(terminal.status(), Some(0));

    let history = place.path("state").join("pocket").join("history");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&history), 0o600);
    assert_eq!(mode(history.parent().unwrap()), 0o700);
    let lines = std::fs::read_to_string(&history).unwrap();
    assert!(lines.contains("find todos --where done=false"), "{lines}");
    assert!(!lines.contains("never run"), "{lines}");

    // Another day.
    let mut terminal = Terminal::new(&place);
    terminal.sees("pocket> ");
    terminal.press("\u{1b}[A\r");
    terminal.sees("error[document-not-found]");
    terminal.sees("pocket> ");
    terminal.signal("TERM");
    assert_eq!(terminal.status(), Some(0));
}

#[test]
fn names_are_completed_from_the_process_that_holds_the_database_too() {
    let place = Place::new();
    place.ok(&["insert", "todos", r#"{"_id":"a","title":"x"}"#]);
    place.ok(&["index", "create", "todos", "title"]);
    let mut holder = place.start("db", &["find", "todos", "--live"]);
    holder.line();
    let mut terminal = Terminal::new(&place);
    terminal.sees("which another process holds");
    terminal.sees("pocket> ");
    terminal.press("find to\t--where ti\tx\r");
    terminal.sees(r#"{"_id":"a","title":"x"}"#);
    terminal.sees("pocket> ");
    terminal.press("index drop todos ti\t\r");
    terminal.sees("index title_1 of todos is dropped");
    terminal.press("exit\r");
    assert_eq!(terminal.status(), Some(0));
    holder.signal("INT");
    assert_eq!(holder.status(), 0);
}
