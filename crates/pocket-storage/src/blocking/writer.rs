//! The writer thread: takes what waits, joins it, writes it, answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::queue::Queue;
use super::shared::Shared;
use super::{BlockingOpener, BlockingOptions, BlockingStore, WriteSet};
use crate::batch::{Check, Write};
use crate::{Batch, Durability, Result, StorageError};

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

pub(super) enum Job {
    Commit(Commit),
    Close(Reply<()>),
}

pub(super) struct Commit {
    pub(super) batch: Batch,
    pub(super) durability: Durability,
    pub(super) reply: Reply<()>,
}

/// Runs until a close was answered. Then the queue is closed, too.
pub(super) fn run<O: BlockingOpener>(
    shared: &Shared<O>,
    queue: &Queue<Job>,
    options: &BlockingOptions,
) {
    loop {
        let (mut batches, mut bytes) = (0, 0);
        let jobs = queue.take(|job| match job {
            Job::Commit(commit) => {
                let fits = batches < options.group_batches.get() && bytes < options.group_bytes;
                batches += 1;
                bytes += commit.batch.write_bytes();
                fits
            }
            Job::Close(_) => false,
        });
        let Some(jobs) = jobs else { return };
        let mut group = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job {
                Job::Commit(commit) => group.push(commit),
                // Nothing joins a close, and a close joins nothing: it came alone.
                Job::Close(reply) => return close(shared, queue, reply),
            }
        }
        commit(shared, queue, group);
    }
}

fn close<O: BlockingOpener>(shared: &Shared<O>, queue: &Queue<Job>, first: Reply<()>) {
    let answer = shared.close();
    for job in queue.close() {
        match job {
            Job::Commit(commit) => send(commit.reply, Err(StorageError::Closed)),
            Job::Close(reply) => send(reply, answer.clone()),
        }
    }
    send(first, answer);
}

fn commit<O: BlockingOpener>(shared: &Shared<O>, queue: &Queue<Job>, group: Vec<Commit>) {
    let mut replies = Vec::with_capacity(group.len());
    let mut batches = Vec::with_capacity(group.len());
    for commit in group {
        replies.push(commit.reply);
        batches.push((commit.batch, commit.durability));
    }
    match shared.use_once(|store| write_group(store, batches)) {
        // Conflicts are told only now: they may rest on batches of this group, and a caller who reads again
        // must find them.
        Ok(outcomes) => {
            for (reply, applied) in replies.into_iter().zip(outcomes) {
                let answer = if applied {
                    Ok(())
                } else {
                    Err(StorageError::Conflict)
                };
                send(reply, answer);
            }
        }
        Err(error) => {
            shared.fail(&error.to_string());
            // Taken out before anybody hears of the failure: whoever has heard of it may try again at once.
            let waiting = queue.drain();
            for reply in replies {
                send(reply, Err(error.clone()));
            }
            refuse(queue, waiting, &refusal(&error));
        }
    }
}

/// Writes a group; says for each batch whether its checks held.
fn write_group<S: BlockingStore>(store: &S, group: Vec<(Batch, Durability)>) -> Result<Vec<bool>> {
    let mut checked = values_under_check(store, &group)?;
    let mut writes = WriteSet::new();
    let mut strongest = None;
    let mut outcomes = Vec::with_capacity(group.len());
    for (batch, durability) in group {
        let applied = batch.checks.iter().all(|check| {
            let (key, expected) = match check {
                Check::Equals { key, value } => (key, Some(value)),
                Check::Absent { key } => (key, None),
            };
            checked.get(key).and_then(Option::as_ref) == expected
        });
        outcomes.push(applied);
        if !applied {
            continue;
        }
        strongest = strongest.max(Some(durability));
        writes.reserve(batch.writes.len());
        for write in batch.writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key, Some(value)),
                Write::Delete { key } => (key, None),
            };
            // The batches behind this one in the group are checked on what it leaves.
            if let Some(held) = checked.get_mut(&key) {
                held.clone_from(&value);
            }
            writes.push((key, value));
        }
    }
    match strongest {
        Some(Durability::Relaxed) if writes.is_empty() => {}
        Some(durability) => store
            .write(net_effect(writes), durability)
            .map_err(unknown)?,
        None => {}
    }
    Ok(outcomes)
}

/// Writes in the order they were made, sorted by key; of those to one key the last stands.
fn net_effect(mut writes: WriteSet) -> WriteSet {
    // Batches mostly come sorted, which a stable sort finds out at once; and it keeps the order of equal keys.
    writes.sort_by(|(one, _), (other, _)| one.cmp(other));
    writes.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    writes
}

/// What the keys under check hold before the group; only this thread changes it.
fn values_under_check<S: BlockingStore>(
    store: &S,
    group: &[(Batch, Durability)],
) -> Result<BTreeMap<Vec<u8>, Option<Bytes>>> {
    let mut keys: Vec<&[u8]> = group
        .iter()
        .flat_map(|(batch, _)| &batch.checks)
        .map(|check| match check {
            Check::Equals { key, .. } | Check::Absent { key } => key.as_slice(),
        })
        .collect();
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    keys.sort_unstable();
    keys.dedup();
    let values = store.get_many(&keys).map_err(nothing_written)?;
    Ok(keys.into_iter().map(<[u8]>::to_vec).zip(values).collect())
}

/// Commits that waited behind a failed one may build on it, so they are not tried.
fn refuse(queue: &Queue<Job>, waiting: impl IntoIterator<Item = Job>, error: &StorageError) {
    for job in waiting {
        match job {
            Job::Commit(commit) => send(commit.reply, Err(error.clone())),
            Job::Close(reply) => {
                if let Err(Job::Close(reply)) = queue.push(Job::Close(reply)) {
                    send(reply, Ok(()));
                }
            }
        }
    }
}

fn unknown(error: StorageError) -> StorageError {
    because(
        error,
        "whether this commit was stored is unknown, read again",
    )
}

fn nothing_written(error: StorageError) -> StorageError {
    because(error, "nothing was written")
}

fn because(error: StorageError, consequence: &str) -> StorageError {
    match error {
        StorageError::Backend(reason) => StorageError::Backend(format!(
            "{reason}; {consequence}; the store reopens itself at the next call"
        )),
        other => other,
    }
}

fn refusal(error: &StorageError) -> StorageError {
    match error {
        StorageError::Backend(reason) => StorageError::Backend(format!(
            "this commit was not tried because one before it failed: {reason}"
        )),
        other => other.clone(),
    }
}

fn send<T>(reply: Reply<T>, answer: Result<T>) {
    // Nobody waits for it any more: allowed, the batch is stored or not stored all the same.
    let _ = reply.send(answer);
}
