//! Mutations that end connections: found, sent alone, and at last withdrawn, so that the rest of the queue arrives.
//!
//! A mutation has its number before it is first sent, and the server takes numbers only in order: one that never
//! arrives would keep all behind it. What is withdrawn travels as its bare number.

use super::Job;
use crate::config::{ENDED_ALONE, ENDED_WITHDRAWN};
use crate::keys::{self, Target};
use crate::outbox;
use crate::stored::{self, MutationRow, Progress};
use crate::tx::Tx;
use crate::{Mutation, MutationNumber, Place, Result};

/// Mutations that are sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resent {
    /// As they were first sent, or withdrawn.
    pub mutations: Vec<Mutation>,
    /// Those among them that may be what ends the connections: each is sent with nothing else on its way.
    pub suspects: Vec<MutationNumber>,
}

/// What a connection's end made of the mutations that were on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blamed {
    /// Those that are sent alone from now on.
    pub suspects: usize,
    /// Those that are withdrawn from now on.
    pub withdrawn: usize,
}

impl MutationRow {
    /// Whether it may be what ends the connections.
    pub(crate) fn is_suspect(&self) -> bool {
        self.ended >= ENDED_ALONE && !self.is_withdrawn()
    }

    /// Whether only its number travels.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.content == 1
    }
}

/// A connection ended while the mutations from `first` to `last` were on their way.
pub(super) struct BlameJob {
    pub(super) target: Target,
    pub(super) first: MutationNumber,
    pub(super) last: MutationNumber,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for BlameJob {
    type Output = Blamed;

    fn runs_alone(&self) -> bool {
        true
    }

    fn is_by_sync(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Blamed> {
        let mut blamed = Blamed::default();
        let mut number = self.first;
        while number <= self.last {
            let place = tx.get(&keys::number(self.target, number)).await?;
            if let Some(place) = place {
                let place: Place = stored::decode(&place)?;
                let mut row = outbox::load_row(tx, self.target, place).await?;
                if row.progress == Progress::Pinned(number) && !row.is_withdrawn() {
                    row.ended = row.ended.saturating_add(1);
                    // The content stays: what the server knows of the number may be that it took effect.
                    row.content = u8::from(row.ended >= ENDED_WITHDRAWN);
                    blamed.withdrawn += usize::from(row.is_withdrawn());
                    blamed.suspects += usize::from(row.is_suspect());
                    tx.put(keys::outbox(self.target, place), &[&stored::encode(&row)]);
                }
            }
            number = number.next();
        }
        Ok(blamed)
    }
}
