//! Data on stdout, one line each, and notes on stderr.

use std::fmt::{Debug, Display};
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::sync::Arc;

use pocket_core::{Map, Shown, Value};

use crate::failure::{Failure, Result};
use crate::progress::Unit;

/// Another process whose command runs in this one, and which prints what it is sent.
pub(crate) trait Remote: Debug + Send + Sync {
    /// For its stdout.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// A line for its stderr.
    fn note(&self, line: &str);

    /// How far something is: what is counted, a label, how much there is and how much of it is done. `None` at the end.
    fn progress(&self, shown: Option<(Unit, &str, u64, u64)>);
}

/// Where stdout and stderr of a command are.
#[derive(Clone, Debug, Default)]
pub(crate) enum Ends {
    /// Those of this process.
    #[default]
    Process,
    /// Those of the process that passed the command on.
    Remote(Arc<dyn Remote>),
}

impl Ends {
    /// Says a line on stderr.
    pub(crate) fn say(&self, line: &str) {
        match self {
            // Whoever closed stderr does not want to hear it.
            Self::Process => drop(writeln!(io::stderr(), "{line}")),
            Self::Remote(remote) => remote.note(line),
        }
    }
}

#[derive(Debug)]
enum Stdouts {
    Process(Stdout),
    Remote(Arc<dyn Remote>),
}

impl Write for Stdouts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Process(stdout) => stdout.write(bytes),
            Self::Remote(remote) => remote.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Process(stdout) => stdout.flush(),
            Self::Remote(_) => Ok(()),
        }
    }
}

/// The way to stdout.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    out: BufWriter<Stdouts>,
    ends: Ends,
}

impl Output {
    pub(crate) fn new(json: bool, ends: Ends) -> Self {
        let out = match &ends {
            Ends::Process => Stdouts::Process(io::stdout()),
            Ends::Remote(remote) => Stdouts::Remote(remote.clone()),
        };
        Self {
            json,
            out: BufWriter::with_capacity(64 * 1024, out),
            ends,
        }
    }

    /// Whether a program reads along.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes a line. It may stay in the buffer until [`flush`](Self::flush).
    pub(crate) fn line(&mut self, line: impl Display) -> Result {
        writeln!(self.out, "{line}").map_err(|error| broken(&error))
    }

    /// Writes bytes that are no lines.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result {
        self.out.write_all(bytes).map_err(|error| broken(&error))
    }

    /// Where bytes that are no lines are written to.
    pub(crate) fn writer(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Writes an object for programs, or a text for people.
    pub(crate) fn either(&mut self, object: &Map, text: impl Display) -> Result {
        if self.json {
            self.line(json(object))
        } else {
            self.line(text)
        }
    }

    pub(crate) fn flush(&mut self) -> Result {
        self.out.flush().map_err(|error| broken(&error))
    }

    /// Says an object on stderr that is no data.
    pub(crate) fn told(&self, object: &Map) {
        self.ends.say(&json(object));
    }

    /// Says something on stderr that is no data.
    pub(crate) fn note(&self, text: impl Display) {
        self.ends.say(&noted(self.json, text));
    }
}

/// Says something on the stderr of this process that is no data.
pub(crate) fn note(as_json: bool, text: impl Display) {
    Ends::Process.say(&noted(as_json, text));
}

fn noted(as_json: bool, text: impl Display) -> String {
    if as_json {
        json(&object([("note", Value::from(text.to_string()))]))
    } else {
        for_people(&text.to_string())
    }
}

/// A text of which servers and other devices may have written a part, without what a terminal would obey.
pub(crate) fn for_people(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| Shown(line).to_string()).collect();
    lines.join("\n")
}

/// An object of these fields.
pub(crate) fn object<const N: usize>(fields: [(&str, Value); N]) -> Map {
    fields.into_iter().collect()
}

/// An object as one line.
pub(crate) fn json(object: &Map) -> String {
    Value::Map(object.clone())
        .to_json_string()
        .expect("reports hold finite numbers and plain keys")
}

/// A count with its noun: `1 document`, `2,345 documents`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Nobody reads on: that ends a command quietly. Anything else is a failure.
fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(0),
        _ => Failure::io("cannot write to stdout", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let numbers = [0, 7, 999, 1_000, 34_006, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "7", "999", "1,000", "34,006", "1,234,567"]);
        assert_eq!(counted(1, "document"), "1 document");
        assert_eq!(counted(2_000, "document"), "2,000 documents");
    }

    #[test]
    fn a_closed_pipe_ends_without_a_word_and_a_full_disk_does_not() {
        assert_eq!(broken(&ErrorKind::BrokenPipe.into()).status(), 0);
        assert_eq!(broken(&ErrorKind::StorageFull.into()).status(), 1);
    }
}
