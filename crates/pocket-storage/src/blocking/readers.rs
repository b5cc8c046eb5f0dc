//! The threads that read, and what they are asked.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::queue::Queue;
use super::shared::Shared;
use super::threads::Threads;
use super::writer::Reply;
use super::{BlockingOpener, BlockingOptions, BlockingStore};
use crate::{Direction, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted, StorageError, Visitor};

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
    pub(super) fn new(keys: &[Vec<u8>]) -> Self {
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

/// The reader threads of a store.
pub(super) struct Readers<O: BlockingOpener> {
    shared: Arc<Shared<O>>,
    queue: Arc<Queue<Read>>,
    threads: Threads,
}

impl<O: BlockingOpener> Readers<O> {
    pub(super) fn new(shared: Arc<Shared<O>>, options: &BlockingOptions) -> Self {
        Self {
            shared,
            queue: Arc::new(Queue::new()),
            threads: Threads::new(format!("{}-read", options.name), options.readers.get()),
        }
    }

    /// Hands them a job, and waits for the answer.
    pub(super) async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Read) -> Result<T> {
        self.threads.ready(&self.queue, || {
            let (shared, queue) = (self.shared.clone(), self.queue.clone());
            move || serve(&shared, &queue)
        })?;
        let (reply, answer) = oneshot::channel();
        // A closed queue drops the job, and with it the reply.
        let _ = self.queue.push(job(reply));
        answer.await.unwrap_or(Err(StorageError::Closed))
    }

    /// They end when they have done what they are at. What waits, and what comes later, is answered `Closed`.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    /// Waits until they have ended.
    pub(super) fn join(&self) {
        self.threads.join();
    }
}

fn serve<O: BlockingOpener>(shared: &Shared<O>, queue: &Queue<Read>) {
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
