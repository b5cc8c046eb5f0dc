//! The server node: the real sessions, the real combiner's joiner, `decide` and the embedded engine on a simulated disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pocket_core::{ClientId, Env, Seq};
use pocket_sync_server::auth::{Access, AuthError, Authenticator};
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::{Committed, EngineResult};
use pocket_sync_server::session::{Effect, Event, Moment, Now, Session};
use pocket_sync_server::{Config, EmbeddedEngine, Engine, Joiner, Limits, Namespace, perform};

use crate::audit::broken;
use crate::clock::{SimEnv, Skew};
use crate::counts::Kind;
use crate::dice::{Dice, Part};
use crate::disk::NodeDisk;
use crate::network::{Parcel, Way};
use crate::swarm::Swarm;
use crate::tasks::Tasks;
use crate::trace::Node;
use crate::world::{Happening, World};

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
}

pub(crate) struct Server {
    pub(crate) disk: NodeDisk,
    pub(crate) skew: Skew,
    pub(crate) life: u64,
    pub(crate) up: Option<Up>,
    /// The next crash takes the power with it.
    pub(crate) power_fails: bool,
    pub(crate) tokens: Arc<Tokens>,
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

struct Peer {
    session: Session,
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
    head: Seq,
    listeners: BTreeSet<u64>,
}

/// Tokens, some of them expired.
#[derive(Debug)]
pub(crate) struct Tokens {
    state: Mutex<TokenState>,
}

#[derive(Debug)]
struct TokenState {
    expired: BTreeSet<String>,
    unavailable: f64,
    failures: usize,
    dice: Dice,
}

impl Tokens {
    pub(crate) fn expire(&self, token: &str) {
        self.lock().expired.insert(token.to_owned());
    }

    pub(crate) fn calm(&self) {
        self.lock().unavailable = 0.0;
    }

    fn failures(&self) -> usize {
        std::mem::take(&mut self.lock().failures)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of a user; the version counts renewals.
pub(crate) fn token(user: usize, version: u64) -> String {
    format!("t.{user}.{version}")
}

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        let mut state = self.lock();
        let token = token.unwrap_or_default();
        let probability = state.unavailable;
        if state.dice.chance(probability) {
            state.failures += 1;
            return Err(AuthError::Unavailable(
                "the user database is away".to_owned(),
            ));
        }
        if state.expired.contains(token) {
            return Err(AuthError::Expired);
        }
        match token.split('.').nth(1) {
            Some(user) => Ok(Access::all(&format!("user{user}"))),
            None => Err(AuthError::Refused("no such token".to_owned())),
        }
    }
}

impl Server {
    pub(crate) fn new(seed: u64, swarm: &Swarm) -> Self {
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
        let skew = Skew::default();
        if dice.chance(0.3) {
            skew.set(crate::swarm::jump(&mut dice));
        }
        Self {
            disk: NodeDisk::new(Dice::new(seed, Part::ServerDisk), swarm.server_disk),
            skew,
            life: 0,
            up: None,
            power_fails: false,
            tokens: Arc::new(Tokens {
                state: Mutex::new(TokenState {
                    expired: BTreeSet::new(),
                    unavailable: swarm.auth_unavailable,
                    failures: 0,
                    dice: dice.fork(),
                }),
            }),
            dice,
            config: Arc::new(config),
        }
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

    /// Something arrives from a client.
    pub(crate) fn server_gets(&mut self, connection: u64, client: usize, parcel: Parcel) {
        match parcel {
            Parcel::Open => self.accept(connection, client),
            Parcel::Frame(frame) => {
                let Some(peer) = self.peer(connection) else {
                    return;
                };
                peer.inbox.push_back(frame);
                self.read_inbox(connection);
            }
            Parcel::Close { .. } | Parcel::Lost => {
                self.server_event(connection, Event::Closed);
                self.forget_peer(connection);
            }
            Parcel::Accepted => {}
        }
    }

    fn accept(&mut self, connection: u64, _client: usize) {
        let refuses = !self.calm && self.fault_dice.chance(self.swarm.refuse);
        if refuses {
            self.counts.add(Kind::OpenRefused);
        }
        let life = self.server.life;
        let Some(up) = self
            .server
            .up
            .as_mut()
            .filter(|up| !refuses && !up.stopping)
        else {
            self.post(connection, Way::Down, Parcel::Lost);
            return;
        };
        if let Some(entry) = self.net.connections.get_mut(&connection) {
            entry.server_life = life;
        }
        let peer = Peer {
            session: Session::new(Arc::clone(&self.server.config)),
            inbox: VecDeque::new(),
            namespace: None,
            client: None,
            timer: 0,
            head: Seq::ZERO,
            told: Seq::ZERO,
        };
        up.peers.insert(connection, peer);
        self.post(connection, Way::Down, Parcel::Accepted);
        self.server_event(connection, Event::Opened { token: None });
    }

    fn peer(&mut self, connection: u64) -> Option<&mut Peer> {
        self.server.up.as_mut()?.peers.get_mut(&connection)
    }

    /// Frames are read as long as the session wants them; the rest waits on the wire.
    fn read_inbox(&mut self, connection: u64) {
        while let Some(peer) = self.peer(connection) {
            if !peer.session.wants_frames() {
                return;
            }
            let Some(frame) = peer.inbox.pop_front() else {
                return;
            };
            // However late the doorbell is, a head that moved before a frame came is told before it.
            let (head, told) = (peer.head, peer.told);
            if head > told {
                peer.inbox.push_front(frame);
                self.server_news(connection, ServerNews::Doorbell);
                continue;
            }
            self.server_event(connection, Event::Frame(frame));
        }
    }

    pub(crate) fn server_news(&mut self, connection: u64, news: ServerNews) {
        let event = match news {
            ServerNews::Event(event) => event,
            ServerNews::Timer { generation } => match self.peer(connection) {
                Some(peer) if peer.timer == generation => Event::Timer,
                _ => return,
            },
            ServerNews::Moved { head } => {
                if let Some(peer) = self.peer(connection) {
                    peer.head = peer.head.max(head);
                }
                return;
            }
            ServerNews::Doorbell => {
                let Some(peer) = self.peer(connection) else {
                    return;
                };
                // Also when it was told already: a ring may be doubled.
                peer.told = peer.head;
                Event::HeadMoved(peer.head)
            }
        };
        let reads = !matches!(event, Event::HeadMoved(_));
        self.server_event(connection, event);
        if reads {
            self.read_inbox(connection);
        }
    }

    fn server_event(&mut self, connection: u64, event: Event) {
        let now = self.now();
        let Some(up) = &mut self.server.up else {
            return;
        };
        let time = up.env.now();
        let moment = Moment(now - up.began);
        let Some(peer) = up.peers.get_mut(&connection) else {
            return;
        };
        let attached = matches!(event, Event::Attached(Ok(_)));
        let effects = peer.session.handle(Now { moment, time }, event);
        if attached {
            self.register(connection);
        }
        for effect in effects {
            self.carry_out(connection, effect);
        }
        self.run_server();
    }

    /// Takes note of a client's newest session and ends the one before.
    fn register(&mut self, connection: u64) {
        let Some(up) = &mut self.server.up else {
            return;
        };
        let Some(peer) = up.peers.get(&connection) else {
            return;
        };
        let (Some(namespace), Some(client)) = (peer.namespace.clone(), peer.client) else {
            return;
        };
        let older = up.newest.insert((namespace, client), connection);
        if let Some(older) = older.filter(|older| *older != connection) {
            let delay = self.fault_dice.below(5);
            self.tell_peer(older, delay, ServerNews::Event(Event::Replaced));
            self.counts.add(Kind::SessionReplaced);
        }
    }

    fn tell_peer(&mut self, connection: u64, delay: u64, news: ServerNews) {
        let life = self.server.life;
        self.schedule(
            delay,
            Happening::Server {
                life,
                connection,
                news,
            },
        );
    }

    fn carry_out(&mut self, connection: u64, effect: Effect) {
        let now = self.now();
        let Some(up) = &mut self.server.up else {
            return;
        };
        let Some(peer) = up.peers.get_mut(&connection) else {
            return;
        };
        match effect {
            Effect::Send(frame) => self.post(connection, Way::Down, Parcel::Frame(frame)),
            Effect::Timer(moment) => {
                peer.timer += 1;
                let generation = peer.timer;
                let delay = (up.began + moment.0).saturating_sub(now);
                self.tell_peer(connection, delay, ServerNews::Timer { generation });
            }
            Effect::Close { code, reason } => {
                self.post(connection, Way::Down, Parcel::Close { code, reason });
                self.forget_peer(connection);
            }
            Effect::Commit { ticket, push } => {
                let Some(namespace) = peer.namespace.clone() else {
                    return;
                };
                self.note(Node::Server, || {
                    format!("#{connection} {}", crate::wire::mutations(&push))
                });
                let verdict = self
                    .audit
                    .received(index_of(&namespace), &push, &mut self.counts);
                self.check(verdict);
                if let Some(hub) = self
                    .server
                    .up
                    .as_mut()
                    .and_then(|up| up.hubs.get_mut(&namespace))
                {
                    hub.joiner.push(push, (connection, ticket));
                }
                self.commit_next(&namespace);
            }
            other => {
                if let Effect::Attach { namespace, request } = &other {
                    peer.namespace = Some(namespace.clone());
                    peer.client = Some(request.client);
                    let changes = self.swarm.commit_changes;
                    let hub = up.hubs.entry(namespace.clone()).or_insert_with(|| Hub {
                        joiner: Joiner::new(changes, 8 << 20),
                        committing: false,
                        head: Seq::ZERO,
                        listeners: BTreeSet::new(),
                    });
                    hub.listeners.insert(connection);
                }
                let (engine, namespace) = (up.engine.clone(), peer.namespace.clone());
                let tokens = self.server.tokens.clone();
                up.tasks.spawn(async move {
                    let done = perform(&engine, &*tokens, namespace.as_ref(), other).await;
                    let event = done.unwrap_or_else(|effect| panic!("nobody executes {effect:?}"));
                    Done::Answer { connection, event }
                });
            }
        }
    }

    /// Commits what waits, unless a commit is under way: then it joins the next one.
    fn commit_next(&mut self, namespace: &Namespace) {
        let Some(up) = &mut self.server.up else {
            return;
        };
        let Some(hub) = up.hubs.get_mut(namespace) else {
            return;
        };
        if hub.committing || hub.joiner.is_empty() {
            return;
        }
        hub.committing = true;
        let (pushes, tags) = hub.joiner.next_commit();
        if pushes.len() > 1 {
            self.counts.add(Kind::Joined);
        }
        self.counts.add(Kind::PushReceived);
        let (engine, namespace) = (up.engine.clone(), namespace.clone());
        up.tasks.spawn(async move {
            let result = engine.commit(&namespace, &pushes).await;
            Done::Committed {
                namespace,
                pushes,
                tags,
                result,
            }
        });
    }

    /// Lets the server's tasks run until all of them wait.
    pub(crate) fn run_server(&mut self) {
        loop {
            let Some(up) = &mut self.server.up else {
                return;
            };
            let done = up.tasks.next_done();
            let failures = self.server.tokens.failures();
            self.counts.add_many(Kind::AuthUnavailable, failures);
            let life = self.server.life;
            for wait in self.server.disk.waits() {
                self.counts.add(Kind::LateCallServer);
                let call = wait.call;
                self.schedule(
                    wait.millis,
                    Happening::Disk {
                        node: Node::Server,
                        life,
                        call,
                    },
                );
            }
            if self.server.disk.faults.crashed() {
                let power = self.server.power_fails;
                return self.kill_server(power);
            }
            match done {
                None => return,
                Some(Done::Answer { connection, event }) => {
                    self.tell_peer(connection, 0, ServerNews::Event(event));
                }
                Some(Done::Committed {
                    namespace,
                    pushes,
                    tags,
                    result,
                }) => {
                    self.committed(&namespace, &pushes, tags, result);
                }
            }
        }
    }

    fn committed(
        &mut self,
        namespace: &Namespace,
        pushes: &[PushRequest],
        tags: Vec<(u64, u64)>,
        result: EngineResult<Committed>,
    ) {
        let delay = self.fault_dice.below(3);
        let mut head = None;
        match result {
            Ok(committed) => {
                head = Some(committed.head);
                if committed.answers.len() != pushes.len() {
                    self.check(broken("P2", "a commit answered another number of pushes"));
                }
                for ((push, answer), (connection, ticket)) in
                    pushes.iter().zip(committed.answers).zip(tags)
                {
                    if matches!(
                        answer.refusal,
                        Some(pocket_sync_server::decide::Refusal::Gap(_))
                    ) {
                        self.counts.add(Kind::Gap);
                    }
                    let verdict =
                        self.audit
                            .decided(index_of(namespace), push, &answer, &mut self.counts);
                    self.check(verdict);
                    let event = Event::Committed {
                        ticket,
                        result: Ok(answer),
                    };
                    self.tell_peer(connection, delay, ServerNews::Event(event));
                }
            }
            Err(error) => {
                for (connection, ticket) in tags {
                    let event = Event::Committed {
                        ticket,
                        result: Err(error.clone()),
                    };
                    self.tell_peer(connection, delay, ServerNews::Event(event));
                }
            }
        }
        let Some(hub) = self
            .server
            .up
            .as_mut()
            .and_then(|up| up.hubs.get_mut(namespace))
        else {
            return;
        };
        hub.committing = false;
        if let Some(head) = head.filter(|head| *head > hub.head) {
            hub.head = head;
            let listeners: Vec<u64> = hub.listeners.iter().copied().collect();
            for connection in listeners {
                let mut late = delay;
                self.tell_peer(connection, delay, ServerNews::Moved { head });
                if !self.calm && self.fault_dice.chance(self.swarm.late_doorbells) {
                    self.counts.add(Kind::LateDoorbell);
                    late += self.fault_dice.below(2_000);
                }
                self.tell_peer(connection, late, ServerNews::Doorbell);
            }
        }
        self.commit_next(namespace);
    }

    fn forget_peer(&mut self, connection: u64) {
        let Some(up) = &mut self.server.up else {
            return;
        };
        let Some(peer) = up.peers.remove(&connection) else {
            return;
        };
        if let Some(namespace) = peer.namespace {
            if let Some(hub) = up.hubs.get_mut(&namespace) {
                hub.listeners.remove(&connection);
            }
            if let Some(client) = peer.client {
                let key = (namespace, client);
                if up.newest.get(&key) == Some(&connection) {
                    up.newest.remove(&key);
                }
            }
        }
    }
}

/// The name of a namespace.
pub(crate) fn namespace_name(index: usize) -> String {
    format!("n{index}")
}

fn index_of(namespace: &Namespace) -> usize {
    namespace.as_str()[1..]
        .parse()
        .expect("the simulator named it")
}
