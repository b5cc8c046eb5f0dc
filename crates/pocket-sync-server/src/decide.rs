//! The decision: what becomes of each pushed mutation. Pure and re-runnable; it never does I/O and reads no clock.
//!
//! An engine loads what the pushes name into an [`Overlay`], calls [`decide`] for each push in order, and stores what
//! the overlay then holds in one atomic batch. Exactly-once, ordering and conflict rules exist here and nowhere else.

mod attach;
mod overlay;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use pocket_core::mutants::active;
use pocket_core::{
    Change, ChangeKind, ClientId, Epoch, Hlc, Mutation, MutationContent, MutationNumber, Outcome,
    Seq, SessionToken, Timestamp,
};
use pocket_sync_protocol::PushedMutation;
use pocket_sync_protocol::codes::rejection;
use pocket_sync_protocol::limits::MAX_REASON_BYTES;

use self::overlay::Client;

pub use self::attach::{AttachRefusal, attach};
pub(crate) use self::overlay::size;
pub use self::overlay::{Current, DocumentKey, Overlay, Replaced, WriteSet};
use crate::rules::{Admitted, Authority, Standing};
pub use crate::stored::{ClientRecord, Usage};

/// What decisions are bounded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecideLimits {
    /// The changes of one mutation.
    pub changes: usize,
    /// The outcomes kept for one client before it must confirm some.
    pub unconfirmed: usize,
    /// The bytes of such outcomes, roughly; the last one may go over. They are stored anew with each push of the client.
    pub unconfirmed_bytes: usize,
    /// How far a revision may be ahead of the server's hybrid clock, in milliseconds.
    pub clock_ahead: i64,
    /// What a namespace may hold.
    pub quota: Quota,
}

/// What a namespace may hold; nothing is counted where nothing is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Documents that are not deleted.
    pub documents: Option<u64>,
    /// The bytes of their bodies and ids.
    pub bytes: Option<u64>,
}

impl Quota {
    /// Whether there is a bound at all.
    pub fn is_set(&self) -> bool {
        self.documents.is_some() || self.bytes.is_some()
    }

    /// Why a namespace may not grow from `before` to `after`, if so. Shrinking is always allowed.
    fn exceeded(&self, before: Usage, after: Usage) -> Option<String> {
        let over = |before: u64, after: u64, most: Option<u64>, what: &str| {
            let most = most.filter(|most| after > *most && after > before)?;
            Some(format!(
                "the namespace may hold {most} {what}; delete what is not needed, or ask for more"
            ))
        };
        over(
            before.documents,
            after.documents,
            self.documents,
            "documents",
        )
        .or_else(|| over(before.bytes, after.bytes, self.bytes, "bytes of documents"))
    }
}

impl Default for DecideLimits {
    fn default() -> Self {
        Self {
            changes: 1_000,
            unconfirmed: 20_000,
            unconfirmed_bytes: 1024 * 1024,
            clock_ahead: 60_000,
            quota: Quota::default(),
        }
    }
}

/// A push, taken apart and checked at the edge.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// Who pushes.
    pub user: Arc<str>,
    /// From which client.
    pub client: ClientId,
    /// The session token of the welcome this push follows.
    pub session: SessionToken,
    /// The client has stored the outcomes up to here.
    pub confirmed: MutationNumber,
    /// The number of the first mutation.
    pub first: MutationNumber,
    /// The mutations, contiguous from `first`, or why one of them is rejected.
    pub mutations: Vec<PushedMutation>,
    /// The bytes it came in, for bounds on what is in flight.
    pub bytes: usize,
    /// What its user may do.
    pub authority: Authority,
}

impl PushRequest {
    /// How many changes it holds.
    pub fn changes(&self) -> usize {
        self.mutations
            .iter()
            .flatten()
            .map(|mutation| mutation.changes().len())
            .sum()
    }
}

/// The answer to a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushAnswer {
    /// The number of the first outcome.
    pub first: MutationNumber,
    /// The outcomes, contiguous from `first`.
    pub outcomes: Vec<Outcome>,
    /// Why the mutations behind the outcomes have none.
    pub refusal: Option<Refusal>,
    /// The places that this push itself took, not an earlier sending of it.
    pub written: Vec<RangeInclusive<u64>>,
    /// The opening of the log that answered; none when the engine does not tell.
    pub epoch: Option<Epoch>,
}

/// Why a mutation has no outcome. Nothing is recorded, and the number is not used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// An earlier mutation is missing: this number is expected.
    Gap(MutationNumber),
    /// The client confirmed this number; its outcome is no longer kept.
    UnknownNumber(MutationNumber),
    /// A newer session of this client has begun.
    Replaced,
    /// The client id belongs to another user.
    OtherUser,
    /// Too many outcomes wait to be confirmed, or too large ones.
    Unconfirmed,
}

/// Decides what becomes of a push, and applies what takes effect to `overlay`.
///
/// `now` is the server's time of day. Every document that the push names must be loaded.
pub fn decide(
    now: Timestamp,
    limits: &DecideLimits,
    overlay: &mut Overlay,
    push: &PushRequest,
) -> PushAnswer {
    overlay.clock = overlay.clock.max(Hlc::from_time(now));
    let mut answer = PushAnswer {
        first: push.first,
        outcomes: Vec::with_capacity(push.mutations.len()),
        ..PushAnswer::default()
    };
    let Some(mut client) = overlay.clients.remove(&push.client) else {
        // Each session begins with an attach, so only a store that lost its newest commits can bring us here.
        answer.refusal = Some(Refusal::Replaced);
        return answer;
    };
    answer.refusal = admit(&mut client, push).or_else(|| {
        push.mutations
            .iter()
            .zip(0_u64..)
            .find_map(|(mutation, place)| {
                let number = push.first.plus(place);
                match settle(limits, overlay, &mut client, push, number, mutation) {
                    Ok((outcome, written)) => {
                        answer.outcomes.push(outcome);
                        extend(&mut answer.written, written);
                        None
                    }
                    Err(refusal) => Some(refusal),
                }
            })
    });
    if client.changed {
        client.record.last_seen = now;
    }
    overlay.clients.insert(push.client, client);
    answer
}

/// Whether the push may be looked at; takes note of what it confirms.
fn admit(client: &mut Client, push: &PushRequest) -> Option<Refusal> {
    let record = &mut client.record;
    if record.user != *push.user {
        return Some(Refusal::OtherUser);
    }
    if record.issued != push.session {
        return Some(Refusal::Replaced);
    }
    if record.presented != Some(record.issued) {
        // The client stores the token of its welcome before it pushes: from now on no older one is good.
        record.presented = Some(record.issued);
        record.outstanding.clear();
        client.changed = true;
    }
    let confirmed = push.confirmed.min(record.last);
    while record.confirmed < confirmed {
        record.confirmed = record.confirmed.next();
        let outcome = record.outcomes.pop_front();
        client.outcome_bytes -= outcome.as_ref().map_or(0, outcome_bytes);
        client.changed = true;
    }
    None
}

type Written = Option<RangeInclusive<u64>>;

fn settle(
    limits: &DecideLimits,
    overlay: &mut Overlay,
    client: &mut Client,
    push: &PushRequest,
    number: MutationNumber,
    mutation: &PushedMutation,
) -> Result<(Outcome, Written), Refusal> {
    let record = &client.record;
    if number <= record.confirmed {
        return Err(Refusal::UnknownNumber(number));
    }
    if number <= record.last && !active("pocket-mutant:no-dedup") {
        let place =
            usize::try_from(number.get() - record.confirmed.get() - 1).unwrap_or(usize::MAX);
        return match record.outcomes.get(place) {
            Some(outcome) => Ok((outcome.clone(), None)),
            None => Err(Refusal::UnknownNumber(number)),
        };
    }
    if number > record.last.next() && !active("pocket-mutant:gap-accepted") {
        return Err(Refusal::Gap(record.last.next()));
    }
    if record.outcomes.len() >= limits.unconfirmed
        || client.outcome_bytes >= limits.unconfirmed_bytes
    {
        return Err(Refusal::Unconfirmed);
    }
    let (outcome, written) = judge(limits, overlay, push, mutation);
    if matches!(outcome, Outcome::Rejected { .. }) && active("pocket-mutant:rejected-stops-queue") {
        return Ok((outcome, written));
    }
    client.changed = true;
    let record = &mut client.record;
    while record.last.next() < number {
        // Only a planted bug comes here: what is missing counts as done.
        record.last = record.last.next();
        let done = Outcome::Applied { first: Seq::ZERO };
        client.outcome_bytes += outcome_bytes(&done);
        record.outcomes.push_back(done);
    }
    if number > record.last {
        record.last = number;
        client.outcome_bytes += outcome_bytes(&outcome);
        record.outcomes.push_back(outcome.clone());
    }
    Ok((outcome, written))
}

/// The outcome of a mutation that is due, and the places it took.
fn judge(
    limits: &DecideLimits,
    overlay: &mut Overlay,
    push: &PushRequest,
    mutation: &PushedMutation,
) -> (Outcome, Written) {
    let mutation = match mutation {
        Ok(mutation) => mutation,
        Err(bad) => return (rejected(bad.code, bad.reason.clone()), None),
    };
    let admitted = match admit_changes(overlay, push, mutation.changes()) {
        Ok(admitted) => admitted,
        Err((code, reason)) => return (rejected(code, reason), None),
    };
    if let Some(outcome) = validate(limits, overlay.clock, push.client, mutation) {
        return (outcome, None);
    }
    let changes = match &mutation.content {
        MutationContent::Changes(changes) if !changes.is_empty() => changes,
        MutationContent::Changes(_) | MutationContent::Withdrawn => {
            return (Outcome::Applied { first: Seq::ZERO }, None);
        }
    };
    let in_the_way = |change: &Change| {
        let current = overlay.current(change);
        (!stands(change, current)).then(|| current.map_or(Seq::ZERO, |current| current.seq))
    };
    let seqs: Vec<Seq> = changes.iter().filter_map(in_the_way).collect();
    if !seqs.is_empty() {
        if active("pocket-mutant:half-transaction-applied") {
            let standing: Vec<_> = changes
                .iter()
                .filter(|change| in_the_way(change).is_none())
                .collect();
            for change in standing {
                overlay.write(change, Admitted::default());
            }
        }
        return (Outcome::Conflict { seqs }, None);
    }
    if let Some(usage) = overlay.usage
        && let Some(reason) = limits
            .quota
            .exceeded(usage, overlay.usage_after(usage, changes))
    {
        return (rejected(rejection::QUOTA, reason), None);
    }
    let first = overlay.head.next();
    for (change, admitted) in changes.iter().zip(admitted) {
        overlay.write(change, admitted);
    }
    (
        Outcome::Applied { first },
        Some(first.get()..=overlay.head.get()),
    )
}

/// What the rules say to each change, before anything else is looked at.
fn admit_changes(
    overlay: &Overlay,
    push: &PushRequest,
    changes: &[Change],
) -> Result<Vec<Admitted>, (&'static str, String)> {
    let missing = Standing::default();
    let admit = |change: &Change| {
        let standing = overlay.standing(change).unwrap_or(&missing);
        push.authority.admit(change, standing)
    };
    changes.iter().map(admit).collect()
}

/// Whether a change was made on what stands now. An erase stands on everything.
///
/// A deletion is nothing to make a change on: what knows of it names no base. A base that bears its revision is that of an
/// edit which a resolver's deletion went before, or names what another copy of the store wrote under it. Neither has seen
/// the document end, so it meets a conflict; and so it does once the deletion is forgotten.
fn stands(change: &Change, current: Option<Current>) -> bool {
    let live = current.filter(|current| current.live);
    match (&change.kind, change.base) {
        (ChangeKind::Erase, _) => true,
        (_, None) => live.is_none(),
        (_, Some(_)) if active("pocket-mutant:base-compared-by-existence-only") => live.is_some(),
        (_, Some(base)) => live.is_some_and(|live| live.rev == base),
    }
}

fn validate(
    limits: &DecideLimits,
    clock: Hlc,
    client: ClientId,
    mutation: &Mutation,
) -> Option<Outcome> {
    let changes = mutation.changes();
    if changes.len() > limits.changes {
        let reason = format!(
            "{} changes are over the limit of {}",
            changes.len(),
            limits.changes
        );
        return Some(rejected(rejection::TOO_MANY_CHANGES, reason));
    }
    if let Some(change) = changes.iter().find(|change| change.rev.client != client) {
        let reason = format!(
            "revision {} was not made by the pushing client {client}",
            change.rev
        );
        return Some(rejected(rejection::VALIDATION, reason));
    }
    if changes.len() > 1 {
        let mut seen = BTreeSet::new();
        if let Some(change) = changes
            .iter()
            .find(|change| !seen.insert((&change.collection, &change.id)))
        {
            let reason = format!(
                "document {} of {} is changed twice in one mutation",
                change.id, change.collection
            );
            return Some(rejected(rejection::VALIDATION, reason));
        }
    }
    let latest = clock.time().millis().saturating_add(limits.clock_ahead);
    let ahead = changes
        .iter()
        .find(|change| change.rev.hlc.time().millis() > latest)?;
    // The hybrid clock, by which this was judged: whoever stamps by it anew is taken, and behind what was taken before.
    Some(Outcome::Rejected {
        code: rejection::CLOCK.to_owned(),
        reason: format!(
            "revision {} is {} ms ahead of the server's clock",
            ahead.rev,
            ahead
                .rev
                .hlc
                .time()
                .millis()
                .saturating_sub(clock.time().millis())
        ),
        server_time: Some(clock.time()),
    })
}

/// What an outcome costs to keep, roughly.
pub(crate) fn outcome_bytes(outcome: &Outcome) -> usize {
    let own = match outcome {
        Outcome::Applied { .. } => 0,
        Outcome::Conflict { seqs } => 9 * seqs.len(),
        Outcome::Rejected { code, reason, .. } => code.len() + reason.len() + 9,
    };
    16 + own
}

/// A rejection; its reason is recorded as long as it is told, and no longer.
fn rejected(code: &str, mut reason: String) -> Outcome {
    let fits = |end: &usize| reason.is_char_boundary(*end);
    let most = reason.len().min(MAX_REASON_BYTES);
    let end = (0..=most).rev().find(fits).unwrap_or_default();
    reason.truncate(end);
    Outcome::Rejected {
        code: code.to_owned(),
        reason,
        server_time: None,
    }
}

fn extend(ranges: &mut Vec<RangeInclusive<u64>>, written: Written) {
    let Some(written) = written else { return };
    if let Some(last) = ranges.last_mut()
        && last.end().checked_add(1) == Some(*written.start())
    {
        *last = *last.start()..=*written.end();
    } else {
        ranges.push(written);
    }
}

#[cfg(test)]
mod tests;
