//! What drives a live query: read once, then follow commit by commit, and read again where that is not enough.
//!
//! How nothing is missed and nothing counted twice: commits are put into the inbox from before the first byte is read. The
//! read itself need not be of one state: it may run over many commits and see of each document the version before or
//! after. When it is done, the commit under way is waited for, so that every commit that the read may have seen is in the
//! inbox. Then each document that these commits name is set to what they made of it, whatever was read of it, unless they
//! came before the state that the read began with: other tabs are told late of what is in the store already. All others did
//! not change while the read ran. So the outcome is the state after the last commit in the inbox.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use pocket_storage::ordered::{BTreeMap, BTreeSet};
use pocket_storage::{BoxFuture, MaybeSend};

use super::held::{Changes, Held, Keep, detached};
use super::router::{Delivery, Registration, Router};
use crate::commit::LeftRounds;
use crate::config::MAX_LIVE_READS;
use crate::expire::Sight;
use crate::query::{Prepared, SortKeys};
use crate::{Collection, CommitSequence, Document, DocumentId, Error, Query, Result, Value, codes};

/// A sleep of the caller's runtime.
pub(super) trait Sleep: MaybeSend {
    fn sleep(&self) -> BoxFuture<'static, ()>;
}

impl<F, S> Sleep for F
where
    F: Fn() -> S + MaybeSend,
    S: Future<Output = ()> + MaybeSend + 'static,
{
    fn sleep(&self) -> BoxFuture<'static, ()> {
        Box::pin(self())
    }
}

/// A live query, whatever it makes of what it holds.
pub(super) struct Engine {
    phase: Phase,
    /// None when the query is wrong.
    parts: Option<Parts>,
    /// The commit whose state is held.
    at: CommitSequence,
    /// The commit whose state was told last.
    told: Option<CommitSequence>,
    sleep: Option<Box<dyn Sleep>>,
    nap: Nap,
    left: LeftRounds,
}

/// When something is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The commit after which it is so.
    pub(super) at: CommitSequence,
    /// Nothing was told before.
    pub(super) first: bool,
}

/// How long what changed is held back.
enum Nap {
    None,
    Asleep(BoxFuture<'static, ()>),
    Over,
}

struct Parts {
    collection: Collection<Value>,
    registration: Registration,
    held: Held,
}

enum Phase {
    /// Everything is to be read, now.
    Stale,
    /// Everything is to be read once something happens: the last attempt failed.
    Broken,
    Reading(Reading),
    Following,
    /// An error that no later attempt can mend is still to be told.
    Failed(Error),
    Ended,
}

struct Reading {
    read: BoxFuture<'static, Result<Read>>,
    /// What was told meanwhile, each document with the commit that left it so.
    changes: BTreeMap<DocumentId, (CommitSequence, Option<Document>)>,
    last: CommitSequence,
    /// Commits up to this one were left out meanwhile: it is read again, unless they came before it.
    missed: CommitSequence,
    attempt: usize,
}

/// What was read.
struct Read {
    rows: Vec<(SortKeys, Document)>,
    /// The last commit in the store before.
    before: CommitSequence,
    /// The last commit in the store afterwards.
    at: CommitSequence,
    /// Whether what the commits of meanwhile told makes one state of it: all were told to this handle.
    is_sound: bool,
}

async fn read(collection: Collection<Value>, query: Prepared, is_again: bool) -> Result<Read> {
    let database = collection.database().clone();
    let core = database.core();
    let indexes = usable_indexes(&collection);
    let (rows, before, at, was_told) = if is_again {
        // Others may commit without a pause, and this handle on top of what it has not heard of.
        let (rows, at) = query.rows_alone(&collection).await?;
        (rows, at, at, true)
    } else {
        let before = core.stored_sequence().await?;
        let rows = query.rows(&collection).await?;
        let at = core.stored_sequence().await?;
        database.settled().await;
        let told = core.notifier.told();
        (rows, before, at, before == at || told >= at)
    };
    // One that was dropped meanwhile may have been read half empty.
    let are_left = usable_indexes(&collection).is_superset(&indexes);
    Ok(Read {
        rows: rows
            .into_iter()
            .map(|row| (row.keys, row.document))
            .collect(),
        before,
        at,
        is_sound: are_left && was_told,
    })
}

/// A document that an event tells of, if it can be seen.
fn seen(sight: &Sight, document: Option<Document>) -> Result<Option<Document>> {
    document.map_or(Ok(None), |document| sight.visible(document))
}

/// The numbers of the indexes that a query may read.
fn usable_indexes(collection: &Collection<Value>) -> BTreeSet<u32> {
    let registry = collection.database().core().registry();
    let number = collection.number();
    let indexes = number.and_then(|number| registry.live_indexes(number));
    let indexes = indexes.into_iter().flat_map(|indexes| indexes.iter());
    indexes.map(|index| index.number).collect()
}

impl Engine {
    pub(super) fn new(query: &Query<Value>, keep: Keep) -> Self {
        let collection = query.collection.clone();
        let prepared = Prepared::new(query.spec());
        let (phase, parts) = match prepared {
            Err(error) => (Phase::Failed(error), None),
            Ok(prepared) => {
                let router = &collection.database().core().notifier.live;
                let registration = Router::listen(router, collection.name(), &query.spec().filter);
                let held = Held::new(Arc::new(prepared), keep);
                let parts = Parts {
                    collection,
                    registration,
                    held,
                };
                (Phase::Stale, Some(parts))
            }
        };
        Self {
            phase,
            parts,
            at: CommitSequence::ZERO,
            told: None,
            sleep: None,
            nap: Nap::None,
            left: query.collection.database().left_rounds(),
        }
    }

    pub(super) fn debounce(&mut self, sleep: impl Sleep + 'static) {
        self.sleep = Some(Box::new(sleep));
    }

    /// Everything is read again at the next poll.
    pub(super) fn refresh(&mut self) {
        if !matches!(self.phase, Phase::Failed(_) | Phase::Ended) {
            self.phase = Phase::Stale;
        }
    }

    pub(super) fn held(&self) -> Option<&Held> {
        self.parts.as_ref().map(|parts| &parts.held)
    }

    /// The commit whose state was told last.
    pub(super) fn told(&self) -> CommitSequence {
        self.told.unwrap_or(CommitSequence::ZERO)
    }

    /// The next thing to tell, which `tell` makes of what is held after a change, if it makes something. None at the end.
    pub(super) fn poll<S>(
        &mut self,
        context: &mut Context<'_>,
        mut tell: impl FnMut(&mut Held, Moment) -> Option<S>,
    ) -> Poll<Option<Result<S>>> {
        loop {
            let polled = match self.poll_change(context) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(changed)) => changed,
                Err(error) => return Poll::Ready(Some(Err(self.failed(error)))),
            };
            let Some(parts) = self.parts.as_mut().filter(|_| polled) else {
                return Poll::Ready(None);
            };
            let moment = Moment {
                at: self.at,
                first: self.told.replace(self.at).is_none(),
            };
            let told = tell(&mut parts.held, moment);
            if told.is_some() {
                return Poll::Ready(told.map(Ok));
            }
        }
    }

    /// Waits until what is held is to be told; false at the end.
    fn poll_change(&mut self, context: &mut Context<'_>) -> Result<Poll<bool>> {
        loop {
            match &mut self.phase {
                Phase::Ended => return Ok(Poll::Ready(false)),
                Phase::Failed(error) => return Err(error.clone()),
                Phase::Stale => self.read_again(0),
                Phase::Broken => {
                    let Some(parts) = &self.parts else {
                        return Ok(Poll::Ready(false));
                    };
                    match parts.registration.inbox.poll(context, self.at) {
                        Poll::Pending if self.left.poll(context).is_ready() => {}
                        Poll::Pending => return Ok(Poll::Pending),
                        Poll::Ready(Delivery::Closed) => self.phase = Phase::Ended,
                        Poll::Ready(_) => self.phase = Phase::Stale,
                    }
                }
                Phase::Reading(_) => match self.poll_read(context)? {
                    Poll::Pending => return Ok(Poll::Pending),
                    Poll::Ready(true) if self.told.is_none() => return Ok(Poll::Ready(true)),
                    Poll::Ready(_) => {}
                },
                Phase::Following => {
                    if let Some(ready) = self.follow(context)? {
                        return Ok(ready);
                    }
                }
            }
        }
    }

    /// Takes in commits; none when it is to be asked again.
    fn follow(&mut self, context: &mut Context<'_>) -> Result<Option<Poll<bool>>> {
        let Some(parts) = &mut self.parts else {
            return Ok(Some(Poll::Ready(false)));
        };
        let held = &mut parts.held;
        if held.is_touched() {
            let Some(sleep) = &self.sleep else {
                return Ok(Some(Poll::Ready(true)));
            };
            if matches!(self.nap, Nap::None) {
                self.nap = Nap::Asleep(sleep.sleep());
            }
            if let Nap::Asleep(sleeping) = &mut self.nap
                && sleeping.poll_unpin(context).is_ready()
            {
                self.nap = Nap::Over;
            }
        }
        match parts.registration.inbox.poll(context, self.at) {
            Poll::Pending if self.left.poll(context).is_ready() => {}
            // All that was committed until the end of the nap is part of the step.
            Poll::Pending if matches!(self.nap, Nap::Over) => {
                self.nap = Nap::None;
                return Ok(Some(Poll::Ready(true)));
            }
            Poll::Pending => return Ok(Some(Poll::Pending)),
            // The nap is cut short; once it is told, the end comes.
            Poll::Ready(Delivery::Closed) if held.is_touched() => {
                self.nap = Nap::None;
                return Ok(Some(Poll::Ready(true)));
            }
            Poll::Ready(Delivery::Closed) => self.phase = Phase::Ended,
            Poll::Ready(Delivery::Missed(_)) => self.phase = Phase::Stale,
            Poll::Ready(Delivery::Commit(commit)) if commit.sequence > self.at => {
                let sight = parts.collection.sight();
                for event in commit.events.iter() {
                    if event.collection == *parts.collection.name() {
                        let mut document = event.document.clone();
                        if event.is_from_sync {
                            document = document.map(detached);
                        }
                        // What sync brings may be over already.
                        let document = seen(&sight, document)?;
                        held.change(&event.document_id, document)?;
                    }
                }
                self.at = commit.sequence;
                if held.is_short() {
                    self.phase = Phase::Stale;
                }
            }
            Poll::Ready(Delivery::Commit(_)) => {}
        }
        Ok(None)
    }

    fn read_again(&mut self, attempt: usize) {
        let Some(parts) = &self.parts else {
            return;
        };
        // What was told until now is in the store.
        parts.registration.inbox.clear();
        self.phase = Phase::Reading(Reading {
            read: Box::pin(read(
                parts.collection.clone(),
                parts.held.reading(),
                attempt > 0,
            )),
            changes: BTreeMap::new(),
            last: CommitSequence::ZERO,
            missed: CommitSequence::ZERO,
            attempt,
        });
    }

    /// Goes on reading; true when everything that is held was read.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Result<Poll<bool>> {
        let (Phase::Reading(reading), Some(parts)) = (&mut self.phase, &mut self.parts) else {
            return Ok(Poll::Ready(false));
        };
        // Commits are taken in also while it still reads, so that the inbox does not run over.
        parts.registration.inbox.register(context);
        let read = reading.read.poll_unpin(context)?;
        let mut closed = false;
        while let Some(delivery) = parts.registration.inbox.take(CommitSequence::ZERO) {
            match delivery {
                Delivery::Closed => {
                    closed = true;
                    break;
                }
                Delivery::Missed(until) => reading.missed = reading.missed.max(until),
                Delivery::Commit(commit) => {
                    reading.last = reading.last.max(commit.sequence);
                    let sight = parts.collection.sight();
                    for event in commit.events.iter() {
                        if event.collection == *parts.collection.name() {
                            let document = event.document.clone().map(detached);
                            let document = seen(&sight, document)?;
                            let change = (commit.sequence, document);
                            reading.changes.insert(event.document_id.clone(), change);
                        }
                    }
                }
            }
        }
        let Poll::Ready(read) = read else {
            if closed {
                return Err(Error::new(
                    codes::CLOSED,
                    "the database was closed while the live query was reading it",
                ));
            }
            return Ok(Poll::Pending);
        };
        let is_one_state = read.is_sound && reading.missed <= read.before;
        let attempt = reading.attempt + 1;
        if is_one_state {
            self.at = read.at.max(reading.last);
            let changes = std::mem::take(&mut reading.changes).into_iter();
            let changes: Changes = changes
                .filter(|(_, (sequence, _))| *sequence > read.before)
                .map(|(id, (_, document))| (id, document))
                .collect();
            if parts.held.read(read.rows, &changes)? {
                self.phase = Phase::Following;
                return Ok(Poll::Ready(true));
            }
        }
        if attempt == MAX_LIVE_READS {
            return Err(Error::new(
                codes::STORAGE,
                "others write to the same store faster than the live query can read it; read it again later",
            ));
        }
        self.read_again(attempt);
        Ok(Poll::Ready(false))
    }

    /// After an error the query waits until something changes and reads again; some errors end it.
    fn failed(&mut self, error: Error) -> Error {
        self.nap = Nap::None;
        self.phase = match error.code() {
            codes::BAD_QUERY | codes::CLOSED => Phase::Ended,
            _ => Phase::Broken,
        };
        error
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("at", &self.at)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}
