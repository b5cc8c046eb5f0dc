//! Looks at the whole outbox, for people; and when it was last in step.

use pocket_storage::ordered::{BTreeMap, BTreeSet};

use super::state::left_out;
use super::{load_target, store_target};
use crate::commit::Job;
use crate::keys::{self, Target};
use crate::numbering;
use crate::outbox;
use crate::stored::{self, ChangeRow, MutationRow};
use crate::tx::Tx;
use crate::{CollectionName, Place, Result};

/// Rows read from the outbox at once.
const CHUNK: usize = 256;

/// Counts what the scope keeps here.
pub(super) struct LeftOutJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for LeftOutJob {
    type Output = u64;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<u64> {
        let row = load_target(tx, self.target).await?;
        let left_out = left_out(tx, &row);
        numbering::count_left_out(tx, self.target, left_out).await
    }
}

/// Counts the mutations that touch each collection.
pub(super) struct PendingJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for PendingJob {
    type Output = BTreeMap<CollectionName, u64>;

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Self::Output> {
        let mut counts = BTreeMap::new();
        let mut range = keys::outbox_from(self.target, Place::ZERO);
        loop {
            let Some(rows) = outbox::page(tx, self.target, &mut range, CHUNK).await? else {
                break;
            };
            for (_, payload) in &rows {
                let row: MutationRow = stored::decode(payload)?;
                let touched: BTreeSet<_> = row.changes.iter().map(ChangeRow::collection).collect();
                for collection in touched {
                    *counts.entry(collection).or_insert(0) += 1;
                }
            }
        }
        let named = counts
            .into_iter()
            .map(|(collection, count)| Ok((tx.registry().name(collection)?, count)));
        named.collect()
    }
}

/// Keeps the moment of a complete pass.
pub(super) struct PassedJob {
    pub(super) target: Target,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for PassedJob {
    type Output = ();

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<()> {
        let mut row = load_target(tx, self.target).await?;
        row.last_sync_at = Some(tx.now().millis());
        store_target(tx, self.target, &row);
        Ok(())
    }
}
