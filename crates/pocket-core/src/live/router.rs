//! Hands each commit to the live queries that it may concern.
//!
//! A query that asks for equality on a field, or for one of some values, is found by the values that the changed documents
//! have and had there; the others get every commit of their collection. The query itself decides what it makes of a commit:
//! that a document's field has the right hash says little yet.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use crate::config::SUBSCRIBER_COMMITS;
use crate::events::CommitEvents;
use crate::query::path::{Path, Place};
use crate::query::{Filter, Node, Test};
use crate::registry::Registry;
use crate::value::{Encoded, View};
use crate::{ChangeEvent, CollectionName, CommitSequence, Document, Integer, Result};

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
}

#[derive(Clone, Debug)]
struct Listener {
    number: u64,
    inbox: Arc<Inbox>,
}

/// What a query listens to: one of these values at this path, or everything.
#[derive(Clone, Debug)]
struct Interest(Option<(Path, BTreeSet<u64>)>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these locks half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        match &interest.0 {
            None => listeners.all.push(listener()),
            Some((path, values)) => {
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
    fn add(&mut self, listeners: &[Listener]) {
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
        self.all
            .iter()
            .chain(by_value)
            .map(|listener| &listener.inbox)
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.by_value.is_empty()
    }

    fn concerned(&self, event: &ChangeEvent, concerned: &mut Concerned) {
        concerned.add(&self.all);
        for (path, by_value) in &self.by_value {
            for document in event.document.iter().chain(&event.previous_document) {
                match hashes(path, document) {
                    Ok(hashes) => {
                        for hash in hashes {
                            concerned.add(by_value.get(&hash).map_or(&[], Vec::as_slice));
                        }
                    }
                    // Whoever looks at it tells of the damage.
                    Err(_) => by_value.values().for_each(|found| concerned.add(found)),
                }
            }
        }
    }

    fn forget(&mut self, interest: &Interest, number: u64) {
        let Some((path, values)) = &interest.0 else {
            self.all.retain(|listener| listener.number != number);
            return;
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

impl Interest {
    /// What must hold of a document that passes: by its id if the filter says so, else by the first field that it fixes.
    fn of(filter: &Filter) -> Self {
        let Ok(node) = filter.node() else {
            return Self(None);
        };
        let mut fixed = node.conjuncts().iter().filter_map(|node| match node {
            Node::Field(condition) => {
                let values = condition.tests.iter().find_map(wanted)?;
                Some((condition.path.clone(), values))
            }
            _ => None,
        });
        let first = fixed.next();
        if first.as_ref().is_some_and(|(path, _)| path.is_id()) {
            return Self(first);
        }
        Self(fixed.find(|(path, _)| path.is_id()).or(first))
    }
}

/// The hashes of the values of which a test wants one. None for other tests, for one that wants none of any, under which
/// nobody would be found, and where a value has no hash, as null, which is also equal to nothing at all.
fn wanted(test: &Test) -> Option<BTreeSet<u64>> {
    let constants = match test {
        Test::Eq(constant) => std::slice::from_ref(constant),
        Test::In(constants) => constants.as_slice(),
        _ => return None,
    };
    let hashes = constants
        .iter()
        .map(|constant| hash(constant.encoded().ok()?).ok()?);
    let hashes: Option<BTreeSet<u64>> = hashes.collect();
    hashes.filter(|hashes| !hashes.is_empty())
}

/// The hashes of what a document has at a path, of arrays those of their elements.
fn hashes(path: &Path, document: &Document) -> Result<Vec<u64>> {
    let Some(body) = &document.body else {
        return Ok(Vec::new());
    };
    let keys = path.keys(Place::document(&document.id, body)?)?;
    let hashes = keys.into_iter().map(hash);
    hashes.filter_map(Result::transpose).collect()
}

/// The same for values that are equal, whatever the form of a number; none of null, arrays and maps.
fn hash(value: Encoded<'_>) -> Result<Option<u64>> {
    let mut hasher = DefaultHasher::new();
    match value.view()? {
        View::Null | View::Array(_) | View::Map(_) => return Ok(None),
        View::Bool(value) => (1_u8, value).hash(&mut hasher),
        View::Integer(value) => hash_integer(value).hash(&mut hasher),
        View::Float(value) => hash_float(value).hash(&mut hasher),
        View::Timestamp(value) => (3_u8, value.millis()).hash(&mut hasher),
        View::String(value) => (4_u8, value).hash(&mut hasher),
        View::Binary(value) => (5_u8, value).hash(&mut hasher),
    }
    Ok(Some(hasher.finish()))
}

fn hash_integer(value: Integer) -> (u8, i128) {
    let value = value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_u64().map(i128::from));
    (2, value.unwrap_or_default())
}

/// As the integer that it equals, if it does.
#[expect(
    clippy::cast_possible_truncation,
    reason = "only floats that are integers of 64 bits are cast"
)]
fn hash_float(value: f64) -> (u8, i128) {
    const END: f64 = 18_446_744_073_709_551_616.0;
    if value.fract() == 0.0 && value.abs() < END {
        return (2, value as i128);
    }
    (6, i128::from(value.to_bits()))
}

/// Commits that wait for a query to take them, each once and in order.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    commits: VecDeque<CommitEvents>,
    missed: Missed,
    closed: bool,
}

/// What is known of commits that were not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Missed {
    #[default]
    Nothing,
    /// Nothing behind this one.
    Until(CommitSequence),
    Something,
}

/// What a query takes out of its inbox.
#[derive(Debug)]
pub(super) enum Delivery {
    Commit(CommitEvents),
    /// Commits were left out: read again.
    Missed,
    /// There will be no more, however often it is asked.
    Closed,
}

impl Inbox {
    fn push(&self, commit: &CommitEvents) {
        let mut waiting = lock(&self.waiting);
        if waiting.commits.len() < SUBSCRIBER_COMMITS {
            waiting.commits.push_back(commit.clone());
        } else {
            // Reading again shows what these commits did.
            waiting.commits.clear();
            waiting.missed = Missed::Something;
        }
        drop(waiting);
        self.waker.wake();
    }

    fn miss(&self, until: Option<CommitSequence>) {
        let mut waiting = lock(&self.waiting);
        let missed = until.map_or(Missed::Something, Missed::Until);
        waiting.missed = waiting.missed.max(missed);
        drop(waiting);
        self.waker.wake();
    }

    /// Forgets what waits: whoever reads the store now sees all of it there.
    pub(super) fn clear(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.commits.clear();
        waiting.missed = Missed::Nothing;
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
        match std::mem::take(&mut waiting.missed) {
            Missed::Nothing => {}
            Missed::Until(until) if until <= at => {}
            Missed::Until(_) | Missed::Something => return Some(Delivery::Missed),
        }
        // What was committed is told, whatever became of the database since.
        let commit = waiting.commits.pop_front().map(Delivery::Commit);
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
