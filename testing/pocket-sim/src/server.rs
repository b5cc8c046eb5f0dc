//! The server node: the real sessions, the real combiner's joiner, `decide` and the embedded engine on a simulated disk.

mod commits;
mod heads;
mod peers;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_core::storage::MaybeSend;
use pocket_core::{ClientId, Env, Seq};
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::{Committed, Compacted, EngineResult, Retention};
use pocket_sync_server::session::{Event, Session};
use pocket_sync_server::{Config, EmbeddedEngine, Joiner, Limits, Namespace, Rules};

use crate::clock::{SimEnv, Skew};
use crate::counts::Kind;
use crate::dice::{Dice, Part};
use crate::disk::NodeDisk;
use crate::restores::ServerBackup;
use crate::rights::{RECHECK, Rights, TeamRules};
use crate::swarm::Swarm;
use crate::tasks::Tasks;
use crate::trace::Node;
use crate::world::{Happening, World};

use self::heads::Heads;
use self::tokens::Tokens;
pub(crate) use self::tokens::token;

/// What reaches a connection's session later.
#[derive(Debug)]
pub(crate) enum ServerNews {
    Event(Event),
    Timer {
        generation: u64,
    },
    /// The head moved; the session is told now, or before its next frame.
    Moved {
        head: Seq,
    },
    /// The doorbell rings.
    Doorbell,
}

/// What a task of the server ends with.
pub(crate) enum Done {
    Answer {
        connection: u64,
        event: Event,
    },
    Committed {
        namespace: Namespace,
        pushes: Vec<PushRequest>,
        tags: Vec<(u64, u64)>,
        result: EngineResult<Committed>,
    },
    Looked {
        namespace: Namespace,
        result: EngineResult<Seq>,
    },
    Compacted {
        namespace: Namespace,
        retention: Retention,
        result: EngineResult<Compacted>,
    },
}

pub(crate) struct Server {
    pub(crate) disk: NodeDisk,
    pub(crate) skew: Skew,
    pub(crate) life: u64,
    pub(crate) up: Option<Up>,
    /// The next crash takes the power with it.
    pub(crate) power_fails: bool,
    pub(crate) tokens: Arc<Tokens>,
    /// A copy of its store that somebody keeps.
    pub(crate) backup: Option<ServerBackup>,
    pub(crate) heads: Heads,
    dice: Dice,
    config: Arc<Config>,
}

/// A running server process.
pub(crate) struct Up {
    engine: EmbeddedEngine,
    env: Arc<SimEnv>,
    began: u64,
    tasks: Tasks<Done>,
    peers: BTreeMap<u64, Peer>,
    hubs: BTreeMap<Namespace, Hub>,
    newest: BTreeMap<(Namespace, ClientId), u64>,
    stopping: bool,
}

impl Up {
    /// The namespaces somebody has opened.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.hubs.keys()
    }

    pub(crate) fn engine(&self) -> EmbeddedEngine {
        self.engine.clone()
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = Done> + MaybeSend + 'static) {
        self.tasks.spawn(task);
    }
}

struct Peer {
    session: Session,
    /// The device that opened the connection.
    device: usize,
    inbox: VecDeque<Bytes>,
    namespace: Option<Namespace>,
    client: Option<ClientId>,
    timer: u64,
    /// Where the head is, as the driver knows, and as the session was told.
    head: Seq,
    told: Seq,
}

struct Hub {
    joiner: Joiner<(u64, u64)>,
    committing: bool,
    /// Whether it is open what the last commit left.
    unsure: bool,
    head: Seq,
    listeners: BTreeSet<u64>,
}

impl Server {
    pub(crate) fn new(seed: u64, swarm: &Swarm, rights: Option<&[Rights]>) -> Self {
        let mut dice = Dice::new(seed, Part::Server);
        let mut limits = Limits::default();
        limits.page_records = swarm.page_records;
        limits.tail_bytes = swarm.tail_bytes;
        limits.cached_clients = swarm.cached_clients;
        limits.commit_changes = swarm.commit_changes;
        limits.wire.pushes = swarm.pushes;
        limits.wire.document_bytes = swarm.document_bytes;
        let mut config = Config::default();
        config.limits = limits;
        config.heartbeat = Duration::from_millis(swarm.heartbeat);
        config.client_timeout = Duration::from_millis(swarm.heartbeat * 5 / 2);
        config.retry_after = Duration::from_millis(200);
        if rights.is_some() {
            config.rules = Rules::default().authorizer(Arc::new(TeamRules));
            config.recheck = Duration::from_millis(RECHECK);
        }
        let mut skew = Skew::default();
        if dice.chance(0.3) {
            skew.set(crate::swarm::jump(&mut dice));
        }
        Self {
            disk: NodeDisk::new(Dice::new(seed, Part::ServerDisk), swarm.server_disk),
            skew,
            life: 0,
            up: None,
            power_fails: false,
            backup: None,
            heads: Heads::default(),
            tokens: Arc::new(Tokens::new(swarm.auth_unavailable, rights, dice.fork())),
            dice,
            config: Arc::new(config),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.config.limits.clone()
    }
}

impl World {
    pub(crate) fn start_server(&mut self) {
        if self.server.up.is_some() {
            return;
        }
        self.server.life += 1;
        let dice = self.server.dice.fork();
        let env = Arc::new(SimEnv::new(&self.clock, &self.server.skew, dice));
        let storage = self.server.disk.mount();
        let shared: Arc<dyn Env> = env.clone();
        let engine = EmbeddedEngine::new(storage, shared, self.server.config.limits.clone());
        self.server.up = Some(Up {
            engine,
            env,
            began: self.now(),
            tasks: Tasks::new(),
            peers: BTreeMap::new(),
            hubs: BTreeMap::new(),
            newest: BTreeMap::new(),
            stopping: false,
        });
        self.note(Node::Server, || "starts".to_owned());
    }

    /// Ends the server's process. What was under way is gone.
    pub(crate) fn kill_server(&mut self, power: bool) {
        if self.server.up.take().is_none() {
            return;
        }
        let lost = self.server.disk.end(power, &mut self.fault_dice);
        self.server.power_fails = false;
        let life = self.server.life;
        self.note(Node::Server, || {
            format!("ends, power lost: {power}, commits lost: {lost}")
        });
        self.drop_connections(Node::Server, life, power);
        let delay = 1 + self.fault_dice.below(self.swarm.longest_outage);
        self.schedule(delay, Happening::Restart(Node::Server));
    }

    /// Lets the server finish what is in flight and leave.
    pub(crate) fn shut_server_down(&mut self) {
        let Some(up) = self.server.up.as_mut().filter(|up| !up.stopping) else {
            return;
        };
        up.stopping = true;
        let peers: Vec<u64> = up.peers.keys().copied().collect();
        self.counts.add(Kind::ServerShutdown);
        for connection in peers {
            self.server_event(connection, Event::Shutdown);
        }
        let life = self.server.life;
        self.schedule(300, Happening::ServerGone { life });
    }
}

/// The name of a namespace.
pub(crate) fn namespace_name(index: usize) -> String {
    format!("n{index}")
}

pub(crate) fn index_of(namespace: &Namespace) -> usize {
    namespace.as_str()[1..]
        .parse()
        .expect("the simulator named it")
}
