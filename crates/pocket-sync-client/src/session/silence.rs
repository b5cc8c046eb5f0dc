//! A server that says nothing while a command waits for it. Heartbeats alone find that out after minutes.

use pocket_sync_protocol::Ping;
use pocket_sync_protocol::codes::close;

use super::Session;
use super::comeback::Return;
use super::link::Live;
use crate::config::{BYTES_A_MILLI, LATE_MILLIS};
use crate::{Moment, SyncError};

/// What is due when nothing is heard while somebody waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// To ask for a sign.
    Ask(Moment),
    /// To take the connection for dead.
    GiveUp(Moment),
}

impl Live {
    /// When to ask for a sign, and when to give up; one of them, for somebody who waits.
    fn answer_due(&self, millis: u64) -> Due {
        match self.asked_at {
            None => Due::Ask(self.heard_at.plus(millis / 2)),
            Some(asked) => {
                let on_its_way = self.push.unanswered_bytes() / BYTES_A_MILLI;
                Due::GiveUp(asked.plus(millis.saturating_add(on_its_way)))
            }
        }
    }
}

impl Session {
    /// Sends a ping and says its id.
    pub(super) fn ping(&mut self) -> Option<u32> {
        let live = self.link.live_mut()?;
        let id = live.next_id();
        live.asked(self.now);
        let ping = Ping { id, time: None };
        self.send(&ping.into());
        Some(id)
    }

    /// What is due of the server while somebody waits for it. Nothing while it owes documents, which may be long on their
    /// way on a slow line.
    pub(super) fn answer_due(&self) -> Option<Due> {
        let live = self.link.live()?;
        let is_waited_for = !self.commands.is_empty();
        let is_owed = self.is_behind() || live.fetch.waiting_since().is_some();
        (is_waited_for && !is_owed).then(|| live.answer_due(self.config.answer_millis))
    }

    /// Nothing came although somebody waits.
    pub(super) fn unanswered(&mut self, due: Moment) {
        if due.plus(LATE_MILLIS) < self.now {
            // This device was asleep. What came meanwhile may not have been taken yet.
            if let Some(live) = self.link.live_mut() {
                live.ask_again();
            }
            self.ping();
            return;
        }
        let error = SyncError::timeout("the server said nothing while a call waited for it");
        self.lose(error, Return::Now, close::TIMEOUT);
    }
}
