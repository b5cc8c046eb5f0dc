//! Asking the store, one request at a time, and what its answers mean.

use pocket_core::replica::{ReplicaState, Scope, Verdict, Verified};
use pocket_core::{Mutation, MutationNumber};
use pocket_sync_protocol::codes::close;

use super::link::Link;
use super::{Effect, Return, Session, StoreAnswer, StoreRequest, StoreRequestKind};
use crate::{SyncError, codes};

/// What the session knows of its store.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// The one request without an answer.
    asked: Option<Ticket>,
    /// Where the replica stood at the last answer; none before the first one and after a failure.
    replica: Option<ReplicaState>,
    /// What has to change in it before anything else.
    due: Option<Due>,
    /// It has to be read again before anything relies on it.
    wants_load: bool,
    /// The outbox grew, or a collection began to sync, and it was not read since what that means.
    grew: bool,
    /// Mutations that were on their way when a connection ended, and may be why: to be noted before they are sent again.
    blamed: Option<(MutationNumber, MutationNumber)>,
    /// Mutations that the scope keeps in the outbox, as the last pin found them. When it may be another number now, a
    /// pin is due.
    left_out: u64,
    /// Loads asked for so far.
    pub(super) loads: u64,
    /// Mutations that did not take effect as they were, so far: something may be in the outbox again.
    pub(super) turned_back: u64,
    /// Whether a push request had its turn last.
    pushed_last: bool,
}

/// A change of what a hello says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It takes another client id.
    Renewal,
    /// Everything is read again.
    Resync,
}

/// For whom a request was made: answers to somebody who is gone only tell where the replica stands.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    kind: StoreRequestKind,
    connection: Option<u64>,
    round: u32,
}

impl Store {
    pub(super) fn replica(&self) -> Option<&ReplicaState> {
        self.replica.as_ref()
    }

    /// What is known may no longer hold.
    pub(super) fn forget(&mut self) {
        self.replica = None;
        self.wants_load = false;
    }

    pub(super) fn want_load(&mut self) {
        self.wants_load = true;
    }

    pub(super) fn want_renewal(&mut self) {
        self.due = Some(Due::Renewal);
    }

    pub(super) fn want_resync(&mut self) {
        self.due = Some(Due::Resync);
    }

    pub(super) fn grew(&mut self) {
        self.grew = true;
    }

    /// A connection ended while these were on their way.
    pub(super) fn blame(&mut self, first: MutationNumber, last: MutationNumber) {
        let (before_first, before_last) = self.blamed.unwrap_or((first, last));
        self.blamed = Some((first.min(before_first), last.max(before_last)));
    }

    /// Whether a load is under way or due.
    pub(super) fn is_loading(&self) -> bool {
        self.wants_load
            || self
                .asked
                .is_some_and(|ticket| ticket.kind == StoreRequestKind::Load)
    }

    /// Whether a welcome is being stored.
    ///
    /// Nobody may say hello meanwhile: with the token of before, the server would forget the one that is being stored,
    /// and take who presents it for a copy.
    pub(super) fn is_attaching(&self) -> bool {
        self.asked
            .is_some_and(|ticket| ticket.kind == StoreRequestKind::Attach)
    }

    /// Whether the store is about to change what a hello says.
    pub(super) fn is_changing(&self) -> bool {
        let asked = self.asked.is_some_and(|ticket| {
            matches!(
                ticket.kind,
                StoreRequestKind::Renew | StoreRequestKind::Resync
            )
        });
        asked || self.due.is_some() || self.is_attaching()
    }

    /// Whether what is known suffices for a hello.
    pub(super) fn is_ready(&self) -> bool {
        self.replica.is_some() && !self.is_changing()
    }

    /// Whether everything is being read again, and nothing is sent until that is done.
    pub(super) fn is_resyncing(&self) -> bool {
        self.replica()
            .is_some_and(|replica| replica.checkpoint.resyncing)
    }

    /// Whether nothing is under way and the outbox was looked at since it grew.
    pub(super) fn is_quiet(&self) -> bool {
        self.asked.is_none() && !self.wants_load && !self.grew && !self.is_resyncing()
    }

    /// What the outbox holds for this session to send, at the least.
    pub(super) fn pending(&self) -> u64 {
        self.replica().map_or(0, |replica| {
            let wanted = replica.pending.saturating_sub(self.left_out);
            wanted.max(unsettled(replica))
        })
    }

    /// What the scope keeps in the outbox.
    pub(super) fn left_out(&self) -> u64 {
        let pending = self.replica().map_or(0, |replica| replica.pending);
        self.left_out.min(pending)
    }
}

/// Mutations that have a number but no stored outcome.
pub(super) fn unsettled(replica: &ReplicaState) -> u64 {
    replica
        .last_number
        .get()
        .saturating_sub(replica.confirmed.get())
}

impl Session {
    /// Asks the store for whatever is needed most, unless it is still busy.
    pub(super) fn ask_store(&mut self) {
        if self.store.asked.is_some() || !self.running {
            return;
        }
        let Some(request) = self.next_request() else {
            return;
        };
        let kind = request.kind();
        if kind == StoreRequestKind::Load {
            self.store.loads += 1;
            self.store.wants_load = false;
            self.store.grew = false;
        }
        let round = self.link.live().map_or(0, |live| live.push.round());
        self.store.asked = Some(Ticket {
            kind,
            connection: self.link.connection(),
            round,
        });
        let client = self.store.replica.as_ref().map(|replica| replica.client);
        self.effects.push(Effect::Store { client, request });
    }

    fn next_request(&mut self) -> Option<StoreRequest> {
        // Tried again no sooner than the next connection: a disk that is full stays so for a while.
        let is_time = self.retry_at.is_some_and(|at| at <= self.now);
        match self.store.due.take_if(|_| is_time) {
            Some(Due::Renewal) => return Some(StoreRequest::Renew),
            Some(Due::Resync) => return Some(StoreRequest::Resync),
            None => {}
        }
        if self.store.wants_load {
            return Some(StoreRequest::Load);
        }
        let replica = self.store.replica.as_ref()?;
        if let Some((first, last)) = self.store.blamed.take() {
            return Some(StoreRequest::Blame { first, last });
        }
        let attachment = match &self.link {
            Link::Up(live) if !live.attached => Some(self.attachment(live)),
            _ => None,
        };
        if let Some(attachment) = attachment {
            return Some(StoreRequest::Attach(attachment));
        }
        if let Some(request) = self.asking.next_request(replica) {
            return Some(request);
        }
        let pushes = self.config.pushes();
        let Link::Up(live) = &mut self.link else {
            // Nobody else would see that there is more to send now.
            return self.store.grew.then_some(StoreRequest::Load);
        };
        if let Some(settle) = live.push.take_done() {
            return Some(settle);
        }
        if replica.checkpoint.sweeping {
            return Some(StoreRequest::Sweep);
        }
        let reads = self.config.pulls();
        let pushes = pushes && !replica.checkpoint.resyncing;
        // Records that the feed does not bring are asked for one by one.
        let unread = reads && (replica.unread > 0 || live.fetch.is_under_way());
        let fetches = unread || (pushes && !reads);
        if fetches && let Some(request) = live.fetch.next_request(replica, live.push.is_at_rest()) {
            return Some(request);
        }
        let hold = fetches && live.fetch.is_due(replica);
        // Neither a long catch-up nor a long outbox may keep the other waiting.
        let mut apply = || live.pull.next_request();
        let mut push = || live.push.next_request(replica, hold).filter(|_| pushes);
        let request = if self.store.pushed_last {
            apply().or_else(push)
        } else {
            push().or_else(apply)
        };
        if let Some(request) = &request {
            self.store.pushed_last = request.kind() != StoreRequestKind::Apply;
        }
        // Behind the push that the news was most likely of: how much waits, and whether a collection joins.
        let request = request.or_else(|| self.store.grew.then_some(StoreRequest::Load));
        request.or_else(|| live.pull.next_claim(replica))
    }

    /// The store has answered.
    pub(super) fn stored(&mut self, answer: StoreAnswer) {
        let Some(ticket) = self.store.asked.take() else {
            return;
        };
        let current = ticket.connection.is_some() && ticket.connection == self.link.connection();
        match answer {
            StoreAnswer::Loaded(state) => self.loaded(state),
            StoreAnswer::Attached(state) => {
                self.store.replica = Some(state);
                if current {
                    self.attached();
                }
            }
            StoreAnswer::Pinned(pinned) => {
                let mutations = pinned.mutations;
                self.store.left_out = pinned.left_out;
                self.numbered(&mutations);
                if let Some(live) = self
                    .link
                    .live_mut()
                    .filter(|live| current && live.push.round() == ticket.round)
                {
                    live.push.pinned(mutations);
                }
            }
            StoreAnswer::Blamed(_) => {}
            StoreAnswer::Resent(resent) => {
                let last = self
                    .store
                    .replica()
                    .map_or_else(Default::default, |replica| replica.last_number);
                if let Some(live) = self
                    .link
                    .live_mut()
                    .filter(|live| current && live.push.round() == ticket.round)
                {
                    self.stats.resent_count += resent.mutations.len() as u64;
                    live.push.resent(resent, last);
                }
            }
            StoreAnswer::Settled(settled) => {
                let before = self
                    .store
                    .replica()
                    .map_or(0, |replica| replica.confirmed.get());
                let told = settled.state.confirmed.get().saturating_sub(before);
                self.stats.push_count += told;
                self.store.turned_back += told.saturating_sub(settled.applied as u64);
                let refused = settled.rejected as u64;
                self.stats.conflict_count +=
                    (settled.journaled.len() as u64).saturating_sub(refused);
                self.stats.rejected_count += refused;
                self.progressed(settled.state);
                // A conflict that was decided for the local version is in the outbox again.
                self.store_may_hold_more(told > settled.applied as u64);
            }
            StoreAnswer::Applied(applied) => {
                self.stats.pull_count += applied.changes as u64;
                self.stats.conflict_count += applied.journaled.len() as u64;
                self.store.turned_back += applied.journaled.len() as u64;
                let waiting = self.store.replica().map_or(0, |replica| replica.waiting);
                let moved = !applied.journaled.is_empty() || waiting != applied.state.waiting;
                self.progressed(applied.state);
                self.store_may_hold_more(moved);
                if current {
                    self.page_stored();
                }
            }
            StoreAnswer::Resolved(resolved) => self.resolved(resolved),
            StoreAnswer::Renewed(state) | StoreAnswer::Resyncing(state) => {
                self.store.replica = Some(state);
            }
            StoreAnswer::Swept(applied) => {
                self.stats.conflict_count += applied.journaled.len() as u64;
                self.store.turned_back += applied.journaled.len() as u64;
                let is_over = !applied.state.checkpoint.resyncing;
                // What the server has lost is in the outbox again, and belongs to a pass that waits.
                self.store.turned_back += u64::from(is_over);
                self.progressed(applied.state);
                self.store_may_hold_more(true);
                if let Some(live) = self.link.live_mut().filter(|_| is_over) {
                    // The first page of a pull says whether it has brought everything.
                    live.pull.read_again_at(self.now);
                }
            }
            StoreAnswer::Verified(verified) => self.verified(verified),
            StoreAnswer::Waiting(documents) => {
                if let Some(live) = self.link.live_mut().filter(|_| current) {
                    live.fetch.found(documents);
                }
            }
            StoreAnswer::Failed { request, error } => self.store_failed(request, &error, current),
        }
    }

    fn loaded(&mut self, state: ReplicaState) {
        self.commands_loaded(&state, self.store.loads);
        self.asking.moved();
        self.stands(state);
        self.store_may_hold_more(false);
    }

    /// Mutations have got their numbers, whoever asked for them.
    fn numbered(&mut self, mutations: &[Mutation]) {
        if let (Some(last), Some(replica)) = (mutations.last(), &mut self.store.replica) {
            replica.last_number = replica.last_number.max(last.number);
            self.store.grew = true;
        }
    }

    pub(super) fn progressed(&mut self, state: ReplicaState) {
        self.asking.moved();
        self.backoff.reset();
        self.stands(state);
    }

    /// Takes note of where the replica stands. Where it reads elsewhere from now on, the pull that runs is given up.
    fn stands(&mut self, state: ReplicaState) {
        let begins_anew = state.checkpoint.epoch.is_none()
            && self
                .store
                .replica()
                .is_some_and(|before| before.checkpoint.epoch.is_some());
        let joins = !state.checkpoint.joining.is_empty();
        self.store.replica = Some(state);
        let Some(live) = self.link.live_mut() else {
            return;
        };
        if begins_anew {
            live.pull.read_again_at(self.now);
        } else if joins {
            live.pull.make_way(self.now);
        }
    }

    /// The last answer may have put something into the outbox; `moved`: although as much waits there as before.
    pub(super) fn store_may_hold_more(&mut self, moved: bool) {
        let left_out = self.store.left_out;
        let more = self.store.replica().is_some_and(|replica| {
            let unsent = replica
                .pending
                .saturating_sub(unsettled(replica) + replica.waiting);
            unsent > 0 && (unsent != left_out || moved)
        });
        if let Some(live) = self.link.live_mut().filter(|_| more) {
            live.push.want_pin();
        }
    }

    /// What the scope keeps in the outbox may be another number than the last pin found.
    pub(super) fn doubt_left_out(&mut self) {
        if self.config.scope == Scope::All {
            return;
        }
        if let Some(live) = self.link.live_mut() {
            live.push.want_pin();
        }
    }

    fn verified(&mut self, verified: Verified) {
        if let Verdict::Differs {
            collections,
            resyncs,
        } = verified.verdict
        {
            self.stats.difference_count += 1;
            let names: Vec<_> = collections.iter().map(ToString::to_string).collect();
            let then = if resyncs {
                "everything is read again"
            } else {
                "reading everything again did not help; report it"
            };
            self.stats.last_error = Some(SyncError::retryable(
                codes::DIFFERS,
                format!(
                    "this device does not hold what the server has of {}; {then}",
                    names.join(", ")
                ),
            ));
        }
        self.stands(verified.state);
    }

    fn page_stored(&mut self) {
        let (Some(live), Some(replica)) = (self.link.live_mut(), self.store.replica()) else {
            return;
        };
        live.fetch.stored(replica);
        if let Some(more) = live.pull.applied(replica) {
            self.send(&more.into());
        }
    }

    /// Another handle of the store has left the server, or has taken another client id: what is agreed on this
    /// connection holds no more, so a new one begins as the client of now.
    fn became_other(&mut self, error: &pocket_core::Error) {
        self.store.forget();
        self.store.blamed = None;
        self.first_sync_complete = false;
        if matches!(self.link, Link::Down) {
            // Nobody said hello; when to do so is decided already.
            self.store.want_load();
            return;
        }
        self.hang_up(close::NORMAL, error.code().to_owned());
        let told = SyncError::retryable(error.code().to_owned(), error);
        self.bear_closure(&told);
        self.come_back_at_once(told);
    }

    fn store_failed(
        &mut self,
        request: StoreRequestKind,
        error: &pocket_core::Error,
        current: bool,
    ) {
        if error.code() == pocket_core::codes::OTHER_CLIENT {
            return self.became_other(error);
        }
        if request == StoreRequestKind::Apply && error.code() == pocket_core::codes::STALE_PAGE {
            // Not this page: the stored position says which one.
            self.store.want_load();
            if let Some(live) = self.link.live_mut().filter(|_| current) {
                live.pull.refused(self.now);
            }
            return;
        }
        match request {
            StoreRequestKind::Renew => self.store.want_renewal(),
            StoreRequestKind::Resync => self.store.want_resync(),
            _ => {}
        }
        self.store.forget();
        let told = SyncError::from(error.clone());
        let back = match error.code() {
            pocket_core::codes::CLOSED
            | pocket_core::codes::OTHER_LINEAGE
            | pocket_core::codes::OTHER_NAMESPACE
            | pocket_core::codes::OTHER_USER => Return::Never,
            _ => Return::Slowly,
        };
        if self.running {
            self.lose(told, back, close::GOING_AWAY);
        }
    }
}
