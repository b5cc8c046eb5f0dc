//! Hands each commit to the live queries that it may concern.
//!
//! A query that asks for equality on a field, or for one of some values, is found by the values that the changed documents
//! have and had there. One that bounds a field is asked about these values, two comparisons for each document; the others
//! get every commit of their collection. The query itself decides what it makes of a commit: that a document's field has
//! the right hash says little yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use pocket_storage::ordered::BTreeSet;

use super::interest::{Interest, Range, hashes, span};
use crate::backlog::Backlog;
use crate::events::CommitEvents;
use crate::lock::lock;
use crate::query::Filter;
use crate::query::path::Path;
use crate::registry::Registry;
use crate::{ChangeEvent, CollectionName, CommitSequence, Result};

/// All live queries of a database.
#[derive(Debug, Default)]
pub(crate) struct Router(Mutex<Routes>);

#[derive(Debug, Default)]
struct Routes {
    last: u64,
    live: usize,
    closed: bool,
    collections: HashMap<CollectionName, Listeners>,
}

/// Those of one collection.
#[derive(Debug, Default)]
struct Listeners {
    /// They get everything.
    all: Vec<Listener>,
    by_value: HashMap<Path, HashMap<u64, Vec<Listener>>>,
    by_range: HashMap<Path, Vec<(Range, Listener)>>,
}

#[derive(Clone, Debug)]
struct Listener {
    number: u64,
    inbox: Arc<Inbox>,
}

impl Router {
    /// Begins to listen to what may concern a filter. The registration ends it when it is dropped.
    pub(super) fn listen(
        router: &Arc<Self>,
        collection: &CollectionName,
        filter: &Filter,
    ) -> Registration {
        let interest = Interest::of(filter);
        let inbox = Arc::new(Inbox::default());
        let mut routes = lock(&router.0);
        routes.last += 1;
        routes.live += 1;
        let number = routes.last;
        lock(&inbox.waiting).closed = routes.closed;
        let listeners = routes.collections.entry(collection.clone()).or_default();
        let listener = || Listener {
            number,
            inbox: inbox.clone(),
        };
        match &interest {
            Interest::Everything => listeners.all.push(listener()),
            Interest::Range(path, range) => {
                let by_range = listeners.by_range.entry(path.clone()).or_default();
                by_range.push((range.clone(), listener()));
            }
            Interest::Values(path, values) => {
                let by_value = listeners.by_value.entry(path.clone()).or_default();
                for value in values {
                    by_value.entry(*value).or_default().push(listener());
                }
            }
        }
        drop(routes);
        Registration {
            router: router.clone(),
            collection: collection.clone(),
            interest,
            number,
            inbox,
        }
    }

    /// How many live queries there are.
    pub(crate) fn live(&self) -> usize {
        lock(&self.0).live
    }

    /// Hands out a commit. Of collections that are deleted nothing is shown, so nothing of them is told.
    pub(crate) fn committed(&self, commit: &CommitEvents, registry: &Registry) {
        let mut concerned = Concerned::default();
        let routes = lock(&self.0);
        if routes.live == 0 {
            return;
        }
        for event in commit.events.iter() {
            if let Some(listeners) = routes.collections.get(&event.collection)
                && registry.get(&event.collection).is_some()
            {
                listeners.concerned(event, &mut concerned);
            }
        }
        drop(routes);
        for inbox in concerned.inboxes {
            inbox.push(commit);
        }
    }

    /// Commits happened that nobody can tell: up to this one, or nobody knows which.
    pub(crate) fn miss(&self, until: Option<CommitSequence>) {
        let routes = lock(&self.0);
        let inboxes = routes.collections.values().flat_map(Listeners::inboxes);
        let inboxes: Vec<_> = inboxes.cloned().collect();
        drop(routes);
        for inbox in inboxes {
            inbox.miss(until);
        }
    }

    /// The collection was deleted, or came back: all its documents went or came without a word.
    pub(crate) fn switched(&self, collection: &CollectionName) {
        let routes = lock(&self.0);
        let listeners = routes.collections.get(collection);
        let inboxes: Vec<_> = listeners
            .into_iter()
            .flat_map(Listeners::inboxes)
            .cloned()
            .collect();
        drop(routes);
        for inbox in inboxes {
            inbox.miss(None);
        }
    }

    /// Has all of them look again.
    pub(crate) fn wake(&self) {
        let routes = lock(&self.0);
        let inboxes = routes.collections.values().flat_map(Listeners::inboxes);
        let inboxes: Vec<_> = inboxes.cloned().collect();
        drop(routes);
        for inbox in inboxes {
            inbox.waker.wake();
        }
    }

    /// The database is closed: all live queries end.
    pub(crate) fn close(&self) {
        let mut routes = lock(&self.0);
        routes.closed = true;
        let inboxes = routes.collections.values().flat_map(Listeners::inboxes);
        let inboxes: Vec<_> = inboxes.cloned().collect();
        drop(routes);
        for inbox in inboxes {
            lock(&inbox.waiting).closed = true;
            inbox.waker.wake();
        }
    }
}

/// The inboxes that a commit goes to, each once.
#[derive(Default)]
struct Concerned {
    numbers: BTreeSet<u64>,
    inboxes: Vec<Arc<Inbox>>,
}

impl Concerned {
    fn add<'a>(&mut self, listeners: impl IntoIterator<Item = &'a Listener>) {
        for listener in listeners {
            if self.numbers.insert(listener.number) {
                self.inboxes.push(listener.inbox.clone());
            }
        }
    }
}

impl Listeners {
    fn inboxes(&self) -> impl Iterator<Item = &Arc<Inbox>> {
        let by_value = self.by_value.values().flat_map(HashMap::values).flatten();
        let by_range = self.by_range.values().flatten();
        self.all
            .iter()
            .chain(by_value)
            .chain(by_range.map(|(_, listener)| listener))
            .map(|listener| &listener.inbox)
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_value.is_empty() && self.by_range.is_empty()
    }

    fn concerned(&self, event: &ChangeEvent, concerned: &mut Concerned) {
        concerned.add(&self.all);
        for (path, by_value) in &self.by_value {
            for document in event.document.iter().chain(&event.previous_document) {
                match hashes(path, document) {
                    Ok(hashes) => {
                        for hash in hashes {
                            concerned.add(by_value.get(&hash).into_iter().flatten());
                        }
                    }
                    // Whoever looks at it tells of the damage.
                    Err(_) => by_value.values().for_each(|found| concerned.add(found)),
                }
            }
        }
        for (path, by_range) in &self.by_range {
            for document in event.document.iter().chain(&event.previous_document) {
                let span = match span(path, document) {
                    Ok(None) => continue,
                    Ok(Some(span)) => Ok(span),
                    Err(error) => Err(error),
                };
                let met = |range: &Range| -> Result<bool> { range.meets(span.clone()?) };
                let found = by_range
                    .iter()
                    .filter(|(range, _)| met(range).unwrap_or(true));
                concerned.add(found.map(|(_, listener)| listener));
            }
        }
    }

    fn forget(&mut self, interest: &Interest, number: u64) {
        let (path, values) = match interest {
            Interest::Everything => {
                self.all.retain(|listener| listener.number != number);
                return;
            }
            Interest::Range(path, _) => {
                if let Some(by_range) = self.by_range.get_mut(path) {
                    by_range.retain(|(_, listener)| listener.number != number);
                    if by_range.is_empty() {
                        self.by_range.remove(path);
                    }
                }
                return;
            }
            Interest::Values(path, values) => (path, values),
        };
        let Some(by_value) = self.by_value.get_mut(path) else {
            return;
        };
        for value in values {
            if let Some(listeners) = by_value.get_mut(value) {
                listeners.retain(|listener| listener.number != number);
                if listeners.is_empty() {
                    by_value.remove(value);
                }
            }
        }
        if by_value.is_empty() {
            self.by_value.remove(path);
        }
    }
}

/// Behind every commit there can be.
const UNKNOWN: CommitSequence = CommitSequence::new(u64::MAX);

/// Commits that wait for a query to take them, each once and in order.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    backlog: Backlog,
    /// None behind this one was left out; zero when none was, and [`UNKNOWN`] when nobody knows which.
    missed: CommitSequence,
    closed: bool,
}

/// What a query takes out of its inbox.
#[derive(Debug)]
pub(super) enum Delivery {
    Commit(CommitEvents),
    /// Commits up to this one were left out: read again, unless that was read already.
    Missed(CommitSequence),
    /// There will be no more, however often it is asked.
    Closed,
}

impl Inbox {
    fn push(&self, commit: &CommitEvents) {
        let mut waiting = lock(&self.waiting);
        if waiting.backlog.is_full_for(commit) {
            // Reading again shows what these commits did.
            waiting.backlog.clear();
            waiting.missed = UNKNOWN;
        } else {
            waiting.backlog.push(commit.clone());
        }
        drop(waiting);
        self.waker.wake();
    }

    fn miss(&self, until: Option<CommitSequence>) {
        let mut waiting = lock(&self.waiting);
        waiting.missed = waiting.missed.max(until.unwrap_or(UNKNOWN));
        drop(waiting);
        self.waker.wake();
    }

    /// Forgets what waits: whoever reads the store now sees all of it there.
    pub(super) fn clear(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.backlog.clear();
        waiting.missed = CommitSequence::ZERO;
    }

    /// Has the task woken when something comes.
    pub(super) fn register(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// The next delivery to a query that shows the state after the commit `at`.
    pub(super) fn poll(&self, context: &Context<'_>, at: CommitSequence) -> Poll<Delivery> {
        self.register(context);
        self.take(at).map_or(Poll::Pending, Poll::Ready)
    }

    pub(super) fn take(&self, at: CommitSequence) -> Option<Delivery> {
        let mut waiting = lock(&self.waiting);
        let missed = std::mem::replace(&mut waiting.missed, CommitSequence::ZERO);
        if missed > at {
            return Some(Delivery::Missed(missed));
        }
        // What was committed is told, whatever became of the database since.
        let commit = waiting.backlog.take().map(Delivery::Commit);
        commit.or_else(|| waiting.closed.then_some(Delivery::Closed))
    }
}

/// A query's place in the router, until it is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    router: Arc<Router>,
    collection: CollectionName,
    interest: Interest,
    number: u64,
    pub(super) inbox: Arc<Inbox>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut routes = lock(&self.router.0);
        routes.live -= 1;
        if let Some(listeners) = routes.collections.get_mut(&self.collection) {
            listeners.forget(&self.interest, self.number);
            if listeners.is_empty() {
                routes.collections.remove(&self.collection);
            }
        }
    }
}
