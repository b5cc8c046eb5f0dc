//! What a session tells its client beside answers: errors, and that it ends.

use std::time::Duration;

use pocket_sync_protocol::codes::{self, close};
use pocket_sync_protocol::{ErrorMessage, ServerMessage, encode_server};

use super::{Effect, Session, State};
use crate::engine::EngineError;

/// Codes of errors that are kept until they are asked for.
const TOLD: usize = 64;

/// What a client is told of a failure: what it can do, and nothing of the server's inside or of documents that it may not
/// read. Whoever drives the session has the rest for the log.
pub(super) fn told(error: &EngineError) -> String {
    let text = match error {
        EngineError::Refused(_) => return error.to_string(),
        EngineError::NotApplied(_) => {
            "the server cannot do this now, and stored nothing; try again"
        }
        EngineError::Full(_) => "the server's disk is full, nothing was stored",
        EngineError::Unknown(_) => {
            "whether it was stored is unknown; ask again with the same numbers"
        }
        EngineError::TooLarge(_) => "there is more to read than one message holds; ask for less",
        EngineError::Fatal(_) => {
            "the server cannot do this; its log says why, for whoever looks after it"
        }
    };
    text.to_owned()
}

impl Session {
    pub(super) fn shutdown(&mut self) {
        match &mut self.state {
            State::Open(open) => {
                open.stopping = true;
                open.pull = None;
                self.stop_when_done();
            }
            _ => self.go_away(),
        }
    }

    pub(super) fn stop_when_done(&mut self) {
        if let State::Open(open) = &self.state
            && open.stopping
            && open.pushes.is_empty()
        {
            self.go_away();
        }
    }

    pub(super) fn go_away(&mut self) {
        self.fail(
            codes::GOING_AWAY,
            "the server stops or restarts; connect again".to_owned(),
        );
    }

    /// The log was opened anew since the welcome. The client must know the new epoch before it hears of a place in it,
    /// or it could not tell that place from one that a restored log has lost.
    pub(super) fn reopened(&mut self) {
        self.fail(
            codes::GOING_AWAY,
            "the log was opened anew; connect again".to_owned(),
        );
    }

    pub(super) fn send(&mut self, message: impl Into<ServerMessage>) {
        self.effects
            .push(Effect::Send(encode_server(&message.into())));
    }

    pub(super) fn tells(&mut self, code: &'static str) {
        // Whoever drives this may not want to know.
        if self.told.len() < TOLD {
            self.told.push(code);
        }
    }

    /// Answers a request with an error; the connection goes on.
    pub(super) fn refuse(&mut self, id: u32, code: &'static str, message: &str) {
        self.refuse_for(id, code, message, self.config.retry_after);
    }

    /// Answers a request with an error, and with how long to wait if the same may succeed then.
    pub(super) fn refuse_for(
        &mut self,
        id: u32,
        code: &'static str,
        message: &str,
        wait: Duration,
    ) {
        self.tells(code);
        let retryable = codes::retryable(code);
        self.send(ErrorMessage {
            id: Some(id),
            code: code.to_owned(),
            message: message.to_owned(),
            retryable,
            retry_after: retryable.then_some(wait),
            fatal: false,
        });
    }

    /// Tells what is wrong and ends the connection.
    pub(super) fn fail(&mut self, code: &'static str, message: String) {
        let wait = (code == codes::RATE_LIMITED).then_some(self.config.retry_after);
        self.fail_for(code, message, wait);
    }

    /// As [`fail`](Self::fail), and tells how long to wait before the same may succeed.
    pub(super) fn fail_for(&mut self, code: &'static str, message: String, wait: Option<Duration>) {
        self.tells(code);
        let info = codes::info(code);
        let retryable = codes::retryable(code);
        self.send(ErrorMessage {
            id: None,
            code: code.to_owned(),
            message: message.clone(),
            retryable,
            retry_after: wait,
            fatal: true,
        });
        let close = info.and_then(|info| info.close).unwrap_or(close::INTERNAL);
        self.effects.push(Effect::Close {
            code: close,
            reason: message,
        });
        self.state = State::Over;
    }
}
