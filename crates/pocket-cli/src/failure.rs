//! Why a command failed, and how that is told.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;

use pocket_core::storage::StorageError;
use pocket_core::{Map, Shown, Value};
use pocket_sync_client::SyncError;

use crate::codes;
use crate::output::{Ends, for_people};

/// What is left where a store is damaged and there is no backup.
pub(crate) const SALVAGE: &str =
    ", or save what can still be read (`pocket dump FILE --skip-damaged`)";

/// What a command answers.
pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// The end of a command that did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Cow<'static, str>,
    message: String,
    status: u8,
    told: bool,
}

impl Failure {
    /// A failure of this code; the message says what happened and what to do.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Display) -> Self {
        Self {
            code: code.into(),
            message: message.to_string(),
            status: 1,
            told: false,
        }
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self {
            status: 2,
            ..Self::new(codes::USAGE, message)
        }
    }

    /// The work is done, but a server refused some of it.
    pub(crate) fn refused(message: impl Display) -> Self {
        Self {
            status: 3,
            ..Self::new(codes::REFUSED, message)
        }
    }

    pub(crate) fn interrupted(what: impl Display) -> Self {
        Self::new(codes::INTERRUPTED, what)
    }

    pub(crate) fn io(what: impl Display, error: &io::Error) -> Self {
        Self::new(codes::IO, format!("{what}: {error}"))
    }

    /// Ends the process with this status and without a word: everything was told already, or nobody listens.
    pub(crate) fn silent(status: u8) -> Self {
        Self {
            status,
            told: true,
            ..Self::new(codes::IO, "")
        }
    }

    /// The same where another option means what `option` does.
    pub(crate) fn with_option(mut self, option: &str, here: &str) -> Self {
        self.message = self.message.replace(option, here);
        self
    }

    /// The same without this part of its advice.
    pub(crate) fn without(mut self, advice: &str) -> Self {
        self.message = self.message.replace(advice, "");
        self
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// What happened and what to do.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What happened and what to do.
    pub(crate) fn into_message(self) -> String {
        self.message
    }

    /// The same failure, about a text of one line whose number is told otherwise.
    pub(crate) fn of_one_line(mut self) -> Self {
        self.message = self.message.replace(" at line 1 column ", " at column ");
        self
    }

    /// What the process exits with.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// The same failure as one of the command line.
    pub(crate) fn of_usage(mut self) -> Self {
        self.status = 2;
        self
    }

    /// Whether nothing is left to be said.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    /// The same failure with what it was about in front of its message.
    pub(crate) fn at(mut self, place: impl Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same failure with what else there is to say behind its message.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.message = format!("{}; {more}", self.message);
        self
    }

    /// Says it on stderr, unless it was said already.
    pub(crate) fn tell(&self, ends: &Ends, json: bool) {
        if !self.told {
            ends.say(&self.line(json));
        }
    }

    fn line(&self, json: bool) -> String {
        if !json {
            // A server may have said the code, too.
            let (code, message) = (Shown(&self.code), for_people(&self.message));
            return format!("error[{code}]: {message}");
        }
        let object: Map = [
            ("code", Value::from(&*self.code)),
            ("message", Value::from(self.message.as_str())),
        ]
        .into_iter()
        .collect();
        crate::output::json(&object)
    }
}

impl From<pocket_core::Error> for Failure {
    fn from(error: pocket_core::Error) -> Self {
        let code = error.code();
        // The file itself, and not a value in it.
        let is_of_the_file = code == pocket_core::codes::CORRUPT && error.storage().is_some();
        let is_of_a_document = error.is_of_a_document();
        let mut failure = Self::new(code, error);
        if is_of_the_file && !failure.message.contains("restore") {
            return failure.and(&format!("restore a backup (`pocket restore`){SALVAGE}"));
        }
        if is_of_a_document {
            return failure.and(
                "`pocket delete` removes it, `pocket import --upsert` or `pocket load --existing replace` puts another in its \
                 place, `pocket dump --skip-damaged` saves all others",
            );
        }
        if code == pocket_core::codes::COLLECTION_NOT_FOUND {
            failure.message.push_str(
                " (`pocket collections` lists what there is; `pocket insert` and `pocket collections set` make one)",
            );
        }
        failure
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        pocket_core::Error::from(error).into()
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        Self::new(error.code().to_owned(), error.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_code_and_advice_for_people_and_as_an_object_for_programs() {
        let failure = Failure::new("in-use", "it is \"held\"; end it").at("there");
        assert_eq!(
            failure.line(false),
            "error[in-use]: there: it is \"held\"; end it"
        );
        assert_eq!(
            failure.line(true),
            r#"{"code":"in-use","message":"there: it is \"held\"; end it"}"#
        );
        let of_a_server = Failure::new("forbidden", "go \u{1b}[2Jaway");
        assert_eq!(
            of_a_server.line(false),
            r"error[forbidden]: go \u{1b}[2Jaway"
        );
        let with_a_code = Failure::new("no\u{1b}[2J".to_owned(), "go away");
        assert_eq!(with_a_code.line(false), r"error[no\u{1b}[2J]: go away");
        assert_eq!(failure.status(), 1);
        assert_eq!(Failure::usage("x").status(), 2);
    }
}
