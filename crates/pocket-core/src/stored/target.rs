//! How a database stands to the server it syncs with: what it is bound to, how far it has read, what it reads again.

use serde::{Deserialize, Serialize};

use crate::parting::{self, Parting};
use crate::{Epoch, Lineage, MutationNumber, Seq, SessionToken};

/// What a database is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The server's log.
    pub lineage: Lineage,
    /// The namespace in it.
    pub namespace: String,
    /// The user the server took the client for.
    pub user: String,
}

crate::later_fields! {
    /// Later fields of a target.
    pub(crate) struct TargetLater {
        /// The epochs of the log as the last welcome told them, each with its first place.
        epochs: Vec<(Epoch, Seq)> = "e",
        /// The highest place that an outcome, or a record asked for by id, told.
        told: Seq = "p",
        /// When everything was last read again because digests differed, in milliseconds since 1970.
        repaired: Option<i64> = "d",
    }
}

crate::later_fields! {
    /// Later fields of a checkpoint.
    pub(crate) struct CheckpointLater {
        /// The resyncs begun so far; the running or last one has this number.
        resync: u64 = "r",
        /// What the running one needs to know.
        running: Option<Resyncing> = "x",
        /// The head fixed by the last reading from the start: deletions up to there were left out.
        blind: Seq = "b",
        /// During that reading outcomes told of places up to there: what was not shown may be deleted.
        unsure: bool = "u",
    }
}

impl Resyncing {
    /// What the server has lost, and is compared now.
    pub(crate) fn partings(&self) -> Vec<Parting> {
        let last = self.fork.map(|shared| (shared, self.since));
        let earlier = self.later.before.iter().copied();
        earlier.chain(last).collect()
    }

    /// The server has lost what came behind a place; documents that no resync since the given one showed may be of that.
    pub(crate) fn part(&mut self, parting: Parting) {
        let mut partings = self.partings();
        parting::add(&mut partings, parting);
        if let Some((shared, since)) = partings.pop() {
            (self.fork, self.since) = (Some(shared), since);
        }
        self.later.before = partings;
    }
}

crate::later_fields! {
    /// Later fields of a resync under way.
    pub(crate) struct ResyncingLater {
        /// The times before that the server had lost something, and the resync was not over yet.
        before: Vec<Parting> = "b",
    }
}

impl CheckpointRow {
    /// The resyncs that are over; none before anything was read.
    pub(crate) fn resyncs_done(&self) -> Option<u64> {
        let running = self.later.running.is_some();
        (running || self.epoch.is_some())
            .then(|| self.later.resync.saturating_sub(u64::from(running)))
    }

    /// The last resync that was over, or first sync: what has a place since is of the history that it has read.
    pub(crate) fn settled_since(&self) -> u64 {
        let reads = self.reads_from_the_start();
        self.later.resync.saturating_sub(u64::from(reads))
    }

    /// Whether the feed is being read from the start, and its head was not reached yet.
    pub(crate) fn reads_from_the_start(&self) -> bool {
        self.epoch.is_none() || self.fixed_head.is_some() || self.later.running.is_some()
    }
}

/// A resync under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resyncing {
    /// The last place that the server's history shares with the one read before, when the two parted.
    pub(crate) fork: Option<Seq>,
    /// Documents that no resync from this number on saw have places of the history read before.
    pub(crate) since: u64,
    /// The feed was read to its head. What was not seen is removed; this is how far that has come.
    pub(crate) sweep: Option<serde_bytes::ByteBuf>,
    pub(crate) later: ResyncingLater,
}

/// `t…`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetRow {
    pub(crate) token: Option<SessionToken>,
    pub(crate) binding: Option<Binding>,
    /// The last number given.
    pub(crate) last_number: MutationNumber,
    /// The outcomes of all numbers up to this are stored.
    pub(crate) confirmed: MutationNumber,
    pub(crate) checkpoint: CheckpointRow,
    pub(crate) last_sync_at: Option<i64>,
    pub(crate) later: TargetLater,
}

/// The checkpoint inside a target's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckpointRow {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) seq: Seq,
    /// The collections the position speaks for; none = all that sync.
    pub(crate) scope: Option<Vec<crate::CollectionName>>,
    /// Collections that are being read from the start, each with its own position.
    pub(crate) joining: Vec<(crate::CollectionName, Seq)>,
    pub(crate) rights: Option<serde_bytes::ByteBuf>,
    /// The head fixed at the start of a first sync or resync.
    pub(crate) fixed_head: Option<Seq>,
    pub(crate) later: CheckpointLater,
}
