//! What the embedded engine holds in memory of one namespace's log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use pocket_core::{ClientId, Env, Epoch, Hlc, Lineage, Seq, random_bytes};
use pocket_storage::StorageError;
use pocket_sync_protocol::EpochStart;

use crate::Namespace;
use crate::digests::Digests;
use crate::engine::{EngineError, EngineResult, LogState};
use crate::feed::Tail;
use crate::keys::Keys;
use crate::locks::lock;
use crate::stored::{ClientRecord, HistoryRow, Later, LogLater, LogRow, Usage};

/// Openings that are never forgotten: the newest.
const EPOCHS: usize = 100;
/// Openings that are kept at the most: a welcome tells them all, and has to fit into a frame. Whoever has been away for so
/// many reads everything again.
const MOST_EPOCHS: usize = 10_000;

/// One namespace.
pub(super) struct Log {
    pub(super) keys: Keys,
    /// Held from the first read of a commit until its result is known.
    pub(super) writer: tokio::sync::Mutex<()>,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    open: Option<Open>,
    /// Whether the next opening takes up what another engine left, without an epoch of its own.
    joins: bool,
    /// Counts openings.
    opened: u64,
    /// Counts commits that began.
    begun: u64,
    in_flight: bool,
    /// What is open was taken up for a moment, under the epoch of an opening that has ended: to all others it is closed.
    is_visit: bool,
}

impl Shared {
    /// What is open for reading and writing.
    fn opened(&self) -> Option<&Open> {
        self.open.as_ref().filter(|_| !self.is_visit)
    }
}

/// A log that is open.
pub(super) struct Open {
    pub(super) state: LogState,
    pub(super) row: LogRow,
    /// The row as it is stored; each commit checks it.
    pub(super) stored: Bytes,
    pub(super) tail: Tail,
    /// What each reader should hold, where that is kept.
    pub(super) digests: Option<Arc<Digests>>,
    pub(super) clients: HashMap<ClientId, ClientRecord>,
}

/// What a reader saw of the log, to tell later whether anything moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) opened: u64,
    pub(super) begun: u64,
    pub(super) in_flight: bool,
    pub(super) head: Seq,
    pub(super) horizon: Seq,
    pub(super) epoch: Epoch,
}

impl Log {
    pub(super) fn new(namespace: &Namespace) -> Self {
        Self {
            keys: Keys::new(namespace),
            writer: tokio::sync::Mutex::new(()),
            shared: Mutex::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.shared().opened().is_some()
    }

    pub(super) fn joins(&self) -> bool {
        self.shared().joins
    }

    pub(super) fn set_open(&self, open: Open) {
        let mut shared = self.shared();
        shared.open = Some(open);
        shared.is_visit = false;
        shared.joins = false;
        shared.opened += 1;
    }

    /// Has the log open for whoever holds the writer lock, and for nobody else.
    pub(super) fn set_visited(&self, open: Open) {
        let mut shared = self.shared();
        shared.open = Some(open);
        shared.is_visit = true;
        shared.opened += 1;
    }

    /// Ends a visit; a log that is open for all stays so.
    pub(super) fn leave(&self) {
        let mut shared = self.shared();
        if std::mem::take(&mut shared.is_visit) {
            shared.open = None;
        }
    }

    /// Forgets what is kept in memory for speed.
    pub(super) fn release(&self, tail_bytes: usize) {
        if let Some(open) = &mut self.shared().open {
            open.tail = Tail::new(open.state.head, tail_bytes);
            open.clients = HashMap::new();
        }
    }

    /// The first opening takes up what this engine left when it closed the log.
    pub(super) fn join_first(&self) {
        self.shared().joins = true;
    }

    /// Forgets what is in memory: another engine has written, so it is read again. A log that was closed meanwhile, maybe by
    /// a commit of unknown result, stays as that left it.
    pub(super) fn rejoin(&self) {
        let mut shared = self.shared();
        if shared.opened().is_some() {
            shared.open = None;
            shared.joins = true;
        }
    }

    /// Looks at the open log, for a moment.
    pub(super) fn with_open<T>(&self, look: impl FnOnce(&mut Open) -> T) -> EngineResult<T> {
        let mut shared = self.shared();
        let open = shared.open.as_mut().ok_or_else(not_open)?;
        Ok(look(open))
    }

    /// What a reader sees now, with whatever `look` takes from the open log; none when it is not open.
    pub(super) fn sight<T>(&self, look: impl FnOnce(&Open) -> T) -> Option<(Sight, T)> {
        let shared = self.shared();
        let open = shared.opened()?;
        let sight = Sight {
            opened: shared.opened,
            begun: shared.begun,
            in_flight: shared.in_flight,
            head: open.state.head,
            horizon: open.state.horizon,
            epoch: open.state.epoch,
        };
        Some((sight, look(open)))
    }

    /// Marks that a commit is on its way, until its end is known.
    pub(super) fn begin(&self) -> Commit<'_> {
        let mut shared = self.shared();
        shared.in_flight = true;
        shared.begun += 1;
        Commit {
            log: self,
            ended: false,
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// A commit on its way. Dropped before its end is known, its result counts as unknown.
pub(super) struct Commit<'a> {
    log: &'a Log,
    ended: bool,
}

impl Commit<'_> {
    /// Takes the store's answer: publishes what was committed, or forgets what is no longer known.
    pub(super) fn end<T>(
        mut self,
        result: Result<(), StorageError>,
        publish: impl FnOnce(&mut Open) -> T,
    ) -> Result<T, StorageError> {
        let mut shared = self.log.shared();
        self.ended = true;
        shared.in_flight = false;
        match result {
            Ok(()) => match shared.open.as_mut() {
                Some(open) => Ok(publish(open)),
                None => Err(StorageError::Backend(
                    "the log was closed during a commit".to_owned(),
                )),
            },
            Err(StorageError::Conflict) => {
                shared.open = None;
                // Whoever visits joins nothing: the next opening is one of its own, unless it was to join already.
                shared.joins |= !std::mem::take(&mut shared.is_visit);
                Err(StorageError::Conflict)
            }
            // Nothing was written, and what is in memory still stands.
            Err(error @ (StorageError::Full(_) | StorageError::TooLarge { .. })) => Err(error),
            Err(error) => {
                shared.open = None;
                shared.joins = false;
                Err(error)
            }
        }
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mut shared = self.log.shared();
            shared.in_flight = false;
            shared.open = None;
            shared.joins = false;
        }
    }
}

impl Open {
    pub(super) fn new(row: LogRow, history: HistoryRow, stored: Bytes, tail_bytes: usize) -> Self {
        let epochs: Arc<[EpochStart]> = history
            .epochs
            .into_iter()
            .map(|(epoch, first)| EpochStart { epoch, first })
            .collect();
        let state = LogState {
            lineage: history.lineage,
            epochs,
            epoch: row.epoch,
            head: row.head,
            horizon: row.horizon,
        };
        let tail = Tail::new(row.head, tail_bytes);
        Self {
            state,
            row,
            stored,
            tail,
            digests: None,
            clients: HashMap::new(),
        }
    }

    /// Keeps clients in memory, at most `limit`.
    pub(super) fn remember(
        &mut self,
        clients: impl IntoIterator<Item = (ClientId, ClientRecord)>,
        limit: usize,
    ) {
        for (client, record) in clients {
            if self.clients.len() >= limit && !self.clients.contains_key(&client) {
                // Cheap and rare: whoever still pushes is read again once.
                self.clients.clear();
            }
            self.clients.insert(client, record);
        }
    }
}

/// The log and history of a namespace that is new.
pub(super) fn create(env: &dyn Env) -> (LogRow, HistoryRow) {
    let row = LogRow {
        epoch: Epoch::from_bytes([0; 16]),
        head: Seq::ZERO,
        horizon: Seq::ZERO,
        clock: Hlc::ZERO,
        digests: std::collections::BTreeMap::new(),
        later: LogLater {
            usage: Some(Usage::default()),
            digests: Some(true),
        },
    };
    let lineage = Lineage::from_bytes(random_bytes(env));
    (
        row,
        HistoryRow {
            lineage,
            epochs: Vec::new(),
            later: Later,
        },
    )
}

/// Begins an opening of the log, and forgets openings that are not needed any more.
pub(super) fn begin_epoch(row: &mut LogRow, history: &mut HistoryRow, env: &dyn Env) {
    row.epoch = Epoch::from_bytes(random_bytes(env));
    row.clock = row.clock.max(Hlc::from_time(env.now()));
    history.epochs.push((row.epoch, row.head.next()));
    forget_epochs(&mut history.epochs, row.horizon);
}

/// Forgets openings that ended before the horizon: a checkpoint in one of them is below it and resyncs anyway. A client that
/// knows none of those that are left takes everything before them for shared history, so it can no longer tell whether the
/// server was restored since. That is why the newest ones stay, however old they are.
fn forget_epochs(epochs: &mut Vec<(Epoch, Seq)>, horizon: Seq) {
    let spare = epochs.len().saturating_sub(EPOCHS);
    let successors = epochs.iter().skip(1).take(spare);
    let ended = successors.take_while(|(_, first)| *first <= horizon);
    let ended = ended.count();
    epochs.drain(..ended.max(epochs.len().saturating_sub(MOST_EPOCHS)));
}

fn not_open() -> EngineError {
    EngineError::NotApplied("the log of the namespace is not open".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that began very often without forgetting deletions told so many openings that no client took its welcome.
    #[test]
    fn openings_are_bounded_also_where_no_deletion_was_forgotten() {
        let name = |number: u128| Epoch::from_bytes(number.to_be_bytes());
        let mut epochs: Vec<_> = (0..10_002)
            .map(|number| (name(number), Seq::new(1)))
            .collect();
        forget_epochs(&mut epochs, Seq::ZERO);
        assert_eq!(epochs.len(), MOST_EPOCHS);
        assert_eq!(epochs[0].0, name(2), "the oldest go");
        // Each is a name, a place and the list of both.
        assert!(3 * MOST_EPOCHS < pocket_sync_protocol::WireLimits::default().nodes / 2);
    }
}
