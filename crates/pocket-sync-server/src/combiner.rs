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
use crate::engine::{Committed, Engine, EngineError, EngineResult};
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
        let commits = Commits {
            engine,
            namespace,
            doorbell,
            observers,
            unsure: false,
        };
        tokio::spawn(run(commits, joiner, receiver));
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

async fn run(mut commits: Commits, mut joiner: Joiner<Tag>, mut receiver: mpsc::Receiver<Waiting>) {
    loop {
        if joiner.is_empty() {
            let waiting = if commits.unsure {
                let next = tokio::time::timeout(ASK_AGAIN, receiver.recv());
                let Ok(waiting) = next.await else {
                    commits.tell_end().await;
                    continue;
                };
                waiting
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
        let span = commits.span(&pushes, &waiting);
        let result = commits.commit(&pushes, span).await;
        if matches!(result, Err(EngineError::Fatal(_))) && pushes.len() > 1 {
            // Nothing was stored, and it may be for one of them: the others must not answer for that.
            for (push, tag) in pushes.into_iter().zip(waiting) {
                let (push, tag) = ([push], [tag]);
                let span = commits.span(&push, &tag);
                let result = commits.commit(&push, span).await;
                drop(push);
                commits.answer(result, tag).await;
            }
            continue;
        }
        // The frames the pushes came in are no longer needed, and may be large.
        drop(pushes);
        commits.answer(result, waiting).await;
    }
}

/// What commits the pushes of a namespace.
struct Commits {
    engine: Arc<dyn Engine>,
    namespace: Namespace,
    doorbell: Arc<Doorbell>,
    observers: Observers,
    /// It is open what the last commit left.
    unsure: bool,
}

impl Commits {
    async fn commit(&self, pushes: &[PushRequest], span: Span) -> EngineResult<Committed> {
        let observers = &self.observers;
        let began = Instant::now();
        let changes = pushes.iter().map(PushRequest::changes).sum();
        // A defect in one commit must not end the namespace; the engine opens the log anew behind it.
        let commit = AssertUnwindSafe(self.engine.commit(&self.namespace, pushes))
            .catch_unwind()
            .instrument(span.clone())
            .await;
        let commit =
            commit.unwrap_or_else(|_| Err(EngineError::Unknown("a commit panicked".to_owned())));
        observers.store.note(&commit);
        observers
            .metrics
            .commit(began.elapsed(), changes, commit.is_ok());
        match &commit {
            Ok(committed) => {
                span.record("head", committed.head.get());
                for (push, answer) in pushes.iter().zip(&committed.answers) {
                    observers.tell(&self.namespace, push, answer);
                }
            }
            Err(error) => {
                span.record("error", tracing::field::display(error));
                tracing::warn!(namespace = %self.namespace, %error, "a commit failed");
            }
        }
        commit
    }

    /// The span of a commit: a part of the first push in it, and behind all others.
    fn span(&self, pushes: &[PushRequest], waiting: &[Tag]) -> Span {
        let mut spans = waiting.iter().map(|tag| &tag.span);
        let span = tracing::info_span!(
            parent: spans.next().and_then(Span::id),
            "commit",
            namespace = %self.namespace,
            pushes = pushes.len(),
            changes = pushes.iter().map(PushRequest::changes).sum::<usize>(),
            bytes = pushes.iter().map(|push| push.bytes).sum::<usize>(),
            head = tracing::field::Empty,
            error = tracing::field::Empty
        );
        for other in spans {
            span.follows_from(other.id());
        }
        span
    }

    async fn answer(
        &mut self,
        result: EngineResult<Committed>,
        waiting: impl IntoIterator<Item = Tag>,
    ) {
        let waiting = waiting.into_iter();
        match result {
            Ok(committed) => {
                let hubs: Vec<_> = waiting
                    .zip(committed.answers)
                    .map(|(tag, result)| tag.tell(Ok(result)))
                    .collect();
                // Behind the answers, so that each writer learns its outcomes before it reads its own records.
                self.doorbell.ring(committed.head);
                self.unsure = false;
                drop(hubs);
            }
            Err(error) => {
                self.unsure |= matches!(error, EngineError::Unknown(_));
                let hubs: Vec<_> = waiting.map(|tag| tag.tell(Err(error.clone()))).collect();
                if self.unsure {
                    self.tell_end().await;
                }
                drop(hubs);
            }
        }
    }

    /// Finds out where the log ends that a commit of unknown result may have moved, and rings. Whoever pushed may never
    /// come back to ask what became of it, and those who listen have no reason to look: they would show the old versions
    /// until somebody writes again.
    async fn tell_end(&mut self) {
        let head = AssertUnwindSafe(self.engine.head(&self.namespace))
            .catch_unwind()
            .await;
        if let Ok(Ok(head)) = head {
            self.doorbell.ring(head);
            self.unsure = false;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use pocket_core::{ClientId, MutationNumber, Outcome, Seq, SystemEnv};
    use pocket_storage_memory::MemoryStorage;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::decide::DocumentKey;
    use crate::engine::{AttachRequest, Attached, FeedPage, Fetched, ReadRequest};
    use crate::rules::Authority;
    use crate::{EmbeddedEngine, SyncServer};

    const GUILTY: ClientId = ClientId::from_bytes([66; 16]);

    /// An engine in which each commit needs a permit, and one with a push of [`GUILTY`] cannot be done.
    #[derive(Debug)]
    struct Picky {
        inner: EmbeddedEngine,
        permits: Semaphore,
        sizes: Mutex<Vec<usize>>,
    }

    #[async_trait]
    impl Engine for Picky {
        async fn attach(
            &self,
            namespace: &Namespace,
            request: &AttachRequest,
        ) -> EngineResult<Attached> {
            self.inner.attach(namespace, request).await
        }

        async fn commit(
            &self,
            namespace: &Namespace,
            pushes: &[PushRequest],
        ) -> EngineResult<Committed> {
            self.sizes.lock().unwrap().push(pushes.len());
            self.permits.acquire().await.unwrap().forget();
            if pushes.iter().any(|push| push.client == GUILTY) {
                return Err(EngineError::Fatal("too large".to_owned()));
            }
            self.inner.commit(namespace, pushes).await
        }

        async fn changes(
            &self,
            namespace: &Namespace,
            request: &ReadRequest,
        ) -> EngineResult<FeedPage> {
            self.inner.changes(namespace, request).await
        }

        async fn fetch(
            &self,
            namespace: &Namespace,
            documents: &[DocumentKey],
            authority: &Authority,
        ) -> EngineResult<Fetched> {
            self.inner.fetch(namespace, documents, authority).await
        }

        async fn head(&self, namespace: &Namespace) -> EngineResult<Seq> {
            self.inner.head(namespace).await
        }
    }

    /// One client whose row was too large to store failed the pushes of all others in its commit, and their clients took
    /// their own changes for what had failed.
    #[tokio::test]
    async fn a_push_that_cannot_be_stored_fails_alone() {
        let storage = Arc::new(MemoryStorage::new());
        let inner = EmbeddedEngine::new(storage, Arc::new(SystemEnv), Limits::default());
        let engine = Arc::new(Picky {
            inner,
            permits: Semaphore::new(0),
            sizes: Mutex::default(),
        });
        let server = SyncServer::over(Arc::clone(&engine) as Arc<dyn Engine>)
            .build()
            .unwrap();
        let namespace = Namespace::new("n").unwrap();
        let hub = server.inner.hub(&namespace);
        let clients = [1, 2, 66, 3].map(|byte| ClientId::from_bytes([byte; 16]));
        let mut answers = Vec::new();
        for client in clients {
            let request = AttachRequest {
                user: "ann".into(),
                client,
                presented: None,
                unless_new: None,
            };
            let attached = engine.attach(&namespace, &request).await.unwrap();
            let push = PushRequest {
                user: "ann".into(),
                client,
                session: attached.session,
                confirmed: MutationNumber::ZERO,
                first: MutationNumber::new(1),
                mutations: vec![Ok(pocket_core::Mutation {
                    number: MutationNumber::new(1),
                    content: pocket_core::MutationContent::Withdrawn,
                })],
                bytes: 0,
                authority: Authority::open(),
            };
            let (told, answer) = oneshot::channel();
            let tell: Answer = Box::new(|result| told.send(result).unwrap());
            hub.combiner.push(push, tell, Arc::clone(&hub)).await;
            answers.push(answer);
            // The first one is being committed before the others come, which then wait together.
            while engine.sizes.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        }
        engine.permits.add_permits(10);
        for (answer, client) in answers.into_iter().zip(clients) {
            match answer.await.unwrap() {
                Ok(answer) => {
                    assert_ne!(client, GUILTY);
                    assert_eq!(answer.outcomes, [Outcome::Applied { first: Seq::ZERO }]);
                }
                Err(error) => {
                    assert_eq!(client, GUILTY);
                    assert!(matches!(error, EngineError::Fatal(_)), "{error:?}");
                }
            }
        }
        assert_eq!(*engine.sizes.lock().unwrap(), [1, 3, 1, 1, 1]);
    }
}
