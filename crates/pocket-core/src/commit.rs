//! One commit at a time, many writes in it.
//!
//! A write is a [`Job`]: code that reads and writes through a [`Tx`]. Jobs that arrive while a commit runs are joined
//! into the next one, so concurrent writers share one durable commit (flat combining, Hendler et al. 2010). Each job
//! sees the writes of those before it; one that fails leaves nothing behind. The batch checks the state row, so a
//! second handle on the same store makes the commit fail and the jobs run again on what is there now.

mod job;
mod left;
mod memory;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use pocket_storage::{BoxFuture, Durability, Storage, StorageError};
use tokio::sync::oneshot;

use self::job::{Entered, Queued};
use self::left::{Round, Running};
use self::memory::Memory;
use crate::config::{
    FIRST_READ_AHEAD, GATHERING_TURNS, JOBS_READ_AHEAD, MAX_COMMIT_ATTEMPTS, MAX_JOINED_BYTES,
    MAX_JOINED_WRITES, MAX_READ_AHEAD_BYTES,
};
use crate::damage;
use crate::elsewhere;
use crate::events::Notifier;
use crate::ids::LastUuid;
use crate::index;
use crate::lock::lock;
use crate::migrate::SchemaVersion;
use crate::query::Meetings;
use crate::registry::Registry;
use crate::replica::guard;
use crate::stored;
use crate::turn;
use crate::tx::Tx;
use crate::{ClientId, Env, Error, Limits, Result, Timestamp, codes};

pub(crate) use self::job::Job;
pub(crate) use self::left::LeftRounds;
pub(crate) use self::memory::state_of;

/// Everything a commit needs.
#[derive(Debug)]
pub(crate) struct CommitCore {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) limits: Limits,
    pub(crate) accept_unknown_collections: bool,
    pub(crate) notifier: Notifier,
    pub(crate) last_uuid: LastUuid,
    pub(crate) schemas: crate::schema::Schemas,
    pub(crate) meetings: Meetings,
    memory: Mutex<Option<Memory>>,
    /// The server's time less this device's, in milliseconds, as last committed or read.
    offset: AtomicI64,
    /// Mutations in the outbox, as last committed or read.
    pending: AtomicU64,
    /// Who this is to a server, as last committed or read.
    client: Mutex<ClientId>,
    /// The last committed registry, for readers.
    registry: Mutex<Registry>,
    schema: SchemaVersion,
}

type Queue = Arc<Mutex<VecDeque<Box<dyn Queued>>>>;

/// Runs jobs in the order they come.
pub(crate) struct Committer {
    core: Arc<CommitCore>,
    queue: Queue,
    running: Arc<Running>,
    /// How many jobs the last round had.
    answered: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl CommitCore {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        env: Arc<dyn Env>,
        client: ClientId,
        limits: Limits,
        accept_unknown_collections: bool,
        schema: SchemaVersion,
    ) -> Self {
        Self {
            schema,
            storage,
            env,
            limits,
            accept_unknown_collections,
            notifier: Notifier::default(),
            last_uuid: LastUuid::default(),
            schemas: crate::schema::Schemas::default(),
            meetings: Meetings::default(),
            memory: Mutex::new(None),
            offset: AtomicI64::new(0),
            pending: AtomicU64::new(0),
            client: Mutex::new(client),
            registry: Mutex::new(Registry::default()),
        }
    }

    /// The collections as last committed or read.
    pub(crate) fn registry(&self) -> Registry {
        lock(&self.registry).clone()
    }

    /// Who this is to a server; a copied store takes another id.
    pub(crate) fn client(&self) -> ClientId {
        *lock(&self.client)
    }

    /// Mutations in the outbox, as last committed or read.
    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// The time by the server's clock, as far as it is known.
    pub(crate) fn time(&self) -> Timestamp {
        let offset = self.offset.load(Ordering::Relaxed);
        Timestamp::from_millis(self.env.now().millis().saturating_add(offset))
    }

    /// Runs the jobs, and those that come while they run, and commits what they wrote, as often as another handle gets
    /// in between.
    async fn run(
        self: &Arc<Self>,
        jobs: &mut Vec<Box<dyn Queued>>,
        queue: &Queue,
    ) -> Vec<Result<()>> {
        for _ in 0..MAX_COMMIT_ATTEMPTS {
            let memory = match self.take_memory().await {
                Ok(memory) => memory,
                Err(error) => return jobs_failed(jobs.len(), &error),
            };
            let stored = memory.stored.clone();
            let base = memory.state.sequence;
            let mut tx = Tx::new(self.clone(), memory.state, memory.registry, memory.client);
            let mut outcomes = Vec::with_capacity(jobs.len());
            let mut ahead = ReadAhead::default();
            loop {
                while outcomes.len() < jobs.len() && tx.kept.bytes <= MAX_JOINED_BYTES {
                    let at = outcomes.len();
                    if let Some(keys) = ahead.keys(at, jobs, tx.registry()) {
                        ahead.took(tx.read_ahead_for_all(keys).await);
                    }
                    let job = &mut jobs[at];
                    // A panic in one job, such as that of an application's own rule, must not end all writing.
                    let ran = AssertUnwindSafe(run(&mut **job, &mut tx))
                        .catch_unwind()
                        .await;
                    let outcome = ran.unwrap_or_else(|_| Err(panicked()));
                    if outcome.is_ok() {
                        tx.keep();
                    } else {
                        tx.discard();
                    }
                    outcomes.push(outcome);
                }
                // A small change of a large document writes more than its job weighs.
                give_back(queue, jobs, outcomes.len());
                if tx.kept.bytes > MAX_JOINED_BYTES || !take_jobs(queue, jobs) {
                    break;
                }
            }
            if tx.kept.values.is_empty() {
                return outcomes;
            }
            let durability = jobs
                .iter()
                .map(|job| job.durability())
                .max()
                .unwrap_or_default();
            // The others need not read what they are told.
            let settings = self.notifier.is_followed().then(|| tx.kept.settings());
            let (batch, sealed) = tx.batch(stored);
            match self.storage.commit(batch, durability).await {
                Ok(()) => {
                    if tx.kept.lost {
                        let doubt = elsewhere::doubt(base, tx.kept.state.sequence);
                        self.notifier.tell_others(doubt);
                    } else if let Some(settings) = settings {
                        let message = elsewhere::message(base, &tx.kept, settings, &sealed);
                        self.notifier.tell_others(message);
                    }
                    let kept = tx.kept;
                    let (end, registry) = (kept.state.sequence, kept.registry.clone());
                    let switched = self.install(Memory {
                        state: kept.state,
                        stored: Some(sealed),
                        registry: kept.registry,
                        client: kept.client,
                    });
                    self.notifier.committed(kept.events, (base, end), &registry);
                    if kept.lost {
                        self.notifier.live.miss(None);
                    }
                    self.tell_switched(&switched);
                    if kept.outbox_grew {
                        self.notifier.outbox_grew();
                    }
                    return outcomes;
                }
                Err(StorageError::Conflict) => {
                    *lock(&self.memory) = None;
                    self.storage.overtaken();
                }
                Err(error) => {
                    *lock(&self.memory) = None;
                    // It may be stored all the same, and then somebody has to send it, and to show it.
                    if tx.kept.outbox_grew {
                        self.notifier.outbox_grew();
                    }
                    self.notifier.live.miss(None);
                    let doubt = (base, tx.kept.state.sequence);
                    self.notifier
                        .tell_others(elsewhere::doubt(doubt.0, doubt.1));
                    let error = Error::from(error);
                    return failed_behind(outcomes, &error);
                }
            }
        }
        jobs_failed(jobs.len(), &Error::from(StorageError::Conflict))
    }
}

/// Reads what the next jobs begin with in one call, for as many of them as hold little.
struct ReadAhead {
    /// Those before it have been read for.
    read: usize,
    step: usize,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self {
            read: 0,
            step: FIRST_READ_AHEAD,
        }
    }
}

impl ReadAhead {
    /// What to read before job number `at` runs, if its keys were not among the last.
    fn keys(
        &mut self,
        at: usize,
        jobs: &[Box<dyn Queued>],
        registry: &Registry,
    ) -> Option<Vec<Vec<u8>>> {
        if at < self.read {
            return None;
        }
        self.read = jobs.len().min(at + self.step);
        let next = jobs[at..self.read].iter();
        Some(next.flat_map(|job| job.reads(registry)).collect())
    }

    fn took(&mut self, bytes: usize) {
        self.step = if bytes > MAX_READ_AHEAD_BYTES {
            (self.step / 2).max(1)
        } else {
            (self.step * 2).min(JOBS_READ_AHEAD)
        };
    }
}

/// Runs a job, and what follows from every one.
///
/// Here and not in the job's own type: code for a type exists once for each.
async fn run(job: &mut dyn Queued, tx: &mut Tx) -> Result<()> {
    if let Some(client) = job.client() {
        guard::check(tx, client).await?;
    }
    job.run(tx).await?;
    damage::finish(tx).await?;
    let violations = index::finish(tx, job.keeps_duplicates()).await?;
    job.add_violations(&violations);
    Ok(())
}

fn panicked() -> Error {
    Error::new(
        codes::INTERNAL,
        "a write panicked and was undone; this is a defect, please report it",
    )
}

/// The outcomes when the commit failed: what a job said behind one that wrote may rest on what was not stored.
fn failed_behind(outcomes: Vec<Result<()>>, error: &Error) -> Vec<Result<()>> {
    let mut wrote = false;
    let outcomes = outcomes.into_iter().map(|outcome| {
        wrote |= outcome.is_ok();
        if wrote { Err(error.clone()) } else { outcome }
    });
    outcomes.collect()
}

fn jobs_failed(count: usize, error: &Error) -> Vec<Result<()>> {
    (0..count).map(|_| Err(error.clone())).collect()
}

impl Committer {
    pub(crate) fn new(core: Arc<CommitCore>) -> Self {
        Self {
            core,
            queue: Queue::default(),
            running: Arc::default(),
            answered: Arc::default(),
        }
    }

    pub(crate) fn core(&self) -> &Arc<CommitCore> {
        &self.core
    }

    /// Runs a job and waits until what it wrote survives what `durability` names. With a client, only while the store is
    /// that one.
    ///
    /// A future that is dropped before its commit has begun takes the job along. Later the write may be stored, and whoever
    /// listens is told as soon as that is known.
    pub(crate) async fn submit<J: Job>(
        &self,
        job: J,
        durability: Durability,
        client: Option<ClientId>,
    ) -> Result<J::Output> {
        let (answer, mut answered) = oneshot::channel();
        self.enter(Box::new(Entered {
            job,
            durability,
            client,
            output: None,
            answer,
        }));
        let _waits = self.running.wait(&self.core.notifier);
        loop {
            // Whoever waits drives the round that is under way, so no writer depends on another being polled.
            self.round().await;
            match answered.try_recv() {
                Ok(outcome) => return outcome,
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err(stored::damaged("a write was lost before it was answered"));
                }
            }
        }
    }

    fn enter(&self, job: Box<dyn Queued>) {
        lock(&self.queue).push_back(job);
    }

    /// Waits until what is being committed is committed and told. What comes later is not waited for.
    pub(crate) async fn settled(&self) {
        if let Some(round) = self.running.round() {
            round.await;
        }
    }

    /// For those who listen, and drive what others have left.
    pub(crate) fn left_rounds(&self) -> LeftRounds {
        LeftRounds::new(&self.running)
    }

    /// The round under way, or the next one.
    fn round(&self) -> Round {
        self.running.round_or(|| self.next_round())
    }

    fn next_round(&self) -> Round {
        let (core, queue, answered) =
            (self.core.clone(), self.queue.clone(), self.answered.clone());
        let work: BoxFuture<'static, ()> = Box::pin(async move {
            gather(&queue, answered.load(Ordering::Relaxed)).await;
            let mut jobs = Vec::new();
            take_jobs(&queue, &mut jobs);
            let outcomes = core.run(&mut jobs, &queue).await;
            answered.store(jobs.len(), Ordering::Relaxed);
            for (job, outcome) in jobs.into_iter().zip(outcomes) {
                job.finish(outcome);
            }
        });
        work.shared()
    }
}

/// Gives those who were answered together a moment to bring their next writes, which then share this commit.
///
/// Without it, writers that go on at once fall into two halves that wait for each other's commits. Nobody waits for
/// time, only for others who are ready to run.
async fn gather(queue: &Queue, answered: usize) {
    if answered < 2 {
        return;
    }
    let wanted = lock(queue).len() + answered;
    for _ in 0..GATHERING_TURNS {
        turn::pass().await;
        if lock(queue).len() >= wanted {
            return;
        }
    }
}

/// Puts back the jobs that have not run, as the next ones.
fn give_back(queue: &Queue, jobs: &mut Vec<Box<dyn Queued>>, ran: usize) {
    let mut queue = lock(queue);
    for job in jobs.drain(ran..).rev() {
        queue.push_front(job);
    }
}

/// Takes the next jobs of a round, behind those it has: one that runs alone, or as many others as are allowed together.
/// Those that nobody waits for are forgotten. Tells whether there was one.
fn take_jobs(queue: &Queue, jobs: &mut Vec<Box<dyn Queued>>) -> bool {
    let mut queue = lock(queue);
    let before = jobs.len();
    let mut bytes: usize = jobs.iter().map(|job| job.weight()).sum();
    while let Some(next) = queue.front() {
        if next.is_abandoned() {
            queue.pop_front();
            continue;
        }
        let alone = next.runs_alone() || jobs.iter().any(|job| job.runs_alone());
        bytes += next.weight();
        let full = jobs.len() == MAX_JOINED_WRITES || bytes > MAX_JOINED_BYTES;
        if !jobs.is_empty() && (alone || full) {
            break;
        }
        jobs.extend(queue.pop_front());
    }
    jobs.len() > before
}
