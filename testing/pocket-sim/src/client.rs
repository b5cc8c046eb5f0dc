//! A client node: the real session, `store::perform`, and the real database on a simulated disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pocket_core::replica::{Answer, Conflict, Decision, Replica, Resolver, Ruling, Scope};
use pocket_core::{CollectionConfig, CollectionName, ConflictStrategy, Database, Error, Target};
use pocket_sync_client::conflict::Strategies;
use pocket_sync_client::{
    Effect, Event, Moment, Pass, Session, SessionConfig, Snapshot, Status, StoreAnswer,
    StoreRequest, SyncError, store,
};
use tokio::sync::watch;

use crate::clock::{SimEnv, Skew};
use crate::counts::Kind;
use crate::dice::{Dice, Part};
use crate::disk::NodeDisk;
use crate::network::{Parcel, Way};
use crate::server::{namespace_name, token};
use crate::swarm::{ClientShape, Swarm};
use crate::tasks::Tasks;
use crate::trace::Node;
use crate::workload::Operation;
use crate::world::{Happening, World};

/// What reaches a client's session later.
#[derive(Debug)]
pub(crate) enum ClientNews {
    Event(Box<Event>),
    Timer { generation: u64 },
    OutboxGrew,
}

/// What a task of a client ends with.
pub(crate) enum Done {
    Opened(Result<Database, Error>),
    Stored(Box<StoreAnswer>),
    Worked(Operation, Result<(), Error>),
}

pub(crate) struct Client {
    pub(crate) shape: ClientShape,
    pub(crate) disk: NodeDisk,
    pub(crate) skew: Skew,
    pub(crate) life: u64,
    pub(crate) power_fails: bool,
    pub(crate) stage: Stage,
    tasks: Tasks<Done>,
    dice: Dice,
    /// Whether its store was ever made.
    pub(crate) made: bool,
    pub(crate) reach: Reach,
    /// Its scope was widened, so it may read the feed again from the start.
    pub(crate) widened: bool,
    /// Whether the collection that is switched on and off syncs here.
    pub(crate) late_syncs: bool,
    /// Whether that was ever switched.
    pub(crate) toggled: bool,
    pub(crate) token_version: u64,
    /// How far its store said it has read.
    pub(crate) checkpoint: u64,
    /// The greatest head that a page it stored told of.
    pub(crate) head: u64,
    /// Up to which number it has stored outcomes.
    pub(crate) confirmed: u64,
    /// It reads everything again, or removes what it did not see: what it shows may be older than its place.
    pub(crate) resyncing: bool,
    /// The newest place of each document it was seen to show.
    pub(crate) shown: BTreeMap<crate::audit::DocKey, u64>,
    pub(crate) operations_left: u64,
    pub(crate) connections: u64,
}

/// What clients and collections choose from.
pub(crate) const STRATEGIES: [ConflictStrategy; 5] = [
    ConflictStrategy::LastWriteWins,
    ConflictStrategy::ServerWins,
    ConflictStrategy::ClientWins,
    ConflictStrategy::Merge,
    ConflictStrategy::Custom,
];

/// The collections of the workload.
pub(crate) const COLLECTIONS: &[&str] = &["notes", "bank", "side", "late"];

/// What a client's scope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Two collections.
    Some,
    /// All there are, by name.
    Named,
    /// Whatever syncs.
    All,
}

pub(crate) enum Stage {
    Down,
    Opening,
    Up(Box<Up>),
}

/// A running client process.
pub(crate) struct Up {
    pub(crate) db: Database,
    replica: Replica,
    scope: Scope,
    resolver: Arc<dyn Resolver>,
    session: Session,
    began: u64,
    timer: u64,
    outbox: watch::Receiver<u64>,
    /// News of the outbox are on their way to the session.
    pub(crate) news_due: bool,
    /// A store request has no answer yet.
    pub(crate) storing: bool,
    /// The operation of the application that is under way.
    pub(crate) working: Option<Operation>,
    link: Option<Link>,
    pub(crate) running: bool,
    pub(crate) snapshot: Snapshot,
    pub(crate) commands: BTreeMap<u64, Command>,
    pub(crate) last_command: u64,
}

/// The connection of a session.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// Its number in the network.
    connection: u64,
    /// Its number in the session.
    number: u64,
    open: bool,
}

/// A command that was given, with what must be true when it is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    pub(crate) pass: Pass,
    pub(crate) head: u64,
}

impl Client {
    pub(crate) fn new(seed: u64, index: usize, shape: ClientShape, swarm: &Swarm) -> Self {
        let skew = Skew::default();
        skew.set(shape.skew);
        let toggles = swarm.toggles && index % 2 == 1;
        Self {
            disk: NodeDisk::new(Dice::new(seed, Part::ClientDisk(index)), swarm.client_disk),
            skew,
            life: 0,
            power_fails: false,
            stage: Stage::Down,
            tasks: Tasks::new(),
            dice: Dice::new(seed, Part::Client(index)),
            made: false,
            reach: if shape.narrow {
                Reach::Some
            } else {
                Reach::All
            },
            widened: false,
            late_syncs: !toggles,
            toggled: toggles,
            token_version: 0,
            checkpoint: 0,
            head: 0,
            confirmed: 0,
            resyncing: false,
            shown: BTreeMap::new(),
            operations_left: shape.operations,
            connections: 0,
            shape,
        }
    }

    pub(crate) fn up(&self) -> Option<&Up> {
        match &self.stage {
            Stage::Up(up) => Some(up),
            _ => None,
        }
    }

    pub(crate) fn up_mut(&mut self) -> Option<&mut Up> {
        match &mut self.stage {
            Stage::Up(up) => Some(up),
            _ => None,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.up()
            .is_some_and(|up| up.running && up.snapshot.status == Status::Idle)
    }

    /// Whether nothing but the application would touch the store now.
    pub(crate) fn is_quiet(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = Done> + Send + 'static) {
        self.tasks.spawn(task);
    }

    fn scope(&self) -> Scope {
        let names: &[&str] = match self.reach {
            Reach::Some => &["notes", "bank"],
            Reach::Named => COLLECTIONS,
            Reach::All => return Scope::All,
        };
        Scope::Only(names.iter().map(|text| name(text)).collect())
    }

    /// Whether it reads a collection.
    pub(crate) fn reads(&self, collection: &CollectionName) -> bool {
        let in_scope = match self.scope() {
            Scope::All => true,
            Scope::Only(names) => names.contains(collection),
        };
        in_scope && (self.late_syncs || collection.as_str() != "late")
    }
}

/// A collection's name.
pub(crate) fn name(name: &str) -> CollectionName {
    CollectionName::new(name).expect("the simulator's names are good")
}

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
        let builder = Database::builder("device")
            .durability(client.shape.durability)
            .env(env)
            .collection(CollectionConfig::new("notes").sync(true))
            .collection(
                CollectionConfig::new("bank")
                    .sync(true)
                    .conflict_strategy(ConflictStrategy::ServerWins),
            )
            .collection(
                CollectionConfig::new("side")
                    .sync(true)
                    .conflict_strategy(strategy),
            )
            .collection(CollectionConfig::new("late").sync(client.late_syncs));
        client.tasks = Tasks::new();
        client.spawn(async move { Done::Opened(builder.open_shared(storage).await) });
        self.note(Node::Client(index), || "starts".to_owned());
        self.run_client(index);
    }

    fn opened(&mut self, index: usize, opened: Result<Database, Error>) {
        let db = match opened {
            Ok(db) => db,
            Err(error) => {
                self.note(Node::Client(index), || format!("cannot open: {error}"));
                return self.kill_client(index, false);
            }
        };
        self.audit.clients.insert(db.client_id(), index);
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

    pub(crate) fn tell_client(&mut self, client: usize, delay: u64, news: ClientNews) {
        let life = self.clients[client].life;
        self.schedule(delay, Happening::Client { client, life, news });
    }

    /// Something arrives from the server.
    pub(crate) fn client_gets(&mut self, client: usize, life: u64, number: u64, parcel: Parcel) {
        if self.clients[client].life != life {
            return;
        }
        let Some(up) = self.clients[client].up_mut() else {
            return;
        };
        let connection = number;
        let link = up.link.as_mut().filter(|link| link.number == number);
        if link.is_none() {
            // Handed on all the same: the session must not care.
            self.counts.add(Kind::FrameOfThePast);
        }
        let was_open = link.as_ref().is_some_and(|link| link.open);
        let event = match parcel {
            Parcel::Open => return,
            Parcel::Accepted => {
                if let Some(link) = link {
                    link.open = true;
                }
                Event::Opened { connection }
            }
            Parcel::Frame(bytes) => Event::Frame { connection, bytes },
            Parcel::Lost if !was_open => {
                let error = SyncError::retryable("connect", "the connection was refused");
                Event::Refused { connection, error }
            }
            Parcel::Close { code, reason } => Event::Closed {
                connection,
                code: Some(code),
                reason,
            },
            Parcel::Lost => Event::Closed {
                connection,
                code: None,
                reason: String::new(),
            },
        };
        self.client_event(client, event);
    }

    pub(crate) fn client_news(&mut self, client: usize, news: ClientNews) {
        let Some(up) = self.clients[client].up_mut() else {
            return;
        };
        let event = match news {
            ClientNews::Event(event) => *event,
            ClientNews::Timer { generation } if generation == up.timer => Event::Timer,
            ClientNews::Timer { .. } => return,
            ClientNews::OutboxGrew => {
                up.news_due = false;
                Event::OutboxGrew
            }
        };
        self.client_event(client, event);
    }

    pub(crate) fn client_event(&mut self, index: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = self.now();
            let Some(up) = self.clients[index].up_mut() else {
                return;
            };
            match &event {
                Event::Start => up.running = true,
                Event::Stop => up.running = false,
                Event::Stored(_) => up.storing = false,
                _ => {}
            }
            let effects = up
                .session
                .handle(Moment::from_millis(now - up.began), event);
            for effect in effects {
                self.client_effect(index, effect);
            }
            self.run_client_into(index, &mut events);
        }
    }

    fn client_effect(&mut self, index: usize, effect: Effect) {
        let now = self.now();
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        match effect {
            Effect::Open { connection } => {
                let life = self.clients[index].life;
                self.clients[index].connections += 1;
                self.counts.add(match self.clients[index].connections {
                    1 => Kind::Connected,
                    _ => Kind::Reconnected,
                });
                let number = connection;
                let connection = self.connect(index, life, number);
                if let Some(up) = self.clients[index].up_mut() {
                    up.link = Some(Link {
                        connection,
                        number,
                        open: false,
                    });
                }
            }
            Effect::Close { code, reason } => {
                if let Some(link) = up.link.take() {
                    self.post(link.connection, Way::Up, Parcel::Close { code, reason });
                }
            }
            Effect::Send(frame) => {
                if let Some(link) = up.link {
                    self.post(link.connection, Way::Up, Parcel::Frame(frame));
                }
            }
            Effect::Store(request) => self.store(index, request),
            // Its tokens are changed by hand: no client here has a source of them.
            Effect::Renew(_) => {}
            Effect::Ask { batch, conflicts } => self.ask_application(index, batch, conflicts),
            Effect::Timer(deadline) => {
                up.timer += 1;
                let generation = up.timer;
                if let Some(deadline) = deadline {
                    let delay = (up.began + deadline.millis()).saturating_sub(now);
                    self.tell_client(index, delay, ClientNews::Timer { generation });
                }
            }
            Effect::Publish(snapshot) => {
                let idle = snapshot.status == Status::Idle;
                let was_idle = up.snapshot.status == Status::Idle;
                let (status, error) = (snapshot.status, snapshot.stats.last_error.clone());
                let changed = status != up.snapshot.status;
                up.snapshot = *snapshot;
                self.trace.mix(&[now, index as u64, status as u64]);
                if changed {
                    self.note(Node::Client(index), || match error {
                        Some(error) => format!("is {status} ({error:?})"),
                        None => format!("is {status}"),
                    });
                }
                if idle && !was_idle {
                    let verdict = self.check_idle(index);
                    self.check(verdict);
                }
            }
            Effect::Finished { id, result } => {
                let verdict = self.check_command(index, id, &result);
                self.check(verdict);
            }
        }
    }

    /// The application's rule: now quick, now slow, now without an answer, and never the same.
    fn ask_application(&mut self, index: usize, batch: u64, conflicts: Vec<Conflict>) {
        self.counts.add_many(Kind::Asked, conflicts.len());
        let mut answers = Vec::with_capacity(conflicts.len());
        for conflict in conflicts {
            let stands = |decision| Ruling::Stands {
                decision,
                because: None,
            };
            let ruling = match self.fault_dice.below(6) {
                0 => {
                    self.counts.add(Kind::RuleFailed);
                    Ruling::Failed {
                        reason: "so said the dice".to_owned(),
                    }
                }
                1 => stands(Decision::KeepRemote),
                2 => stands(Decision::Merge),
                // As a document of its own, under a new revision.
                3 if conflict.local.body.is_some() => {
                    stands(Decision::Write(conflict.local.body.clone()))
                }
                _ => stands(Decision::KeepLocal),
            };
            answers.push(Answer { conflict, ruling });
        }
        let delay = if !self.calm && self.fault_dice.chance(0.3) {
            self.counts.add(Kind::RuleSlow);
            1 + self.fault_dice.below(self.swarm.longest_outage)
        } else {
            self.fault_dice.below(3)
        };
        let event = Event::Answered { batch, answers };
        self.tell_client(index, delay, ClientNews::Event(Box::new(event)));
    }

    fn store(&mut self, index: usize, request: StoreRequest) {
        if let StoreRequest::Apply(page) = &request {
            let client = &mut self.clients[index];
            let namespace = client.shape.namespace;
            client.head = client.head.max(page.head.get());
            for record in &page.records {
                let verdict = self.audit.served(namespace, record);
                self.check(verdict);
            }
        }
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        up.storing = true;
        let (replica, scope, resolver) =
            (up.replica.clone(), up.scope.clone(), up.resolver.clone());
        self.clients[index].spawn(async move {
            Done::Stored(Box::new(
                store::perform(&replica, &scope, &resolver, request).await,
            ))
        });
    }

    /// Lets a client's tasks run until all of them wait; what the session must hear comes as events.
    pub(crate) fn run_client(&mut self, index: usize) {
        let mut events = VecDeque::new();
        self.run_client_into(index, &mut events);
        for event in events {
            self.client_event(index, event);
        }
    }

    fn run_client_into(&mut self, index: usize, events: &mut VecDeque<Event>) {
        loop {
            let client = &mut self.clients[index];
            if matches!(client.stage, Stage::Down) {
                events.clear();
                return;
            }
            let done = client.tasks.next_done();
            let (life, crashed) = (client.life, client.disk.faults.crashed());
            let power = client.power_fails;
            for wait in self.clients[index].disk.waits() {
                self.counts.add(Kind::LateCallClient);
                let call = wait.call;
                let node = Node::Client(index);
                self.schedule(wait.millis, Happening::Disk { node, life, call });
            }
            if crashed {
                events.clear();
                return self.kill_client(index, power);
            }
            self.hear_outbox(index);
            match done {
                None => return,
                Some(Done::Opened(opened)) => self.opened(index, opened),
                Some(Done::Worked(operation, result)) => self.worked(index, operation, &result),
                Some(Done::Stored(answer)) => {
                    let verdict = self.stored(index, &answer);
                    self.check(verdict);
                    let event = Event::Stored(*answer);
                    if !self.calm && self.fault_dice.chance(self.swarm.late_answers) {
                        self.counts.add(Kind::LateAnswer);
                        let delay = 1 + self.fault_dice.below(self.swarm.longest_outage);
                        self.tell_client(index, delay, ClientNews::Event(Box::new(event)));
                    } else {
                        events.push_back(event);
                    }
                }
            }
        }
    }

    fn hear_outbox(&mut self, index: usize) {
        let delay = self.fault_dice.below(3);
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        if up.outbox.has_changed().unwrap_or(false) {
            up.outbox.mark_unchanged();
            // What grew is told anyway: news on their way are news of this, too.
            if !std::mem::replace(&mut up.news_due, true) {
                self.tell_client(index, delay, ClientNews::OutboxGrew);
            }
        }
    }
}
