//! Commands: somebody waits until everything of this moment is through.

use pocket_core::mutants::active;
use pocket_core::replica::ReplicaState;
use pocket_core::{MutationNumber, Seq};
use pocket_sync_protocol::Direction;
use pocket_sync_protocol::codes as wire;

use super::storing::unsettled;
use super::{Attention, Effect, Pass, Session};
use crate::{SyncError, codes};

/// A command that is not done.
#[derive(Debug)]
pub(super) struct Waiting {
    id: u64,
    push: bool,
    pull: bool,
    /// The ping that asked for the head; an answer to it or to a later one tells a head of after the call.
    ping: Option<u32>,
    /// A hello was on its way at the call, so the welcome it meets may be older than the call.
    greeted: bool,
    /// The head to reach; none before the server was heard of since the call.
    head: Option<Seq>,
    /// The load that sees the outbox as it was at the call; that one or a later one sets the number.
    load: u64,
    /// The number to settle; none before the outbox was seen.
    number: Option<MutationNumber>,
    /// Mutations turned back when the number was set: later ones may be in the outbox again.
    turned_back: u64,
    /// The head once everything is pushed: what this side pushed is read back, so that a complete pass ends in step.
    own: Option<Seq>,
    /// Connections lost meanwhile, and pushes that were turned back for later.
    closures: u32,
}

impl Session {
    pub(super) fn command(&mut self, id: u64, pass: Pass) {
        let direction = self.config.direction;
        let refusal = match (&self.attention, pass, direction) {
            _ if !self.running => Some(SyncError::stopped()),
            (Attention::Halted(error), _, _) => Some(error.clone()),
            (_, Pass::Push, Direction::Pull) | (_, Pass::Pull, Direction::Push) => {
                Some(SyncError::new(
                    codes::DIRECTION,
                    "the engine's direction excludes this; use `force_sync`, or configure `direction: both`",
                ))
            }
            _ => None,
        };
        if let Some(error) = refusal {
            return self.effects.push(Effect::Finished {
                id,
                result: Err(error),
            });
        }
        // Whatever is being loaded now may have begun before the last write.
        self.store.want_load();
        self.doubt_left_out();
        if let Some(live) = self.link.live_mut().filter(|_| self.commands.is_empty()) {
            // The server has its time from the first call that waits.
            live.ask_again();
        }
        let ping = self.ping();
        let told = self.link.live().map(|live| live.head);
        let head = told.filter(|_| active("pocket-mutant:pass-ends-at-an-older-head"));
        self.commands.push(Waiting {
            id,
            push: self.config.pushes() && pass != Pass::Pull,
            pull: self.config.pulls() && pass != Pass::Push,
            ping,
            greeted: matches!(self.link, super::Link::Greeting { .. }),
            head,
            load: self.store.loads + 1,
            number: None,
            turned_back: 0,
            own: None,
            closures: 0,
        });
        // Only somebody else makes room on the server's disk, perhaps just now: who asks hears at once how it is.
        let was_full = self.stats.last_error.as_ref();
        let was_full = was_full.is_some_and(|error| error.code() == wire::SERVER_FULL);
        if let Some(live) = self.link.live_mut().filter(|_| was_full) {
            live.push.go_on();
        }
        if self.retry_at.is_some() || (!self.config.auto_retry && self.link.connection().is_none())
        {
            self.retry_at = Some(self.now);
        }
    }

    /// The server told its head: in its welcome, or in answer to this ping.
    pub(super) fn commands_at_head(&mut self, ping: Option<u32>, head: Seq) {
        for command in &mut self.commands {
            let after_call = match (ping, command.ping) {
                (Some(answered), Some(asked)) => answered >= asked,
                (None, _) => !command.greeted,
                (Some(_), None) => false,
            };
            if after_call && command.head.is_none() {
                command.head = Some(head);
            }
        }
    }

    /// The connection is up: asks for the head on behalf of those whom the welcome does not tell it.
    pub(super) fn ping_for_commands(&mut self) {
        if !self.commands.iter().any(|command| command.greeted) {
            return;
        }
        let ping = self.ping();
        for command in self.commands.iter_mut().filter(|command| command.greeted) {
            command.greeted = false;
            command.ping = ping;
        }
    }

    /// The outbox was looked at.
    pub(super) fn commands_loaded(&mut self, state: &ReplicaState, load: u64) {
        let turned_back = self.store.turned_back;
        for command in self
            .commands
            .iter_mut()
            .filter(|command| command.number.is_none() && command.load <= load)
        {
            command.number = Some(last_queued(state));
            command.turned_back = turned_back;
        }
    }

    /// The connection is lost: commands bear that a few times, and aim at the new connection's head.
    pub(super) fn bear_closure(&mut self, error: &SyncError) {
        let most = self.config.max_retry_attempts;
        for command in &mut self.commands {
            command.closures += 1;
            command.ping = None;
            command.greeted = false;
            command.head = None;
            command.own = None;
        }
        let (over, borne) = std::mem::take(&mut self.commands)
            .into_iter()
            .partition(|command| command.closures > most);
        self.commands = borne;
        self.finish(over, Some(error));
    }

    /// The server took nothing of a push for now, which comes again by itself: a command bears that as often as a lost
    /// connection, and a full disk not at all, since nobody knows when somebody makes room.
    pub(super) fn bear_refusal(&mut self, error: &SyncError) {
        if error.code() == wire::RATE_LIMITED {
            // The server said when it goes on.
            return;
        }
        let is_full = error.code() == wire::SERVER_FULL;
        let most = self.config.max_retry_attempts;
        for command in self.commands.iter_mut().filter(|command| command.push) {
            command.closures += 1;
        }
        let (over, borne) = std::mem::take(&mut self.commands)
            .into_iter()
            .partition(|command| command.push && (is_full || command.closures > most));
        self.commands = borne;
        self.finish(over, Some(error));
    }

    pub(super) fn fail_commands(&mut self, error: &SyncError) {
        let all = std::mem::take(&mut self.commands);
        self.finish(all, Some(error));
    }

    /// Finishes the commands that have what they wait for.
    pub(super) fn finish_commands(&mut self) {
        if self.commands.is_empty() || !self.link.is_attached() || self.store.is_loading() {
            return;
        }
        let Some(replica) = self.store.replica().cloned() else {
            return;
        };
        let turned_back = self.store.turned_back;
        let Some(live) = self.link.live() else {
            return;
        };
        let drained = live.push.is_quiet() && self.store.is_quiet() && self.store.pending() == 0;
        // One that asks for nothing by itself would wait for somebody else's reason to ask.
        let told = Some(live.head).filter(|_| self.config.poll_millis != Some(0));
        let mut finished = Vec::new();
        for mut command in std::mem::take(&mut self.commands) {
            let done = command.is_done(&replica, turned_back, drained, told);
            if done {
                &mut finished
            } else {
                &mut self.commands
            }
            .push(command);
        }
        self.finish(finished, None);
    }

    fn finish(&mut self, commands: Vec<Waiting>, error: Option<&SyncError>) {
        for command in commands {
            let result = error.map_or(Ok(()), |error| Err(error.clone()));
            self.effects.push(Effect::Finished {
                id: command.id,
                result,
            });
        }
    }
}

impl Waiting {
    /// `told`: the newest place that the server told of, as far as it is to be reached.
    fn is_done(
        &mut self,
        replica: &ReplicaState,
        turned_back: u64,
        drained: bool,
        told: Option<Seq>,
    ) -> bool {
        let Some(head) = self.head else { return false };
        if replica.checkpoint.resyncing && !active("pocket-mutant:pass-ends-before-a-sweep") {
            // What is gone leaves, and what the server has lost is sent to it, only when everything was read again.
            self.own = None;
            return false;
        }
        if self.push && !self.is_pushed(replica, turned_back, drained) {
            self.own = None;
            return false;
        }
        if !self.pull {
            return true;
        }
        let own = match told {
            Some(told) if self.push => *self.own.get_or_insert(told),
            _ => head,
        };
        replica.checkpoint.seq >= head.max(own) && replica.checkpoint.joining.is_empty()
    }

    fn is_pushed(&mut self, replica: &ReplicaState, turned_back: u64, drained: bool) -> bool {
        let Some(number) = self.number else {
            return false;
        };
        // A conflict is decided when its record is here, and may be pushed again.
        if replica.waiting > 0 {
            return false;
        }
        if replica.pending == 0 || drained {
            return true;
        }
        if replica.confirmed < number {
            return false;
        }
        // What was decided for the local version, or stamped anew, is in the outbox again and belongs to the pass.
        if turned_back == self.turned_back {
            return true;
        }
        self.turned_back = turned_back;
        self.number = Some(last_queued(replica));
        false
    }
}

/// The number that the last mutation of the outbox has or will get, at the most: those that the scope leaves out get
/// none, and then the pass is over when there is nothing more to send.
fn last_queued(state: &ReplicaState) -> MutationNumber {
    let unsent = state
        .pending
        .saturating_sub(state.waiting)
        .saturating_sub(unsettled(state));
    state.last_number.plus(unsent)
}
