//! A client's session: what reaches it, and what it wants done.

use std::collections::VecDeque;

use pocket_core::ClientId;
use pocket_core::replica::{Answer, Conflict, Decision, Ruling};
use pocket_sync_client::{Effect, Event, Moment, Status, StoreRequest, SyncError, store};

use super::{ClientNews, Done, Link, Stage, Told};
use crate::audit::broken;
use crate::counts::Kind;
use crate::network::{Parcel, Way};
use crate::trace::Node;
use crate::world::{Happening, World};

/// Events that follow from each other without a moment between them, at the most.
const BUSY: u32 = 10_000;

impl World {
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
        let mut handled = 0;
        while let Some(event) = events.pop_front() {
            let now = self.now();
            handled += 1;
            if handled > BUSY {
                let what =
                    format!("client {index} does not come to an end at one moment: {event:?}");
                return self.check(broken("P4", what));
            }
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
            Effect::Store { client, request } => self.store(index, client, request),
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

    fn store(&mut self, index: usize, who: Option<ClientId>, request: StoreRequest) {
        if let StoreRequest::Apply(page) = &request {
            let client = &mut self.clients[index];
            let namespace = client.shape.namespace;
            if !self.audit.forks.is_old(page.epoch) {
                client.head = client.head.max(page.head.get());
            }
            for record in &page.records {
                let seq = record.seq.get();
                // A page that was on its way when the server went back tells of what is lost.
                if !self.audit.forks.is_lost(namespace, page.epoch, seq) {
                    let verdict = self.audit.served(namespace, record);
                    self.check(verdict);
                }
            }
        }
        let met = match &request {
            StoreRequest::Attach(welcome) => welcome.log.epochs.last().map(|(epoch, _)| *epoch),
            _ => None,
        };
        if let Some(epoch) = met
            && !self.audit.forks.is_old(epoch)
        {
            self.clients[index].meets = self.audit.forks.count;
        }
        let at = self.now();
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        if let (StoreRequest::Attach(welcome), Some(client)) = (&request, who) {
            up.greeted = Some(Told {
                server_time: welcome.server_time,
                at,
                client,
            });
        }
        up.storing = true;
        let (replica, scope, resolver) =
            (up.replica.clone(), up.scope.clone(), up.resolver.clone());
        self.clients[index].spawn(async move {
            Done::Stored(Box::new(
                store::perform(&replica, &scope, &resolver, who, request).await,
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
                Some(Done::Chores(done)) => self.chores_done(index, &done),
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
