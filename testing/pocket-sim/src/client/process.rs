//! A client's process: it starts on what its disk holds, and ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use pocket_core::replica::Replica;
use pocket_core::{
    ClientId, CollectionConfig, ConflictStrategy, Database, DatabaseBuilder, Error, Target,
};
use pocket_sync_client::conflict::Strategies;
use pocket_sync_client::{Event, Session, SessionConfig, Snapshot};

use super::{ClientNews, Done, STRATEGIES, Stage, Up};
use crate::clock::SimEnv;
use crate::counts::Kind;
use crate::schemas::migrations;
use crate::server::{namespace_name, token};
use crate::tasks::Tasks;
use crate::trace::Node;
use crate::world::{Happening, World};

impl World {
    pub(crate) fn start_client(&mut self, index: usize) {
        // Clients need not agree on a strategy, and those of one history do not.
        let strategy = STRATEGIES[(self.swarm.side_strategy + index) % STRATEGIES.len()];
        let client = &mut self.clients[index];
        if !matches!(client.stage, Stage::Down) {
            return;
        }
        client.life += 1;
        client.stage = Stage::Opening;
        let env = SimEnv::new(&self.clock, &client.skew, client.dice.fork());
        let storage = client.disk.mount();
        let lives = self.swarm.lives;
        let collection = |name: &str, strategy: Option<ConflictStrategy>| {
            let mut config = CollectionConfig::new(name).sync(true);
            if let Some(strategy) = strategy {
                config = config.conflict_strategy(strategy);
            }
            match lives {
                Some(lives) => lives.configure(name, config),
                None => config,
            }
        };
        let mut builder = Database::builder("device")
            .durability(client.shape.durability)
            .env(env)
            .collection(collection("notes", None))
            .collection(collection("bank", Some(ConflictStrategy::ServerWins)))
            .collection(collection("side", Some(strategy)))
            .collection(CollectionConfig::new("late").sync(client.late_syncs));
        client.tasks = Tasks::new();
        if self.has_schemas() {
            let program = self.program_that_starts(index);
            builder = migrations(program).fold(builder, DatabaseBuilder::migration);
        }
        let client = &mut self.clients[index];
        client.spawn(async move { Done::Opened(builder.open_shared(storage).await) });
        self.note(Node::Client(index), || "starts".to_owned());
        self.run_client(index);
    }

    pub(super) fn opened(&mut self, index: usize, opened: Result<Database, Error>) {
        if self.has_schemas() {
            let verdict = self.check_program(index, opened.as_ref().err());
            self.check(verdict);
        }
        let db = match opened {
            Ok(db) => db,
            Err(error) => {
                self.note(Node::Client(index), || format!("cannot open: {error}"));
                return self.kill_client(index, false);
            }
        };
        self.knows_id(index, db.client_id());
        let general = STRATEGIES[(self.swarm.general_strategy + index) % STRATEGIES.len()];
        let client = &mut self.clients[index];
        client.made = true;
        let replica = Replica::new(&db, Target::DEFAULT);
        let mut config = SessionConfig::new(client.scope());
        config.namespace = namespace_name(client.shape.namespace);
        config.token = Some(token(client.shape.user, client.token_version));
        config.batch_size = client.shape.batch;
        config.retry_delay_millis = client.dice.pick(&[100, 1_000]);
        config.seed = client.dice.number();
        client.stage = Stage::Up(Box::new(Up {
            outbox: replica.outbox_signal(),
            replica,
            db,
            scope: client.scope(),
            resolver: Arc::new(Strategies::new(general).asks_application()),
            session: Session::new(config),
            began: self.clock.now(),
            timer: 0,
            news_due: false,
            storing: false,
            at_chores: false,
            greeted: None,
            told: None,
            working: None,
            link: None,
            running: false,
            snapshot: Snapshot::default(),
            commands: BTreeMap::new(),
            last_command: 0,
        }));
        let verdict = self.check_view(index, true);
        self.check(verdict);
        self.tell_client(index, 0, ClientNews::Event(Box::new(Event::Start)));
    }

    /// A device has this id, at least for now.
    pub(crate) fn knows_id(&mut self, index: usize, id: ClientId) {
        // A copy begins with the id of another device; what has that id stays that device's.
        self.audit.clients.entry(id).or_insert(index);
        let client = &mut self.clients[index];
        client.ids.insert(id);
        client.id = Some(id);
    }

    /// Ends a client's process. What was under way is gone.
    pub(crate) fn kill_client(&mut self, index: usize, power: bool) {
        let client = &mut self.clients[index];
        if matches!(client.stage, Stage::Down) {
            return;
        }
        let stage = std::mem::replace(&mut client.stage, Stage::Down);
        client.tasks = Tasks::new();
        client.power_fails = false;
        let life = client.life;
        let lost = client.disk.end(power, &mut self.fault_dice);
        self.counts.add_many(Kind::ClientCommitsLost, lost);
        self.note(Node::Client(index), || {
            format!("ends, power lost: {power}, commits lost: {lost}")
        });
        if let Stage::Up(up) = stage {
            self.abandon(up.working);
        }
        self.drop_connections(Node::Client(index), life, power);
        if self.clients[index].made {
            let verdict = self.look_after_crash(index, power);
            self.check(verdict);
        }
        let delay = 1 + self.fault_dice.below(self.swarm.longest_outage);
        self.schedule(delay, Happening::Restart(Node::Client(index)));
    }
}
