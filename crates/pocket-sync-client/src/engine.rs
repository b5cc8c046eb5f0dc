//! The sync engine: the handle an application holds.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::{StreamExt, stream};
use pocket_core::replica::{Checkpoint, Engagement, Replica, ReplicaState, Wiped};
use pocket_core::storage::{MaybeSend, MaybeSync};
use pocket_core::{Database, JournalEntry, Subscription, Target};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Direction, SyncConfig, check_token};
use crate::driver::{Control, Driver, Parts, WAITING_CALLS};
use crate::listeners::entries_behind;
use crate::platform;
use crate::session::{Pass, Session};
use crate::transport;
use crate::watched::Watched;
use crate::{Progress, Snapshot, Stats, Status, SyncError};

/// Keeps a database in step with a server. Clones share one engine; it ends with the last of them.
///
/// All methods may be called from several tasks at the same time. `start` must be called within a tokio runtime, except in a
/// browser, a worker or Node, where the event loop drives it.
#[derive(Clone)]
pub struct SyncEngine {
    inner: Arc<Inner>,
}

struct Inner {
    replica: Replica,
    config: Mutex<SyncConfig>,
    watched: Arc<Watched>,
    task: Mutex<Task>,
    /// The right to sync this database, which the driver holds while it runs.
    engagement: Mutex<Weak<Engagement>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watched.end();
        // The driver ends by itself; whoever starts another engine now need not wait for that.
        let held = self.engagement.get_mut();
        if let Some(engagement) = held.unwrap_or_else(PoisonError::into_inner).upgrade() {
            engagement.give_back();
        }
    }
}

enum Task {
    None,
    Running(mpsc::Sender<Control>, platform::Task<()>),
    Destroyed,
}

impl SyncEngine {
    /// An engine for this database. Nothing happens before [`start`](Self::start).
    pub fn new(database: &Database, config: SyncConfig) -> Self {
        let replica = Replica::new(database, Target::DEFAULT);
        Self {
            inner: Arc::new(Inner {
                watched: Arc::new(Watched::new(replica.clone())),
                replica,
                config: Mutex::new(config),
                task: Mutex::new(Task::None),
                engagement: Mutex::default(),
            }),
        }
    }

    /// Begins to sync, and goes on until [`stop`](Self::stop). Works offline: it does not wait for the server.
    ///
    /// # Errors
    /// `config`, `bad-collection-name` or `plaintext-refused` when the configuration cannot work; `already-syncing` while
    /// another engine runs on this database; `destroyed`.
    pub async fn start(&self) -> Result<(), SyncError> {
        let controls = self.driver()?;
        let engagement = self.engage()?;
        let (done, started) = oneshot::channel();
        controls
            .send(Control::Start(engagement, done))
            .await
            .map_err(|_| SyncError::destroyed())?;
        started.await.map_err(|_| SyncError::destroyed())
    }

    /// Closes the connection and stays away until the next [`start`](Self::start).
    ///
    /// When it returns, the engine touches neither the network nor the database, and listeners were told of all that it
    /// stored. Local writes keep entering the outbox.
    ///
    /// # Errors
    /// `destroyed`.
    pub async fn stop(&self) -> Result<(), SyncError> {
        let Some(controls) = self.running()? else {
            return Ok(());
        };
        let (done, stopped) = oneshot::channel();
        controls
            .send(Control::Stop(done))
            .await
            .map_err(|_| SyncError::destroyed())?;
        stopped.await.map_err(|_| SyncError::destroyed())
    }

    /// Stops for good: its tasks and streams end, and every later call fails with `destroyed`. What is stored stays
    /// stored.
    pub async fn destroy(&self) {
        let task = std::mem::replace(&mut *self.task(), Task::Destroyed);
        if let Task::Running(controls, handle) = task {
            drop(controls);
            // A task that panicked has ended as well.
            let _ = handle.await;
        }
        self.inner.watched.end();
    }

    /// Leaves the server this database belongs to, and keeps everything: stops, and forgets binding, session token,
    /// checkpoint and numbers. The way out of `other-lineage`, `other-namespace` and `other-user`.
    ///
    /// After the next [`start`](Self::start), whatever server that meets gets all of it: pending changes as they were
    /// but on no version of the old server, and every other document of a synced collection as a create. Where the next
    /// server has a document already, the collection's strategy decides. Returns how many mutations wait.
    ///
    /// # Errors
    /// `already-syncing` while another engine runs on this database; `destroyed`, and what the store says.
    pub async fn detach(&self) -> Result<u64, SyncError> {
        self.stop().await?;
        // Not the one that a start would share.
        let _engagement = self.inner.replica.engage()?;
        Ok(self.inner.replica.detach().await?.pending)
    }

    /// Leaves the server this database belongs to, and removes what came from it: stops, and removes the documents of
    /// all synced collections (also those that were never sent), the outbox and the journal. Local-only collections
    /// and all settings stay.
    ///
    /// # Errors
    /// `already-syncing` while another engine runs on this database; `destroyed`, and what the store says.
    pub async fn wipe(&self) -> Result<Wiped, SyncError> {
        self.stop().await?;
        let _engagement = self.inner.replica.engage()?;
        Ok(self.inner.replica.wipe().await?)
    }

    /// Makes a complete pass: returns when all that was in the outbox is settled and all that the server had is here, and
    /// the checkpoint is behind what was pushed.
    ///
    /// What conflicts put into the outbox meanwhile belongs to the pass, and so does a reading of everything that is under
    /// way: what is gone has left then, and a restored server has what it lost. Refused changes do not fail it: they are in
    /// the journal.
    ///
    /// # Errors
    /// What keeps it from connecting, at once; `connect` after `max_retry_attempts` lost connections; `server-full`, at once,
    /// when the server's disk is; `stopped`.
    pub async fn force_sync(&self) -> Result<(), SyncError> {
        self.command(Pass::Both).await
    }

    /// Returns when all that was in the outbox at the call is settled; while everything is read again, when that is done, too.
    ///
    /// # Errors
    /// As [`force_sync`](Self::force_sync), and `direction` when the engine only pulls.
    pub async fn push(&self) -> Result<(), SyncError> {
        self.command(Pass::Push).await
    }

    /// Returns when all that the server had at the call is here, and what a reading of everything does not show has left.
    ///
    /// # Errors
    /// As [`force_sync`](Self::force_sync), and `direction` when the engine only pushes.
    pub async fn pull(&self) -> Result<(), SyncError> {
        self.command(Pass::Pull).await
    }

    /// The status: the current one at once, then each newest one.
    pub fn status(&self) -> Subscription<Status> {
        let watched = self.inner.watched.clone();
        let told = watched.status.subscribe();
        let (outbox, ended) = (self.inner.replica.outbox_signal(), watched.ending());
        let start = (watched, told, outbox, ended, None);
        Subscription::new(stream::unfold(
            start,
            |(watched, mut told, outbox, mut ended, last)| async move {
                loop {
                    if last.is_some() {
                        moved(&mut told, &mut ended).await?;
                    }
                    let status = watched.true_status(*told.borrow_and_update(), &outbox);
                    if last != Some(status) {
                        return Some((status, (watched, told, outbox, ended, Some(status))));
                    }
                }
            },
        ))
    }

    /// The counts: the current ones at once, then each newest ones. While the engine does not run, what is written meanwhile
    /// counts as pending, too.
    pub fn stats(&self) -> Subscription<Stats> {
        self.newest(&self.inner.watched.stats, Watched::true_stats)
    }

    /// What is left, both ways: the current figures at once, then each newest ones.
    pub fn progress(&self) -> Subscription<Progress> {
        self.newest(&self.inner.watched.progress, Watched::true_progress)
    }

    /// How everything stands at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let watched = &self.inner.watched;
        let told = watched.snapshot.borrow().clone();
        let outbox = self.inner.replica.outbox_signal();
        Snapshot {
            status: watched.true_status(told.status, &outbox),
            stats: watched.true_stats(told.stats),
            progress: watched.true_progress(told.progress),
            checkpoint: told.checkpoint,
        }
    }

    /// Mutations in the outbox: written here and not settled by the server. Those that the option `collections` leaves
    /// out count as well; [`Stats::left_out`] tells how many they are.
    ///
    /// # Errors
    /// What the store says.
    pub async fn pending_changes(&self) -> Result<u64, SyncError> {
        Ok(self.state().await?.pending)
    }

    /// How far the server's feed is read and stored.
    ///
    /// # Errors
    /// What the store says.
    pub async fn checkpoint(&self) -> Result<Checkpoint, SyncError> {
        Ok(self.state().await?.checkpoint)
    }

    /// Says who this is from now on. An engine that waits for a better token connects again at once; a connection
    /// that is open goes on.
    ///
    /// # Errors
    /// `config` when it cannot be a token; `plaintext-refused` when it may not travel to this server; `destroyed`.
    pub async fn set_auth_token(&self, token: Option<&str>) -> Result<(), SyncError> {
        token.map_or(Ok(()), check_token)?;
        {
            let mut config = self.config();
            let mut changed = config.clone();
            changed.auth_token = token.map(ToOwned::to_owned);
            changed.endpoint()?;
            *config = changed;
        }
        let Some(controls) = self.running()? else {
            return Ok(());
        };
        let changed = Control::Token(token.map(ToOwned::to_owned));
        controls
            .send(changed)
            .await
            .map_err(|_| SyncError::destroyed())
    }

    /// Calls `listener` with each new entry of the journal, after it is stored: conflicts, whoever won, and refusals.
    ///
    /// Entries come in their order, one at a time, and a listener that panics keeps no other one from hearing of them. It is
    /// called on the runtime's workers (in a browser: between other events) and should be quick: [`stop`](Self::stop) and
    /// [`destroy`](Self::destroy) wait for it, so it must not wait for them.
    pub fn on_conflict(&self, listener: impl Fn(&JournalEntry) + MaybeSend + MaybeSync + 'static) {
        self.inner.watched.listeners().push(Arc::new(listener));
    }

    /// The new entries of the journal, as [`on_conflict`](Self::on_conflict) tells them: each once, in order, however
    /// slowly they are read.
    pub fn conflicts(&self) -> Subscription<JournalEntry> {
        let journal = self.inner.replica.database().journal();
        let told = self.inner.watched.journaled.subscribe();
        let after = journal.last_number().max(*told.borrow());
        let entries = stream::unfold(
            (journal, told, after, VecDeque::new()),
            |(journal, mut told, mut after, mut read)| async move {
                loop {
                    if let Some(entry) = read.pop_front() {
                        return Some((entry, (journal, told, after, read)));
                    }
                    let last = *told.wait_for(|last| *last > after).await.ok()?;
                    let Some(entries) = entries_behind(&journal, after).await else {
                        // What cannot be read now comes with the next entry.
                        told.wait_for(|told| *told > last).await.ok()?;
                        continue;
                    };
                    after = entries.last().map_or(last, |last| last.number);
                    read.extend(entries);
                }
            },
        );
        let mut ended = self.inner.watched.ending();
        Subscription::new(entries.take_until(async move {
            // Without a sender there is no engine either.
            let _ = ended.wait_for(|ended| *ended).await;
        }))
    }

    /// The values of `told` as they are in truth, which the outbox moves, too.
    fn newest<T: Clone + PartialEq + MaybeSend + MaybeSync + 'static>(
        &self,
        told: &watch::Sender<T>,
        truth: fn(&Watched, T) -> T,
    ) -> Subscription<T> {
        let watched = self.inner.watched.clone();
        let (told, ended) = (told.subscribe(), watched.ending());
        let outbox = self.inner.replica.outbox_signal();
        let start = (watched, told, outbox, ended, None);
        Subscription::new(stream::unfold(
            start,
            move |(watched, mut told, mut outbox, mut ended, last)| async move {
                loop {
                    if last.is_some() {
                        tokio::select! {
                            moved = moved(&mut told, &mut ended) => moved?,
                            // The database lives as long as the replica, so its sender does too.
                            _ = outbox.changed() => {}
                        }
                    }
                    let value = truth(&watched, told.borrow_and_update().clone());
                    if last.as_ref() != Some(&value) {
                        return Some((value.clone(), (watched, told, outbox, ended, Some(value))));
                    }
                }
            },
        ))
    }

    async fn state(&self) -> Result<ReplicaState, SyncError> {
        Ok(self.inner.replica.state().await?)
    }

    async fn command(&self, pass: Pass) -> Result<(), SyncError> {
        let controls = self.running()?.ok_or_else(SyncError::stopped)?;
        let (answer, done) = oneshot::channel();
        controls
            .send(Control::Command { pass, answer })
            .await
            .map_err(|_| SyncError::destroyed())?;
        // Whoever waits here must not keep the driver alive: `destroy` ends the call.
        drop(controls);
        done.await.unwrap_or_else(|_| Err(SyncError::destroyed()))?;
        let direction = self.config().direction;
        let complete = match pass {
            Pass::Both => true,
            Pass::Push => direction == Direction::Push,
            Pass::Pull => direction == Direction::Pull,
        };
        if complete {
            self.inner.replica.passed().await?;
        }
        Ok(())
    }

    /// The right to sync this database: that of the driver if it runs, else a new one.
    fn engage(&self) -> Result<Arc<Engagement>, SyncError> {
        let mut held = self
            .inner
            .engagement
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(engagement) = held.upgrade() {
            return Ok(engagement);
        }
        let engagement = Arc::new(self.inner.replica.engage()?);
        *held = Arc::downgrade(&engagement);
        Ok(engagement)
    }

    /// The way to the driver, which is started if there is none yet.
    fn driver(&self) -> Result<mpsc::Sender<Control>, SyncError> {
        let mut task = self.task();
        match &*task {
            Task::Running(controls, _) => return Ok(controls.clone()),
            Task::Destroyed => return Err(SyncError::destroyed()),
            Task::None => {}
        }
        let config = self.config().clone();
        let mut session = config.session(platform::seed())?;
        session.token_in_hello = transport::token_in_hello(&config.endpoint()?);
        let (controls, receiver) = mpsc::channel(WAITING_CALLS);
        let driver = Driver::new(Parts {
            session: Session::new(session),
            replica: self.inner.replica.clone(),
            scope: config.scope()?,
            resolver: config.conflict_resolver(),
            rules: config.custom_rules(),
            resolve_timeout: config.resolve_timeout,
            token_source: config.token_source(),
            endpoint: config.endpoint()?,
            token: config.auth_token,
            pull_interval: config.pull_interval,
            controls: receiver,
            watched: self.inner.watched.clone(),
        });
        *task = Task::Running(controls.clone(), platform::spawn(driver.run()));
        Ok(controls)
    }

    fn running(&self) -> Result<Option<mpsc::Sender<Control>>, SyncError> {
        match &*self.task() {
            Task::None => Ok(None),
            Task::Running(controls, _) => Ok(Some(controls.clone())),
            Task::Destroyed => Err(SyncError::destroyed()),
        }
    }

    // Neither lock is held over an await, and nothing under them panics.
    fn task(&self) -> MutexGuard<'_, Task> {
        self.inner
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn config(&self) -> MutexGuard<'_, SyncConfig> {
        self.inner
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for another value; none when the engine is no more and its last value was told.
async fn moved<T>(
    values: &mut watch::Receiver<T>,
    ended: &mut watch::Receiver<bool>,
) -> Option<()> {
    tokio::select! {
        biased;
        changed = values.changed() => changed.ok(),
        _ = ended.wait_for(|ended| *ended) => None,
    }
}

impl fmt::Debug for SyncEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncEngine")
            .field("config", &*self.config())
            .finish_non_exhaustive()
    }
}
