//! Who wins a conflict. Pure: the same versions give the same answer on every device.

use pocket_core::ConflictStrategy;
use pocket_core::replica::{Conflict, Decision, Resolver};

/// The built-in strategies: `last-write-wins`, `server-wins`, `client-wins` and `merge`.
///
/// A strategy this version does not know counts as `last-write-wins`, which ends the same everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strategies {
    otherwise: ConflictStrategy,
}

impl Strategies {
    /// With this strategy for collections that have none of their own.
    pub fn new(otherwise: ConflictStrategy) -> Self {
        Self { otherwise }
    }
}

impl Resolver for Strategies {
    fn resolve(
        &self,
        conflict: &Conflict,
        strategy: Option<ConflictStrategy>,
    ) -> (Decision, &'static str) {
        match strategy.unwrap_or(self.otherwise) {
            ConflictStrategy::ServerWins => (Decision::KeepRemote, "server-wins"),
            ConflictStrategy::ClientWins => (Decision::KeepLocal, "client-wins"),
            ConflictStrategy::Merge => (Decision::Merge, "merge"),
            _ => (conflict.later(), "last-write-wins"),
        }
    }
}
