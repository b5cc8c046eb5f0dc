//! The async face of a blocking engine.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::queue::Queue;
use super::readers::{Keys, Read, Readers};
use super::shared::Shared;
use super::snapshot::Held;
use super::threads::Threads;
use super::writer::{self, Commit, Job};
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
    writer: Threads,
    readers: Arc<Readers<O>>,
    capabilities: Capabilities,
    options: BlockingOptions,
}

impl<O: BlockingOpener> BlockingStorage<O> {
    /// Opens the engine on this thread, which may take a while. Other threads are started when there is work for them.
    ///
    /// # Errors
    /// What [`BlockingOpener::open`] answers.
    pub fn open(opener: O, options: &BlockingOptions) -> Result<Self> {
        let shared = Arc::new(Shared::open(opener)?);
        let capabilities = shared.use_once(|store| Ok(store.capabilities()))?;
        Ok(Self {
            readers: Arc::new(Readers::new(shared.clone(), options)),
            shared,
            writes: Arc::new(Queue::new()),
            writer: Threads::new(format!("{}-write", options.name), 1),
            capabilities,
            options: options.clone(),
        })
    }

    /// Reads on this thread, which must be little. None where that has to be left to a reader thread, since the engine has
    /// failed: to reopen it takes a while.
    fn here<T>(&self, read: impl FnOnce(&O::Store) -> Result<T>) -> Option<Result<T>> {
        let answer = self.shared.try_use(read)?;
        let failed = matches!(answer, Err(StorageError::Backend(_)));
        (!failed).then_some(answer)
    }

    /// Gives the writer thread a job, if it was not told to end.
    fn write(&self, job: Job) -> Result<()> {
        self.writer.ready(&self.writes, || {
            let (shared, writes) = (self.shared.clone(), self.writes.clone());
            let (readers, options) = (self.readers.clone(), self.options.clone());
            move || {
                writer::run(&shared, &writes, &options);
                readers.close();
            }
        })?;
        self.writes.push(job).map_err(|_| StorageError::Closed)
    }
}

#[async_trait]
impl<O: BlockingOpener> Storage for BlockingStorage<O> {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Some(answer) = self.here(|store| store.get(key)) {
            return answer;
        }
        self.readers
            .ask(|reply| Read::Get(key.to_vec(), reply))
            .await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        if let [key] = keys {
            return Ok(vec![self.get(key).await?]);
        }
        let keys = Keys::new(keys);
        self.readers.ask(|reply| Read::GetMany(keys, reply)).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        if limit.is_short()
            && limit.entries > 0
            && !range.is_empty()
            && let Some(answer) = self.here(|store| store.scan(&range, limit, direction))
        {
            return answer;
        }
        self.readers
            .ask(|reply| Read::Scan(range, limit, direction, reply))
            .await
    }

    async fn sift(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Sifted> {
        self.readers
            .ask(|reply| Read::Sift(range, limit, direction, sieve, reply))
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
        self.write(job)?;
        answer.await.unwrap_or_else(|_| {
            Err(StorageError::Backend(
                "the writer thread ended without an answer; close the store and open it again"
                    .to_owned(),
            ))
        })
    }

    async fn snapshot(&self) -> Result<Option<Box<dyn Snapshot>>> {
        let number = self.readers.ask(Read::Snapshot).await?;
        Ok(number.map(|number| {
            let held = Held {
                shared: Arc::clone(&self.shared),
                readers: Arc::clone(&self.readers),
                number,
            };
            Box::new(held) as Box<dyn Snapshot>
        }))
    }

    async fn visit(&self, visitor: Box<dyn Visitor>) -> Result<bool> {
        self.readers.ask(|reply| Read::Visit(visitor, reply)).await
    }

    async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        match self.write(Job::Close(reply)) {
            Err(StorageError::Closed) => return Ok(()),
            given => given?,
        }
        answer.await.unwrap_or(Ok(()))
    }
}

impl<O: BlockingOpener> Drop for BlockingStorage<O> {
    fn drop(&mut self) {
        if self.writer.is_empty() {
            // Nothing was written, and nobody but this can write any more.
            let _ = self.shared.close();
        } else {
            let (reply, _) = oneshot::channel();
            let _ = self.writes.push(Job::Close(reply));
            self.writer.join();
        }
        self.readers.close();
        self.readers.join();
    }
}

impl<O: BlockingOpener> fmt::Debug for BlockingStorage<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingStorage")
            .field("name", &self.options.name)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
