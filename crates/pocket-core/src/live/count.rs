//! How many documents a query selects: once, or live.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use pocket_storage::{BoxFuture, MaybeSend};

use super::engine::Engine;
use super::held::Keep;
use crate::{Query, Result, Value};

/// A count of what a query selects: `.await` gives it once, [`live`](Self::live) keeps it up to date.
#[derive(Debug)]
#[must_use = "await it, or call `.live()`"]
pub struct Count {
    query: Query<Value>,
}

impl Count {
    pub(crate) fn new(query: Query<Value>) -> Self {
        Self { query }
    }

    /// The count now, and each change of it from now on.
    pub fn live(self) -> LiveCount {
        LiveCount {
            engine: Engine::new(&self.query, Keep::Places),
            last: None,
        }
    }
}

impl IntoFuture for Count {
    type Output = Result<u64>;
    type IntoFuture = BoxFuture<'static, Result<u64>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.query.counted().await })
    }
}

/// A count that is kept up to date, as [`LiveQuery`](crate::LiveQuery) keeps a result: also what it says about errors,
/// falling behind and other handles holds.
#[derive(Debug)]
#[must_use = "a live count does nothing unless it is waited for"]
pub struct LiveCount {
    engine: Engine,
    last: Option<u64>,
}

impl LiveCount {
    /// Waits until the count changes; `None` when it will not any more. The first time it gives the current count.
    pub async fn next(&mut self) -> Option<Result<u64>> {
        poll_fn(|context| self.poll_count(context)).await
    }

    /// The last count that was told; none before the first.
    pub fn value(&self) -> Option<u64> {
        self.last
    }

    /// As [`LiveQuery::debounce`](crate::LiveQuery::debounce).
    pub fn debounce<F, S>(mut self, sleep: F) -> Self
    where
        F: Fn() -> S + MaybeSend + 'static,
        S: Future<Output = ()> + MaybeSend + 'static,
    {
        self.engine.debounce(sleep);
        self
    }

    /// As [`LiveQuery::refresh`](crate::LiveQuery::refresh).
    pub fn refresh(&mut self) {
        self.engine.refresh();
    }

    fn poll_count(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<u64>>> {
        let last = &mut self.last;
        self.engine.poll(context, |held, _| {
            let count = held.count() as u64;
            (last.replace(count) != Some(count)).then_some(count)
        })
    }
}

impl Stream for LiveCount {
    type Item = Result<u64>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_count(context)
    }
}
