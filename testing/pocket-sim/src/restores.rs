//! Stores that are copied, and stores that come back with what they held earlier.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pocket_core::{Body, Env};
use pocket_sync_server::decide::DocumentKey;
use pocket_sync_server::rules::Authority;
use pocket_sync_server::{EmbeddedEngine, Engine, Namespace};

use crate::audit::{DocKey, Mark, WriteId};
use crate::client::ClientBackup;
use crate::clock::SimEnv;
use crate::counts::Kind;
use crate::dice::Dice;
use crate::disk::Backup;
use crate::rights::team_of;
use crate::server::namespace_name;
use crate::tasks::at_once;
use crate::trace::Node;
use crate::view;
use crate::world::{Happening, World};

/// Devices of a history at the most, copies among them.
const MOST_DEVICES: usize = 7;

/// A copy of the server's store, with what the book knew when it was made.
#[derive(Debug)]
pub(crate) struct ServerBackup {
    backup: Backup,
    mark: Mark,
    /// The newest place of each namespace in it.
    heads: BTreeMap<usize, u64>,
}

impl World {
    /// A client's store is copied while the client goes on: another device begins with the copy.
    pub(crate) fn copy_client(&mut self, index: usize) {
        if !self.clients[index].made || self.clients.len() >= MOST_DEVICES {
            return;
        }
        let shape = crate::swarm::ClientShape {
            operations: 1 + self
                .fault_dice
                .below(self.clients[index].shape.operations.max(1) + 3),
            ..self.clients[index].shape.clone()
        };
        let copy = self.join(shape);
        let backup = self.clients[index].disk.copy();
        let [original, device] = self
            .clients
            .get_disjoint_mut([index, copy])
            .expect("a device and its copy are two");
        device.continues(original);
        device.disk.restore(&backup);
        self.audit.copied(index, copy);
        self.counts.add(Kind::ClientCopied);
        self.count_with_rules(Kind::RulesCopied, 1);
        self.note(Node::Client(copy), || {
            format!("has the store of client {index}")
        });
        let begins = self.fault_dice.below(self.swarm.longest_outage);
        self.schedule(begins, Happening::Restart(Node::Client(copy)));
        let first = self.fault_dice.below(1_000);
        self.schedule(begins + first, Happening::Work { client: copy });
    }

    /// Somebody keeps a copy of a client's store.
    pub(crate) fn back_up_client(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if client.made {
            client.backup = Some(ClientBackup {
                store: client.disk.copy(),
                met: client.met,
                before: self.audit.next_id(),
            });
            self.counts.add(Kind::ClientBackedUp);
            self.note(Node::Client(index), || "is backed up".to_owned());
        }
    }

    /// A client's store becomes what it was when it was copied last.
    pub(crate) fn restore_client(&mut self, index: usize) {
        let Some(backup) = self.clients[index].backup.take() else {
            return self.back_up_client(index);
        };
        self.kill_client(index, false);
        let Ok(journal) = self.journal_of(index) else {
            return;
        };
        let client = &mut self.clients[index];
        // What its journal kept was told; it need not be told by the older one.
        client.told = journal;
        client.disk.restore(&backup.store);
        client.went_back();
        client.met = backup.met;
        self.audit.doubles = true;
        self.counts.add(Kind::ClientRestored);
        self.count_with_rules(Kind::RulesRestored, 1);
        self.note(Node::Client(index), || "is restored".to_owned());
        let view = view::look(client_disk(self, index), &[]);
        match view {
            Ok(view) => self
                .audit
                .after_restore(index, view.sequence, backup.before),
            Err(error) => panic!("a copy of a good store cannot be read: {error:?}"),
        }
        self.schedule(1, Happening::Restart(Node::Client(index)));
    }

    /// Somebody keeps a copy of the server's store.
    pub(crate) fn back_up_server(&mut self) {
        let backup = self.server.disk.copy();
        let Some(heads) = self.heads_in(&backup) else {
            return;
        };
        let mark = self.audit.mark();
        self.note(Node::Server, || format!("is backed up at {heads:?}"));
        self.counts.add(Kind::ServerBackedUp);
        self.server.backup = Some(ServerBackup {
            backup,
            mark,
            heads,
        });
    }

    /// The newest place of each namespace in a copy; none while one is missing, since whoever has begun to sync would
    /// be right to refuse the log that is made instead.
    fn heads_in(&self, backup: &Backup) -> Option<BTreeMap<usize, u64>> {
        let engine = self.engine_on(backup);
        let namespaces: BTreeSet<usize> = self
            .clients
            .iter()
            .map(|client| client.shape.namespace)
            .collect();
        let mut heads = BTreeMap::new();
        for index in namespaces {
            let namespace = Namespace::new(&namespace_name(index))?;
            let head = at_once(engine.head(&namespace)).ok()?.get();
            heads.insert(index, head);
        }
        heads.values().all(|head| *head > 0).then_some(heads)
    }

    /// An engine of its own on a copy of the server's store.
    fn engine_on(&self, backup: &Backup) -> EmbeddedEngine {
        let env: Arc<dyn Env> = Arc::new(SimEnv::new(
            &self.clock,
            &self.server.skew,
            Dice::new(0, crate::dice::Part::Server),
        ));
        EmbeddedEngine::new(backup.open(), env, self.server.limits())
    }

    /// What the server's store has of a document, whatever the book knows of it: none where there is none, or a deletion.
    fn on_server(&self, key: &DocKey) -> Option<Body> {
        let namespace = Namespace::new(&namespace_name(key.namespace))?;
        let engine = self.engine_on(&self.server.disk.copy());
        let document = DocumentKey {
            collection: key.collection.clone(),
            id: key.id.clone(),
        };
        let authority = Authority::open();
        let fetched = at_once(engine.fetch(&namespace, &[document], &authority));
        let records = fetched.expect("a copy of a good store can be read").records;
        records.iter().find_map(|record| {
            let record = record.decode().expect("a good store holds good records");
            record.state.body().cloned()
        })
    }

    /// Whether a document is there in the server's store.
    pub(crate) fn stands_on_server(&self, key: &DocKey) -> bool {
        self.on_server(key).is_some()
    }

    /// Whether a change that took effect, and that nobody was told of, has taken a document away from a device's user: the
    /// server ended first, and its sender has another id since, or is forgotten. It deleted the document, or gave it to
    /// others. Only the server's store tells.
    pub(crate) fn was_taken_away(&self, index: usize, key: &DocKey) -> bool {
        self.audit.may_have_moved(key)
            && self
                .on_server(key)
                .is_none_or(|body| !self.audit.may_read_of(index, key, team_of(&body)))
    }

    /// The server's store becomes what it was when it was copied last.
    pub(crate) fn restore_server(&mut self) {
        let Some(ServerBackup {
            backup,
            mark,
            heads,
        }) = self.server.backup.take()
        else {
            return self.back_up_server();
        };
        self.kill_server(false);
        self.server.disk.restore(&backup);
        let now = self.now();
        self.server.heads.restore(now, &heads);
        self.counts.add(Kind::ServerRestored);
        self.note(Node::Server, || format!("is restored to {heads:?}"));
        let gone = self.audit.fork(mark, &heads);
        if !gone.is_empty() {
            self.counts.add(Kind::PlacesLost);
        }
        self.give_up_what_nobody_has(&gone);
        for client in &mut self.clients {
            client.shown.clear();
            client.head = 0;
            let namespace = client.shape.namespace;
            if let Some(up) = client.up_mut() {
                for command in up.commands.values_mut() {
                    command.head = command.head.min(heads[&namespace]);
                }
            }
        }
        self.schedule(1, Happening::Restart(Node::Server));
    }

    /// What the server lost comes back from the devices that hold it. What none holds is gone, and so are deletions.
    fn give_up_what_nobody_has(&mut self, gone: &BTreeSet<WriteId>) {
        let mut held: BTreeSet<WriteId> = BTreeSet::new();
        for index in 0..self.clients.len() {
            if !self.clients[index].made {
                // A look would make a database.
                continue;
            }
            let keys = self.keys_of(self.clients[index].shape.namespace);
            if let Ok(view) = view::look(client_disk(self, index), &keys) {
                held.extend(view.documents.values().flat_map(|seen| seen.ids.iter()));
            }
            if let Ok(journal) = self.journal_of(index) {
                held.extend(journal.local.iter().chain(&journal.remote));
            }
        }
        let held = self.audit.closure(held);
        self.audit
            .give_up(|id, write| gone.contains(&id) && !(write.kind.puts() && held.contains(&id)));
        let replaced = self.audit.replaced_by_lost();
        self.audit
            .give_up(|id, _| replaced.contains(&id) && !held.contains(&id));
    }
}

fn client_disk(world: &World, index: usize) -> Arc<dyn pocket_storage::Storage> {
    world.clients[index].disk.look()
}
