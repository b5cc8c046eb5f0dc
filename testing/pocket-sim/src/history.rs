//! One history: chaos, then calm, then judgement.

use std::panic::AssertUnwindSafe;

use crate::audit::{Verdict, Violation, broken};
use crate::client::Reach;
use crate::counts::{Counts, Kind};
use crate::family::{Family, Seed};
use crate::swarm::{ClientShape, Profile, Swarm};
use crate::trace::Node;
use crate::view;
use crate::wire::revision;
use crate::world::{Happening, World};

/// Clients at the most, unless somebody says so.
pub(crate) const DEFAULT_CLIENTS: usize = 4;

/// Virtual milliseconds in which everything must have come to rest after the last fault.
pub(crate) const REST: u64 = 240_000;

/// Virtual milliseconds in which a write must have reached everybody when nothing is wrong.
const LIVE: u64 = 20_000;

/// How a history ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) seed: Seed,
    pub(crate) broken: Option<Violation>,
    pub(crate) counts: Counts,
    pub(crate) hash: u64,
    pub(crate) virtual_millis: u64,
}

/// What a history comes to. Nothing but the seed decides it, wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Over all that happened in it: each frame, each answer of a store, each change of a document.
    pub hash: u64,
    /// How long it took by its own clock.
    pub virtual_millis: u64,
    /// What it broke, if it did.
    pub broken: Option<String>,
}

/// Runs the plain history of a seed, with the default number of clients.
pub fn digest(seed: u64) -> Digest {
    let seed = Seed {
        number: seed,
        family: Family::Plain,
    };
    let ending = run(seed, DEFAULT_CLIENTS, Profile::default(), false);
    let broken = ending.broken;
    Digest {
        hash: ending.hash,
        virtual_millis: ending.virtual_millis,
        broken: broken.map(|violation| format!("{}: {}", violation.promise, violation.what)),
    }
}

/// Runs the history of a seed; a panic of the system under test breaks it like any other fault.
pub(crate) fn run(seed: Seed, most_clients: usize, profile: Profile, prints: bool) -> Ending {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        live(seed, most_clients, profile, prints)
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default();
        Ending {
            seed,
            broken: Some(Violation {
                promise: "no panic",
                what: text,
            }),
            counts: Counts::default(),
            hash: 0,
            virtual_millis: 0,
        }
    })
}

fn live(seed: Seed, most_clients: usize, profile: Profile, prints: bool) -> Ending {
    let swarm = Swarm::draw(seed, most_clients, profile);
    let mut world = World::new(seed.number, swarm, prints);
    if prints {
        println!("{:#?}", world.swarm);
    }
    world.chaos();
    if world.broken.is_none() {
        let verdict = world.come_to_rest();
        world.check(verdict);
    }
    if world.broken.is_none() {
        let verdict = world.judge();
        world.check(verdict);
    }
    if prints && world.broken.is_some() {
        world.tell_what_is_held();
    }
    Ending {
        seed,
        broken: world.broken.take(),
        hash: world.trace.hash(),
        virtual_millis: world.now(),
        counts: world.counts,
    }
}

impl World {
    /// Prints what the server has and what each device holds, for whoever looks for the reason.
    fn tell_what_is_held(&self) {
        for key in self.audit.history.keys() {
            if let Some((seq, version)) = self.audit.current(key) {
                let what = if version.live {
                    format!("{:?}", version.ids)
                } else {
                    "deleted".to_owned()
                };
                println!(
                    "the server has {key} at {seq}, {}: {what}",
                    revision(version.rev)
                );
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            let keys = self.keys_of(client.shape.namespace);
            match view::describe(&client.disk.look(), &keys) {
                Ok(lines) => lines
                    .iter()
                    .for_each(|line| println!("client {index} has {line}")),
                Err(error) => println!("client {index}'s store cannot be read: {error:?}"),
            }
        }
    }

    fn chaos(&mut self) {
        self.start_server();
        for index in 0..self.clients.len() {
            let begins = self.clients[index].shape.begins;
            self.schedule(begins, Happening::Restart(Node::Client(index)));
            let first = self.work_dice.below(1_000);
            self.schedule(begins + first, Happening::Work { client: index });
        }
        let mut founded = Vec::new();
        for index in 0..self.clients.len() {
            let namespace = self.clients[index].shape.namespace;
            if !founded.contains(&namespace) {
                founded.push(namespace);
                self.schedule(0, Happening::Found { client: index });
            }
        }
        if self.swarm.fault_every > 0 {
            self.schedule(self.swarm.fault_every, Happening::Fault);
        }
        if self.swarm.lives.is_some() || self.has_schemas() {
            for client in 0..self.clients.len() {
                self.schedule(1_000, Happening::Chore { client });
            }
        }
        let end = self.swarm.chaos;
        while self.broken.is_none() && self.step(end) {}
    }

    /// Everything heals; then all devices must drain and agree, within bounded time.
    fn come_to_rest(&mut self) -> Verdict {
        self.calm_down();
        self.until_rest(REST)?;
        if self.swarm.late_joiner {
            self.counts.add(Kind::LateJoiner);
            let index = self.join(ClientShape {
                operations: 0,
                narrow: false,
                begins: 0,
                ..self.swarm.clients[0].clone()
            });
            let user = self.clients[index].shape.user;
            let same = self
                .clients
                .iter()
                .filter(|client| client.shape.user == user);
            let newest = same.map(|client| client.token_version).max().unwrap_or(0);
            self.clients[index].token_version = newest;
            self.clients[index].disk.hurry();
            self.start_client(index);
            self.until_rest(self.live())?;
        }
        // Nobody may have fallen asleep: what is written now reaches everybody without a new connection.
        for index in 0..self.clients.len() {
            self.operate(index);
            self.until_rest(self.live())?;
        }
        match self.swarm.family {
            Family::Expiry => self.check_expiry(),
            Family::Schemas => self.check_schemas(),
            Family::Plain | Family::Rules => Ok(()),
        }
    }

    /// Only when they write, two copies find out that they are two; and then one of them may wait for a while.
    fn live(&self) -> u64 {
        if self.audit.doubles || self.audit.clients_forgotten {
            REST
        } else {
            LIVE
        }
    }

    fn calm_down(&mut self) {
        self.note(Node::World, || "calm".to_owned());
        self.calm = true;
        self.heal_all();
        self.server.tokens.calm();
        self.server.disk.hurry();
        self.server.disk.faults.restart();
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            client.disk.hurry();
            client.disk.faults.restart();
            if client.reach == Reach::Some {
                // One more process, with everything in its scope.
                self.counts.add(Kind::ScopeWidened);
                self.clients[index].reach = self.fault_dice.pick(&[Reach::Named, Reach::All]);
                self.clients[index].widened = self.clients[index].reach == Reach::All;
                self.kill_client(index, false);
            }
            if !self.clients[index].late_syncs {
                self.clients[index].late_syncs = true;
                self.schedule(
                    0,
                    Happening::Switch {
                        client: index,
                        on: true,
                    },
                );
            }
            self.schedule(0, Happening::Restart(Node::Client(index)));
        }
        self.schedule(0, Happening::Restart(Node::Server));
    }

    pub(crate) fn until_rest(&mut self, most: u64) -> Verdict {
        let end = self.now() + most;
        let step = 250;
        loop {
            let until = self.now() + step;
            while self.broken.is_none() && self.step(until) {}
            if self.broken.is_some() {
                return Ok(());
            }
            let unrest = (0..self.clients.len()).find_map(|index| self.unrest(index));
            match unrest {
                None => return Ok(()),
                Some(what) if self.now() >= end => {
                    return broken("P4", format!("not at rest after {most} ms of calm: {what}"));
                }
                Some(_) => {}
            }
        }
    }
}
