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

async fn run(server: Weak<Inner>, mut stop: watch::Receiver<bool>, every: Duration) {
    let mut wait = every.min(FIRST);
    let mut last = None;
    while pause(&mut stop, wait).await {
        // The server is not kept alive by this.
        let Some(server) = server.upgrade() else {
            return;
        };
        let now = Reading {
            at: Instant::now(),
            time: server.env.now(),
        };
        if last.replace(now).is_some_and(|last| now.leapt_since(last)) {
            // What is old by a clock that is ahead for a moment would be gone for good.
            tracing::warn!(
                "the clock was set ahead, or the machine slept; nothing is forgotten before it has stood for a while"
            );
        } else {
            round(&server, &mut stop).await;
        }
        wait = every;
    }
}

/// What the clocks say: one that nobody sets, and the time of day.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    time: Timestamp,
}

impl Reading {
    /// Whether the time of day got far ahead of what passed.
    fn leapt_since(self, last: Self) -> bool {
        let passed = self.at.saturating_duration_since(last.at);
        let told = self.time.millis().saturating_sub(last.time.millis());
        let told = Duration::from_millis(u64::try_from(told).unwrap_or_default());
        told > passed.saturating_add(LEAP)
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
    use std::sync::atomic::{AtomicI64, Ordering};

    use pocket_core::{Body, CollectionName, DocumentId, DocumentLimits, Env, Map};
    use pocket_storage_memory::MemoryStorage;

    use super::*;
    use crate::{Config, SyncServer};

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[derive(Debug, Default)]
    struct Clock(AtomicI64);

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
            bytes.fill(7);
        }
    }

    /// A clock that was ten years ahead when the task looked at it once took all deletions for old.
    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_ahead_for_less_than_a_round_forgets_nothing() {
        let clock = Arc::new(Clock::default());
        let config = Config {
            forget_every: HOUR,
            ..Config::default()
        };
        let builder = SyncServer::builder(Arc::new(MemoryStorage::new()));
        let builder = builder.env(clock.clone()).config(config);
        let server = builder.build().unwrap();
        let namespace = Namespace::new("n").unwrap();
        let handle = server.namespace(&namespace);
        let (todos, id) = (
            CollectionName::new("todos").unwrap(),
            DocumentId::new("x").unwrap(),
        );
        let body = Body::from_map(&Map::new(), &DocumentLimits::default()).unwrap();
        handle.put(&todos, &id, &body).await.unwrap();
        handle.delete(&todos, &id).await.unwrap();
        server.inner.forgetting.begin(&server.inner);
        // The first round, and those of the hours behind it.
        let hour = async || {
            clock.pass(HOUR);
            tokio::time::sleep(HOUR).await;
        };
        let forgotten = || {
            let text = server.inner.metrics.text(&server.gauges());
            let line = r#"pocket_forgotten_total{kind="deletion"} "#;
            let mut lines = text.lines().filter_map(|one| one.strip_prefix(line));
            lines.next().unwrap().parse::<u64>().unwrap()
        };
        hour().await;
        let then = clock.now();
        clock.pass(3_650 * DAY);
        hour().await;
        clock.0.store(then.millis(), Ordering::Relaxed);
        clock.pass(HOUR);
        hour().await;
        assert_eq!(forgotten(), 0);
        // One that stays so is the time.
        clock.pass(31 * DAY);
        hour().await;
        assert_eq!(forgotten(), 0);
        hour().await;
        assert_eq!(forgotten(), 1);
    }
}
