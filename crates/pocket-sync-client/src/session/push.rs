//! Sending the outbox: numbered mutations, several pushes in flight, outcomes in order.

mod turn;

use std::collections::VecDeque;

use bytes::Bytes;
use pocket_core::replica::{ReplicaState, Resent};
use pocket_core::storage::ordered::BTreeSet;
use pocket_core::{ClientId, Mutation, MutationContent, MutationNumber, Outcome, PushLimit, Seq};
use pocket_sync_protocol::codes::{self as wire, rejection};
use pocket_sync_protocol::limits::MAX_MESSAGE_BYTES;
use pocket_sync_protocol::{Outcomes, ProtocolError, Push, ServerLimits, encode_client};

use super::StoreRequest;
use crate::Moment;
use crate::config::{PUSHES_AHEAD, PUSHES_IN_FLIGHT};

/// The most changes of a push, so that a whole transaction more still fits the protocol's limit.
const MAX_BATCH: usize = 3_000;

/// What a change costs in a message beside id and body, at the most.
const CHANGE_BYTES: usize = 64;
/// Pushes that must arrive before one more may be in flight, once the server had asked for less.
const ARRIVALS: u32 = 64;

/// The pushing half of a live connection.
#[derive(Debug)]
pub(super) struct Pushing {
    batch: usize,
    /// Bytes of one push; only a single mutation may be larger.
    budget: usize,
    /// Bytes that the server takes.
    message_bytes: usize,
    window: usize,
    /// Numbered, and to be sent next.
    ready: VecDeque<Mutation>,
    ready_changes: usize,
    /// Those among them that are sent with nothing else on its way: connections ended while they were.
    suspects: BTreeSet<MutationNumber>,
    /// Pushes in flight at the most, when the server did not ask for fewer.
    most: usize,
    /// Pushes that were answered since the window changed.
    arrived: u32,
    /// Sent, without an outcome that has its turn.
    flying: VecDeque<Flight>,
    /// Outcomes that have their turn, to be stored.
    done: Option<Done>,
    /// Numbered mutations that are still to be read again.
    resend: Resend,
    wants_pin: bool,
    /// The changes that the last pin was asked for at the most.
    pin_limit: usize,
    paused_until: Option<Moment>,
    /// Rises when what is under way is given up; store answers of an earlier round are stale.
    round: u32,
    moved_at: Moment,
}

/// Which numbered mutations have to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resend {
    None,
    /// Those without a stored outcome.
    Unsettled,
    /// Those from this number on.
    From(MutationNumber),
}

/// A push on its way.
#[derive(Debug)]
struct Flight {
    id: u32,
    /// The number of the first mutation without an outcome that was moved on.
    first: MutationNumber,
    /// The number of changes of each mutation from there on.
    changes: VecDeque<u64>,
    /// What is known of them, from the first on.
    outcomes: Vec<Outcome>,
    /// The outcomes that were stored when it was sent.
    confirmed: MutationNumber,
    /// Nothing else may be on its way.
    alone: bool,
    /// Of its frame.
    bytes: u64,
}

impl Flight {
    fn is_complete(&self) -> bool {
        self.outcomes.len() >= self.changes.len()
    }

    fn expects(&self) -> MutationNumber {
        self.first.plus(self.outcomes.len() as u64)
    }
}

#[derive(Debug)]
struct Done {
    first: MutationNumber,
    outcomes: Vec<Outcome>,
}

impl Pushing {
    pub(super) fn new(batch: usize, limits: &ServerLimits, now: Moment) -> Self {
        // No server may be configured for more, whatever this one says.
        let message_bytes = limits.message_bytes.min(MAX_MESSAGE_BYTES);
        Self {
            batch: batch.clamp(1, MAX_BATCH),
            budget: message_bytes / 2,
            message_bytes,
            window: limits.pushes.clamp(1, PUSHES_IN_FLIGHT),
            most: limits.pushes.clamp(1, PUSHES_IN_FLIGHT),
            arrived: 0,
            ready: VecDeque::new(),
            ready_changes: 0,
            suspects: BTreeSet::new(),
            flying: VecDeque::new(),
            done: None,
            resend: Resend::None,
            wants_pin: false,
            pin_limit: 0,
            paused_until: None,
            round: 0,
            moved_at: now,
        }
    }

    /// The connection may push: first what was numbered before, if there is any.
    pub(super) fn begin(&mut self, resend: bool, now: Moment) {
        self.wants_pin = true;
        self.moved_at = now;
        if resend {
            self.resend = Resend::Unsettled;
        }
    }

    pub(super) fn round(&self) -> u32 {
        self.round
    }

    pub(super) fn want_pin(&mut self) {
        self.wants_pin = true;
    }

    /// Whether nothing is on its way and nothing more to be numbered.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_at_rest() && !self.wants_pin
    }

    /// Whether everything that has a number has an outcome that is stored, or being stored.
    pub(super) fn is_at_rest(&self) -> bool {
        self.flying.is_empty()
            && self.ready.is_empty()
            && self.done.is_none()
            && self.resend == Resend::None
    }

    /// What a push on its way confirmed. Outcomes stored since may be younger than an answer that was overtaken.
    fn confirmed_with(&self, id: u32) -> Option<MutationNumber> {
        let mut flying = self.flying.iter();
        flying
            .find(|flight| flight.id == id)
            .map(|flight| flight.confirmed)
    }

    pub(super) fn is_flying(&self, id: u32) -> bool {
        self.flying.iter().any(|flight| flight.id == id)
    }

    /// Since when an outcome is owed.
    pub(super) fn waiting_since(&self) -> Option<Moment> {
        self.flying
            .iter()
            .any(|flight| !flight.is_complete())
            .then_some(self.moved_at)
    }

    /// Bytes on their way, or perhaps still here, of pushes without an answer.
    pub(super) fn unanswered_bytes(&self) -> u64 {
        let open = self.flying.iter().filter(|flight| !flight.is_complete());
        open.map(|flight| flight.bytes).sum()
    }

    /// The mutations on their way without an outcome, from the first to the last.
    pub(super) fn unanswered(&self) -> Option<(MutationNumber, MutationNumber)> {
        let mut open = self.flying.iter().filter(|flight| !flight.is_complete());
        let first = open.next()?;
        let last = open.next_back().unwrap_or(first);
        let behind = last.changes.len() as u64;
        let last = MutationNumber::new(last.first.get() + behind - 1);
        Some((first.expects(), last))
    }

    pub(super) fn resumes_at(&self) -> Option<Moment> {
        self.paused_until
    }

    pub(super) fn resume(&mut self, now: Moment) {
        if self.paused_until.is_some_and(|at| at <= now) {
            self.paused_until = None;
        }
    }

    /// The server takes less than it is sent: one push at a time, and more again only after many that arrived.
    ///
    /// With several in flight, the refusal of a later one would come before the outcome of an earlier one and give that
    /// up as well, each time anew.
    pub(super) fn slow_down(&mut self) {
        self.window = 1;
        self.arrived = 0;
    }

    fn has_arrived(&mut self) {
        self.arrived += 1;
        if self.arrived >= ARRIVALS && self.window < self.most {
            self.window += 1;
            self.arrived = 0;
        }
    }

    /// Gives up what is under way and sends it again from the first unsettled number on.
    pub(super) fn send_again_at(&mut self, moment: Moment) {
        self.flying.clear();
        self.ready.clear();
        self.ready_changes = 0;
        self.suspects.clear();
        self.resend = Resend::Unsettled;
        self.wants_pin = true;
        self.paused_until = Some(moment);
        self.round += 1;
    }

    /// Somebody asks for it: nothing is waited for any longer.
    pub(super) fn go_on(&mut self) {
        self.paused_until = None;
    }

    /// Outcomes to be stored, which must happen before anything is read again.
    pub(super) fn take_done(&mut self) -> Option<StoreRequest> {
        let done = self.done.take()?;
        Some(StoreRequest::Settle {
            first: done.first,
            outcomes: done.outcomes,
        })
    }

    /// What to ask the store for next, so that there is always something to send. `hold`: number nothing more.
    pub(super) fn next_request(
        &mut self,
        replica: &ReplicaState,
        hold: bool,
    ) -> Option<StoreRequest> {
        let under_way = self.flying.len() + self.ready_changes.div_ceil(self.batch);
        let free = PUSHES_AHEAD.saturating_sub(under_way);
        // Half a window at once: the store makes each pin durable, and one for eight pushes costs as much as one for one.
        if self.paused_until.is_some() || self.done.is_some() || 2 * free < PUSHES_AHEAD {
            return None;
        }
        let limit = PushLimit {
            changes: free * self.batch,
            bytes: free * self.budget,
        };
        let from = match self.resend {
            Resend::None => None,
            Resend::Unsettled => Some(replica.confirmed.next()),
            Resend::From(number) => Some(number),
        };
        if let Some(from) = from {
            return Some(StoreRequest::Resend { from, limit });
        }
        if !hold && std::mem::take(&mut self.wants_pin) {
            self.pin_limit = limit.changes;
            return Some(StoreRequest::Pin(limit));
        }
        None
    }

    /// Freshly numbered mutations.
    pub(super) fn pinned(&mut self, mutations: Vec<Mutation>) {
        // Fewer than asked for are most likely all; a load that follows knows for sure.
        self.wants_pin |= mutations.iter().map(weight).sum::<usize>() >= self.pin_limit;
        self.add(mutations);
    }

    /// Mutations numbered before; `last` is the last number there is.
    pub(super) fn resent(&mut self, resent: Resent, last: MutationNumber) {
        self.suspects.extend(resent.suspects);
        let mutations = resent.mutations;
        let reached = mutations.last().map(|mutation| mutation.number);
        self.resend = match reached {
            Some(reached) if reached < last => Resend::From(reached.next()),
            _ => Resend::None,
        };
        self.add(mutations);
    }

    fn add(&mut self, mutations: Vec<Mutation>) {
        self.ready_changes += mutations.iter().map(weight).sum::<usize>();
        self.ready.extend(mutations);
    }

    fn may_send(&self) -> bool {
        let Some(next) = self.ready.front() else {
            return false;
        };
        let alone = self.suspects.contains(&next.number)
            || self.flying.back().is_some_and(|flight| flight.alone);
        let window = if alone { 1 } else { self.window };
        self.flying.len() < window && self.paused_until.is_none()
    }

    /// The next push.
    fn next_push(
        &mut self,
        id: u32,
        client: ClientId,
        confirmed: MutationNumber,
        now: Moment,
    ) -> Result<Bytes, ProtocolError> {
        let first = self
            .ready
            .front()
            .map_or(MutationNumber::ZERO, |mutation| mutation.number);
        let alone = self.suspects.remove(&first);
        let mut mutations = Vec::new();
        let (mut changes, mut bytes) = (0, 0);
        while let Some(mutation) = self.ready.front() {
            let (more, cost) = (weight(mutation), cost(mutation));
            let full = changes + more > self.batch || bytes + cost > self.budget;
            let apart = alone || self.suspects.contains(&mutation.number);
            if !mutations.is_empty() && (full || apart) {
                break;
            }
            (changes, bytes) = (changes + more, bytes + cost);
            mutations.extend(self.ready.pop_front());
        }
        self.ready_changes -= changes;
        let counts = mutations
            .iter()
            .map(|mutation| mutation.changes().len() as u64)
            .collect();
        let mut frame =
            encode_client(&Push::build(id, client, first, confirmed, &mutations)?.into());
        if frame.len() > self.message_bytes && mutations.len() == 1 {
            // It can never arrive, but its number must: the outcome tells that nothing of it took effect.
            mutations[0].content = MutationContent::Withdrawn;
            frame = encode_client(&Push::build(id, client, first, confirmed, &mutations)?.into());
        }
        if self.flying.is_empty() {
            self.moved_at = now;
        }
        self.flying.push_back(Flight {
            id,
            first,
            changes: counts,
            outcomes: Vec::new(),
            confirmed,
            alone,
            bytes: frame.len() as u64,
        });
        Ok(frame)
    }

    /// Takes the outcomes of a push that is on its way; those of any other, and those told before, are ignored.
    ///
    /// Returns the highest place they tell of, or what is wrong with them.
    fn outcomes(&mut self, answer: Outcomes, now: Moment) -> Result<Option<Seq>, ProtocolError> {
        let Some(flight) = self.flying.iter_mut().find(|flight| flight.id == answer.id) else {
            return Ok(None);
        };
        if answer.first < flight.expects() {
            return Ok(None);
        }
        let known = flight.outcomes.len();
        if answer.first > flight.expects() || known + answer.outcomes.len() > flight.changes.len() {
            return Err(ProtocolError::bad_frame(format!(
                "outcomes from {} do not fit their push",
                answer.first
            )));
        }
        let mut highest = None;
        for (outcome, changes) in answer
            .outcomes
            .into_iter()
            .zip(flight.changes.iter().skip(known))
        {
            flight.outcomes.push(match outcome {
                Outcome::Applied { first: Seq::ZERO } if *changes > 0 => too_large(),
                Outcome::Applied { first } => {
                    highest = highest.max(Some(first.plus(changes.saturating_sub(1))));
                    Outcome::Applied { first }
                }
                other => other,
            });
        }
        self.moved_at = now;
        self.collect();
        Ok(highest)
    }

    /// Moves on the outcomes whose turn it is: those of the oldest pushes, in order and without a hole.
    fn collect(&mut self) {
        while let Some(flight) = self.flying.front_mut() {
            let complete = flight.is_complete();
            if !flight.outcomes.is_empty() {
                let first = flight.first;
                flight.first = flight.expects();
                flight.changes.drain(..flight.outcomes.len());
                let done = self.done.get_or_insert(Done {
                    first,
                    outcomes: Vec::new(),
                });
                done.outcomes.append(&mut flight.outcomes);
            }
            if !complete {
                return;
            }
            self.flying.pop_front();
            self.has_arrived();
        }
    }
}

impl Pushing {
    /// A planted bug's view: outcomes count as stored once they are heard.
    fn heard_up_to(&self, stored: MutationNumber) -> MutationNumber {
        let done = self.done.as_ref();
        done.map_or(stored, |done| {
            MutationNumber::new(done.first.get() + done.outcomes.len() as u64 - 1)
        })
    }
}

/// What a mutation counts against the batch; a withdrawn one travels too.
fn weight(mutation: &Mutation) -> usize {
    mutation.changes().len().max(1)
}

/// The bytes of a mutation in a message, at the most.
fn cost(mutation: &Mutation) -> usize {
    let of = |change: &pocket_core::Change| {
        CHANGE_BYTES
            + change.collection.as_str().len()
            + change.id.as_str().len()
            + change.kind.body().map_or(0, pocket_core::Body::len)
    };
    CHANGE_BYTES + mutation.changes().iter().map(of).sum::<usize>()
}

/// Applied nowhere though it had changes: it was sent withdrawn, now or before a crash.
fn too_large() -> Outcome {
    Outcome::Rejected {
        code: rejection::DOCUMENT_TOO_LARGE.to_owned(),
        reason: format!(
            "the change does not fit into one message of the server (`{}`); make it smaller, or raise the server's limit",
            wire::TOO_LARGE
        ),
        server_time: None,
    }
}
