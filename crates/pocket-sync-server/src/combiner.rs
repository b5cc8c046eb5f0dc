//! The combiner: pushes of a namespace that wait at the same time become one commit.
//!
//! There is no timer in it. Whatever queued up while the last commit ran is the next one, up to a bound, so a lonely
//! push waits for nobody and a crowd shares its syncs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pocket_core::Env;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::decide::{PushAnswer, PushRequest};
use crate::doorbell::Doorbell;
use crate::engine::{Engine, EngineError, EngineResult};
use crate::event::{self, EventHook};
use crate::metrics::Metrics;
use crate::server::Hub;
use crate::store_state::StoreState;
use crate::{Joiner, Limits, Namespace};

/// How long a store that does not tell what it has is left alone before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Who hears what became of pushes.
pub(crate) struct Observers {
    pub(crate) hook: Option<Arc<dyn EventHook>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) store: Arc<StoreState>,
}

impl Observers {
    fn tell(&self, namespace: &Namespace, push: &PushRequest, answer: &PushAnswer) {
        self.metrics
            .answered(self.env.now(), namespace, push, answer);
        if let Some(hook) = &self.hook {
            event::tell_outcomes(&**hook, namespace, push, answer);
        }
    }
}

/// Where the answer to a push goes.
pub(crate) type Answer = Box<dyn FnOnce(EngineResult<PushAnswer>) + Send>;

/// A handle on a namespace's combiner; it ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct Combiner {
    sender: mpsc::Sender<Waiting>,
}

struct Waiting {
    push: PushRequest,
    tag: Tag,
}

/// What goes with a push until it is answered.
struct Tag {
    answer: Answer,
    hub: Arc<Hub>,
    /// From its arrival to its answer.
    span: Span,
}

impl Combiner {
    /// Starts a task that commits the pushes of `namespace`.
    pub(crate) fn spawn(
        engine: Arc<dyn Engine>,
        namespace: Namespace,
        doorbell: Arc<Doorbell>,
        limits: &Limits,
        observers: Observers,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(limits.commit_queue);
        let joiner = Joiner::new(limits.commit_changes, limits.commit_bytes);
        tokio::spawn(run(
            engine, namespace, doorbell, joiner, receiver, observers,
        ));
        Self { sender }
    }

    /// Hands over a push, as a part of the current span, behind those handed over before; waits while the queue is full.
    ///
    /// The hub lives on until the doorbell has rung for the push: were it the last one to hold it, whoever comes in
    /// meanwhile would get a hub of his own and never hear that ring.
    pub(crate) async fn push(&self, push: PushRequest, answer: Answer, hub: Arc<Hub>) {
        let span = tracing::info_span!(
            "push",
            mutations = push.mutations.len(),
            changes = push.changes(),
            bytes = push.bytes
        );
        let tag = Tag { answer, hub, span };
        let waiting = Waiting { push, tag };
        if let Err(mpsc::error::SendError(waiting)) = self.sender.send(waiting).await {
            (waiting.tag.answer)(Err(EngineError::Fatal(
                "the namespace is no longer served".to_owned(),
            )));
        }
    }
}

async fn run(
    engine: Arc<dyn Engine>,
    namespace: Namespace,
    doorbell: Arc<Doorbell>,
    mut joiner: Joiner<Tag>,
    mut receiver: mpsc::Receiver<Waiting>,
    observers: Observers,
) {
    let end = LogEnd {
        engine: &*engine,
        namespace: &namespace,
        doorbell: &doorbell,
    };
    // Whether it is open what the last commit left.
    let mut unsure = false;
    loop {
        if joiner.is_empty() {
            let waiting = if unsure {
                match tokio::time::timeout(ASK_AGAIN, receiver.recv()).await {
                    Ok(waiting) => waiting,
                    Err(_) => {
                        unsure = !end.tell().await;
                        continue;
                    }
                }
            } else {
                receiver.recv().await
            };
            let Some(Waiting { push, tag }) = waiting else {
                return;
            };
            joiner.push(push, tag);
        }
        // What does not fit into this commit stays in the channel, whose bound makes writers wait.
        while !joiner.is_full()
            && let Ok(Waiting { push, tag }) = receiver.try_recv()
        {
            joiner.push(push, tag);
        }
        let (pushes, waiting) = joiner.next_commit();
        let began = Instant::now();
        let changes = pushes.iter().map(PushRequest::changes).sum();
        let span = commit_span(&namespace, &pushes, changes, &waiting);
        // A defect in one commit must not end the namespace; the engine opens the log anew behind it.
        let commit = AssertUnwindSafe(engine.commit(&namespace, &pushes))
            .catch_unwind()
            .instrument(span.clone())
            .await;
        let commit =
            commit.unwrap_or_else(|_| Err(EngineError::Unknown("a commit panicked".to_owned())));
        observers.store.note(&commit);
        observers
            .metrics
            .commit(began.elapsed(), changes, commit.is_ok());
        if let Ok(committed) = &commit {
            for (push, answer) in pushes.iter().zip(&committed.answers) {
                observers.tell(&namespace, push, answer);
            }
        }
        // The frames the pushes came in are no longer needed, and may be large.
        drop(pushes);
        match commit {
            Ok(committed) => {
                span.record("head", committed.head.get());
                let hubs: Vec<_> = waiting
                    .into_iter()
                    .zip(committed.answers)
                    .map(|(tag, result)| tag.tell(Ok(result)))
                    .collect();
                // Behind the answers, so that each writer learns its outcomes before it reads its own records.
                doorbell.ring(committed.head);
                unsure = false;
                drop(hubs);
            }
            Err(error) => {
                span.record("error", tracing::field::display(&error));
                tracing::warn!(%namespace, %error, "a commit failed");
                unsure |= matches!(error, EngineError::Unknown(_));
                let hubs: Vec<_> = waiting
                    .into_iter()
                    .map(|tag| tag.tell(Err(error.clone())))
                    .collect();
                if unsure {
                    unsure = !end.tell().await;
                }
                drop(hubs);
            }
        }
    }
}

/// Where a log ends that a commit of unknown result may have moved.
struct LogEnd<'a> {
    engine: &'a dyn Engine,
    namespace: &'a Namespace,
    doorbell: &'a Doorbell,
}

impl LogEnd<'_> {
    /// Finds it out and rings. Whoever pushed may never come back to ask what became of it, and those who listen have no
    /// reason to look: they would show the old versions until somebody writes again. Says whether the store told.
    async fn tell(&self) -> bool {
        let head = AssertUnwindSafe(self.engine.head(self.namespace))
            .catch_unwind()
            .await;
        match head {
            Ok(Ok(head)) => {
                self.doorbell.ring(head);
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

impl Tag {
    /// Answers; the hub is to be held until the doorbell has rung.
    fn tell(self, result: EngineResult<PushAnswer>) -> Arc<Hub> {
        (self.answer)(result);
        self.hub
    }
}

/// The span of a commit: a part of the first push in it, and behind all others.
fn commit_span(
    namespace: &Namespace,
    pushes: &[PushRequest],
    changes: usize,
    waiting: &[Tag],
) -> Span {
    let mut spans = waiting.iter().map(|tag| &tag.span);
    let span = tracing::info_span!(
        parent: spans.next().and_then(Span::id),
        "commit",
        %namespace,
        pushes = pushes.len(),
        changes,
        bytes = pushes.iter().map(|push| push.bytes).sum::<usize>(),
        head = tracing::field::Empty,
        error = tracing::field::Empty
    );
    for other in spans {
        span.follows_from(other.id());
    }
    span
}
