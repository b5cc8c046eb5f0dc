//! What the application is told, and that it is true.

use pocket_core::Timestamp;

use super::{Attention, Effect, Session};
use crate::config::MAX_OPEN_CONFLICTS;
use crate::{Progress, Snapshot, Status};

impl Session {
    fn status(&self) -> Status {
        match &self.attention {
            _ if !self.running => Status::Offline,
            Attention::Retrying | Attention::Halted(_) => Status::Error,
            Attention::None if !self.link.is_attached() => Status::Offline,
            Attention::None if self.is_idle() => Status::Idle,
            Attention::None => Status::Syncing,
        }
    }

    /// Whether nothing is on its way, nothing waits, and the server's head was told not long ago.
    fn is_idle(&self) -> bool {
        let (Some(live), Some(replica)) = (self.link.live(), self.store.replica()) else {
            return false;
        };
        let drained = live.push.is_quiet() && self.store.pending() == 0
            || pocket_core::mutants::active("pocket-mutant:idle-with-outbox");
        let pushed = !self.config.pushes() || drained;
        let read = live.pull.is_quiet() && !self.is_behind() && replica.waiting == 0;
        let pulled = !self.config.pulls() || read;
        live.attached && self.store.is_quiet() && pushed && pulled && self.now <= live.idle_until()
    }

    /// Tells how things stand, before anything else that this event led to: whoever is about to be given the first
    /// part of a catch-up reads `syncing` before it is stored.
    pub(super) fn publish(&mut self) {
        let status = self.status();
        if status == Status::Idle {
            self.in_step();
        }
        let snapshot = Snapshot {
            status,
            progress: self.progress(),
            checkpoint: self
                .store
                .replica()
                .map(|replica| replica.checkpoint.clone()),
            stats: {
                self.stats.pending = self.store.pending();
                if let Some(replica) = self.store.replica() {
                    self.stats.undecided = replica.undecided;
                    self.stats.open_conflicts = replica.open_conflicts;
                    self.stats.journal_overfull = replica.open_conflicts > MAX_OPEN_CONFLICTS;
                }
                self.stats.left_out = self.store.left_out();
                self.stats.clone()
            },
        };
        if self.published.as_ref() != Some(&snapshot) {
            self.published = Some(snapshot.clone());
            self.effects.insert(0, Effect::Publish(Box::new(snapshot)));
        }
    }

    /// Both sides are in step at this moment.
    fn in_step(&mut self) {
        self.stats.last_error = None;
        self.first_sync_complete |= self.config.pulls();
        let was_idle = self
            .published
            .as_ref()
            .is_some_and(|last| last.status == Status::Idle);
        if !was_idle {
            let now = i64::try_from(self.now.millis()).unwrap_or(i64::MAX);
            self.stats.last_sync_at = self
                .server_clock
                .map(|zero| Timestamp::from_millis(zero.saturating_add(now)));
        }
    }

    fn progress(&mut self) -> Progress {
        let Some(replica) = self.store.replica() else {
            return Progress {
                first_sync_complete: self.first_sync_complete,
                ..Progress::default()
            };
        };
        let checkpoint = &replica.checkpoint;
        let beyond_first = checkpoint
            .fixed_head
            .is_none_or(|fixed| checkpoint.seq >= fixed);
        let complete = checkpoint.epoch.is_some()
            && checkpoint.joining.is_empty()
            && beyond_first
            && !checkpoint.resyncing;
        let joining = checkpoint
            .joining
            .iter()
            .map(|joining| checkpoint.seq.get().saturating_sub(joining.position.get()));
        let ahead = self.link.live().map_or(0, |live| {
            live.head.get().saturating_sub(checkpoint.seq.get())
        });
        self.first_sync_complete |= complete && self.config.pulls();
        Progress {
            push_left: self.store.pending(),
            pull_left: joining.max().unwrap_or(0).saturating_add(ahead),
            first_sync_complete: self.first_sync_complete,
            resyncing: checkpoint.resyncing,
        }
    }
}
