//! The task of a server that forgets: old deletions and clients that never came back, in every namespace there is.
//!
//! It works a batch at a time and rests after each for as long as that took, so it never has more than half of the store.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use pocket_core::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::Namespace;
use crate::engine::EngineError;
use crate::locks::lock;
use crate::server::Inner;

/// The first look comes this soon at the latest, for servers that never run for a whole interval.
const FIRST: Duration = Duration::from_secs(60);

/// The longest rest between two batches.
const REST: Duration = Duration::from_secs(1);

/// A client that is connected is noted anew this many times within the time after which it would be forgotten.
const NOTED: u32 = 4;

/// The clock may get so much ahead of what passed, as when it is set right a little. Otherwise one round is left out.
const LEAP: Duration = Duration::from_secs(60 * 60);

/// A server that starts may find its clock so much ahead of what was last written. Otherwise its first round is left out.
const STOPPED: Duration = Duration::from_secs(24 * 60 * 60 + LEAP.as_secs());

/// After a round that was left out the next one comes this soon at the latest: a machine that sleeps for a part of every
/// interval would never forget. A clock that is ahead at the start of a machine is set right sooner than that.
const AGAIN: Duration = Duration::from_secs(15 * 60);

/// The task, once it runs.
#[derive(Debug, Default)]
pub(crate) struct Forgetting(Mutex<Task>);

#[derive(Debug, Default)]
enum Task {
    #[default]
    NotYet,
    Runs(JoinHandle<()>),
    Ended,
}

impl Forgetting {
    /// Starts the task unless it was started before. Called where a runtime is.
    pub(crate) fn begin(&self, server: &Arc<Inner>) {
        let every = server.config.forget_every;
        let mut task = lock(&self.0);
        if every.is_zero() || !matches!(*task, Task::NotYet) {
            return;
        }
        *task = Task::Runs(tokio::spawn(run(
            Arc::downgrade(server),
            server.stopping(),
            Reading::of(server),
            every,
        )));
    }

    /// Waits until the task has ended, which it does when the server stops.
    pub(crate) async fn ended(&self) {
        let task = std::mem::replace(&mut *lock(&self.0), Task::Ended);
        if let Task::Runs(task) = task {
            // It contains panics, and nobody cancels it.
            let _ = task.await;
        }
    }
}

async fn run(
    server: Weak<Inner>,
    mut stop: watch::Receiver<bool>,
    started: Reading,
    every: Duration,
) {
    let mut wait = every.min(FIRST);
    let Some(begun) = server.upgrade() else {
        return;
    };
    // At once, before those who come in have left the time of this clock with most namespaces.
    let mut leapt = is_far_ahead(&begun, started.time, &mut stop).await;
    drop(begun);
    let mut last = started;
    while pause(&mut stop, wait).await {
        // The server is not kept alive by this.
        let Some(server) = server.upgrade() else {
            return;
        };
        let now = Reading::of(&server);
        leapt |= now.leapt_since(last);
        last = now;
        wait = if std::mem::take(&mut leapt) {
            // What is old by a clock that is ahead for a moment would be gone for good.
            tracing::warn!(
                "the clock was set ahead, or the machine or its server stood still; nothing is forgotten before it has stood for a while"
            );
            every.min(AGAIN)
        } else {
            round(&server, &mut stop).await;
            every
        };
    }
}

/// What the clocks say: one that nobody sets, and the time of day.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    time: Timestamp,
}

impl Reading {
    fn of(server: &Inner) -> Self {
        Self {
            at: Instant::now(),
            time: server.env.now(),
        }
    }

    /// Whether the time of day got far ahead of what passed.
    fn leapt_since(self, last: Self) -> bool {
        let passed = self.at.saturating_duration_since(last.at);
        ahead(self.time, last.time) > passed.saturating_add(LEAP)
    }
}

/// How much later a time is; nothing when it is not.
fn ahead(time: Timestamp, of: Timestamp) -> Duration {
    let millis = time.millis().saturating_sub(of.millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// Whether the time at which a server started is far ahead of all that were stored before: its clock may be wrong. Where no
/// time of before is left, or the engine keeps none, nobody can tell.
async fn is_far_ahead(
    server: &Inner,
    started: Timestamp,
    stop: &mut watch::Receiver<bool>,
) -> bool {
    let told = async {
        let (mut newest, mut is_empty) = (None, true);
        for namespace in server.engine.namespaces().await? {
            let time = server.engine.stored_time(&namespace).await?;
            newest = newest.max(time.filter(|time| *time <= started));
            is_empty = false;
        }
        Ok::<_, EngineError>(newest.map_or(!is_empty, |newest| ahead(started, newest) > STOPPED))
    };
    let told = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return true,
        told = AssertUnwindSafe(told).catch_unwind() => told,
    };
    match told {
        Ok(Ok(is_ahead)) => is_ahead,
        // Nothing is known of the clock; the round would meet the same.
        failed => {
            server.metrics.forgetting_failed();
            if let Ok(Err(error)) = failed {
                tracing::warn!(%error, "the stored times could not be read");
            }
            true
        }
    }
}

/// Waits; false when the server has stopped or is gone.
async fn pause(stop: &mut watch::Receiver<bool>, time: Duration) -> bool {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => false,
        () = tokio::time::sleep(time) => true,
    }
}

/// Looks through all namespaces once.
async fn round(server: &Arc<Inner>, stop: &mut watch::Receiver<bool>) {
    // There may be very many; a server that stops does not wait for the last of them.
    let listed = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return,
        listed = server.engine.namespaces() => listed,
    };
    let namespaces = match listed {
        Ok(namespaces) => namespaces,
        Err(error) => {
            server.metrics.forgetting_failed();
            return tracing::warn!(%error, "the namespaces could not be listed; nothing is forgotten now");
        }
    };
    for namespace in namespaces {
        let work = AssertUnwindSafe(forget(server, &namespace, stop)).catch_unwind();
        let failed = |error: &dyn std::fmt::Display| {
            server.metrics.forgetting_failed();
            tracing::warn!(%namespace, %error, "what is old could not be forgotten; it is tried again later");
        };
        match work.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed(&error),
            Err(_) => failed(&"it panicked"),
        }
        if server.heard(&namespace).is_none() {
            server.engine.release(&namespace);
        }
        if *stop.borrow() {
            return;
        }
    }
    server.metrics.forgetting_round();
}

/// Forgets what is old in one namespace.
async fn forget(
    server: &Arc<Inner>,
    namespace: &Namespace,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), EngineError> {
    let (engine, retention) = (&server.engine, &server.config.retention);
    let connected = server.connected.of(namespace);
    if let Some(unseen) = retention.clients
        && !connected.is_empty()
    {
        let within = unseen / NOTED;
        engine.note_seen(namespace, &connected, within).await?;
    }
    loop {
        let began = Instant::now();
        let batch = engine.compact(namespace, retention).await?;
        server.metrics.forgot(namespace, &batch);
        if batch.tombstones + batch.clients > 0 {
            tracing::debug!(
                %namespace,
                deletions = batch.tombstones,
                clients = batch.clients,
                horizon = %batch.horizon,
                "forgotten"
            );
        }
        // Also behind the last one: the next namespace may be as small as this, and there may be many.
        if !pause(stop, began.elapsed().min(REST)).await || !batch.more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

    use async_trait::async_trait;
    use pocket_core::{Body, CollectionName, DocumentId, DocumentLimits, Env, Map, Seq};
    use pocket_storage_memory::MemoryStorage;

    use super::*;
    use crate::decide::{DocumentKey, PushRequest};
    use crate::engine::{
        AttachRequest, Attached, Committed, Compacted, EngineResult, FeedPage, Fetched,
        ReadRequest, Retention,
    };
    use crate::rules::Authority;
    use crate::{Config, EmbeddedEngine, Engine, Limits, SyncServer};

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[derive(Debug, Default)]
    struct Clock(AtomicI64, AtomicU8);

    impl Clock {
        fn pass(&self, time: Duration) {
            let millis = i64::try_from(time.as_millis()).unwrap();
            self.0.fetch_add(millis, Ordering::Relaxed);
        }
    }

    impl Env for Clock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn random(&self, bytes: &mut [u8]) {
            bytes.fill(self.1.fetch_add(1, Ordering::Relaxed));
        }
    }

    fn server(storage: &MemoryStorage, clock: &Arc<Clock>) -> SyncServer {
        let config = Config {
            forget_every: HOUR,
            ..Config::default()
        };
        let builder = SyncServer::builder(Arc::new(storage.clone()));
        let builder = builder.env(clock.clone()).config(config);
        builder.build().unwrap()
    }

    /// An engine of somebody's own, which keeps no times.
    #[derive(Debug)]
    struct Timeless(EmbeddedEngine);

    #[async_trait]
    impl Engine for Timeless {
        async fn attach(
            &self,
            namespace: &Namespace,
            request: &AttachRequest,
        ) -> EngineResult<Attached> {
            self.0.attach(namespace, request).await
        }

        async fn commit(
            &self,
            namespace: &Namespace,
            pushes: &[PushRequest],
        ) -> EngineResult<Committed> {
            self.0.commit(namespace, pushes).await
        }

        async fn changes(
            &self,
            namespace: &Namespace,
            request: &ReadRequest,
        ) -> EngineResult<FeedPage> {
            self.0.changes(namespace, request).await
        }

        async fn fetch(
            &self,
            namespace: &Namespace,
            documents: &[DocumentKey],
            authority: &Authority,
        ) -> EngineResult<Fetched> {
            self.0.fetch(namespace, documents, authority).await
        }

        async fn compact(
            &self,
            namespace: &Namespace,
            retention: &Retention,
        ) -> EngineResult<Compacted> {
            self.0.compact(namespace, retention).await
        }

        async fn namespaces(&self) -> EngineResult<Vec<Namespace>> {
            self.0.namespaces().await
        }

        async fn head(&self, namespace: &Namespace) -> EngineResult<Seq> {
            self.0.head(namespace).await
        }
    }

    async fn put(server: &SyncServer, namespace: &str) {
        let handle = server.namespace(&Namespace::new(namespace).unwrap());
        let body = Body::from_map(&Map::new(), &DocumentLimits::default()).unwrap();
        let (todos, id) = document();
        handle.put(&todos, &id, &body).await.unwrap();
    }

    async fn leave_deletion(server: &SyncServer) {
        put(server, "n").await;
        let handle = server.namespace(&Namespace::new("n").unwrap());
        let (todos, id) = document();
        handle.delete(&todos, &id).await.unwrap();
    }

    fn document() -> (CollectionName, DocumentId) {
        let todos = CollectionName::new("todos").unwrap();
        (todos, DocumentId::new("x").unwrap())
    }

    fn forgotten(server: &SyncServer) -> u64 {
        let text = server.inner.metrics.text(&server.gauges());
        let line = r#"pocket_forgotten_total{kind="deletion"} "#;
        let mut lines = text.lines().filter_map(|one| one.strip_prefix(line));
        lines.next().unwrap().parse().unwrap()
    }

    /// A clock that was ten years ahead when the task looked at it once took all deletions for old.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_ahead_for_some_minutes_forgets_nothing() {
        let clock = Arc::new(Clock::default());
        let server = server(&MemoryStorage::new(), &clock);
        leave_deletion(&server).await;
        server.inner.forgetting.begin(&server.inner);
        let pass = async |minutes: u32| {
            clock.pass(minutes * MINUTE);
            tokio::time::sleep(minutes * MINUTE).await;
        };
        // The rounds are due at the first minute, and at the first of the second hour.
        pass(60).await;
        let then = clock.now();
        clock.pass(3_650 * DAY);
        pass(10).await;
        clock.0.store(then.millis(), Ordering::Relaxed);
        clock.pass(10 * MINUTE);
        pass(60).await;
        assert_eq!(forgotten(&server), 0);
        // One that stays so is the time, and so it is on a machine that slept: the round that was due at 2:16 is made up for
        // at 2:31.
        clock.pass(31 * DAY);
        pass(10).await;
        assert_eq!(forgotten(&server), 0);
        pass(15).await;
        assert_eq!(forgotten(&server), 1);
    }

    /// The first round had nothing to compare the clock with, and took all deletions for old.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_starts_while_the_clock_is_ahead_forgets_nothing_for_some_minutes() {
        let (clock, storage) = (Arc::new(Clock::default()), MemoryStorage::new());
        leave_deletion(&server(&storage, &clock)).await;
        put(&server(&storage, &clock), "other").await;
        clock.pass(3_650 * DAY);
        let server = server(&storage, &clock);
        server.inner.forgetting.begin(&server.inner);
        // Who comes in leaves the time of this clock behind.
        clock.pass(Duration::from_millis(1));
        put(&server, "other").await;
        tokio::time::sleep(15 * MINUTE).await;
        assert_eq!(forgotten(&server), 0);
        tokio::time::sleep(15 * MINUTE).await;
        assert_eq!(forgotten(&server), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_starts_within_a_day_of_what_was_last_written_forgets_at_once() {
        let (clock, storage) = (Arc::new(Clock::default()), MemoryStorage::new());
        leave_deletion(&server(&storage, &clock)).await;
        clock.pass(31 * DAY);
        put(&server(&storage, &clock), "other").await;
        clock.pass(DAY);
        let server = server(&storage, &clock);
        server.inner.forgetting.begin(&server.inner);
        tokio::time::sleep(2 * MINUTE).await;
        assert_eq!(forgotten(&server), 1);
    }

    /// Such an engine had nothing to compare the clock with, and the first round took it as it was.
    #[tokio::test(start_paused = true)]
    async fn where_the_engine_keeps_no_times_the_first_round_is_left_out() {
        let (clock, storage) = (Arc::new(Clock::default()), MemoryStorage::new());
        leave_deletion(&server(&storage, &clock)).await;
        clock.pass(3_650 * DAY);
        let storage = Arc::new(storage);
        let engine = EmbeddedEngine::new(storage, clock.clone(), Limits::default());
        let config = Config {
            forget_every: HOUR,
            ..Config::default()
        };
        let builder = SyncServer::over(Arc::new(Timeless(engine)));
        let server = builder.env(clock.clone()).config(config).build().unwrap();
        server.inner.forgetting.begin(&server.inner);
        tokio::time::sleep(15 * MINUTE).await;
        assert_eq!(forgotten(&server), 0);
        tokio::time::sleep(15 * MINUTE).await;
        assert_eq!(forgotten(&server), 1);
    }
}
