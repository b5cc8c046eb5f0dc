//! What is done to all of a collection: clearing it, and switching its sync on or off.
//!
//! A small collection is done in one commit. A large one in many, each of bounded size, between which others read and
//! write: the settings of the collection say what is under way and how far it is. So whoever opens the database after a
//! crash goes on from there, and nobody begins another such thing before.

use pocket_storage::ScanLimit;

use crate::clear;
use crate::commit::Job;
use crate::configure;
use crate::keys;
use crate::stored::{CollectionRow, UnderWay};
use crate::tx::Tx;
use crate::{CollectionName, Database, DocumentId, Result, codes};

/// Documents, or mutations, that one commit reads at the most.
pub(crate) const STEP: usize = if cfg!(test) { 3 } else { 1_000 };

/// About how many bytes they have, which their writes may double.
pub(crate) const STEP_BYTES: usize = 2 * 1024 * 1024;

/// What one commit reads.
pub(crate) fn step() -> ScanLimit {
    ScanLimit::entries(STEP).bytes(STEP_BYTES)
}

/// What became of a job that begins such a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Nothing: another one is under way in the collection.
    Busy,
    /// It is done, or under way, with so many documents deleted.
    Yes(u64),
}

impl Database {
    /// Runs what `begin` makes: behind what is under way in the collection, and to its end. Says how many documents were
    /// deleted.
    pub(crate) async fn stepwise<J>(
        &self,
        name: &CollectionName,
        begin: impl Fn() -> J,
    ) -> Result<u64>
    where
        J: Job<Output = Begun>,
    {
        loop {
            match self.submit(begin()).await? {
                Begun::Busy => drop(self.finish_steps(name).await?),
                Begun::Yes(mut deleted) => {
                    deleted += self.finish_steps(name).await?;
                    return Ok(deleted);
                }
            }
        }
    }

    /// Ends what is under way in all collections. What cannot be read keeps nobody from opening the database.
    pub(crate) async fn finish_all_steps(&self) -> Result<()> {
        let registry = self.core().registry();
        for (name, row) in registry.iter_even_dropped() {
            if row.later.under_way.is_some() {
                match self.finish_steps(name).await {
                    Err(error) if error.code() == codes::CORRUPT => {}
                    finished => drop(finished?),
                }
            }
        }
        Ok(())
    }

    async fn finish_steps(&self, name: &CollectionName) -> Result<u64> {
        let is_under_way = || {
            let registry = self.core().registry();
            let row = registry.get_even_dropped(name);
            row.is_some_and(|row| row.later.under_way.is_some())
        };
        let mut deleted = 0;
        while is_under_way() {
            deleted += self.submit(StepJob { name: name.clone() }).await?;
        }
        Ok(deleted)
    }
}

/// Goes on with what is under way in a collection.
struct StepJob {
    name: CollectionName,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for StepJob {
    /// Documents that were deleted.
    type Output = u64;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<u64> {
        let Some(row) = tx.registry().get_even_dropped(&self.name).cloned() else {
            return Ok(0);
        };
        match row.later.under_way.clone() {
            None => {
                // Another handle has done it, and this one has not heard of it.
                tx.core().refresh().await?;
                Ok(0)
            }
            Some(UnderWay::Clearing(from)) => clear::some(tx, &self.name, row, from).await,
            Some(UnderWay::Offering(after)) => {
                let after = after.map(serde_bytes::ByteBuf::into_vec);
                configure::offer_some(tx, &self.name, row, after).await?;
                Ok(0)
            }
            Some(UnderWay::Dropping(from)) => {
                configure::drop_some(tx, &self.name, row, from).await?;
                Ok(0)
            }
        }
    }
}

impl CollectionRow {
    /// Whether a write of this document goes into the outbox: while its collection is being offered, so does one of what was
    /// offered already.
    pub(crate) fn sends(&self, id: &DocumentId) -> bool {
        match &self.later.under_way {
            Some(UnderWay::Offering(after)) => after.as_ref().is_some_and(|after| {
                let key = keys::document(self.id(), id);
                key.as_slice() <= after.as_slice()
            }),
            _ => self.sync,
        }
    }

    /// Whether its mutations stay in the outbox: it is not all there yet, or about to be dropped.
    pub(crate) fn holds_back(&self) -> bool {
        let under_way = self.later.under_way.as_ref();
        under_way.is_some_and(|it| !matches!(it, UnderWay::Clearing(_)))
    }
}
