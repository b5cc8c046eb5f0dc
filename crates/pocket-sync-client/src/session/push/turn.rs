//! What a session does about pushes when it is its turn.

use pocket_core::Seq;
use pocket_sync_protocol::Outcomes;
use pocket_sync_protocol::codes::close;

use crate::session::{Effect, Return, Session};
use crate::{SyncError, codes};

impl Session {
    pub(in crate::session) fn outbox_grew(&mut self) {
        self.store.grew();
        if let Some(live) = self.link.live_mut() {
            live.push.want_pin();
        }
    }

    /// Sends as many pushes as the window lets through.
    pub(in crate::session) fn send_pushes(&mut self) {
        if !self.link.is_attached() || !self.config.pushes() || self.store.is_resyncing() {
            return;
        }
        while let (Some(live), Some(replica)) = (self.link.live_mut(), self.store.replica()) {
            if !live.push.may_send() {
                return;
            }
            let confirmed = if pocket_core::mutants::active("pocket-mutant:confirmed-before-stored")
            {
                live.push.heard_up_to(replica.confirmed)
            } else {
                replica.confirmed
            };
            let id = live.next_id();
            match live.push.next_push(id, replica.client, confirmed, self.now) {
                Ok(frame) => self.effects.push(Effect::Send(frame)),
                // What the store gave cannot be sent: trying again at full speed would not change it.
                Err(error) => return self.lose(error.into(), Return::Slowly, close::NORMAL),
            }
        }
    }

    pub(in crate::session) fn outcomes(&mut self, answer: Outcomes) {
        let again_at = self.now.plus(if answer.gap.is_some() {
            self.backoff.next()
        } else {
            0
        });
        let Some(live) = self.link.live_mut() else {
            return;
        };
        let Some(confirmed) = live.push.confirmed_with(answer.id) else {
            return;
        };
        let gap = answer.gap;
        match live.push.outcomes(answer, self.now) {
            Ok(highest) => live.raise_head(highest.unwrap_or(Seq::ZERO)),
            Err(error) => return self.broken(error.into()),
        }
        match gap {
            // The next handshake compares the histories.
            Some(expected) if expected <= confirmed => self.lose(
                SyncError::retryable(
                    codes::RESTORED_SERVER,
                    format!(
                        "the server expects number {expected}, but had answered up to {confirmed}: it was restored \
                         from an older state"
                    ),
                ),
                Return::Soon,
                close::NORMAL,
            ),
            Some(_) => live.push.send_again_at(again_at),
            None => {}
        }
    }
}
