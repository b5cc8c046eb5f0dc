//! What a sync client keeps between sessions.

use std::time::Duration;

use bytes::Bytes;
use pocket_storage::ordered::BTreeSet;

use super::{load_target, renew, resync, store_target};
use crate::commit::Job;
use crate::keys::{self, CollectionId, Target};
use crate::stored::{self, Binding, CheckpointRow, CollectionRow, TargetRow};
use crate::tx::Tx;
use crate::{
    ClientId, CollectionName, DocumentId, Epoch, Error, Hlc, MutationNumber, Place, Result, Seq,
    SessionToken, Timestamp, codes, configure, outbox,
};

/// Which collections a client syncs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All that sync, also those made later.
    #[default]
    All,
    /// These.
    Only(BTreeSet<CollectionName>),
}

/// A collection that is being read from the start, up to the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Which.
    pub collection: CollectionName,
    /// How far it was read.
    pub position: Seq,
}

/// How far the feed was read, and what that speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The opening of the log that told the place; none before the first page.
    pub epoch: Option<Epoch>,
    /// The last place read.
    pub seq: Seq,
    /// The collections it speaks for.
    pub scope: Scope,
    /// Collections it does not speak for yet.
    pub joining: Vec<Joining>,
    /// A fingerprint of the user's rights to read.
    pub rights: Option<Bytes>,
    /// The head that was fixed at the start of a first sync or resync, while that lasts.
    pub fixed_head: Option<Seq>,
    /// Everything is being read again from the start; until that is done nothing is sent.
    pub resyncing: bool,
    /// Everything was read again, and what the server no longer shows is being removed.
    pub sweeping: bool,
}

/// What a client knows before it connects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaState {
    /// Who it is.
    pub client: ClientId,
    /// What it presents at the next handshake.
    pub token: Option<SessionToken>,
    /// What it is bound to.
    pub binding: Option<Binding>,
    /// The outcomes of all numbers up to this are stored.
    pub confirmed: MutationNumber,
    /// The last number given.
    pub last_number: MutationNumber,
    /// How far the feed was read.
    pub checkpoint: Checkpoint,
    /// Mutations in the outbox.
    pub pending: u64,
    /// Mutations that met a conflict and wait for the records that stand in their way.
    pub waiting: u64,
    /// Those of them whose records are here, and that only the application can decide.
    pub undecided: u64,
    /// Those of them whose records the feed will not bring, since the scope leaves a collection of theirs out.
    pub unread: u64,
    /// Open entries of the journal.
    pub open_conflicts: u64,
    /// When the last complete pass ended.
    pub last_sync_at: Option<Timestamp>,
}

/// What a handshake brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// What the database is bound to from now on.
    pub binding: Binding,
    /// What to present next time.
    pub token: SessionToken,
    /// The server's time.
    pub server_time: Timestamp,
    /// How long ago the server was asked. It read its clock at some moment since.
    pub since_asked: Duration,
    /// A fingerprint of the user's rights to read; none where everybody reads everything.
    pub rights: Option<Bytes>,
    /// Where the server's log stands.
    pub log: ServerLog,
}

/// Where a server's log stands, as a handshake told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerLog {
    /// Its openings, oldest first, each with the first place given in it.
    pub epochs: Vec<(Epoch, Seq)>,
    /// The newest place.
    pub head: Seq,
    /// Deletions at or below this place are forgotten.
    pub horizon: Seq,
    /// The last number of this client that has an outcome.
    pub last_number: MutationNumber,
}

impl From<&CheckpointRow> for Checkpoint {
    fn from(row: &CheckpointRow) -> Self {
        Self {
            epoch: row.epoch,
            seq: row.seq,
            scope: row.scope.as_ref().map_or(Scope::All, |names| {
                Scope::Only(names.iter().cloned().collect())
            }),
            joining: row
                .joining
                .iter()
                .map(|(collection, position)| Joining {
                    collection: collection.clone(),
                    position: *position,
                })
                .collect(),
            rights: row
                .rights
                .as_ref()
                .map(|rights| Bytes::copy_from_slice(rights)),
            fixed_head: row.fixed_head,
            resyncing: row.later.running.is_some(),
            sweeping: row
                .later
                .running
                .as_ref()
                .is_some_and(|running| running.sweep.is_some()),
        }
    }
}

pub(super) async fn snapshot(tx: &mut Tx, target: Target, row: &TargetRow) -> Result<ReplicaState> {
    let waiting = tx.count(keys::all_waiting(target)).await?;
    let undecided = match waiting {
        0 => 0,
        _ => tx.count(keys::all_questions(target)).await?,
    };
    let unread = match waiting {
        0 => 0,
        _ => unread(tx, target, row).await?,
    };
    Ok(ReplicaState {
        undecided: undecided as u64,
        unread,
        ..snapshot_with(tx, row, waiting as u64)
    })
}

/// The synced collections outside the scope.
pub(super) fn left_out(tx: &Tx, row: &TargetRow) -> BTreeSet<CollectionId> {
    let Some(scope) = &row.checkpoint.scope else {
        return BTreeSet::new();
    };
    let all = tx.registry().iter_even_dropped();
    all.filter(|(name, row)| row.sync && !scope.contains(name))
        .map(|(_, row)| row.id())
        .collect()
}

/// Waiting mutations of collections that the feed does not bring, but for those that have their records.
async fn unread(tx: &mut Tx, target: Target, row: &TargetRow) -> Result<u64> {
    let left_out = left_out(tx, row);
    if left_out.is_empty() {
        return Ok(0);
    }
    let mut unread = 0;
    for key in tx.keys(keys::all_waiting(target)).await? {
        let place = keys::trailing_number(&key)
            .ok_or_else(|| stored::damaged("a waiting key is too short"))?;
        let place = Place::new(place);
        if tx.get(&keys::question(target, place)).await?.is_some() {
            continue;
        }
        let row = outbox::load_row(tx, target, place).await?;
        let mut changes = row.changes.iter();
        unread += u64::from(changes.any(|change| left_out.contains(&change.collection())));
    }
    Ok(unread)
}

pub(super) fn snapshot_with(tx: &mut Tx, row: &TargetRow, waiting: u64) -> ReplicaState {
    ReplicaState {
        client: tx.client(),
        token: row.token,
        binding: row.binding.clone(),
        confirmed: row.confirmed,
        last_number: row.last_number,
        checkpoint: Checkpoint::from(&row.checkpoint),
        pending: tx.state().pending,
        waiting,
        undecided: 0,
        unread: 0,
        open_conflicts: tx.state().open_journal,
        last_sync_at: row.last_sync_at.map(Timestamp::from_millis),
    }
}

/// Reads the state; it writes nothing, so nothing is committed.
pub(super) struct StateJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for StateJob {
    type Output = ReplicaState;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<ReplicaState> {
        let row = load_target(tx, self.target).await?;
        snapshot(tx, self.target, &row).await
    }
}

pub(super) struct LoadJob {
    pub(super) target: Target,
    pub(super) scope: Scope,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for LoadJob {
    type Output = ReplicaState;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<ReplicaState> {
        let mut row = load_target(tx, self.target).await?;
        let before = row.clone();
        if !crate::mutants::active("pocket-mutant:joins-not-read") {
            note_joining(tx, self.target, &mut row, &self.scope).await?;
        }
        if row != before {
            store_target(tx, self.target, &row);
        }
        snapshot(tx, self.target, &row).await
    }
}

/// A position speaks for its collections only: others are read from the start.
async fn note_joining(
    tx: &mut Tx,
    target: Target,
    replica: &mut TargetRow,
    scope: &Scope,
) -> Result<()> {
    // Collections for which sync was switched on since.
    let switched: Vec<(CollectionName, CollectionRow)> = tx
        .registry()
        .iter()
        .filter(|(_, row)| row.joins)
        .map(|(name, row)| (name.clone(), row.clone()))
        .collect();
    let wanted: Option<Vec<CollectionName>> = match scope {
        Scope::All => None,
        Scope::Only(names) => Some(names.iter().cloned().collect()),
    };
    let read_before = replica.checkpoint.epoch.is_some();
    let mut joining: Vec<CollectionName> = Vec::new();
    leave(tx, &replica.checkpoint, wanted.as_deref());
    match (&replica.checkpoint.scope, &wanted) {
        (Some(had), Some(names)) if read_before => {
            joining.extend(names.iter().filter(|name| !had.contains(name)).cloned());
        }
        (Some(_), None) if read_before => {
            // What else there is cannot be named, so the whole feed is read again; known records change nothing. Until
            // that is done, deletions may be forgotten of documents that are here.
            resync::begin(tx, target, replica, None).await?;
        }
        _ => {}
    }
    replica.checkpoint.scope = wanted;
    for (name, row) in switched {
        // Outside of the scope it joins when the scope grows to hold it.
        let wanted = replica
            .checkpoint
            .scope
            .as_ref()
            .is_none_or(|scope| scope.contains(&name));
        if wanted && read_before && replica.checkpoint.seq > Seq::ZERO {
            joining.push(name.clone());
        }
        configure::put_collection(
            tx,
            &name,
            CollectionRow {
                joins: false,
                ..row
            },
        );
    }
    replica.checkpoint.joining.retain(|(name, _)| match scope {
        Scope::All => true,
        Scope::Only(names) => names.contains(name),
    });
    let mut missed = false;
    for name in joining {
        missed |= was_read_before(tx, &name);
        let joining = &mut replica.checkpoint.joining;
        joining.retain(|(joining, _)| *joining != name);
        joining.push((name, Seq::ZERO));
    }
    if missed {
        // What was deleted meanwhile may be forgotten, and what may no longer be read was not told: reading the
        // collection shows what is there, and only a resync removes the rest.
        resync::begin(tx, target, replica, None).await?;
    }
    Ok(())
}

/// Notes since when the collections outside of `wanted` are no longer read.
fn leave(tx: &mut Tx, checkpoint: &CheckpointRow, wanted: Option<&[CollectionName]>) {
    let Some(wanted) = wanted else { return };
    let had = checkpoint.scope.as_ref();
    let leaves = |name: &CollectionName| {
        !wanted.contains(name) && had.is_none_or(|names| names.contains(name))
    };
    let left: Vec<(CollectionName, CollectionRow)> = tx
        .registry()
        .iter_even_dropped()
        .filter(|(name, row)| row.sync && leaves(name))
        .map(|(name, row)| (name.clone(), row.clone()))
        .collect();
    for (name, mut row) in left {
        row.later.away = checkpoint.resyncs_done();
        configure::put_collection(tx, &name, row);
    }
}

/// Whether a collection that joins was read before, and not for a while. What a restored server has lost of it since
/// stays with it until a resync is over.
fn was_read_before(tx: &mut Tx, name: &CollectionName) -> bool {
    let Some(row) = tx.registry().get_even_dropped(name) else {
        return false;
    };
    if row.later.away.is_none() {
        return false;
    }
    let mut row = row.clone();
    row.later.away = None;
    configure::put_collection(tx, name, row);
    true
}

pub(super) struct AttachJob {
    pub(super) target: Target,
    pub(super) attachment: Attachment,
    /// When the server was asked, by this device's clock.
    pub(super) asked: Timestamp,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for AttachJob {
    type Output = ReplicaState;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<ReplicaState> {
        let mut row = load_target(tx, self.target).await?;
        if let Some(bound) = &row.binding {
            bound.check(&self.attachment.binding)?;
        }
        // The clock starts from the server's time: a device whose own clock is behind must not lose every conflict.
        tx.set_server_time(self.attachment.server_time, self.asked);
        let clock = tx
            .state()
            .clock
            .max(Hlc::from_time(self.attachment.server_time));
        tx.state().clock = clock;
        row.binding = Some(self.attachment.binding.clone());
        row.token = Some(self.attachment.token);
        let rights = self
            .attachment
            .rights
            .as_ref()
            .map(|rights| serde_bytes::ByteBuf::from(rights.to_vec()));
        if row.checkpoint.rights != rights {
            // What was read before speaks for other rights. A server would refuse to go on from there, too.
            let unnoticed = crate::mutants::active("pocket-mutant:rights-change-unnoticed");
            if row.has_read() && !unnoticed {
                resync::begin(tx, self.target, &mut row, None).await?;
            }
            row.checkpoint.rights = rights;
        }
        resync::compare(tx, self.target, &mut row, &self.attachment.log).await?;
        renew::doubts_until(tx, self.target, self.attachment.log.head).await?;
        store_target(tx, self.target, &row);
        snapshot(tx, self.target, &row).await
    }
}

impl Binding {
    /// Whether a server that calls itself `other` is the one this database belongs to.
    ///
    /// # Errors
    /// `other-lineage`, `other-namespace` or `other-user`.
    pub fn check(&self, other: &Self) -> Result<()> {
        // Each namespace has a lineage of its own, so another one says nothing while the names differ.
        let (code, what, bound, met) = if self.namespace != other.namespace {
            (
                codes::OTHER_NAMESPACE,
                "namespace",
                self.namespace.clone(),
                other.namespace.clone(),
            )
        } else if self.lineage != other.lineage {
            (
                codes::OTHER_LINEAGE,
                "server",
                self.lineage.to_string(),
                other.lineage.to_string(),
            )
        } else if self.user != other.user {
            (
                codes::OTHER_USER,
                "user",
                self.user.clone(),
                other.user.clone(),
            )
        } else {
            return Ok(());
        };
        Err(Error::new(
            code,
            format!(
                "this database belongs to {what} `{bound}`, but met `{met}`; nothing was sent, stored or dropped. Connect \
                 to the one it belongs to, or leave that one: `detach` keeps all documents and offers them to the next \
                 server, `wipe` removes what came from the old one"
            ),
        ))
    }
}

/// Reads which documents conflicts wait for.
pub(super) struct WaitingJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for WaitingJob {
    type Output = Vec<(CollectionName, DocumentId)>;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Self::Output> {
        let limit = pocket_storage::ScanLimit::entries(usize::MAX).bytes(usize::MAX);
        let rows = tx.scan(keys::all_waiting(self.target), limit).await?;
        let mut documents = BTreeSet::new();
        for (key, _) in rows {
            let place = keys::trailing_number(&key)
                .ok_or_else(|| stored::damaged("a waiting key is too short"))?;
            let place = Place::new(place);
            if tx.get(&keys::question(self.target, place)).await?.is_some() {
                // Its records are here.
                continue;
            }
            let entry = outbox::load(tx, self.target, place).await?;
            for change in entry.changes {
                documents.insert((tx.registry().name(change.collection)?, change.id));
            }
        }
        Ok(documents.into_iter().collect())
    }
}
