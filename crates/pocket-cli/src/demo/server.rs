//! The server of the story: this very program, as a process that can be killed.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::broken;
use crate::failure::{Failure, Result};

/// How long it may take until it listens.
const STARTING: Duration = Duration::from_secs(10);

/// A running server. It never outlives this value, nor this process: it ends when its stdin does.
pub(super) struct Server {
    process: Process,
    url: String,
    /// What is held open: its stdin, because it ends with that one, and its stdout, so that it may write to it.
    _pipes: (ChildStdin, BufReader<ChildStdout>),
}

/// A process that is killed and forgotten when this is dropped.
struct Process(Child);

impl Server {
    /// Starts it on the database in `stage`, on `port`, and waits until it listens. Port 0 takes a free one.
    pub(super) async fn start(stage: &Path, port: u16) -> Result<Self> {
        let failed = |error: io::Error| Failure::io("cannot start the server", &error);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(stage.join("server.log"))
            .map_err(failed)?;
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("serve")
            .arg("--db")
            .arg(stage.join("server"))
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .arg("--until-stdin-ends")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let mut process = Process(child);
        let pipes = process.0.stdin.take().zip(process.0.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| broken("the server has no pipes"))?;
        let line = tokio::time::timeout(STARTING, first_line(stdout)).await;
        let (line, stdout) = line
            .map_err(|_| broken("the server did not begin to listen in time"))?
            .map_err(failed)?;
        let url = line.trim_end().strip_prefix("listening on ");
        let url = url.ok_or_else(|| broken("the server did not begin to listen"))?;
        Ok(Self {
            process,
            url: url.to_owned(),
            _pipes: (stdin, stdout),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn process(&self) -> u32 {
        self.process.0.id()
    }

    /// The port it listens on.
    pub(super) fn port(&self) -> Result<u16> {
        let authority = self.url.trim_start_matches("ws://").split('/').next();
        let port = authority.and_then(|authority| authority.rsplit(':').next()?.parse().ok());
        port.ok_or_else(|| broken(format_args!("the server listens on {:?}", self.url)))
    }

    /// Kills it as `kill -9` does: it cannot finish, flush or say anything.
    pub(super) fn kill(&mut self) -> Result {
        let child = &mut self.process.0;
        let killed = child.kill().and_then(|()| child.wait());
        killed.map_err(|error| Failure::io("cannot kill the server", &error))?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn first_line(stdout: ChildStdout) -> io::Result<(String, BufReader<ChildStdout>)> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        Ok((line, stdout))
    });
    reading.await.map_err(io::Error::other)?
}
