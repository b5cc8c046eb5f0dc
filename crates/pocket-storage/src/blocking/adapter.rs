//! The async face of a blocking engine.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::queue::Queue;
use super::shared::Shared;
use super::snapshot::Held;
use super::writer::{self, Commit, Job, Reply};
use super::{BlockingOpener, BlockingOptions, BlockingStore};
use crate::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted,
    Snapshot, Storage, StorageError, Visitor,
};

/// A [`Storage`] on a [`BlockingStore`].
///
/// Dropping it waits for the commits under way, then closes the engine and ends the threads.
pub struct BlockingStorage<O: BlockingOpener> {
    shared: Arc<Shared<O>>,
    writes: Arc<Queue<Job>>,
    reads: Arc<Queue<Read>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    capabilities: Capabilities,
    name: String,
}

pub(super) enum Read {
    Get(Vec<u8>, Reply<Option<Bytes>>),
    GetMany(Keys, Reply<Vec<Option<Bytes>>>),
    Scan(KeyRange, ScanLimit, Direction, Reply<Vec<Entry>>),
    Sift(
        KeyRange,
        ScanLimit,
        Direction,
        Arc<dyn Sieve>,
        Reply<Sifted>,
    ),
    Visit(Box<dyn Visitor>, Reply<bool>),
    Snapshot(Reply<Option<u64>>),
    ScanSnapshot(u64, KeyRange, ScanLimit, Direction, Reply<Vec<Entry>>),
    GetSnapshot(u64, Vec<Vec<u8>>, Reply<Vec<Option<Bytes>>>),
}

/// Keys on their way to another thread, in one piece of memory.
pub(super) struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    fn new(keys: &[Vec<u8>]) -> Self {
        let mut bytes = Vec::with_capacity(keys.iter().map(Vec::len).sum());
        let ends = keys.iter().map(|key| {
            bytes.extend_from_slice(key);
            bytes.len()
        });
        Self {
            ends: ends.collect(),
            bytes,
        }
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let key = &self.bytes[start..*end];
            start = *end;
            key
        })
    }
}

/// Hands a job to the reader threads, and waits for the answer.
pub(super) async fn ask<T>(reads: &Queue<Read>, job: impl FnOnce(Reply<T>) -> Read) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    // A closed queue drops the job, and with it the reply.
    let _ = reads.push(job(reply));
    answer.await.unwrap_or(Err(StorageError::Closed))
}

impl<O: BlockingOpener> BlockingStorage<O> {
    /// Opens the engine on this thread, which may take a while, and starts the threads.
    ///
    /// # Errors
    /// What [`BlockingOpener::open`] answers; `Backend` if a thread cannot be started.
    pub fn open(opener: O, options: &BlockingOptions) -> Result<Self> {
        let shared = Arc::new(Shared::open(opener)?);
        let capabilities = shared.use_once(|store| Ok(store.capabilities()))?;
        let storage = Self {
            shared: Arc::clone(&shared),
            writes: Arc::new(Queue::new()),
            reads: Arc::new(Queue::new()),
            threads: Mutex::default(),
            capabilities,
            name: options.name.clone(),
        };
        {
            let (writes, reads) = (Arc::clone(&storage.writes), Arc::clone(&storage.reads));
            let (shared, options) = (Arc::clone(&shared), options.clone());
            storage.spawn("write", move || {
                writer::run(&shared, &writes, &options);
                reads.close();
            })?;
        }
        for _ in 0..options.readers.get() {
            let (shared, reads) = (Arc::clone(&shared), Arc::clone(&storage.reads));
            storage.spawn("read", move || serve_reads(&shared, &reads))?;
        }
        Ok(storage)
    }

    fn spawn(&self, role: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new()
            .name(format!("{}-{role}", self.name))
            .spawn(run)
            .map_err(|error| StorageError::Backend(format!("cannot start a thread: {error}")))?;
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        Ok(())
    }

    async fn read<T>(&self, job: impl FnOnce(Reply<T>) -> Read) -> Result<T> {
        ask(&self.reads, job).await
    }
}

#[async_trait]
impl<O: BlockingOpener> Storage for BlockingStorage<O> {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.shared.try_use(|store| store.get(key)) {
            // Reopening takes a while, so it happens on a reader thread.
            None | Some(Err(StorageError::Backend(_))) => {
                self.read(|reply| Read::Get(key.to_vec(), reply)).await
            }
            Some(answer) => answer,
        }
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let keys = Keys::new(keys);
        self.read(|reply| Read::GetMany(keys, reply)).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.read(|reply| Read::Scan(range, limit, direction, reply))
            .await
    }

    async fn sift(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Sifted> {
        self.read(|reply| Read::Sift(range, limit, direction, sieve, reply))
            .await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        batch.check_sizes()?;
        let (reply, answer) = oneshot::channel();
        let job = Job::Commit(Commit {
            batch,
            durability,
            reply,
        });
        // Before the first await: the order of first polls is the order of commits.
        if self.writes.push(job).is_err() {
            return Err(StorageError::Closed);
        }
        answer.await.unwrap_or_else(|_| {
            Err(StorageError::Backend(
                "the writer thread ended without an answer; close the store and open it again"
                    .to_owned(),
            ))
        })
    }

    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        let number = self.read(Read::Snapshot).await?;
        Ok(number.map(|number| {
            let held = Held {
                shared: Arc::clone(&self.shared),
                reads: Arc::clone(&self.reads),
                number,
            };
            Box::new(held) as Box<dyn Snapshot>
        }))
    }

    async fn visit(&self, visitor: Box<dyn Visitor>) -> Result<bool> {
        self.read(|reply| Read::Visit(visitor, reply)).await
    }

    async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        if self.writes.push(Job::Close(reply)).is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }
}

impl<O: BlockingOpener> Drop for BlockingStorage<O> {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        let _ = self.writes.push(Job::Close(reply));
        let threads = std::mem::take(
            self.threads
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let here = std::thread::current().id();
        // The writer is the first; the readers end when it has.
        for thread in threads {
            // A waker that drops the store runs on one of its threads, which cannot wait for itself.
            if thread.thread().id() != here {
                let _ = thread.join();
                self.reads.close();
            }
        }
    }
}

impl<O: BlockingOpener> fmt::Debug for BlockingStorage<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingStorage")
            .field("name", &self.name)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

fn serve_reads<O: BlockingOpener>(shared: &Shared<O>, queue: &Queue<Read>) {
    while let Some(jobs) = queue.take(|_| false) {
        for job in jobs {
            match job {
                Read::Get(key, reply) => {
                    let _ = reply.send(shared.read_twice(|store| store.get(&key)));
                }
                Read::GetMany(keys, reply) => {
                    let keys: Vec<&[u8]> = keys.iter().collect();
                    let _ = reply.send(shared.read_twice(|store| store.get_many(&keys)));
                }
                Read::Scan(range, limit, direction, reply) => {
                    let empty = range.is_empty() || limit.entries == 0;
                    let _ = reply.send(shared.read_twice(|store| {
                        if empty {
                            return Ok(Vec::new());
                        }
                        store.scan(&range, limit, direction)
                    }));
                }
                Read::Sift(range, limit, direction, sieve, reply) => {
                    let empty = range.is_empty() || limit.entries == 0;
                    let _ = reply.send(shared.read_twice(|store| {
                        if empty {
                            return Ok(Sifted::default());
                        }
                        store.sift(&range, limit, direction, &*sieve)
                    }));
                }
                Read::Visit(visitor, reply) => {
                    let _ = reply.send(shared.visit(visitor));
                }
                Read::Snapshot(reply) => {
                    if let Err(Ok(Some(unwanted))) = reply.send(shared.begin_snapshot()) {
                        shared.end_snapshot(unwanted);
                    }
                }
                Read::ScanSnapshot(number, range, limit, direction, reply) => {
                    let empty = range.is_empty() || limit.entries == 0;
                    let found = if empty {
                        Ok(Vec::new())
                    } else {
                        shared.scan_snapshot(number, &range, limit, direction)
                    };
                    let _ = reply.send(found);
                }
                Read::GetSnapshot(number, keys, reply) => {
                    let _ = reply.send(shared.get_snapshot(number, &keys));
                }
            }
        }
    }
}
