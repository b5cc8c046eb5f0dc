//! Texts of others, as people are shown them.

use std::fmt::{self, Write};

/// A text of somebody else, such as an id, for the screen of a person.
///
/// Control characters, breaks of lines and what turns the direction of text are written as Rust writes them (`\n`, `\u{1b}`).
/// Whoever may write a document could else have a terminal show lines that nobody said.
///
/// ```
/// assert_eq!(pocket_core::Shown("a\nb \u{1b}[31m ü").to_string(), r"a\nb \u{1b}[31m ü");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    write!(f, "{}", c.escape_default())?;
                }
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
