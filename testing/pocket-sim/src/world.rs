//! The world: one queue of happenings in the order of their virtual time, and everything that can happen.

use std::collections::BTreeMap;

use pocket_sync_server::Namespace;

use crate::audit::{Audit, Violation, broken};
use crate::client::{Client, ClientNews, Stage};
use crate::clock::WorldClock;
use crate::counts::Counts;
use crate::dice::{Dice, Part};
use crate::expiry::Times;
use crate::family::Family;
use crate::network::{Network, Parcel, Way};
use crate::rights::RightsBook;
use crate::server::{Server, ServerNews};
use crate::swarm::Swarm;
use crate::trace::{Node, Trace};

/// What happens in one history at the most; the longest good ones have a small part of it.
const STEPS: u64 = 500_000;

/// What can happen.
#[derive(Debug)]
pub(crate) enum Happening {
    Client {
        client: usize,
        life: u64,
        news: ClientNews,
    },
    Server {
        life: u64,
        connection: u64,
        news: ServerNews,
    },
    /// A storage call that waits goes on.
    Disk {
        node: Node,
        life: u64,
        call: u64,
    },
    Arrive {
        connection: u64,
        way: Way,
        parcel: Parcel,
    },
    Heal {
        client: usize,
    },
    Restart(Node),
    /// The server's process ends in order.
    ServerGone {
        life: u64,
    },
    /// The server's store is asked once more what a commit left.
    LookAgain {
        life: u64,
        namespace: Namespace,
    },
    Room {
        node: Node,
    },
    Renew {
        user: usize,
        expired: String,
    },
    Switch {
        client: usize,
        on: bool,
    },
    /// An application does something.
    Work {
        client: usize,
    },
    /// A device does what it does now and then.
    Chore {
        client: usize,
    },
    /// The accounts are made.
    Found {
        client: usize,
    },
    Fault,
}

pub(crate) struct World {
    pub(crate) clock: WorldClock,
    queue: BTreeMap<(u64, u64), Happening>,
    last: u64,
    /// How many of them happened.
    steps: u64,
    pub(crate) swarm: Swarm,
    pub(crate) server: Server,
    pub(crate) clients: Vec<Client>,
    pub(crate) net: Network,
    pub(crate) audit: Audit,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
    pub(crate) fault_dice: Dice,
    pub(crate) work_dice: Dice,
    pub(crate) family_dice: Dice,
    /// No more faults, no more work.
    pub(crate) calm: bool,
    pub(crate) broken: Option<Violation>,
    seed: u64,
}

impl World {
    pub(crate) fn new(seed: u64, swarm: Swarm, prints: bool) -> Self {
        let shapes = swarm.clients.clone();
        let mut audit = Audit::default();
        let rights = swarm.rights.as_deref();
        audit.rights = rights.map(RightsBook::new);
        audit.times = swarm.lives.map(Times::new);
        audit.schemas = swarm.family == Family::Schemas;
        if let Some(rights) = &mut audit.rights {
            for shape in &shapes {
                rights.add_device(shape.user);
            }
        }
        let clients: Vec<Client> = (0..)
            .zip(shapes)
            .map(|(index, shape)| Client::new(seed, index, shape, &swarm))
            .collect();
        Self {
            clock: WorldClock::default(),
            queue: BTreeMap::new(),
            last: 0,
            server: Server::new(seed, &swarm, rights),
            steps: 0,
            net: Network::new(clients.len(), Dice::new(seed, Part::Network)),
            clients,
            audit,
            counts: Counts::default(),
            trace: Trace::new(prints),
            fault_dice: Dice::new(seed, Part::Faults),
            work_dice: Dice::new(seed, Part::Work),
            family_dice: Dice::new(seed, Part::FamilyWork),
            calm: false,
            broken: None,
            swarm,
            seed,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(crate) fn note(&mut self, node: Node, what: impl FnOnce() -> String) {
        self.trace.line(self.clock.now(), node, what);
    }

    pub(crate) fn schedule(&mut self, delay: u64, happening: Happening) {
        self.last += 1;
        self.queue
            .insert((self.now() + delay, self.last), happening);
    }

    /// Adds a device.
    pub(crate) fn join(&mut self, shape: crate::swarm::ClientShape) -> usize {
        let index = self.clients.len();
        if let Some(rights) = &mut self.audit.rights {
            rights.add_device(shape.user);
        }
        let mut client = Client::new(self.seed, index, shape, &self.swarm);
        (client.toggled, client.late_syncs) = (false, true);
        self.clients.push(client);
        self.net.add_client();
        index
    }

    /// Lets happen what comes next, if that is before `end`. Says whether there was anything.
    pub(crate) fn step(&mut self, end: u64) -> bool {
        let next = self
            .queue
            .first_entry()
            .filter(|entry| entry.key().0 <= end);
        let Some(entry) = next else {
            self.clock.set(end.max(self.now()));
            return false;
        };
        let ((time, sequence), happening) = entry.remove_entry();
        self.clock.set(time);
        self.trace.mix(&[time, sequence]);
        self.steps += 1;
        if self.steps > STEPS {
            let verdict = broken("P4", format!("nodes keep each other busy: {STEPS} steps"));
            self.check(verdict);
        }
        self.happen(happening);
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Client { client, life, news } => {
                if self.clients[client].life == life {
                    self.client_news(client, news);
                }
            }
            Happening::Server {
                life,
                connection,
                news,
            } => {
                if self.server.life == life {
                    self.server_news(connection, news);
                }
            }
            Happening::Disk {
                node: Node::Client(index),
                life,
                call,
            } => {
                if self.clients[index].life == life {
                    self.clients[index].disk.release(call);
                    self.run_client(index);
                }
            }
            Happening::Disk { life, call, .. } => {
                if self.server.life == life {
                    self.server.disk.release(call);
                    self.run_server();
                }
            }
            Happening::Arrive {
                connection,
                way,
                parcel,
            } => self.arrive(connection, way, parcel),
            Happening::Heal { client } => self.heal(client),
            Happening::Restart(Node::Client(index)) => self.start_client(index),
            Happening::Restart(_) => self.start_server(),
            Happening::ServerGone { life } => {
                if self.server.life == life {
                    self.kill_server(false);
                }
            }
            Happening::LookAgain { life, namespace } => {
                if self.server.life == life {
                    self.look_again(&namespace);
                }
            }
            Happening::Room { node } => self.make_room(node),
            Happening::Renew { user, expired } => self.renew_token(user, &expired),
            Happening::Switch { client, on } => {
                let ready = self.clients[client]
                    .up()
                    .is_some_and(|up| up.working.is_none());
                if self.clients[client].late_syncs != on
                    || matches!(self.clients[client].stage, Stage::Down)
                {
                    // Decided otherwise meanwhile, or told the next process anyway.
                } else if ready {
                    self.switch_to(client, on);
                } else {
                    self.schedule(100, Happening::Switch { client, on });
                }
            }
            Happening::Work { client } => self.work(client),
            Happening::Chore { client } => self.chore(client),
            Happening::Found { client } => self.found(client),
            Happening::Fault => self.strike(),
        }
    }

    fn found(&mut self, client: usize) {
        let ready = self.clients[client]
            .up()
            .is_some_and(|up| up.working.is_none());
        if ready {
            self.found_bank(client);
        } else if !self.calm {
            self.schedule(50, Happening::Found { client });
        }
    }
}
