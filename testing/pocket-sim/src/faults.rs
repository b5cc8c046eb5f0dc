//! Faults of the world: what strikes whole nodes and lines, whenever the fault clock does.

use pocket_storage::StorageError;
use pocket_storage::faulty::{CallKind, Faults, Moment};
use pocket_sync_client::{Event, Pass};

use crate::client::{ClientNews, Command, Done};
use crate::counts::Kind;
use crate::network::Way;
use crate::server::token;
use crate::swarm::{Fault, jump};
use crate::trace::Node;
use crate::world::{Happening, World};

impl World {
    /// The fault clock strikes.
    pub(crate) fn strike(&mut self) {
        if self.calm {
            return;
        }
        let pause = self.fault_dice.below(2 * self.swarm.fault_every + 1);
        self.schedule(pause.max(1), Happening::Fault);
        let Some(fault) = self.swarm.fault(&mut self.fault_dice) else {
            return;
        };
        let index = self.fault_dice.index(self.clients.len());
        self.trace
            .mix(&[self.clock.now(), fault as u64, index as u64]);
        match fault {
            Fault::ClientKill | Fault::ClientPower => {
                if self.clients[index].up().is_none() {
                    return;
                }
                let power = fault == Fault::ClientPower;
                self.counts.add(if power {
                    Kind::ClientPowerLoss
                } else {
                    Kind::ClientKill
                });
                self.kill_client(index, power);
            }
            Fault::ServerKill | Fault::ServerPower => {
                if self.server.up.is_none() {
                    return;
                }
                let power = fault == Fault::ServerPower;
                self.counts.add(if power {
                    Kind::ServerPowerLoss
                } else {
                    Kind::ServerKill
                });
                self.kill_server(power);
            }
            Fault::ServerShutdown => self.shut_server_down(),
            Fault::ClientCrashInCall => {
                let kind = self.plan_crash(Some(index));
                self.counts.add(kind);
                self.clients[index].power_fails = self.fault_dice.chance(0.5);
            }
            Fault::ServerCrashInCall => {
                let kind = self.plan_crash(None);
                self.counts.add(kind);
                self.server.power_fails = self.fault_dice.chance(0.5);
            }
            Fault::ClientIoError => {
                self.counts.add(Kind::IoErrorClient);
                self.plan_error(Some(index));
            }
            Fault::ServerIoError => {
                self.counts.add(Kind::IoErrorServer);
                self.plan_error(None);
            }
            Fault::ClientFull => self.fill_disk(Node::Client(index)),
            Fault::ServerFull => self.fill_disk(Node::Server),
            Fault::ClientClock => {
                self.counts.add(Kind::ClockJump);
                let by = jump(&mut self.fault_dice);
                self.clients[index].skew.jump(by);
                self.note(Node::Client(index), || format!("clock jumps by {by} ms"));
            }
            Fault::ServerClock => {
                self.counts.add(Kind::ServerClockJump);
                let by = jump(&mut self.fault_dice);
                self.server.skew.jump(by);
                self.note(Node::Server, || format!("clock jumps by {by} ms"));
            }
            Fault::PartitionIn => self.partition(index, Kind::PartitionIn, &[Way::Down]),
            Fault::PartitionOut => self.partition(index, Kind::PartitionOut, &[Way::Up]),
            Fault::PartitionBoth => {
                self.partition(index, Kind::PartitionBoth, &[Way::Up, Way::Down]);
            }
            Fault::Cut => {
                let open: Vec<u64> = self
                    .net
                    .connections
                    .iter()
                    .filter(|(_, connection)| connection.client == index)
                    .map(|(id, _)| *id)
                    .collect();
                if let Some(last) = open.last() {
                    self.counts.add(Kind::FrameCut);
                    self.cut(*last);
                }
            }
            Fault::TokenExpiry => self.expire_token(index),
            Fault::ClientCopy => self.copy_client(index),
            Fault::ClientBackup => self.back_up_client(index),
            Fault::ClientRestore => self.restore_client(index),
            Fault::ServerBackup => self.back_up_server(),
            Fault::ServerRestore => self.restore_server(),
            Fault::Forget => self.forget(),
            Fault::Rights => self.change_rights(index),
            Fault::Upgrade => self.upgrade(index),
            Fault::OldProgram => self.start_old_program(index),
            Fault::ReadAgain => self.read_again(index),
            Fault::Stop => {
                if self.clients[index].up().is_some_and(|up| up.running) {
                    self.counts.add(Kind::Stopped);
                    self.note(Node::Client(index), || "sync is stopped".to_owned());
                    self.client_event(index, Event::Stop);
                    let delay = self.fault_dice.below(self.swarm.longest_outage);
                    self.tell_client(index, delay, ClientNews::Event(Box::new(Event::Start)));
                }
            }
        }
    }

    /// Somebody has a device read everything again, whatever its session does.
    fn read_again(&mut self, index: usize) {
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        if std::mem::replace(&mut up.at_chores, true) {
            return;
        }
        let replica = up.replica.clone();
        self.note(Node::Client(index), || {
            "is told to read everything again".to_owned()
        });
        self.clients[index]
            .spawn(async move { Done::Chores(replica.begin_resync().await.map(|_| 0)) });
        self.run_client(index);
    }

    fn faults_of(&self, client: Option<usize>) -> Faults {
        match client {
            Some(index) => self.clients[index].disk.faults.clone(),
            None => self.server.disk.faults.clone(),
        }
    }

    /// One of the next storage calls is the node's last.
    fn plan_crash(&mut self, client: Option<usize>) -> Kind {
        let faults = self.faults_of(client);
        let (moment, kind) = match (self.fault_dice.chance(0.5), client) {
            (true, Some(_)) => (Moment::Before, Kind::ClientCrashBefore),
            (true, None) => (Moment::Before, Kind::ServerCrashBefore),
            (false, Some(_)) => (Moment::After, Kind::ClientCrashAfter),
            (false, None) => (Moment::After, Kind::ServerCrashAfter),
        };
        if self.fault_dice.chance(0.5) {
            let call = faults.calls().commit + self.fault_dice.between(1, 3);
            faults.crash_at_kind(CallKind::Commit, call, moment);
        } else {
            let call = faults.calls().total() + self.fault_dice.between(1, 25);
            faults.crash_at(call, moment);
        }
        kind
    }

    fn plan_error(&mut self, client: Option<usize>) {
        let faults = self.faults_of(client);
        let error = || StorageError::Backend("the disk has a bad day".to_owned());
        match self.fault_dice.below(4) {
            0 => {
                let call = faults.calls().commit + self.fault_dice.between(1, 3);
                faults.fail_at_kind(CallKind::Commit, call, Moment::Before, error());
            }
            1 => {
                let call = faults.calls().commit + self.fault_dice.between(1, 3);
                faults.fail_at_kind(CallKind::Commit, call, Moment::After, error());
            }
            _ => faults.fail_at(
                faults.calls().total() + self.fault_dice.between(1, 25),
                error(),
            ),
        }
    }

    fn fill_disk(&mut self, node: Node) {
        let (client, kind) = match node {
            Node::Client(index) => (Some(index), Kind::FullClient),
            _ => (None, Kind::FullServer),
        };
        self.counts.add(kind);
        self.note(node, || "disk is full".to_owned());
        let full = StorageError::Full("no space left on the device".to_owned());
        self.faults_of(client).refuse_commits(Some(full));
        let millis = 1 + self.fault_dice.below(self.swarm.longest_outage);
        self.schedule(millis, Happening::Room { node });
    }

    pub(crate) fn make_room(&mut self, node: Node) {
        let client = match node {
            Node::Client(index) => Some(index),
            _ => None,
        };
        self.faults_of(client).refuse_commits(None);
    }

    fn partition(&mut self, client: usize, kind: Kind, ways: &[Way]) {
        self.counts.add(kind);
        let longest = if self.fault_dice.chance(0.2) {
            60_000
        } else {
            self.swarm.longest_outage
        };
        let millis = 1 + self.fault_dice.below(longest);
        self.note(Node::Client(client), || format!("{kind:?} for {millis} ms"));
        self.part(client, ways, millis);
    }

    /// A user's token is good no longer. Who is connected stays; who comes back is asked for a new one.
    fn expire_token(&mut self, index: usize) {
        self.counts.add(Kind::TokenExpired);
        let user = self.clients[index].shape.user;
        let old = token(user, self.clients[index].token_version);
        self.server.tokens.expire(&old);
        let delay = self.fault_dice.below(self.swarm.longest_outage);
        self.schedule(delay, Happening::Renew { user, expired: old });
    }

    /// The applications of a user get a new token.
    pub(crate) fn renew_token(&mut self, user: usize, expired: &str) {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.shape.user != user || token(user, client.token_version) != *expired {
                continue;
            }
            client.token_version += 1;
            let fresh = token(user, client.token_version);
            if client.up().is_some() {
                self.client_event(index, Event::TokenChanged(Some(fresh)));
            }
        }
    }

    /// An application asks for a complete pass.
    pub(crate) fn command(&mut self, index: usize) {
        let pass = self.work_dice.pick(&[Pass::Both, Pass::Push, Pass::Pull]);
        let namespace = self.clients[index].shape.namespace;
        // What is stored and nobody was told yet, the pass may read or not.
        let told = self.server.heads.at(namespace, self.now());
        let head = self.audit.head(namespace).min(told);
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        up.last_command += 1;
        let id = up.last_command;
        up.commands.insert(id, Command { pass, head });
        self.counts.add(Kind::Command);
        self.note(Node::Client(index), || {
            format!("command {id}: {pass:?}, head {head}")
        });
        self.client_event(index, Event::Command { id, pass });
    }
}
