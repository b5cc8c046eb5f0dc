//! Who listens to changes. Each gets what was committed since it asked last, or hears that it fell behind.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use futures_util::stream;
use futures_util::task::AtomicWaker;

use crate::backlog::Backlog;
use crate::commit::LeftRounds;
use crate::events::CommitEvents;
use crate::lock::lock;
use crate::{ChangeItem, CollectionName, CommitSequence, Subscription};

/// All subscribers of a database. When it is dropped, they get what waits for them and end.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<Listeners>);

#[derive(Debug, Default)]
struct Listeners {
    inboxes: Vec<Weak<Inbox>>,
    closed: bool,
}

impl Subscribers {
    /// The changes of one collection, or of all, behind this commit.
    pub(crate) fn subscribe(
        &self,
        only: Option<CollectionName>,
        last: CommitSequence,
        left: LeftRounds,
    ) -> Subscription<ChangeItem> {
        let inbox = Arc::new(Inbox::default());
        let mut listeners = lock(&self.0);
        lock(&inbox.waiting).closed = listeners.closed;
        listeners.inboxes.retain(|inbox| inbox.strong_count() > 0);
        listeners.inboxes.push(Arc::downgrade(&inbox));
        drop(listeners);
        let start = Cursor {
            inbox,
            only,
            last,
            open: None,
            left,
        };
        Subscription::new(stream::unfold(start, |mut cursor| async move {
            let item = cursor.next().await?;
            Some((item, cursor))
        }))
    }

    /// Never waits for one of them.
    pub(crate) fn tell(&self, commit: &CommitEvents) {
        for inbox in self.inboxes() {
            inbox.push(commit);
        }
    }

    /// Has all of them look again.
    pub(crate) fn wake(&self) {
        for inbox in self.inboxes() {
            inbox.waker.wake();
        }
    }

    /// There will be no more commits.
    pub(crate) fn close(&self) {
        lock(&self.0).closed = true;
        for inbox in self.inboxes() {
            lock(&inbox.waiting).closed = true;
            inbox.waker.wake();
        }
    }

    fn inboxes(&self) -> Vec<Arc<Inbox>> {
        let mut listeners = lock(&self.0);
        let mut inboxes = Vec::with_capacity(listeners.inboxes.len());
        listeners.inboxes.retain(|inbox| {
            inboxes.extend(inbox.upgrade());
            inbox.strong_count() > 0
        });
        inboxes
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        self.close();
    }
}

/// Commits that wait for a subscriber.
#[derive(Debug, Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    backlog: Backlog,
    /// Others came before these, and gave way to them.
    lagged: bool,
    closed: bool,
}

impl Inbox {
    fn push(&self, commit: &CommitEvents) {
        let mut waiting = lock(&self.waiting);
        while waiting.backlog.is_full_for(commit) {
            waiting.backlog.take();
            waiting.lagged = true;
        }
        waiting.backlog.push(commit.clone());
        drop(waiting);
        self.waker.wake();
    }

    /// The next commit, and whether others before it gave way; none at the end.
    fn poll(&self, context: &Context<'_>) -> Poll<Option<(CommitEvents, bool)>> {
        self.waker.register(context.waker());
        let mut waiting = lock(&self.waiting);
        // What was committed is told, whatever became of the database since.
        if let Some(commit) = waiting.backlog.take() {
            return Poll::Ready(Some((commit, std::mem::take(&mut waiting.lagged))));
        }
        if waiting.closed {
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

/// How far a subscriber is.
struct Cursor {
    inbox: Arc<Inbox>,
    only: Option<CollectionName>,
    /// The last commit received.
    last: CommitSequence,
    /// The commit being handed out, and the next event in it.
    open: Option<(CommitEvents, usize)>,
    left: LeftRounds,
}

impl Cursor {
    async fn next(&mut self) -> Option<ChangeItem> {
        loop {
            if let Some((commit, at)) = &mut self.open {
                if let Some(event) = commit.events.get(*at) {
                    *at += 1;
                    if self
                        .only
                        .as_ref()
                        .is_none_or(|only| *only == event.collection)
                    {
                        return Some(ChangeItem::Change(event.clone()));
                    }
                    continue;
                }
                self.open = None;
            }
            let (commit, lagged) = poll_fn(|context| {
                let told = self.inbox.poll(context);
                if told.is_pending() && self.left.poll(context).is_ready() {
                    return self.inbox.poll(context);
                }
                told
            })
            .await?;
            let gap = self.gap(&commit, lagged);
            self.last = commit.sequence;
            self.open = Some((commit, 0));
            if let Some((from, to)) = gap {
                return Some(ChangeItem::Lagged { from, to });
            }
        }
    }

    /// The commits that are not told before this one.
    fn gap(&self, commit: &CommitEvents, lagged: bool) -> Option<(CommitSequence, CommitSequence)> {
        let last = self.last;
        // What it stands on.
        let before = CommitSequence::new(commit.sequence.get().saturating_sub(1));
        let base = commit.missed.unwrap_or(before);
        if base < last {
            return Some((base.next(), last));
        }
        let to = base.max(before);
        let is_missed = commit.missed.is_some_and(|missed| missed > last);
        (is_missed || lagged).then(|| (last.next().min(to), to))
    }
}
