//! Processes of their own, so that the memory of each can be told apart.

use std::process::Stdio;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child as Process, ChildStdin, ChildStdout, Command};

use crate::machine::{self, Memory};
use crate::{Outcome, roles};

/// A process of this program that plays a role. It ends when this is dropped or [ended](Self::end).
pub(crate) struct Child {
    process: Process,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Child {
    pub(crate) fn start(role: &str) -> Outcome<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--role", role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let orders = process.stdin.take().ok_or("a process has no input")?;
        let answers = process.stdout.take().ok_or("a process has no output")?;
        Ok(Self {
            process,
            orders,
            answers: BufReader::new(answers).lines(),
        })
    }

    /// Gives an order, and waits for the answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, order: &impl Serialize) -> Outcome<T> {
        let line = serde_json::to_string(order)? + "\n";
        self.orders.write_all(line.as_bytes()).await?;
        let answer = self.answers.next_line().await?;
        let answer = answer.ok_or("a process ended before it answered; its error stands above")?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Its memory as it is; an error where the system does not tell.
    pub(crate) fn memory(&self) -> Outcome<Memory> {
        let process = self.process.id().ok_or("a process has ended too early")?;
        Ok(machine::memory(process).ok_or("this system does not tell the memory of a process")?)
    }

    /// Ends it, and waits until it has.
    pub(crate) async fn end(mut self) -> Outcome {
        drop(self.orders);
        let status = self.process.wait().await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("a process ended with {status}").into())
        }
    }
}

/// What a [`Child`] reads and writes.
pub(crate) struct Parent {
    orders: Lines<BufReader<tokio::io::Stdin>>,
}

impl Parent {
    pub(crate) fn new() -> Self {
        Self {
            orders: BufReader::new(tokio::io::stdin()).lines(),
        }
    }

    /// The next order; none when it is time to end.
    pub(crate) async fn order<T: DeserializeOwned>(&mut self) -> Outcome<Option<T>> {
        let line = self.orders.next_line().await?;
        line.map(|line| Ok(serde_json::from_str(&line)?))
            .transpose()
    }

    pub(crate) fn answer(answer: &impl Serialize) -> Outcome {
        println!("{}", serde_json::to_string(answer)?);
        Ok(())
    }
}

/// Whether this system tells the memory of processes; says so if it does not.
pub(crate) fn tells_memory(group: &str) -> bool {
    let tells = machine::own_memory().is_some();
    if !tells {
        eprintln!(
            "bench: {group} is left out, for this system does not tell the memory of a process"
        );
    }
    tells
}

/// Starts a server over the store in `store`, or in memory; its URL and the process.
pub(crate) async fn server(store: Option<&std::path::Path>) -> Outcome<(Child, String)> {
    let mut child = Child::start(roles::SERVER)?;
    let order = roles::Serve {
        store: store.map(std::path::Path::to_owned),
    };
    let url = child.ask(&order).await?;
    Ok((child, url))
}
