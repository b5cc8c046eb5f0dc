//! Commits: whatever waits when a transaction has ended goes into the next one.

use std::rc::Rc;

use pocket_storage::{Batch, Durability, Result, StorageError};
use tokio::sync::oneshot;

use crate::directory::Directory;
use crate::edit::Edit;
use crate::idb::{Mode, Transaction};
use crate::reading::Reading;
use crate::shared::{Busy, Shared, unanswered};

/// A transaction takes no more batches once it has this many bytes to write.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// A commit that waits for its turn.
#[derive(Debug)]
pub(crate) struct Waiting {
    batch: Batch,
    durability: Durability,
    answer: oneshot::Sender<Result<()>>,
    /// Closing waits for it.
    _busy: Busy,
}

/// Puts a batch in line, and waits for what becomes of it. Its place is taken at the first poll.
pub(crate) async fn commit(
    shared: &Rc<Shared>,
    batch: Batch,
    durability: Durability,
) -> Result<()> {
    let busy = Busy::new(shared)?;
    batch.check_sizes()?;
    let (answer, answered) = oneshot::channel();
    shared.queue.borrow_mut().push_back(Waiting {
        batch,
        durability,
        answer,
        _busy: busy,
    });
    if !shared.is_writing.replace(true) {
        js_sys::futures::spawn_local(write_all(Rc::clone(shared)));
    }
    answered.await.unwrap_or_else(|_| Err(unanswered()))
}

/// Writes until nothing waits any more.
async fn write_all(shared: Rc<Shared>) {
    loop {
        let group = take_group(&shared);
        if group.is_empty() {
            shared.is_writing.set(false);
            return;
        }
        let batches: Vec<&Batch> = group.iter().map(|one| &one.batch).collect();
        let strongest = group.iter().map(|one| one.durability).max();
        let strongest = strongest.unwrap_or_default();
        let answers = match write(&shared, &batches, strongest).await {
            // Some of them may have room where all together have none.
            Err(StorageError::Full(_)) if group.len() > 1 => {
                let mut answers = Vec::with_capacity(group.len());
                for one in &group {
                    let alone = write(&shared, &[&one.batch], one.durability).await;
                    answers.push(alone.map_or_else(Err, |applied| answer_of(applied[0])));
                }
                answers
            }
            Err(error) => group.iter().map(|_| Err(error.clone())).collect(),
            Ok(applied) => applied.into_iter().map(answer_of).collect(),
        };
        for (one, answer) in group.into_iter().zip(answers) {
            // Whoever committed may be gone.
            let _ = one.answer.send(answer);
        }
    }
}

fn answer_of(applied: bool) -> Result<()> {
    if applied {
        Ok(())
    } else {
        Err(StorageError::Conflict)
    }
}

/// The oldest commits that wait; one, or as many as fit.
fn take_group(shared: &Shared) -> Vec<Waiting> {
    let mut queue = shared.queue.borrow_mut();
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some(next) = queue.front() {
        bytes += next.batch.write_bytes();
        if bytes > GROUP_BYTES && !group.is_empty() {
            break;
        }
        group.extend(queue.pop_front());
    }
    group
}

/// Writes batches in one transaction; whether the checks of each held.
///
/// # Errors
/// Nothing of any was written.
async fn write(shared: &Shared, batches: &[&Batch], durability: Durability) -> Result<Vec<bool>> {
    let mode = if durability >= Durability::PowerLoss {
        Mode::Strict
    } else {
        Mode::Relaxed
    };
    shared.mode.set(mode);
    let (transaction, known) = Reading::for_commit(shared, mode).await?;
    let written = write_in(shared, transaction, known, batches, mode).await;
    if matches!(
        written,
        Err(StorageError::Corrupt(_) | StorageError::Backend(_))
    ) {
        shared.forget();
    }
    written
}

async fn write_in(
    shared: &Shared,
    transaction: Transaction,
    known: Option<Rc<Directory>>,
    batches: &[&Batch],
    mode: Mode,
) -> Result<Vec<bool>> {
    let wanted = |directory: &Directory| Edit::pages_of(directory, batches.iter().copied());
    let (directory, pages) = shared.load(&transaction, known, &wanted).await?;
    let mut edit = Edit::new(pages);
    let applied: Vec<bool> = batches
        .iter()
        .map(|batch| edit.apply(&directory, batch))
        .collect();
    let outcome = edit.finish(&directory);
    let writes_nothing = outcome.puts.is_empty() && outcome.deletes.is_empty();
    if writes_nothing && (mode == Mode::Relaxed || !applied.contains(&true)) {
        return Ok(applied);
    }
    for lower in &outcome.deletes {
        transaction.delete_page(lower)?;
    }
    for (lower, record) in &outcome.puts {
        transaction.put_page(lower, record)?;
    }
    if let Some(directory) = &outcome.directory {
        transaction.put_layout(directory.layout())?;
    }
    if writes_nothing {
        // What was committed with less before has to reach the disk with it.
        transaction.touch()?;
    }
    transaction.commit().await?;
    if let Some(directory) = outcome.directory {
        shared.learn(&Rc::new(directory));
    }
    Ok(applied)
}
