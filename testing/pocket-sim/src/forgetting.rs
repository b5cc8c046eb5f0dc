//! A server that forgets: old deletions, and clients that were away.

use std::time::Duration;

use pocket_sync_server::engine::{Compacted, EngineResult, Retention};
use pocket_sync_server::{Engine, Namespace};

use crate::counts::Kind;
use crate::server::{Done, index_of};
use crate::trace::Node;
use crate::world::World;

impl World {
    /// The server forgets what is old, by a measure of its own each time.
    pub(crate) fn forget(&mut self) {
        let mut retention = Retention::forever();
        if self.fault_dice.chance(0.7) {
            retention.places = Some(self.fault_dice.pick(&[0, 1, 3, 10]));
        } else {
            let millis = self.fault_dice.pick(&[0, 100, 2_000, 10_000]);
            retention.tombstones = Some(Duration::from_millis(millis));
        }
        if self.swarm.expires && self.fault_dice.chance(0.5) {
            let millis = self.fault_dice.pick(&[0, 1_000, 5_000, 20_000]);
            retention.clients = Some(Duration::from_millis(millis));
        }
        let Some(up) = &mut self.server.up else {
            return;
        };
        // Whether it does may never be heard.
        self.audit.clients_forgotten |= retention.clients.is_some();
        self.audit.may_have_forgotten = true;
        let names: Vec<Namespace> = up.namespaces().cloned().collect();
        for namespace in names {
            let engine = up.engine();
            up.spawn(async move {
                let result = engine.compact(&namespace, &retention).await;
                Done::Compacted {
                    namespace,
                    retention,
                    result,
                }
            });
        }
        self.counts.add(Kind::Forgetting);
        self.note(Node::Server, || format!("forgets: {retention:?}"));
        self.run_server();
    }

    pub(crate) fn compacted(
        &mut self,
        namespace: &Namespace,
        retention: Retention,
        result: EngineResult<Compacted>,
    ) {
        let Ok(compacted) = result else {
            return;
        };
        let index = index_of(namespace);
        self.note(Node::Server, || {
            format!("forgot in n{index}: {compacted:?}")
        });
        self.counts
            .add_many(Kind::TombstoneForgotten, compacted.tombstones);
        self.counts
            .add_many(Kind::ClientForgotten, compacted.clients);
        self.count_with_rules(Kind::RulesForgotten, compacted.clients);
        let horizon = self.audit.horizons.entry(index).or_default();
        *horizon = compacted.horizon.get().max(*horizon);
        if compacted.more
            && let Some(up) = &mut self.server.up
        {
            let (engine, namespace) = (up.engine(), namespace.clone());
            up.spawn(async move {
                let result = engine.compact(&namespace, &retention).await;
                Done::Compacted {
                    namespace,
                    retention,
                    result,
                }
            });
        }
    }
}
