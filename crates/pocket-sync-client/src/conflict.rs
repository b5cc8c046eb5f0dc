//! Who wins a conflict. Pure: the same versions give the same answer on every device.

use pocket_core::replica::{Conflict, Decision, Resolver};
use pocket_core::storage::ordered::{BTreeMap, BTreeSet};
use pocket_core::{CollectionName, ConflictStrategy};

/// The built-in strategies, and which collections are decided by the application.
///
/// The strategy of a collection is the one set here, else the one recorded in the database, else that of the engine.
#[derive(Clone, Debug, Default)]
pub struct Strategies {
    otherwise: ConflictStrategy,
    collections: BTreeMap<CollectionName, ConflictStrategy>,
    asks_all: bool,
    asks: BTreeSet<CollectionName>,
}

impl Strategies {
    /// With this strategy for collections that have none of their own.
    pub fn new(otherwise: ConflictStrategy) -> Self {
        Self {
            otherwise,
            ..Self::default()
        }
    }

    /// Another strategy for one collection, before what is recorded in the database.
    #[must_use]
    pub fn collection(mut self, name: CollectionName, strategy: ConflictStrategy) -> Self {
        self.collections.insert(name, strategy);
        self
    }

    /// The application has a rule for collections whose strategy is `custom`.
    #[must_use]
    pub fn asks_application(mut self) -> Self {
        self.asks_all = true;
        self
    }

    /// The application has a rule for this collection, for when its strategy is `custom`.
    #[must_use]
    pub fn asks_application_of(mut self, name: CollectionName) -> Self {
        self.asks.insert(name);
        self
    }

    fn strategy_of(
        &self,
        collection: &CollectionName,
        recorded: Option<ConflictStrategy>,
    ) -> ConflictStrategy {
        let set = self.collections.get(collection).copied();
        let strategy = set.or(recorded).unwrap_or(self.otherwise);
        let answered = self.asks_all || self.asks.contains(collection);
        match strategy {
            // Recorded by a program that had a rule, opened by one that has none.
            ConflictStrategy::Custom if !answered => self.otherwise,
            strategy => strategy,
        }
    }
}

impl Resolver for Strategies {
    fn resolve(
        &self,
        conflict: &Conflict,
        strategy: Option<ConflictStrategy>,
    ) -> (Decision, &'static str) {
        let strategy = self.strategy_of(&conflict.collection, strategy);
        let answered = self.asks_all || self.asks.contains(&conflict.collection);
        match strategy {
            ConflictStrategy::ServerWins => (Decision::KeepRemote, "server-wins"),
            ConflictStrategy::ClientWins => (Decision::KeepLocal, "client-wins"),
            ConflictStrategy::Merge => (Decision::Merge, "merge"),
            ConflictStrategy::Custom if answered => (Decision::Ask, "custom"),
            // Also one that this version does not know: it ends the same everywhere.
            _ => (conflict.later(), "last-write-wins"),
        }
    }
}
