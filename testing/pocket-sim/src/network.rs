//! The network: ordered streams that are late, held up by partitions, cut at any frame, or gone unnoticed.
//!
//! A stream keeps its order and doubles nothing, as a WebSocket does. In lossy histories single frames are also
//! dropped, doubled and overtaken, as over a broken proxy.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::counts::Kind;
use crate::dice::Dice;
use crate::trace::Node;
use crate::workload::KILLER;
use crate::world::{Happening, World};

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// The client's request to be connected.
    Open,
    /// The server's answer to it.
    Accepted,
    Frame(Bytes),
    /// A close frame.
    Close {
        code: u16,
        reason: String,
    },
    /// The end of the stream, without a word.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

#[derive(Debug, Default)]
struct Lane {
    /// Nothing arrives before this moment, so that order is kept.
    last: u64,
    /// What waits for a partition to end.
    held: VecDeque<Parcel>,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: usize,
    /// The process that opened it.
    pub(crate) client_life: u64,
    pub(crate) server_life: u64,
    /// The number its session gave it.
    pub(crate) number: u64,
    /// Nothing travels on it any more.
    cut: bool,
    up: Lane,
    down: Lane,
}

impl Connection {
    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) connections: BTreeMap<u64, Connection>,
    last: u64,
    /// For each client, until when nothing passes up and down.
    partitions: Vec<[u64; 2]>,
    dice: Dice,
}

impl Network {
    pub(crate) fn new(clients: usize, dice: Dice) -> Self {
        Self {
            connections: BTreeMap::new(),
            last: 0,
            partitions: vec![[0; 2]; clients],
            dice,
        }
    }

    pub(crate) fn add_client(&mut self) {
        self.partitions.push([0; 2]);
    }

    fn blocked(&self, client: usize, way: Way, now: u64) -> bool {
        self.partitions[client][way as usize] > now
    }
}

impl World {
    /// A client asks for a connection.
    pub(crate) fn connect(&mut self, client: usize, client_life: u64, number: u64) -> u64 {
        let net = &mut self.net;
        net.last += 1;
        let connection = net.last;
        net.connections.insert(
            connection,
            Connection {
                client,
                client_life,
                server_life: 0,
                number,
                cut: false,
                up: Lane::default(),
                down: Lane::default(),
            },
        );
        self.post(connection, Way::Up, Parcel::Open);
        connection
    }

    /// Puts something on its way.
    pub(crate) fn post(&mut self, connection: u64, way: Way, parcel: Parcel) {
        let (now, calm) = (self.now(), self.calm);
        let Some(entry) = self.net.connections.get_mut(&connection) else {
            return;
        };
        if entry.cut {
            return;
        }
        let is_frame = matches!(parcel, Parcel::Frame(_));
        if let (Way::Up, Parcel::Frame(frame)) = (way, &parcel)
            && carries_killer(frame)
        {
            self.counts.add(Kind::KilledBySending);
            return self.end(connection);
        }
        if is_frame && !calm && self.net.dice.chance(self.swarm.cut_frames) {
            self.counts.add(Kind::FrameCut);
            return self.cut(connection);
        }
        let client = entry.client;
        if self.net.blocked(client, way, now) {
            if let Some(entry) = self.net.connections.get_mut(&connection) {
                entry.lane(way).held.push_back(parcel);
            }
            return;
        }
        let loss = self.swarm.loss;
        if is_frame && !calm {
            if self.net.dice.chance(loss.drop) {
                self.counts.add(Kind::FrameDropped);
                return;
            }
            if self.net.dice.chance(loss.double) {
                self.counts.add(Kind::FrameDoubled);
                self.dispatch(connection, way, parcel.clone());
            }
            if self.net.dice.chance(loss.reorder) {
                self.counts.add(Kind::FrameReordered);
                let delay = 1 + self.net.dice.below(20 * self.swarm.latency);
                let arrival = Happening::Arrive {
                    connection,
                    way,
                    parcel,
                };
                return self.schedule(delay, arrival);
            }
        }
        self.dispatch(connection, way, parcel);
    }

    fn dispatch(&mut self, connection: u64, way: Way, parcel: Parcel) {
        let (now, latency, calm) = (self.now(), self.swarm.latency, self.calm);
        let mut delay = self.net.dice.between(latency.div_ceil(2), latency);
        if !calm && self.net.dice.chance(self.swarm.late_frames) {
            self.counts.add(Kind::FrameLate);
            delay += self.net.dice.below(self.swarm.longest_outage);
        }
        let Some(entry) = self.net.connections.get_mut(&connection) else {
            return;
        };
        let lane = entry.lane(way);
        lane.last = lane.last.max(now + delay);
        let at = lane.last;
        self.schedule(
            at - now,
            Happening::Arrive {
                connection,
                way,
                parcel,
            },
        );
    }

    /// Ends a connection so that both sides hear of it soon.
    fn end(&mut self, connection: u64) {
        let latency = self.swarm.latency;
        let Some(entry) = self.net.connections.get_mut(&connection) else {
            return;
        };
        if std::mem::replace(&mut entry.cut, true) {
            return;
        }
        for way in [Way::Up, Way::Down] {
            let parcel = Parcel::Lost;
            self.schedule(
                latency,
                Happening::Arrive {
                    connection,
                    way,
                    parcel,
                },
            );
        }
    }

    /// Breaks a connection. Each side hears of it some time, or has to find out by its own deadlines.
    pub(crate) fn cut(&mut self, connection: u64) {
        let calm = self.calm;
        let Some(entry) = self.net.connections.get_mut(&connection) else {
            return;
        };
        if std::mem::replace(&mut entry.cut, true) {
            return;
        }
        entry.up.held.clear();
        entry.down.held.clear();
        for way in [Way::Up, Way::Down] {
            if !calm && self.net.dice.chance(self.swarm.half_open) {
                self.counts.add(Kind::HalfOpen);
                continue;
            }
            let delay = 1 + self.net.dice.below(self.swarm.longest_outage);
            let parcel = Parcel::Lost;
            self.schedule(
                delay,
                Happening::Arrive {
                    connection,
                    way,
                    parcel,
                },
            );
        }
    }

    /// A process has ended: the other side of its connections may hear of it.
    pub(crate) fn drop_connections(&mut self, node: Node, life: u64, power: bool) {
        let of_node = |connection: &Connection| match node {
            Node::Client(index) => connection.client == index && connection.client_life == life,
            _ => connection.server_life == life,
        };
        let ended: Vec<u64> = self
            .net
            .connections
            .iter()
            .filter(|(_, connection)| of_node(connection) && !connection.cut)
            .map(|(id, _)| *id)
            .collect();
        for connection in ended {
            let way = match node {
                Node::Client(_) => Way::Up,
                _ => Way::Down,
            };
            // Without power nobody sends a reset. What was sent before may still arrive.
            if power {
                self.counts.add(Kind::HalfOpen);
            } else {
                self.post(connection, way, Parcel::Lost);
            }
        }
    }

    /// Holds up what passes between a client and the server until a moment.
    pub(crate) fn part(&mut self, client: usize, ways: &[Way], millis: u64) {
        let until = self.now() + millis;
        for way in ways {
            let end = &mut self.net.partitions[client][*way as usize];
            *end = until.max(*end);
        }
        self.schedule(millis, Happening::Heal { client });
    }

    /// Sends on what was held up, where nothing holds it up any more.
    pub(crate) fn heal(&mut self, client: usize) {
        let now = self.now();
        for way in [Way::Up, Way::Down] {
            if self.net.blocked(client, way, now) {
                continue;
            }
            let mut freed = Vec::new();
            for (id, connection) in &mut self.net.connections {
                if connection.client == client {
                    freed.extend(
                        connection
                            .lane(way)
                            .held
                            .drain(..)
                            .map(|parcel| (*id, parcel)),
                    );
                }
            }
            for (connection, parcel) in freed {
                self.dispatch(connection, way, parcel);
            }
        }
    }

    /// Ends all partitions.
    pub(crate) fn heal_all(&mut self) {
        for client in 0..self.net.partitions.len() {
            self.net.partitions[client] = [0; 2];
            self.heal(client);
        }
    }

    /// Something arrives.
    pub(crate) fn arrive(&mut self, connection: u64, way: Way, parcel: Parcel) {
        let Some(entry) = self.net.connections.get_mut(&connection) else {
            return;
        };
        let ends = matches!(parcel, Parcel::Lost | Parcel::Close { .. });
        if let Parcel::Frame(frame) = &parcel {
            if entry.cut {
                return;
            }
            self.counts.add(Kind::FrameDelivered);
            let (client, bytes) = (entry.client, frame.clone());
            self.trace.mix(&[self.clock.now(), connection, way as u64]);
            self.trace.mix_bytes(&bytes);
            self.trace.line(self.clock.now(), Node::World, || {
                let arrow = if way == Way::Up { "->" } else { "<-" };
                format!(
                    "client {client} {arrow} server #{connection} {}",
                    crate::wire::describe(way, &bytes)
                )
            });
        }
        let (client, life, number) = (entry.client, entry.client_life, entry.number);
        match way {
            Way::Up => self.server_gets(connection, client, parcel),
            Way::Down => self.client_gets(client, life, number, parcel),
        }
        if ends {
            // The other way may still bring what was sent before; nothing answers it.
            self.trace
                .mix(&[self.clock.now(), connection, 7, way as u64]);
        }
    }
}

fn carries_killer(frame: &[u8]) -> bool {
    let killer = KILLER.as_bytes();
    frame.windows(killer.len()).any(|window| window == killer)
}
