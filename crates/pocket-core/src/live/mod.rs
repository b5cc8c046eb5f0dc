//! Live queries: the result now, then every change of it.
//!
//! `docs/guide/live-queries.md` shows how they are used. Inside: the [`router`] hands a commit to the queries it may
//! concern, the [`engine`] of a query reads once and then follows commits, [`held`] has the documents it needs, in an
//! ordered list ([`rows`]) of which a [`window`] is shown, and a [`step`] tells what changed in it.

mod count;
mod engine;
mod held;
mod interest;
mod observe;
mod router;
mod rows;
mod step;
mod window;

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use count::{Count, LiveCount};
use engine::Engine;
use futures_util::Stream;
use held::Keep;
use pocket_storage::MaybeSend;
pub(crate) use router::Router;
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use step::{LiveChange, LiveDocuments, LiveResult, LiveStep};

use crate::{Query, Result};

impl<T: Serialize + DeserializeOwned> Query<T> {
    /// The result now, and each change of it from now on.
    ///
    /// A query that is wrong is told by the first step.
    pub fn live(&self) -> LiveQuery<T> {
        LiveQuery {
            engine: Engine::new(&self.clone().read_as(), Keep::Documents),
            documents: PhantomData,
        }
    }
}

/// A query whose result is kept up to date.
///
/// [`next`](Self::next) gives the current result at once and then one step for each commit that changes it, in order,
/// each the exact state after that commit; [`result`](Self::result) is the result that the last step led to. Nothing
/// runs in the background: the query works while it is waited for, on whatever was committed meanwhile. One that falls
/// more than [`SUBSCRIBER_COMMITS`](crate::SUBSCRIBER_COMMITS) or [`SUBSCRIBER_BYTES`](crate::SUBSCRIBER_BYTES) behind reads
/// again and tells the difference in one step. It never holds up a writer.
///
/// A change is what can be seen in the result: another content of a document, as far as it is included, or another
/// place. Another revision of the same content is none.
///
/// An error is told once and does not end the query: the result stays as it was, and the next commit that concerns the
/// query, or [`refresh`](Self::refresh), has it read again. `bad-query` and `closed` end it. Documents are read as `T`
/// only when they are asked for, so one that does not fit is an error of [`LiveResult::get`], not of the query.
///
/// What another handle on the same store writes is seen when this one is told of it, by
/// [`Database::committed_elsewhere`](crate::Database::committed_elsewhere), after its own next write, or by `refresh`.
///
/// ```
/// # use pocket_core::{Collection, Order, Result, Value};
/// # async fn example(todos: Collection<Value>) -> Result<()> {
/// let mut open = todos.find().where_field("done").eq(false).sort("due", Order::Ascending).live();
/// let mut list = Vec::new();
/// while let Some(step) = open.next().await {
///     for change in step?.changes {
///         change.apply(&mut list, |document| document.clone());
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a live query does nothing unless it is waited for"]
pub struct LiveQuery<T> {
    engine: Engine,
    documents: PhantomData<fn() -> T>,
}

impl<T> LiveQuery<T> {
    /// Waits until the result changes; `None` when it will not any more. The first time it gives the current result.
    ///
    /// A call that is dropped before it is done loses nothing.
    pub async fn next(&mut self) -> Option<Result<LiveStep<T>>> {
        poll_fn(|context| self.poll_step(context)).await
    }

    /// The result that the last step led to; empty before the first.
    pub fn result(&self) -> LiveResult<T> {
        let window = self.engine.held().map(|held| held.shown().clone());
        LiveResult::new(self.engine.told(), window)
    }

    /// Has the next step wait until `sleep` is over once something changed, so that changes in quick succession become one
    /// step. It is not put off by further changes, so under steady change there is a step for each sleep.
    ///
    /// This crate has no timer. `sleep` is that of the caller's runtime, and is called once for each step:
    /// `.debounce(|| tokio::time::sleep(Duration::from_millis(100)))`. The first step and errors come at once.
    pub fn debounce<F, S>(mut self, sleep: F) -> Self
    where
        F: Fn() -> S + MaybeSend + 'static,
        S: Future<Output = ()> + MaybeSend + 'static,
    {
        self.engine.debounce(sleep);
        self
    }

    /// Has everything read again; the next step tells what is different, if anything is.
    pub fn refresh(&mut self) {
        self.engine.refresh();
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<LiveStep<T>>>> {
        self.engine.poll(context, |held, moment| {
            let edits = held.edits();
            (moment.first || !edits.is_empty()).then(|| LiveStep {
                sequence: moment.at,
                changes: edits.into_iter().map(LiveChange::new).collect(),
                result: LiveResult::new(moment.at, Some(held.shown().clone())),
            })
        })
    }
}

impl<T> Stream for LiveQuery<T> {
    type Item = Result<LiveStep<T>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_step(context)
    }
}

/// Compiles and runs the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/guide/live-queries.md")]
struct Guide;
