//! The replica: what a sync client does to the local store.
//!
//! Each method is one atomic commit. Whoever drives a session calls them one at a time, in the session's order.

mod apply;
mod census;
mod conflict;
mod detach;
mod engagement;
pub(crate) mod guard;
mod poison;
mod questions;
mod rebase;
mod renew;
mod resolve;
mod resync;
mod revoke;
mod settle;
mod state;
mod unerased;
mod verify;

use std::sync::Arc;

use pocket_storage::ordered::BTreeMap;
use tokio::sync::watch;

use crate::commit::Job;
use crate::keys::{self, Target};
use crate::numbering::{self, Pinned, PushLimit};
use crate::stored::{self, TargetRow};
use crate::tx::Tx;
use crate::{
    ClientId, CollectionName, Database, DocumentId, MutationNumber, Outcome, Result, Timestamp,
};

pub use apply::{Applied, IncomingPage, PageKind};
pub use conflict::{Answer, Conflict, Decision, Resolver, Ruling, Version};
pub use detach::Wiped;
pub(crate) use engagement::Engaged;
pub use engagement::Engagement;
pub use poison::{Blamed, Resent};
pub use questions::Resolved;
pub use settle::Settled;
pub use state::{Attachment, Checkpoint, Joining, ReplicaState, Scope, ServerLog};
pub use verify::{Claim, Verdict, Verified};

/// One database as a client of one server.
#[derive(Clone, Debug)]
pub struct Replica {
    database: Database,
    target: Target,
    client: Option<ClientId>,
}

impl Replica {
    /// The database as a client of `target`.
    pub fn new(database: &Database, target: Target) -> Self {
        Self {
            database: database.clone(),
            target,
            client: None,
        }
    }

    /// The same, on behalf of a session that said it is `client`: each method fails with `other-client`, and changes
    /// nothing, once the store is another one. [`wipe`](Self::wipe), [`detach`](Self::detach) and
    /// [`renew`](Self::renew) make it another one, through whichever handle of the store.
    #[must_use]
    pub fn acting_as(&self, client: ClientId) -> Self {
        Self {
            client: Some(client),
            ..self.clone()
        }
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Mutations in the outbox, as this handle last committed or read them. Nothing is read for it.
    pub fn known_pending(&self) -> u64 {
        self.database.core().pending()
    }

    /// Changes whenever the outbox grew or a collection began to sync; the value counts.
    pub fn outbox_signal(&self) -> watch::Receiver<u64> {
        self.database.core().notifier.outbox()
    }

    /// The stored state, and nothing is noted. For showing it; a session begins with [`load`](Self::load).
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn state(&self) -> Result<ReplicaState> {
        let target = self.target;
        self.submit(state::StateJob { target }).await
    }

    /// The stored state; notes which collections of `scope` have to be read from the start.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn load(&self, scope: &Scope) -> Result<ReplicaState> {
        self.submit_durably(state::LoadJob {
            target: self.target,
            scope: scope.clone(),
        })
        .await
    }

    /// Stores what a handshake brought: the binding, the session token for next time, the server's clock.
    ///
    /// # Errors
    /// `other-lineage`, `other-namespace` or `other-user` when the database is bound to something else (then nothing
    /// is stored), and what the store says.
    pub async fn attach(&self, attachment: &Attachment) -> Result<ReplicaState> {
        let since = i64::try_from(attachment.since_asked.as_millis()).unwrap_or(i64::MAX);
        let now = self.database.core().env.now().millis();
        self.submit_durably(state::AttachJob {
            target: self.target,
            attachment: attachment.clone(),
            asked: Timestamp::from_millis(now.saturating_sub(since)),
        })
        .await
    }

    /// Gives the next unsent mutations their numbers and returns them. From now on they never change.
    ///
    /// Those that touch a collection outside the scope of the last [`load`](Self::load) stay as they are, and whole.
    ///
    /// # Errors
    /// What the store says.
    pub async fn pin(&self, limit: PushLimit) -> Result<Pinned> {
        let job = PinJob {
            target: self.target,
            limit,
        };
        if crate::mutants::active("pocket-mutant:number-given-without-durability") {
            return self.submit(job).await;
        }
        self.submit_durably(job).await
    }

    /// Unsent mutations that stay here because of the scope of the last [`load`](Self::load). Reads the whole outbox.
    ///
    /// # Errors
    /// What the store says.
    pub async fn left_out(&self) -> Result<u64> {
        let target = self.target;
        self.submit(census::LeftOutJob { target }).await
    }

    /// How many mutations of the outbox touch each collection. Reads the whole outbox.
    ///
    /// # Errors
    /// What the store says.
    pub async fn pending_by_collection(&self) -> Result<BTreeMap<CollectionName, u64>> {
        let target = self.target;
        self.submit(census::PendingJob { target }).await
    }

    /// Keeps the moment as the end of a complete pass; see [`ReplicaState::last_sync_at`].
    ///
    /// # Errors
    /// What the store says.
    pub async fn passed(&self) -> Result<()> {
        let target = self.target;
        self.submit(census::PassedJob { target }).await
    }

    /// The numbered mutations from `from` on whose outcome is unknown, as they were first sent.
    ///
    /// # Errors
    /// What the store says.
    pub async fn resend(&self, from: MutationNumber, limit: PushLimit) -> Result<Resent> {
        self.submit_durably(ResendJob {
            target: self.target,
            from,
            limit,
        })
        .await
    }

    /// A connection ended while the mutations from `first` to `last` were on their way, in a manner that one of them
    /// may have caused. What was on its way too often is sent alone, then withdrawn.
    ///
    /// # Errors
    /// What the store says.
    pub async fn blame(&self, first: MutationNumber, last: MutationNumber) -> Result<Blamed> {
        self.submit_durably(poison::BlameJob {
            target: self.target,
            first,
            last,
        })
        .await
    }

    /// Leaves the server and keeps everything: binding, session token, checkpoint and numbers are forgotten.
    ///
    /// The next server this database meets gets all of it: pending changes as they were, on no version of the old
    /// server (an edit arrives as the whole document, a deletion as a deletion), and every other document of a synced
    /// collection as a create. What was on its way may have taken effect on the old server, and is sent to the next one
    /// all the same. Revisions keep their time under another client id. The journal stays. No session of this handle may
    /// run; what those of other handles bring is refused, see [`acting_as`](Self::acting_as).
    ///
    /// A damaged document stays as it is, and is offered once something takes its place. One commit; it costs memory in
    /// proportion to the documents that sync.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn detach(&self) -> Result<ReplicaState> {
        let target = self.target;
        self.submit_durably(detach::DetachJob { target }).await
    }

    /// Leaves the server and removes what came from it: the documents of all synced collections, also those that were
    /// made here and those never sent, the outbox and the journal; damaged ones, too. Local-only collections and all settings
    /// stay.
    ///
    /// The next server this database meets is read from the start. No session of this handle may run; what those of other
    /// handles bring is refused, see [`acting_as`](Self::acting_as).
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn wipe(&self) -> Result<Wiped> {
        let target = self.target;
        self.submit_durably(detach::WipeJob { target }).await
    }

    /// The documents whose records conflicts wait for, each once. For a client that does not read the feed.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn waiting(&self) -> Result<Vec<(CollectionName, DocumentId)>> {
        let target = self.target;
        self.submit(state::WaitingJob { target }).await
    }

    /// Begins a resync: everything is read again from the start, and then what the server no longer shows is removed.
    ///
    /// Reads go on meanwhile. Nothing is numbered until it is done. Whoever calls it while a session runs lets that
    /// session load the state anew. One that is under way begins anew.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn begin_resync(&self) -> Result<ReplicaState> {
        let target = self.target;
        self.submit_durably(resync::BeginJob { target }).await
    }

    /// Removes some of what a resync did not see, once it has read everything; the last part ends the resync.
    ///
    /// Does nothing when the state is not `sweeping`.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn sweep(&self, resolver: Arc<dyn Resolver>) -> Result<Applied> {
        self.submit_durably(resync::SweepJob {
            target: self.target,
            resolver,
        })
        .await
    }

    /// Takes another client id, because the server found that this store is a copy or was restored.
    ///
    /// All that is pending waits until the feed was read to the head of the next handshake. What took effect under the
    /// old id is done then; what was made on the version that stands is sent anew.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn renew(&self) -> Result<ReplicaState> {
        let target = self.target;
        self.submit_durably(renew::RenewJob { target }).await
    }

    /// Stores the outcomes of the mutations from `first` on. Those of numbers that are not pending are ignored.
    ///
    /// # Errors
    /// What the store says.
    pub async fn settle(
        &self,
        first: MutationNumber,
        outcomes: Vec<Outcome>,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Settled> {
        let job = settle::SettleJob {
            target: self.target,
            first,
            outcomes,
            resolver,
        };
        if crate::mutants::active("pocket-mutant:relaxed-store-confirms") {
            return self.submit(job).await;
        }
        self.submit_durably(job).await
    }

    /// Settles the conflicts that `answers` are about, as far as nothing moved since they were asked, and tells at most
    /// `limit` of those that still wait for an answer.
    ///
    /// # Errors
    /// What the store says.
    pub async fn resolve(
        &self,
        answers: Vec<Answer>,
        limit: usize,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Resolved> {
        self.submit_durably(questions::ResolveJob {
            target: self.target,
            answers,
            limit,
            resolver,
        })
        .await
    }

    /// Compares what is here with what the server says it should be; where they differ, a resync begins.
    ///
    /// A document that is known to be the server's by now counts as that version, whatever is pending on top of it. While
    /// something is on its way, or is read from the start, nothing can be said. Reads a collection whose digest differs
    /// as a whole.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn verify(&self, claim: Claim) -> Result<Verified> {
        self.submit_durably(verify::VerifyJob {
            target: self.target,
            claim,
        })
        .await
    }

    /// Applies a page, the checkpoint that follows it and what it settles, in one commit.
    ///
    /// # Errors
    /// `stale-page` when it does not start where the store stands (nothing is changed), `validation` when a record is
    /// no valid document, and what the store says.
    pub async fn apply(&self, page: IncomingPage, resolver: Arc<dyn Resolver>) -> Result<Applied> {
        self.submit_durably(apply::ApplyJob {
            target: self.target,
            page,
            resolver,
        })
        .await
    }
}

pub(crate) async fn load_target(tx: &mut Tx, target: Target) -> Result<TargetRow> {
    let payload = tx.get(&keys::target(target)).await?;
    payload.map_or_else(
        || Ok(TargetRow::default()),
        |payload| stored::decode(&payload),
    )
}

pub(crate) fn store_target(tx: &mut Tx, target: Target, row: &TargetRow) {
    tx.put(keys::target(target), &[&stored::encode(row)]);
}

/// A document went of which nobody knows what the server's version was: its digest is counted anew when it is compared.
/// `reads_again`: everything is read again, if anything was read since the last reading began.
pub(crate) async fn lost(tx: &mut Tx, target: Target, reads_again: bool) -> Result<()> {
    let mut row = load_target(tx, target).await?;
    let before = row.clone();
    row.later.repaired = None;
    if reads_again && row.has_read() {
        resync::begin(tx, target, &mut row, None).await?;
    }
    if row != before {
        store_target(tx, target, &row);
    }
    Ok(())
}

struct PinJob {
    target: Target,
    limit: PushLimit,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for PinJob {
    type Output = Pinned;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Pinned> {
        let mut row = load_target(tx, self.target).await?;
        let left_out = state::left_out(tx, &row);
        if row.checkpoint.later.running.is_some() {
            // What is pending stands on versions that may be gone: first comes what the server has.
            return Ok(Pinned {
                mutations: Vec::new(),
                left_out: 0,
            });
        }
        let last = &mut row.last_number;
        let pinned = numbering::pin(tx, self.target, last, left_out, self.limit).await?;
        if !pinned.mutations.is_empty() {
            store_target(tx, self.target, &row);
        }
        Ok(pinned)
    }
}

struct ResendJob {
    target: Target,
    from: MutationNumber,
    limit: PushLimit,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for ResendJob {
    type Output = Resent;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Resent> {
        numbering::resend(tx, self.target, self.from, self.limit).await
    }
}
