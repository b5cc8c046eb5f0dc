//! What an application can watch: status, counts and progress.

use std::fmt;

use pocket_core::Timestamp;
use pocket_core::replica::Checkpoint;

use crate::SyncError;

/// Where sync stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// There is no connection, or the engine does not run.
    #[default]
    Offline,
    /// Connected, and something is on its way or not known to be complete.
    Syncing,
    /// Connected, nothing waits to be sent, and everything the server has told of is here.
    Idle,
    /// Something needs attention; [`Stats::last_error`] says what.
    Error,
}

impl Status {
    /// Its name: `offline`, `syncing`, `idle` or `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Syncing => "syncing",
            Self::Idle => "idle",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happened since the engine was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Mutations whose outcome the server told, whatever it was.
    pub push_count: u64,
    /// Records received and applied.
    pub pull_count: u64,
    /// Conflicts met, whoever won; each has an entry in the journal.
    pub conflict_count: u64,
    /// Mutations the server refused; each has an entry in the journal.
    pub rejected_count: u64,
    /// Mutations sent a second time after a lost connection.
    pub resent_count: u64,
    /// Times the server said that this device should hold something else than it does. Everything is read again then.
    pub difference_count: u64,
    /// Mutations that wait for their outcome, as the engine last saw them; while it does not run, as they lie in the outbox.
    pub pending: u64,
    /// Conflicts that wait for the application's rule, as the engine last saw them.
    pub undecided: u64,
    /// Open entries of the journal, as the engine last saw them.
    pub open_conflicts: u64,
    /// Whether so many entries are open that somebody should look: more than
    /// [`MAX_OPEN_CONFLICTS`](crate::config::MAX_OPEN_CONFLICTS). None is ever dropped.
    pub journal_overfull: bool,
    /// Mutations that stay in the outbox since the option `collections` leaves out a collection they touch.
    pub left_out: u64,
    /// The last moment everything was in step, by the server's clock.
    pub last_sync_at: Option<Timestamp>,
    /// What went wrong last; nothing once everything is in step again.
    pub last_error: Option<SyncError>,
}

/// How much is left, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Mutations that wait for their outcome.
    pub push_left: u64,
    /// Documents to be read, at the most: places of the server's feed not reached yet.
    pub pull_left: u64,
    /// Whether the first sync is complete: everything there was when it began is here.
    pub first_sync_complete: bool,
    /// Everything is being read again, since the server forgot deletions or was restored. Reads go on meanwhile, and
    /// nothing is sent before it is done.
    pub resyncing: bool,
}

/// Everything that can be watched, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Where sync stands.
    pub status: Status,
    /// What happened so far.
    pub stats: Stats,
    /// How much is left.
    pub progress: Progress,
    /// How far the server's feed is read and stored.
    pub checkpoint: Option<Checkpoint>,
}
