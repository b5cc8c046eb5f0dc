//! How the story is told: a line for each thing that happens, with its time.

use std::fmt::Display;
use std::io::IsTerminal;

use pocket_core::Value;
use tokio::time::Instant;

use crate::failure::Result;
use crate::output::{Output, json, object};

/// Columns before the text of a line, so that what goes on below stands under it.
const INDENT: usize = 22;

pub(super) struct Teller<'a> {
    out: &'a mut Output,
    began: Instant,
    styled: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn new(out: &'a mut Output) -> Self {
        let styled = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            styled: styled && !out.is_json(),
            out,
            began: Instant::now(),
        }
    }

    /// Whether a program reads along.
    pub(super) fn is_json(&self) -> bool {
        self.out.is_json()
    }

    /// Seconds since the story began.
    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// A line of the timeline.
    pub(super) fn tell(&mut self, who: &str, text: impl Display) -> Result {
        let seconds = self.seconds();
        if self.is_json() {
            self.out.line(json(&object([
                ("seconds", Value::from(seconds)),
                ("who", Value::from(who)),
                ("text", Value::from(text.to_string())),
            ])))?;
        } else {
            let (dim, bold, plain) = if self.styled {
                ("\x1b[2m", "\x1b[1m", "\x1b[0m")
            } else {
                ("", "", "")
            };
            self.out.line(format_args!(
                "{dim}{seconds:>6.2} s{plain}  {bold}{who:<10}{plain}  {text}"
            ))?;
        }
        self.out.flush()
    }

    /// Goes on under the line before; for people only.
    pub(super) fn more(&mut self, text: impl Display) -> Result {
        self.plain(format_args!("{:INDENT$}{text}", ""))
    }

    /// A line without a time; for people only.
    pub(super) fn plain(&mut self, text: impl Display) -> Result {
        if self.is_json() {
            return Ok(());
        }
        self.out.line(text)?;
        self.out.flush()
    }

    /// What came of it all; for programs only.
    pub(super) fn object(&mut self, object: &pocket_core::Map) -> Result {
        if self.is_json() {
            self.out.line(json(object))?;
        }
        self.out.flush()
    }
}
